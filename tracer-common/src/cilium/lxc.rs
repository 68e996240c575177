//! `cilium_lxc`: the endpoints of this node and its own addresses, by address. One entry per address: an
//! endpoint with IPv4 and IPv6 has two.

use core::net::IpAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::addr::{AnyAddr, PaddedMac, family_of};

/// `struct endpoint_key` (bpf/lib/common.h), 1.14 and newer. All padding must be zero in look-ups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EndpointKey {
    pub ip: AnyAddr,
    /// [`super::addr::FAMILY_V4`] or [`super::addr::FAMILY_V6`].
    pub family: u8,
    /// Not used.
    pub key: u8,
    /// Host order, 0 in practice. 1.14: 8 bits, then padding.
    pub cluster_id: u16,
}

impl EndpointKey {
    pub fn new(ip: IpAddr) -> Self {
        Self { ip: AnyAddr::new(ip), family: family_of(ip), ..Self::default() }
    }

    /// `None`: impossible bits, the key is not what it was taken for.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip.ip(self.family)
    }
}

/// Bits of [`EndpointInfo::flags`].
pub mod flag {
    /// An address of the node itself (`ENDPOINT_F_HOST`); id, ifindex and identity are zero.
    pub const HOST: u32 = 1 << 0;
    /// The interface lives in the node's network namespace (1.18 and newer).
    pub const AT_HOST_NS: u32 = 1 << 1;
    /// Not masqueraded for IPv4 (1.19 and newer).
    pub const NO_SNAT_V4: u32 = 1 << 2;
    /// Not masqueraded for IPv6 (1.19 and newer).
    pub const NO_SNAT_V6: u32 = 1 << 3;
}

/// `struct endpoint_info` (bpf/lib/common.h), 1.14 and newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EndpointInfo {
    /// Host order; the host side of the veth or netkit pair. 0 for the node's own addresses.
    pub ifindex: u32,
    pub unused: u16,
    /// Host order; the endpoint's id. 0 for the node's own addresses.
    pub lxc_id: u16,
    /// Host order; [`flag`].
    pub flags: u32,
    /// Padding; routing information from 1.20 on.
    pub pad1: u32,
    /// The container's MAC address.
    pub mac: PaddedMac,
    /// MAC address of the host side.
    pub node_mac: PaddedMac,
    /// Host order; the endpoint's identity. 0 for the node's own addresses, and while not resolved.
    pub sec_id: u32,
    /// Host order, 1.18 and newer: interface index of the parent device. Padding before.
    pub parent_ifindex: u32,
    pub pad2: [u32; 2],
}

const _: () = assert!(size_of::<EndpointKey>() == 20);
const _: () = assert!(size_of::<EndpointInfo>() == 48);

impl EndpointInfo {
    pub const fn is_host(&self) -> bool {
        self.flags & flag::HOST != 0
    }
}
