//! The documents beside this file are written by hand; `tests/deploy` holds them against the CRD's types.

use std::sync::Arc;

use tracer_common::id::EndpointId;

use super::*;
use crate::model::endpoint::{IdentitySource, LocalEndpoint};
use crate::model::policy::{Entry, Key, Traffic};
use crate::policy::decision::{Decision, MatchType, Verdict};

const TCP_9090: Packet = Packet { protocol: 6, port: Some(9090) };

fn labels(list: &[&str]) -> Arc<Labels> {
    Arc::new(Labels::new(list.iter().map(|label| (*label).to_owned())))
}

fn pod(namespace: &str, name: &str, identity: u32, own: &[&str]) -> Party {
    let mut all: Vec<String> = own.iter().map(|label| (*label).to_owned()).collect();
    all.push(format!("k8s:io.kubernetes.pod.namespace={namespace}"));
    all.push("k8s:io.cilium.k8s.policy.cluster=default".to_owned());
    let labels = Arc::new(Labels::new(all));
    let endpoint = LocalEndpoint {
        id: EndpointId(7),
        identity: Identity(identity),
        labels: Arc::clone(&labels),
        namespace: namespace.to_owned(),
        pod: name.to_owned(),
        ..LocalEndpoint::default()
    };
    Party {
        typed: format!("{namespace}/{name}"),
        address: Some("10.0.0.1".parse().unwrap()),
        port: None,
        place: Place::Here,
        identity: Identity(identity),
        identity_source: IdentitySource::Endpoint,
        labels: Some(labels),
        endpoint: Some(Arc::new(endpoint)),
        chain: Vec::new(),
        dns_names: Vec::new(),
    }
}

fn outside(address: &str, identity: u32, list: &[&str]) -> Party {
    Party {
        typed: address.to_owned(),
        address: address.parse().ok(),
        place: Place::Outside,
        identity: Identity(identity),
        labels: Some(labels(list)),
        endpoint: None,
        ..pod("x", "y", 1, &[])
    }
}

fn asked(direction: Direction, winner: Option<Entry>) -> Asked {
    let reason = if winner.is_some() { drop::DENY } else { drop::NO_ENTRY };
    Asked {
        direction,
        endpoint: EndpointId(7),
        name: "default/server".to_owned(),
        identity: Identity(1),
        labels: None,
        map: None,
        decision: Decision {
            verdict: Verdict::Denied,
            reason: Some(reason),
            match_type: MatchType::None,
            winner,
            other: None,
            proxy_port: 0,
            auth_type: 0,
            audited: false,
            cookie: 0,
            steps: Vec::new(),
        },
        missing: None,
        near: Vec::new(),
    }
}

fn suggest(direction: Direction, own: &Party, peer: &Party, packet: Packet) -> Suggestion {
    let mut suggestion = Suggestion::default();
    suggestion.add(&asked(direction, None), own, peer, packet);
    suggestion
}

#[test]
fn a_pod_of_the_same_namespace_is_named_by_its_own_labels() {
    let own = pod("default", "server-0", 2, &["k8s:app=server"]);
    let peer = pod("default", "client-0", 3, &["k8s:app=client", "k8s:tier=frontend"]);
    let yaml = suggest(Direction::Ingress, &own, &peer, TCP_9090).yaml;
    assert_eq!(yaml, include_str!("same_namespace.yaml"));
}

#[test]
fn a_pod_of_another_namespace_is_named_with_it() {
    let own = pod("default", "client-0", 3, &["k8s:app=client"]);
    let peer = pod("kube-system", "dns-0", 4, &["k8s:k8s-app=kube-dns"]);
    let yaml = suggest(Direction::Egress, &own, &peer, Packet { protocol: 17, port: Some(53) }).yaml;
    assert_eq!(yaml, include_str!("other_namespace.yaml"));
}

