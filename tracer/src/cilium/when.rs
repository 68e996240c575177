//! The time that a node's maps and files are of: now, or when they were carried away.

use crate::kernel::clock;
use crate::model::time::WallTime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It is the running node.
    Now,
    At(Moment),
}

/// A node's clocks at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub monotonic_ns: u64,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub boot_ns: u64,
    pub wall: WallTime,
}

impl When {
    /// CLOCK_MONOTONIC of the node, nanoseconds.
    pub fn monotonic_ns(self) -> u64 {
        match self {
            Self::Now => clock::monotonic_now(),
            Self::At(moment) => moment.monotonic_ns,
        }
    }

    /// Nothing changes any more.
    pub const fn is_past(self) -> bool {
        matches!(self, Self::At(_))
    }
}
