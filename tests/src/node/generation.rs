//! What differs between Cilium releases, as one table: names, sizes, bits. Everything else in the pretend
//! node asks this table and never compares release numbers.

use std::fmt;
use std::str::FromStr;

/// A Cilium minor release whose node can be pretended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Generation {
    V1_14,
    V1_15,
    V1_16,
    V1_17,
    V1_18,
    V1_19,
}

/// How a policy map's value looks and which of two matching entries wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyForm {
    /// 24 bytes, bits for wildcards, first match of a fixed order (1.16 and older).
    WildcardBits,
    /// 24 bytes, prefix length, deny first (1.17).
    PrefixLength,
    /// As `PrefixLength`, 8 bytes: counters have moved to `cilium_policystats` (1.18).
    PrefixLengthShort,
    /// 12 bytes, one 32-bit precedence decides (1.19).
    Precedence,
}

/// Who counts in a connection tracking value, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtForm {
    /// Receive and transmit counters side by side; accounting is on (1.15 and older).
    TwoCounters,
    /// One counter pair; accounting is off by default (1.16 and newer).
    OneCounter,
}

/// Everything that a generation decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Full version text as the agent writes it into `ep_config.h`.
    pub version: &'static str,
    /// Pin name of an endpoint's policy map, without the five digits.
    pub policy_pin: &'static str,
    pub policy: PolicyForm,
    pub ipcache_pin: &'static str,
    /// Bytes: 12 or 24.
    pub ipcache_value: u32,
    /// Cluster ids are one byte at offset 6 of the ipcache key (1.14) instead of two at offset 4.
    pub narrow_cluster_id: bool,
    pub ct: CtForm,
    /// The metrics key carries source line and file.
    pub metrics_place: bool,
    /// Bytes of the drop message: 36, 40, 48.
    pub drop_message: u32,
    /// Bytes of the policy verdict message: 32 or 40.
    pub verdict_message: u32,
    /// Identities world-ipv4 and world-ipv6 exist.
    pub split_world: bool,
    pub tunnel_map: bool,
    pub node_map_v2: bool,
    pub policystats: bool,
    /// Bytes of the key of `cilium_ratelimit`, if there is one.
    pub ratelimit_key: Option<u32>,
    pub skip_lb: bool,
    pub snat_alloc_retries: bool,
    pub percpu_trace_id: bool,
    pub ipv6_fragments: bool,
    /// Maps that only the agent writes carry BPF_F_RDONLY_PROG.
    pub read_only_programs: bool,
    /// Services carry their protocol in the key.
    pub lb_protocol: bool,
    /// Backends carry a topology zone.
    pub lb_zone: bool,
    /// Bandwidth manager's key is {id, direction}; same size.
    pub calls_slots: u32,
    /// `ep_config.json` beside the header.
    pub ep_config_json: bool,
    pub local_allocator_state: bool,
    pub nodes_json: bool,
    /// tcx links, where the kernel has them.
    pub tcx: bool,
    /// `file` number of bpf_lxc.c and bpf_host.c are the same everywhere; ipv4.h moved.
    pub file_ipv4: u8,
}

impl Generation {
    pub const ALL: [Self; 6] = [Self::V1_14, Self::V1_15, Self::V1_16, Self::V1_17, Self::V1_18, Self::V1_19];

    pub fn facts(self) -> Facts {
        match self {
            Self::V1_14 => V1_14,
            Self::V1_15 => V1_15,
            Self::V1_16 => V1_16,
            Self::V1_17 => V1_17,
            Self::V1_18 => V1_18,
            Self::V1_19 => V1_19,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_14 => "1.14",
            Self::V1_15 => "1.15",
            Self::V1_16 => "1.16",
            Self::V1_17 => "1.17",
            Self::V1_18 => "1.18",
            Self::V1_19 => "1.19",
        }
    }
}

const V1_14: Facts = Facts {
    version: "1.14.19 4a1b2c3d 2024-12-18T10:02:11+00:00 go version go1.22.10 linux/amd64",
    policy_pin: "cilium_policy_",
    policy: PolicyForm::WildcardBits,
    ipcache_pin: "cilium_ipcache",
    ipcache_value: 12,
    narrow_cluster_id: true,
    ct: CtForm::TwoCounters,
    metrics_place: false,
    drop_message: 36,
    verdict_message: 32,
    split_world: false,
    tunnel_map: true,
    node_map_v2: false,
    policystats: false,
    ratelimit_key: None,
    skip_lb: false,
    snat_alloc_retries: false,
    percpu_trace_id: false,
    ipv6_fragments: false,
    read_only_programs: false,
    lb_protocol: false,
    lb_zone: false,
    calls_slots: 47,
    ep_config_json: false,
    local_allocator_state: false,
    nodes_json: false,
    tcx: false,
    file_ipv4: 2,
};

const V1_15: Facts = Facts {
    version: "1.15.19 5b2c3d4e 2025-07-15T09:12:01+00:00 go version go1.23.11 linux/amd64",
    narrow_cluster_id: false,
    split_world: true,
    ratelimit_key: Some(4),
    calls_slots: 49,
    ..V1_14
};

const V1_16: Facts = Facts {
    version: "1.16.19 6c3d4e5f 2026-01-20T11:22:33+00:00 go version go1.24.11 linux/amd64",
    ct: CtForm::OneCounter,
    metrics_place: true,
    node_map_v2: true,
    skip_lb: true,
    lb_zone: true,
    calls_slots: 50,
    ep_config_json: true,
    local_allocator_state: true,
    tcx: true,
    file_ipv4: 108,
    ..V1_15
};

const V1_17: Facts = Facts {
    version: "1.17.13 7d4e5f60 2026-02-17T12:00:00+00:00 go version go1.24.13 linux/amd64",
    policy: PolicyForm::PrefixLength,
    ratelimit_key: Some(8),
    snat_alloc_retries: true,
    nodes_json: true,
    ..V1_16
};

const V1_18: Facts = Facts {
    version: "1.18.7 8e5f6071 2026-03-10T12:00:00+00:00 go version go1.24.13 linux/amd64",
    policy_pin: "cilium_policy_v2_",
    policy: PolicyForm::PrefixLengthShort,
    ipcache_pin: "cilium_ipcache_v2",
    ipcache_value: 24,
    drop_message: 40,
    tunnel_map: false,
    policystats: true,
    lb_protocol: true,
    ..V1_17
};

const V1_19: Facts = Facts {
    version: "1.19.2 9f607182 2026-04-14T12:00:00+00:00 go version go1.25.7 linux/amd64",
    policy: PolicyForm::Precedence,
    drop_message: 48,
    verdict_message: 40,
    percpu_trace_id: true,
    ipv6_fragments: true,
    read_only_programs: true,
    file_ipv4: 107,
    ..V1_18
};

impl PolicyForm {
    /// Bytes of a value.
    pub fn value_size(self) -> u32 {
        match self {
            Self::WildcardBits | Self::PrefixLength => 24,
            Self::PrefixLengthShort => 8,
            Self::Precedence => 12,
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Generation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|generation| generation.as_str() == text).ok_or_else(|| {
            format!("unknown generation `{text}`: expected 1.14, 1.15, 1.16, 1.17, 1.18 or 1.19")
        })
    }
}
