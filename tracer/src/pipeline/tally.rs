//! What became of the events that reached user space, and the window in which they are compared with
//! Cilium's own counters.

use crate::correlate::noise::NoiseClass;
use crate::model::reason::DropReason;
use crate::model::time::BootTime;

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Shown,
    /// Rejected by the exact filter.
    Filtered,
    Folded(NoiseClass),
    /// Came after the wanted number of events had been shown, or after the output was closed.
    Beyond,
}

/// One count per fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    pub shown: u64,
    pub filtered: u64,
    pub folded: [u64; NoiseClass::ALL.len()],
    pub beyond: u64,
}

impl Fates {
    pub fn add(&mut self, fate: Fate) {
        match fate {
            Fate::Shown => self.shown += 1,
            Fate::Filtered => self.filtered += 1,
            Fate::Folded(class) => self.folded[class as usize] += 1,
            Fate::Beyond => self.beyond += 1,
        }
    }

    pub fn folded_total(&self) -> u64 {
        self.folded.iter().sum()
    }

    pub fn total(&self) -> u64 {
        self.shown + self.filtered + self.beyond + self.folded_total()
    }
}

/// Counts every event, and Cilium's drops inside the window once more, by reason.
#[derive(Clone, Debug)]
pub struct Tally {
    pub all: Fates,
    /// Those of `all` that are trace or verdict messages.
    pub notices: Fates,
    /// Drops of Cilium's datapath inside the window; index: drop reason.
    cilium: Box<[Fates; 256]>,
    /// First instant whose drops are not in the counters' first reading.
    pub window_start: BootTime,
    /// First instant whose drops are not in the last reading; `None` while the stream runs.
    pub window_end: Option<BootTime>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            all: Fates::default(),
            notices: Fates::default(),
            cilium: Box::new([Fates::default(); 256]),
            window_start: BootTime::default(),
            window_end: None,
        }
    }
}

impl Tally {
    /// Counts an event. `reason` is Cilium's; `None` for drops of the kernel's own.
    pub fn add(&mut self, fate: Fate, time: BootTime, reason: Option<DropReason>) {
        self.all.add(fate);
        let inside = time >= self.window_start && self.window_end.is_none_or(|end| time < end);
        if let Some(reason) = reason.filter(|_| inside) {
            self.cilium[usize::from(reason.0)].add(fate);
        }
    }

    /// Counts a trace or verdict message.
    pub fn add_notice(&mut self, fate: Fate) {
        self.all.add(fate);
        self.notices.add(fate);
    }

    /// Cilium's drops of one reason inside the window.
    pub fn of_reason(&self, reason: DropReason) -> &Fates {
        &self.cilium[usize::from(reason.0)]
    }

    /// Reasons of which at least one drop inside the window was seen.
    pub fn reasons(&self) -> impl Iterator<Item = DropReason> {
        (0..=u8::MAX).map(DropReason).filter(|reason| self.of_reason(*reason).total() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_drops_of_cilium_inside_the_window_are_compared() {
        let mut tally =
            Tally { window_start: BootTime(10), window_end: Some(BootTime(20)), ..Tally::default() };
        let denied = Some(DropReason(133));
        for (time, reason) in [(9, denied), (10, denied), (19, denied), (20, denied), (15, None)] {
            tally.add(Fate::Shown, BootTime(time), reason);
        }
        assert_eq!(tally.all.shown, 5);
        assert_eq!(tally.of_reason(DropReason(133)).shown, 2);
        assert_eq!(tally.reasons().collect::<Vec<_>>(), [DropReason(133)]);
    }

    #[test]
    fn each_fate_has_its_own_count() {
        let mut fates = Fates::default();
        for fate in [Fate::Shown, Fate::Filtered, Fate::Folded(NoiseClass::Elsewhere), Fate::Beyond] {
            fates.add(fate);
        }
        assert_eq!((fates.shown, fates.filtered, fates.beyond), (1, 1, 1));
        assert_eq!(fates.folded[NoiseClass::Elsewhere as usize], 1);
        assert_eq!(fates.total(), 4);
    }
}
