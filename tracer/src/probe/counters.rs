//! The programs' counters, summed over all CPUs.

use aya::maps::{MapData, MapError, PerCpuArray};
use tracer_common::event::TapCounters;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::taps::Tap;

/// Words of one [`TapCounters`].
const WORDS: usize = size_of::<TapCounters>() / 8;

/// Reads the counters of all taps.
pub struct Counters(PerCpuArray<MapData, [u64; WORDS]>);

impl Counters {
    pub(super) const fn new(map: PerCpuArray<MapData, [u64; WORDS]>) -> Self {
        Self(map)
    }

    /// The counters of one tap, as they stand.
    pub fn read(&self, tap: Tap) -> Result<TapCounters, MapError> {
        let mut sum = [0u64; WORDS];
        for cpu in self.0.get(&tap.index(), 0)?.iter() {
            sum.iter_mut().zip(cpu).for_each(|(sum, one)| *sum += one);
        }
        Ok(TapCounters::read_from_bytes(sum.as_bytes()).unwrap_or_default())
    }
}
