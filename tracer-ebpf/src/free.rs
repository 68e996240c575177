//! The free tap: the `kfree_skb` tracepoint, where the kernel frees a packet as dropped.
//!
//! Prototype: `(struct sk_buff *skb, void *location)` up to 5.16, `enum skb_drop_reason reason` added by 5.17,
//! `struct sock *rx_sk` by 6.11. Attached as BTF tracepoint, else as raw tracepoint: both leave the arguments
//! in the same places. Lists of packets are freed one by one, each passes here.
//!
//! This runs for every packet that the node drops, so what can reject one comes first and reads no more than it needs.

use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns};
use aya_ebpf::macros::{btf_tracepoint, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};
use aya_log_ebpf::debug;
use tracer_common::cilium::note;
use tracer_common::event::{DEV_TYPE_UNKNOWN, EventHeader, flag, kind, tap};

use crate::capture::{capture, peek};
use crate::counters::{Counters, Outcome, count};
use crate::emit::emit;
use crate::filter::{self, CiliumFacts};
use crate::maps::{CpuState, FREE_SCRATCH, LEVELS, STATE, Scratch, fate};
use crate::members::{Members as _, Typed};
use crate::settings::{global, offset};
use crate::similar::is_too_many;
use crate::skb::{Skb, SkbCopy, describe, freed_extent};

/// A message older than this is not the one that this free belongs to. Only a safety net: emulated machines
/// need up to 20 ms between the two.
const PENDING_LIFETIME_NS: u64 = 1_000_000_000;

#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb_btf(ctx: BtfTracePointContext) -> i32 {
    let reason = if global!(SETTINGS.has_reason) != 0 { ctx.arg::<u32>(2) } else { 0 };
    let skb = Typed::argument(ctx.arg(0));
    let outcome = at_own_level(|run| {
        begin(run.header(), skb.address(), ctx.arg(1), reason);
        run.freed(skb)
    });
    if outcome == Outcome::Unreadable {
        debug!(&ctx, "kfree_skb: a packet could not be read, kernel reason {}", reason);
    }
    0
}

#[raw_tracepoint(tracepoint = "kfree_skb")]
pub fn kfree_skb_raw(ctx: RawTracePointContext) -> i32 {
    let reason = if global!(SETTINGS.has_reason) != 0 { ctx.arg::<u32>(2) } else { 0 };
    let outcome = at_own_level(|run| {
        let skb = SkbCopy(run.scratch);
        begin(run.header(), ctx.arg(0), ctx.arg(1), reason);
        if !skb.load(ctx.arg(0)) {
            count!(run.counters, read_fault);
            run.header().flags |= flag::READ_FAULT;
        }
        run.freed(skb)
    });
    if outcome == Outcome::Unreadable {
        debug!(&ctx, "kfree_skb: a packet could not be read, kernel reason {}", reason);
    }
    0
}

/// One run of the program.
#[derive(Clone, Copy)]
struct Run {
    counters: Counters,
    state: *mut CpuState,
    scratch: *mut Scratch,
}

/// Runs `work` with a scratch that no run has which this one interrupted.
#[inline(always)]
fn at_own_level(work: impl FnOnce(Run) -> Outcome) -> Outcome {
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
    let outcome = work(Run { counters, state, scratch });
    // SAFETY: as above.
    unsafe { (*state).depth = depth };
    outcome
}

/// What the arguments tell.
#[inline(always)]
fn begin(header: &mut EventHeader, skb: u64, location: u64, reason: u32) {
    header.kind = kind::FREE;
    header.flags = if global!(SETTINGS.has_reason) != 0 { flag::HAS_REASON } else { 0 };
    header.skb = skb;
    header.location = location;
    header.reason = reason;
    header.captured = 0;
    header.packet_len = 0;
    header.start = 0;
    header.similar = 0;
}

impl Run {
    #[inline(always)]
    fn header<'a>(self) -> &'a mut EventHeader {
        // SAFETY: `scratch` is a live map value that no other context uses at this depth.
        unsafe { &mut (*self.scratch).header }
    }

    #[inline(always)]
    fn freed(self, skb: impl Skb) -> Outcome {
        let pending = self.take_pending(skb);
        if pending == fate::FILTERED {
            count!(self.counters, filtered);
            return self.outcome();
        }
        let cilium = self.read_note(skb);
        let is_cilium = self.header().flags & flag::HAS_NOTE != 0;
        if pending == fate::EMITTED {
            self.header().flags |= flag::SAME_DROP;
        } else if !self.wanted(skb, cilium) {
            count!(self.counters, filtered);
            if is_cilium {
                count!(self.counters, filtered_cilium);
            }
            return self.outcome();
        }
        describe(self.scratch, skb);
        // A drop whose message was lost has passed the limit with its message.
        if pending == fate::NONE && is_too_many(self.scratch, 0, cilium.reason) {
            count!(self.counters, suppressed);
            if is_cilium {
                count!(self.counters, suppressed_cilium);
            }
            return self.outcome();
        }
        self.send(pending, is_cilium);
        self.outcome()
    }

