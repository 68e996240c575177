//! The message tap: Cilium's programs send their notifications by the helpers behind
//! `u64 bpf_skb_event_output(u64 skb, u64 map, u64 flags, u64 meta, u64 meta_size)` (tc) and
//! `u64 bpf_xdp_event_output(u64 xdp, …)` (XDP), unchanged from 5.10 to 7.x. Both run whether or not anybody
//! reads the map. fentry first; kprobe where fentry is refused, with the registers' places from BTF.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns};
use aya_ebpf::macros::{fentry, kprobe};
use aya_ebpf::programs::{FEntryContext, ProbeContext};
use aya_log_ebpf::debug;
use tracer_common::event::{DEV_TYPE_UNKNOWN, MAX_META, flag, kind, tap};

use crate::capture::capture_behind;
use crate::counters::{Counters, Outcome, count};
use crate::device;
use crate::emit::emit;
use crate::filter::{CiliumFacts, accepts_header, accepts_packet, needs_packet};
use crate::maps::{EVENTS_MAP_IDS, EVENTS_MAPS, MESSAGE_SCRATCH, STATE, Scratch, XDP_SCRATCH, fate};
use crate::members::read_kernel;
use crate::settings::{global, offset};
use crate::similar::is_too_many;
use crate::skb::{Extent, SkbCopy, data_extent, describe};

/// Types of notifications (first byte).
const DROP: u8 = 1;
const TRACE: u8 = 4;
/// Where a trace message has the source address from before SNAT (16 bytes).
const ORIGINAL_IP: usize = 32;
/// Shortest notification with a capture header and labels.
const MIN_META: u64 = 20;

/// The helper's arguments.
struct Call {
    /// `sk_buff` or `xdp_buff`.
    packet: u64,
    map: u64,
    meta: u64,
    meta_size: u64,
}

#[fentry(function = "bpf_skb_event_output")]
pub fn skb_event_fentry(ctx: FEntryContext) -> i32 {
    let call = Call { packet: ctx.arg(0), map: ctx.arg(1), meta: ctx.arg(3), meta_size: ctx.arg(4) };
    log(&ctx, sent(&call, false));
    0
}

#[fentry(function = "bpf_xdp_event_output")]
pub fn xdp_event_fentry(ctx: FEntryContext) -> i32 {
    let call = Call { packet: ctx.arg(0), map: ctx.arg(1), meta: ctx.arg(3), meta_size: ctx.arg(4) };
    log(&ctx, sent(&call, true));
    0
}

#[kprobe]
pub fn skb_event_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(call) = call_of(&ctx) {
        log(&ctx, sent(&call, false));
    }
    0
}

#[kprobe]
pub fn xdp_event_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(call) = call_of(&ctx) {
        log(&ctx, sent(&call, true));
    }
    0
}

/// Says in the program's log what the counters cannot tell apart.
#[inline(always)]
fn log(ctx: &impl EbpfContext, outcome: Outcome) {
    match outcome {
        Outcome::Seen => {}
        Outcome::Unreadable => debug!(ctx, "event_output: the packet of a notification could not be read"),
        Outcome::OtherType => debug!(ctx, "event_output: a notification of another type"),
    }
}

/// Reads the arguments from the saved registers.
#[inline(always)]
fn call_of(ctx: &ProbeContext) -> Option<Call> {
    Some(Call {
        packet: register(ctx, offset!(regs[0]))?,
        map: register(ctx, offset!(regs[1]))?,
        meta: register(ctx, offset!(regs[3]))?,
        meta_size: register(ctx, offset!(regs[4]))?,
    })
}

#[inline(always)]
fn register(ctx: &ProbeContext, offset: u32) -> Option<u64> {
    let mut value = 0u64;
    let from = (ctx.as_ptr() as u64).wrapping_add(u64::from(offset));
    read_kernel((&raw mut value).cast(), 8, from).then_some(value)
}

