//! The narrowest CiliumNetworkPolicy that would allow a packet that no entry matches, as YAML. Says why there is
//! none where no policy helps, or where its text cannot be known here.

use std::fmt::Write as _;
use std::net::IpAddr;

use tracer_common::id::{Identity, IdentityScope};

use super::answer::{Asked, Party, Place};
use super::labels;
use crate::cilium::reason;
use crate::model::endpoint::Labels;
use crate::model::policy::Direction;
use crate::policy::decision::reason as drop;

/// What to do about a denial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suggestion {
    /// Documents for `kubectl apply`, "" if there are none.
    pub yaml: String,
    /// Where no policy is suggested: why not, and what else would help.
    pub notes: Vec<String>,
}

/// The packet that is to pass.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub protocol: u8,
    /// For ICMP the type.
    pub port: Option<u16>,
}

impl Suggestion {
    /// Adds what would change the answer of one side. `own` has the policy, `peer` is the other end.
    pub fn add(&mut self, asked: &Asked, own: &Party, peer: &Party, packet: Packet) {
        match document(asked, own, peer, packet) {
            Ok(document) => {
                if own.place == Place::Host {
                    self.notes.push(
                        "the policy selects every node: name yours by its labels in nodeSelector".to_owned(),
                    );
                }
                if !self.yaml.is_empty() {
                    self.yaml.push_str("---\n");
                }
                self.yaml.push_str(&document);
            }
            Err(why) => self.notes.push(why),
        }
    }
}

fn document(asked: &Asked, own: &Party, peer: &Party, packet: Packet) -> Result<String, String> {
    match asked.decision.reason {
        Some(drop::NO_ENTRY | drop::FRAGMENT) => {}
        Some(drop::DENY) => return Err(denied(asked)),
        Some(reason @ (drop::AUTH_REQUIRED | drop::NO_NODE_ID)) => {
            return Err(format!(
                "{}: a rule asks for authentication and there is none: no further rule helps, the ends have to \
                 authenticate (`authentication.mode` of the rule, SPIRE, cilium_auth_map)",
                reason::text(reason).unwrap_or("denied")
            ));
        }
        _ => return Err("no policy decides this: see the steps".to_owned()),
    }
    if asked.map.as_ref().is_some_and(|map| map.entries >= u64::from(map.max_entries)) {
        return Err(
            "the policy map is full: a further rule would not fit; make it larger (bpf-policy-map-max) or the \
             rules fewer"
                .to_owned(),
        );
    }
    let subject = Subject::of(own)?;
    let peers = peers(asked.direction, own, peer)?;
    let ports = ports(packet)?;
    Ok(text(asked.direction, &subject, &peers, &ports, &name(asked.direction, own, peer, packet)))
}

fn denied(asked: &Asked) -> String {
    let who = match asked.decision.winner.map(|entry| entry.key.identity) {
        Some(Identity(0)) | None => "everybody".to_owned(),
        Some(identity) => format!("identity {identity}"),
    };
    let (section, of) = match asked.direction {
        Direction::Ingress => ("ingressDeny", asked.name.as_str()),
        Direction::Egress => ("egressDeny", asked.name.as_str()),
    };
    format!(
        "a deny entry for {who} decides: no allow rule overrides it. Narrow or remove the {section} rule that \
         selects {of}"
    )
}

/// Whose policy it is to be.
struct Subject {
    kind: &'static str,
    namespace: Option<String>,
    selector: &'static str,
    labels: Vec<(String, String)>,
}

impl Subject {
    fn of(own: &Party) -> Result<Self, String> {
        if own.place == Place::Host {
            return Ok(Self {
                kind: "CiliumClusterwideNetworkPolicy",
                namespace: None,
                selector: "nodeSelector",
                labels: Vec::new(),
            });
        }
        let unknown =
            || format!("the labels of {} are not known here: no policy can be written for it", own.typed);
        let all = own.endpoint.as_ref().map(|endpoint| &*endpoint.labels).ok_or_else(unknown)?;
        let labels = labels::telling(all);
        let namespace = labels::namespace(all);
        match (labels.is_empty(), namespace) {
            (false, Some(namespace)) => Ok(Self {
                kind: "CiliumNetworkPolicy",
                namespace: Some(namespace.to_owned()),
                selector: "endpointSelector",
                labels,
            }),
            (true, _) if labels::reserved(all).next().is_some() => {
                Err(format!("{} is not a pod: policies of people do not select it", own.typed))
            }
            _ => Err(unknown()),
        }
    }
}

