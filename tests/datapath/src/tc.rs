//! The tc programs: where packets come in, what is asked in which order, where they go.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{__sk_buff, TC_ACT_OK, TC_ACT_SHOT};
use aya_ebpf::helpers::generated::{bpf_redirect, bpf_skb_store_bytes};
use aya_ebpf::macros::classifier;
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::programs::TcContext;

use crate::config::config;
use crate::conntrack::{self, Status};
use crate::maps::{CALL_POLICY, Endpoint, EndpointKey, IPCACHE, IpcacheKey, LXC, Wide};
use crate::packet::{ICMPV6, read4, read6};
use crate::policy::{Decision, decide};
use crate::report::{self, Drop, EGRESS, Ends, INGRESS, drop_for, file, point, reason, zero};
use crate::state::{State, forget, state};

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Neighbour solicitation and advertisement.
const ND: core::ops::RangeInclusive<u8> = 135..=136;
/// `cilium_lxc`: an address of the node itself.
const HOST: u32 = 1;
/// Word of `cb` that hands the source identity to the receiving endpoint's program.
const CB_SOURCE: usize = 0;

fn skb(ctx: &TcContext) -> *mut __sk_buff {
    ctx.as_ptr().cast()
}

/// Leaving a pod: tc ingress of the host side of its veth.
#[classifier]
#[inline(always)]
pub fn cil_from_container(ctx: TcContext) -> i32 {
    let mut ends = Ends { source: config!(identity), ..Ends::default() };
    match from_container(&ctx, &mut ends) {
        Ok(action) => action,
        Err(drop) => {
            report::drop_packet(&ctx, &drop, &ends, file::BPF_LXC, EGRESS);
            TC_ACT_SHOT
        }
    }
}

/// Entering a pod: called by tail call, with the source's identity in `cb`.
#[classifier]
#[inline(always)]
pub fn cil_lxc_policy(ctx: TcContext) -> i32 {
    // SAFETY: the context of a tc program.
    let source = unsafe { (*skb(&ctx)).cb[CB_SOURCE] };
    let ends = Ends { source, destination: config!(identity), destination_endpoint: config!(endpoint) };
    match to_container(&ctx, &ends) {
        Ok(action) => action,
        Err(drop) => {
            report::drop_packet(&ctx, &drop, &ends, file::BPF_LXC, INGRESS);
            TC_ACT_SHOT
        }
    }
}

/// From the network: tc ingress of `eth0`.
#[classifier]
#[inline(always)]
pub fn cil_from_netdev(ctx: TcContext) -> i32 {
    let mut ends = Ends::default();
    match from_netdev(&ctx, &mut ends) {
        Ok(action) => action,
        Err(drop) => {
            report::drop_packet(&ctx, &drop, &ends, file::BPF_HOST, INGRESS);
            TC_ACT_SHOT
        }
    }
}

/// The packet's ethertype, if it has no VLAN tag.
#[inline(always)]
fn ethertype(ctx: &TcContext) -> Result<u16, Drop> {
    // SAFETY: the context of a tc program.
    let (tagged, protocol) = unsafe { ((*skb(ctx)).vlan_present, (*skb(ctx)).protocol) };
    let protocol = u16::from_be(protocol as u16);
    if tagged != 0 || protocol == 0x8100 || protocol == 0x88a8 {
        return Err(drop_for!(reason::VLAN_FILTERED));
    }
    Ok(protocol)
}

#[inline(always)]
fn from_container(ctx: &TcContext, ends: &mut Ends) -> Result<i32, Drop> {
    let state = state()?;
    state.direction = EGRESS;
    match ethertype(ctx)? {
        ARP => return Ok(TC_ACT_OK),
        IPV4 => {
            read4(ctx, state)?;
            if state.source[0] != config!(ipv4) {
                return Err(drop_for!(reason::INVALID_SIP));
            }
        }
        IPV6 => {
            read6(ctx, state)?;
            if state.protocol == ICMPV6 && ND.contains(&state.icmp[0]) {
                return Ok(TC_ACT_OK);
            }
            if state.source != config!(ipv6) {
                return Err(drop_for!(reason::INVALID_SIP));
            }
        }
        _ => return Err(drop_for!(reason::UNKNOWN_L3)),
    }
    leave(ctx, forget(state), ends)
}

/// The egress half of the way.
#[inline(always)]
fn leave(ctx: &TcContext, state: &mut State, ends: &mut Ends) -> Result<i32, Drop> {
    ends.destination = identity(&state.destination, state.ipv6);
    state.remote = ends.destination;
    let state = track_and_ask(ctx, state, ends.source)?;
    if state.decision.verdict > 0 {
        return Ok(TC_ACT_OK);
    }
    match endpoint(&state.destination, state.ipv6) {
        Some((id, false)) => hand_over(ctx, id, ends.source),
        _ => {
            report::count(0, EGRESS, line!() as u16, file::BPF_LXC, state.length);
            report::trace(ctx, state, point::TO_STACK, ends, 0);
            Ok(TC_ACT_OK)
        }
    }
}

