//! `cilium_ipcache` (up to 1.17) and `cilium_ipcache_v2` (1.18 and newer): address or prefix to security
//! identity, an LPM trie. The key is the same in both; the value grew for IPv6 underlays.

use core::net::IpAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::addr::{AnyAddr, FAMILY_V4, FAMILY_V6, family_of};

/// Bits of the key in front of the address; `prefixlen` counts them.
pub const STATIC_PREFIX_BITS: u32 = 32;

/// `struct ipcache_key` (bpf/lib/eps.h), 1.14 and newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IpcacheKey {
    /// Host order; [`STATIC_PREFIX_BITS`] + prefix length of the address.
    pub prefixlen: u32,
    /// Host order; 0 for this cluster and wherever pod addresses do not overlap. 1.14: padding.
    pub cluster_id: u16,
    /// Padding. 1.14: the cluster id, 8 bits wide.
    pub pad: u8,
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u8,
    pub ip: AnyAddr,
}

impl IpcacheKey {
    /// The key that asks for the longest match of one address of this cluster.
    pub fn host(ip: IpAddr) -> Self {
        Self::prefix(ip, address_bits(family_of(ip)))
    }

    /// The key of `ip`/`bits` in this cluster.
    pub fn prefix(ip: IpAddr, bits: u32) -> Self {
        Self {
            prefixlen: STATIC_PREFIX_BITS + bits,
            family: family_of(ip),
            ip: AnyAddr::new(ip),
            ..Self::default()
        }
    }

    /// Address and prefix length. `None`: impossible bits, the key is not what it was taken for.
    pub fn cidr(&self) -> Option<(IpAddr, u8)> {
        let ip = self.ip.ip(self.family)?;
        let bits = self.prefixlen.checked_sub(STATIC_PREFIX_BITS)?;
        (bits <= address_bits(self.family)).then_some((ip, bits as u8))
    }
}

const fn address_bits(family: u8) -> u32 {
    match family {
        FAMILY_V4 => 32,
        FAMILY_V6 => 128,
        _ => 0,
    }
}

/// Bits of the `flags` byte of both values.
pub mod flag {
    /// Do not encapsulate, whatever the routing mode (1.16 and newer).
    pub const SKIP_TUNNEL: u8 = 1 << 0;
    /// `tunnel_endpoint` holds an address (1.18 and newer).
    pub const HAS_TUNNEL_ENDPOINT: u8 = 1 << 1;
    /// `tunnel_endpoint` is an IPv6 address (1.18 and newer).
    pub const IPV6_TUNNEL_ENDPOINT: u8 = 1 << 2;
    /// The address belongs to another cluster (1.19 and newer).
    pub const REMOTE_CLUSTER: u8 = 1 << 3;
}

/// `struct remote_endpoint_info` (bpf/lib/eps.h), up to 1.17.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IpcacheValue {
    /// Host order; 0: the datapath takes the address for world.
    pub sec_identity: u32,
    /// IPv4 address of the node to encapsulate to, network order; zero: local or direct.
    pub tunnel_endpoint: [u8; 4],
    /// Host order, 1.14 only; padding later.
    pub node_id: u16,
    /// IPsec key index, 255 for WireGuard; 0: not encrypted.
    pub key: u8,
    /// [`flag`]; padding before 1.16.
    pub flags: u8,
}

/// `struct remote_endpoint_info` (bpf/lib/eps.h), 1.18 and newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IpcacheValueV2 {
    /// Host order; 0: the datapath takes the address for world.
    pub sec_identity: u32,
    /// Node to encapsulate to, meaningful with [`flag::HAS_TUNNEL_ENDPOINT`]; its family is in `flags`.
    pub tunnel_endpoint: AnyAddr,
    pub pad: u16,
    /// IPsec key index, 255 for WireGuard; 0: not encrypted.
    pub key: u8,
    /// [`flag`].
    pub flags: u8,
}

const _: () = assert!(size_of::<IpcacheKey>() == 24);
const _: () = assert!(size_of::<IpcacheValue>() == 12);
const _: () = assert!(size_of::<IpcacheValueV2>() == 24);

impl IpcacheValue {
    pub fn tunnel_endpoint(&self) -> Option<IpAddr> {
        (self.tunnel_endpoint != [0; 4]).then(|| IpAddr::from(self.tunnel_endpoint))
    }
}

impl IpcacheValueV2 {
    /// `None` without an endpoint, and when the bytes do not fit the family in `flags`.
    pub fn tunnel_endpoint(&self) -> Option<IpAddr> {
        let family = if self.flags & flag::IPV6_TUNNEL_ENDPOINT == 0 { FAMILY_V4 } else { FAMILY_V6 };
        if self.flags & flag::HAS_TUNNEL_ENDPOINT == 0 { None } else { self.tunnel_endpoint.ip(family) }
    }
}
