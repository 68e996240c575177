//! Conditions on one end of a flow.

use std::net::IpAddr;

use tracer_common::id::{EndpointId, Identity};

use super::any_or_empty;
use super::label::Selector;
use super::pattern::{Glob, Net, PodPattern, PortRange, WorkloadPattern};
use crate::model::endpoint::Peer;

/// All conditions must hold; an empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndFilter {
    pub pods: Vec<PodPattern>,
    pub labels: Vec<Selector>,
    pub workloads: Vec<WorkloadPattern>,
    pub clusters: Vec<Glob>,
    pub identities: Vec<Identity>,
    pub endpoints: Vec<EndpointId>,
    pub nets: Vec<Net>,
    pub ports: Vec<PortRange>,
    /// DNS names, in lower case.
    pub names: Vec<Glob>,
}

impl EndFilter {
    /// `ip` and `port` are this end's, if the packet has them. An unknown identity counts as 0.
    pub fn matches(&self, peer: &Peer, ip: Option<IpAddr>, port: Option<u16>) -> bool {
        any_or_empty(&self.identities, |id| peer.identity.unwrap_or_default() == *id)
            && any_or_empty(&self.ports, |range| port.is_some_and(|p| range.contains(p)))
            && any_or_empty(&self.nets, |net| ip.is_some_and(|ip| net.contains(ip)))
            && any_or_empty(&self.endpoints, |id| id.0 != 0 && peer.endpoint_id() == *id)
            && self.matches_names(peer)
    }

    fn matches_names(&self, peer: &Peer) -> bool {
        any_or_empty(&self.pods, |pod| pod.matches(peer.namespace(), peer.pod()))
            && any_or_empty(&self.clusters, |cluster| cluster.matches(peer.cluster()))
            && any_or_empty(&self.labels, |selector| selector.matches(peer.labels()))
            && any_or_empty(&self.names, |name| peer.dns_names.iter().any(|n| name.matches_ignoring_case(n)))
            && any_or_empty(&self.workloads, |wanted| {
                let workloads = peer.endpoint.as_ref().map_or(&[][..], |e| &e.workloads);
                workloads.iter().any(|w| wanted.matches(w))
            })
    }
}
