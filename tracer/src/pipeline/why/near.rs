//! What comes close to an explanation: what the policy table itself offers, in words and with labels, and what
//! only the rest of the node can tell.

use std::net::IpAddr;

use tracer_common::id::{EndpointId, Identity};

use super::Asking;
use super::judge::Around;
use super::table::{Policy, ReadError};
use crate::cilium::ipcache::IpcacheEntry;
use crate::kernel::sockets::{self, Listeners};
use crate::model::endpoint::{IdentitySource, Labels};
use crate::model::names::Names as _;
use crate::model::policy::{Direction, Entry};
use crate::pipeline::home;
use crate::policy::advice::NearMiss;
use crate::policy::decision::{Query, Verdict};
use crate::why::answer::{Asked, Connection, Near, Party};
use crate::why::labels;
use crate::why::words::{traffic, who};

/// How many of a kind are told.
const MOST: usize = 5;

pub fn unreadable(error: &ReadError) -> Near {
    let kind = if matches!(error, ReadError::NoMap(_)) { "no_policy_map" } else { "policy_unreadable" };
    let hint = match error {
        ReadError::NoMap(_) => ": the agent has not finished it, or it is gone",
        _ => "",
    };
    Near::new(kind, format!("{error}{hint}"))
}

impl Asking {
    pub(super) fn near(
        &mut self,
        asked: &Asked,
        peer: &Party,
        misses: &[NearMiss],
        policy: &Policy,
        around: &Around<'_>,
    ) -> Vec<Near> {
        let mut near = Vec::new();
        self.of_table(&mut near, asked, misses);
        if asked.decision.verdict == Verdict::Denied {
            self.of_ipcache(&mut near, asked, peer, policy, around);
        }
        if asked.decision.verdict == Verdict::Redirected {
            self.of_proxy(&mut near, asked, around);
        }
        of_connection(&mut near, asked, around);
        self.near_endpoint(&mut near, asked);
        near
    }

    fn of_table(&mut self, near: &mut Vec<Near>, asked: &Asked, misses: &[NearMiss]) {
        let (mut peers, mut ports) = (0, 0);
        for miss in misses {
            match miss {
                NearMiss::SamePeer(entry) => {
                    peers += 1;
                    if peers <= MOST {
                        near.push(self.same_peer(asked, entry));
                    }
                }
                NearMiss::SamePort(entry) => {
                    ports += 1;
                    if ports <= MOST {
                        near.push(self.same_port(asked, entry));
                    }
                }
                NearMiss::CoveringDeny(entry) => near.push(self.with_entry("deny", entry, "is denied here")),
                NearMiss::HiddenAllow(entry) => {
                    near.push(self.with_entry("hidden_allow", entry, "is allowed, behind the deny"));
                }
                NearMiss::Empty(direction) => near.push(empty(*direction)),
                NearMiss::Full { entries, capacity } => near.push(Near::new(
                    "map_full",
                    format!(
                        "the policy map is full ({entries} of {capacity} entries): entries that the agent wants to \
                         add are missing"
                    ),
                )),
            }
        }
        let beyond = peers.saturating_sub(MOST) + ports.saturating_sub(MOST);
        if beyond > 0 {
            near.push(Near::new(
                "more",
                format!("and {beyond} more entries that nearly fit; `tracer policy get {}`", asked.endpoint),
            ));
        }
    }

    /// The other end itself, or many to which it belongs.
    fn same_peer(&mut self, asked: &Asked, entry: &Entry) -> Near {
        let (kind, who) = match entry.key.identity {
            identity if identity == asked.identity => {
                ("same_identity", who(identity, asked.labels.as_deref()))
            }
            Identity(0) => ("everybody", "everybody".to_owned()),
            many => ("everybody", who(many, self.node.view.labels(many).as_deref())),
        };
        let text = format!("{who} is let {} by {}", way(asked.direction), traffic(entry.key.traffic));
        Near { entry: Some(*entry), ..Near::new(kind, text) }
    }

    fn same_port(&mut self, asked: &Asked, entry: &Entry) -> Near {
        let labels = self.node.view.labels(entry.key.identity);
        let (lacking, beyond) = match (&asked.labels, &labels) {
            (Some(own), Some(other)) => labels::difference(own, other),
            _ => (Vec::new(), Vec::new()),
        };
        let mut text = format!(
            "{} is open to {}",
            traffic(entry.key.traffic),
            who(entry.key.identity, labels.as_deref())
        );
        // What tells pods apart says nothing about nodes and the world.
        let are_pods = [&asked.labels, &labels]
            .into_iter()
            .all(|labels| labels.as_deref().is_some_and(|labels| !labels::telling(labels).is_empty()));
        if are_pods && !lacking.is_empty() {
            text.push_str(&format!("; {} lacks {}", asked.identity, lacking.join(", ")));
        }
        Near { entry: Some(*entry), lacking, beyond, ..Near::new("same_port", text) }
    }

