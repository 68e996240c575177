//! How often something happened, second by second, over the last minute.

/// Seconds that are told of.
pub const WINDOW: u64 = 60;
/// Seconds that are kept: an event may come a moment after its second is over.
const SLOTS: u64 = 64;

/// Counts by second of the boot clock.
#[derive(Clone, Debug)]
pub struct Rate {
    newest: u64,
    counts: [u32; SLOTS as usize],
}

impl Default for Rate {
    fn default() -> Self {
        Self { newest: 0, counts: [0; SLOTS as usize] }
    }
}

impl Rate {
    /// Counts something that happened in `second`.
    pub fn add(&mut self, second: u64) {
        if second > self.newest {
            self.advance(second);
        } else if self.newest - second >= SLOTS {
            return;
        }
        let count = &mut self.counts[(second % SLOTS) as usize];
        *count = count.saturating_add(1);
    }

    fn advance(&mut self, second: u64) {
        let first = (self.newest + 1).max(second.saturating_sub(SLOTS - 1));
        for passed in first..=second {
            self.counts[(passed % SLOTS) as usize] = 0;
        }
        self.newest = second;
    }

    fn at(&self, second: u64) -> u32 {
        let is_kept = second <= self.newest && self.newest - second < SLOTS;
        if is_kept { self.counts[(second % SLOTS) as usize] } else { 0 }
    }

    /// In the last second that is over.
    pub fn now(&self, second: u64) -> u64 {
        second.checked_sub(1).map_or(0, |last| self.at(last).into())
    }

    /// In the last minute, without the second that is not over yet.
    pub fn minute(&self, second: u64) -> u64 {
        self.seconds(second).map(u64::from).sum()
    }

    /// Each second of the last minute, the oldest first.
    pub fn seconds(&self, second: u64) -> impl Iterator<Item = u32> {
        (0..WINDOW).rev().map(move |back| second.checked_sub(1 + back).map_or(0, |at| self.at(at)))
    }
}

/// The seconds of a rate in `cells` sums, the newest at the end.
pub fn cells(seconds: &[u32], cells: usize) -> Vec<u64> {
    let cells = cells.clamp(1, seconds.len().max(1));
    let bounds = |cell: usize| cell * seconds.len() / cells;
    (0..cells)
        .map(|cell| seconds[bounds(cell)..bounds(cell + 1)].iter().copied().map(u64::from).sum())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(seconds: &[u64]) -> Rate {
        let mut rate = Rate::default();
        seconds.iter().for_each(|second| rate.add(*second));
        rate
    }

    #[test]
    fn the_running_second_does_not_count_yet() {
        let rate = rate(&[1000, 1000, 1001]);
        assert_eq!((rate.now(1000), rate.now(1001), rate.now(1002), rate.now(1003)), (0, 2, 1, 0));
        assert_eq!((rate.minute(1000), rate.minute(1001), rate.minute(1002)), (0, 2, 3));
    }

    #[test]
    fn a_minute_later_it_is_forgotten() {
        let rate = rate(&[1000, 1030]);
        assert_eq!(
            (rate.minute(1060), rate.minute(1061), rate.minute(1090), rate.minute(1091)),
            (2, 1, 1, 0)
        );
    }

    #[test]
    fn what_comes_late_counts_in_its_own_second_and_what_comes_too_late_nowhere() {
        let mut late = rate(&[1003, 1001]);
        assert_eq!((late.now(1002), late.minute(1004)), (1, 2));
        late.add(900);
        assert_eq!(late.minute(1004), 2);
        assert_eq!(rate(&[1000, 5000]).minute(5001), 1, "a slot of an earlier turn");
    }

    #[test]
    fn right_after_the_boot_there_is_less_than_a_minute() {
        let rate = rate(&[0, 1]);
        assert_eq!((rate.now(0), rate.minute(0), rate.minute(2)), (0, 0, 2));
    }

    #[test]
    fn cells_add_up_to_the_seconds() {
        let seconds: Vec<u32> = (0..60).collect();
        for width in [1, 7, 12, 30, 59, 60, 100] {
            let cells = cells(&seconds, width);
            assert_eq!(cells.len(), width.min(60));
            assert_eq!(cells.iter().sum::<u64>(), 59 * 60 / 2, "{width}");
        }
        assert_eq!(cells(&[1, 2, 3, 4], 2), [3, 7]);
    }
}
