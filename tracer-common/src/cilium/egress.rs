//! `cilium_egress_gw_policy_v4`, `_v4_v2` (1.20) and `_v6` (1.18 and newer): which traffic of which pod leaves
//! the cluster through which node, with which address. LPM tries: the pod is exact, the destination a prefix.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`EgressValue4::gateway_ip`]: no gateway was found, the datapath drops.
pub const NO_GATEWAY: [u8; 4] = [0; 4];
/// [`EgressValue4::gateway_ip`]: the destination is exempt from the policy.
pub const EXCLUDED: [u8; 4] = [0, 0, 0, 1];

/// `struct egress_gw_policy_key` (bpf/lib/common.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EgressKey4 {
    /// Host order; 32 + prefix length of the destination.
    pub prefixlen: u32,
    pub source: [u8; 4],
    pub destination: [u8; 4],
}

/// `struct egress_gw_policy_key6` (bpf/lib/common.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EgressKey6 {
    /// Host order; 128 + prefix length of the destination.
    pub prefixlen: u32,
    pub source: [u8; 16],
    pub destination: [u8; 16],
}

/// `struct egress_gw_policy_entry` (bpf/lib/common.h), up to 1.19.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EgressValue4 {
    /// Source address outside; zero on other nodes than the gateway.
    pub egress_ip: [u8; 4],
    /// The node; also [`NO_GATEWAY`] or [`EXCLUDED`].
    pub gateway_ip: [u8; 4],
}

/// The same of 1.20.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EgressValue4V2 {
    pub egress_ip: [u8; 4],
    pub gateway_ip: [u8; 4],
    pub reserved1: [u32; 3],
    /// Host order; 0: by the routing table.
    pub egress_ifindex: u32,
    pub reserved2: u32,
}

/// `struct egress_gw_policy_entry6`, 1.18 and newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EgressValue6 {
    pub egress_ip: [u8; 16],
    /// The node's IPv4 address.
    pub gateway_ip: [u8; 4],
    pub reserved1: [u32; 3],
    pub egress_ifindex: u32,
    pub reserved2: u32,
}

const _: () = assert!(size_of::<EgressKey4>() == 12);
const _: () = assert!(size_of::<EgressKey6>() == 36);
const _: () = assert!(size_of::<EgressValue4>() == 8);
const _: () = assert!(size_of::<EgressValue4V2>() == 28);
const _: () = assert!(size_of::<EgressValue6>() == 40);
