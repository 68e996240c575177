//! Few of many similar drops (`--rate-limit`): of the drops of one flow only so many a second are reported, on each CPU;
//! the next record of the flow says how many were not.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use tracer_common::event::FlowKey;

use crate::maps::{SIMILAR, Scratch};
use crate::packet::{Bytes, facts};
use crate::settings::global;

const SECOND_NS: u64 = 1_000_000_000;

/// Whether the record that is put together, whose packet begins `offset` bytes into the body, is one too many. Else its
/// header tells how many of its flow were kept back before it. `reason` is Cilium's, 0 if it gave none.
#[inline(always)]
pub fn is_too_many(scratch: *mut Scratch, offset: u32, reason: u8) -> bool {
    let limit = global!(SETTINGS.rate_limit);
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &mut (*scratch).header };
    header.similar = 0;
    if limit == 0 {
        return false;
    }
    // SAFETY: the caller bounded `offset` by MAX_META.
    let base = unsafe { (&raw const (*scratch).body).cast::<u8>().add(offset as usize) };
    let bytes = Bytes { base, length: u32::from(header.captured) };
    let facts = facts(&bytes, header.start, header.dev_type, header.protocol);
    let key = &FlowKey {
        source: facts.source,
        destination: facts.destination,
        kernel_reason: header.reason,
        destination_port: facts.destination_port,
        protocol: facts.protocol,
        reason,
    };
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let Some(rate) = SIMILAR.get_ptr_mut(key) else {
        let first = tracer_common::event::FlowRate { since_ns: now, sent: 1, kept_back: 0 };
        // A flow that cannot be remembered is not limited.
        let _ = SIMILAR.insert(key, first, 0);
        return false;
    };
    // SAFETY: this CPU's value in a per-CPU map; values of such maps are not freed while a program runs.
    let rate = unsafe { &mut *rate };
    if now.wrapping_sub(rate.since_ns) >= SECOND_NS {
        rate.since_ns = now;
        rate.sent = 0;
    }
    if rate.sent >= limit {
        rate.kept_back = rate.kept_back.saturating_add(1);
        return true;
    }
    rate.sent += 1;
    header.similar = rate.kept_back;
    rate.kept_back = 0;
    false
}
