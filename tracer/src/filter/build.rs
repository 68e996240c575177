//! From filter flags, in the order they were typed, to a [`FilterSet`]: Hubble's rules for which flag means
//! which end, what `--not` negates, how namespaces apply to pods, and which flags cannot be combined.
//!
//! A flag without `from-`/`to-` means either end. Hubble does this with two conjunctions, one for the source and
//! one for the destination, so several such flags speak of the same end: `--pod db --port 5432` asks for
//! packets from or to port 5432 *of* db.

use std::str::FromStr;

use tracer_common::id::{EndpointId, Identity};

use super::end::EndFilter;
use super::label::Selector;
use super::pattern::{Glob, Net, PodPattern, WorkloadPattern};
use super::{Conjunction, EventType, FilterSet, IpVersion, KernelReason, NodeCondition};
use crate::cilium::{identity, notice, reason};
use crate::model::flow::{Direction, Verdict, message_type};
use crate::model::packet::TcpFlags;
use crate::model::reason::DropReason;

/// Groups of flags of which only one may be used (per allow or deny list).
const CONFLICTS: &[&[&str]] = &[
    &[
        "from-fqdn",
        "from-ip",
        "ip",
        "fqdn",
        "from-namespace",
        "namespace",
        "from-all-namespaces",
        "all-namespaces",
    ],
    &["from-fqdn", "from-ip", "ip", "fqdn", "from-pod", "pod"],
    &["to-fqdn", "to-ip", "ip", "fqdn", "to-namespace", "namespace", "to-all-namespaces", "all-namespaces"],
    &["to-fqdn", "to-ip", "ip", "fqdn", "to-pod", "pod"],
    &["to-pod", "namespace", "all-namespaces"],
    &["from-pod", "namespace", "all-namespaces"],
    &["label", "from-label"],
    &["label", "to-label"],
    &["port", "to-port"],
    &["port", "from-port"],
    &["identity", "to-identity"],
    &["identity", "from-identity"],
    &["workload", "to-workload"],
    &["workload", "from-workload"],
    &["cluster", "to-cluster"],
    &["cluster", "from-cluster"],
    &["endpoint", "to-endpoint"],
    &["endpoint", "from-endpoint"],
];

/// Why the flags make no filter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("filters --{0} and --{1} cannot be combined")]
    Conflict(&'static str, &'static str),
    #[error("namespace conflict: {namespace:?} does not contain {pod:?}")]
    Namespace { namespace: String, pod: String },
    #[error("trailing --not found in the arguments")]
    TrailingNot,
    #[error("consecutive --not statements")]
    ConsecutiveNot,
    #[error("invalid --{flag} value `{value}`: {problem}")]
    Value { flag: String, value: String, problem: String },
}

/// Takes the flags one after the other.
#[derive(Debug, Default)]
pub struct FilterBuilder {
    allow: Tracker,
    deny: Tracker,
    negate_next: bool,
}

impl FilterBuilder {
    /// `--not`: the next flag goes to the deny list.
    pub fn not(&mut self) -> Result<(), FilterError> {
        if self.negate_next {
            return Err(FilterError::ConsecutiveNot);
        }
        self.negate_next = true;
        Ok(())
    }

    /// One flag, named without its dashes. Flags without a value (`ipv4`, `all-namespaces`) ignore `value`.
    pub fn set(&mut self, flag: &str, value: &str) -> Result<(), FilterError> {
        let negated = std::mem::take(&mut self.negate_next);
        let list = if negated { &mut self.deny } else { &mut self.allow };
        list.set(flag, value)
    }

    pub fn finish(self) -> Result<FilterSet, FilterError> {
        if self.negate_next {
            return Err(FilterError::TrailingNot);
        }
        Ok(FilterSet { allow: self.allow.finish(), deny: self.deny.finish() })
    }
}

/// Conditions by the names of their flags, in their `from-` and `to-` forms where there are such. All must hold;
/// none excludes another.
pub fn conjunction<'a>(
    conditions: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Conjunction, FilterError> {
    let mut tracker = Tracker::default();
    for (flag, value) in conditions {
        tracker.apply(flag, value)?;
    }
    Ok(with_pods(tracker.left, &tracker.left_pods))
}

