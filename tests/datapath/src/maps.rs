//! Cilium's maps, as far as this datapath uses them. The loader puts the pinned maps of the generation in
//! their place, so the types and sizes written here are the smallest that fit all generations.

use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::{
    Array, HashMap, LpmTrie, LruHashMap, LruPerCpuHashMap, PerCpuArray, PerCpuHashMap, PerfEventByteArray,
    ProgramArray,
};

use crate::conntrack::{Entry, Tuple};
use crate::state::State;

/// Values are read at offsets: their size depends on the generation.
pub type Raw = [u8; 1];

#[derive(Clone, Copy)]
#[repr(C)]
pub struct PolicyKey {
    pub identity: u32,
    pub egress: u8,
    pub protocol: u8,
    /// Network order.
    pub port: u16,
}

/// An address of either family, network order; IPv4 is the first word.
pub type Wide = [u32; 4];

#[derive(Clone, Copy)]
#[repr(C)]
pub struct IpcacheKey {
    /// Cluster id, padding, family in the last byte.
    pub family: u32,
    pub ip: Wide,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct EndpointKey {
    pub ip: Wide,
    /// In the first byte; the rest is padding and cluster id.
    pub family: u32,
}

/// The first words of the value of `cilium_lxc`.
#[repr(C)]
pub struct Endpoint {
    pub ifindex: u32,
    pub unused: u16,
    pub id: u16,
    /// Bit 0: an address of the node itself.
    pub flags: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct MetricsKey {
    pub reason: u8,
    pub direction: u8,
    pub line: u16,
    /// In the first byte; the rest is reserved.
    pub file: u32,
}

/// Packets and bytes.
#[repr(C)]
pub struct Counters {
    pub packets: u64,
    pub bytes: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct StatsKey {
    pub endpoint: u16,
    pub zero: u8,
    pub prefix: u8,
    pub identity: u32,
    pub egress: u8,
    pub protocol: u8,
    pub port: u16,
}

#[repr(C)]
pub struct AuthKey {
    pub local: u32,
    pub remote: u32,
    pub node: u16,
    pub kind: u8,
    pub zero: u8,
}

#[repr(C)]
pub struct FragmentKey {
    pub daddr: u32,
    pub saddr: u32,
    pub id: u16,
    /// In the first byte; the second is padding.
    pub protocol: u16,
}

#[map(name = "cilium_policy")]
pub static POLICY: LpmTrie<PolicyKey, Raw> = LpmTrie::with_max_entries(1, 1);
#[map(name = "cilium_ipcache")]
pub static IPCACHE: LpmTrie<IpcacheKey, u32> = LpmTrie::with_max_entries(1, 1);
#[map(name = "cilium_lxc")]
pub static LXC: HashMap<EndpointKey, Endpoint> = HashMap::with_max_entries(1, 0);
#[map(name = "cilium_ct4")]
pub static CT4: LruHashMap<Tuple<1>, Entry> = LruHashMap::with_max_entries(1, 0);
#[map(name = "cilium_ct_any4")]
pub static CT_ANY4: LruHashMap<Tuple<1>, Entry> = LruHashMap::with_max_entries(1, 0);
#[map(name = "cilium_ct6")]
pub static CT6: LruHashMap<Tuple<4>, Entry> = LruHashMap::with_max_entries(1, 0);
#[map(name = "cilium_ct_any6")]
pub static CT_ANY6: LruHashMap<Tuple<4>, Entry> = LruHashMap::with_max_entries(1, 0);
#[map(name = "cilium_fragments4")]
pub static FRAGMENTS4: LruHashMap<FragmentKey, [u16; 2]> = LruHashMap::with_max_entries(1, 0);
#[map(name = "cilium_auth")]
pub static AUTH: HashMap<AuthKey, u64> = HashMap::with_max_entries(1, 0);
#[map(name = "cilium_runtime")]
pub static RUNTIME: Array<u64> = Array::with_max_entries(1, 0);
#[map(name = "cilium_metrics")]
pub static METRICS: PerCpuHashMap<MetricsKey, Counters> = PerCpuHashMap::with_max_entries(1, 0);
#[map(name = "cilium_policystats")]
pub static POLICYSTATS: LruPerCpuHashMap<StatsKey, Counters> = LruPerCpuHashMap::with_max_entries(1024, 0);
#[map(name = "cilium_events")]
pub static EVENTS: PerfEventByteArray = PerfEventByteArray::new(0);
#[map(name = "pretend_scratch")]
pub static SCRATCH: PerCpuArray<State> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "cilium_call_policy")]
pub static CALL_POLICY: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Full-length keys.
pub fn policy_key(identity: u32, egress: u8, protocol: u8, port: u16) -> Key<PolicyKey> {
    Key::new(64, PolicyKey { identity, egress, protocol, port })
}
