//! Connection tracking: reverse look-up, forward look-up, creation; lifetimes and flags as Cilium keeps them.
//! Keys of connections are mirrored: addresses swapped, ports not.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::{bpf_map_lookup_elem, bpf_map_update_elem};

use crate::config::config;
use crate::maps::{CT_ANY4, CT_ANY6, CT4, CT6};
use crate::packet::{ICMP, ICMPV6};
use crate::report::{Drop, INGRESS, drop_for, reason, zero};
use crate::state::{State, forget};

/// No padding, as in Cilium; `W` is the length of an address in words.
#[derive(Clone, Copy)]
#[repr(C, packed(2))]
pub struct Tuple<const W: usize> {
    daddr: [u32; W],
    saddr: [u32; W],
    dport: u16,
    sport: u16,
    protocol: u8,
    flags: u8,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Entry {
    /// Receive and transmit packets and bytes (1.15 and older); else nothing counts.
    counters: [u64; 4],
    lifetime: u32,
    flags: u16,
    rev_nat: u16,
    ifindex: u16,
    tx_flags: u8,
    rx_flags: u8,
    source: u32,
    last_tx: u32,
    last_rx: u32,
}

/// Status of the packet's connection; the numbers are those of trace messages.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    New = 0,
    Established = 1,
    Reply = 2,
    Related = 3,
}

const IN: u8 = 1;
const RELATED: u8 = 2;

const RX_CLOSING: u16 = 1;
const TX_CLOSING: u16 = 2;
const SEEN_NON_SYN: u16 = 0x10;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;

/// Seconds.
const TCP_LIFETIME: u32 = 8000;
const ANY_LIFETIME: u32 = 60;
const SYN_LIFETIME: u32 = 60;
const CLOSE_LIFETIME: u32 = 10;
const REPORT_INTERVAL: u32 = 5;

fn now() -> u32 {
    // SAFETY: takes no argument.
    (unsafe { bpf_ktime_get_ns() } / 1_000_000_000) as u32
}

const _: () = assert!(IN == 1 && size_of::<Tuple<1>>() == 14 && size_of::<Tuple<4>>() == 38);
const _: () = assert!(size_of::<Entry>() == 56);

/// Writes the key under which the packet's own side of the connection is entered, or the other side's.
#[inline(always)]
fn write_key(state: &mut State, other_side: bool) {
    let ingress = state.direction == INGRESS;
    let flags = u8::from(ingress != other_side) | if state.related != 0 { RELATED } else { 0 };
    let (daddr, saddr) =
        if other_side { (&state.destination, &state.source) } else { (&state.source, &state.destination) };
    let (dport, sport) = if other_side {
        (state.source_port, state.destination_port)
    } else {
        (state.destination_port, state.source_port)
    };
    let key = (&raw mut state.key).cast::<u8>();
    // SAFETY: the key has room for either form, and both need no more than its alignment of two bytes.
    unsafe {
        if state.ipv6 != 0 {
            let (daddr, saddr) = (*daddr, *saddr);
            *key.cast() = Tuple::<4> { daddr, saddr, dport, sport, protocol: state.protocol, flags };
        } else {
            let (daddr, saddr) = ([daddr[0]], [saddr[0]]);
            *key.cast() = Tuple::<1> { daddr, saddr, dport, sport, protocol: state.protocol, flags };
        }
    }
}

/// Turns the key into that of the companion that recognises ICMP errors.
#[inline(always)]
fn relate_key(state: &mut State) {
    let key = (&raw mut state.key).cast::<u8>();
    // SAFETY: as in `write_key`, which wrote this very form.
    unsafe {
        if state.ipv6 != 0 {
            let key = &mut *key.cast::<Tuple<4>>();
            (key.dport, key.sport, key.protocol) = (0, 0, ICMPV6);
            key.flags |= RELATED;
        } else {
            let key = &mut *key.cast::<Tuple<1>>();
            (key.dport, key.sport, key.protocol) = (0, 0, ICMP);
            key.flags |= RELATED;
        }
    }
}

/// The map of the family: TCP has one of its own.
#[inline(always)]
fn map(state: &State, tcp: bool) -> *mut c_void {
    match (state.ipv6 != 0, tcp) {
        (false, true) => (&raw const CT4).cast_mut().cast(),
        (false, false) => (&raw const CT_ANY4).cast_mut().cast(),
        (true, true) => (&raw const CT6).cast_mut().cast(),
        (true, false) => (&raw const CT_ANY6).cast_mut().cast(),
    }
}

#[inline(always)]
fn find(state: &mut State, other_side: bool) -> *mut Entry {
    write_key(state, other_side);
    let state = forget(state);
    // SAFETY: map and key belong together; the result is null or a value of 56 bytes.
    unsafe { bpf_map_lookup_elem(map(state, state.is_tcp()), (&raw const state.key).cast()).cast() }
}

