//! Packet bytes into the record.

use tracer_common::event::{MAX_META, MAX_SNAPLEN, flag};

use crate::maps::Scratch;
use crate::settings::global;
use crate::skb::{Extent, read_kernel};

/// Copies the packet's first bytes behind the `meta` bytes of notification and notes what was got.
/// Only the linear part is read: what lies behind it is other memory.
#[inline(always)]
pub fn capture(scratch: *mut Scratch, meta: u32, extent: &Extent) {
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &mut (*scratch).header };
    header.start = extent.start;
    header.packet_len = extent.length;
    header.captured = 0;
    let mut length = global!(SETTINGS.snaplen);
    if length > extent.linear {
        length = extent.linear;
    }
    // The verifier must see this very comparison: the compiler would drop one that it can prove.
    let length = core::hint::black_box(length);
    let meta = core::hint::black_box(meta);
    if length == 0 || length as usize > MAX_SNAPLEN || meta as usize > MAX_META {
        return;
    }
    // SAFETY: MAX_META + MAX_SNAPLEN bytes of body, both parts bounded above.
    let to = unsafe { (&raw mut (*scratch).body).cast::<u8>().add(meta as usize) };
    if read_kernel(to, length, extent.address) {
        header.captured = length as u16;
    } else {
        header.flags |= flag::READ_FAULT;
    }
}
