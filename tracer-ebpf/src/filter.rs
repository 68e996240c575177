//! The kernel-side filter: rejects what the exact filter in user space would reject anyway.

use tracer_common::config::FILTER_SLOTS;
use tracer_common::event::flag;

use crate::maps::Scratch;
use crate::packet::{Bytes, Facts, facts};
use crate::settings::global;

/// What Cilium said about the packet: 0 where it said nothing.
#[derive(Clone, Copy, Default)]
pub struct CiliumFacts {
    pub source_identity: u32,
    pub destination_identity: u32,
    pub reason: u8,
}

/// Tests everything that can be told without the packet's bytes.
#[inline(always)]
pub fn accepts_header(scratch: *const Scratch, cilium: CiliumFacts) -> bool {
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &(*scratch).header };
    accepts_cilium(cilium)
        && accepts_interface(header.ifindex)
        && accepts_kernel_reason(header.flags, header.reason)
}

/// Tests what Cilium said.
#[inline(always)]
pub fn accepts_cilium(cilium: CiliumFacts) -> bool {
    identities(cilium) && reason(cilium.reason)
}

/// Whether any test needs the packet's device.
#[inline(always)]
pub fn needs_interface() -> bool {
    global!(FILTER.ifindex_count) != 0
}

/// Whether any test needs the packet's bytes.
#[inline(always)]
pub fn needs_packet() -> bool {
    global!(FILTER.prefix_count) != 0
        || global!(FILTER.port_count) != 0
        || global!(FILTER.by_protocol) != 0
        || global!(FILTER.ip_version) != 0
}

/// Tests the captured packet, which begins `offset` bytes into the record's body.
#[inline(always)]
pub fn accepts_packet(scratch: *const Scratch, offset: u32, length: u32) -> bool {
    // SAFETY: `scratch` is a live map value, and the caller bounded `offset` by MAX_META.
    let (base, header) =
        unsafe { ((&raw const (*scratch).body).cast::<u8>().add(offset as usize), &(*scratch).header) };
    let facts = facts(&Bytes { base, length }, header.start, header.dev_type, header.protocol);
    version(&facts) && protocol(&facts) && ports(&facts) && prefixes(&facts)
}

#[inline(always)]
fn identities(cilium: CiliumFacts) -> bool {
    let count = global!(FILTER.identity_count);
    if count == 0 || cilium.source_identity == 0 || cilium.destination_identity == 0 {
        return true;
    }
    for slot in 0..FILTER_SLOTS {
        if slot as u32 >= count {
            break;
        }
        let wanted = global!(FILTER.identities[slot]);
        if wanted == cilium.source_identity || wanted == cilium.destination_identity {
            return true;
        }
    }
    false
}

/// Bit `number` of a set of 256 in the filter.
macro_rules! has_bit {
    ($set:ident, $number:expr) => {
        global!(FILTER.$set[($number >> 6) as usize & 3]) & (1 << ($number & 63)) != 0
    };
}

#[inline(always)]
fn reason(reason: u8) -> bool {
    global!(FILTER.by_reason) == 0 || reason == 0 || has_bit!(reasons, reason)
}

#[inline(always)]
fn protocol(facts: &Facts) -> bool {
    global!(FILTER.by_protocol) == 0 || facts.protocol == 0 || has_bit!(protocols, facts.protocol)
}

/// Tests the number of the packet's device, 0 without one.
#[inline(always)]
pub fn accepts_interface(ifindex: u32) -> bool {
    let count = global!(FILTER.ifindex_count);
    if count == 0 || ifindex == 0 {
        return true;
    }
    for slot in 0..FILTER_SLOTS {
        if (slot as u32) < count && global!(FILTER.ifindexes[slot]) == ifindex {
            return true;
        }
    }
    false
}

/// Tests the kernel's drop reason, if `flags` say that there is one.
#[inline(always)]
pub fn accepts_kernel_reason(flags: u16, reason: u32) -> bool {
    let count = global!(FILTER.kernel_reason_count);
    if count == 0 || flags & flag::HAS_REASON == 0 {
        return true;
    }
    for slot in 0..FILTER_SLOTS {
        if (slot as u32) < count && global!(FILTER.kernel_reasons[slot]) == reason {
            return true;
        }
    }
    false
}

#[inline(always)]
fn version(facts: &Facts) -> bool {
    let wanted = global!(FILTER.ip_version);
    wanted == 0 || facts.version == 0 || u32::from(facts.version) == wanted
}

#[inline(always)]
fn ports(facts: &Facts) -> bool {
    let count = global!(FILTER.port_count);
    if count == 0 || (facts.source_port == 0 && facts.destination_port == 0) {
        return true;
    }
    for slot in 0..FILTER_SLOTS {
        if slot as u32 >= count {
            break;
        }
        let wanted = global!(FILTER.ports[slot]);
        if wanted == u32::from(facts.source_port) || wanted == u32::from(facts.destination_port) {
            return true;
        }
    }
    false
}

#[inline(always)]
fn prefixes(facts: &Facts) -> bool {
    let count = global!(FILTER.prefix_count);
    if count == 0 || facts.version == 0 {
        return true;
    }
    for slot in 0..FILTER_SLOTS {
        if slot as u32 >= count {
            break;
        }
        if covers(slot, &facts.source) || covers(slot, &facts.destination) {
            return true;
        }
    }
    false
}

/// Whether the prefix in `slot` covers the address.
#[inline(always)]
fn covers(slot: usize, address: &[u32; 4]) -> bool {
    let mut difference = 0;
    for (word, value) in address.iter().enumerate() {
        let mask = global!(FILTER.prefixes[slot].mask[word]);
        difference |= (value & mask) ^ global!(FILTER.prefixes[slot].addr[word]);
    }
    difference == 0
}