#[inline(always)]
fn insert(state: &mut State, tcp: bool) -> Result<(), Drop> {
    let (key, entry) = ((&raw const state.key).cast(), (&raw const state.entry).cast());
    // SAFETY: map, key and value belong together.
    match unsafe { bpf_map_update_elem(map(state, tcp), key, entry, BPF_ANY.into()) } {
        0 => Ok(()),
        error => Err(drop_for!(reason::CT_CREATE_FAILED, error as i8)),
    }
}

/// Takes note of one packet of a known connection; true if it starts the connection anew.
#[inline(always)]
fn refresh(entry: *mut Entry, state: &State) -> bool {
    let (tcp, tcp_flags, direction) = (state.is_tcp(), state.tcp_flags, state.direction);
    // SAFETY: the map's value is 56 bytes; other CPUs may write it too, which costs at most a report.
    let entry = unsafe { &mut *entry };
    let now = now();
    let closing = entry.flags & (RX_CLOSING | TX_CLOSING);
    if tcp && tcp_flags & (SYN | FIN | RST) == SYN && closing != 0 {
        entry.flags &= !(RX_CLOSING | TX_CLOSING | SEEN_NON_SYN);
        entry.tx_flags = 0;
        entry.rx_flags = 0;
        return true;
    }
    if tcp && tcp_flags & SYN == 0 {
        entry.flags |= SEEN_NON_SYN;
    }
    if closing != RX_CLOSING | TX_CLOSING {
        entry.lifetime = now + lifetime(tcp, entry.flags);
    }
    if config!(ct_two_counters) != 0 {
        let at = if direction == INGRESS { 0 } else { 2 };
        entry.counters[at] += 1;
        entry.counters[at + 1] += u64::from(state.length);
    }
    report(entry, tcp_flags & (SYN | FIN | RST), direction, now);
    if tcp && tcp_flags & (FIN | RST) != 0 {
        close(entry, tcp_flags, direction, now);
    }
    false
}

fn lifetime(tcp: bool, flags: u16) -> u32 {
    match (tcp, flags & SEEN_NON_SYN != 0) {
        (false, _) => ANY_LIFETIME,
        (true, true) => TCP_LIFETIME,
        (true, false) => SYN_LIFETIME,
    }
}

#[inline(always)]
fn close(entry: &mut Entry, tcp_flags: u8, direction: u8, now: u32) {
    let side = if direction == INGRESS { RX_CLOSING } else { TX_CLOSING };
    entry.flags |= if tcp_flags & RST != 0 { RX_CLOSING | TX_CLOSING } else { side };
    if entry.flags & (RX_CLOSING | TX_CLOSING) == RX_CLOSING | TX_CLOSING {
        entry.lifetime = now + CLOSE_LIFETIME;
    }
}

#[inline(always)]
fn report(entry: &mut Entry, seen: u8, direction: u8, now: u32) {
    let (last, flags) = if direction == INGRESS {
        (&mut entry.last_rx, &mut entry.rx_flags)
    } else {
        (&mut entry.last_tx, &mut entry.tx_flags)
    };
    if *last + REPORT_INTERVAL < now || seen & !*flags != 0 {
        *last = now;
        *flags |= seen;
    }
}

/// Looks the packet's connection up.
#[inline(always)]
pub fn look_up(state: &mut State) -> Status {
    let other = find(state, true);
    if !other.is_null() {
        return match (refresh(other, state), state.related) {
            (true, _) => Status::New,
            (false, 0) => Status::Reply,
            (false, _) => Status::Related,
        };
    }
    let own = find(state, false);
    if own.is_null() || refresh(own, state) { Status::New } else { Status::Established }
}

/// Enters a new connection of `source`, and the companion that recognises ICMP errors about it.
#[inline(always)]
pub fn create(state: &mut State, source: u32) -> Result<(), Drop> {
    let now = now();
    let seen = state.tcp_flags & (SYN | FIN | RST);
    let ingress = state.direction == INGRESS;
    let lifetime = now + if state.is_tcp() { SYN_LIFETIME } else { ANY_LIFETIME };
    let entry = &mut state.entry;
    entry.counters = [zero(); 4];
    if config!(ct_two_counters) != 0 {
        let at = if ingress { 0 } else { 2 };
        entry.counters[at] = 1;
        entry.counters[at + 1] = u64::from(state.length);
    }
    entry.lifetime = lifetime;
    entry.flags = zero() as u16;
    entry.rev_nat = zero() as u16;
    entry.ifindex = zero() as u16;
    entry.tx_flags = if ingress { 0 } else { seen };
    entry.rx_flags = if ingress { seen } else { 0 };
    entry.source = source;
    entry.last_tx = if ingress { 0 } else { now };
    entry.last_rx = if ingress { now } else { 0 };
    write_key(state, false);
    let state = forget(state);
    insert(state, state.is_tcp())?;
    relate_key(state);
    state.entry.lifetime = now + ANY_LIFETIME;
    insert(forget(state), false)
}
