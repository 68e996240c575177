//! Load balancing: `cilium_lb{4,6}_services_v2` (frontends and their backend slots),
//! `cilium_lb{4,6}_backends_v3`, `cilium_lb{4,6}_reverse_nat`. The id of a service (`rev_nat_index`) is in
//! network order everywhere; ids of backends, slots and counts are in host order.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

macro_rules! family {
    ($address:literal, $key:ident, $backend:ident, $frontend:ident, $sizes:expr) => {
        /// `struct lb4_key`, `struct lb6_key` (bpf/lib/common.h), 1.14 and newer.
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        #[repr(C)]
        pub struct $key {
            /// Network order; the unspecified address in surrogate entries of node ports.
            pub address: [u8; $address],
            /// 0 in entries for unknown ports of a known address (1.18 and newer).
            pub dport: U16,
            /// Host order; 0: the frontend itself. Then the active backends, then the quarantined ones.
            pub backend_slot: u16,
            /// IP protocol; 0: any.
            pub proto: u8,
            /// 0 external, 1 internal.
            pub scope: u8,
            pub pad: [u8; 2],
        }

        /// `struct lb4_backend`, `struct lb6_backend` (bpf/lib/common.h), 1.14 and newer.
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        #[repr(C)]
        pub struct $backend {
            /// Network order.
            pub address: [u8; $address],
            pub port: U16,
            /// IP protocol; 0: any.
            pub proto: u8,
            /// [`backend_state`].
            pub state: u8,
            /// Host order; 0 for this cluster. 1.14: 8 bits, then padding.
            pub cluster_id: u16,
            /// Topology zone, 1.16 and newer; 0 for none.
            pub zone: u8,
            pub pad: u8,
        }

        /// `struct lb4_reverse_nat`, `struct lb6_reverse_nat` (bpf/lib/common.h), all releases. Packed.
        #[derive(
            Clone,
            Copy,
            Debug,
            Default,
            PartialEq,
            Eq,
            FromBytes,
            IntoBytes,
            Immutable,
            KnownLayout,
            Unaligned,
        )]
        #[repr(C)]
        pub struct $frontend {
            /// Network order.
            pub address: [u8; $address],
            pub port: U16,
        }

        const _: () = {
            let sizes = (size_of::<$key>(), size_of::<$backend>(), size_of::<$frontend>());
            assert!(sizes.0 == $sizes.0 && sizes.1 == $sizes.1 && sizes.2 == $sizes.2);
        };
    };
}

family!(4, ServiceKey4, Backend4, Frontend4, (12, 12, 6));
family!(16, ServiceKey6, Backend6, Frontend6, (24, 24, 18));

/// `Backend4::state`, `Backend6::state`.
pub mod backend_state {
    pub const ACTIVE: u8 = 0;
    pub const TERMINATING: u8 = 1;
    pub const QUARANTINED: u8 = 2;
    pub const MAINTENANCE: u8 = 3;
}

/// Bits of [`Service::flags`].
pub mod flag {
    pub const EXTERNAL_IP: u8 = 1 << 0;
    pub const NODE_PORT: u8 = 1 << 1;
    /// `externalTrafficPolicy: Local`.
    pub const EXT_LOCAL_SCOPE: u8 = 1 << 2;
    pub const HOST_PORT: u8 = 1 << 3;
    /// A client stays with its backend.
    pub const AFFINITY: u8 = 1 << 4;
    pub const LOAD_BALANCER: u8 = 1 << 5;
    /// No surrogate.
    pub const ROUTABLE: u8 = 1 << 6;
    /// `loadBalancerSourceRanges` are checked.
    pub const SOURCE_RANGE: u8 = 1 << 7;
}

/// Bits of [`Service::flags2`].
pub mod flag2 {
    pub const LOCAL_REDIRECT: u8 = 1 << 0;
    pub const NAT_46X64: u8 = 1 << 1;
    /// The proxy balances.
    pub const L7_LOAD_BALANCER: u8 = 1 << 2;
    /// Host port on the loopback device.
    pub const LOOPBACK: u8 = 1 << 3;
    /// `internalTrafficPolicy: Local`.
    pub const INT_LOCAL_SCOPE: u8 = 1 << 4;
    pub const TWO_SCOPES: u8 = 1 << 5;
    /// In backend slots, 1.17 and newer: quarantined. In slot 0, 1.18 and newer: source ranges deny.
    pub const QUARANTINED: u8 = 1 << 6;
    /// 1.18 and newer.
    pub const FWD_MODE_DSR: u8 = 1 << 7;
}

/// `struct lb4_service`, `struct lb6_service` (bpf/lib/common.h), 1.14 and newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Service {
    /// Backend slots: the backend's id, host order. Slot 0 with [`flag::AFFINITY`]: seconds, host order (1.18
    /// and newer: in the low 24 bits). Slot 0 with [`flag2::L7_LOAD_BALANCER`]: [`Service::l7lb_port`].
    pub backend_id_or_settings: u32,
    /// Host order; active backends, in slot 0.
    pub count: u16,
    /// The service's id.
    pub rev_nat_index: U16,
    /// [`flag`].
    pub flags: u8,
    /// [`flag2`].
    pub flags2: u8,
    /// Host order; quarantined backends, 1.17 and newer; padding before.
    pub qcount: u16,
}

const _: () = assert!(size_of::<Service>() == 12);

impl Service {
    /// Port of the proxy that balances: the first two bytes in memory, in network order.
    pub fn l7lb_port(&self) -> u16 {
        let [a, b, ..] = self.backend_id_or_settings.to_ne_bytes();
        u16::from_be_bytes([a, b])
    }
}
