//! The books: what the programs, the ring and user space counted, and how that compares with Cilium's own count
//! of its drops, which it raises before anything can be lost.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::{Duration, Instant};

use tracer_common::event::TapCounters;

use super::chain::{Chain, Stage};
use crate::cilium::metrics::MetricsSnapshot;
use crate::cilium::node::NodeView;
use crate::correlate::noise::NoiseClass;
use crate::kernel::clock::boot_now;
use crate::model::time::BootTime;
use crate::output::summary::{
    EventCounters, Metrics, NoticeCounters, ReasonCount, Reconciliation, Summary, TapSummary,
};
use crate::probe::Probe;
use crate::probe::taps::{Tap, TapState};

/// All counters at one time.
#[derive(Clone, Debug)]
struct Reading {
    time: BootTime,
    taps: [TapCounters; 3],
    /// Or why Cilium's counters cannot be read.
    metrics: Result<MetricsSnapshot, String>,
}

/// Looks that are taken for one during which no program ran. A flood leaves no such moment.
const LOOKS: u32 = 32;
/// Cilium counts a drop so long before the packet is freed, at most.
const COUNT_TO_FREE: Duration = Duration::from_micros(20);

impl Reading {
    /// Cilium's counters and ours are of one instant if no program ran from before the first was read until after the
    /// last: else a drop in between is in one of them only.
    fn now(view: &NodeView, probe: &Probe) -> Self {
        let mut before = taps(probe);
        let mut look = 1;
        loop {
            let metrics = metrics(view);
            let read = Instant::now();
            while read.elapsed() < COUNT_TO_FREE {
                std::hint::spin_loop();
            }
            let (time, after) = (boot_now(), taps(probe));
            if runs(&before) == runs(&after) || look == LOOKS {
                return Self { time, taps: after, metrics };
            }
            (before, look) = (after, look + 1);
        }
    }
}

fn metrics(view: &NodeView) -> Result<MetricsSnapshot, String> {
    match view.metrics_snapshot() {
        None if !view.has_cilium() => Err("no Cilium here".to_owned()),
        None => Err("no readable `cilium_metrics`".to_owned()),
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(snapshot)) => Ok(snapshot),
    }
}

/// How often the programs ran.
fn runs(taps: &[TapCounters; 3]) -> u64 {
    taps.iter().map(|tap| tap.seen).sum()
}

fn taps(probe: &Probe) -> [TapCounters; 3] {
    Tap::ALL.map(|tap| probe.counters.read(tap).unwrap_or_default())
}

/// The readings between which events are compared with Cilium's counters.
#[derive(Debug)]
pub struct Accounts {
    opening: Reading,
    closing: Option<Reading>,
}

impl Accounts {
    /// Takes the first reading: once everything is attached.
    pub fn open<W: Write>(stage: &mut Stage<W>, probe: &Probe) -> Self {
        let opening = Reading::now(&stage.view, probe);
        stage.tally.window_start = opening.time;
        Self { opening, closing: None }
    }

    /// Takes the last reading: while everything is attached still.
    pub fn close<W: Write>(&mut self, stage: &mut Stage<W>, probe: &Probe) {
        let closing = Reading::now(&stage.view, probe);
        stage.tally.window_end = Some(closing.time);
        self.closing = Some(closing);
    }

    /// The summary up to the last reading, or up to now while the stream runs.
    pub fn summary<W: Write>(&self, probe: &Probe, chain: &Chain<W>, received: u64) -> Summary {
        let closing = self.closing.clone().unwrap_or_else(|| Reading::now(&chain.stage.view, probe));
        Summary {
            duration: Duration::from_nanos(closing.time.0.saturating_sub(self.opening.time.0)),
            notices: chain.stage.selection.flows.then(|| notices(chain, probe)),
            taps: tap_summaries(probe),
            events: events(chain, received),
            metrics: self.compare(&closing, chain),
        }
    }

