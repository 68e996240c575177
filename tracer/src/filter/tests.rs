//! Hubble's filter rules, one table: flags as typed, and which of a few flows they show.

use std::net::IpAddr;
use std::sync::Arc;

use tracer_common::id::{EndpointId, Identity, IfIndex};

use super::build::{FilterBuilder, FilterError};
use super::{Conjunction, FilterSet};
use crate::model::endpoint::{Labels, LocalEndpoint, Peer, Workload};
use crate::model::flow::{CiliumDrop, Direction, Flow, InferredSet, Interface, Source, Verdict};
use crate::model::notice::{
    AuthType, MatchType, Notice, PolicyAction, PolicyVerdict, Trace, TracePoint, TraceReason,
};
use crate::model::packet::{Ip, Packet, TcpFlags, Transport};
use crate::model::reason::{DropReason, KernelDrop};
use crate::model::time::{BootTime, WallTime};

/// `--flag value` words in order; `!` before a flag is `--not`, a flag without value has none.
pub(super) fn build(words: &[(&str, &str)]) -> Result<FilterSet, FilterError> {
    let mut builder = FilterBuilder::default();
    for (flag, value) in words {
        match flag.strip_prefix('!') {
            Some(flag) => {
                builder.not()?;
                builder.set(flag, value)?;
            }
            None => builder.set(flag, value)?,
        }
    }
    builder.finish()
}

fn pod(name: &str, namespace: &str, id: u16, identity: u32) -> Peer {
    let labels = Arc::new(Labels::new([
        format!("k8s:app={name}"),
        format!("k8s:io.kubernetes.pod.namespace={namespace}"),
        "k8s:io.cilium.k8s.policy.cluster=east".to_owned(),
    ]));
    let endpoint = LocalEndpoint {
        id: EndpointId(id),
        namespace: namespace.into(),
        pod: format!("{name}-1"),
        workloads: vec![Workload { name: name.into(), kind: "Deployment".into() }],
        ..LocalEndpoint::default()
    };
    Peer {
        endpoint: Some(Arc::new(endpoint)),
        identity: Some(Identity(identity)),
        labels: Some(labels),
        ..Peer::default()
    }
}

pub(super) fn ip(source: &str, destination: &str, transport: Transport) -> Packet {
    let (source, destination): (IpAddr, IpAddr) = (source.parse().unwrap(), destination.parse().unwrap());
    Packet { ip: Some(Ip { source, destination, transport, fragment: false, ttl: 64 }), ..Packet::default() }
}

/// default/client-1 (12345) to prod/server-1 (23456), TCP SYN to 8080, denied by policy at ingress.
fn denied() -> Flow {
    let tcp = Transport::Tcp { source_port: 43210, destination_port: 8080, flags: TcpFlags(1 << 1) };
    Flow {
        time: WallTime(0),
        boot_time: BootTime(0),
        verdict: Verdict::Dropped,
        source: Source::Message,
        direction: Direction::Ingress,
        cilium: Some(CiliumDrop {
            reason: DropReason(133),
            ext_error: 0,
            place: None,
            emitter: EndpointId(20),
            ip_trace_id: 4711,
        }),
        notice: None,
        kernel: Some(KernelDrop {
            reason: Some(73),
            reason_name: Some("TC_INGRESS".into()),
            ..KernelDrop::default()
        }),
        packet: ip("10.244.1.10", "10.244.1.20", tcp),
        src: pod("client", "default", 10, 12345),
        dst: pod("server", "prod", 20, 23456),
        interface: Some(Interface { index: IfIndex(7), name: "lxc1a2b".into() }),
        netns: 0,
        mark: 0,
        cpu: 0,
        skb: 0,
        hash: 0,
        inferred: InferredSet::default(),
        similar: 0,
        bytes: bytes::Bytes::new(),
    }
}

/// A kernel drop: fd00::1:10 to www.example.org, UDP to a closed port; nobody's pods.
fn closed_port() -> Flow {
    let udp = Transport::Udp { source_port: 5353, destination_port: 53 };
    Flow {
        source: Source::Kernel,
        direction: Direction::Unknown,
        cilium: None,
        kernel: Some(KernelDrop {
            reason: Some(3),
            reason_name: Some("NO_SOCKET".into()),
            ..KernelDrop::default()
        }),
        packet: ip("fd00::1:10", "2001:db8::1", udp),
        src: Peer::default(),
        dst: Peer {
            identity: Some(Identity(2)),
            dns_names: ["www.example.org".into()].into(),
            ..Peer::default()
        },
        interface: None,
        ..denied()
    }
}

