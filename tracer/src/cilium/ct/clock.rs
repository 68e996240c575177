//! The clock of connection tracking and NAT: seconds of CLOCK_MONOTONIC, or jiffies divided by 256. The agent
//! says which in its state files; without them the newest entries do.

use std::fmt;

use crate::cilium::node::NodeView;
use crate::cilium::state::config::{AgentConfig, CtClock};

/// How time stamps become seconds, and what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    unit: Unit,
    /// In the clock's own unit.
    now: u64,
    origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Seconds,
    /// 256 jiffies, with that many jiffies per second.
    Jiffies(u32),
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Agent,
    Entries,
    /// The agent's files say something else.
    EntriesAgainstAgent,
    Default,
}

/// The longest life that the agent's defaults give, in seconds; a sane one is not much longer.
const LONGEST_LIFE: i64 = 8000;
/// Nobody sets a longer one: entries that live on for as many seconds are stamped in another unit.
const IMPOSSIBLE_LIFE: i64 = 100 * 86_400;
/// Rates of jiffies that kernels are built with.
const RATES: [u32; 4] = [250, 1000, 100, 300];
/// Jiffies start that many seconds before they overflow 32 bits.
const JIFFIES_HEAD_START: u64 = 300;

impl Clock {
    /// The clock of the node's agent. `newest`: the latest end of life of some entries, 0 if there are none.
    pub fn detect(view: &NodeView, newest: u32) -> Self {
        Self::decide(view.config(), newest, view.when().monotonic_ns() / 1_000_000_000)
    }

    /// The clock of an agent with these settings at a given time, in seconds since boot.
    pub fn at(config: &AgentConfig, uptime: u64) -> Self {
        Self::decide(Some(config), 0, uptime)
    }

    fn decide(config: Option<&AgentConfig>, newest: u32, uptime: u64) -> Self {
        let told = config.and_then(|config| match config.ct_clock? {
            CtClock::Ktime => Some(Unit::Seconds),
            CtClock::Jiffies => Some(Unit::Jiffies(config.kernel_hz.filter(|hz| *hz != 0)?)),
        });
        let by_entries = || {
            let units = std::iter::once(Unit::Seconds).chain(RATES.map(Unit::Jiffies));
            units.map(|unit| Self::new(unit, uptime, Origin::Entries)).find(|clock| clock.explains(newest))
        };
        match told.map(|unit| Self::new(unit, uptime, Origin::Agent)) {
            Some(told) if told.is_contradicted(newest, uptime) => {
                by_entries().map_or(told, |clock| Self { origin: Origin::EntriesAgainstAgent, ..clock })
            }
            Some(told) => told,
            None => by_entries().unwrap_or(Self::new(Unit::Seconds, uptime, Origin::Default)),
        }
    }

    fn new(unit: Unit, uptime: u64, origin: Origin) -> Self {
        let now = match unit {
            Unit::Seconds => uptime,
            Unit::Jiffies(hz) => jiffies(uptime, hz) >> 8,
        };
        Self { unit, now, origin }
    }

    /// Whether the newest entry dies within a life from now, or died not long ago.
    fn explains(&self, newest: u32) -> bool {
        newest != 0 && (-LONGEST_LIFE..=LONGEST_LIFE).contains(&self.remaining(newest))
    }

    /// Whether the entry ended before this machine started, or ends in a far future.
    fn is_contradicted(&self, newest: u32, uptime: u64) -> bool {
        let possible = -(uptime as i64)..=IMPOSSIBLE_LIFE;
        newest != 0 && !possible.contains(&self.remaining(newest))
    }

    /// Seconds until `stamp`; negative: since.
    #[inline]
    pub fn remaining(&self, stamp: u32) -> i64 {
        let units = i64::from(stamp) - self.now as i64;
        match self.unit {
            Unit::Seconds => units,
            Unit::Jiffies(hz) => units * 256 / i64::from(hz),
        }
    }