#[inline(always)]
fn sent(call: &Call, xdp: bool) -> Outcome {
    let (tap, scratch) = if xdp {
        (tap::XDP_MESSAGE, XDP_SCRATCH.get_ptr_mut(0))
    } else {
        (tap::MESSAGE, MESSAGE_SCRATCH.get_ptr_mut(0))
    };
    let (Some(counters), Some(scratch)) = (Counters::of(tap), scratch) else { return Outcome::Seen };
    count!(counters, seen);
    if !is_events_map(call.map) || !copy_meta(scratch, call) {
        count!(counters, foreign);
        return Outcome::Seen;
    }
    let meta = meta_start(scratch);
    if meta.kind >= 32 || global!(SETTINGS.message_types) & (1 << meta.kind) == 0 {
        count!(counters, foreign);
        return Outcome::OtherType;
    }
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &mut (*scratch).header };
    header.kind = if xdp { kind::XDP_MESSAGE } else { kind::MESSAGE };
    header.location = 0;
    header.reason = 0;
    header.note = [0; 5];
    header.flags = 0;
    header.captured = 0;
    header.similar = 0;
    let (extent, readable) =
        if xdp { xdp_packet(scratch, call.packet) } else { skb_packet(scratch, call.packet) };
    if !readable {
        count!(counters, read_fault);
        header.flags |= flag::READ_FAULT;
    }
    let fate = report(counters, scratch, &meta, &extent);
    if meta.kind == DROP {
        expect_free(call, xdp, extent.address, fate);
    }
    if readable { Outcome::Seen } else { Outcome::Unreadable }
}

/// Filters and sends the record; returns what became of it.
#[inline(always)]
fn report(counters: Counters, scratch: *mut Scratch, meta: &MetaStart, extent: &Extent) -> u32 {
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &mut (*scratch).header };
    let drop = meta.kind == DROP;
    if !wanted(scratch, meta, extent) {
        count!(counters, filtered);
        if drop {
            count!(counters, filtered_cilium);
        }
        return fate::FILTERED;
    }
    let behind = core::hint::black_box(u32::from(header.meta_len));
    if drop && behind as usize <= MAX_META && is_too_many(scratch, behind, meta.subtype) {
        count!(counters, suppressed);
        count!(counters, suppressed_cilium);
        return fate::FILTERED;
    }
    // SAFETY: neither helper has preconditions.
    (header.time_ns, header.cpu) = unsafe { (bpf_ktime_get_boot_ns(), bpf_get_smp_processor_id()) };
    if emit(scratch) {
        count!(counters, emitted);
        return fate::EMITTED;
    }
    count!(counters, ring_full);
    if drop {
        count!(counters, ring_full_cilium);
    }
    fate::RING_FULL
}

#[inline(always)]
fn wanted(scratch: *mut Scratch, meta: &MetaStart, extent: &Extent) -> bool {
    let cilium = CiliumFacts {
        source_identity: meta.source_identity,
        destination_identity: match meta.kind {
            DROP | TRACE => meta.destination_identity,
            _ => 0,
        },
        reason: if meta.kind == DROP { meta.subtype } else { 0 },
    };
    if !accepts_header(scratch, cilium) {
        return false;
    }
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &(*scratch).header };
    let behind = u32::from(header.meta_len);
    capture_behind(scratch, behind, extent);
    let behind = core::hint::black_box(behind);
    if behind as usize > MAX_META {
        return true;
    }
    !needs_packet()
        || (meta.kind == TRACE && is_translated(scratch))
        || accepts_packet(scratch, behind, u32::from(header.captured))
}

/// Whether the packet's source address is not the one that the trace message tells: the filter is about the latter.
#[inline(always)]
fn is_translated(scratch: *const Scratch) -> bool {
    // SAFETY: `scratch` is a live map value, and the body is longer than 48 bytes.
    unsafe {
        let original = (&raw const (*scratch).body).cast::<u8>().add(ORIGINAL_IP).cast::<u64>();
        let has_original = usize::from((*scratch).header.meta_len) >= ORIGINAL_IP + 16;
        has_original && (original.read_unaligned() | original.add(1).read_unaligned()) != 0
    }
}

