//! The free tap: the `kfree_skb` tracepoint, where the kernel frees a packet as dropped.
//!
//! Prototype: `(struct sk_buff *skb, void *location)` up to 5.16, `enum skb_drop_reason reason` added by 5.17,
//! `struct sock *rx_sk` by 6.11. Attached as BTF tracepoint, else as raw tracepoint: both leave the arguments
//! in the same places. Lists of packets are freed one by one, each passes here.

use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns};
use aya_ebpf::macros::{btf_tracepoint, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};
use aya_log_ebpf::debug;
use tracer_common::cilium::note;
use tracer_common::event::{flag, kind, tap};

use crate::capture::capture;
use crate::counters::{Counters, Outcome, count};
use crate::emit::emit;
use crate::filter::{CiliumFacts, accepts_header, accepts_packet, needs_packet};
use crate::maps::{CpuState, FREE_SCRATCH, LEVELS, STATE, Scratch, fate};
use crate::settings::{global, offset};
use crate::similar::is_too_many;
use crate::skb::{describe, freed_extent, load_skb, skb_field};

/// A message older than this is not the one that this free belongs to. Only a safety net: emulated machines
/// need up to 20 ms between the two.
const PENDING_LIFETIME_NS: u64 = 1_000_000_000;

#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb_btf(ctx: BtfTracePointContext) -> i32 {
    let reason = if global!(SETTINGS.has_reason) != 0 { ctx.arg::<u32>(2) } else { 0 };
    if freed(ctx.arg(0), ctx.arg(1), reason) == Outcome::Unreadable {
        debug!(&ctx, "kfree_skb: a packet could not be read, kernel reason {}", reason);
    }
    0
}

#[raw_tracepoint(tracepoint = "kfree_skb")]
pub fn kfree_skb_raw(ctx: RawTracePointContext) -> i32 {
    let reason = if global!(SETTINGS.has_reason) != 0 { ctx.arg::<u32>(2) } else { 0 };
    if freed(ctx.arg(0), ctx.arg(1), reason) == Outcome::Unreadable {
        debug!(&ctx, "kfree_skb: a packet could not be read, kernel reason {}", reason);
    }
    0
}

#[inline(always)]
fn freed(skb: u64, location: u64, reason: u32) -> Outcome {
    let (Some(counters), Some(state)) = (Counters::of(tap::FREE), STATE.get_ptr_mut(0)) else {
        return Outcome::Seen;
    };
    count!(counters, seen);
    // SAFETY: this CPU's state; what interrupts us leaves `depth` as it found it.
    let depth = unsafe { (*state).depth };
    let Some(scratch) = (if depth < LEVELS { FREE_SCRATCH.get_ptr_mut(depth) } else { None }) else {
        count!(counters, ring_full);
        return Outcome::Seen;
    };
    // SAFETY: as above.
    unsafe { (*state).depth = depth + 1 };
    observe(counters, state, scratch, skb, location, reason);
    // SAFETY: as above.
    unsafe { (*state).depth = depth };
    // SAFETY: `scratch` is a live map value.
    if unsafe { (*scratch).header.flags } & flag::READ_FAULT != 0 {
        Outcome::Unreadable
    } else {
        Outcome::Seen
    }
}

#[inline(always)]
fn observe(
    counters: Counters,
    state: *mut CpuState,
    scratch: *mut Scratch,
    skb: u64,
    location: u64,
    reason: u32,
) {
    // SAFETY: `scratch` is a live map value that no other context uses at this depth.
    let header = unsafe { &mut (*scratch).header };
    header.kind = kind::FREE;
    header.flags = if global!(SETTINGS.has_reason) != 0 { flag::HAS_REASON } else { 0 };
    header.skb = skb;
    header.location = location;
    header.reason = reason;
    header.meta_len = 0;
    header.captured = 0;
    header.similar = 0;
    // The argument may be a typed pointer to the verifier; what was stored is a plain number.
    // SAFETY: as above.
    let skb = unsafe { core::ptr::read_volatile(&raw const (*scratch).header.skb) };
    if !load_skb(scratch, skb) {
        count!(counters, read_fault);
        header.flags |= flag::READ_FAULT;
    }
    let pending = take_pending(state, scratch, skb);
    if pending == fate::FILTERED {
        count!(counters, filtered);
        return;
    }
    let mut cilium = read_note(scratch);
    let companion = pending == fate::EMITTED;
    if companion {
        header.flags |= flag::SAME_DROP;
    }
    describe(scratch);
    if is_foreign_note(scratch) {
        header.flags = header.flags & !flag::HAS_NOTE | flag::FOREIGN_NOTE;
        header.note = [0; 5];
        cilium = CiliumFacts::default();
    }
    let is_cilium = header.flags & flag::HAS_NOTE != 0;
    if !companion && !wanted(scratch, cilium) {
        count!(counters, filtered);
        if is_cilium {
            count!(counters, filtered_cilium);
        }
        return;
    }
    // A drop whose message was lost has passed the limit with its message.
    if pending == fate::NONE && is_too_many(scratch, 0, cilium.reason) {
        count!(counters, suppressed);
        if is_cilium {
            count!(counters, suppressed_cilium);
        }
        return;
    }
    header.time_ns = now();
    header.cpu = cpu();
    if emit(scratch) {
        count!(counters, emitted);
        if pending == fate::RING_FULL {
            count!(counters, recovered);
        }
    } else if companion {
        count!(counters, companion_lost);
    } else if pending == fate::RING_FULL {
        // The drop is counted as lost already, with its message.
        count!(counters, companion_lost);
    } else {
        count!(counters, ring_full);
        if is_cilium {
            count!(counters, ring_full_cilium);
        }
    }
}

