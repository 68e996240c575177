//! Packet bytes into the record.

use tracer_common::event::{EventHeader, MAX_META, MAX_SNAPLEN, flag};

use crate::maps::Scratch;
use crate::members::read_kernel;
use crate::settings::global;
use crate::skb::Extent;

/// What the filter looks at of nearly every packet: Ethernet header, VLAN tag, IPv6 header, ports. Of one that hides its
/// ports behind more the filter knows less, and lets it pass.
const FILTER_BYTES: u32 = 64;

/// Copies the packet's first bytes behind the header and notes what was got.
#[inline(always)]
pub fn capture(scratch: *mut Scratch, extent: &Extent) {
    // SAFETY: `scratch` is a live map value.
    let (header, body) = unsafe { (&mut (*scratch).header, (&raw mut (*scratch).body).cast::<u8>()) };
    copy(header, body, extent);
}

/// Copies them behind the `meta` bytes of notification.
#[inline(always)]
pub fn capture_behind(scratch: *mut Scratch, meta: u32, extent: &Extent) {
    let meta = core::hint::black_box(meta);
    if meta as usize <= MAX_META {
        // SAFETY: `scratch` is a live map value, and `meta` was just checked.
        let to = unsafe { (&raw mut (*scratch).body).cast::<u8>().add(meta as usize) };
        // SAFETY: as above; the header is not part of the body.
        copy(unsafe { &mut (*scratch).header }, to, extent);
    }
}

/// Copies as much as the filter looks at to where the packet goes; returns how much that is.
#[inline(always)]
pub fn peek(scratch: *mut Scratch, extent: &Extent) -> u32 {
    // SAFETY: `scratch` is a live map value.
    let to = unsafe { (&raw mut (*scratch).body).cast::<u8>() };
    read(to, FILTER_BYTES, extent).unwrap_or(0)
}

#[inline(always)]
fn copy(header: &mut EventHeader, to: *mut u8, extent: &Extent) {
    header.start = extent.start;
    header.packet_len = extent.length;
    match read(to, global!(SETTINGS.snaplen), extent) {
        Some(length) => header.captured = length as u16,
        None => {
            header.captured = 0;
            header.flags |= flag::READ_FAULT;
        }
    }
}

/// Reads up to `most` bytes; `None`: they cannot be read. Only the linear part counts: what lies behind it is other memory.
/// `to` has room for [`MAX_SNAPLEN`] bytes.
#[inline(always)]
fn read(to: *mut u8, most: u32, extent: &Extent) -> Option<u32> {
    let length = if most > extent.linear { extent.linear } else { most };
    // The verifier must see this very comparison: the compiler would drop one that it can prove, and make one of two.
    let length = core::hint::black_box(length);
    if length as usize > MAX_SNAPLEN {
        return Some(0);
    }
    read_kernel(to, length, extent.address).then_some(length)
}
