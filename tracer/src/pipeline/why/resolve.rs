//! From an end as typed to what the datapath takes it for.

use std::net::IpAddr;
use std::sync::Arc;

use tracer_common::id::{Identity, IdentityScope};

use super::Asking;
use crate::cilium::ipcache::IpcacheEntry;
use crate::cilium::node::NodeView;
use crate::cli::end::{EndName, TypedEnd};
use crate::cli::why::Family;
use crate::model::endpoint::{IdentitySource, LocalEndpoint};
use crate::model::names::Names as _;
use crate::pipeline::RunError;
use crate::why::answer::{Party, Place};
use crate::why::labels;

/// Which end it is: a local source is what its own program says it is, everybody else what the ipcache says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Source,
    Destination,
}

/// Whether the connection is IPv6, if that is settled by what was typed, or asked for.
pub fn is_v6(family: Family, ends: [&TypedEnd; 2], view: &NodeView) -> Result<bool, RunError> {
    let literal = ends.iter().filter_map(|end| match end.name {
        EndName::Ip(ip) => Some(ip.is_ipv6()),
        _ => None,
    });
    let literal: Vec<bool> = literal.collect();
    match (family, literal.as_slice()) {
        (_, [a, b]) if a != b => {
            Err(RunError::NoMap("the two ends are of different address families".into()))
        }
        (Family::V4, [true, ..]) | (Family::V6, [false, ..]) => {
            Err(RunError::NoMap("the address that was given is of the other family".into()))
        }
        (_, [is_v6, ..]) => Ok(*is_v6),
        (Family::V4, []) => Ok(false),
        (Family::V6, []) => Ok(true),
        (Family::Any, []) => Ok(ends.iter().any(|end| has_only_v6(end, view))),
    }
}

fn has_only_v6(end: &TypedEnd, view: &NodeView) -> bool {
    let addresses = endpoint(&end.name, view).ok().flatten().map(|endpoint| endpoint.addresses.clone());
    addresses.is_some_and(|all| !all.is_empty() && all.iter().all(IpAddr::is_ipv6))
}

/// The local endpoint that a name stands for; an error where the name can stand for nothing else.
fn endpoint(name: &EndName, view: &NodeView) -> Result<Option<Arc<LocalEndpoint>>, RunError> {
    let all = || view.endpoints().iter();
    // Names of an endpoint that is gone may stand in a file still.
    let best =
        |found: Vec<&Arc<LocalEndpoint>>| found.into_iter().min_by_key(|e| (e.stale_names, e.id)).cloned();
    match name {
        EndName::Ip(ip) => Ok(view.endpoints().by_ip(*ip).filter(|_| is_local(*ip, view)).cloned()),
        EndName::World => Ok(None),
        EndName::Identity(identity) => {
            let same = all().filter(|e| e.identity == *identity && !e.stale_names && !e.addresses.is_empty());
            Ok(best(same.collect()))
        }
        EndName::Endpoint(id) => view.endpoints().by_id(*id).cloned().map(Some).ok_or_else(|| absent(name)),
        EndName::Pod { namespace, name: pod } => {
            let found = best(all().filter(|e| e.namespace == *namespace && e.pod == *pod).collect());
            found.map(Some).ok_or_else(|| absent(name))
        }
        EndName::BarePod(pod) => {
            let found: Vec<_> = all().filter(|e| e.pod == *pod || special_name(e) == Some(pod)).collect();
            let mut places: Vec<&str> = found.iter().map(|e| e.namespace.as_str()).collect();
            places.sort_unstable();
            places.dedup();
            if places.len() > 1 {
                let whole: Vec<String> =
                    places.iter().map(|namespace| format!("{namespace}/{pod}")).collect();
                return Err(RunError::NoMap(format!("`{pod}` may be {}: which?", whole.join(" or "))));
            }
            best(found).map(Some).ok_or_else(|| absent(name))
        }
    }
}

fn absent(name: &EndName) -> RunError {
    RunError::NoMap(format!(
        "no endpoint `{name}` on this node; `tracer endpoints list` has all; give a pod of another node by its address"
    ))
}