    fn compare<W: Write>(&self, closing: &Reading, chain: &Chain<W>) -> Metrics {
        let (before, after) = match (&self.opening.metrics, &closing.metrics) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(why), _) | (_, Err(why)) => return Metrics::Unavailable(why.clone()),
        };
        let counted = after.delta(before).drops_by_reason();
        let tally = &chain.stage.tally;
        let reasons: BTreeSet<_> = counted.keys().copied().chain(tally.reasons()).collect();
        let row = |reason| {
            let seen = tally.of_reason(reason);
            ReasonCount {
                reason,
                counted: counted.get(&reason).map_or(0, |count| count.packets),
                shown: seen.shown,
                filtered: seen.filtered,
                folded: seen.folded_total(),
                after_end: seen.beyond,
            }
        };
        Metrics::Compared(Reconciliation {
            reasons: reasons.into_iter().map(row).collect(),
            filtered_in_kernel: self.between(closing, |taps| taps.filtered_cilium),
            suppressed: self.between(closing, |taps| taps.suppressed_cilium),
            lost: self
                .between(closing, |taps| taps.ring_full_cilium)
                .saturating_sub(self.between(closing, |taps| taps.recovered)),
        })
    }

    /// How much a counter grew over all taps.
    fn between(&self, closing: &Reading, of: impl Fn(&TapCounters) -> u64) -> u64 {
        let sum = |reading: &Reading| reading.taps.iter().map(&of).sum::<u64>();
        sum(closing).saturating_sub(sum(&self.opening))
    }
}

fn tap_summaries(probe: &Probe) -> Vec<TapSummary> {
    let on = Tap::ALL.into_iter().filter_map(|tap| match probe.taps.state(tap) {
        TapState::On(hook) => Some((tap, hook)),
        TapState::Off(_) => None,
    });
    on.map(|(tap, hook)| TapSummary {
        name: tap.name(),
        hook: hook.to_string(),
        counters: probe.counters.read(tap).unwrap_or_default(),
        missed: probe.misses(tap),
    })
    .collect()
}

fn events<W: Write>(chain: &Chain<W>, received: u64) -> EventCounters {
    let join = chain.join.counters();
    let fates = &chain.stage.tally.all;
    EventCounters {
        received,
        malformed: chain.malformed + join.unreadable,
        joined: join.joined + join.late_frees,
        other_messages: join.debugs,
        shown: fates.shown,
        filtered: fates.filtered,
        folded: NoiseClass::ALL.map(|class| (class.name(), fates.folded[class as usize])).to_vec(),
        after_end: fates.beyond,
        lost_in_queues: 0,
        not_recorded: chain.stage.sinks.not_recorded(),
    }
}

/// Trace and verdict messages, by the programs' counters and by what came through. What the programs saw of Cilium's and
/// is no drop message is such a message: they let no other type through.
fn notices<W: Write>(chain: &Chain<W>, probe: &Probe) -> NoticeCounters {
    let taps = [Tap::Message, Tap::XdpMessage].map(|tap| probe.counters.read(tap).unwrap_or_default());
    let sum = |of: fn(&TapCounters) -> u64| taps.iter().map(of).sum::<u64>();
    let join = chain.join.counters();
    let of_cilium = sum(|tap| tap.seen).saturating_sub(sum(|tap| tap.foreign));
    let drops =
        join.drop_messages + sum(|tap| tap.filtered_cilium + tap.suppressed_cilium + tap.ring_full_cilium);
    let fates = &chain.stage.tally.notices;
    NoticeCounters {
        sent: of_cilium.saturating_sub(drops),
        traces: join.traces,
        verdicts: join.verdicts,
        shown: fates.shown,
        filtered: fates.filtered,
        after_end: fates.beyond,
        filtered_in_kernel: sum(|tap| tap.filtered.saturating_sub(tap.filtered_cilium)),
        lost: sum(|tap| tap.ring_full.saturating_sub(tap.ring_full_cilium)),
    }
}