/// A drop of something that is not IP.
fn arp() -> Flow {
    Flow { packet: Packet::default(), src: Peer::default(), dst: Peer::default(), ..denied() }
}

/// Which of [`denied`], [`closed_port`], [`arp`] are shown: D, C, A.
fn check(words: &[(&str, &str)], expected: &str) {
    let filter = build(words).unwrap_or_else(|e| panic!("{words:?}: {e}"));
    let flows = [("D", denied()), ("C", closed_port()), ("A", arp())];
    let shown: String =
        flows.iter().filter(|(_, flow)| filter.matches(flow)).map(|(name, _)| *name).collect();
    assert_eq!(shown, expected, "{words:?}");
}

#[test]
fn no_filter_shows_everything() {
    check(&[], "DCA");
}

#[test]
fn pods_by_prefix_and_namespace() {
    check(&[("pod", "client")], "D");
    check(&[("pod", "server")], "");
    check(&[("pod", "prod/server")], "D");
    check(&[("from-pod", "prod/server")], "");
    check(&[("to-pod", "prod/ser")], "D");
    check(&[("namespace", "prod")], "D");
    check(&[("from-namespace", "prod")], "");
    check(&[("to-namespace", "prod")], "D");
    check(&[("namespace", "prod"), ("pod", "server")], "D");
    check(&[("namespace", "prod"), ("pod", "client")], "");
    check(&[("namespace", "dev"), ("namespace", "prod"), ("pod", "server")], "D");
    check(&[("all-namespaces", ""), ("pod", "server")], "D");
    check(&[("all-namespaces", "")], "D");
    check(&[("from-namespace", "default"), ("to-namespace", "prod")], "D");
    check(&[("from-namespace", "default"), ("to-namespace", "dev")], "");
}

#[test]
fn labels_workloads_clusters_and_endpoints() {
    check(&[("label", "app=server")], "D");
    check(&[("from-label", "app=server")], "");
    check(&[("label", "app=x"), ("label", "k8s:app in (client)")], "D");
    check(&[("workload", "server")], "D");
    check(&[("to-workload", "StatefulSet/server")], "");
    check(&[("cluster", "ea*")], "D");
    check(&[("endpoint", "20")], "D");
    check(&[("from-endpoint", "20")], "");
    check(&[("fqdn", "*.Example.org")], "C");
    check(&[("from-fqdn", "*.example.org")], "");
}

#[test]
fn identities_by_number_and_name() {
    check(&[("identity", "12345")], "D");
    check(&[("to-identity", "12345")], "");
    check(&[("identity", "world")], "C");
    check(&[("identity", "reserved:world")], "C");
    check(&[("from-identity", "0")], "CA");
}

#[test]
fn addresses_and_ports() {
    check(&[("ip", "10.244.1.20")], "D");
    check(&[("from-ip", "10.244.1.20")], "");
    check(&[("ip", "10.244.0.0/16")], "D");
    check(&[("ip", "fd00::/64")], "C");
    check(&[("to-ip", "2001:db8::1"), ("to-ip", "10.244.1.20")], "DC");
    check(&[("port", "8080")], "D");
    check(&[("from-port", "8080")], "");
    check(&[("to-port", "50-60")], "C");
}

#[test]
fn packets_by_protocol_flags_and_version() {
    check(&[("protocol", "tcp")], "D");
    check(&[("protocol", "TCP"), ("protocol", "17")], "DC");
    check(&[("protocol", "icmp")], "");
    check(&[("tcp-flags", "syn")], "D");
    check(&[("tcp-flags", "syn,ack")], "");
    check(&[("tcp-flags", "ack"), ("tcp-flags", "SYN")], "D");
    check(&[("ipv4", "")], "D");
    check(&[("ipv6", "")], "C");
    check(&[("ipv4", ""), ("ipv6", "")], "DC");
    check(&[("ip-version", "none")], "A");
}

