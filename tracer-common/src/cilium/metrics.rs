//! `cilium_metrics`: packets and bytes per reason and direction, one value per possible CPU. Counted before
//! a notification is attempted, and never rate-limited: the truth that everything else is checked against.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct metrics_key` (bpf/lib/common.h). 1.14 and 1.15 know `reason` and `dir` alone and leave the rest
/// zero; 1.16 made two fields of the padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MetricsKey {
    /// 0 forwarded, 1..=129 other non-drops, 130 and up drop reasons.
    pub reason: u8,
    /// Bits 0 and 1: [`direction`]. The others are zero.
    pub dir: u8,
    /// Host order, 1.16 and newer: the source line that counted; 0 before.
    pub line: u16,
    /// 1.16 and newer: id of the source file; 0 before. No file has id 0.
    pub file: u8,
    pub reserved: [u8; 3],
}

/// `MetricsKey::dir`.
pub mod direction {
    pub const UNKNOWN: u8 = 0;
    pub const INGRESS: u8 = 1;
    pub const EGRESS: u8 = 2;
    pub const SERVICE: u8 = 3;
}

impl MetricsKey {
    pub const fn direction(&self) -> u8 {
        self.dir & 0b11
    }

    /// File id and line; `None` when the release did not write them.
    pub const fn place(&self) -> Option<(u8, u16)> {
        if self.file == 0 { None } else { Some((self.file, self.line)) }
    }
}

/// `struct metrics_value`, all releases; of one CPU. Host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MetricsValue {
    /// Packets.
    pub count: u64,
    pub bytes: u64,
}

const _: () = assert!(size_of::<MetricsKey>() == 8);
const _: () = assert!(size_of::<MetricsValue>() == 16);
