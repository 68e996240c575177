//! Which maps a node of a generation has pinned under `tc/globals`, with their exact shape. Sizes are those
//! of a small node (the ones that Cilium derives from memory would cost hundreds of megabytes here).

use super::cast::{ETH0_IFINDEX, HOST_ENDPOINT, PODS};
use super::generation::Facts;
use super::kernel::bpf::{BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG, MapSpec, MapType, possible_cpus};

const CT_TCP: u32 = 65536;
const CT_ANY: u32 = 32768;
const NAT: u32 = 65536;
const LB: u32 = 4096;
/// Slots of one service's lookup table; the real default is 16381.
pub const MAGLEV_TABLE: u32 = 251;

/// Collects specs; `facts` decides flags.
struct Catalogue {
    specs: Vec<MapSpec>,
    agent_only: u32,
}

impl Catalogue {
    fn add(&mut self, pin: &str, map_type: MapType, sizes: (u32, u32), max_entries: u32, flags: u32) {
        self.specs.push(MapSpec {
            pin: pin.to_owned(),
            map_type,
            key: sizes.0,
            value: sizes.1,
            max_entries,
            flags,
        });
    }

    /// The datapath writes too.
    fn hash(&mut self, pin: &str, sizes: (u32, u32), max: u32) {
        self.add(pin, MapType::Hash, sizes, max, BPF_F_NO_PREALLOC);
    }

    /// Only the agent writes.
    fn agent_hash(&mut self, pin: &str, sizes: (u32, u32), max: u32) {
        self.add(pin, MapType::Hash, sizes, max, BPF_F_NO_PREALLOC | self.agent_only);
    }

    fn lru(&mut self, pin: &str, sizes: (u32, u32), max: u32) {
        self.add(pin, MapType::LruHash, sizes, max, 0);
    }

    fn trie(&mut self, pin: &str, sizes: (u32, u32), max: u32) {
        self.add(pin, MapType::LpmTrie, sizes, max, BPF_F_NO_PREALLOC | self.agent_only);
    }

    fn array(&mut self, pin: &str, map_type: MapType, value: u32, max: u32) {
        self.add(pin, map_type, (4, value), max, 0);
    }
}

/// Policy map of an endpoint.
pub fn policy_pin(facts: &Facts, endpoint: u16) -> String {
    format!("{}{endpoint:05}", facts.policy_pin)
}

pub fn calls_pin(endpoint: u16) -> String {
    format!("cilium_calls_{endpoint:05}")
}

/// Every pinned map, but for the two maglev maps, which need their inner maps first.
pub fn maps(facts: &Facts) -> Vec<MapSpec> {
    let agent_only = if facts.read_only_programs { BPF_F_RDONLY_PROG } else { 0 };
    let mut all = Catalogue { specs: Vec::new(), agent_only };
    tracking(&mut all, facts);
    balancing(&mut all, facts);
    endpoints(&mut all, facts);
    runtime(&mut all, facts);
    all.specs
}

fn tracking(all: &mut Catalogue, facts: &Facts) {
    for (family, key, nat, address) in [(4, 14, 40, 4), (6, 38, 56, 16)] {
        all.lru(&format!("cilium_ct{family}_global"), (key, 56), CT_TCP);
        all.lru(&format!("cilium_ct_any{family}_global"), (key, 56), CT_ANY);
        all.lru(&format!("cilium_snat_v{family}_external"), (key, nat), NAT);
        all.lru(&format!("cilium_nodeport_neigh{family}"), (address, 8), NAT);
        all.trie(&format!("cilium_ipmasq_v{family}"), (4 + address, 1), 16384);
        if facts.snat_alloc_retries {
            all.array(&format!("cilium_snat_v{family}_alloc_retries"), MapType::PercpuArray, 4, 33);
        }
    }
    all.lru("cilium_ipv4_frag_datagrams", (12, 4), 8192);
    if facts.ipv6_fragments {
        all.lru("cilium_ipv6_frag_datagrams", (40, 4), 8192);
    }
}

fn balancing(all: &mut Catalogue, facts: &Facts) {
    for (family, service, backend, rev_nat, affinity) in [(4, 12, 12, 6, 16), (6, 24, 24, 18, 24)] {
        all.agent_hash(&format!("cilium_lb{family}_services_v2"), (service, 12), LB);
        all.agent_hash(&format!("cilium_lb{family}_backends_v3"), (4, backend), LB);
        all.agent_hash(&format!("cilium_lb{family}_reverse_nat"), (2, rev_nat), LB);
        all.lru(&format!("cilium_lb{family}_affinity"), (affinity, 16), LB);
        all.trie(&format!("cilium_lb{family}_source_range"), (service, 1), LB);
    }
    all.lru("cilium_lb4_reverse_sk", (16, 8), 65536);
    all.lru("cilium_lb6_reverse_sk", (32, 20), 65536);
    all.agent_hash("cilium_lb_affinity_match", (8, 1), LB);
    if facts.skip_lb {
        all.hash("cilium_skip_lb4", (16, 1), 100);
        all.hash("cilium_skip_lb6", (32, 1), 100);
    }
}

/// The outer maglev maps; their inner maps come from [`maglev_inner`].
pub fn maglev_outer(facts: &Facts, family: u8) -> MapSpec {
    let agent_only = if facts.read_only_programs { BPF_F_RDONLY_PROG } else { 0 };
    MapSpec {
        pin: format!("cilium_lb{family}_maglev"),
        map_type: MapType::HashOfMaps,
        key: 2,
        value: 4,
        max_entries: LB,
        flags: BPF_F_NO_PREALLOC | agent_only,
    }
}

