//! The figures of the node's maps. Reading them costs the node something, so that they are read only when asked
//! for, and not more often than every ten seconds.

use std::time::{Duration, Instant};

use tracing::subscriber::{NoSubscriber, with_default};

use crate::cli::global::Global;
use crate::model::gauges::{Gauges, MapGauge, NatGauge, PolicyGauge};
use crate::output::protocol;
use crate::pipeline::RunError;
use crate::pipeline::maps::MapNode;
use crate::pipeline::maps::gauges::Watcher;
use crate::serve::metrics::Family;

const KEPT_FOR: Duration = Duration::from_secs(10);

/// The last figures, and what it takes to make new ones.
pub struct MapFigures {
    global: Global,
    watcher: Option<Watcher>,
    last: Option<(Instant, Vec<Family>)>,
    /// Complaints about maps have been made once; figures say the rest.
    has_complained: bool,
}

impl MapFigures {
    pub fn new(global: &Global) -> Self {
        Self { global: global.clone(), watcher: None, last: None, has_complained: false }
    }

    /// The figures, at most ten seconds old. None on a node without Cilium.
    pub fn families(&mut self) -> Vec<Family> {
        if let Some((when, families)) = &self.last
            && when.elapsed() < KEPT_FOR
        {
            return families.clone();
        }
        let families = if self.has_complained {
            with_default(NoSubscriber::default(), || self.gather())
        } else {
            self.gather()
        };
        self.has_complained = true;
        self.last = Some((Instant::now(), families.clone()));
        families
    }

    fn gather(&mut self) -> Vec<Family> {
        match self.look() {
            Ok(gauges) => families(&gauges),
            Err(error) => {
                tracing::warn!("no figures of maps: {}", error.one_line());
                self.watcher = None;
                vec![complete(false)]
            }
        }
    }

    fn look(&mut self) -> Result<Gauges, RunError> {
        if self.watcher.is_none() {
            self.watcher = Some(Watcher::new(MapNode::open(&self.global, false)?));
        }
        match &mut self.watcher {
            Some(watcher) => watcher.look(),
            None => Ok(Gauges::default()),
        }
    }
}

fn families(gauges: &Gauges) -> Vec<Family> {
    let mut families = vec![complete(gauges.complete)];
    families.extend(maps(&gauges.maps));
    families.extend(policies(&gauges.policies));
    families.extend(nat(&gauges.nat));
    if let Some(age) = gauges.heartbeat_age {
        let family =
            Family::gauge("tracer_agent_heartbeat_age_seconds", "Time since the agent's last sign of life");
        families.push(family.with(age as f64));
    }
    families
}

fn complete(complete: bool) -> Family {
    Family::gauge("tracer_maps_complete", "Whether every map could be read and understood (1) or not (0)")
        .with(f64::from(u8::from(complete)))
}

/// From 0 to 1.
fn ratio(entries: u64, max_entries: u32) -> f64 {
    if max_entries == 0 { 0.0 } else { entries as f64 / f64::from(max_entries) }
}

fn maps(maps: &[MapGauge]) -> [Family; 6] {
    let mut entries = Family::gauge("tracer_map_entries", "Entries of a map");
    let mut max = Family::gauge("tracer_map_max_entries", "Entries that a map has room for");
    let mut fill = Family::gauge("tracer_map_fill_ratio", "Entries of a map per entry that it has room for");
    let mut growth = Family::gauge(
        "tracer_map_growth_per_second",
        "Entries a second that a map grew between the last two looks",
    );
    let mut expired =
        Family::gauge("tracer_map_expired_entries", "Entries past their time that nobody removed yet");
    let mut evicts = Family::gauge(
        "tracer_map_evicts",
        "Whether a full map forgets its oldest entries (1) or refuses new ones (0)",
    );
    for map in maps {
        let label = [("map", map.name.as_str())];
        entries.add(label, map.entries as f64);
        max.add(label, map.max_entries.into());
        fill.add(label, ratio(map.entries, map.max_entries));
        evicts.add(label, f64::from(u8::from(map.evicts)));
        map.growth.into_iter().for_each(|value| growth.add(label, value));
        map.expired.into_iter().for_each(|value| expired.add(label, value as f64));
    }
    [entries, max, fill, growth, expired, evicts]
}

fn policies(policies: &[PolicyGauge]) -> [Family; 2] {
    let mut entries = Family::gauge("tracer_policy_map_entries", "Entries of an endpoint's policy map");
    let mut fill = Family::gauge(
        "tracer_policy_map_fill_ratio",
        "Entries of an endpoint's policy map per entry of its room",
    );
    for policy in policies {
        let endpoint = policy.endpoint.0.to_string();
        let labels = [("endpoint", endpoint.as_str()), ("pod", &policy.pod)];
        entries.add(labels, policy.entries as f64);
        fill.add(labels, ratio(policy.entries, policy.max_entries));
    }
    [entries, fill]
}

fn nat(destinations: &[NatGauge]) -> [Family; 3] {
    let mut used =
        Family::gauge("tracer_snat_ports_used", "Source ports in use, of the destinations with the most");
    let mut failure = Family::gauge(
        "tracer_snat_failure_probability",
        "Chance that the next connection to a destination gets no source port, from 0 to 1",
    );
    let mut highest = Family::gauge(
        "tracer_snat_failure_probability_max",
        "Highest chance that the next connection to a destination gets no source port, from 0 to 1",
    );
    highest.add([], destinations.iter().map(|one| one.failure).fold(0.0, f64::max));
    for one in destinations {
        let (egress, remote) = (one.egress.to_string(), one.remote.to_string());
        let protocol = protocol::name(one.protocol).map_or_else(|| one.protocol.to_string(), str::to_owned);
        let labels = [("egress", egress.as_str()), ("destination", &remote), ("protocol", &protocol)];
        used.add(labels, one.used.into());
        failure.add(labels, one.failure);
    }
    [used, failure, highest]
}
