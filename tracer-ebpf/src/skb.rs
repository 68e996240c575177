//! Kernel structures by offset: one bulk read of the `sk_buff` and one of the `net_device`, then fields are
//! picked from the copies.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_common::config::{ABSENT, MAX_DEV_SPAN, MAX_SKB_SPAN};
use tracer_common::event::{DEV_TYPE_UNKNOWN, flag};

use crate::maps::Scratch;
use crate::settings::offset;

/// Kernel addresses lie in the upper half; `skb->dev` shares its place with socket bookkeeping.
const LOWEST_KERNEL_ADDRESS: u64 = 0xff00_0000_0000_0000;
/// `mac_header` of a packet that has none.
const NO_MAC_HEADER: u16 = u16::MAX;

/// Copies `size` bytes of kernel memory; false if they are not readable.
#[inline(always)]
pub fn read_kernel(to: *mut u8, size: u32, from: u64) -> bool {
    // SAFETY: `to` points to at least `size` bytes of a map value (checked by the verifier); the helper
    // itself guards the source.
    unsafe { bpf_probe_read_kernel(to.cast(), size, from as *const _) == 0 }
}

macro_rules! reader {
    ($name:ident, $int:ty) => {
        /// The number at `offset` of a copied structure, 0 beyond its end.
        #[inline(always)]
        pub fn $name(copy: *const u8, size: usize, offset: u32) -> $int {
            let offset = offset as usize;
            if offset > size - size_of::<$int>() {
                return 0;
            }
            // SAFETY: in bounds as just checked; alignment does not matter to an unaligned read.
            unsafe { copy.add(offset).cast::<$int>().read_unaligned() }
        }
    };
}
reader!(read_u8, u8);
reader!(read_u16, u16);
reader!(read_u32, u32);
reader!(read_u64, u64);

/// Copies the part of the `sk_buff` that holds every needed member.
#[inline(always)]
pub fn load_skb(scratch: *mut Scratch, skb: u64) -> bool {
    let span = offset!(skb_span);
    if span == 0 || span as usize > MAX_SKB_SPAN {
        return false;
    }
    // SAFETY: `scratch` is a live map value.
    let to = unsafe { (&raw mut (*scratch).skb).cast::<u8>() };
    read_kernel(to, span, skb)
}

/// The copied `sk_buff`.
#[inline(always)]
pub fn skb_copy(scratch: *const Scratch) -> *const u8 {
    // SAFETY: `scratch` is a live map value; no reference is made.
    unsafe { (&raw const (*scratch).skb).cast() }
}

/// A member of the copied `sk_buff`.
macro_rules! skb_field {
    ($scratch:expr, $reader:ident, $field:ident) => {
        $crate::skb::$reader(
            $crate::skb::skb_copy($scratch),
            tracer_common::config::MAX_SKB_SPAN,
            $crate::settings::offset!($field),
        )
    };
}
pub(crate) use skb_field;

/// Where the captured bytes start, and how far they may reach.
pub struct Extent {
    /// One of [`tracer_common::event::start`].
    pub start: u8,
    pub address: u64,
    /// Bytes of the packet from `address` on that lie in one piece.
    pub linear: u32,
    /// Length of the packet from `address` on.
    pub length: u32,
}

/// The extent of a freed packet: from its link-layer header where there is one.
#[inline(always)]
pub fn freed_extent(scratch: *const Scratch) -> Extent {
    use tracer_common::event::start;
    let head = skb_field!(scratch, read_u64, skb_head);
    let data = skb_field!(scratch, read_u64, skb_data);
    let mac = skb_field!(scratch, read_u16, skb_mac_header);
    let network = skb_field!(scratch, read_u16, skb_network_header);
    let mac_address = head.wrapping_add(u64::from(mac));
    let network_address = head.wrapping_add(u64::from(network));
    if mac != NO_MAC_HEADER && mac_address <= data {
        from(scratch, start::MAC, mac_address, data)
    } else if network != 0 && network_address <= data {
        from(scratch, start::NETWORK, network_address, data)
    } else {
        from(scratch, start::DATA, data, data)
    }
}

