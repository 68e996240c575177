//! `cilium_policy_NNNNN`, `cilium_policy_v2_NNNNN`, `cilium_policy_v3_NNNNN`: what an endpoint may talk to,
//! one LPM trie per endpoint for both directions. One key, four generations of the value. Two of them have
//! the same size; [`Generation::of_entry`] tells them apart.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits of the key in front of protocol and port: identity, direction. `prefixlen` counts them.
pub const STATIC_PREFIX_BITS: u32 = 40;
/// `prefixlen` of a key without wildcards, and of every look-up.
pub const FULL_PREFIX_BITS: u32 = 64;

/// `struct policy_key` (bpf/lib/common.h, later bpf/lib/policy.h), all releases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PolicyKey {
    /// Host order; [`STATIC_PREFIX_BITS`] + protocol bits (0 or 8) + port bits (0 to 16).
    pub prefixlen: u32,
    /// Host order; identity of the other end. 0: any peer.
    pub sec_label: u32,
    /// Bit 0: 1 for egress. The others are zero.
    pub egress: u8,
    /// IP protocol; 0 when any.
    pub protocol: u8,
    /// Destination port; low bits may be wildcards (1.16 and newer). For ICMP the type. 0 when any.
    pub dport: U16,
}

impl PolicyKey {
    pub const fn is_egress(&self) -> bool {
        self.egress & 1 != 0
    }

    /// Bits of protocol and port that count: 0, 8, or 9 to 24. `None`: impossible.
    pub fn lpm_prefix_length(&self) -> Option<u8> {
        let bits = self.prefixlen.checked_sub(STATIC_PREFIX_BITS)?;
        matches!(bits, 0 | 8..=24).then_some(bits as u8)
    }

    /// The protocol, unless any will do.
    pub fn protocol(&self) -> Option<u8> {
        self.lpm_prefix_length().filter(|bits| *bits >= 8).map(|_| self.protocol)
    }

    /// First and last port, unless any will do.
    pub fn ports(&self) -> Option<(u16, u16)> {
        let bits = self.lpm_prefix_length().filter(|bits| *bits > 8)?;
        let wildcard = u16::MAX.checked_shr(u32::from(bits) - 8).unwrap_or(0);
        let first = self.dport.get() & !wildcard;
        Some((first, first | wildcard))
    }
}

/// Which of the values a map holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Generation {
    /// [`PolicyEntryWildcard`], up to 1.16.
    Wildcard,
    /// [`PolicyEntryPrefix`], 1.17.
    Prefix,
    /// [`PolicyEntryCompact`], 1.18.
    Compact,
    /// [`PolicyEntryPrecedence`], 1.19 and newer.
    Precedence,
}

impl Generation {
    /// Tells the two 24-byte generations apart by one entry; `None` if the entry fits neither or both.
    pub fn of_entry(key: &PolicyKey, value: &[u8; 24]) -> Option<Self> {
        let bits = key.lpm_prefix_length()?;
        let flags = value[2];
        match (bits, flags >> 3, flags & WILDCARD_BITS) {
            (0, 0, WILDCARD_BITS) => Some(Self::Wildcard),
            (0, 0, 0) => Some(Self::Prefix),
            (1.., length, 0) if length == bits => Some(Self::Prefix),
            (1.., 0, _) => Some(Self::Wildcard),
            _ => None,
        }
    }
}

/// Whether a value denies, whichever generation it is of; `None`: it is too short to be one.
pub fn is_deny(value: &[u8]) -> Option<bool> {
    value.get(2).map(|flags| flags & DENY != 0)
}

const DENY: u8 = 1 << 0;
const WILDCARD_PROTOCOL: u8 = 1 << 1;
const WILDCARD_DPORT: u8 = 1 << 2;
const WILDCARD_BITS: u8 = WILDCARD_PROTOCOL | WILDCARD_DPORT;
const EXPLICIT_AUTH: u8 = 1 << 7;

