//! What a record tells of an `sk_buff`: the header fields, and where its packet lies.

use tracer_common::config::MAX_SKB_SPAN;
use tracer_common::event::{flag, start};

use crate::device;
use crate::maps::Scratch;
use crate::members::{Address, Copied, Members, Number, Typed, is_kernel_address, read_kernel};
use crate::settings::offset;

/// `mac_header` of a packet that has none.
const NO_MAC_HEADER: u16 = u16::MAX;

/// An `sk_buff`, whichever way its members are had.
pub trait Skb: Members {
    /// `__sk_buff.cb`, which the kernel keeps behind the first 8 bytes of `sk_buff.cb`.
    fn control_words(self) -> [u32; 5];
    /// Its device.
    fn device(self) -> Option<impl Members>;
    /// Inode number of its device's network namespace; 0 without a device.
    fn netns(self) -> u32;
    /// Copies the device's members into the header.
    fn describe_device(self, scratch: *mut Scratch);
}

impl Skb for Typed {
    #[inline(always)]
    fn control_words(self) -> [u32; 5] {
        let cb = self.inner(offset!(skb_cb));
        [cb.get(8), cb.get(12), cb.get(16), cb.get(20), cb.get(24)]
    }

    #[inline(always)]
    fn device(self) -> Option<impl Members> {
        self.follow(offset!(skb_dev))
    }

    #[inline(always)]
    fn netns(self) -> u32 {
        self.follow(offset!(skb_dev)).map_or(0, device::netns_of)
    }

    #[inline(always)]
    fn describe_device(self, scratch: *mut Scratch) {
        device::describe_typed(scratch, self.follow(offset!(skb_dev)));
    }
}

/// The copy of an `sk_buff` in the scratch.
#[derive(Clone, Copy)]
pub struct SkbCopy(pub *mut Scratch);

impl SkbCopy {
    /// Copies the part of the `sk_buff` that holds every needed member.
    #[inline(always)]
    pub fn load(self, skb: u64) -> bool {
        let span = offset!(skb_span);
        if span == 0 || span as usize > MAX_SKB_SPAN {
            return false;
        }
        // SAFETY: `scratch` is a live map value.
        let to = unsafe { (&raw mut (*self.0).skb).cast::<u8>() };
        read_kernel(to, span, skb)
    }
}

impl Members for SkbCopy {
    #[inline(always)]
    fn get<T: Number>(self, offset: u32) -> T {
        // SAFETY: `scratch` is a live map value; no reference is made.
        let copy = unsafe { (&raw const (*self.0).skb).cast::<u8>() };
        Copied::<MAX_SKB_SPAN>(copy).get(offset)
    }
}

impl Skb for SkbCopy {
    #[inline(always)]
    fn control_words(self) -> [u32; 5] {
        let word = |index: u32| self.get(offset!(skb_cb).wrapping_add(8 + 4 * index));
        [word(0), word(1), word(2), word(3), word(4)]
    }

    #[inline(always)]
    fn device(self) -> Option<impl Members> {
        let dev = self.get::<u64>(offset!(skb_dev));
        is_kernel_address(dev).then_some(Address(dev))
    }

    #[inline(always)]
    fn netns(self) -> u32 {
        self.device().map_or(0, |dev| device::netns_at(dev.get(offset!(dev_net))))
    }

    #[inline(always)]
    fn describe_device(self, scratch: *mut Scratch) {
        device::describe(scratch, self.get(offset!(skb_dev)));
    }
}

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
pub fn freed_extent(skb: impl Skb) -> Extent {
    let head = skb.get::<u64>(offset!(skb_head));
    let data = skb.get::<u64>(offset!(skb_data));
    let mac = skb.get::<u16>(offset!(skb_mac_header));
    let network = skb.get::<u16>(offset!(skb_network_header));
    let mac_address = head.wrapping_add(u64::from(mac));
    let network_address = head.wrapping_add(u64::from(network));
    if mac != NO_MAC_HEADER && mac_address <= data {
        from(skb, start::MAC, mac_address, data)
    } else if network != 0 && network_address <= data {
        from(skb, start::NETWORK, network_address, data)
    } else {
        from(skb, start::DATA, data, data)
    }
}

/// The extent of a packet at a tc hook, where `data` stands at the first header.
#[inline(always)]
pub fn data_extent(skb: impl Skb) -> Extent {
    let data = skb.get::<u64>(offset!(skb_data));
    from(skb, start::DATA, data, data)
}

#[inline(always)]
fn from(skb: impl Skb, start: u8, address: u64, data: u64) -> Extent {
    let length = skb.get::<u32>(offset!(skb_len));
    let paged = skb.get::<u32>(offset!(skb_data_len));
    let before = data.wrapping_sub(address) as u32;
    let linear = length.saturating_sub(paged);
    Extent { start, address, linear: before.wrapping_add(linear), length: before.wrapping_add(length) }
}

/// Fills the header fields that come from the `sk_buff` and its device.
#[inline(always)]
pub fn describe(scratch: *mut Scratch, skb: impl Skb) {
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &mut (*scratch).header };
    header.iif = skb.get(offset!(skb_iif));
    header.mark = skb.get(offset!(skb_mark));
    header.hash = skb.get(offset!(skb_hash));
    header.protocol = skb.get(offset!(skb_protocol));
    describe_vlan(scratch, skb);
    skb.describe_device(scratch);
}

#[inline(always)]
fn describe_vlan(scratch: *mut Scratch, skb: impl Skb) {
    let mask = offset!(vlan_present_mask);
    let present = if mask == 0 {
        skb.get::<u32>(offset!(skb_vlan_present)) != 0
    } else {
        u32::from(skb.get::<u8>(offset!(skb_vlan_present))) & mask != 0
    };
    // SAFETY: `scratch` is a live map value.
    let header = unsafe { &mut (*scratch).header };
    header.vlan_tci = 0;
    if present {
        header.vlan_tci = skb.get(offset!(skb_vlan_tci));
        header.flags |= flag::HAS_VLAN;
    }
}