/// Which end a flag speaks of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Source,
    Destination,
    Either,
}

/// Pods as typed, before namespaces are put in front of them.
#[derive(Debug, Default)]
struct PodNames {
    source: Vec<String>,
    destination: Vec<String>,
}

/// One list (allow or deny) in the making: `left` reads flags for either end as the source, `right` as the
/// destination.
#[derive(Debug, Default)]
struct Tracker {
    left: Conjunction,
    right: Conjunction,
    left_pods: PodNames,
    right_pods: PodNames,
    namespaces: Vec<String>,
    source_namespaces: Vec<String>,
    destination_namespaces: Vec<String>,
    used: Vec<String>,
}

impl Tracker {
    fn set(&mut self, flag: &str, value: &str) -> Result<(), FilterError> {
        if !self.used.iter().any(|used| used == flag) {
            self.used.push(flag.to_owned());
            self.check_conflicts()?;
        }
        self.apply(flag, value)?;
        self.check_namespaces()
    }

    fn apply(&mut self, flag: &str, value: &str) -> Result<(), FilterError> {
        let invalid =
            |problem: String| FilterError::Value { flag: flag.to_owned(), value: value.to_owned(), problem };
        self.set_common(flag, value)
            .or_else(|| self.set_for_end(flag, value))
            .unwrap_or(Ok(()))
            .map_err(invalid)
    }

    fn check_conflicts(&self) -> Result<(), FilterError> {
        let used = |flag: &&&'static str| self.used.iter().any(|used| used == **flag);
        for group in CONFLICTS {
            let mut found = group.iter().filter(used);
            if let (Some(first), Some(second)) = (found.next(), found.next()) {
                return Err(FilterError::Conflict(first, second));
            }
        }
        Ok(())
    }

    /// Flags that do not speak of an end. `None`: not one of these.
    fn set_common(&mut self, flag: &str, value: &str) -> Option<Result<(), String>> {
        let set: Result<(), String> = match flag {
            "type" => parse_event_type(value).map(|t| self.both(|c| c.event_types.push(t))),
            "verdict" => parse_verdict(value).map(|v| self.both(|c| c.verdicts.push(v))),
            "drop-reason-desc" => parse_reason(value).map(|r| self.both(|c| c.drop_reasons.push(r))),
            "kernel-reason" => {
                parse_kernel_reason(value).map(|r| self.both(|c| c.kernel_reasons.push(r.clone())))
            }
            "protocol" => parse_protocol(value).map(|p| self.both(|c| c.protocols.extend_from_slice(&p))),
            "tcp-flags" => parse_tcp_flags(value).map(|f| self.both(|c| c.tcp_flags.push(f))),
            "traffic-direction" => parse_direction(value).map(|d| self.both(|c| c.directions.push(d))),
            "ipv4" | "ipv6" => parse_ip_version(flag).map(|v| self.both(|c| c.ip_versions.push(v))),
            "ip-version" => parse_ip_version(value).map(|v| self.both(|c| c.ip_versions.push(v))),
            "interface" => not_empty(value).map(|v| self.both(|c| c.interfaces.push(Glob::new(v)))),
            "ip-trace-id" => parse_trace_id(value).map(|id| self.both(|c| c.ip_trace_ids.push(id))),
            "encrypted" | "unencrypted" => {
                self.both(|c| c.encrypted.push(flag == "encrypted"));
                Ok(())
            }
            "snat-ip" => parse(value).map(|net: Net| self.both(|c| c.sources_xlated.push(net))),
            "node-name" => parse_node(value).map(|node| self.both(|c| c.nodes.add(node.clone()))),
            _ => return None,
        };
        Some(set)
    }

