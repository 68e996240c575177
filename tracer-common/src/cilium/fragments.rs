//! `cilium_ipv4_frag_datagrams` and `cilium_ipv6_frag_datagrams` (1.18 and newer): the ports that the first
//! fragment of a datagram showed, for the fragments that follow it.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct ipv4_frag_id` (bpf/lib/ipv4.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FragmentKey4 {
    pub destination: [u8; 4],
    pub source: [u8; 4],
    pub id: U16,
    pub protocol: u8,
    pub pad: u8,
}

/// `struct ipv6_frag_id` (bpf/lib/ipv6.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FragmentKey6 {
    pub id: U32,
    pub protocol: u8,
    pub pad: [u8; 3],
    pub source: [u8; 16],
    pub destination: [u8; 16],
}

/// `struct ipv4_frag_l4ports`, of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FragmentPorts {
    pub source: U16,
    pub destination: U16,
}

const _: () = assert!(size_of::<FragmentKey4>() == 12);
const _: () = assert!(size_of::<FragmentKey6>() == 40);
const _: () = assert!(size_of::<FragmentPorts>() == 4);
