//! The thread that follows the ring. It sleeps until there is something to read, reads all of it at once, and
//! once a second looks after what may have changed on the node.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use tracer_common::event::TapCounters;

use super::accounts::Accounts;
use super::chain::{Chain, End};
use crate::kernel::clock::{WallOffset, boot_now};
use crate::model::time::WallTime;
use crate::output::lost::{Lost, LostSource};
use crate::output::summary::Summary;
use crate::probe::Probe;
use crate::probe::taps::Tap;

/// Rest after each reading. We are woken only when we had read everything, so this bounds the wake-ups that
/// the datapath has to pay for to 200 a second; it is short against the 100 ms in which an event is to show.
const REST: Duration = Duration::from_millis(5);
/// How often the node is looked at again, if nothing happens.
const UPKEEP: Duration = Duration::from_secs(1);
/// Records taken before the output is flushed and the bell is looked at.
const BATCH: usize = 16 * 1024;

/// The reader and all that it drives. Comes back from [`Reader::run`] for the closing accounts.
pub struct Reader<W> {
    pub probe: Probe,
    pub chain: Chain<W>,
    pub accounts: Accounts,
    /// Print the accounts that often while running.
    pub completeness: Option<Duration>,
    /// Print the groups of `--aggregate-by` that often.
    pub report_groups: Option<Duration>,
    pub received: u64,
    pub events_map: Option<tracer_common::id::MapId>,
    pub debug: bool,
    pub losses: Losses,
    /// Watched for its reader going away, if events are printed there.
    pub stdout: Option<OwnedFd>,
    /// Told how things stand once a second, if somebody wants to know.
    pub report_to: Option<Box<dyn FnMut(Summary) + Send>>,
}

/// Something that is done at an interval.
struct Due {
    every: Duration,
    at: Instant,
}

impl Due {
    fn every(every: Duration) -> Self {
        Self { every, at: Instant::now() + every }
    }

    fn is_time(&mut self, now: Instant) -> bool {
        let due = now >= self.at;
        if due {
            self.at = now + self.every;
        }
        due
    }
}

fn wall_now() -> WallTime {
    WallOffset::now().wall(boot_now())
}

/// Losses in the ring, as far as the stream has told of them.
#[derive(Debug, Default)]
pub struct Losses {
    /// How often the ring had been full at the last look.
    ring_full: u64,
    told: u64,
}

impl Losses {
    /// Drops lost and not told yet. While the programs run, a loss counts from the second look on: the drop of a
    /// message that was lost is recovered by its free a moment later.
    fn news(&mut self, taps: &[TapCounters], running: bool) -> u64 {
        let sum = |of: fn(&TapCounters) -> u64| taps.iter().map(of).sum::<u64>();
        let now = sum(|taps| taps.ring_full);
        let before = std::mem::replace(&mut self.ring_full, now);
        let lost = if running { before } else { now }.saturating_sub(sum(|taps| taps.recovered));
        let news = lost.saturating_sub(self.told);
        self.told += news;
        news
    }
}

impl<W: Write> Reader<W> {
    /// Follows the ring until the bell rings or the output ends. The programs are detached then, and
    /// everything they sent has been dealt with.
    pub fn run(mut self, bell: &OwnedFd) -> Self {
        let mut logger = if self.debug { self.probe.logger() } else { None };
        self.tell_notices();
        let mut next_upkeep = Instant::now() + UPKEEP;
        let mut accounts = self.completeness.map(Due::every);
        let mut groups = self.report_groups.map(Due::every);
        while self.wait(bell, next_upkeep) {
            let now = Instant::now();
            self.chain.stage.view.refresh(now);
            let taken = self.read();
            self.chain.expire(boot_now());
            self.chain.stage.flush();
            if let Some(logger) = &mut logger {
                logger.flush();
            }
            if now >= next_upkeep {
                self.look_after();
                self.tell_state();
                next_upkeep = now + UPKEEP;
            }
            if accounts.as_mut().is_some_and(|due| due.is_time(now)) {
                self.report();
            }
            if groups.as_mut().is_some_and(|due| due.is_time(now)) {
                self.chain.stage.report_groups(wall_now(), false);
            }
            if taken > 0 {
                std::thread::sleep(REST);
            }
        }
        self.close();
        self
    }

