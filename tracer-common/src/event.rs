//! The record that the eBPF programs put into the ring buffer, and their counters.
//!
//! A record is an [`EventHeader`], then `meta_len` bytes of Cilium's notification (message taps only),
//! then `captured` bytes of packet. Everything in the header is in host byte order, but for `protocol`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of packet captured when the user does not say otherwise.
pub const DEFAULT_SNAPLEN: u32 = 128;
/// The most packet bytes a record can carry.
pub const MAX_SNAPLEN: usize = 256;
/// The most notification bytes a record can carry; the longest known message has 72.
pub const MAX_META: usize = 128;
/// The longest record.
pub const MAX_RECORD: usize = size_of::<EventHeader>() + MAX_META + MAX_SNAPLEN;

/// `EventHeader::kind`: what the record reports.
pub mod kind {
    /// A packet was freed as dropped (`kfree_skb` tracepoint).
    pub const FREE: u8 = 1;
    /// A tc program of Cilium sent a notification (`bpf_skb_event_output`).
    pub const MESSAGE: u8 = 2;
    /// An XDP program of Cilium sent a notification (`bpf_xdp_event_output`).
    pub const XDP_MESSAGE: u8 = 3;
}

/// `EventHeader::flags`, bits.
pub mod flag {
    /// `reason` was given by the kernel (5.17 and newer).
    pub const HAS_REASON: u16 = 1 << 0;
    /// `note` was read from `sk_buff.cb` and passed the plausibility test of the program.
    pub const HAS_NOTE: u16 = 1 << 1;
    /// The free belongs to the drop message sent just before on the same CPU: one drop, two records.
    pub const SAME_DROP: u16 = 1 << 2;
    /// Some part of the packet or the skb could not be read; what is missing is zero or absent.
    pub const READ_FAULT: u16 = 1 << 3;
    /// `vlan_tci` holds the tag that was offloaded from the packet into the skb.
    pub const HAS_VLAN: u16 = 1 << 4;
    /// `ifname` and `netns` were read from the packet's device.
    pub const HAS_DEV: u16 = 1 << 5;
    /// There was a note, of another node on the same kernel: [`HAS_NOTE`] is not set.
    pub const FOREIGN_NOTE: u16 = 1 << 6;
}

/// `EventHeader::start`: what the first captured byte belongs to.
pub mod start {
    /// The link-layer header. Ethernet if `dev_type` says so.
    pub const MAC: u8 = 0;
    /// The network header (`protocol` tells which).
    pub const NETWORK: u8 = 1;
    /// `skb->data` or `xdp->data` as it stood; an Ethernet header at Cilium's tc and XDP hooks, unless
    /// the device has none.
    pub const DATA: u8 = 2;
}

/// `EventHeader::dev_type` of Ethernet devices (`ARPHRD_ETHER`).
pub const ARPHRD_ETHER: u16 = 1;
/// `EventHeader::dev_type` of the loopback device, which has an Ethernet header too.
pub const ARPHRD_LOOPBACK: u16 = 772;
/// `EventHeader::dev_type` when the packet has no device.
pub const DEV_TYPE_UNKNOWN: u16 = u16::MAX;