#[test]
fn events_by_reason_verdict_direction_and_device() {
    check(&[("drop-reason-desc", "POLICY_DENIED")], "DA");
    check(&[("drop-reason-desc", "133")], "DA");
    check(&[("drop-reason-desc", "POLICY_DENY")], "");
    check(&[("drop-reason-desc", "DROP_REASON_UNKNOWN")], "C");
    check(&[("kernel-reason", "NO_SOCKET")], "C");
    check(&[("kernel-reason", "skb_drop_reason_no_socket")], "C");
    check(&[("kernel-reason", "73")], "DA");
    check(&[("verdict", "DROPPED")], "DCA");
    check(&[("verdict", "FORWARDED")], "");
    check(&[("traffic-direction", "ingress")], "DA");
    check(&[("traffic-direction", "EGRESS")], "");
    check(&[("interface", "lxc*")], "DA");
    check(&[("interface", "eth0")], "");
    check(&[("ip-trace-id", "4711")], "DA");
}

#[test]
fn different_flags_are_anded_and_repeated_ones_ored() {
    check(&[("protocol", "tcp"), ("to-port", "53")], "");
    check(&[("protocol", "tcp"), ("protocol", "udp"), ("to-port", "53")], "C");
}

#[test]
fn flags_for_either_end_speak_of_the_same_end() {
    check(&[("identity", "23456"), ("port", "8080")], "D");
    check(&[("identity", "12345"), ("port", "8080")], "");
    check(&[("identity", "12345"), ("to-port", "8080")], "D");
}

#[test]
fn not_negates_the_next_flag_only() {
    check(&[("!protocol", "tcp")], "CA");
    check(&[("!identity", "12345")], "CA");
    check(&[("!protocol", "tcp"), ("ip", "fd00::/16")], "C");
    check(&[("ip-version", "v4"), ("ip-version", "v6"), ("!to-port", "53")], "D");
    check(&[("!to-port", "53"), ("!to-port", "8080")], "A");
    check(&[("!protocol", "udp"), ("!to-port", "8080")], "DCA");
    check(&[("!all-namespaces", "")], "CA");
}

#[test]
fn node_names_are_settled_once() {
    for (pattern, node, expected) in [
        ("node-a", "node-a", true),
        ("node-*", "default/node-a", true),
        ("node-a", "east/node-a", false),
        ("east/node-*", "east/node-a", true),
        ("east/", "east/node-a", true),
        ("node-b", "node-a", false),
    ] {
        let mut filter = build(&[("node-name", pattern)]).unwrap();
        assert!(!filter.matches(&denied()), "unsettled");
        filter.bind_node(node);
        assert_eq!(filter.matches(&denied()), expected, "{pattern} on {node}");
        assert_eq!(filter.never_here(), !expected, "{pattern} on {node}");
    }
    let mut negated = build(&[("!node-name", "node-a")]).unwrap();
    negated.bind_node("node-a");
    assert!(!negated.matches(&denied()));
}

#[test]
fn conflicting_flags_are_named() {
    let check =
        |words: &[(&str, &str)], expected: &str| assert_eq!(build(words).unwrap_err().to_string(), expected);
    check(&[("from-pod", "a"), ("namespace", "b")], "filters --from-pod and --namespace cannot be combined");
    check(&[("namespace", "b"), ("from-pod", "a")], "filters --from-pod and --namespace cannot be combined");
    check(&[("ip", "::1"), ("from-fqdn", "a")], "filters --from-fqdn and --ip cannot be combined");
    check(&[("pod", "a"), ("ip", "::1")], "filters --ip and --pod cannot be combined");
    check(&[("label", "a"), ("to-label", "b")], "filters --label and --to-label cannot be combined");
    check(&[("port", "1"), ("from-port", "2")], "filters --port and --from-port cannot be combined");
    check(
        &[("identity", "1"), ("to-identity", "2")],
        "filters --identity and --to-identity cannot be combined",
    );
    check(
        &[("endpoint", "1"), ("to-endpoint", "2")],
        "filters --endpoint and --to-endpoint cannot be combined",
    );
    check(&[("namespace", "a"), ("pod", "b/c")], "namespace conflict: \"a\" does not contain \"b/c\"");
    check(&[("to-namespace", "a"), ("to-pod", "b/c")], "namespace conflict: \"a\" does not contain \"b/c\"");
}