    /// Flags with `from-` and `to-` forms. `None`: not one of these.
    fn set_for_end(&mut self, flag: &str, value: &str) -> Option<Result<(), String>> {
        let (end, base) = match (flag.strip_prefix("from-"), flag.strip_prefix("to-")) {
            (Some(base), _) => (End::Source, base),
            (_, Some(base)) => (End::Destination, base),
            _ => (End::Either, flag),
        };
        let set = match base {
            "pod" => not_empty(value).map(|v| self.add_pod(end, v)),
            "namespace" => parse_namespace(value).map(|v| self.namespaces_of(end).push(v.to_owned())),
            "all-namespaces" => Ok(String::new()).map(|any| self.namespaces_of(end).push(any)),
            "label" => Selector::parse(value)
                .map_err(|e| e.to_string())
                .map(|selector| self.at(end, |e| e.labels.push(selector.clone()))),
            "workload" => {
                not_empty(value).map(|v| self.at(end, |e| e.workloads.push(WorkloadPattern::new(v))))
            }
            "cluster" => not_empty(value).map(|v| self.at(end, |e| e.clusters.push(Glob::new(v)))),
            "identity" => parse_identity(value).map(|id| self.at(end, |e| e.identities.push(id))),
            "endpoint" => parse_endpoint(value).map(|id| self.at(end, |e| e.endpoints.push(id))),
            "ip" => parse(value).map(|net: Net| self.at(end, |e| e.nets.push(net))),
            "port" => parse(value).map(|port| self.at(end, |e| e.ports.push(port))),
            "fqdn" => parse_dns_name(value).map(|name| self.at(end, |e| e.names.push(name.clone()))),
            _ => return None,
        };
        Some(set)
    }

    fn both(&mut self, mut change: impl FnMut(&mut Conjunction)) {
        change(&mut self.left);
        change(&mut self.right);
    }

    fn at(&mut self, end: End, mut change: impl FnMut(&mut EndFilter)) {
        change(if end == End::Destination { &mut self.left.destination } else { &mut self.left.source });
        change(if end == End::Source { &mut self.right.source } else { &mut self.right.destination });
    }

    fn add_pod(&mut self, end: End, pod: &str) {
        let left = &mut self.left_pods;
        let right = &mut self.right_pods;
        if end == End::Destination { &mut left.destination } else { &mut left.source }.push(pod.to_owned());
        if end == End::Source { &mut right.source } else { &mut right.destination }.push(pod.to_owned());
    }

    fn namespaces_of(&mut self, end: End) -> &mut Vec<String> {
        match end {
            End::Source => &mut self.source_namespaces,
            End::Destination => &mut self.destination_namespaces,
            End::Either => &mut self.namespaces,
        }
    }

    fn check_namespaces(&self) -> Result<(), FilterError> {
        for pods in [&self.left_pods, &self.right_pods] {
            check_contained(&self.namespaces, &pods.source)?;
            check_contained(&self.namespaces, &pods.destination)?;
            check_contained(&self.source_namespaces, &pods.source)?;
            check_contained(&self.destination_namespaces, &pods.destination)?;
        }
        Ok(())
    }

    /// Puts the namespaces in front of the pods; a side with namespaces and no pod asks for any pod in them.
    fn finish(mut self) -> Vec<Conjunction> {
        if self.used.is_empty() {
            return Vec::new();
        }
        for pods in [&mut self.left_pods, &mut self.right_pods] {
            qualify(&mut pods.destination, &self.destination_namespaces);
            qualify(&mut pods.source, &self.source_namespaces);
        }
        qualify(&mut self.left_pods.source, &self.namespaces);
        qualify(&mut self.right_pods.destination, &self.namespaces);
        let left = with_pods(self.left, &self.left_pods);
        let right = with_pods(self.right, &self.right_pods);
        if left == right { vec![left] } else { vec![left, right] }
    }
}

fn with_pods(mut conjunction: Conjunction, pods: &PodNames) -> Conjunction {
    conjunction.source.pods = pods.source.iter().map(|p| PodPattern::new(p)).collect();
    conjunction.destination.pods = pods.destination.iter().map(|p| PodPattern::new(p)).collect();
    conjunction
}