/// Connection tracking and policy, either direction. The decision's verdict is positive if a proxy is to
/// have the packet.
#[inline(always)]
fn track_and_ask<'a>(ctx: &TcContext, state: &'a mut State, source: u32) -> Result<&'a mut State, Drop> {
    state.length = ctx.len();
    state.status = conntrack::look_up(state);
    let state = forget(state);
    state.decision.verdict = 0;
    let known = matches!(state.status, Status::Reply | Status::Related);
    if !known && !state.is_always_allowed() {
        state.decision = decide(state);
        let state = forget(state);
        let denied = state.decision.verdict < 0;
        if denied || state.status == Status::New && config!(options) & u32::from(state.direction) != 0 {
            report::verdict(ctx, state);
        }
        if denied {
            return Err(denial(&state.decision));
        }
    }
    let state = forget(state);
    if state.status == Status::New {
        conntrack::create(state, source)?;
    }
    Ok(forget(state))
}

#[inline(always)]
fn from_netdev(ctx: &TcContext, ends: &mut Ends) -> Result<i32, Drop> {
    let (source, destination): (Wide, Wide);
    let ipv6;
    match ethertype(ctx)? {
        IPV4 => {
            let addresses: [u32; 2] = ctx.load(26).map_err(|_| drop_for!(reason::INVALID))?;
            source = [addresses[0], zero() as u32, zero() as u32, zero() as u32];
            destination = [addresses[1], zero() as u32, zero() as u32, zero() as u32];
            ipv6 = 0;
        }
        IPV6 => {
            source = ctx.load(22).map_err(|_| drop_for!(reason::INVALID))?;
            destination = ctx.load(38).map_err(|_| drop_for!(reason::INVALID))?;
            ipv6 = 1;
        }
        _ => return Ok(TC_ACT_OK),
    }
    ends.source = identity(&source, ipv6);
    match endpoint(&destination, ipv6) {
        Some((id, false)) => hand_over(ctx, id, ends.source),
        _ => Ok(TC_ACT_OK),
    }
}

/// Goes on in the program of the receiving endpoint.
#[inline(always)]
fn hand_over(ctx: &TcContext, endpoint: u16, source: u32) -> Result<i32, Drop> {
    // SAFETY: a tc program may write `cb`.
    unsafe { (*skb(ctx)).cb[CB_SOURCE] = source };
    // SAFETY: the array holds tc programs only; when the slot is empty the call returns.
    unsafe { CALL_POLICY.tail_call(ctx, endpoint.into()) };
    Err(drop_for!(reason::EP_NOT_READY))
}

#[inline(always)]
fn to_container(ctx: &TcContext, ends: &Ends) -> Result<i32, Drop> {
    let state = state()?;
    state.direction = INGRESS;
    match ethertype(ctx)? {
        IPV4 => read4(ctx, state)?,
        IPV6 => read6(ctx, state)?,
        _ => return Err(drop_for!(reason::UNKNOWN_L3)),
    }
    let state = forget(state);
    state.remote = ends.source;
    let state = track_and_ask(ctx, state, ends.source)?;
    if state.decision.verdict > 0 {
        return Ok(TC_ACT_OK);
    }
    deliver(ctx, state, ends)
}

/// Into the pod.
#[inline(always)]
fn deliver(ctx: &TcContext, state: &State, ends: &Ends) -> Result<i32, Drop> {
    report::count(0, INGRESS, line!() as u16, file::BPF_LXC, state.length);
    let ifindex = config!(ifindex);
    report::trace(ctx, state, point::TO_LXC, ends, ifindex);
    let macs: [[u8; 8]; 2] = [config!(mac), config!(node_mac)];
    // SAFETY: six bytes each of two live arrays go to the Ethernet header, which is there; the helpers check.
    unsafe {
        bpf_skb_store_bytes(skb(ctx), 0, macs[0].as_ptr().cast(), 6, 0);
        bpf_skb_store_bytes(skb(ctx), 6, macs[1].as_ptr().cast(), 6, 0);
        Ok(bpf_redirect(ifindex, 0) as i32)
    }
}

/// One place for each reason, as in Cilium: the line belongs to the policy check.
#[inline(always)]
fn denial(decision: &Decision) -> Drop {
    let ext_error =
        if decision.verdict == -i32::from(reason::POLICY_AUTH_REQUIRED) { decision.auth as i8 } else { 0 };
    drop_for!(decision.verdict.unsigned_abs() as u8, ext_error)
}

/// Identity of the other end: the ipcache's longest match, else the world.
#[inline(always)]
fn identity(ip: &Wide, ipv6: u32) -> u32 {
    let (length, family, world) =
        if ipv6 == 0 { (64, 1, config!(world4)) } else { (160, 2, config!(world6)) };
    let family = u32::from_ne_bytes([0, 0, 0, family]);
    match IPCACHE.get(Key::new(length, IpcacheKey { family, ip: *ip })) {
        Some(identity) if *identity != 0 => *identity,
        _ => world,
    }
}

/// The local endpoint that has an address, and whether it is the node itself.
#[inline(always)]
fn endpoint(ip: &Wide, ipv6: u32) -> Option<(u16, bool)> {
    let key = EndpointKey { ip: *ip, family: ipv6 + 1 };
    // SAFETY: the agent replaces values as a whole.
    let found: &Endpoint = unsafe { LXC.get(&key) }?;
    Some((found.id, found.flags & HOST != 0))
}