/// The extent of a packet at a tc hook, where `data` stands at the first header.
#[inline(always)]
pub fn data_extent(scratch: *const Scratch) -> Extent {
    let data = skb_field!(scratch, read_u64, skb_data);
    from(scratch, tracer_common::event::start::DATA, data, data)
}

#[inline(always)]
fn from(scratch: *const Scratch, start: u8, address: u64, data: u64) -> Extent {
    let length = skb_field!(scratch, read_u32, skb_len);
    let paged = skb_field!(scratch, read_u32, skb_data_len);
    let before = data.wrapping_sub(address) as u32;
    let linear = length.saturating_sub(paged);
    Extent { start, address, linear: before.wrapping_add(linear), length: before.wrapping_add(length) }
}

/// Fills the header fields that come from the `sk_buff` and its device.
#[inline(always)]
pub fn describe(scratch: *mut Scratch) {
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &mut (*scratch).header };
    header.iif = skb_field!(scratch, read_u32, skb_iif);
    header.mark = skb_field!(scratch, read_u32, skb_mark);
    header.hash = skb_field!(scratch, read_u32, skb_hash);
    header.protocol = skb_field!(scratch, read_u16, skb_protocol);
    describe_vlan(scratch);
    describe_device(scratch, skb_field!(scratch, read_u64, skb_dev));
}

#[inline(always)]
fn describe_vlan(scratch: *mut Scratch) {
    let tci = skb_field!(scratch, read_u16, skb_vlan_tci);
    let mask = offset!(vlan_present_mask);
    let present = if mask == 0 {
        skb_field!(scratch, read_u32, skb_vlan_present) != 0
    } else {
        u32::from(skb_field!(scratch, read_u8, skb_vlan_present)) & mask != 0
    };
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &mut (*scratch).header };
    header.vlan_tci = if present { tci } else { 0 };
    if present {
        header.flags |= flag::HAS_VLAN;
    }
}

/// Copies the device's members into the header; leaves it without a device if there is none.
#[inline(always)]
pub fn describe_device(scratch: *mut Scratch, dev: u64) {
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &mut (*scratch).header };
    header.ifindex = 0;
    header.netns = 0;
    header.dev_type = DEV_TYPE_UNKNOWN;
    header.ifname = [0; 16];
    if dev < LOWEST_KERNEL_ADDRESS || !load_device(scratch, dev) {
        return;
    }
    // SAFETY: `scratch` is a live map value.
    let copy = unsafe { (&raw const (*scratch).dev).cast::<u8>() };
    header.ifindex = read_u32(copy, MAX_DEV_SPAN, place(offset!(dev_ifindex), IFINDEX_AT));
    header.dev_type = read_u16(copy, MAX_DEV_SPAN, place(offset!(dev_type), TYPE_AT));
    let name = place(offset!(dev_name), NAME_AT) as usize;
    if name <= MAX_DEV_SPAN - 16 {
        // SAFETY: in bounds as just checked.
        header.ifname = unsafe { copy.add(name).cast::<[u8; 16]>().read_unaligned() };
    }
    header.netns = netns(scratch, read_u64(copy, MAX_DEV_SPAN, place(offset!(dev_net), NET_AT)));
    header.flags |= flag::HAS_DEV;
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
fn load_device(scratch: *mut Scratch, dev: u64) -> bool {
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

/// Inode number of a network namespace.
#[inline(always)]
fn netns(scratch: *mut Scratch, net: u64) -> u32 {
    let offset = offset!(net_inum);
    if offset == ABSENT || net < LOWEST_KERNEL_ADDRESS {
        return 0;
    }
    // SAFETY: `scratch` is a live map value; its header field is written by this program alone.
    let to = unsafe { (&raw mut (*scratch).header.netns).cast::<u8>() };
    if read_kernel(to, 4, net.wrapping_add(u64::from(offset))) {
        // SAFETY: as above.
        unsafe { (*scratch).header.netns }
    } else {
        0
    }
}