fn check_contained(namespaces: &[String], pods: &[String]) -> Result<(), FilterError> {
    for namespace in namespaces {
        let elsewhere =
            |pod: &&String| pod.split_once('/').is_some_and(|(ns, _)| !ns.is_empty() && ns != namespace);
        if let Some(pod) = pods.iter().find(elsewhere) {
            return Err(FilterError::Namespace { namespace: namespace.clone(), pod: pod.clone() });
        }
    }
    Ok(())
}

fn qualify(pods: &mut Vec<String>, namespaces: &[String]) {
    if namespaces.is_empty() {
        return;
    }
    if pods.is_empty() {
        pods.push(String::new());
    }
    *pods = pods
        .drain(..)
        .flat_map(|pod| match pod.contains('/') {
            true => vec![pod],
            false => namespaces.iter().map(|ns| format!("{ns}/{pod}")).collect(),
        })
        .collect();
}

impl NodeCondition {
    fn add(&mut self, pattern: Glob) {
        match self {
            Self::OneOf(patterns) => patterns.push(pattern),
            _ => *self = Self::OneOf(vec![pattern]),
        }
    }
}

fn parse<T: FromStr<Err = &'static str>>(value: &str) -> Result<T, String> {
    value.parse().map_err(|problem: &str| problem.to_owned())
}

fn not_empty(value: &str) -> Result<&str, String> {
    if value.is_empty() { Err("it is empty".to_owned()) } else { Ok(value) }
}

fn parse_namespace(value: &str) -> Result<&str, String> {
    if value.contains('/') { Err("a namespace has no slash".to_owned()) } else { not_empty(value) }
}

/// `name`, `cluster/name` or `cluster/`, all with `*`; without a cluster, `default` is meant.
fn parse_node(value: &str) -> Result<Glob, String> {
    Ok(match not_empty(value)?.split_once('/') {
        None => Glob::new(format!("default/{value}")),
        Some((_, "")) => Glob::new(format!("{value}*")),
        Some(_) => Glob::new(value),
    })
}

fn parse_verdict(value: &str) -> Result<Verdict, String> {
    let known = Verdict::ALL.into_iter().find(|v| v.name().eq_ignore_ascii_case(value));
    known.ok_or_else(|| format!("expected one of {}", Verdict::ALL.map(Verdict::name).join(", ")))
}

/// `drop`, `policy-verdict`, `trace` or the number of one of them; with `:` a sub-type behind it.
fn parse_event_type(value: &str) -> Result<EventType, String> {
    let (name, sub_type) = match value.split_once(':') {
        Some((name, sub_type)) => (name, Some(sub_type)),
        None => (value, None),
    };
    let kind = match name {
        "drop" | "1" => message_type::DROP,
        "trace" | "4" => message_type::TRACE,
        "policy-verdict" | "5" => message_type::POLICY_VERDICT,
        "l7" | "129" => {
            return Err("layer 7 is seen by the agent's proxy only, not by the datapath".to_owned());
        }
        "capture" | "trace-sock" => return Err("tracer reads no messages of this type".to_owned()),
        _ => return Err("expected drop, policy-verdict or trace, as in trace:to-endpoint".to_owned()),
    };
    let sub_type = sub_type.map(|text| parse_sub_type(kind, text)).transpose()?;
    Ok(EventType { kind, sub_type })
}

fn parse_sub_type(kind: u8, text: &str) -> Result<u8, String> {
    let number = || text.parse().ok();
    match kind {
        message_type::TRACE => {
            notice::point_by_name(text).map(|point| point.0).or_else(number).ok_or_else(|| {
                let points: Vec<&str> = notice::point_names().collect();
                format!("expected one of trace:{}", points.join(", trace:"))
            })
        }
        message_type::DROP => parse_reason(text).map(|reason| reason.0),
        _ => number().ok_or_else(|| "this type has no sub-types".to_owned()),
    }
}

