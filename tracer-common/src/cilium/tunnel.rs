//! `cilium_tunnel_map` (up to 1.17): the pod network of a node to the address to encapsulate to.

use core::net::IpAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::addr::AnyAddr;

/// `struct tunnel_key` (bpf/lib/common.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TunnelKey {
    /// Network address; the length of the prefix is the same on all nodes and not told.
    pub prefix: AnyAddr,
    /// [`super::addr::FAMILY_V4`] or [`super::addr::FAMILY_V6`].
    pub family: u8,
    /// 1.14: the cluster id, 8 bits wide. Padding later.
    pub narrow_cluster_id: u8,
    /// Host order, 1.15 and newer. Padding before.
    pub cluster_id: u16,
}

/// `struct tunnel_value` (bpf/lib/common.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TunnelValue {
    pub node: AnyAddr,
    /// Of `node`.
    pub family: u8,
    /// IPsec key index, 255 for WireGuard; 0: not encrypted.
    pub key: u8,
    /// Host order, 1.14 only; padding later.
    pub node_id: u16,
}

impl TunnelKey {
    /// `None`: impossible bits, the key is not what it was taken for.
    pub fn prefix(&self) -> Option<IpAddr> {
        self.prefix.ip(self.family)
    }

    /// 0 for this cluster.
    pub fn cluster_id(&self) -> u16 {
        if self.cluster_id == 0 { u16::from(self.narrow_cluster_id) } else { self.cluster_id }
    }
}

impl TunnelValue {
    /// `None`: impossible bits, the value is not what it was taken for.
    pub fn node(&self) -> Option<IpAddr> {
        self.node.ip(self.family)
    }
}

const _: () = assert!(size_of::<TunnelKey>() == 20);
const _: () = assert!(size_of::<TunnelValue>() == 20);
