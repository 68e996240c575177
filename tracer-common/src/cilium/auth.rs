//! `cilium_auth_map`: which pairs of identities have authenticated each other, and until when.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Unit of [`AuthValue::expiration`].
const NANOSECONDS: u128 = 512;

/// `struct auth_key` (bpf/lib/common.h). Host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AuthKey {
    pub local_identity: u32,
    pub remote_identity: u32,
    /// 0 for this node.
    pub remote_node_id: u16,
    /// 1 SPIRE, 2 always fail.
    pub auth_type: u8,
    pub pad: u8,
}

/// `struct auth_info` (bpf/lib/common.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AuthValue {
    /// Unix time in units of 512 ns, host order.
    pub expiration: u64,
}

impl AuthValue {
    /// Unix time.
    pub fn expires_at_seconds(&self) -> u64 {
        (u128::from(self.expiration) * NANOSECONDS / 1_000_000_000) as u64
    }
}

const _: () = assert!(size_of::<AuthKey>() == 12);
const _: () = assert!(size_of::<AuthValue>() == 8);