    #[inline(always)]
    fn outcome(self) -> Outcome {
        let readable = self.header().flags & flag::READ_FAULT == 0;
        if readable { Outcome::Seen } else { Outcome::Unreadable }
    }

    /// Puts the record into the ring.
    #[inline(always)]
    fn send(self, pending: u32, is_cilium: bool) {
        let header = self.header();
        header.meta_len = 0;
        header.time_ns = now();
        header.cpu = cpu();
        if emit(self.scratch) {
            count!(self.counters, emitted);
            if pending == fate::RING_FULL {
                count!(self.counters, recovered);
            }
        } else if pending != fate::NONE {
            // The drop was reported by its message, or is counted as lost with it.
            count!(self.counters, companion_lost);
        } else {
            count!(self.counters, ring_full);
            if is_cilium {
                count!(self.counters, ring_full_cilium);
            }
        }
    }

    /// Runs the filter, the cheap tests first, and captures the packet; true if the record is to be sent.
    #[inline(always)]
    fn wanted(self, skb: impl Skb, cilium: CiliumFacts) -> bool {
        let header = self.header();
        if global!(SETTINGS.notes_only) != 0 && header.flags & flag::HAS_NOTE == 0 {
            return false;
        }
        if !filter::accepts_cilium(cilium) || !filter::accepts_kernel_reason(header.flags, header.reason) {
            return false;
        }
        if filter::needs_interface() {
            let ifindex = skb.device().map_or(0, |dev| dev.get(offset!(dev_ifindex)));
            if !filter::accepts_interface(ifindex) {
                return false;
            }
        }
        let extent = freed_extent(skb);
        if filter::needs_packet() {
            header.start = extent.start;
            header.protocol = skb.get(offset!(skb_protocol));
            header.dev_type = skb.device().map_or(DEV_TYPE_UNKNOWN, |dev| dev.get(offset!(dev_type)));
            if !filter::accepts_packet(self.scratch, 0, peek(self.scratch, &extent)) {
                return false;
            }
        }
        capture(self.scratch, &extent);
        true
    }

    /// The fate of the drop message that this packet belongs to, if there was one just before on this CPU.
    #[inline(always)]
    fn take_pending(self, skb: impl Skb) -> u32 {
        // SAFETY: this CPU's state.
        let pending = unsafe { &mut (*self.state).pending };
        let fate = pending.fate;
        if fate == fate::NONE {
            return fate::NONE;
        }
        // The argument may be a typed pointer to the verifier; what was stored is a plain number.
        // SAFETY: `scratch` is a live map value.
        let address = unsafe { core::ptr::read_volatile(&raw const (*self.scratch).header.skb) };
        let same = if pending.skb != 0 { pending.skb == address } else { holds(skb, pending.data) };
        if !same {
            return fate::NONE;
        }
        pending.fate = fate::NONE;
        if now().wrapping_sub(pending.time_ns) > PENDING_LIFETIME_NS { fate::NONE } else { fate }
    }

    /// Reads the note of Cilium's tc program from the packet's control words into the header.
    #[inline(always)]
    fn read_note(self, skb: impl Skb) -> CiliumFacts {
        let header = self.header();
        let reason = if header.flags & flag::HAS_REASON != 0 { Some(header.reason) } else { None };
        let ingress = global!(SETTINGS.reason_tc_ingress);
        let egress = global!(SETTINGS.reason_tc_egress);
        if !note::may_follow(reason, ingress, egress) {
            return CiliumFacts::default();
        }
        let words = skb.control_words();
        if !note::is_plausible(&words) {
            return CiliumFacts::default();
        }
        if is_foreign(skb) {
            header.flags |= flag::FOREIGN_NOTE;
            return CiliumFacts::default();
        }
        header.note = words;
        header.flags |= flag::HAS_NOTE;
        CiliumFacts { source_identity: words[0], destination_identity: words[1], reason: words[2] as u8 }
    }
}

/// Whether a note is of another node on the same kernel (kind). Cilium's tc programs that leave notes hang on
/// devices of one namespace.
#[inline(always)]
fn is_foreign(skb: impl Skb) -> bool {
    let home = global!(SETTINGS.home_netns);
    if home == 0 {
        return false;
    }
    let netns = skb.netns();
    netns != 0 && netns != home
}

/// Whether the packet's buffer holds the address (a packet that an XDP program saw before it had an `sk_buff`).
#[inline(always)]
fn holds(skb: impl Skb, address: u64) -> bool {
    let head = skb.get::<u64>(offset!(skb_head));
    let end = u64::from(skb.get::<u32>(offset!(skb_end)));
    head != 0 && address >= head && address < head.wrapping_add(end)
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