    /// Seconds since `stamp`, a time that is not 0.
    #[inline]
    pub fn age(&self, stamp: u32) -> i64 {
        -self.remaining(stamp)
    }

    /// Nobody said it and no entry shows it, or entries show something else than the agent says.
    pub fn is_doubtful(&self) -> bool {
        matches!(self.origin, Origin::Default | Origin::EntriesAgainstAgent)
    }
}

/// `jiffies_64` of a machine that is up for that many seconds; suspended time counts in neither.
const fn jiffies(uptime: u64, hz: u32) -> u64 {
    (1 << 32) - JIFFIES_HEAD_START * hz as u64 + uptime * hz as u64
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Seconds => f.write_str("seconds since boot")?,
            Unit::Jiffies(hz) => write!(f, "jiffies / 256 at {hz} a second")?,
        }
        f.write_str(match self.origin {
            Origin::Agent => " (the agent's setting)",
            Origin::Entries => " (judged by the entries)",
            Origin::EntriesAgainstAgent => " (judged by the entries; the agent's setting does not fit them)",
            Origin::Default => " (the agent's default; nothing here tells)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(ct_clock: CtClock, hz: u32) -> AgentConfig {
        AgentConfig { ct_clock: Some(ct_clock), kernel_hz: Some(hz), ..AgentConfig::default() }
    }

    #[test]
    fn the_agents_setting_decides() {
        let ktime = Clock::decide(Some(&config(CtClock::Ktime, 250)), 0, 441);
        assert_eq!((ktime.remaining(8441), ktime.age(441)), (8000, 0));
        assert_eq!(ktime.to_string(), "seconds since boot (the agent's setting)");
        let jiffies = Clock::decide(Some(&config(CtClock::Jiffies, 250)), 0, 1000);
        // 4294967296 - 75000 + 250000 jiffies; 8000 seconds are 2000000 more.
        assert_eq!(jiffies.remaining((4_295_142_296u64 >> 8) as u32), 0);
        assert!((7998..=8000).contains(&jiffies.remaining((4_297_142_296u64 >> 8) as u32)));
    }

    #[test]
    fn without_a_setting_the_newest_entry_decides() {
        let seconds = Clock::decide(None, 8441, 441);
        assert_eq!(seconds.to_string(), "seconds since boot (judged by the entries)");
        // 1000 s up, 250 jiffies a second: now 16777899.
        let jiffies = Clock::decide(None, 16_777_899 + 60 * 250 / 256, 1000);
        assert_eq!(jiffies.to_string(), "jiffies / 256 at 250 a second (judged by the entries)");
        assert!((56..=60).contains(&jiffies.remaining(16_777_899 + 58)));
    }

    #[test]
    fn entries_that_contradict_the_setting_are_believed_and_that_is_said() {
        let (seconds, jiffies) = (config(CtClock::Ktime, 250), config(CtClock::Jiffies, 250));
        // 1000 s up, 250 jiffies a second: now 16777899.
        let clock = Clock::decide(Some(&seconds), 16_777_899 + 58, 1000);
        assert!(clock.is_doubtful() && (56..=60).contains(&clock.remaining(16_777_899 + 58)), "{clock}");
        let clock = Clock::decide(Some(&jiffies), 1060, 1000);
        assert!(clock.is_doubtful() && clock.remaining(1060) == 60, "{clock}");
        // A long life, and a node whose entries have all ended, are no contradiction.
        for newest in [1000 + 48 * 3600, 60] {
            assert!(!Clock::decide(Some(&seconds), newest, 1000).is_doubtful());
        }
    }

    #[test]
    fn nothing_to_go_by_is_the_default_and_said() {
        for newest in [0, 500_000] {
            let clock = Clock::decide(None, newest, 441);
            assert!(clock.is_doubtful());
            assert_eq!(clock.remaining(501), 60);
        }
    }
}
