//! Which entries a command wants: what was typed, with pods, endpoints and identities turned into addresses
//! once, so that an entry is judged without asking anybody.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::cilium::ct::CtEntry;
use crate::cilium::ct::clock::Clock;
use crate::cilium::endpoints::Endpoints;
use crate::cli::ct::CtWanted;
use crate::model::endpoint::LocalEndpoint;

pub struct Selection<'a> {
    wanted: &'a CtWanted,
    /// Nothing was asked for: everything is wanted.
    all: bool,
    pods: HashSet<IpAddr>,
    endpoints: HashSet<IpAddr>,
    with_identity: HashSet<IpAddr>,
}

impl<'a> Selection<'a> {
    pub fn new(wanted: &'a CtWanted, endpoints: &Endpoints) -> Self {
        let addresses = |is_wanted: &dyn Fn(&LocalEndpoint) -> bool| {
            let chosen = endpoints.iter().filter(|endpoint| is_wanted(endpoint));
            chosen.flat_map(|endpoint| endpoint.addresses.iter().copied()).collect::<HashSet<IpAddr>>()
        };
        let all = CtWanted { map: None, ..wanted.clone() } == CtWanted::default();
        Self {
            wanted,
            all,
            pods: addresses(&|e| wanted.pods.iter().any(|pod| pod.matches(&e.namespace, &e.pod))),
            endpoints: addresses(&|e| wanted.endpoints.contains(&e.id)),
            with_identity: addresses(&|e| wanted.identities.contains(&e.identity)),
        }
    }

    /// The conditions that no endpoint of this node meets, for a line to the user.
    pub fn unmet(&self) -> Option<&'static str> {
        match self.wanted {
            wanted if !wanted.pods.is_empty() && self.pods.is_empty() => {
                Some("no pod of this node matches --pod")
            }
            wanted if !wanted.endpoints.is_empty() && self.endpoints.is_empty() => {
                Some("no endpoint of this node has the id of --endpoint")
            }
            _ => None,
        }
    }

    #[inline]
    pub fn takes(&self, entry: &CtEntry, clock: &Clock) -> bool {
        self.all || self.matches(entry, clock)
    }

    fn matches(&self, entry: &CtEntry, clock: &Clock) -> bool {
        let wanted = self.wanted;
        let ends = [entry.source(), entry.destination()];
        let is_in = |set: &HashSet<IpAddr>| ends.iter().any(|end| set.contains(&end.ip()));
        any(&wanted.protocols, |protocol| *protocol == entry.protocol)
            && any(&wanted.kinds, |kind| *kind == entry.kind)
            && any(&wanted.states, |state| *state == entry.state())
            && any(&wanted.nets, |net| ends.iter().any(|end| net.contains(end.ip())))
            && any(&wanted.ports, |ports| ends.iter().any(|end| ports.contains(end.port())))
            && (wanted.pods.is_empty() || is_in(&self.pods))
            && (wanted.endpoints.is_empty() || is_in(&self.endpoints))
            && (wanted.identities.is_empty()
                || wanted.identities.contains(&entry.source_identity())
                || is_in(&self.with_identity))
            && (!wanted.expired || clock.remaining(entry.common.lifetime) < 0)
    }
}

fn any<T>(conditions: &[T], holds: impl Fn(&T) -> bool) -> bool {
    conditions.is_empty() || conditions.iter().any(holds)
}