/// `health` and the like, which have no pod's name.
fn special_name(endpoint: &LocalEndpoint) -> Option<&str> {
    if endpoint.pod.is_empty() { labels::reserved(&endpoint.labels).next() } else { None }
}

/// The endpoint map has the address, or cannot be read and a file has it.
fn is_local(ip: IpAddr, view: &NodeView) -> bool {
    let entries = view.lxc_entries();
    entries.is_empty() || entries.iter().any(|entry| entry.ip == ip && !entry.is_host())
}

/// The node's own endpoint.
pub fn host_endpoint(view: &NodeView) -> Option<&Arc<LocalEndpoint>> {
    view.endpoints().iter().find(|e| labels::reserved(&e.labels).any(|name| name == "host"))
}

/// Namespace and pod, or what else names an endpoint.
pub fn name_of(endpoint: &LocalEndpoint) -> String {
    match special_name(endpoint) {
        _ if !endpoint.pod.is_empty() => format!("{}/{}", endpoint.namespace, endpoint.pod),
        Some(name) => name.to_owned(),
        None => format!("endpoint {}", endpoint.id),
    }
}

impl Asking {
    /// Resolves one end.
    pub fn party(&mut self, typed: &TypedEnd, role: Role, is_v6: bool) -> Result<Party, RunError> {
        let endpoint = endpoint(&typed.name, &self.node.view)?;
        let text = typed.name.to_string();
        let found = match (&typed.name, endpoint) {
            (EndName::Ip(ip), _) => self.at_address(text, *ip, role),
            (EndName::Identity(identity), endpoint) => self.of_identity(text, *identity, endpoint, is_v6),
            (EndName::World, _) => {
                let world = self.node.view.world();
                let identity = if is_v6 { world.ipv6 } else { world.ipv4 };
                self.of_identity(text, identity, None, is_v6)
            }
            (_, Some(endpoint)) => self.of_endpoint(text, endpoint, role, is_v6)?,
            (name, None) => return Err(absent(name)),
        };
        Ok(Party { port: typed.port, ..found })
    }

    fn of_endpoint(
        &mut self,
        typed: String,
        endpoint: Arc<LocalEndpoint>,
        role: Role,
        is_v6: bool,
    ) -> Result<Party, RunError> {
        if labels::reserved(&endpoint.labels).any(|name| name == "host") {
            return Ok(self.of_identity(typed, Identity::HOST, None, is_v6));
        }
        let address = endpoint.addresses.iter().find(|ip| ip.is_ipv6() == is_v6).copied();
        let Some(address) = address.or_else(|| endpoint.addresses.first().copied()) else {
            return Err(RunError::NoMap(format!(
                "{} has no address yet: the endpoint map does not have it",
                name_of(&endpoint)
            )));
        };
        if address.is_ipv6() != is_v6 {
            let family = if is_v6 { "IPv6" } else { "IPv4" };
            return Err(RunError::NoMap(format!("{} has no {family} address", name_of(&endpoint))));
        }
        let mut party = self.at_address(typed, address, role);
        if party.endpoint.is_none() {
            self.inferred.push("endpoint");
            party.endpoint = Some(endpoint);
        }
        Ok(party)
    }

    /// Whoever has this identity.
    fn of_identity(
        &mut self,
        typed: String,
        identity: Identity,
        endpoint: Option<Arc<LocalEndpoint>>,
        is_v6: bool,
    ) -> Party {
        let place = match (identity, &endpoint) {
            (Identity::HOST, _) => Place::Host,
            (_, Some(_)) => {
                self.inferred.push("endpoint");
                Place::Here
            }
            (Identity::WORLD | Identity::WORLD_IPV4 | Identity::WORLD_IPV6, _) => Place::Outside,
            (Identity(6 | 7), _) => Place::OtherNode(None),
            _ if identity.scope() == IdentityScope::Local => Place::Outside,
            _ => Place::Nowhere,
        };
        let address =
            endpoint.as_ref().and_then(|e| e.addresses.iter().find(|ip| ip.is_ipv6() == is_v6).copied());
        let endpoint = endpoint.or_else(|| {
            let host = host_endpoint(&self.node.view).cloned();
            host.filter(|_| identity == Identity::HOST)
        });
        Party {
            typed,
            address,
            port: None,
            place,
            identity,
            identity_source: IdentitySource::None,
            labels: self.node.view.labels(identity),
            endpoint,
            chain: Vec::new(),
            dns_names: Vec::new(),
        }
    }

