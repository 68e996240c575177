//! A finished record into the ring buffer.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::bpf_ringbuf_output;
use tracer_common::event::{EventHeader, MAX_RECORD};

use crate::maps::{EVENTS, Scratch};

/// Puts the record into the ring; false if it has no room. The reader is woken only when it had nothing to
/// read: a wake-up costs the datapath ten times what the record does.
#[inline(always)]
pub fn emit(scratch: *mut Scratch) -> bool {
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &(*scratch).header };
    let length = size_of::<EventHeader>() as u32 + u32::from(header.meta_len) + u32::from(header.captured);
    let length = core::hint::black_box(length);
    if length as usize > MAX_RECORD {
        return false;
    }
    let wake =
        if EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) == 0 { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    // SAFETY: header and body lie next to each other at the start of the scratch and hold `length` bytes.
    unsafe {
        bpf_ringbuf_output(
            (&raw const EVENTS).cast_mut().cast(),
            scratch.cast(),
            u64::from(length),
            u64::from(wake),
        ) == 0
    }
}