    /// Waits for records; false when the stream is to end.
    fn wait(&mut self, bell: &OwnedFd, upkeep: Instant) -> bool {
        let due = self.chain.join.next_expiry().map(|due| due.0.saturating_sub(boot_now().0));
        let sinks = self.chain.stage.sinks.due().map_or(upkeep, |due| due.min(upkeep));
        let upkeep = sinks.saturating_duration_since(Instant::now());
        let wait = due.map_or(upkeep, |due| upkeep.min(Duration::from_nanos(due)));
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        // Without an output the bell stands in its place, with no event to wait for.
        let output = self.stdout.as_ref().unwrap_or(bell);
        let mut sources = [
            PollFd::new(&self.probe.ring, PollFlags::IN),
            PollFd::new(bell, PollFlags::IN),
            PollFd::new(output, PollFlags::empty()),
        ];
        // An interrupted wait is a short one.
        let _ = poll(&mut sources, Some(&timeout));
        let rang = sources[1].revents().contains(PollFlags::IN);
        if self.stdout.is_some() && sources[2].revents().contains(PollFlags::ERR) {
            self.chain.stage.end.get_or_insert(End::ClosedPipe);
        }
        !rang && self.chain.stage.end.is_none()
    }

    fn read(&mut self) -> usize {
        let taken = self.probe.ring.drain(BATCH, |record| self.chain.take(record));
        self.received += taken as u64;
        taken
    }

    /// What the node's maps and files cannot tell, also in a run of less than a second.
    fn tell_notices(&mut self) {
        for notice in self.chain.stage.view.take_notices() {
            tracing::warn!("{notice}");
        }
    }

    /// The agent may have replaced maps or been upgraded, and the wall clock may have been set.
    fn look_after(&mut self) {
        self.tell_notices();
        self.report_lost(true);
        let stage = &mut self.chain.stage;
        stage.namer.settings.wall_offset_ns = WallOffset::now().0;
        let releases = stage.view.releases().releases();
        if releases != stage.files.known {
            stage.files.known = releases;
            stage.printer.set_releases(releases);
            let told = stage.sinks.each(|sink| sink.node(stage.printer.node()));
            stage.note_end(told);
        }
        let events_map = stage.view.events_map();
        if events_map != self.events_map {
            self.events_map = events_map;
            if let Err(error) = self.probe.watch_events_maps(events_map.as_slice()) {
                tracing::warn!("cannot follow the agent's new events map: {error}");
            }
        }
    }

    /// A gap in the stream is told in the stream.
    fn report_lost(&mut self, running: bool) {
        let taps = Tap::ALL.map(|tap| self.probe.counters.read(tap).unwrap_or_default());
        let count = self.losses.news(&taps, running);
        if count > 0 {
            self.chain.stage.lost(&Lost {
                source: LostSource::KernelRing,
                count,
                cpu: None,
                time: wall_now(),
            });
        }
    }

    /// The closing summary, or the one so far.
    pub fn summary(&self) -> Summary {
        self.accounts.summary(&self.probe, &self.chain, self.received)
    }

    fn tell_state(&mut self) {
        let summary = self.report_to.is_some().then(|| self.summary());
        if let (Some(report_to), Some(summary)) = (&mut self.report_to, summary) {
            report_to(summary);
        }
    }

    fn report(&mut self) {
        let summary = self.summary();
        if let Err(error) = summary.write_text(&mut std::io::stderr().lock()) {
            tracing::debug!(%error, "stderr");
        }
    }

    /// Ends the window of comparison, detaches, and takes what is left in the ring.
    fn close(&mut self) {
        self.accounts.close(&mut self.chain.stage, &self.probe);
        self.probe.detach();
        while self.read() > 0 {}
        self.report_lost(false);
        self.chain.finish();
        self.chain.stage.report_groups(wall_now(), true);
        self.tell_notices();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taps(ring_full: u64, recovered: u64) -> [TapCounters; 2] {
        let message = TapCounters { ring_full, ..TapCounters::default() };
        [message, TapCounters { recovered, ..TapCounters::default() }]
    }

    #[test]
    fn each_loss_is_told_once_and_a_recovered_one_never() {
        let mut losses = Losses::default();
        assert_eq!(losses.news(&taps(5, 0), true), 0, "the free may yet come");
        assert_eq!(losses.news(&taps(9, 2), true), 3);
        assert_eq!(losses.news(&taps(9, 2), true), 4);
        assert_eq!(losses.news(&taps(9, 2), true), 0);
        assert_eq!(losses.news(&taps(10, 3), false), 0);
        assert_eq!(losses.news(&taps(12, 3), false), 2, "nothing comes any more");
    }
}
