//! The tc programs: where packets come in, what is asked in which order, where they go.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{__sk_buff, TC_ACT_OK, TC_ACT_SHOT};
use aya_ebpf::helpers::generated::{bpf_redirect, bpf_skb_store_bytes};
use aya_ebpf::macros::classifier;
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::programs::TcContext;

use crate::config::config;
use crate::conntrack::{self, Entry, Status, Tuple};
use crate::maps::{CALL_POLICY, CT_ANY4, CT_ANY6, CT4, CT6, Endpoint, EndpointKey, IPCACHE, IpcacheKey, LXC};
use crate::packet::{ICMPV6, Packet, TCP, read4, read6};
use crate::policy::{Decision, Question, decide};
use crate::report::{self, Drop, EGRESS, Ends, INGRESS, drop_for, file, point, reason};

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
    match ethertype(ctx)? {
        ARP => Ok(TC_ACT_OK),
        IPV4 => {
            let packet = read4(ctx)?;
            if packet.source != config!(ipv4) {
                return Err(drop_for!(reason::INVALID_SIP));
            }
            leave(ctx, &packet, ends, if packet.protocol == TCP { &CT4 } else { &CT_ANY4 }, &CT_ANY4)
        }
        IPV6 => {
            let packet = read6(ctx)?;
            if packet.protocol == ICMPV6 && ND.contains(&packet.icmp[0]) {
                return Ok(TC_ACT_OK);
            }
            if packet.source != config!(ipv6) {
                return Err(drop_for!(reason::INVALID_SIP));
            }
            leave(ctx, &packet, ends, if packet.protocol == TCP { &CT6 } else { &CT_ANY6 }, &CT_ANY6)
        }
        _ => Err(drop_for!(reason::UNKNOWN_L3)),
    }
}

/// The egress half of the way, for either family.
#[inline(always)]
fn leave<const N: usize>(
    ctx: &TcContext,
    packet: &Packet<N>,
    ends: &mut Ends,
    map: &LruHashMap<Tuple<N>, Entry>,
    any: &LruHashMap<Tuple<N>, Entry>,
) -> Result<i32, Drop> {
    ends.destination = identity(&packet.destination);
    let status = conntrack::look_up(map, packet, EGRESS, ctx.len());
    let redirected = gate(ctx, packet, status, ends.destination, EGRESS)?;
    if status == Status::New {
        conntrack::create(map, any, packet, EGRESS, ends.source, ctx.len())?;
    }
    if redirected {
        return Ok(TC_ACT_OK);
    }
    match endpoint(&packet.destination) {
        Some((id, false)) => hand_over(ctx, id, ends.source),
        _ => {
            report::count(0, EGRESS, line!() as u16, file::BPF_LXC, ctx.len());
            if status == Status::New {
                report::trace(ctx, point::TO_STACK, status as u8, ends, 0, N == 16);
            }
            Ok(TC_ACT_OK)
        }
    }
}

#[inline(always)]
fn from_netdev(ctx: &TcContext, ends: &mut Ends) -> Result<i32, Drop> {
    match ethertype(ctx)? {
        IPV4 => {
            ends.source = identity::<4>(&ctx.load(26).map_err(|_| drop_for!(reason::INVALID))?);
            arrive::<4>(ctx, &ctx.load(30).map_err(|_| drop_for!(reason::INVALID))?, ends.source)
        }
        IPV6 => {
            ends.source = identity::<16>(&ctx.load(22).map_err(|_| drop_for!(reason::INVALID))?);
            arrive::<16>(ctx, &ctx.load(38).map_err(|_| drop_for!(reason::INVALID))?, ends.source)
        }
        _ => Ok(TC_ACT_OK),
    }
}

