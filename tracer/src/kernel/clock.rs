//! The kernel's clocks.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::model::time::{BootTime, WallTime};

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The wall clock's time.
pub fn wall_now() -> WallTime {
    WallTime(nanoseconds(clock_gettime(ClockId::Realtime)))
}

/// CLOCK_BOOTTIME now: the clock of the event records.
pub fn boot_now() -> BootTime {
    BootTime(nanoseconds(clock_gettime(ClockId::Boottime)) as u64)
}

/// CLOCK_MONOTONIC now, in nanoseconds: the clock of the agent's heartbeat and of connection tracking.
pub fn monotonic_now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic)) as u64
}

/// What to add to a [`BootTime`] to get wall-clock time, in nanoseconds. Changes when the clock is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallOffset(pub i64);

impl WallOffset {
    /// Reads both clocks, the boot clock twice around the other one.
    pub fn now() -> Self {
        let before = clock_gettime(ClockId::Boottime);
        let wall = clock_gettime(ClockId::Realtime);
        let after = clock_gettime(ClockId::Boottime);
        Self(nanoseconds(wall) - (nanoseconds(before) + nanoseconds(after)) / 2)
    }

    pub const fn wall(self, boot: BootTime) -> WallTime {
        WallTime(boot.0 as i64 + self.0)
    }
}