/// The other end in a rule.
enum Peers {
    /// `fromEndpoints`, `toEndpoints`.
    Endpoints(Vec<(String, String)>),
    Entity(String),
    Cidr(String),
    Fqdn(String),
}

fn peers(direction: Direction, own: &Party, peer: &Party) -> Result<Peers, String> {
    let labels = peer.labels.as_deref();
    let reserved = labels.and_then(|labels| labels::reserved(labels).next());
    let address = peer.address.map(host_prefix);
    match (peer.identity.scope(), labels) {
        (IdentityScope::Local, Some(labels)) => {
            let name = labels::of_source(labels, "fqdn").filter(|_| direction == Direction::Egress);
            if let Some(name) = name {
                return Ok(Peers::Fqdn(name.to_owned()));
            }
            let prefix = labels::of_source(labels, "cidr").map(labels::cidr_text);
            address.or(prefix).map(Peers::Cidr).ok_or_else(|| no_labels(peer))
        }
        (IdentityScope::Local, None) => address.map(Peers::Cidr).ok_or_else(|| no_labels(peer)),
        (IdentityScope::RemoteNode, _) => Ok(Peers::Entity("remote-node".to_owned())),
        _ => match (reserved, labels) {
            (Some("world" | "world-ipv4" | "world-ipv6"), _) if address.is_some() => {
                Ok(Peers::Cidr(address.unwrap_or_default()))
            }
            (Some(name), _) => Ok(Peers::Entity(name.to_owned())),
            (None, Some(labels)) => endpoints(own, labels).ok_or_else(|| no_labels(peer)),
            (None, None) => Err(no_labels(peer)),
        },
    }
}

fn no_labels(peer: &Party) -> String {
    format!(
        "the labels of identity {} are not on this node: `kubectl get ciliumidentity {} -o yaml` has them for a rule",
        peer.identity, peer.identity
    )
}

/// Labels of the other pod; its namespace and cluster only where they are not those of the policy.
fn endpoints(own: &Party, peer: &Labels) -> Option<Peers> {
    const NAMESPACE: &str = "io.kubernetes.pod.namespace";
    const CLUSTER: &str = "io.cilium.k8s.policy.cluster";
    let mut wanted = labels::telling(peer);
    if wanted.is_empty() {
        return None;
    }
    let own = own.endpoint.as_ref().map(|endpoint| &*endpoint.labels);
    for key in [NAMESPACE, CLUSTER] {
        let (ours, theirs) = (own.and_then(|labels| labels.value_of(key)), peer.value_of(key));
        if let Some(theirs) = theirs.filter(|theirs| ours != Some(theirs)) {
            wanted.push((format!("k8s:{key}"), theirs.to_owned()));
        }
    }
    Some(Peers::Endpoints(wanted))
}

fn host_prefix(ip: IpAddr) -> String {
    format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 })
}

