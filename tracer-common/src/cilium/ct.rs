//! Connection tracking: `cilium_ct4_global`, `cilium_ct6_global` (TCP) and `cilium_ct_any4_global`,
//! `cilium_ct_any6_global` (everything else). Keys are [`Tuple4`] and [`Tuple6`]; the value has 56 bytes in
//! every release, with three meanings that its size does not tell apart.
//!
//! Orientation: in entries with [`tuple::flag::SERVICE`] the originator is `saddr:dport` and the frontend
//! `daddr:sport`. In all others the addresses are swapped instead of the ports: the originator is
//! `daddr:sport`, the other end `saddr:dport`. [`Tuple4::ends`] and [`Tuple6::ends`] know.

use core::net::{IpAddr, SocketAddr};

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::tuple::{self, Tuple4, Tuple6};

/// The two ends of a connection, with ICMP identifiers in place of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Who sent the first packet.
    pub originator: SocketAddr,
    pub other: SocketAddr,
}

fn ends(daddr: IpAddr, saddr: IpAddr, dport: U16, sport: U16, flags: u8) -> Ends {
    let (with_dport, with_sport) = (SocketAddr::new(saddr, dport.get()), SocketAddr::new(daddr, sport.get()));
    if flags & tuple::flag::SERVICE == 0 {
        Ends { originator: with_sport, other: with_dport }
    } else {
        Ends { originator: with_dport, other: with_sport }
    }
}

impl Tuple4 {
    /// The ends of a connection tracking entry.
    pub fn ends(&self) -> Ends {
        ends(self.daddr(), self.saddr(), self.dport, self.sport, self.flags)
    }
}

impl Tuple6 {
    /// The ends of a connection tracking entry.
    pub fn ends(&self) -> Ends {
        ends(self.daddr(), self.saddr(), self.dport, self.sport, self.flags)
    }
}

/// Bits of `flags` in the values.
pub mod flag {
    /// FIN or RST seen in ingress direction.
    pub const RX_CLOSING: u16 = 1 << 0;
    /// FIN or RST seen in egress direction, or of a service.
    pub const TX_CLOSING: u16 = 1 << 1;
    /// Up to 1.14.
    pub const NAT46: u16 = 1 << 2;
    /// The endpoint reached itself through a service.
    pub const LB_LOOPBACK: u16 = 1 << 3;
    /// At least one TCP packet without SYN was seen.
    pub const SEEN_NON_SYN: u16 = 1 << 4;
    pub const NODE_PORT: u16 = 1 << 5;
    /// Redirected to the proxy.
    pub const PROXY_REDIRECT: u16 = 1 << 6;
    /// `dsr` up to 1.15, `dsr_internal` later.
    pub const DSR: u16 = 1 << 7;
    /// Made by the proxy as load balancer.
    pub const FROM_L7LB: u16 = 1 << 8;
    /// Up to 1.13.
    pub const AUTH_REQUIRED: u16 = 1 << 9;
    /// The first packet came from the overlay.
    pub const FROM_TUNNEL: u16 = 1 << 10;
}

/// The part of the value that is the same in all releases, bytes 32 to 55.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CtCommon {
    /// Host order; end of life in the agent's CT clock: seconds of CLOCK_MONOTONIC, or jiffies >> 8.
    pub lifetime: u32,
    /// Host order; [`flag`].
    pub flags: u16,
    /// As the load balancer's maps store it. 0: no service.
    pub rev_nat_index: U16,
    /// Up to 1.17 the ifindex in host order, 1.18 reserved, from 1.19 the port for DSR in network order.
    pub ifindex_or_nat_port: [u8; 2],
    /// TCP flags seen in egress direction, low byte.
    pub tx_flags_seen: u8,
    /// TCP flags seen in ingress direction, low byte.
    pub rx_flags_seen: u8,
    /// Host order; identity of the originator, 0 for some entries of the host and of services.
    pub src_sec_id: u32,
    /// Host order, CT clock; 0: none yet.
    pub last_tx_report: u32,
    /// Host order, CT clock; 0: none yet.
    pub last_rx_report: u32,
}

/// `struct ct_entry` (bpf/lib/common.h), up to 1.15: counters per direction. Host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CtEntryPerDirection {
    pub rx_packets: u64,
    /// Bytes; in service entries the backend's id.
    pub rx_bytes_or_backend_id: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub common: CtCommon,
}

/// `struct ct_entry` (bpf/lib/common.h), 1.16 to 1.18: one pair of counters. Host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CtEntry {
    pub reserved: u64,
    /// Of service entries; 0 in others.
    pub backend_id: u64,
    /// Both directions; stays 0 when accounting is off, which is the default.
    pub packets: u64,
    /// Both directions; stays 0 when accounting is off, which is the default.
    pub bytes: u64,
    pub common: CtCommon,
}

/// `struct ct_entry` (bpf/lib/conntrack.h), 1.19 and newer: the address for DSR in place of the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CtEntryNat {
    /// Outgoing entries of DSR: address in network order, IPv4 in the first four bytes. Service entries: the
    /// backend's id in host order in the last eight.
    pub nat_addr_or_backend_id: [u8; 16],
    /// Both directions; stays 0 when accounting is off.
    pub packets: u64,
    /// Both directions; stays 0 when accounting is off.
    pub bytes: u64,
    pub common: CtCommon,
}

const _: () = assert!(size_of::<CtCommon>() == 24);
const _: () = assert!(size_of::<CtEntryPerDirection>() == 56);
const _: () = assert!(size_of::<CtEntry>() == 56);
const _: () = assert!(size_of::<CtEntryNat>() == 56);
