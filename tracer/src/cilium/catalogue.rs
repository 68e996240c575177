//! Every map that a Cilium release pins: its name, kind and sizes, and who shows what is in it. A new map is
//! one row. The decoding of the small maps that have no command of their own is in `views`.

mod views;

use std::net::IpAddr;

use super::map_type::MapType;
use crate::kernel::bpf::MapInfo;

/// One form of a map.
#[derive(Debug)]
pub struct KnownMap {
    pub name: Name,
    pub kind: MapType,
    /// Bytes; [`ANY`] where it depends on settings or is not known.
    pub key_size: u32,
    /// Bytes; [`ANY`] as above.
    pub value_size: u32,
    pub shown: Shown,
}

/// A size that says nothing.
const ANY: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Exact(&'static str),
    /// Followed by the decimal number of an endpoint, a device or a cluster.
    Numbered(&'static str),
}

/// Who shows the entries.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// A command of its own.
    Command(&'static str),
    /// `maps dump` does, entry by entry.
    View(View),
    /// `maps dump` shows bytes; why.
    Raw(&'static str),
}

/// Fills in what an entry says. `None`: impossible bits.
pub type View = fn(&[u8], &[u8], &mut Fields) -> Option<()>;

/// What an entry says, in the order of the layout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    pub key: Vec<(&'static str, Field)>,
    pub value: Vec<(&'static str, Field)>,
}

impl Fields {
    pub fn clear(&mut self) {
        self.key.clear();
        self.value.clear();
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field {
    Number(u64),
    Word(&'static str),
    Address(IpAddr),
    Prefix(IpAddr, u8),
    Mac([u8; 6]),
}

/// What a name and the sizes behind it say.
#[derive(Debug)]
pub enum Recognized {
    Known(&'static KnownMap),
    /// The name is known, with other kinds or sizes: `found …, expected …`.
    Sizes(String),
    /// No release has a map of this name.
    Unknown,
}

/// Looks a pinned map up.
pub fn recognize(name: &str, info: &MapInfo) -> Recognized {
    let named: Vec<&'static KnownMap> = MAPS.iter().filter(|map| map.name.is(name)).collect();
    match named.iter().find(|map| map.fits(info)) {
        Some(map) => Recognized::Known(map),
        None if named.is_empty() => Recognized::Unknown,
        None => Recognized::Sizes(mismatch(info, &named)),
    }
}

fn mismatch(info: &MapInfo, named: &[&KnownMap]) -> String {
    let expected: Vec<String> = named.iter().map(|map| map.form()).collect();
    let found = form(MapType(info.map_type), info.key_size, info.value_size);
    format!("{found} found, {} expected", expected.join(" or "))
}

fn form(kind: MapType, key: u32, value: u32) -> String {
    match (key, value) {
        (ANY, _) => kind.to_string(),
        (_, ANY) => format!("{kind} with key {key}"),
        _ => format!("{kind} with key {key}, value {value}"),
    }
}

impl Name {
    fn is(self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Numbered(prefix) => name.strip_prefix(prefix).is_some_and(|rest| {
                !rest.is_empty() && rest.len() <= 10 && rest.bytes().all(|b| b.is_ascii_digit())
            }),
        }
    }
}

impl KnownMap {
    fn fits(&self, info: &MapInfo) -> bool {
        self.kind == MapType(info.map_type)
            && (self.key_size == ANY || self.key_size == info.key_size)
            && (self.value_size == ANY || self.value_size == info.value_size)
    }

    fn form(&self) -> String {
        form(self.kind, self.key_size, self.value_size)
    }
}

const fn map(name: Name, kind: MapType, sizes: (u32, u32), shown: Shown) -> KnownMap {
    KnownMap { name, kind, key_size: sizes.0, value_size: sizes.1, shown }
}

const fn one(name: &'static str, kind: MapType, sizes: (u32, u32), shown: Shown) -> KnownMap {
    map(Name::Exact(name), kind, sizes, shown)
}

const fn many(name: &'static str, kind: MapType, sizes: (u32, u32), shown: Shown) -> KnownMap {
    map(Name::Numbered(name), kind, sizes, shown)
}

const CT: Shown = Shown::Command("ct list");
const NAT: Shown = Shown::Command("nat list");
const LB: Shown = Shown::Command("lb list");
const POLICY: Shown = Shown::Command("policy get");
const NODES: Shown = Shown::Command("nodes");

use MapType as T;
const MESSAGES: Shown = Shown::Raw("the way of messages, which cannot be read without taking them away");
const SCRATCH: Shown = Shown::Raw("scratch memory of the datapath");
const UNDESCRIBED: Shown = Shown::Raw("what the bytes say is not known here");

use Shown::{Command, View as V};

#[rustfmt::skip]
const MAPS: &[KnownMap] = &[
    one("cilium_ct4_global", T::LRU_HASH, (14, 56), CT),
    one("cilium_ct_any4_global", T::LRU_HASH, (14, 56), CT),
    one("cilium_ct6_global", T::LRU_HASH, (38, 56), CT),
    one("cilium_ct_any6_global", T::LRU_HASH, (38, 56), CT),
    many("cilium_ct4_", T::LRU_HASH, (14, 56), CT),
    many("cilium_ct_any4_", T::LRU_HASH, (14, 56), CT),
    many("cilium_ct6_", T::LRU_HASH, (38, 56), CT),
    many("cilium_ct_any6_", T::LRU_HASH, (38, 56), CT),
    one("cilium_per_cluster_ct_tcp4", T::ARRAY_OF_MAPS, (4, 4), CT),
    one("cilium_per_cluster_ct_any4", T::ARRAY_OF_MAPS, (4, 4), CT),
    one("cilium_per_cluster_ct_tcp6", T::ARRAY_OF_MAPS, (4, 4), CT),
    one("cilium_per_cluster_ct_any6", T::ARRAY_OF_MAPS, (4, 4), CT),
    one("cilium_snat_v4_external", T::LRU_HASH, (14, 40), NAT),
    one("cilium_snat_v6_external", T::LRU_HASH, (38, 56), NAT),
    one("cilium_per_cluster_snat_v4_external", T::ARRAY_OF_MAPS, (4, 4), NAT),
    one("cilium_per_cluster_snat_v6_external", T::ARRAY_OF_MAPS, (4, 4), NAT),
    one("cilium_snat_v4_alloc_retries", T::PERCPU_ARRAY, (4, 4), Command("nat ports")),
    one("cilium_snat_v6_alloc_retries", T::PERCPU_ARRAY, (4, 4), Command("nat ports")),
    one("cilium_ipmasq_v4", T::LPM_TRIE, (8, 1), V(views::prefix4)),
    one("cilium_ipmasq_v6", T::LPM_TRIE, (20, 1), V(views::prefix6)),
    one("cilium_nodeport_neigh4", T::LRU_HASH, (4, 8), V(views::neighbour)),
    one("cilium_nodeport_neigh6", T::LRU_HASH, (16, 8), V(views::neighbour)),
    one("cilium_ipv4_frag_datagrams", T::LRU_HASH, (12, 4), V(views::fragment4)),
    one("cilium_ipv6_frag_datagrams", T::LRU_HASH, (40, 4), V(views::fragment6)),

    one("cilium_lb4_services_v2", T::HASH, (12, 12), LB),
    one("cilium_lb6_services_v2", T::HASH, (24, 12), LB),
    one("cilium_lb4_backends_v3", T::HASH, (4, 12), Command("lb list --backends")),
    one("cilium_lb6_backends_v3", T::HASH, (4, 24), Command("lb list --backends")),
    one("cilium_lb4_backends_v2", T::HASH, (4, 8), Command("lb list --backends")),
    one("cilium_lb6_backends_v2", T::HASH, (4, 20), Command("lb list --backends")),
    one("cilium_lb4_reverse_nat", T::HASH, (2, 6), Command("lb list --revnat")),
    one("cilium_lb6_reverse_nat", T::HASH, (2, 18), Command("lb list --revnat")),
    one("cilium_lb4_reverse_sk", T::LRU_HASH, (16, 8), Command("lb list --sockets")),
    one("cilium_lb6_reverse_sk", T::LRU_HASH, (32, 20), Command("lb list --sockets")),
    one("cilium_lb4_affinity", T::LRU_HASH, (16, 16), Command("lb list --affinity")),
    one("cilium_lb6_affinity", T::LRU_HASH, (24, 16), Command("lb list --affinity")),
    one("cilium_lb_affinity_match", T::HASH, (8, 1), V(views::affinity_match)),
    one("cilium_lb4_source_range", T::LPM_TRIE, (12, 1), Command("lb list --source-ranges")),
    one("cilium_lb6_source_range", T::LPM_TRIE, (24, 1), Command("lb list --source-ranges")),
    one("cilium_lb4_maglev", T::HASH_OF_MAPS, (2, 4), Command("lb list --maglev")),
    one("cilium_lb6_maglev", T::HASH_OF_MAPS, (2, 4), Command("lb list --maglev")),
    one("cilium_lb4_health", T::LRU_HASH, (8, 12), Command("lb list --health")),
    one("cilium_lb6_health", T::LRU_HASH, (8, 24), Command("lb list --health")),
    one("cilium_skip_lb4", T::HASH, (16, 1), Command("lb list --skip")),
    one("cilium_skip_lb6", T::HASH, (32, 1), Command("lb list --skip")),
    one("cilium_lb_act", T::LRU_HASH, (4, 8), V(views::active_connections)),
    one("cilium_lb_fct", T::LRU_HASH, (4, 8), UNDESCRIBED),
    one("cilium_lb_fct", T::HASH, (4, 8), UNDESCRIBED),

    many("cilium_policy_", T::LPM_TRIE, (12, 24), POLICY),
    many("cilium_policy_v2_", T::LPM_TRIE, (12, 8), POLICY),
    many("cilium_policy_v2_", T::LPM_TRIE, (12, 12), POLICY),
    many("cilium_policy_v3_", T::LPM_TRIE, (12, 12), POLICY),
    one("cilium_policystats", T::LRU_PERCPU_HASH, (12, 16), POLICY),
    one("cilium_call_policy", T::PROG_ARRAY, (4, 4), V(views::program)),
    one("cilium_egresscall_policy", T::PROG_ARRAY, (4, 4), V(views::program)),
    many("cilium_calls_", T::PROG_ARRAY, (4, 4), V(views::program)),
    many("cilium_calls_hostns_", T::PROG_ARRAY, (4, 4), V(views::program)),
    many("cilium_calls_netdev_", T::PROG_ARRAY, (4, 4), V(views::program)),
    many("cilium_calls_overlay_", T::PROG_ARRAY, (4, 4), V(views::program)),
    many("cilium_calls_wireguard_", T::PROG_ARRAY, (4, 4), V(views::program)),
    many("cilium_calls_xdp_", T::PROG_ARRAY, (4, 4), V(views::program)),
    many("cilium_calls_custom_", T::PROG_ARRAY, (4, 4), V(views::program)),
    one("cilium_calls_xdp", T::PROG_ARRAY, (4, 4), V(views::program)),
    one("cilium_calls_lb", T::PROG_ARRAY, (4, 4), V(views::program)),
    one("cilium_lxc", T::HASH, (20, 48), Command("endpoints list")),
    one("cilium_ipcache", T::LPM_TRIE, (24, 12), Command("ipcache list")),
    one("cilium_ipcache_v2", T::LPM_TRIE, (24, 24), Command("ipcache list")),
    one("cilium_auth_map", T::HASH, (12, 8), V(views::auth)),
    one("cilium_node_map", T::HASH, (20, 2), NODES),
    one("cilium_node_map_v2", T::HASH, (20, 4), NODES),
    one("cilium_tunnel_map", T::HASH, (20, 20), NODES),
    one("cilium_subnet_map", T::LPM_TRIE, (24, 4), V(views::subnet)),
    one("cilium_devices", T::HASH, (4, 16), V(views::device)),
    one("cilium_devices", T::ARRAY, (4, 16), V(views::device)),
    one("cilium_encrypt_state", T::ARRAY, (4, 1), V(views::encrypt_state)),
    one("cilium_vtep_map", T::HASH, (4, 16), V(views::vtep)),
    one("cilium_egress_gw_policy_v4", T::LPM_TRIE, (12, 8), V(views::egress4)),
    one("cilium_egress_gw_policy_v4_v2", T::LPM_TRIE, (12, 28), V(views::egress4_v2)),
    one("cilium_egress_gw_policy_v6", T::LPM_TRIE, (36, 40), V(views::egress6)),
    one("cilium_srv6_vrf_v4", T::LPM_TRIE, (12, 4), V(views::vrf4)),
    one("cilium_srv6_vrf_v6", T::LPM_TRIE, (36, 4), V(views::vrf6)),
    one("cilium_srv6_policy_v4", T::LPM_TRIE, (12, 16), V(views::srv6_policy4)),
    one("cilium_srv6_policy_v6", T::LPM_TRIE, (24, 16), V(views::srv6_policy6)),
    one("cilium_srv6_state_v4", T::LRU_HASH, (ANY, ANY), UNDESCRIBED),
    one("cilium_srv6_state_v6", T::LRU_HASH, (ANY, ANY), UNDESCRIBED),
    one("cilium_srv6_sid", T::HASH, (16, 4), V(views::sid)),
    one("cilium_world_cidrs4", T::LPM_TRIE, (8, 1), V(views::prefix4)),
    one("cilium_l2_responder_v4", T::HASH, (8, 8), V(views::responder4)),
    one("cilium_l2_responder_v6", T::HASH, (24, 8), V(views::responder6)),
    one("cilium_mcast_group_outer_v4_map", T::HASH_OF_MAPS, (4, 4), V(views::multicast_group)),
    one("cilium_cidr_v4_fix", T::HASH, (8, 1), V(views::prefix4)),
    one("cilium_cidr_v6_fix", T::HASH, (20, 1), V(views::prefix6)),
    one("cilium_cidr_v4_dyn", T::LPM_TRIE, (8, 1), V(views::prefix4)),
    one("cilium_cidr_v6_dyn", T::LPM_TRIE, (20, 1), V(views::prefix6)),

    one("cilium_events", T::PERF_EVENT_ARRAY, (4, 4), MESSAGES),
    one("cilium_signals", T::PERF_EVENT_ARRAY, (4, 4), MESSAGES),
    one("cilium_metrics", T::PERCPU_HASH, (8, 16), Command("metrics")),
    one("cilium_runtime_config", T::ARRAY, (4, 8), V(views::runtime_config)),
    one("cilium_throttle", T::HASH, (8, 56), V(views::throttle)),
    one("cilium_ratelimit", T::LRU_HASH, (4, 16), V(views::ratelimit)),
    one("cilium_ratelimit", T::LRU_HASH, (8, 16), V(views::ratelimit)),
    one("cilium_ratelimit_metrics", T::HASH, (4, 8), V(views::ratelimit_metrics)),
    one("cilium_capture4_rules", T::HASH, (16, 8), UNDESCRIBED),
    one("cilium_capture6_rules", T::HASH, (40, 8), UNDESCRIBED),
    one("cilium_capture_cache", T::PERCPU_ARRAY, (4, ANY), SCRATCH),
    one("cilium_ktime_cache", T::PERCPU_ARRAY, (4, 8), SCRATCH),
    one("cilium_tail_call_buffer4", T::PERCPU_ARRAY, (4, ANY), SCRATCH),
    one("cilium_tail_call_buffer6", T::PERCPU_ARRAY, (4, ANY), SCRATCH),
    one("cilium_xdp_scratch", T::PERCPU_ARRAY, (4, ANY), SCRATCH),
    one("cilium_percpu_trace_id", T::PERCPU_ARRAY, (4, 8), SCRATCH),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn info(map_type: u32, key_size: u32, value_size: u32) -> MapInfo {
        MapInfo {
            id: tracer_common::id::MapId(1),
            map_type,
            key_size,
            value_size,
            max_entries: 1,
            flags: 0,
            name: String::new(),
        }
    }

    #[test]
    fn names_with_numbers_are_those_of_their_family_only() {
        let known = |name, value| matches!(recognize(name, &info(11, 12, value)), Recognized::Known(_));
        assert!(known("cilium_policy_01234", 24));
        assert!(known("cilium_policy_v2_01234", 8) && known("cilium_policy_v2_01234", 12));
        assert!(!known("cilium_policy_v2_01234", 24) && !known("cilium_policy_v4_01234", 12));
        assert!(matches!(recognize("cilium_policy_x", &info(11, 12, 24)), Recognized::Unknown));
    }

    #[test]
    fn other_sizes_are_told_with_those_that_are_known() {
        let Recognized::Sizes(text) = recognize("cilium_ratelimit", &info(9, 12, 16)) else {
            panic!("recognized")
        };
        assert_eq!(
            text,
            "lru_hash with key 12, value 16 found, lru_hash with key 4, value 16 or lru_hash with key 8, value 16 expected"
        );
    }

    /// The catalogue of section 1.3 of the ABI notes, for all releases from 1.14 on: name, type, sizes.
    #[test]
    fn every_map_of_every_release_is_known() {
        const NOTES: &str = "
            cilium_ct4_global 9 14 56
            cilium_ct_any4_global 9 14 56
            cilium_ct6_global 9 38 56
            cilium_ct_any6_global 9 38 56
            cilium_ct4_00123 9 14 56
            cilium_ct_any6_00123 9 38 56
            cilium_per_cluster_ct_tcp4 12 4 4
            cilium_per_cluster_ct_any4 12 4 4
            cilium_per_cluster_ct_tcp6 12 4 4
            cilium_per_cluster_ct_any6 12 4 4
            cilium_snat_v4_external 9 14 40
            cilium_snat_v6_external 9 38 56
            cilium_per_cluster_snat_v4_external 12 4 4
            cilium_per_cluster_snat_v6_external 12 4 4
            cilium_snat_v4_alloc_retries 6 4 4
            cilium_snat_v6_alloc_retries 6 4 4
            cilium_ipmasq_v4 11 8 1
            cilium_ipmasq_v6 11 20 1
            cilium_nodeport_neigh4 9 4 8
            cilium_nodeport_neigh6 9 16 8
            cilium_ipv4_frag_datagrams 9 12 4
            cilium_ipv6_frag_datagrams 9 40 4
            cilium_lb4_services_v2 1 12 12
            cilium_lb6_services_v2 1 24 12
            cilium_lb4_backends_v3 1 4 12
            cilium_lb6_backends_v3 1 4 24
            cilium_lb4_reverse_nat 1 2 6
            cilium_lb6_reverse_nat 1 2 18
            cilium_lb4_reverse_sk 9 16 8
            cilium_lb6_reverse_sk 9 32 20
            cilium_lb4_affinity 9 16 16
            cilium_lb6_affinity 9 24 16
            cilium_lb_affinity_match 1 8 1
            cilium_lb4_source_range 11 12 1
            cilium_lb6_source_range 11 24 1
            cilium_lb4_maglev 13 2 4
            cilium_lb6_maglev 13 2 4
            cilium_lb4_health 9 8 12
            cilium_lb6_health 9 8 24
            cilium_skip_lb4 1 16 1
            cilium_skip_lb6 1 32 1
            cilium_lb_act 9 4 8
            cilium_lb_fct 9 4 8
            cilium_policy_00123 11 12 24
            cilium_policy_v2_00123 11 12 8
            cilium_policy_v2_00123 11 12 12
            cilium_policy_v3_00123 11 12 12
            cilium_policystats 10 12 16
            cilium_call_policy 3 4 4
            cilium_egresscall_policy 3 4 4
            cilium_calls_00123 3 4 4
            cilium_calls_hostns_00123 3 4 4
            cilium_calls_netdev_00004 3 4 4
            cilium_calls_overlay_2 3 4 4
            cilium_calls_wireguard_2 3 4 4
            cilium_calls_xdp 3 4 4
            cilium_calls_xdp_4 3 4 4
            cilium_calls_custom_00123 3 4 4
            cilium_calls_lb 3 4 4
            cilium_lxc 1 20 48
            cilium_ipcache 11 24 12
            cilium_ipcache_v2 11 24 24
            cilium_auth_map 1 12 8
            cilium_node_map 1 20 2
            cilium_node_map_v2 1 20 4
            cilium_tunnel_map 1 20 20
            cilium_subnet_map 11 24 4
            cilium_devices 1 4 16
            cilium_encrypt_state 2 4 1
            cilium_vtep_map 1 4 16
            cilium_egress_gw_policy_v4 11 12 8
            cilium_egress_gw_policy_v4_v2 11 12 28
            cilium_egress_gw_policy_v6 11 36 40
            cilium_srv6_vrf_v4 11 12 4
            cilium_srv6_vrf_v6 11 36 4
            cilium_srv6_policy_v4 11 12 16
            cilium_srv6_policy_v6 11 24 16
            cilium_srv6_sid 1 16 4
            cilium_srv6_state_v4 9 20 20
            cilium_srv6_state_v6 9 32 20
            cilium_world_cidrs4 11 8 1
            cilium_l2_responder_v4 1 8 8
            cilium_l2_responder_v6 1 24 8
            cilium_mcast_group_outer_v4_map 13 4 4
            cilium_cidr_v4_fix 1 8 1
            cilium_cidr_v6_fix 1 20 1
            cilium_cidr_v4_dyn 11 8 1
            cilium_cidr_v6_dyn 11 20 1
            cilium_events 4 4 4
            cilium_signals 4 4 4
            cilium_metrics 5 8 16
            cilium_runtime_config 2 4 8
            cilium_throttle 1 8 56
            cilium_ratelimit 9 4 16
            cilium_ratelimit 9 8 16
            cilium_ratelimit_metrics 1 4 8
            cilium_capture4_rules 1 16 8
            cilium_tail_call_buffer4 6 4 100
            cilium_tail_call_buffer6 6 4 100
            cilium_xdp_scratch 6 4 28
            cilium_percpu_trace_id 6 4 8";
        let mut lines = 0;
        for line in NOTES.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse().unwrap();
            let found = recognize(words[0], &info(number(1), number(2), number(3)));
            assert!(matches!(found, Recognized::Known(_)), "{line}: {found:?}");
            lines += 1;
        }
        assert_eq!(lines, 101);
    }

    #[test]
    fn every_form_of_a_map_stands_in_the_table_once() {
        for (index, map) in MAPS.iter().enumerate() {
            let twin = MAPS[..index].iter().find(|other| {
                other.name == map.name
                    && (other.kind, other.key_size, other.value_size)
                        == (map.kind, map.key_size, map.value_size)
            });
            assert!(twin.is_none(), "{map:?}");
        }
    }
}