enum Ports {
    /// Protocol by name, port as text; `None`: all ports of it.
    Port(&'static str, Option<u16>),
    Icmp {
        family: &'static str,
        icmp_type: u16,
    },
}

fn ports(packet: Packet) -> Result<Ports, String> {
    match (packet.protocol, packet.port) {
        (6, port) => Ok(Ports::Port("TCP", port)),
        (17, port) => Ok(Ports::Port("UDP", port)),
        (132, port) => Ok(Ports::Port("SCTP", port)),
        (1, Some(icmp_type)) => Ok(Ports::Icmp { family: "IPv4", icmp_type }),
        (58, Some(icmp_type)) => Ok(Ports::Icmp { family: "IPv6", icmp_type }),
        (other, _) => Err(format!("policies name TCP, UDP, SCTP and ICMP, not protocol {other}")),
    }
}

/// A name that Kubernetes takes.
fn name(direction: Direction, own: &Party, peer: &Party, packet: Packet) -> String {
    let short = |party: &Party| -> String {
        let pod = party.endpoint.as_ref().map(|e| e.pod.as_str()).filter(|pod| !pod.is_empty());
        let app = party.labels.as_deref().and_then(|labels| {
            let telling = labels::telling(labels);
            telling.into_iter().next().map(|(_, value)| value)
        });
        let reserved = party.labels.as_deref().and_then(|l| labels::reserved(l).next().map(str::to_owned));
        app.or(pod.map(str::to_owned)).or(reserved).unwrap_or_else(|| party.identity.to_string())
    };
    let (from, to) = match direction {
        Direction::Ingress => (short(peer), short(own)),
        Direction::Egress => (short(own), short(peer)),
    };
    let protocol = crate::output::protocol::name(packet.protocol).unwrap_or("ip");
    let mut text = format!("allow-{from}-to-{to}-{protocol}");
    if let Some(port) = packet.port {
        let _ = write!(text, "-{port}");
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let text: String = text.chars().map(plain).take(63).collect();
    text.trim_matches('-').to_owned()
}

fn text(direction: Direction, subject: &Subject, peers: &Peers, ports: &Ports, name: &str) -> String {
    let (section, side) = match direction {
        Direction::Ingress => ("ingress", "from"),
        Direction::Egress => ("egress", "to"),
    };
    let mut out =
        format!("apiVersion: cilium.io/v2\nkind: {}\nmetadata:\n  name: {}\n", subject.kind, scalar(name));
    if let Some(namespace) = &subject.namespace {
        let _ = writeln!(out, "  namespace: {}", scalar(namespace));
    }
    let _ =
        writeln!(out, "spec:\n  {}:{}", subject.selector, if subject.labels.is_empty() { " {}" } else { "" });
    match_labels(&mut out, "    ", &subject.labels);
    let _ = writeln!(out, "  {section}:");
    match peers {
        Peers::Endpoints(labels) => {
            let _ = writeln!(out, "  - {side}Endpoints:\n    - matchLabels:");
            key_values(&mut out, "        ", labels);
        }
        Peers::Entity(entity) => {
            let _ = writeln!(out, "  - {side}Entities:\n    - {}", scalar(entity));
        }
        Peers::Cidr(cidr) => {
            let _ = writeln!(out, "  - {side}CIDR:\n    - {}", scalar(cidr));
        }
        Peers::Fqdn(pattern) => {
            let key = if pattern.contains('*') { "matchPattern" } else { "matchName" };
            let _ = writeln!(out, "  - {side}FQDNs:\n    - {key}: {}", scalar(pattern));
        }
    }
    match ports {
        Ports::Port(protocol, port) => {
            // Port 0 stands for every port of the protocol.
            let port = port.unwrap_or_default();
            let _ = writeln!(
                out,
                "    toPorts:\n    - ports:\n      - port: \"{port}\"\n        protocol: {protocol}"
            );
        }
        Ports::Icmp { family, icmp_type } => {
            let _ = writeln!(
                out,
                "    icmps:\n    - fields:\n      - type: {icmp_type}\n        family: {family}"
            );
        }
    }
    out
}

fn match_labels(out: &mut String, indent: &str, labels: &[(String, String)]) {
    if !labels.is_empty() {
        let _ = writeln!(out, "{indent}matchLabels:");
        key_values(out, &format!("{indent}  "), labels);
    }
}

fn key_values(out: &mut String, indent: &str, labels: &[(String, String)]) {
    for (key, value) in labels {
        let _ = writeln!(out, "{indent}{}: {}", scalar(key), scalar(value));
    }
}

/// A YAML string: as it is where nothing can misread it, else in quotes. Labels may come from others.
fn scalar(text: &str) -> String {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'/');
    let starts_well = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    // A colon is a word's part unless a space or the end follows.
    let words = text.split(':').all(|part| !part.is_empty() && part.bytes().all(is_word));
    const WORDS_WITH_MEANING: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if starts_well && words && !WORDS_WITH_MEANING.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return text.to_owned();
    }
    let mut out = vec![b'"'];
    crate::output::escape::json(&mut out, text);
    out.push(b'"');
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests;
