//! How far long work got, on one line of a terminal that is wiped in the end. Nothing appears when the work
//! is short, when stderr is no terminal, or when rows appear on the same terminal anyway.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Work that takes less is not spoken of.
const SILENT: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_millis(100);
/// Steps between two looks at the clock.
const STEPS: u64 = 4096;

/// Told of every entry that was seen.
#[derive(Debug)]
pub struct Progress {
    wanted: bool,
    started: Instant,
    shown: Option<Instant>,
    done: u64,
    what: String,
}

impl Progress {
    /// `wanted`: neither `--no-progress` nor `--quiet`.
    pub fn new(wanted: bool) -> Self {
        let visible = wanted && io::stderr().is_terminal() && !io::stdout().is_terminal();
        Self { wanted: visible, started: Instant::now(), shown: None, done: 0, what: String::new() }
    }

    /// What is worked on from now on.
    pub fn on(&mut self, what: &str) {
        self.what.clear();
        self.what.push_str(what);
    }

    pub fn step(&mut self) {
        self.done += 1;
        if self.wanted && self.done.is_multiple_of(STEPS) {
            self.show(Instant::now());
        }
    }

    fn show(&mut self, now: Instant) {
        let due = match self.shown {
            Some(shown) => now.duration_since(shown) >= INTERVAL,
            None => now.duration_since(self.started) >= SILENT,
        };
        if due {
            self.shown = Some(now);
            // A terminal that does not take it is no reason to fail.
            let _ = write!(io::stderr(), "\r\x1b[K{}: {} entries read", self.what, self.done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