#[test]
fn the_world_is_an_address_and_other_reserved_ones_are_entities() {
    let own = pod("default", "client-0", 3, &["k8s:app=client"]);
    let rule = |peer: &Party, packet| suggest(Direction::Egress, &own, peer, packet).yaml;
    let world = rule(&outside("198.51.100.7", 9, &["reserved:world-ipv4"]), TCP_9090);
    assert_eq!(world, include_str!("address.yaml"));
    let nowhere = rule(&Party { address: None, ..outside("", 2, &["reserved:world"]) }, TCP_9090);
    assert_eq!(nowhere, include_str!("world.yaml"));
    let api =
        rule(&outside("192.0.2.100", 7, &["reserved:kube-apiserver", "reserved:remote-node"]), TCP_9090);
    assert_eq!(api, include_str!("apiserver.yaml"));
    let prefix = rule(&outside("2001:db8:1::5", 16_777_217, &["cidr:2001-db8-1--0/64"]), TCP_9090);
    assert_eq!(prefix, include_str!("address6.yaml"));
    let name = rule(&outside("198.51.100.80", 16_777_219, &["fqdn:*.example.test"]), TCP_9090);
    assert_eq!(name, include_str!("fqdn.yaml"));
}

#[test]
fn the_hosts_own_policy_selects_nodes() {
    let own = Party { place: Place::Host, ..outside("192.0.2.1", 1, &["reserved:host"]) };
    let peer = pod("default", "client-0", 3, &["k8s:app=client"]);
    let suggestion = suggest(Direction::Ingress, &own, &peer, TCP_9090);
    assert_eq!(suggestion.yaml, include_str!("host.yaml"));
    assert!(suggestion.notes[0].contains("selects every node"), "{:?}", suggestion.notes);
}

#[test]
fn icmp_has_a_section_of_its_own() {
    let own = pod("default", "server-0", 2, &["k8s:app=server"]);
    let peer = pod("default", "client-0", 3, &["k8s:app=client"]);
    let echo = Packet { protocol: 58, port: Some(128) };
    let yaml = suggest(Direction::Ingress, &own, &peer, echo).yaml;
    assert_eq!(yaml, include_str!("icmp6.yaml"));
}

#[test]
fn where_no_policy_helps_or_can_be_known_it_says_so() {
    let own = pod("default", "server-0", 2, &["k8s:app=server"]);
    let peer = pod("default", "client-0", 3, &["k8s:app=client"]);
    let deny = Entry::deny(Key {
        direction: Direction::Ingress,
        identity: Identity(3),
        traffic: Traffic::port(6, 9090),
    });
    let mut suggestion = Suggestion::default();
    suggestion.add(&asked(Direction::Ingress, Some(deny)), &own, &peer, TCP_9090);
    assert_eq!(suggestion.yaml, "");
    assert!(suggestion.notes[0].starts_with("a deny entry for identity 3 decides"), "{:?}", suggestion.notes);

    let unknown = Party { labels: None, ..outside("10.1.0.9", 45678, &[]) };
    let note = &suggest(Direction::Ingress, &own, &unknown, TCP_9090).notes[0];
    assert!(note.contains("kubectl get ciliumidentity 45678"), "{note}");
    let gre = Packet { protocol: 47, port: None };
    assert!(suggest(Direction::Ingress, &own, &peer, gre).notes[0].contains("not protocol 47"));
}

#[test]
fn values_that_yaml_would_misread_are_quoted() {
    for (value, expected) in [
        ("shop", "shop"),
        ("app.kubernetes.io/name", "app.kubernetes.io/name"),
        ("k8s:io.kubernetes.pod.namespace", "k8s:io.kubernetes.pod.namespace"),
        ("", "\"\""),
        ("true", "\"true\""),
        ("No", "\"No\""),
        ("1.5", "\"1.5\""),
        ("a: b", "\"a: b\""),
        ("a\nb: c", "\"a\\nb: c\""),
        ("- x", "\"- x\""),
    ] {
        assert_eq!(scalar(value), expected);
    }
}
