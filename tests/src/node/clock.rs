//! The clocks that Cilium's maps use.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC, nanoseconds.
pub fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CLOCK_MONOTONIC, seconds: the clock of connection tracking.
pub fn monotonic_seconds() -> u32 {
    (monotonic_ns() / 1_000_000_000) as u32
}

pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// What the agent keeps in `cilium_runtime_config[0]`: Unix time minus monotonic time, in units of 512 ns.
pub fn boot_offset_512ns() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    unix.saturating_sub(monotonic_ns()) / 512
}