#[test]
fn a_negated_flag_conflicts_with_negated_flags_only() {
    assert!(build(&[("from-pod", "a"), ("!namespace", "b")]).is_ok());
    assert!(build(&[("!from-pod", "a"), ("!namespace", "b")]).is_err());
}

#[test]
fn misplaced_not_is_an_error() {
    let mut builder = FilterBuilder::default();
    builder.not().unwrap();
    assert_eq!(builder.not(), Err(FilterError::ConsecutiveNot));
    assert_eq!(builder.finish(), Err(FilterError::TrailingNot));
}

#[test]
fn bad_values_name_flag_value_and_what_is_wanted() {
    for (flag, value, expected) in [
        ("ip", "10.0.0", "invalid --ip value `10.0.0`: expected an IP address or a CIDR such as 10.0.0.0/8"),
        (
            "port",
            "http",
            "invalid --port value `http`: expected a port (0 to 65535) or a range such as 8000-8010",
        ),
        ("tcp-flags", "syn,foo", "invalid --tcp-flags value `syn,foo`: unknown tcp flag: foo"),
        ("traffic-direction", "up", "invalid --traffic-direction value `up`: expected ingress or egress"),
        ("label", "", "invalid --label value ``: empty label selector"),
        (
            "protocol",
            "http",
            "invalid --protocol value `http`: layer 7 is seen by the agent's proxy only, not by the datapath",
        ),
    ] {
        assert_eq!(build(&[(flag, value)]).unwrap_err().to_string(), expected);
    }
    for (flag, value) in [
        ("identity", "nobody"),
        ("identity", "-1"),
        ("verdict", "LOST"),
        ("drop-reason-desc", "NO_SUCH"),
        ("drop-reason-desc", ""),
        ("kernel-reason", ""),
        ("kernel-reason", "no socket"),
        ("ip-version", "5"),
        ("endpoint", "0"),
        ("endpoint", "70000"),
        ("fqdn", "a b"),
        ("pod", ""),
        ("namespace", "a/b"),
        ("ip-trace-id", "0"),
        ("interface", ""),
        ("node-name", ""),
        ("protocol", "300"),
    ] {
        assert!(matches!(build(&[(flag, value)]), Err(FilterError::Value { .. })), "--{flag} {value}");
    }
}

/// to-endpoint of the same packet, and the verdict that denies it.
fn noticed(notice: Notice, verdict: Verdict) -> Flow {
    Flow { notice: Some(notice), verdict, cilium: None, kernel: None, ..denied() }
}

fn traced(point: u8) -> Flow {
    let trace = Trace {
        point: TracePoint(point),
        reason: TraceReason(0),
        encrypted: false,
        proxy_port: 0,
        source_xlated: None,
        emitter: EndpointId(20),
        ip_trace_id: 4711,
    };
    noticed(Notice::Trace(trace), Verdict::Forwarded)
}

fn judged(action: PolicyAction, verdict: Verdict) -> Flow {
    let (match_type, auth_type) = (MatchType(2), AuthType(0));
    let judged = PolicyVerdict { action, match_type, auth_type, emitter: EndpointId(20), cookie: 0 };
    noticed(Notice::Verdict(judged), verdict)
}

#[test]
fn types_and_their_sub_types_select() {
    let refusal = judged(PolicyAction::Denied(DropReason(133)), Verdict::Dropped);
    let events = [denied(), traced(0), traced(11), refusal];
    for (value, expected) in [
        ("drop", [true, false, false, false]),
        ("drop:133", [true, false, false, false]),
        ("drop:POLICY_DENIED", [true, false, false, false]),
        ("drop:181", [false; 4]),
        ("trace", [false, true, true, false]),
        ("4", [false, true, true, false]),
        ("trace:to-endpoint", [false, true, false, false]),
        ("trace:to-network", [false, false, true, false]),
        ("trace:11", [false, false, true, false]),
        ("policy-verdict", [false, false, false, true]),
    ] {
        let filter = build(&[("type", value)]).unwrap();
        assert_eq!(events.each_ref().map(|event| filter.matches(event)), expected, "{value}");
    }
    assert!(
        !build(&[("type", "drop")]).unwrap().matches(&closed_port()),
        "the kernel's own drops have no type"
    );
}