    fn with_entry(&mut self, kind: &'static str, entry: &Entry, what: &str) -> Near {
        let who = match entry.key.identity {
            Identity(0) => "everybody".to_owned(),
            identity => who(identity, self.node.view.labels(identity).as_deref()),
        };
        let text = format!("{who}, {} {what}", traffic(entry.key.traffic));
        Near { entry: Some(*entry), ..Near::new(kind, text) }
    }

    /// The address is taken for world, or for a wider prefix, while an identity exists that policy lets pass.
    fn of_ipcache(
        &mut self,
        near: &mut Vec<Near>,
        asked: &Asked,
        peer: &Party,
        policy: &Policy,
        around: &Around<'_>,
    ) {
        let Some(ip) = peer.address.filter(|_| peer.endpoint.is_none()) else { return };
        let is_world =
            matches!(asked.identity, Identity::WORLD | Identity::WORLD_IPV4 | Identity::WORLD_IPV6);
        let names = self.node.view.dns_names(asked.endpoint, ip);
        let mut found: Vec<(Identity, String)> = Vec::new();
        for (identity, labels) in self.node.view.local_identities() {
            if identity != asked.identity
                && let Some(label) = would_match(labels, ip, &names, is_world)
            {
                found.push((identity, label));
            }
        }
        found.sort_unstable();
        for (identity, label) in found {
            let query = Query {
                identity,
                ..Query::new(asked.direction, identity, around.packet.protocol, around.packet.port)
            };
            let decision = crate::policy::evaluate::decide(&policy.table, &query);
            if !decision.is_allowed() {
                continue;
            }
            let says = match (peer.identity_source, peer.chain.first()) {
                (IdentitySource::Ipcache, Some(IpcacheEntry { address, prefix_length, .. })) => {
                    format!("the ipcache has {} for it ({address}/{prefix_length})", asked.identity)
                }
                _ => format!("the ipcache has no entry for it, so it is world ({})", asked.identity),
            };
            near.push(Near {
                entry: decision.winner,
                ..Near::new(
                    "identity_not_in_ipcache",
                    format!(
                        "{ip}: identity {identity} ({label}) would be let {}, but {says}",
                        way(asked.direction)
                    ),
                )
            });
        }
    }

    /// A proxy that nobody runs swallows the packet.
    fn of_proxy(&mut self, near: &mut Vec<Near>, asked: &Asked, around: &Around<'_>) {
        let port = asked.decision.proxy_port;
        // What listens elsewhere, or listened at another time, nobody knows.
        let view = &self.node.view;
        if port == 0 || view.when().is_past() || home::network_namespace(view.lxc_entries()) == 0 {
            return;
        }
        let Ok(Listeners { tcp, udp }) = sockets::listeners() else { return };
        let is_open = match around.packet.protocol {
            17 => udp.contains(&port),
            _ => tcp.contains(&port),
        };
        if !is_open {
            near.push(Near::new(
                "proxy_not_listening",
                format!("nothing listens on proxy port {port} here: what is redirected there is lost"),
            ));
        }
    }

    fn unfinished(&self, id: EndpointId) -> Option<Near> {
        unfinished(id, &self.node.view.state_files()?.names().ok()?)
    }

    fn near_endpoint(&mut self, near: &mut Vec<Near>, asked: &Asked) {
        let Some(endpoint) = self.node.view.endpoints().by_id(asked.endpoint) else { return };
        if endpoint.stale_names {
            near.push(Near::new(
                "endpoint_stale",
                format!(
                    "endpoint {}: the agent's files and the endpoint map disagree: half written, or the id is re-used",
                    endpoint.id
                ),
            ));
        }
        near.extend(self.unfinished(endpoint.id));
    }
}

/// What the directories of the agent say about its last try to renew an endpoint.
fn unfinished(id: EndpointId, names: &[String]) -> Option<Near> {
    let has = |form: &str| names.iter().any(|name| name.strip_prefix(&id.to_string()) == Some(form));
    if has("_next_fail") {
        let text = format!(
            "endpoint {id}: the agent failed to renew it (state/{id}_next_fail): its policy may be an old one"
        );
        return Some(Near::new("regeneration_failed", text));
    }
    let is_first = has("_next") && !has("");
    is_first.then(|| {
        Near::new(
            "endpoint_unfinished",
            format!("endpoint {id}: the agent is still making it (state/{id}_next)"),
        )
    })
}

