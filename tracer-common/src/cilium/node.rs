//! `cilium_node_map` (all releases) and `cilium_node_map_v2` (1.16 and newer): the number that each address of
//! a node has in the cluster. IPsec and mutual authentication go by it.

use core::net::IpAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::addr::{AnyAddr, family_of};

/// `struct node_key` (bpf/lib/eps.h), all releases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NodeKey {
    pub pad1: u16,
    pub pad2: u8,
    /// [`super::addr::FAMILY_V4`] or [`super::addr::FAMILY_V6`].
    pub family: u8,
    pub ip: AnyAddr,
}

impl NodeKey {
    pub fn new(ip: IpAddr) -> Self {
        Self { family: family_of(ip), ip: AnyAddr::new(ip), ..Self::default() }
    }

    /// `None`: impossible bits, the key is not what it was taken for.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip.ip(self.family)
    }
}

/// `struct node_value` (bpf/lib/eps.h), of `cilium_node_map_v2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NodeValue {
    /// Host order; 0 for the local node.
    pub id: u16,
    /// IPsec key index, 0 without IPsec.
    pub spi: u8,
    pub pad: u8,
}

const _: () = assert!(size_of::<NodeKey>() == 20);
const _: () = assert!(size_of::<NodeValue>() == 4);
