//! The five-tuple that connection tracking and NAT maps are keyed by. Packed: no padding at the end. What
//! the fields mean depends on the map and on the flags; see [`super::ct`] and [`super::nat`].

use core::net::IpAddr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bits of `flags` (`TUPLE_F_*`, bpf/lib/common.h).
pub mod flag {
    /// Made where packets arrive (connection tracking), or matches packets that come back (NAT). Neither
    /// bit set: the other direction.
    pub const IN: u8 = 1 << 0;
    /// Recognizes ICMP errors that belong to a connection.
    pub const RELATED: u8 = 1 << 1;
    /// Binds a client and a frontend to a backend.
    pub const SERVICE: u8 = 1 << 2;
}

macro_rules! tuple {
    ($(#[$doc:meta])* $name:ident($address:literal)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
        )]
        #[repr(C)]
        pub struct $name {
            /// Network order.
            pub daddr: [u8; $address],
            /// Network order.
            pub saddr: [u8; $address],
            pub dport: U16,
            pub sport: U16,
            /// IP protocol.
            pub nexthdr: u8,
            /// [`flag`].
            pub flags: u8,
        }

        impl $name {
            pub fn daddr(&self) -> IpAddr {
                self.daddr.into()
            }

            pub fn saddr(&self) -> IpAddr {
                self.saddr.into()
            }
        }
    };
}

tuple! {
    /// `struct ipv4_ct_tuple` (bpf/lib/common.h), all releases.
    Tuple4(4)
}
tuple! {
    /// `struct ipv6_ct_tuple` (bpf/lib/common.h), all releases.
    Tuple6(16)
}

const _: () = assert!(size_of::<Tuple4>() == 14);
const _: () = assert!(size_of::<Tuple6>() == 38);
