//! Local endpoints: what the endpoint map says joined with what the state files say. The map is the truth of
//! the datapath; where a file disagrees with it, its names are marked as possibly those of another pod.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use tracer_common::id::{EndpointId, Identity};

use super::lxc::LxcEntry;
use super::state::endpoint::EndpointState;
use super::trusted::{TrustedMap, TrustedSet};
use crate::model::endpoint::LocalEndpoint;

/// Endpoints of this node by what a packet shows of them.
#[derive(Debug, Default)]
pub struct Endpoints {
    by_id: TrustedMap<EndpointId, Arc<LocalEndpoint>>,
    by_ip: TrustedMap<IpAddr, Arc<LocalEndpoint>>,
    node_ips: TrustedSet<IpAddr>,
    ifindexes: TrustedSet<u32>,
    interfaces: TrustedSet<String>,
}

impl Endpoints {
    /// `lxc` is `None` when the endpoint map cannot be read: then the files stand alone.
    pub fn join<'a>(lxc: Option<&[LxcEntry]>, states: impl Iterator<Item = &'a Arc<EndpointState>>) -> Self {
        let mut states: BTreeMap<EndpointId, &EndpointState> = states.map(|s| (s.id, s.as_ref())).collect();
        let mut endpoints = Self::default();
        for (id, entries) in by_endpoint(lxc.unwrap_or_default()) {
            endpoints.add(from_map(id, &entries, states.remove(&id)));
        }
        for state in states.into_values() {
            endpoints.add(from_state(state, lxc.is_some()));
        }
        let node_ips = lxc.unwrap_or_default().iter().filter(|entry| entry.is_host());
        endpoints.node_ips = node_ips.map(|entry| entry.ip).collect();
        endpoints
    }

    /// Addresses of stale files do not hide those that the map vouches for, which were added before.
    fn add(&mut self, endpoint: LocalEndpoint) {
        let endpoint = Arc::new(endpoint);
        if endpoint.ifindex != 0 {
            self.ifindexes.insert(endpoint.ifindex);
        }
        if !endpoint.interface.is_empty() {
            self.interfaces.insert(endpoint.interface.clone());
        }
        for ip in &endpoint.addresses {
            self.by_ip.entry(*ip).or_insert_with(|| endpoint.clone());
        }
        self.by_id.insert(endpoint.id, endpoint);
    }

    pub fn by_ip(&self, ip: IpAddr) -> Option<&Arc<LocalEndpoint>> {
        self.by_ip.get(&ip)
    }

    pub fn by_id(&self, id: EndpointId) -> Option<&Arc<LocalEndpoint>> {
        self.by_id.get(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<LocalEndpoint>> {
        self.by_id.values()
    }

    /// Addresses of endpoints, without those of the node.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.by_ip.keys().copied()
    }

    pub fn node_ips(&self) -> impl Iterator<Item = IpAddr> {
        self.node_ips.iter().copied()
    }

    pub fn is_node_ip(&self, ip: IpAddr) -> bool {
        self.node_ips.contains(&ip)
    }

    pub fn has_interface(&self, ifindex: u32, name: &str) -> bool {
        self.ifindexes.contains(&ifindex) || self.interfaces.contains(name)
    }
}

fn by_endpoint(lxc: &[LxcEntry]) -> BTreeMap<EndpointId, Vec<&LxcEntry>> {
    let mut groups: BTreeMap<EndpointId, Vec<&LxcEntry>> = BTreeMap::new();
    for entry in lxc.iter().filter(|entry| !entry.is_host()) {
        groups.entry(entry.id).or_default().push(entry);
    }
    groups
}

fn from_map(id: EndpointId, entries: &[&LxcEntry], state: Option<&EndpointState>) -> LocalEndpoint {
    let identity = entries.iter().map(|e| e.identity).find(|i| i.0 != 0).unwrap_or_default();
    let addresses: Vec<IpAddr> = entries.iter().map(|entry| entry.ip).collect();
    let ifindex = entries.iter().map(|entry| entry.ifindex).find(|i| *i != 0).unwrap_or_default();
    let stale_names = state.is_some_and(|state| disagrees(state, identity, &addresses));
    LocalEndpoint { id, identity, ifindex, addresses, stale_names, ..names(state) }
}

/// An endpoint without an address in the map: special ones (host, ingress) never have one; any other is gone
/// or not yet there.
fn from_state(state: &EndpointState, map_was_read: bool) -> LocalEndpoint {
    LocalEndpoint {
        id: state.id,
        identity: state.identity,
        ifindex: state.ifindex,
        addresses: state.addresses.clone(),
        stale_names: map_was_read && !state.is_special(),
        ..names(Some(state))
    }
}

fn names(state: Option<&EndpointState>) -> LocalEndpoint {
    let Some(state) = state else { return LocalEndpoint::default() };
    LocalEndpoint {
        labels: state.labels.clone(),
        namespace: state.namespace.clone(),
        pod: state.pod.clone(),
        interface: state.interface.clone(),
        ..LocalEndpoint::default()
    }
}