fn of_connection(near: &mut Vec<Near>, asked: &Asked, around: &Around<'_>) {
    let connection = match asked.direction {
        Direction::Egress => around.tracked.egress,
        Direction::Ingress => around.tracked.ingress,
    };
    match (connection, asked.decision.verdict) {
        (Connection::Established, Verdict::Denied) => near.push(Near::new(
            "stale_connection",
            "connection tracking still has this connection: it was allowed when it began, policy has changed since",
        )),
        (Connection::Reply, Verdict::Allowed | Verdict::Redirected) if around.tracked.expired => near.push(Near::new(
            "expired_connection",
            "it passes by a connection whose time is over: as soon as its entry is removed, policy is asked",
        )),
        _ => {}
    }
}

fn empty(direction: Direction) -> Near {
    let text = match direction {
        Direction::Ingress => "the policy map has no entry for ingress: nothing at all is let in",
        Direction::Egress => "the policy map has no entry for egress: nothing at all is let out",
    };
    Near::new("map_empty", text)
}

const fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "in",
        Direction::Egress => "out",
    }
}

/// The label by which a node-local identity is meant for this address.
fn would_match(labels: &Labels, ip: IpAddr, names: &[std::sync::Arc<str>], is_world: bool) -> Option<String> {
    for label in labels.iter() {
        if let Some(prefix) = label.strip_prefix("cidr:")
            && is_world
            && covers(&labels::cidr_text(prefix), ip)
        {
            return Some(label.to_owned());
        }
        if let Some(pattern) = label.strip_prefix("fqdn:")
            && names.iter().any(|name| matches_pattern(pattern, name))
        {
            return Some(label.to_owned());
        }
    }
    None
}

fn covers(prefix: &str, ip: IpAddr) -> bool {
    let Some((address, bits)) = prefix.split_once('/') else { return false };
    let (Ok(address), Ok(prefix_length)) = (address.parse(), bits.parse()) else { return false };
    let entry = IpcacheEntry {
        address,
        prefix_length,
        cluster_id: 0,
        identity: Identity(0),
        tunnel_endpoint: None,
        encrypt_key: 0,
        flags: 0,
    };
    entry.covers(ip)
}

/// `*` stands for any run of characters within one label of a name.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.trim_end_matches('.'), name.trim_end_matches('.'));
    if pattern == "*" {
        return true;
    }
    let (mut patterns, mut labels) = (pattern.split('.'), name.split('.'));
    loop {
        match (patterns.next(), labels.next()) {
            (None, None) => return true,
            (Some(pattern), Some(label)) if matches_label(pattern, label) => {}
            _ => return false,
        }
    }
}

fn matches_label(pattern: &str, label: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern.eq_ignore_ascii_case(label) };
    let Some(rest) = label.strip_prefix(head) else { return false };
    (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| matches_label(tail, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_names_stay_within_a_label() {
        for (pattern, name, expected) in [
            ("api.example.test", "api.example.test", true),
            ("api.example.test.", "api.example.test", true),
            ("*.example.test", "api.example.test", true),
            ("*.example.test", "a.b.example.test", false),
            ("a*i.example.test", "api.example.test", true),
            ("*", "anything.at.all", true),
            ("*.example.test", "example.test", false),
        ] {
            assert_eq!(matches_pattern(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn directories_tell_of_an_endpoint_that_was_not_finished() {
        let kind = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            unfinished(EndpointId(7), &names).map(|near| near.kind)
        };
        assert_eq!(kind(&["7", "7_next_fail", "70"]), Some("regeneration_failed"));
        assert_eq!(kind(&["7_next"]), Some("endpoint_unfinished"));
        assert_eq!((kind(&["7", "7_next"]), kind(&["77_next_fail", "globals"])), (None, None));
    }

    #[test]
    fn a_prefix_of_a_label_covers_its_addresses() {
        assert!(covers("10.0.0.0/8", "10.1.2.3".parse().unwrap()));
        assert!(!covers("10.0.0.0/8", "11.1.2.3".parse().unwrap()));
        assert!(covers("2001:db8:1::/64", "2001:db8:1::5".parse().unwrap()));
        assert!(!covers("nonsense", "10.1.2.3".parse().unwrap()));
    }
}
