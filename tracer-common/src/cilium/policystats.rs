//! `cilium_policystats` (1.18 and newer): how much each policy entry matched, one map for all endpoints, one
//! value per possible CPU. Before, the counters were in the policy entries themselves.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::policy::PolicyKey;

/// `struct policy_stats_key` (bpf/lib/policy.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PolicyStatsKey {
    /// Host order.
    pub endpoint_id: u16,
    pub pad: u8,
    /// Of the entry that matched, less the static bits: 0 any, 8 protocol only, 9 to 24 with port bits.
    pub prefix_length: u8,
    /// Host order; identity of the other end as in the entry. 0: any peer.
    pub sec_label: u32,
    /// Bit 0: 1 for egress.
    pub egress: u8,
    pub protocol: u8,
    pub dport: U16,
}

impl PolicyStatsKey {
    /// The counter of an entry. `None`: the entry's key has an impossible prefix length.
    pub fn of_entry(endpoint_id: u16, key: &PolicyKey) -> Option<Self> {
        Some(Self {
            endpoint_id,
            pad: 0,
            prefix_length: key.lpm_prefix_length()?,
            sec_label: key.sec_label,
            egress: key.egress,
            protocol: key.protocol,
            dport: key.dport,
        })
    }
}

/// `struct policy_stats_value`; of one CPU. Host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PolicyStatsValue {
    pub packets: u64,
    pub bytes: u64,
}

const _: () = assert!(size_of::<PolicyStatsKey>() == 12);
const _: () = assert!(size_of::<PolicyStatsValue>() == 16);
