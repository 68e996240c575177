//! Connection tracking: reverse look-up, forward look-up, creation; lifetimes and flags as Cilium keeps them.
//! Keys of connections are mirrored: addresses swapped, ports not.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::maps::LruHashMap;

use crate::config::config;
use crate::packet::{ICMP, ICMPV6, Packet, TCP};
use crate::report::{Drop, EGRESS, INGRESS, drop_for, reason};

/// Byte arrays only: no padding, as packed as Cilium's.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Tuple<const N: usize> {
    daddr: [u8; N],
    saddr: [u8; N],
    dport: [u8; 2],
    sport: [u8; 2],
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

impl<const N: usize> Tuple<N> {
    /// The key under which the *other* side of this packet's connection would have been entered.
    fn reverse(packet: &Packet<N>, direction: u8) -> Self {
        Self {
            daddr: packet.destination,
            saddr: packet.source,
            dport: packet.source_port,
            sport: packet.destination_port,
            protocol: packet.protocol,
            flags: u8::from(direction == EGRESS) | related_bit(packet),
        }
    }

    /// The key of this packet's own direction.
    fn forward(packet: &Packet<N>, direction: u8) -> Self {
        Self {
            daddr: packet.source,
            saddr: packet.destination,
            dport: packet.destination_port,
            sport: packet.source_port,
            protocol: packet.protocol,
            flags: u8::from(direction == INGRESS) | related_bit(packet),
        }
    }
}

const _: () = assert!(IN == 1 && size_of::<Tuple<4>>() == 14 && size_of::<Tuple<16>>() == 38);
const _: () = assert!(size_of::<Entry>() == 56);

fn related_bit<const N: usize>(packet: &Packet<N>) -> u8 {
    if packet.related { RELATED } else { 0 }
}

/// Takes note of one packet of a known connection; true if it starts the connection anew.
#[inline(always)]
fn refresh(entry: *mut Entry, tcp: bool, tcp_flags: u8, direction: u8, length: u32) -> bool {
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
        entry.counters[at + 1] += u64::from(length);
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

/// Looks the packet's connection up at the hook of `direction`.
#[inline(always)]
pub fn look_up<const N: usize>(
    map: &LruHashMap<Tuple<N>, Entry>,
    packet: &Packet<N>,
    direction: u8,
    length: u32,
) -> Status {
    let tcp = packet.protocol == TCP;
    let reverse = Tuple::reverse(packet, direction);
    if let Some(entry) = map.get_ptr_mut(&reverse) {
        let anew = refresh(entry, tcp, packet.tcp_flags, direction, length);
        return match (anew, packet.related) {
            (true, _) => Status::New,
            (false, true) => Status::Related,
            (false, false) => Status::Reply,
        };
    }
    let forward = Tuple::forward(packet, direction);
    match map.get_ptr_mut(&forward) {
        Some(entry) if !refresh(entry, tcp, packet.tcp_flags, direction, length) => Status::Established,
        _ => Status::New,
    }
}

/// Enters a new connection and the companion that recognises ICMP errors about it.
#[inline(always)]
pub fn create<const N: usize>(
    map: &LruHashMap<Tuple<N>, Entry>,
    any: &LruHashMap<Tuple<N>, Entry>,
    packet: &Packet<N>,
    direction: u8,
    source: u32,
    length: u32,
) -> Result<(), Drop> {
    let now = now();
    let seen = packet.tcp_flags & (SYN | FIN | RST);
    let ingress = direction == INGRESS;
    let mut entry = Entry {
        counters: [0; 4],
        lifetime: now + if packet.protocol == TCP { SYN_LIFETIME } else { ANY_LIFETIME },
        flags: 0,
        rev_nat: 0,
        ifindex: 0,
        tx_flags: if ingress { 0 } else { seen },
        rx_flags: if ingress { seen } else { 0 },
        source,
        last_tx: if ingress { 0 } else { now },
        last_rx: if ingress { now } else { 0 },
    };
    if config!(ct_two_counters) != 0 {
        let at = if ingress { 0 } else { 2 };
        entry.counters[at] = 1;
        entry.counters[at + 1] = u64::from(length);
    }
    let mut key = Tuple::forward(packet, direction);
    map.insert(&key, &entry, BPF_ANY.into())
        .map_err(|error| drop_for!(reason::CT_CREATE_FAILED, error as i8))?;
    key.dport = [0; 2];
    key.sport = [0; 2];
    key.protocol = if N == 4 { ICMP } else { ICMPV6 };
    key.flags |= RELATED;
    entry.lifetime = now + ANY_LIFETIME;
    any.insert(&key, &entry, BPF_ANY.into()).map_err(|error| drop_for!(reason::CT_CREATE_FAILED, error as i8))
}