/// `struct policy_entry` (bpf/lib/common.h), up to 1.16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PolicyEntryWildcard {
    /// Port of the proxy to redirect to; 0: no redirect.
    pub proxy_port: U16,
    /// Bit 0 deny, bit 1 any protocol, bit 2 any port.
    pub flags: u8,
    /// 0 none, 1 SPIRE, 2 always fail.
    pub auth_type: u8,
    pub pad: [u16; 2],
    /// Host order; stays 0 when policy accounting is off.
    pub packets: u64,
    /// Host order; stays 0 when policy accounting is off.
    pub bytes: u64,
}

impl PolicyEntryWildcard {
    pub const fn is_deny(&self) -> bool {
        self.flags & DENY != 0
    }

    pub const fn is_any_protocol(&self) -> bool {
        self.flags & WILDCARD_PROTOCOL != 0
    }

    pub const fn is_any_port(&self) -> bool {
        self.flags & WILDCARD_DPORT != 0
    }
}

macro_rules! prefix_length_accessors {
    ($name:ident) => {
        impl $name {
            pub const fn is_deny(&self) -> bool {
                self.flags & DENY != 0
            }

            /// Prefix length of the key less the static bits: 0 any, 8 protocol only, 9 to 24 with port bits.
            pub const fn lpm_prefix_length(&self) -> u8 {
                self.flags >> 3
            }

            /// 0 none, 1 SPIRE, 2 always fail.
            pub const fn auth_type(&self) -> u8 {
                self.auth & !EXPLICIT_AUTH
            }

            /// The rule itself names the authentication; otherwise it may be inherited.
            pub const fn has_explicit_auth_type(&self) -> bool {
                self.auth & EXPLICIT_AUTH != 0
            }
        }
    };
}

/// `struct policy_entry` (bpf/lib/common.h), 1.17: the wildcard bits gave way to the prefix length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PolicyEntryPrefix {
    /// Port of the proxy to redirect to; 0: no redirect.
    pub proxy_port: U16,
    /// Bit 0 deny, bits 3 to 7 prefix length.
    pub flags: u8,
    /// Bits 0 to 6 type, bit 7 explicit.
    pub auth: u8,
    /// 0 none; the larger one wins between two entries that allow.
    pub proxy_port_priority: u8,
    pub pad: [u8; 3],
    /// Host order; stays 0 when policy accounting is off.
    pub packets: u64,
    /// Host order; stays 0 when policy accounting is off.
    pub bytes: u64,
}

/// `struct policy_entry` (bpf/lib/policy.h), 1.18: counters moved to `cilium_policystats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PolicyEntryCompact {
    /// Port of the proxy to redirect to; 0: no redirect.
    pub proxy_port: U16,
    /// Bit 0 deny, bits 3 to 7 prefix length.
    pub flags: u8,
    /// Bits 0 to 6 type, bit 7 explicit.
    pub auth: u8,
    /// 0 none; the larger one wins between two entries that allow.
    pub proxy_port_priority: u8,
    pub pad: [u8; 3],
}

/// `struct policy_entry` (bpf/lib/policy.h), 1.19 and newer: one number orders all entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PolicyEntryPrecedence {
    /// Port of the proxy to redirect to; 0: no redirect.
    pub proxy_port: U16,
    /// Bit 0 deny, bits 3 to 7 prefix length.
    pub flags: u8,
    /// Bits 0 to 6 type, bit 7 explicit.
    pub auth: u8,
    /// Host order; the larger one wins, `u32::MAX` always does.
    pub precedence: u32,
    /// Host order; opaque number of the rule that made the entry, 0 none.
    pub cookie: u32,
}

prefix_length_accessors!(PolicyEntryPrefix);
prefix_length_accessors!(PolicyEntryCompact);
prefix_length_accessors!(PolicyEntryPrecedence);

const _: () = assert!(size_of::<PolicyKey>() == 12);
const _: () = assert!(size_of::<PolicyEntryWildcard>() == 24);
const _: () = assert!(size_of::<PolicyEntryPrefix>() == 24);
const _: () = assert!(size_of::<PolicyEntryCompact>() == 8);
const _: () = assert!(size_of::<PolicyEntryPrecedence>() == 12);