#[inline(always)]
fn arrive<const N: usize>(ctx: &TcContext, destination: &[u8; N], source: u32) -> Result<i32, Drop> {
    match endpoint(destination) {
        Some((id, false)) => hand_over(ctx, id, source),
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
    match ethertype(ctx)? {
        IPV4 => {
            let packet = read4(ctx)?;
            enter(ctx, &packet, ends, if packet.protocol == TCP { &CT4 } else { &CT_ANY4 }, &CT_ANY4)
        }
        IPV6 => {
            let packet = read6(ctx)?;
            enter(ctx, &packet, ends, if packet.protocol == TCP { &CT6 } else { &CT_ANY6 }, &CT_ANY6)
        }
        _ => Err(drop_for!(reason::UNKNOWN_L3)),
    }
}

/// The ingress half of the way, for either family.
#[inline(always)]
fn enter<const N: usize>(
    ctx: &TcContext,
    packet: &Packet<N>,
    ends: &Ends,
    map: &LruHashMap<Tuple<N>, Entry>,
    any: &LruHashMap<Tuple<N>, Entry>,
) -> Result<i32, Drop> {
    let status = conntrack::look_up(map, packet, INGRESS, ctx.len());
    let redirected = gate(ctx, packet, status, ends.source, INGRESS)?;
    if status == Status::New {
        conntrack::create(map, any, packet, INGRESS, ends.source, ctx.len())?;
    }
    if redirected {
        return Ok(TC_ACT_OK);
    }
    report::count(0, INGRESS, line!() as u16, file::BPF_LXC, ctx.len());
    let ifindex = config!(ifindex);
    if status == Status::New {
        report::trace(ctx, point::TO_LXC, status as u8, ends, ifindex, N == 16);
    }
    let macs: [[u8; 8]; 2] = [config!(mac), config!(node_mac)];
    // SAFETY: six bytes each of two live arrays go to the Ethernet header, which is there; the helpers check.
    unsafe {
        bpf_skb_store_bytes(skb(ctx), 0, macs[0].as_ptr().cast(), 6, 0);
        bpf_skb_store_bytes(skb(ctx), 6, macs[1].as_ptr().cast(), 6, 0);
        Ok(bpf_redirect(ifindex, 0) as i32)
    }
}

/// Asks the policy where it is to be asked; true if a proxy is to have the packet.
#[inline(always)]
fn gate<const N: usize>(
    ctx: &TcContext,
    packet: &Packet<N>,
    status: Status,
    remote: u32,
    direction: u8,
) -> Result<bool, Drop> {
    if matches!(status, Status::Reply | Status::Related) || packet.is_always_allowed() {
        return Ok(false);
    }
    let question = Question {
        remote,
        egress: direction == EGRESS,
        protocol: packet.protocol,
        port: packet.policy_port(),
        length: ctx.len(),
    };
    let decision = decide(&question);
    let denied = decision.verdict < 0;
    if denied || status == Status::New && config!(enforced) & u32::from(direction) != 0 {
        report::verdict(ctx, &decision, remote, direction, N == 16);
    }
    if denied {
        return Err(denial(&decision));
    }
    Ok(decision.verdict > 0)
}

/// One place for each reason, as in Cilium: the line belongs to the policy check.
#[inline(always)]
fn denial(decision: &Decision) -> Drop {
    let ext_error =
        if decision.verdict == -i32::from(reason::POLICY_AUTH_REQUIRED) { decision.auth as i8 } else { 0 };
    drop_for!(decision.verdict.unsigned_abs() as u8, ext_error)
}

#[inline(always)]
fn wide<const N: usize>(ip: &[u8; N]) -> [u8; 16] {
    let mut wide = [0; 16];
    let mut i = 0;
    while i < N {
        wide[i] = ip[i];
        i += 1;
    }
    wide
}

const fn family<const N: usize>() -> u8 {
    if N == 4 { 1 } else { 2 }
}

/// Identity of the other end: the ipcache's longest match, else the world.
#[inline(always)]
fn identity<const N: usize>(ip: &[u8; N]) -> u32 {
    let key = Key::new(32 + 8 * N as u32, IpcacheKey { zero: [0; 3], family: family::<N>(), ip: wide(ip) });
    match IPCACHE.get(&key) {
        Some(identity) if *identity != 0 => *identity,
        _ if N == 4 => config!(world4),
        _ => config!(world6),
    }
}

/// The local endpoint that has an address, and whether it is the node itself.
#[inline(always)]
fn endpoint<const N: usize>(ip: &[u8; N]) -> Option<(u16, bool)> {
    let key = EndpointKey { ip: wide(ip), family: family::<N>(), zero: [0; 3] };
    // SAFETY: the agent replaces values as a whole.
    let found: &Endpoint = unsafe { LXC.get(&key) }?;
    Some((found.id, found.flags & HOST != 0))
}