/// Hubble's name, the datapath's name (`DROP_POLICY`), or the number.
fn parse_reason(value: &str) -> Result<DropReason, String> {
    if value == "DROP_REASON_UNKNOWN" {
        return Ok(DropReason(0));
    }
    let number = || value.parse().ok().map(DropReason);
    let constant = || value.strip_prefix("DROP_").and_then(reason::by_name);
    reason::by_name(value)
        .or_else(constant)
        .or_else(number)
        .ok_or_else(|| "expected a drop reason such as POLICY_DENIED, or its number such as 133".to_owned())
}

fn parse_kernel_reason(value: &str) -> Result<KernelReason, String> {
    if let Ok(number) = value.parse() {
        return Ok(KernelReason::Number(number));
    }
    let name = value.to_ascii_uppercase();
    let name = name.strip_prefix("SKB_DROP_REASON_").unwrap_or(&name);
    let plausible = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !plausible {
        return Err("expected a kernel drop reason such as NO_SOCKET, or its number".to_owned());
    }
    Ok(KernelReason::Name(name.to_owned()))
}

/// IP protocol numbers that a name stands for.
pub(crate) fn parse_protocol(value: &str) -> Result<Vec<u8>, String> {
    Ok(match value.to_ascii_lowercase().as_str() {
        "icmp" => vec![1, 58],
        "icmpv4" => vec![1],
        "igmp" => vec![2],
        "tcp" => vec![6],
        "udp" => vec![17],
        "icmpv6" => vec![58],
        "vrrp" => vec![112],
        "sctp" => vec![132],
        "dns" | "http" | "kafka" => {
            return Err("layer 7 is seen by the agent's proxy only, not by the datapath".to_owned());
        }
        other => match other.parse() {
            Ok(number) => vec![number],
            Err(_) => {
                return Err(
                    "expected tcp, udp, sctp, icmp, icmpv4, icmpv6 or an IP protocol number".to_owned()
                );
            }
        },
    })
}

/// Comma-separated; all of them must be set.
fn parse_tcp_flags(value: &str) -> Result<TcpFlags, String> {
    value.split(',').try_fold(TcpFlags(0), |flags, name| {
        let known = TcpFlags::NAMES.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name.trim()));
        let (_, bit) = known.ok_or_else(|| format!("unknown tcp flag: {name}"))?;
        Ok(TcpFlags(flags.0 | bit))
    })
}

fn parse_direction(value: &str) -> Result<Direction, String> {
    match value.to_ascii_lowercase().as_str() {
        "ingress" => Ok(Direction::Ingress),
        "egress" => Ok(Direction::Egress),
        _ => Err("expected ingress or egress".to_owned()),
    }
}

fn parse_ip_version(value: &str) -> Result<IpVersion, String> {
    match value.to_ascii_lowercase().as_str() {
        "none" => Ok(IpVersion::None),
        "4" | "v4" | "ipv4" | "ip4" => Ok(IpVersion::V4),
        "6" | "v6" | "ipv6" | "ip6" => Ok(IpVersion::V6),
        _ => Err("expected none, v4 or v6".to_owned()),
    }
}

fn parse_trace_id(value: &str) -> Result<u64, String> {
    value.parse().ok().filter(|id| *id != 0).ok_or_else(|| "expected a number greater than 0".to_owned())
}

fn parse_identity(value: &str) -> Result<Identity, String> {
    let number = || value.parse().ok().map(Identity);
    number().or_else(|| identity::reserved_by_name(value)).ok_or_else(|| {
        "expected a number or a reserved identity such as host, world, remote-node or health".to_owned()
    })
}

fn parse_endpoint(value: &str) -> Result<EndpointId, String> {
    let id = value.parse().ok().filter(|id| *id != 0);
    id.map(EndpointId).ok_or_else(|| "expected an endpoint id (1 to 65535)".to_owned())
}

fn parse_dns_name(value: &str) -> Result<Glob, String> {
    let name = value.trim().trim_end_matches('.').to_ascii_lowercase();
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.*".contains(&b);
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err("only ASCII letters, digits and - _ . * make a name".to_owned());
    }
    Ok(Glob::new(name))
}