pub fn maglev_inner() -> MapSpec {
    MapSpec {
        pin: "cilium_maglev_inner".to_owned(),
        map_type: MapType::Array,
        key: 4,
        value: 4 * MAGLEV_TABLE,
        max_entries: 1,
        flags: 0,
    }
}

fn endpoints(all: &mut Catalogue, facts: &Facts) {
    all.agent_hash("cilium_lxc", (20, 48), 65535);
    all.trie(facts.ipcache_pin, (24, facts.ipcache_value), 512_000);
    all.agent_hash("cilium_auth_map", (12, 8), 524_288);
    all.agent_hash("cilium_node_map", (20, 2), 16384);
    if facts.node_map_v2 {
        all.agent_hash("cilium_node_map_v2", (20, 4), 16384);
    }
    if facts.tunnel_map {
        all.agent_hash("cilium_tunnel_map", (20, 20), 65536);
    }
    all.array("cilium_encrypt_state", MapType::Array, 1, 1);
    all.agent_hash("cilium_vtep_map", (4, 16), 8);
    all.hash("cilium_l2_responder_v4", (8, 8), 4096);
    for endpoint in PODS.iter().map(|pod| pod.endpoint).chain([HOST_ENDPOINT]) {
        all.trie(&policy_pin(facts, endpoint), (12, facts.policy.value_size()), 16384);
    }
    for pod in PODS {
        all.array(&calls_pin(pod.endpoint), MapType::ProgArray, 4, facts.calls_slots);
    }
    all.array(&format!("cilium_calls_hostns_{HOST_ENDPOINT:05}"), MapType::ProgArray, 4, facts.calls_slots);
    all.array(&format!("cilium_calls_netdev_{ETH0_IFINDEX:05}"), MapType::ProgArray, 4, facts.calls_slots);
    all.array("cilium_call_policy", MapType::ProgArray, 4, 65535);
    all.array("cilium_egresscall_policy", MapType::ProgArray, 4, 65535);
    if facts.policystats {
        all.add("cilium_policystats", MapType::LruPercpuHash, (12, 16), 65536, 0);
    }
}

fn runtime(all: &mut Catalogue, facts: &Facts) {
    let cpus = possible_cpus() as u32;
    all.array("cilium_events", MapType::PerfEventArray, 4, cpus);
    all.array("cilium_signals", MapType::PerfEventArray, 4, cpus);
    all.add("cilium_metrics", MapType::PercpuHash, (8, 16), 1024, BPF_F_NO_PREALLOC);
    all.add("cilium_runtime_config", MapType::Array, (4, 8), 256, all.agent_only);
    all.hash("cilium_throttle", (8, 56), 65535);
    if let Some(key) = facts.ratelimit_key {
        all.lru("cilium_ratelimit", (key, 16), 1024);
    }
    if facts.ratelimit_key == Some(8) {
        all.hash("cilium_ratelimit_metrics", (4, 8), 64);
    }
    if facts.percpu_trace_id {
        all.array("cilium_percpu_trace_id", MapType::PercpuArray, 8, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::generation::Generation;
    use super::*;

    fn find(generation: Generation, pin: &str) -> Option<MapSpec> {
        maps(&generation.facts()).into_iter().find(|spec| spec.pin == pin)
    }

    #[test]
    fn every_generation_has_its_fingerprint() {
        // The table "version fingerprint from the maps alone" of the layout reference.
        use Generation::{V1_14, V1_15, V1_16, V1_17, V1_18, V1_19};
        for (generation, pin, value) in [
            (V1_14, "cilium_policy_01001", 24),
            (V1_16, "cilium_policy_01001", 24),
            (V1_17, "cilium_policy_01001", 24),
            (V1_18, "cilium_policy_v2_01001", 8),
            (V1_19, "cilium_policy_v2_01001", 12),
            (V1_17, "cilium_ipcache", 12),
            (V1_18, "cilium_ipcache_v2", 24),
        ] {
            assert_eq!(find(generation, pin).map(|spec| spec.value), Some(value), "{generation} {pin}");
        }
        let ratelimit = |generation| find(generation, "cilium_ratelimit").map(|spec| spec.key);
        assert_eq!([V1_14, V1_15, V1_16, V1_17].map(ratelimit), [None, Some(4), Some(4), Some(8)]);
        let present = |generation, pin| find(generation, pin).is_some();
        assert!(present(V1_16, "cilium_tunnel_map") && !present(V1_18, "cilium_tunnel_map"));
        assert!(!present(V1_15, "cilium_node_map_v2") && present(V1_16, "cilium_node_map_v2"));
        assert!(!present(V1_17, "cilium_policystats") && present(V1_18, "cilium_policystats"));
        assert!(
            !present(V1_16, "cilium_snat_v4_alloc_retries") && present(V1_17, "cilium_snat_v4_alloc_retries")
        );
        assert_eq!(
            find(V1_19, "cilium_lxc").map(|spec| spec.flags),
            Some(BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG)
        );
    }

    #[test]
    fn affinity_keys_have_cilium_sizes() {
        assert_eq!(find(Generation::V1_17, "cilium_lb4_affinity").map(|spec| spec.key), Some(16));
        assert_eq!(find(Generation::V1_17, "cilium_lb6_affinity").map(|spec| spec.key), Some(24));
    }
}