/// First part of every record.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EventHeader {
    /// Nanoseconds of CLOCK_BOOTTIME (`bpf_ktime_get_boot_ns`).
    pub time_ns: u64,
    /// Address of the `sk_buff` (or of the packet data for XDP): only good for joining records.
    pub skb: u64,
    /// Where the packet was freed: a return address in the kernel. 0 for messages.
    pub location: u64,
    /// The kernel's drop reason number if [`flag::HAS_REASON`]; the upper 16 bits name a subsystem.
    pub reason: u32,
    /// Length of the packet from the first captured byte on, as it was on the way (may exceed `captured`).
    pub packet_len: u32,
    /// `skb->dev->ifindex`, 0 without a device.
    pub ifindex: u32,
    /// `skb->skb_iif`: the interface the packet came in by, 0 if it was made here.
    pub iif: u32,
    /// Inode number of the device's network namespace, 0 if unknown.
    pub netns: u32,
    /// `skb->mark`.
    pub mark: u32,
    /// `skb->hash`.
    pub hash: u32,
    /// Words 0..5 of `qdisc_skb_cb.data`: Cilium's drop note. Only with [`flag::HAS_NOTE`].
    pub note: [u32; 5],
    /// Name of the packet's device, zero-padded.
    pub ifname: [u8; 16],
    /// The CPU that made the record.
    pub cpu: u32,
    /// Bytes of notification that follow the header.
    pub meta_len: u16,
    /// Bytes of packet that follow the notification.
    pub captured: u16,
    /// Bits of [`flag`].
    pub flags: u16,
    /// `skb->protocol`: Ethertype, network byte order.
    pub protocol: u16,
    /// ARPHRD_* of the device, [`DEV_TYPE_UNKNOWN`] without one.
    pub dev_type: u16,
    /// Offloaded VLAN tag, only with [`flag::HAS_VLAN`].
    pub vlan_tci: u16,
    /// One of [`kind`].
    pub kind: u8,
    /// One of [`start`].
    pub start: u8,
    /// Explicit padding, 0.
    pub pad: [u8; 2],
    /// Drops of the same flow that were kept back before this one (`--rate-limit`).
    pub similar: u32,
}

const _: () = assert!(size_of::<EventHeader>() == 112);

/// Counters of one tap on one CPU. Kernel side: per-CPU array indexed by [`tap`].
///
/// Every run is counted once: `seen = foreign + filtered + suppressed + ring_full + companion_lost + emitted`.
/// Drops that reached nobody: `ring_full - recovered`, summed over all taps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TapCounters {
    /// Times the program ran.
    pub seen: u64,
    /// Runs that were none of our business: a map that is not Cilium's, a message type not asked for.
    pub foreign: u64,
    /// Rejected by the filter in the kernel.
    pub filtered: u64,
    /// Those of `filtered` that were drops of Cilium's datapath (a drop message, or a note without one).
    pub filtered_cilium: u64,
    /// Kept back because enough of their flow were sent (`--rate-limit`).
    pub suppressed: u64,
    /// Those of `suppressed` that were drops of Cilium's datapath.
    pub suppressed_cilium: u64,
    /// Put into the ring buffer.
    pub emitted: u64,
    /// Lost because the ring buffer had no room.
    pub ring_full: u64,
    /// Those of `ring_full` that were drops of Cilium's datapath.
    pub ring_full_cilium: u64,
    /// Free records lost in the ring whose drop was reported by its message: place and kernel reason are
    /// missing from that event, the event is not.
    pub companion_lost: u64,
    /// Free records emitted for drops whose message had been lost in the ring.
    pub recovered: u64,
    /// Packets or kernel structures that could not be read (completely); not a class of its own.
    pub read_fault: u64,
}

/// Which drops are similar, for `--rate-limit`: the same ends, destination port, protocol and reasons. What is not known
/// is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FlowKey {
    /// Network byte order, IPv4 as ::ffff:a.b.c.d.
    pub source: [u32; 4],
    pub destination: [u32; 4],
    pub kernel_reason: u32,
    /// Host order.
    pub destination_port: u16,
    pub protocol: u8,
    /// Cilium's reason.
    pub reason: u8,
}

const _: () = assert!(size_of::<FlowKey>() == 40);

/// How many of a flow one CPU has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FlowRate {
    /// Begin of the running second, CLOCK_BOOTTIME.
    pub since_ns: u64,
    /// Sent in that second.
    pub sent: u32,
    /// Kept back since the last one that was sent.
    pub kept_back: u32,
}

/// Index of a tap in the counter array.
pub mod tap {
    pub const FREE: u32 = 0;
    pub const MESSAGE: u32 = 1;
    pub const XDP_MESSAGE: u32 = 2;
    pub const COUNT: u32 = 3;
}