/// Captures the packet and runs the filter; true if the record is to be sent.
#[inline(always)]
fn wanted(scratch: *mut Scratch, cilium: CiliumFacts) -> bool {
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &(*scratch).header };
    if global!(SETTINGS.notes_only) != 0 && header.flags & flag::HAS_NOTE == 0 {
        return false;
    }
    if !accepts_header(scratch, cilium) {
        return false;
    }
    capture(scratch, 0, &freed_extent(scratch));
    !needs_packet() || accepts_packet(scratch, 0, u32::from(header.captured))
}

/// The fate of the drop message that this packet belongs to, if there was one just before on this CPU.
#[inline(always)]
fn take_pending(state: *mut CpuState, scratch: *const Scratch, skb: u64) -> u32 {
    // SAFETY: this CPU's state.
    let pending = unsafe { &mut (*state).pending };
    let fate = pending.fate;
    if fate == fate::NONE {
        return fate::NONE;
    }
    let same = if pending.skb != 0 { pending.skb == skb } else { holds(scratch, pending.data) };
    if !same {
        return fate::NONE;
    }
    pending.fate = fate::NONE;
    if now().wrapping_sub(pending.time_ns) > PENDING_LIFETIME_NS { fate::NONE } else { fate }
}

/// Whether the packet's buffer holds the address (a packet that an XDP program saw before it had an `sk_buff`).
#[inline(always)]
fn holds(scratch: *const Scratch, address: u64) -> bool {
    let head = skb_field!(scratch, read_u64, skb_head);
    let end = u64::from(skb_field!(scratch, read_u32, skb_end));
    head != 0 && address >= head && address < head.wrapping_add(end)
}

/// Reads the note of Cilium's tc program from the packet's control words into the header.
#[inline(always)]
fn read_note(scratch: *mut Scratch) -> CiliumFacts {
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &mut (*scratch).header };
    let reason = if header.flags & flag::HAS_REASON != 0 { Some(header.reason) } else { None };
    let ingress = global!(SETTINGS.reason_tc_ingress);
    let egress = global!(SETTINGS.reason_tc_egress);
    header.note = [0; 5];
    if !note::may_follow(reason, ingress, egress) {
        return CiliumFacts::default();
    }
    let words = [
        control_word(scratch, 0),
        control_word(scratch, 1),
        control_word(scratch, 2),
        control_word(scratch, 3),
        control_word(scratch, 4),
    ];
    if !note::is_plausible(&words) {
        return CiliumFacts::default();
    }
    header.note = words;
    header.flags |= flag::HAS_NOTE;
    CiliumFacts { source_identity: words[0], destination_identity: words[1], reason: words[2] as u8 }
}

/// Whether the note is of another node on the same kernel (kind). Cilium's tc programs that leave notes hang on
/// devices of one namespace.
#[inline(always)]
fn is_foreign_note(scratch: *const Scratch) -> bool {
    let home = global!(SETTINGS.home_netns);
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &(*scratch).header };
    home != 0 && header.flags & flag::HAS_NOTE != 0 && header.netns != 0 && header.netns != home
}

/// Word `index` of `__sk_buff.cb`, which the kernel keeps behind the first 8 bytes of `sk_buff.cb`.
#[inline(always)]
fn control_word(scratch: *const Scratch, index: u32) -> u32 {
    // SAFETY: `scratch` is a live map value.
    let copy = unsafe { (&raw const (*scratch).skb).cast::<u8>() };
    crate::skb::read_u32(
        copy,
        tracer_common::config::MAX_SKB_SPAN,
        offset!(skb_cb).wrapping_add(8 + 4 * index),
    )
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_boot_ns() }
}

#[inline(always)]
fn cpu() -> u32 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_smp_processor_id() }
}
