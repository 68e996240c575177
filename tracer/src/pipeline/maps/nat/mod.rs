//! `tracer nat`.

mod list;
mod orphans;
pub(super) mod ports;
mod tables;

use std::collections::HashSet;
use std::net::IpAddr;

use crate::cilium::ct::clock::Clock;
use crate::cilium::nat::NatEntry;
use crate::cilium::node::NodeView;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::nat::{NatFilter, NatPlan};
use crate::model::endpoint::LocalEndpoint;
use crate::output::listing::ListingOptions;
use crate::pipeline::RunError;

/// Runs the command; the exit code is the caller's to return.
pub fn run(global: &Global, plan: NatPlan) -> Result<Exit, RunError> {
    match plan {
        NatPlan::List(plan) => list::run(global, &plan),
        NatPlan::Ports(plan) => ports::run(global, &plan),
        NatPlan::Orphans(plan) => orphans::run(global, &plan),
    }
}

/// A filter whose pods are addresses of this node.
struct Wanted<'a> {
    filter: &'a NatFilter,
    pods: Option<HashSet<IpAddr>>,
}

impl<'a> Wanted<'a> {
    fn new(filter: &'a NatFilter, view: &NodeView) -> Result<Self, RunError> {
        if filter.pods.is_empty() {
            return Ok(Self { filter, pods: None });
        }
        let is_wanted = |namespace: &str, pod: &str| filter.pods.iter().any(|p| p.matches(namespace, pod));
        let endpoints = view.endpoints().iter().filter(|e| is_wanted(&e.namespace, &e.pod));
        let pods: HashSet<IpAddr> =
            endpoints.flat_map(|endpoint| endpoint.addresses.iter().copied()).collect();
        if pods.is_empty() {
            return Err(RunError::NoMap("--pod: no such pod on this node".to_owned()));
        }
        Ok(Self { filter, pods: Some(pods) })
    }

    fn matches(&self, entry: &NatEntry) -> bool {
        let filter = self.filter;
        let ends = [entry.source, entry.destination, entry.to];
        let net = |net: &crate::filter::pattern::Net| ends.iter().any(|end| net.contains(end.ip()));
        let port = |range: &crate::filter::pattern::PortRange| ends.iter().any(|e| range.contains(e.port()));
        filter.direction.is_none_or(|direction| direction == entry.direction)
            && (filter.nets.is_empty() || filter.nets.iter().any(net))
            && (filter.ports.is_empty() || filter.ports.iter().any(port))
            && (filter.protocols.is_empty() || filter.protocols.contains(&entry.protocol))
            && self.pods.as_ref().is_none_or(|pods| pods.contains(&entry.flow().0.ip()))
    }
}

/// Seconds since an entry was made; `None` if that lies in the future, as in maps of another machine.
fn age(clock: &Clock, created: u64) -> Option<u64> {
    u32::try_from(created).ok().and_then(|stamp| u64::try_from(clock.age(stamp)).ok())
}

/// The endpoint of this node whose connection it is, unless only numbers are wanted.
fn endpoint<'a>(view: &'a NodeView, options: &ListingOptions, entry: &NatEntry) -> Option<&'a LocalEndpoint> {
    if options.numeric { None } else { view.endpoints().by_ip(entry.flow().0.ip()).map(AsRef::as_ref) }
}