    /// Whoever has this address.
    pub fn at_address(&mut self, typed: String, ip: IpAddr, role: Role) -> Party {
        let local = self.node.view.endpoints().by_ip(ip).filter(|_| is_local(ip, &self.node.view)).cloned();
        let chain = self.chain(ip);
        let seen = self.node.view.identity_of(ip);
        let own = local.as_ref().map(|e| e.identity).filter(|identity| identity.0 != 0);
        let (identity, identity_source) = match (role, own, seen) {
            (Role::Source, Some(own), _) => (own, IdentitySource::Endpoint),
            (_, _, Some((identity, source))) => (identity, source),
            (_, Some(own), None) => (own, IdentitySource::Endpoint),
            (_, None, None) => (Identity(0), IdentitySource::None),
        };
        self.compare(&typed, ip, own, seen, &local);
        let is_host = self.node.view.is_node_ip(ip) || identity == Identity::HOST;
        let place = match (&local, is_host) {
            (Some(_), _) => Place::Here,
            (None, true) => Place::Host,
            (None, false) => elsewhere(identity, &chain),
        };
        let endpoint =
            local.or_else(|| host_endpoint(&self.node.view).filter(|_| place == Place::Host).cloned());
        let labels = self.node.view.labels(identity);
        Party {
            typed,
            address: Some(ip),
            port: None,
            place,
            identity,
            identity_source,
            labels,
            endpoint,
            chain,
            dns_names: Vec::new(),
        }
    }

    /// A local endpoint and the ipcache ought to agree on who it is.
    fn compare(
        &mut self,
        typed: &str,
        ip: IpAddr,
        own: Option<Identity>,
        seen: Option<(Identity, IdentitySource)>,
        local: &Option<Arc<LocalEndpoint>>,
    ) {
        let Some(endpoint) = local else { return };
        match (own, seen) {
            (None, _) => self.remark(
                "endpoint_without_identity",
                format!(
                    "{typed}: endpoint {} has no identity yet: the agent has not finished it",
                    endpoint.id
                ),
            ),
            (Some(own), Some((seen, source))) if own != seen => {
                let says = match source {
                    IdentitySource::World => {
                        format!("the ipcache has no entry for {ip}: others take it for world ({seen})")
                    }
                    _ => format!("the ipcache says identity {seen} for {ip}"),
                };
                self.remark(
                    "ipcache_differs",
                    format!("{typed}: {says}, the endpoint itself is {own}: propagation, not policy"),
                );
            }
            _ => {}
        }
    }

    /// The ipcache's entries for the address; also known when the tool is asked for an address twice.
    fn chain(&mut self, ip: IpAddr) -> Vec<IpcacheEntry> {
        if let Some((_, chain)) = self.chains.iter().find(|(known, _)| *known == ip) {
            return chain.clone();
        }
        let chain = crate::pipeline::maps::ipcache::chain(&mut self.node.maps, ip);
        self.chains.push((ip, chain.clone()));
        chain
    }
}

fn elsewhere(identity: Identity, chain: &[IpcacheEntry]) -> Place {
    let node = chain.first().and_then(|entry| entry.tunnel_endpoint);
    match identity {
        Identity(6) => Place::OtherNode(node),
        Identity::WORLD | Identity::WORLD_IPV4 | Identity::WORLD_IPV6 => Place::Outside,
        _ if node.is_some() => Place::OtherNode(node),
        _ => match identity.scope() {
            IdentityScope::RemoteNode => Place::OtherNode(None),
            IdentityScope::Local => Place::Outside,
            // A pod that is not here and has no tunnel endpoint: native routing.
            _ if identity.is_reserved() => Place::Outside,
            _ => Place::OtherNode(None),
        },
    }
}
