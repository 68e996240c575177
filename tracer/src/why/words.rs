//! Entries and identities in words.

use tracer_common::id::Identity;

use super::labels;
use crate::model::endpoint::Labels;
use crate::model::policy::{Direction, Key, Traffic};
use crate::output::protocol;

fn protocol_text(number: u8) -> String {
    protocol::name(number).map_or_else(|| format!("protocol {number}"), str::to_owned)
}

pub fn traffic(traffic: Traffic) -> String {
    match (traffic, traffic.ports()) {
        (Traffic::Any, _) => "any protocol and port".to_owned(),
        (Traffic::Protocol(number), _) => format!("{}, any port", protocol_text(number)),
        (Traffic::Ports { protocol: number @ (1 | 58), .. }, Some((first, last))) if first == last => {
            format!("{} type {first}", protocol_text(number))
        }
        (Traffic::Ports { protocol: number, .. }, Some((first, last))) if first == last => {
            format!("{} {first}", protocol_text(number))
        }
        (Traffic::Ports { protocol: number, .. }, ports) => {
            let (first, last) = ports.unwrap_or_default();
            format!("{} {first}-{last}", protocol_text(number))
        }
    }
}

/// Protocol and port of a packet.
pub fn packet(number: u8, port: Option<u16>) -> String {
    match (number, port) {
        (1 | 58, Some(icmp_type)) => format!("{} type {icmp_type}", protocol_text(number)),
        (_, Some(port)) => format!("{} {port}", protocol_text(number)),
        (_, None) => protocol_text(number),
    }
}

/// The number, and what it stands for where that is known.
pub fn who(identity: Identity, known: Option<&Labels>) -> String {
    if identity == Identity(0) {
        return "any identity".to_owned();
    }
    match known.map(short).filter(|text| !text.is_empty()) {
        Some(text) => format!("identity {identity} ({text})"),
        None => format!("identity {identity}"),
    }
}

/// Labels without those that Cilium generates, and without their source where it is Kubernetes.
pub fn short(known: &Labels) -> String {
    let telling = labels::telling(known);
    if telling.is_empty() {
        let all: Vec<&str> = known.iter().collect();
        return all.join(", ");
    }
    let namespace = labels::namespace(known).map(|namespace| format!("namespace {namespace}"));
    let own =
        telling.into_iter().map(|(key, value)| if value.is_empty() { key } else { format!("{key}={value}") });
    namespace.into_iter().chain(own).collect::<Vec<_>>().join(", ")
}

pub const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

/// `ingress, identity 12345, TCP 9090`
pub fn key(key: &Key) -> String {
    format!("{}, {}", direction(key.direction), key_of_peer(key))
}

/// `identity 12345, TCP 9090`
pub fn key_of_peer(key: &Key) -> String {
    format!("{}, {}", who(key.identity, None), traffic(key.traffic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_spoken_of_by_what_they_are_for() {
        for (entry, expected) in [
            (Traffic::Any, "any protocol and port"),
            (Traffic::Protocol(17), "UDP, any port"),
            (Traffic::port(6, 8080), "TCP 8080"),
            (Traffic::port(1, 8), "ICMP type 8"),
            (Traffic::Ports { protocol: 6, first: 9000, bits: 13 }, "TCP 9000-9007"),
            (Traffic::port(47, 1), "protocol 47 1"),
        ] {
            assert_eq!(traffic(entry), expected);
        }
    }

    #[test]
    fn identities_are_spoken_of_by_their_own_labels() {
        let pod = Labels::new(
            [
                "k8s:app=client",
                "k8s:io.cilium.k8s.policy.cluster=default",
                "k8s:io.kubernetes.pod.namespace=prod",
            ]
            .map(str::to_owned),
        );
        assert_eq!(who(Identity(7), Some(&pod)), "identity 7 (namespace prod, app=client)");
        let world = Labels::new(["cidr:10.0.0.0/8".to_owned(), "reserved:world".to_owned()]);
        assert_eq!(who(Identity(7), Some(&world)), "identity 7 (cidr:10.0.0.0/8, reserved:world)");
        assert_eq!(
            (who(Identity(7), None), who(Identity(0), None)),
            ("identity 7".into(), "any identity".into())
        );
    }
}
