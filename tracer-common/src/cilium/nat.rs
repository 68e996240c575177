//! Source NAT: `cilium_snat_v4_external` and `cilium_snat_v6_external`. Keys are [`super::tuple::Tuple4`]
//! and [`super::tuple::Tuple6`], in plain orientation: `saddr:sport` is the source and `daddr:dport` the
//! destination of the packet that matches. Without [`super::tuple::flag::IN`] that is the packet that leaves,
//! and the value its new source; with it the packet that comes back, and the value its old source.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct ipv4_nat_entry` (bpf/lib/nat.h), 1.14 and newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NatEntry4 {
    /// Host order, CT clock.
    pub created: u64,
    /// Host order; 1: a connection tracking entry belongs to it.
    pub needs_ct: u64,
    pub pad1: [u64; 2],
    /// New source or old source, by the key's direction. Network order.
    pub to_addr: [u8; 4],
    /// New or old source port, or ICMP identifier.
    pub to_port: U16,
    pub pad2: u16,
}

/// `struct ipv6_nat_entry` (bpf/lib/nat.h), 1.14 and newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NatEntry6 {
    /// Host order, CT clock.
    pub created: u64,
    /// Host order; 1: a connection tracking entry belongs to it.
    pub needs_ct: u64,
    pub pad1: [u64; 2],
    /// New source or old source, by the key's direction. Network order.
    pub to_addr: [u8; 16],
    /// New or old source port, or ICMP identifier.
    pub to_port: U16,
    pub pad2: [u16; 3],
}

const _: () = assert!(size_of::<NatEntry4>() == 40);
const _: () = assert!(size_of::<NatEntry6>() == 56);
