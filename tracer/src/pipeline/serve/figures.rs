//! What Prometheus gets: drops as they were counted on the way into the ring, the books of the taps as the
//! reader told them last, and the fill of the node's maps.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::maps::MapFigures;
use crate::cli::global::Global;
use crate::output::summary::{Metrics, Summary, TapSummary};
use crate::serve::drops::{DropCounts, reason_name};
use crate::serve::http::Figures;
use crate::serve::metrics::Family;
use crate::serve::ring::FlowRing;

/// The reader tells how things stand once a second; after that long it is taken for stuck.
const STUCK: Duration = Duration::from_secs(10);

/// All figures of a node.
pub struct NodeFigures {
    ring: Arc<FlowRing>,
    drops: Arc<DropCounts>,
    last: Mutex<Option<(Instant, Summary)>>,
    maps: Arc<Mutex<MapFigures>>,
}

impl NodeFigures {
    pub fn new(global: &Global, ring: Arc<FlowRing>, drops: Arc<DropCounts>) -> Self {
        let maps = Arc::new(Mutex::new(MapFigures::new(global)));
        Self { ring, drops, last: Mutex::new(None), maps }
    }

    /// Takes the reader's report.
    pub fn hear(&self, summary: Summary) {
        *self.last() = Some((Instant::now(), summary));
    }

    /// What the reader told last.
    fn books(&self) -> Vec<Family> {
        let last = self.last();
        let Some((_, summary)) = &*last else { return Vec::new() };
        let mut families = taps(&summary.taps);
        families.extend(events(summary));
        families.extend(comparison(&summary.metrics));
        families
    }

    fn last(&self) -> MutexGuard<'_, Option<(Instant, Summary)>> {
        lock(&self.last)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Figures for NodeFigures {
    fn gather(&self) -> Pin<Box<dyn Future<Output = Vec<Family>> + Send + '_>> {
        Box::pin(async {
            let mut families = vec![
                Family::gauge("tracer_flows_kept", "Flows that clients can ask for")
                    .with(self.ring.kept() as f64),
                Family::counter("tracer_flows_total", "Flows since the start").with(self.ring.seen() as f64),
            ];
            families.extend(self.drops.families());
            families.extend(self.books());
            let maps = Arc::clone(&self.maps);
            // Reading maps takes its time, and streams are not to wait for it.
            let gathered = tokio::task::spawn_blocking(move || lock(&maps).families());
            families.extend(gathered.await.unwrap_or_default());
            families
        })
    }

    fn not_ready(&self) -> Option<String> {
        match &*self.last() {
            None => Some("no report of the reader yet".to_owned()),
            Some((when, _)) if when.elapsed() > STUCK => {
                Some(format!("no report of the reader for {} s", when.elapsed().as_secs()))
            }
            Some(_) => None,
        }
    }
}

/// A counter of the programs: its name, what it counts, and where it is.
type TapFigure = (&'static str, &'static str, fn(&TapSummary) -> Option<u64>);

const TAPS: [TapFigure; 8] = [
    ("tracer_tap_seen_total", "Runs of the program with something to look at", |tap| Some(tap.counters.seen)),
    ("tracer_tap_filtered_total", "Events rejected in the kernel", |tap| Some(tap.counters.filtered)),
    ("tracer_tap_emitted_total", "Records put into the ring", |tap| Some(tap.counters.emitted)),
    ("tracer_tap_ring_full_total", "Records that the ring had no room for", |tap| {
        Some(tap.counters.ring_full)
    }),
    ("tracer_tap_recovered_total", "Lost messages whose drop was seen all the same", |tap| {
        Some(tap.counters.recovered)
    }),
    ("tracer_tap_read_faults_total", "Packets that could not be read", |tap| Some(tap.counters.read_fault)),
    ("tracer_tap_foreign_total", "Events that are not Cilium's", |tap| Some(tap.counters.foreign)),
    ("tracer_tap_missed_total", "Runs of the program that the kernel skipped", |tap| tap.missed),
];

fn taps(taps: &[TapSummary]) -> Vec<Family> {
    let mut families: Vec<Family> = TAPS.iter().map(|(name, help, _)| Family::counter(name, help)).collect();
    for tap in taps {
        for (family, (_, _, figure)) in families.iter_mut().zip(TAPS) {
            if let Some(value) = figure(tap) {
                family.add([("tap", tap.name), ("hook", &tap.hook)], value as f64);
            }
        }
    }
    families
}

fn events(summary: &Summary) -> Vec<Family> {
    let events = &summary.events;
    let mut fates = Family::counter("tracer_events_total", "Events by what became of them");
    for (fate, count) in [("shown", events.shown), ("filtered", events.filtered), ("late", events.after_end)]
    {
        fates.add([("fate", fate)], count as f64);
    }
    let mut folded =
        Family::counter("tracer_events_folded_total", "Known-harmless drops that are only counted");
    for (class, count) in &events.folded {
        folded.add([("class", class)], *count as f64);
    }
    let counter = |name, help, value: u64| Family::counter(name, help).with(value as f64);
    vec![
        fates,
        folded,
        counter("tracer_records_total", "Records taken from the ring", events.received),
        counter("tracer_records_malformed_total", "Records that could not be read", events.malformed),
        counter("tracer_records_joined_total", "Records that completed an event", events.joined),
        counter(
            "tracer_events_not_recorded_total",
            "Events that --record could not write",
            events.not_recorded,
        ),
        counter("tracer_messages_other_total", "Messages that tell of no drop", events.other_messages),
    ]
}

/// What Cilium counted itself while we watched, by reason.
fn comparison(metrics: &Metrics) -> Vec<Family> {
    let Metrics::Compared(compared) = metrics else { return Vec::new() };
    let mut counted = Family::counter(
        "tracer_cilium_drops_counted_total",
        "Drops that Cilium counted while tracer watched",
    );
    for row in &compared.reasons {
        counted.add([("reason", &reason_name(row.reason))], row.counted as f64);
    }
    vec![
        counted,
        Family::counter("tracer_drops_lost_total", "Drops of Cilium that were lost in the ring")
            .with(compared.lost as f64),
        Family::gauge("tracer_drops_unaccounted", "Drops that Cilium counted and tracer knows nothing of")
            .with(compared.unaccounted() as f64),
    ]
}