#[test]
fn what_a_trace_tells_of_translation_and_encryption_selects() {
    let Some(Notice::Trace(plain)) = traced(11).notice else { panic!("a trace") };
    let changed = |trace| noticed(Notice::Trace(trace), Verdict::Forwarded);
    let translated = changed(Trace { source_xlated: Some("192.0.2.10".parse().unwrap()), ..plain });
    let encrypted = changed(Trace { encrypted: true, ..plain });
    let events = [denied(), traced(11), translated, encrypted];
    for (flag, value, expected) in [
        ("snat-ip", "192.0.2.10", [false, false, true, false]),
        ("snat-ip", "192.0.2.0/24", [false, false, true, false]),
        ("snat-ip", "192.0.2.11", [false; 4]),
        ("encrypted", "", [false, false, false, true]),
        ("unencrypted", "", [true, true, true, false]),
    ] {
        let filter = build(&[(flag, value)]).unwrap();
        assert_eq!(events.each_ref().map(|event| filter.matches(event)), expected, "--{flag} {value}");
    }
    assert!(build(&[("snat-ip", "x")]).is_err());
}

#[test]
fn a_reply_is_what_is_told_to_be_one() {
    let Some(Notice::Trace(plain)) = traced(0).notice else { panic!("a trace") };
    // 2 is a reply, 5 is unknown.
    let reason =
        |reason| noticed(Notice::Trace(Trace { reason: TraceReason(reason), ..plain }), Verdict::Forwarded);
    let events = [denied(), reason(0), reason(2), reason(5)];
    let wants = |replies: &[bool]| {
        let set = FilterSet {
            allow: vec![Conjunction { replies: replies.to_vec(), ..Conjunction::default() }],
            deny: Vec::new(),
        };
        events.each_ref().map(|event| set.matches(event))
    };
    assert_eq!(wants(&[true]), [false, false, true, false]);
    assert_eq!(wants(&[false]), [true, true, false, true], "what is not told is no reply, as in hubble");
    assert_eq!(wants(&[true, false]), [true; 4]);
}

#[test]
fn what_is_no_type_is_refused_with_the_reason() {
    for (value, part) in [
        ("l7", "layer 7 is seen by the agent's proxy only"),
        ("trace-sock", "tracer reads no messages of this type"),
        ("flow", "expected drop, policy-verdict or trace"),
        ("trace:to-nowhere", "expected one of trace:to-endpoint, trace:to-proxy"),
        ("policy-verdict:x", "this type has no sub-types"),
    ] {
        let error = build(&[("type", value)]).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("invalid --type value `{value}`: ")) && error.contains(part),
            "{error}"
        );
    }
}

#[test]
fn a_verdict_that_denies_has_its_reason_and_a_trace_its_id() {
    let refusal = judged(PolicyAction::Denied(DropReason(133)), Verdict::Dropped);
    let reason = build(&[("drop-reason-desc", "POLICY_DENIED")]).unwrap();
    assert!(reason.matches(&refusal) && reason.matches(&denied()) && !reason.matches(&traced(0)));
    assert!(build(&[("ip-trace-id", "4711")]).unwrap().matches(&traced(0)));
    let audit = build(&[("verdict", "AUDIT")]).unwrap();
    assert!(audit.matches(&judged(PolicyAction::Audited, Verdict::Audit)) && !audit.matches(&traced(0)));
}

/// Types that the kernel side need not send: drops 1, traces 4, verdicts 5.
#[test]
fn what_no_condition_can_match_is_known() {
    for (flags, expected) in [
        (&[][..], [true, true, true]),
        (&[("type", "trace:to-endpoint")], [false, true, false]),
        (&[("verdict", "AUDIT")], [false, false, true]),
        (&[("verdict", "FORWARDED")], [false, true, true]),
        (&[("verdict", "DROPPED")], [true, false, true]),
        (&[("drop-reason-desc", "133")], [true, false, true]),
        (&[("!type", "trace")], [true, true, true]),
    ] {
        let filter = build(flags).unwrap();
        assert_eq!([1, 4, 5].map(|kind| filter.can_match_type(kind)), expected, "{flags:?}");
    }
}