/// Whether the helper was called on the pinned `cilium_events`.
#[inline(always)]
fn is_events_map(map: u64) -> bool {
    let offset = offset!(map_id);
    let mut id = 0u32;
    if !read_kernel((&raw mut id).cast(), 4, map.wrapping_add(u64::from(offset))) || id == 0 {
        return false;
    }
    for slot in 0..EVENTS_MAPS {
        if EVENTS_MAP_IDS.get(slot) == Some(&id) {
            return true;
        }
    }
    false
}

/// Copies the notification into the record; false if there is none to read. A longer one than any known
/// is cut: the layouts grow at the end.
#[inline(always)]
fn copy_meta(scratch: *mut Scratch, call: &Call) -> bool {
    if call.meta_size < MIN_META {
        return false;
    }
    let size = if call.meta_size > MAX_META as u64 { MAX_META as u32 } else { call.meta_size as u32 };
    let size = core::hint::black_box(size);
    if size as usize > MAX_META {
        return false;
    }
    // SAFETY: `scratch` is a live map value.
    let (to, header) = unsafe { ((&raw mut (*scratch).body).cast::<u8>(), &mut (*scratch).header) };
    header.meta_len = size as u16;
    read_kernel(to, size, call.meta)
}

/// What the filter needs of a notification.
struct MetaStart {
    kind: u8,
    subtype: u8,
    source_identity: u32,
    destination_identity: u32,
}

#[inline(always)]
fn meta_start(scratch: *const Scratch) -> MetaStart {
    // SAFETY: `scratch` is a live map value, and the body is longer than 24 bytes.
    unsafe {
        let body = (&raw const (*scratch).body).cast::<u8>();
        MetaStart {
            kind: *body,
            subtype: *body.add(1),
            source_identity: body.add(16).cast::<u32>().read_unaligned(),
            destination_identity: body.add(20).cast::<u32>().read_unaligned(),
        }
    }
}

/// Describes the packet of a tc program.
#[inline(always)]
fn skb_packet(scratch: *mut Scratch, skb: u64) -> (Extent, bool) {
    // SAFETY: `scratch` is a live map value.
    unsafe { (*scratch).header.skb = skb };
    let copy = SkbCopy(scratch);
    let readable = copy.load(skb);
    describe(scratch, copy);
    (data_extent(copy), readable)
}

/// Describes the packet of an XDP program: no `sk_buff` yet, all of it in one piece as far as it matters.
#[inline(always)]
fn xdp_packet(scratch: *mut Scratch, xdp: u64) -> (Extent, bool) {
    let data = pointer(xdp, offset!(xdp_data));
    let end = pointer(xdp, offset!(xdp_data_end));
    let queue = pointer(xdp, offset!(xdp_rxq));
    let length = end.wrapping_sub(data) as u32;
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &mut (*scratch).header };
    header.skb = data;
    header.iif = 0;
    header.mark = 0;
    header.hash = 0;
    header.protocol = 0;
    header.vlan_tci = 0;
    header.dev_type = DEV_TYPE_UNKNOWN;
    device::describe(scratch, pointer(queue, offset!(rxq_dev)));
    header.iif = header.ifindex;
    let extent = Extent { start: tracer_common::event::start::DATA, address: data, linear: length, length };
    (extent, data != 0 && end >= data)
}

/// The pointer at `base + offset`, 0 if it cannot be read.
#[inline(always)]
fn pointer(base: u64, offset: u32) -> u64 {
    let mut value = 0u64;
    if read_kernel((&raw mut value).cast(), 8, base.wrapping_add(u64::from(offset))) { value } else { 0 }
}

/// Leaves word for the free tap, which sees the packet next on this CPU.
#[inline(always)]
fn expect_free(call: &Call, xdp: bool, data: u64, fate: u32) {
    let Some(state) = STATE.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's state.
    let pending = unsafe { &mut (*state).pending };
    pending.skb = if xdp { 0 } else { call.packet };
    pending.data = if xdp { data } else { 0 };
    // SAFETY: the helper has no preconditions.
    pending.time_ns = unsafe { bpf_ktime_get_boot_ns() };
    pending.fate = fate;
}
