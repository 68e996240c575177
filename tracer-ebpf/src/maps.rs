//! Every map of the programs. None is pinned: they go when the tracer goes.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, LruPerCpuHashMap, PerCpuArray, RingBuf};
use tracer_common::config::{MAX_DEV_SPAN, MAX_SKB_SPAN};
use tracer_common::event::{EventHeader, FlowKey, FlowRate, MAX_META, MAX_SNAPLEN, TapCounters, tap};

/// Most events maps of Cilium that are told apart from foreign ones (old and new one during an upgrade).
pub const EVENTS_MAPS: u32 = 4;
/// Contexts that can interrupt each other on one CPU inside `kfree_skb`: process, softirq, hardirq.
pub const LEVELS: u32 = 3;

/// Records for user space; the loader sets the size.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

#[map]
pub static COUNTERS: PerCpuArray<TapCounters> = PerCpuArray::with_max_entries(tap::COUNT, 0);

/// Ids of the pinned `cilium_events` map, 0 in unused slots. Rewritten when Cilium replaces the map.
#[map]
pub static EVENTS_MAP_IDS: Array<u32> = Array::with_max_entries(EVENTS_MAPS, 0);

/// Flows under `--rate-limit`; the loader makes it as small as can be without.
#[map]
pub static SIMILAR: LruPerCpuHashMap<FlowKey, FlowRate> = LruPerCpuHashMap::with_max_entries(4096, 0);

#[map]
pub static STATE: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);

/// One scratch per hook and nesting level: a notification in softirq can interrupt a free in process context.
#[map]
pub static FREE_SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(LEVELS, 0);
#[map]
pub static MESSAGE_SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static XDP_SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// What the hooks on one CPU tell each other.
#[repr(C)]
pub struct CpuState {
    /// The packet of the last drop message, until its free is seen.
    pub pending: Pending,
    /// How many `kfree_skb` programs are running on this CPU, one interrupted by the next.
    pub depth: u32,
    pub pad: u32,
}

/// A drop message whose free is awaited. The two follow each other within one softirq or BH section.
#[repr(C)]
pub struct Pending {
    /// Address of the `sk_buff`, 0 for XDP.
    pub skb: u64,
    /// Address of the packet data (XDP only, else 0).
    pub data: u64,
    pub time_ns: u64,
    /// One of [`fate`]; [`fate::NONE`] when nothing is pending.
    pub fate: u32,
    pub pad: u32,
}

/// What became of the message record.
pub mod fate {
    pub const NONE: u32 = 0;
    pub const EMITTED: u32 = 1;
    pub const FILTERED: u32 = 2;
    pub const RING_FULL: u32 = 3;
}

/// Where a record is put together, and the kernel structures it is made from.
#[repr(C)]
pub struct Scratch {
    pub header: EventHeader,
    /// Notification, then packet.
    pub body: [u8; MAX_META + MAX_SNAPLEN],
    pub skb: [u8; MAX_SKB_SPAN],
    pub dev: [u8; MAX_DEV_SPAN],
}
