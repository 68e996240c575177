//! Random numbers that can be had again.

use std::time::{SystemTime, UNIX_EPOCH};

/// A splitmix64 generator.
pub struct Random {
    state: u64,
    pub seed: u64,
}

impl Random {
    /// From `TRACER_TEST_SEED`, else from the clock.
    pub fn seeded() -> Self {
        let given = std::env::var("TRACER_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let clock =
            || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64);
        let seed = given.unwrap_or_else(clock);
        println!("TRACER_TEST_SEED={seed}");
        Self { state: seed, seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Less than `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True once in `times`.
    pub fn chance(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Mostly one of a few that lie close together, sometimes any.
    pub fn port(&mut self) -> u16 {
        match self.below(10) {
            0 => self.next() as u16,
            1 => self.pick(&[0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff]),
            2..5 => self.below(16) as u16,
            _ => 8080 + self.below(16) as u16,
        }
    }
}
