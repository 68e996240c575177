//! Addresses as Cilium's map keys and values hold them: 16 bytes that are either an IPv6 address or an IPv4
//! address in the first four, with a family byte elsewhere in the structure that says which.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `ENDPOINT_KEY_IPV4` (bpf/lib/common.h). Not AF_INET.
pub const FAMILY_V4: u8 = 1;
/// `ENDPOINT_KEY_IPV6`.
pub const FAMILY_V6: u8 = 2;

/// `union { __be32 ip4; union v6addr ip6; }`: network order; IPv4 in the first four bytes, the rest zero.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct AnyAddr(pub [u8; 16]);

impl AnyAddr {
    pub fn new(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::v4(ip),
            IpAddr::V6(ip) => Self(ip.octets()),
        }
    }

    fn v4(ip: Ipv4Addr) -> Self {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&ip.octets());
        Self(bytes)
    }

    /// The address that `family` says this is. `None`: no such family, or more than an IPv4 address in an
    /// IPv4 field; then the structure is not what it was taken for.
    pub fn ip(&self, family: u8) -> Option<IpAddr> {
        match family {
            FAMILY_V4 => self.as_v4().map(IpAddr::V4),
            FAMILY_V6 => Some(IpAddr::V6(Ipv6Addr::from(self.0))),
            _ => None,
        }
    }

    /// The IPv4 address in the first four bytes, if nothing follows it.
    pub fn as_v4(&self) -> Option<Ipv4Addr> {
        let [a, b, c, d, rest @ ..] = self.0;
        (rest == [0; 12]).then(|| Ipv4Addr::new(a, b, c, d))
    }
}

/// The family byte that goes with `ip`.
pub const fn family_of(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => FAMILY_V4,
        IpAddr::V6(_) => FAMILY_V6,
    }
}

/// Six bytes of a MAC address in natural order, then two of padding (`mac_t`, `union macaddr`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct PaddedMac {
    pub mac: [u8; 6],
    pub pad: [u8; 2],
}
