//! The node's maps as figures: fill, growth, expired connections, the odds of source NAT, the pressure on policy
//! maps. For whoever watches them over time; the commands on maps show them to people.

use std::time::Instant;

use super::capacity::{self, Counted, Fill};
use super::nat::ports;
use super::{MapNode, Report};
use crate::cilium::pins::PolicyPin;
use crate::cli::exit::Exit;
use crate::model::gauges::{Gauges, MapGauge, NatGauge, PolicyGauge};
use crate::nat::search::Odds;
use crate::pipeline::RunError;

/// Destinations of source NAT that are told of: those with the most ports in use.
const DESTINATIONS: usize = 20;

/// Looks at the node again and again.
pub struct Watcher {
    node: MapNode,
    before: Option<Fill>,
}

impl Watcher {
    pub fn new(node: MapNode) -> Self {
        Self { node, before: None }
    }

    pub fn look(&mut self) -> Result<Gauges, RunError> {
        self.node.view.refresh(Instant::now());
        self.node.maps.report = Report::default();
        let fill = capacity::count_all(&mut self.node)?;
        let (policy_maps, maps): (Vec<_>, Vec<_>) =
            fill.maps.iter().partition(|map| PolicyPin::parse(&map.name).is_some());
        let maps = maps.into_iter().map(|map| self.map(&fill, map)).collect();
        let policies = policy_maps.into_iter().filter_map(|map| self.policy(map)).collect();
        let nat = self.nat()?;
        let heartbeat_age = capacity::heartbeat_age(&mut self.node.maps, self.node.view.when());
        self.before = Some(fill);
        Ok(Gauges { maps, policies, nat, heartbeat_age, complete: self.node.maps.exit() == Exit::Done })
    }

    fn map(&self, now: &Fill, map: &Counted) -> MapGauge {
        let growth = self.before.as_ref().and_then(|before| {
            let earlier = before.maps.iter().find(|earlier| earlier.id == map.id)?;
            let seconds = now.taken.duration_since(before.taken).as_secs_f64();
            (seconds > 0.0).then(|| (map.entries as f64 - earlier.entries as f64) / seconds)
        });
        MapGauge {
            name: map.name.clone(),
            entries: map.entries,
            max_entries: map.max_entries,
            evicts: map.is_lru,
            expired: map.expired,
            growth,
        }
    }

    fn policy(&self, map: &Counted) -> Option<PolicyGauge> {
        let endpoint = PolicyPin::parse(&map.name)?.endpoint;
        let known = self.node.view.endpoints().by_id(endpoint);
        let pod = known.filter(|known| !known.pod.is_empty());
        Some(PolicyGauge {
            endpoint,
            pod: pod.map_or_else(String::new, |known| format!("{}/{}", known.namespace, known.pod)),
            entries: map.entries,
            max_entries: map.max_entries,
        })
    }

    /// A node without NAT maps does no source NAT.
    fn nat(&mut self) -> Result<Vec<NatGauge>, RunError> {
        let found = match ports::collect(&mut self.node.maps) {
            Err(RunError::NoMap(_)) => return Ok(Vec::new()),
            found => found?,
        };
        let search = ports::search(&mut self.node.maps, &self.node.view);
        let mut odds = Odds::new(search);
        let (mut used, mut owners) = (Vec::new(), Vec::new());
        let mut gauges = Vec::new();
        for index in 0..found.len().min(DESTINATIONS) {
            let Some(destination) = found.read(index, &mut used, &mut owners) else { break };
            used.retain(|port| search.range.contains(*port));
            gauges.push(NatGauge {
                egress: destination.egress,
                remote: destination.remote,
                protocol: destination.protocol,
                used: used.len() as u32,
                failure: odds.failure(&used, ports::SOURCES),
            });
        }
        Ok(gauges)
    }
}
