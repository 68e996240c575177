//! Settings that user space hands to the eBPF programs at load time, as read-only globals: the verifier
//! knows each value and removes the branches that it rules out.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Marks a field that the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Most bytes of `sk_buff` that one bulk read takes.
pub const MAX_SKB_SPAN: usize = 256;
/// Most bytes of `net_device` that one bulk read takes.
pub const MAX_DEV_SPAN: usize = 512;

/// Offsets of kernel structure members, in bytes, from the running kernel's BTF. [`ABSENT`] where the
/// kernel has no such member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Offsets {
    pub skb_len: u32,
    pub skb_data_len: u32,
    pub skb_head: u32,
    pub skb_data: u32,
    pub skb_end: u32,
    pub skb_mac_header: u32,
    pub skb_network_header: u32,
    pub skb_protocol: u32,
    pub skb_dev: u32,
    pub skb_iif: u32,
    pub skb_mark: u32,
    pub skb_hash: u32,
    pub skb_cb: u32,
    pub skb_vlan_tci: u32,
    /// `sk_buff.vlan_all`, or the byte that holds the `vlan_present` bit on old kernels; see `vlan_present_mask`.
    pub skb_vlan_present: u32,
    /// Bits of the u8 at `skb_vlan_present` that say "a tag is offloaded"; 0: take `vlan_tci != 0`.
    pub vlan_present_mask: u32,
    pub dev_ifindex: u32,
    pub dev_name: u32,
    pub dev_type: u32,
    pub dev_net: u32,
    /// First byte of `net_device` that any `dev_*` member above needs, and how many bytes from there on hold
    /// them all: one bulk read of at most [`MAX_DEV_SPAN`] bytes. `dev_span` 0: they lie too far apart.
    pub dev_base: u32,
    pub dev_span: u32,
    pub net_inum: u32,
    pub xdp_data: u32,
    pub xdp_data_end: u32,
    pub xdp_rxq: u32,
    pub rxq_dev: u32,
    pub map_id: u32,
    /// Bytes of `sk_buff`, from its start, that hold every `skb_*` member above: one bulk read.
    pub skb_span: u32,
    /// Offset of the first of the first five integer arguments in `pt_regs`, in order (kprobes only).
    pub regs: [u32; 5],
}

impl Offsets {
    /// All members absent: what the object file holds until the loader fills it in.
    pub const ABSENT: Self = Self {
        skb_len: ABSENT,
        skb_data_len: ABSENT,
        skb_head: ABSENT,
        skb_data: ABSENT,
        skb_end: ABSENT,
        skb_mac_header: ABSENT,
        skb_network_header: ABSENT,
        skb_protocol: ABSENT,
        skb_dev: ABSENT,
        skb_iif: ABSENT,
        skb_mark: ABSENT,
        skb_hash: ABSENT,
        skb_cb: ABSENT,
        skb_vlan_tci: ABSENT,
        skb_vlan_present: ABSENT,
        vlan_present_mask: 0,
        dev_ifindex: ABSENT,
        dev_name: ABSENT,
        dev_type: ABSENT,
        dev_net: ABSENT,
        dev_base: 0,
        dev_span: 0,
        net_inum: ABSENT,
        xdp_data: ABSENT,
        xdp_data_end: ABSENT,
        xdp_rxq: ABSENT,
        rxq_dev: ABSENT,
        map_id: ABSENT,
        skb_span: 0,
        regs: [ABSENT; 5],
    };
}

/// What the programs report, beside the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Settings {
    /// Packet bytes to capture, at most [`crate::event::MAX_SNAPLEN`].
    pub snaplen: u32,
    /// 1: the `kfree_skb` tracepoint has a `reason` argument.
    pub has_reason: u32,
    /// Message types to report: bit N for type N (1 drop, 4 trace, 5 policy verdict).
    pub message_types: u32,
    /// Number of `SKB_DROP_REASON_TC_INGRESS`, or [`ABSENT`].
    pub reason_tc_ingress: u32,
    /// Number of `SKB_DROP_REASON_TC_EGRESS`, or [`ABSENT`].
    pub reason_tc_egress: u32,
    /// 1: report only frees that carry a plausible note of Cilium.
    pub notes_only: u32,
    /// Inode of the network namespace that Cilium's devices are in; notes on packets of other namespaces are
    /// another node's. 0: not known, all notes count.
    pub home_netns: u32,
    /// Most events of one flow a second and CPU; 0: no limit.
    pub rate_limit: u32,
}

impl Settings {
    /// Reports everything, and trusts nothing that the loader did not confirm.
    pub const DEFAULT: Self = Self {
        snaplen: crate::event::DEFAULT_SNAPLEN,
        has_reason: 0,
        message_types: 1 << 1,
        reason_tc_ingress: ABSENT,
        reason_tc_egress: ABSENT,
        notes_only: 0,
        home_netns: 0,
        rate_limit: 0,
    };
}

/// Most alternatives that one dimension of the kernel-side filter holds. A longer list is not pushed down:
/// the exact filter in user space decides alone.
pub const FILTER_SLOTS: usize = 8;

/// An address prefix; IPv4 as ::ffff:a.b.c.d with 96 added to the prefix length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Prefix {
    /// Network byte order, host bits zero, as four words of 4 bytes each in memory order.
    pub addr: [u32; 4],
    /// The same layout: 1-bits where `addr` counts.
    pub mask: [u32; 4],
}

/// The kernel-side filter: a superset of the exact filter. Every dimension with a non-zero count must match
/// (AND); within a dimension one alternative is enough (OR). What a record does not tell (no note, no
/// header, identity 0) counts as a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Filter {
    /// Identities, on either end.
    pub identities: [u32; FILTER_SLOTS],
    /// Address prefixes, on either end.
    pub prefixes: [Prefix; FILTER_SLOTS],
    /// TCP, UDP or SCTP ports (host order), on either end.
    pub ports: [u32; FILTER_SLOTS],
    /// Interface indexes.
    pub ifindexes: [u32; FILTER_SLOTS],
    /// Kernel drop reasons.
    pub kernel_reasons: [u32; FILTER_SLOTS],
    /// Bit N: IP protocol N is wanted, N < 256.
    pub protocols: [u64; 4],
    /// Bit N: Cilium drop reason N is wanted, N < 256.
    pub reasons: [u64; 4],
    pub identity_count: u32,
    pub prefix_count: u32,
    pub port_count: u32,
    pub ifindex_count: u32,
    pub kernel_reason_count: u32,
    /// 1: `protocols` counts.
    pub by_protocol: u32,
    /// 1: `reasons` counts.
    pub by_reason: u32,
    /// 0 any, 4 or 6: IP version.
    pub ip_version: u32,
}

impl Filter {
    /// Lets everything pass.
    pub const ALL: Self = Self {
        identities: [0; FILTER_SLOTS],
        prefixes: [Prefix { addr: [0; 4], mask: [0; 4] }; FILTER_SLOTS],
        ports: [0; FILTER_SLOTS],
        ifindexes: [0; FILTER_SLOTS],
        kernel_reasons: [0; FILTER_SLOTS],
        protocols: [0; 4],
        reasons: [0; 4],
        identity_count: 0,
        prefix_count: 0,
        port_count: 0,
        ifindex_count: 0,
        kernel_reason_count: 0,
        by_protocol: 0,
        by_reason: 0,
        ip_version: 0,
    };
}
