//! Small maps about who is reached how: L2 announcements, external VTEPs, SRv6, devices, and plain sets of
//! prefixes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::addr::PaddedMac;

/// Key of `cilium_l2_responder_v4`; the value counts the answers given, host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ResponderKey4 {
    pub ip: [u8; 4],
    pub ifindex: u32,
}

/// Key of `cilium_l2_responder_v6` (1.18 and newer).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ResponderKey6 {
    pub ip: [u8; 16],
    pub ifindex: u32,
    pub pad: u32,
}

/// Value of `cilium_vtep_map`; the key is the base address of the VTEP's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VtepValue {
    pub mac: PaddedMac,
    pub tunnel_endpoint: [u8; 4],
    pub pad: u32,
}

/// Key of `cilium_srv6_vrf_v4`; `prefixlen` is 32 + that of the destination, the value a VRF number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VrfKey4 {
    pub prefixlen: u32,
    pub source: [u8; 4],
    pub destination: [u8; 4],
}

/// Key of `cilium_srv6_vrf_v6`; `prefixlen` is 128 + that of the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VrfKey6 {
    pub prefixlen: u32,
    pub source: [u8; 16],
    pub destination: [u8; 16],
}

/// Key of `cilium_srv6_policy_v4`; `prefixlen` is 32 + that of the destination, the value a SID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SidKey4 {
    pub prefixlen: u32,
    pub vrf: u32,
    pub destination: [u8; 4],
}

/// Key of `cilium_srv6_policy_v6`; `prefixlen` is 32 + that of the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SidKey6 {
    pub prefixlen: u32,
    pub vrf: u32,
    pub destination: [u8; 16],
}

/// Key of the sets of IPv4 prefixes: `cilium_ipmasq_v4`, `cilium_world_cidrs4`, `cilium_cidr_v4_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PrefixKey4 {
    pub prefixlen: u32,
    pub ip: [u8; 4],
}

/// Key of the sets of IPv6 prefixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PrefixKey6 {
    pub prefixlen: u32,
    pub ip: [u8; 16],
}

/// Value of `cilium_devices` (1.20); the key is the interface index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DeviceValue {
    pub mac: PaddedMac,
    /// Bit 0: the device has no link layer.
    pub flags: u8,
    pub pad: [u8; 7],
}

const _: () = assert!(size_of::<ResponderKey4>() == 8);
const _: () = assert!(size_of::<ResponderKey6>() == 24);
const _: () = assert!(size_of::<VtepValue>() == 16);
const _: () = assert!(size_of::<VrfKey4>() == 12);
const _: () = assert!(size_of::<VrfKey6>() == 36);
const _: () = assert!(size_of::<SidKey4>() == 12);
const _: () = assert!(size_of::<SidKey6>() == 24);
const _: () = assert!(size_of::<PrefixKey4>() == 8);
const _: () = assert!(size_of::<PrefixKey6>() == 20);
const _: () = assert!(size_of::<DeviceValue>() == 16);
