//! What a record tells of a packet's device.

use tracer_common::config::{ABSENT, MAX_DEV_SPAN};
use tracer_common::event::{DEV_TYPE_UNKNOWN, flag};

use crate::maps::Scratch;
use crate::members::{Address, Copied, Members, Typed, is_kernel_address, read_kernel};
use crate::settings::offset;

/// Copies the device's members into the header; leaves it without a device if there is none.
#[inline(always)]
pub fn describe_typed(scratch: *mut Scratch, dev: Option<Typed>) {
    let Some(dev) = dev else { return forget(scratch) };
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &mut (*scratch).header };
    header.ifindex = dev.get(offset!(dev_ifindex));
    header.dev_type = dev.get(offset!(dev_type));
    let name: [u64; 2] = [dev.get(offset!(dev_name)), dev.get(offset!(dev_name) + 8)];
    // SAFETY: the name has the size of both words; alignment does not matter to an unaligned write.
    unsafe { (&raw mut header.ifname).cast::<[u64; 2]>().write_unaligned(name) };
    header.netns = netns_of(dev);
    header.flags |= flag::HAS_DEV;
}

/// The same of a device at an address.
#[inline(always)]
pub fn describe(scratch: *mut Scratch, dev: u64) {
    forget(scratch);
    if !is_kernel_address(dev) || !load(scratch, dev) {
        return;
    }
    // SAFETY: `scratch` is a live map value.
    let (header, copy) = unsafe { (&mut (*scratch).header, (&raw const (*scratch).dev).cast::<u8>()) };
    let members = Copied::<MAX_DEV_SPAN>(copy);
    header.ifindex = members.get(place(offset!(dev_ifindex), IFINDEX_AT));
    header.dev_type = members.get(place(offset!(dev_type), TYPE_AT));
    let name = place(offset!(dev_name), NAME_AT) as usize;
    if name <= MAX_DEV_SPAN - 16 {
        // SAFETY: in bounds as just checked.
        header.ifname = unsafe { copy.add(name).cast::<[u8; 16]>().read_unaligned() };
    }
    header.netns = netns_at(members.get(place(offset!(dev_net), NET_AT)));
    header.flags |= flag::HAS_DEV;
}

#[inline(always)]
fn forget(scratch: *mut Scratch) {
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &mut (*scratch).header };
    header.ifindex = 0;
    header.netns = 0;
    header.dev_type = DEV_TYPE_UNKNOWN;
    header.ifname = [0; 16];
}

/// Inode number of a device's network namespace.
#[inline(always)]
pub fn netns_of(dev: Typed) -> u32 {
    let offset = offset!(net_inum);
    if offset == ABSENT { 0 } else { dev.follow(offset!(dev_net)).map_or(0, |net| net.get(offset)) }
}

/// Inode number of the network namespace at an address.
#[inline(always)]
pub fn netns_at(net: u64) -> u32 {
    let offset = offset!(net_inum);
    if offset == ABSENT || !is_kernel_address(net) { 0 } else { Address(net).get(offset) }
}

/// Places in the copy where members go that had to be read one by one.
const IFINDEX_AT: u32 = 0;
const TYPE_AT: u32 = 4;
const NET_AT: u32 = 8;
const NAME_AT: u32 = 16;

/// Place of a `net_device` member in the copy.
#[inline(always)]
fn place(offset: u32, alone: u32) -> u32 {
    if offset!(dev_span) == 0 { alone } else { offset.wrapping_sub(offset!(dev_base)) }
}

/// Copies the part of the `net_device` that holds every needed member, or each member where they lie too far
/// apart for one read (before 6.6).
#[inline(always)]
fn load(scratch: *mut Scratch, dev: u64) -> bool {
    let span = offset!(dev_span);
    // SAFETY: `scratch` is a live map value.
    let copy = unsafe { (&raw mut (*scratch).dev).cast::<u8>() };
    if span as usize > MAX_DEV_SPAN {
        return false;
    }
    if span != 0 {
        return read_kernel(copy, span, dev.wrapping_add(u64::from(offset!(dev_base))));
    }
    load_member(copy, IFINDEX_AT, 4, dev, offset!(dev_ifindex))
        && load_member(copy, TYPE_AT, 2, dev, offset!(dev_type))
        && load_member(copy, NET_AT, 8, dev, offset!(dev_net))
        && load_member(copy, NAME_AT, 16, dev, offset!(dev_name))
}

#[inline(always)]
fn load_member(copy: *mut u8, at: u32, size: u32, dev: u64, offset: u32) -> bool {
    // SAFETY: the places end below 32 bytes.
    read_kernel(unsafe { copy.add(at as usize) }, size, dev.wrapping_add(u64::from(offset)))
}
