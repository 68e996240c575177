//! A finished record into the ring buffer.

use aya_ebpf::helpers::generated::bpf_ringbuf_output;
use tracer_common::event::{EventHeader, MAX_RECORD};

use crate::maps::{EVENTS, Scratch};

/// Puts the record into the ring; false if it has no room. Without flags the kernel wakes the reader only when this record
/// is the next one it reads: a wake-up costs the datapath ten times what the record does.
#[inline(always)]
pub fn emit(scratch: *mut Scratch) -> bool {
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &(*scratch).header };
    let length = size_of::<EventHeader>() as u32 + u32::from(header.meta_len) + u32::from(header.captured);
    let length = core::hint::black_box(length);
    if length as usize > MAX_RECORD {
        return false;
    }
    // SAFETY: header and body lie next to each other at the start of the scratch and hold `length` bytes.
    unsafe {
        bpf_ringbuf_output((&raw const EVENTS).cast_mut().cast(), scratch.cast(), u64::from(length), 0) == 0
    }
}