/// Identities that are not resolved yet, on either side, contradict nothing.
fn disagrees(state: &EndpointState, identity: Identity, addresses: &[IpAddr]) -> bool {
    let other_identity = identity.0 != 0 && state.identity.0 != 0 && identity != state.identity;
    let other_addresses =
        !state.addresses.is_empty() && !state.addresses.iter().any(|ip| addresses.contains(ip));
    other_identity || other_addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::endpoint::Labels;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn entry(address: &str, id: u16, identity: u32) -> LxcEntry {
        LxcEntry {
            ip: ip(address),
            id: EndpointId(id),
            ifindex: u32::from(id) + 100,
            identity: Identity(identity),
            flags: 0,
            mac: [0; 6],
            node_mac: [0; 6],
        }
    }

    fn state(id: u16, identity: u32, addresses: &[&str], label: &str) -> Arc<EndpointState> {
        Arc::new(EndpointState {
            id: EndpointId(id),
            identity: Identity(identity),
            labels: Arc::new(Labels::new([label.to_owned()])),
            pod: format!("pod-{id}"),
            addresses: addresses.iter().map(|a| ip(a)).collect(),
            interface: format!("lxc{id}"),
            ..EndpointState::default()
        })
    }

    fn join(lxc: &[LxcEntry], states: &[Arc<EndpointState>]) -> Endpoints {
        Endpoints::join(Some(lxc), states.iter())
    }

    #[test]
    fn both_addresses_of_an_endpoint_lead_to_one_joined_endpoint() {
        let lxc = [entry("10.0.1.5", 7, 50001), entry("fd00::5", 7, 50001)];
        let endpoints = join(&lxc, &[state(7, 50001, &["10.0.1.5", "fd00::5"], "k8s:a=b")]);
        let found = endpoints.by_ip(ip("fd00::5")).unwrap();
        assert_eq!((found.pod.as_str(), found.identity, found.ifindex), ("pod-7", Identity(50001), 107));
        assert_eq!(found.addresses, [ip("10.0.1.5"), ip("fd00::5")]);
        assert!(!found.stale_names && Arc::ptr_eq(found, endpoints.by_id(EndpointId(7)).unwrap()));
        assert!(endpoints.has_interface(107, "") && endpoints.has_interface(0, "lxc7"));
        assert!(!endpoints.has_interface(0, "") && !endpoints.has_interface(1, "eth0"));
    }

    #[test]
    fn a_reused_id_keeps_the_identity_of_the_map_and_marks_the_names() {
        for state in [state(7, 60000, &["10.0.1.5"], "k8s:a=b"), state(7, 50001, &["10.0.9.9"], "k8s:a=b")] {
            let endpoints = join(&[entry("10.0.1.5", 7, 50001)], &[state]);
            let found = endpoints.by_id(EndpointId(7)).unwrap();
            assert_eq!((found.identity, found.stale_names), (Identity(50001), true));
            assert_eq!(endpoints.by_ip(ip("10.0.9.9")), None);
        }
    }

    #[test]
    fn an_identity_that_is_not_resolved_yet_contradicts_nothing() {
        let endpoints = join(&[entry("10.0.1.5", 7, 0)], &[state(7, 50001, &["10.0.1.5"], "k8s:a=b")]);
        assert!(!endpoints.by_id(EndpointId(7)).unwrap().stale_names);
    }

    #[test]
    fn an_endpoint_without_state_file_has_no_names() {
        let endpoints = join(&[entry("10.0.1.5", 7, 50001)], &[]);
        let found = endpoints.by_ip(ip("10.0.1.5")).unwrap();
        assert_eq!((found.pod.as_str(), found.stale_names), ("", false));
    }

    #[test]
    fn a_state_file_alone_is_stale_unless_the_endpoint_is_special_or_the_map_unreadable() {
        let pod = state(7, 50001, &["10.0.1.5"], "k8s:a=b");
        let host = state(1, 1, &[], "reserved:host");
        let stale = |lxc: Option<&[LxcEntry]>, state: &Arc<EndpointState>| {
            Endpoints::join(lxc, [state].into_iter()).by_id(state.id).unwrap().stale_names
        };
        assert!(stale(Some(&[]), &pod));
        assert!(!stale(Some(&[]), &host));
        assert!(!stale(None, &pod));
    }

    #[test]
    fn node_addresses_are_no_endpoints() {
        let host = LxcEntry { flags: 1, ifindex: 0, ..entry("172.30.0.1", 0, 0) };
        let endpoints = join(&[host, entry("10.0.1.5", 7, 50001)], &[]);
        assert!(endpoints.is_node_ip(ip("172.30.0.1")) && !endpoints.is_node_ip(ip("10.0.1.5")));
        assert_eq!(endpoints.ips().collect::<Vec<_>>(), [ip("10.0.1.5")]);
        assert_eq!(endpoints.by_id(EndpointId(0)), None);
    }
}
