//! Each format against lines written by hand from Hubble's rules, and the JSON against the tables of Hubble's
//! flow messages.

use std::sync::Arc;

use serde_json::{Value, json};
use tracer_common::id::{EndpointId, Identity, IfIndex};

use super::lost::{Lost, LostSource};
use super::options::{Format, OutputOptions};
use super::{Node, Printer};
use crate::cilium::release::{Release, ReleaseRange};
use crate::model::endpoint::{IdentitySource, Labels, LocalEndpoint, Peer, Workload};
use crate::model::flow::{CiliumDrop, Direction, Flow, Inferred, InferredSet, Interface, Source, Verdict};
use crate::model::packet::{Ethernet, Ip, Packet, TcpFlags, Transport, Tunnel, TunnelKind};
use crate::model::reason::{DropReason, KernelDrop, SourcePlace};
use crate::model::time::{BootTime, WallTime};

mod notices;
mod schema;

const SYN: TcpFlags = TcpFlags(1 << 1);

fn text_options(format: Format) -> OutputOptions {
    OutputOptions { format, utc: true, names: true, ..OutputOptions::default() }
}

fn node() -> Node {
    Node::new("default", "node-a", ReleaseRange::exactly(Release(17)))
}

/// Everything that `print` writes.
fn printed(options: &OutputOptions, print: impl FnOnce(&mut Printer<Vec<u8>>)) -> String {
    let mut printer = Printer::new(Vec::new(), options, node());
    print(&mut printer);
    String::from_utf8(printer.into_inner().unwrap()).unwrap()
}

fn lines(options: &OutputOptions, flows: &[Flow]) -> String {
    printed(options, |printer| flows.iter().for_each(|flow| printer.flow(flow).unwrap()))
}

fn json_line(format: Format, flow: &Flow) -> Value {
    let text = lines(&text_options(format), std::slice::from_ref(flow));
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn pod(id: u16, identity: u32, namespace: &str, pod: &str, labels: &[&str]) -> Peer {
    Peer {
        endpoint: Some(Arc::new(LocalEndpoint {
            id: EndpointId(id),
            namespace: namespace.into(),
            pod: pod.into(),
            ..LocalEndpoint::default()
        })),
        identity: Some(Identity(identity)),
        identity_source: IdentitySource::Datapath,
        labels: Some(Arc::new(Labels::new(labels.iter().map(|l| (*l).to_owned())))),
        dns_names: [].into(),
    }
}

fn packet(source: &str, destination: &str, transport: Transport) -> Packet {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    Packet {
        ip: Some(Ip { source, destination, transport, fragment: false, ttl: 64 }),
        length: 74,
        ..Packet::default()
    }
}

fn tcp(source_port: u16, destination_port: u16) -> Transport {
    Transport::Tcp { source_port, destination_port, flags: SYN }
}

/// The example of Hubble's compact line: 2026-01-06 18:26:04.783 UTC.
pub(crate) fn denied() -> Flow {
    Flow {
        time: WallTime(1_767_723_964_783_000_000),
        boot_time: BootTime(99),
        verdict: Verdict::Dropped,
        source: Source::Message,
        direction: Direction::Egress,
        cilium: Some(CiliumDrop {
            reason: DropReason(133),
            ext_error: 0,
            place: Some(SourcePlace { file_id: 2, file: Some("bpf_lxc.c"), line: 2101 }),
            emitter: EndpointId(987),
            ip_trace_id: 0,
        }),
        notice: None,
        kernel: None,
        packet: packet("10.0.1.5", "10.0.1.7", tcp(53875, 80)),
        src: pod(987, 1234, "default", "app", &["k8s:app=app"]),
        dst: Peer { identity: Some(Identity(2)), ..Peer::default() },
        interface: None,
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

/// A kernel drop: UDP from an IPv6 address to a name that was looked up.
pub(crate) fn closed_port() -> Flow {
    let udp = Transport::Udp { source_port: 40000, destination_port: 53 };
    Flow {
        source: Source::Kernel,
        direction: Direction::Unknown,
        cilium: None,
        kernel: Some(KernelDrop {
            reason: Some(3),
            reason_name: Some("NO_SOCKET".into()),
            location: 0xffff_ffff_8123_4567,
            symbol: Some("__udp6_lib_rcv+0x3a1".into()),
        }),
        packet: packet("fd00::1:10", "2001:db8::1", udp),
        src: Peer::default(),
        dst: Peer {
            identity: Some(Identity(2)),
            dns_names: ["a.example".into(), "b.example".into()].into(),
            ..Peer::default()
        },
        ..denied()
    }
}

const DENIED_LINE: &str = "Jan  6 18:26:04.783: default/app:53875 (ID:1234) <> 10.0.1.7:80 (world) Policy denied DROPPED (TCP Flags: SYN)\n";

#[test]
fn compact_is_hubbles_line() {
    assert_eq!(lines(&text_options(Format::Compact), &[denied()]), DENIED_LINE);
}

#[test]
fn compact_kernel_drop_shows_reason_and_place() {
    let expected = "Jan  6 18:26:04.783: [fd00::1:10]:40000 (unknown) <> a.example,b.example:53 (world) NO_SOCKET DROPPED (UDP at __udp6_lib_rcv+0x3a1)\n";
    assert_eq!(lines(&text_options(Format::Compact), &[closed_port()]), expected);
}

#[test]
fn compact_without_names_prints_addresses() {
    let options = OutputOptions { names: false, node_name: true, ..text_options(Format::Compact) };
    let expected = "Jan  6 18:26:04.783 [node-a]: 10.0.1.5:53875 (ID:1234) <> 10.0.1.7:80 (world) Policy denied DROPPED (TCP Flags: SYN)\n";
    assert_eq!(lines(&options, &[denied()]), expected);
    let line = lines(&options, &[closed_port()]);
    assert!(line.contains("<> [2001:db8::1]:53 (world)"), "{line}");
}

#[test]
fn compact_never_invents_names() {
    let unnamed = |kernel| Flow { kernel: Some(kernel), ..closed_port() };
    let line = |flow| lines(&text_options(Format::Compact), &[flow]);
    let number =
        unnamed(KernelDrop { reason: Some(77), location: 0xffff_ffff_8000_0010, ..KernelDrop::default() });
    assert!(line(number).ends_with(" 77 DROPPED (UDP at 0xffffffff80000010)\n"));
    assert!(line(unnamed(KernelDrop::default())).ends_with(" UNKNOWN DROPPED (UDP)\n"));
    let drop = CiliumDrop { reason: DropReason(250), ..denied().cilium.unwrap() };
    assert!(
        line(Flow { cilium: Some(drop), ..denied() }).ends_with(" (world) 250 DROPPED (TCP Flags: SYN)\n")
    );
}

#[test]
fn compact_shows_hardware_addresses_of_what_is_not_ip() {
    let ethernet = Ethernet { source: [2, 0, 0, 0, 0, 1], destination: [0xff; 6], ethertype: 0x806 };
    let flow = Flow { packet: Packet { ethernet: Some(ethernet), ..Packet::default() }, ..denied() };
    let expected = "Jan  6 18:26:04.783: 02:00:00:00:00:01 (ID:1234) <> ff:ff:ff:ff:ff:ff (world) Policy denied DROPPED (Ethernet)\n";
    assert_eq!(lines(&text_options(Format::Compact), &[flow]), expected);
}

#[test]
fn compact_puts_the_ip_trace_id_in_front() {
    let drop = CiliumDrop { ip_trace_id: 4711, ..denied().cilium.unwrap() };
    let line = lines(&text_options(Format::Compact), &[Flow { cilium: Some(drop), ..denied() }]);
    assert!(line.ends_with("DROPPED (IP Trace ID: 4711; TCP Flags: SYN)\n"), "{line}");
}

#[test]
fn colours_are_hubbles() {
    let options = OutputOptions { color: true, ..text_options(Format::Compact) };
    let expected = "Jan  6 18:26:04.783: \x1b[36mdefault/app:\x1b[33m53875\x1b[0m\x1b[0m \x1b[35m(ID:1234)\x1b[0m <> \
                    \x1b[36m10.0.1.7:\x1b[33m80\x1b[0m\x1b[0m \x1b[35m(world)\x1b[0m Policy denied \x1b[31mDROPPED\x1b[0m (TCP Flags: SYN)\n";
    assert_eq!(lines(&options, &[denied()]), expected);
}

#[test]
fn dict_has_right_aligned_keys_and_a_rule_between_events() {
    let expected = "  TIMESTAMP: Jan  6 18:26:04.783\n     \
                    SOURCE: default/app:53875\n\
                    DESTINATION: 10.0.1.7:80\n       \
                    TYPE: Policy denied\n    \
                    VERDICT: DROPPED\n    \
                    SUMMARY: TCP Flags: SYN\n";
    let twice = format!("{expected}------------\n{expected}");
    assert_eq!(lines(&text_options(Format::Dict), &[denied(), denied()]), twice);
    let with_node = OutputOptions { node_name: true, ..text_options(Format::Dict) };
    assert!(lines(&with_node, &[denied()]).contains("\n       NODE: node-a\n     SOURCE: "));
}

#[test]
fn table_columns_line_up_under_hubbles_header() {
    let text = lines(&text_options(Format::Table), &[denied(), closed_port()]);
    let rows: Vec<&str> = text.lines().collect();
    let titles = ["TIMESTAMP", "SOURCE", "DESTINATION", "TYPE", "VERDICT", "SUMMARY"];
    assert_eq!(rows[0].split_whitespace().collect::<Vec<_>>(), titles);
    for (row, cells) in [
        (
            1,
            [
                "Jan  6 18:26:04.783",
                "default/app:53875",
                "10.0.1.7:80",
                "Policy denied",
                "DROPPED",
                "TCP Flags: SYN",
            ],
        ),
        (
            2,
            [
                "Jan  6 18:26:04.783",
                "[fd00::1:10]:40000",
                "a.example,b.example:53",
                "NO_SOCKET",
                "DROPPED",
                "UDP at ",
            ],
        ),
    ] {
        for (title, cell) in titles.into_iter().zip(cells) {
            let at = rows[0].find(title).unwrap();
            assert!(rows[row][at..].starts_with(cell), "{title} in {text}");
        }
    }
}

#[test]
fn table_columns_grow_and_ignore_colour() {
    let long = Flow { src: pod(1, 2, &"n".repeat(60), "p", &[]), ..denied() };
    let text = lines(&OutputOptions { color: true, ..text_options(Format::Table) }, &[long, denied()]);
    let rows: Vec<&str> = text.lines().collect();
    let column = |row: &str| row.find("10.0.1.7:80").unwrap();
    assert_eq!((rows.len(), column(rows[1])), (3, column(rows[2])));
    assert!(!text.contains('\x1b'));
}

#[test]
fn lost_events_have_lines_of_their_own() {
    let lost = Lost { source: LostSource::KernelRing, count: 12, cpu: Some(0), time: denied().time };
    let line = |format| printed(&text_options(format), |printer| printer.lost(&lost).unwrap());
    assert_eq!(line(Format::Compact), "EVENTS LOST: PERF_EVENT_RING_BUFFER CPU(0) 12\n");
    let dict = "  TIMESTAMP: \n     SOURCE: PERF_EVENT_RING_BUFFER\n       TYPE: EVENTS LOST\n    VERDICT: \n    SUMMARY: CPU(0) - 12\n";
    assert_eq!(line(Format::Dict), dict);
    assert!(line(Format::Table).lines().nth(1).unwrap().ends_with("CPU(0) - 12"));
    let expected = r#"{"lost_events":{"source":"PERF_EVENT_RING_BUFFER","num_events_lost":"12","cpu":0},"node_name":"node-a","time":"2026-01-06T18:26:04.783Z"}"#;
    assert_eq!(line(Format::Jsonpb).trim_end(), expected);
    assert_eq!(line(Format::Json).trim_end(), expected);
    let anywhere = Lost { source: LostSource::Queue, cpu: None, ..lost };
    let text = printed(&text_options(Format::Json), |printer| printer.lost(&anywhere).unwrap());
    assert!(text.contains(r#""source":"OBSERVER_EVENTS_QUEUE","num_events_lost":"12"}"#), "{text}");
}

/// The sample of Hubble's documentation of a drop, without its (invented) uuid.
#[test]
fn jsonpb_is_hubbles_sample() {
    let sample = json!({
        "flow": {
            "time": "2026-02-03T10:11:12.345678901Z", "verdict": "DROPPED", "drop_reason": 133,
            "emitter": {"name": "tracer", "version": env!("CARGO_PKG_VERSION")},
            "ethernet": {"source": "0a:1b:2c:3d:4e:5f", "destination": "6a:7b:8c:9d:ae:bf"},
            "IP": {"source": "10.0.1.5", "destination": "10.0.1.9", "ipVersion": "IPv4"},
            "l4": {"TCP": {"source_port": 43210, "destination_port": 8080, "flags": {"SYN": true}}},
            "source": {
                "ID": 1234, "identity": 50001, "cluster_name": "default", "namespace": "prod",
                "labels": ["k8s:app=shop", "k8s:io.cilium.k8s.policy.cluster=default", "k8s:io.kubernetes.pod.namespace=prod"],
                "pod_name": "shop-5d9c7b-x2x4q", "workloads": [{"name": "shop", "kind": "Deployment"}]
            },
            "destination": {"ID": 987, "identity": 50002, "namespace": "prod", "labels": ["k8s:app=db"], "pod_name": "db-0"},
            "Type": "L3_L4", "node_name": "node-a", "event_type": {"type": 1, "sub_type": 133},
            "traffic_direction": "INGRESS", "drop_reason_desc": "POLICY_DENIED",
            "file": {"name": "bpf_lxc.c", "line": 2101}, "Summary": "TCP Flags: SYN"
        },
        "node_name": "node-a", "time": "2026-02-03T10:11:12.345678901Z"
    });
    let mut shop = pod(
        1234,
        50001,
        "prod",
        "shop-5d9c7b-x2x4q",
        &["k8s:io.kubernetes.pod.namespace=prod", "k8s:io.cilium.k8s.policy.cluster=default", "k8s:app=shop"],
    );
    let endpoint = Arc::make_mut(shop.endpoint.as_mut().unwrap());
    endpoint.workloads = vec![Workload { name: "shop".into(), kind: "Deployment".into() }];
    let ethernet = Ethernet {
        source: [0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f],
        destination: [0x6a, 0x7b, 0x8c, 0x9d, 0xae, 0xbf],
        ethertype: 0x800,
    };
    let flow = Flow {
        time: WallTime(1_770_113_472_345_678_901),
        direction: Direction::Ingress,
        packet: Packet { ethernet: Some(ethernet), ..packet("10.0.1.5", "10.0.1.9", tcp(43210, 8080)) },
        src: shop,
        dst: pod(987, 50002, "prod", "db-0", &["k8s:app=db"]),
        ..denied()
    };
    let mut line = json_line(Format::Jsonpb, &flow);
    let uuid = line["flow"].as_object_mut().unwrap().remove("uuid").unwrap();
    assert_eq!(uuid.as_str().map(str::len), Some(36));
    assert_eq!(line, sample);
}

#[test]
fn jsonpb_kernel_drop_has_no_cilium_fields() {
    let line = json_line(Format::Jsonpb, &closed_port());
    let flow = line["flow"].as_object().unwrap();
    for absent in [
        "drop_reason",
        "drop_reason_desc",
        "event_type",
        "file",
        "traffic_direction",
        "is_reply",
        "interface",
    ] {
        assert!(!flow.contains_key(absent), "{absent} in {line}");
    }
    assert_eq!(
        (&flow["verdict"], &flow["Type"], &flow["Summary"]),
        (&json!("DROPPED"), &json!("L3_L4"), &json!("UDP"))
    );
    assert_eq!(flow["destination_names"], json!(["a.example", "b.example"]));
    assert_eq!((&flow["source"], &flow["destination"]), (&json!({}), &json!({"identity": 2})));
    assert!(line.get("tracer").is_none());
}

#[test]
fn jsonpb_prints_numbers_where_names_are_unknown() {
    let place = SourcePlace { file_id: 103, file: None, line: 7 };
    let drop = CiliumDrop { reason: DropReason(250), place: Some(place), ..denied().cilium.unwrap() };
    let line = json_line(Format::Jsonpb, &Flow { cilium: Some(drop), ..denied() });
    assert_eq!(line["flow"]["drop_reason_desc"], 250);
    assert_eq!(line["flow"]["file"], json!({"name": "unknown(103)", "line": 7}));
}

/// Each changes one thing that a kept piece of JSON is rendered from.
const CHANGES: [fn(&mut Flow); 17] = [
    |_| {},
    |flow| flow.src.identity = Some(Identity(77)),
    |flow| flow.src.endpoint = None,
    |flow| flow.src = pod(988, 1234, "default", "app", &["k8s:app=app"]),
    |flow| flow.src.labels = Some(Arc::new(Labels::new(["k8s:app=\"other\"".to_owned()]))),
    |flow| flow.dst = pod(987, 1234, "default", "app", &[]),
    |flow| flow.direction = Direction::Ingress,
    |flow| flow.interface = Some(Interface { index: IfIndex(7), name: "lxc1".into() }),
    |flow| flow.interface = Some(Interface { index: IfIndex(7), name: "lxc2".into() }),
    |flow| flow.cilium.iter_mut().for_each(|drop| drop.reason = DropReason(181)),
    |flow| flow.cilium.iter_mut().for_each(|drop| drop.ext_error = -12),
    |flow| flow.cilium.iter_mut().for_each(|drop| drop.ip_trace_id = 5),
    |flow| flow.cilium.iter_mut().for_each(|drop| drop.place = None),
    |flow| flow.kernel = Some(KernelDrop { reason: Some(9), location: 0xff, ..KernelDrop::default() }),
    |flow| flow.kernel = closed_port().kernel,
    |flow| flow.dst.identity_source = IdentitySource::Ipcache,
    |flow| flow.inferred.insert(Inferred::FileName),
];

#[test]
fn kept_pieces_change_no_line() {
    let change = |base: fn() -> Flow, change: &fn(&mut Flow)| {
        let mut flow = base();
        change(&mut flow);
        flow
    };
    let all = [denied as fn() -> Flow, closed_port].into_iter();
    let flows: Vec<Flow> = all.flat_map(|base| CHANGES.iter().map(move |one| change(base, one))).collect();
    let masked = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line["flow"]["uuid"].take();
        line.to_string()
    };
    for format in [Format::Json, Format::Jsonpb] {
        let twice: Vec<Flow> = flows.iter().chain(&flows).cloned().collect();
        let text = lines(&text_options(format), &twice);
        assert_eq!(text.lines().count(), twice.len());
        for (line, flow) in text.lines().zip(&twice) {
            let alone = lines(&text_options(format), std::slice::from_ref(flow));
            assert_eq!((masked(line), line.len()), (masked(&alone), alone.trim_end().len()));
        }
    }
}

#[test]
fn json_is_jsonpb_plus_the_key_tracer() {
    let mut inferred = InferredSet::default();
    inferred.insert(Inferred::NoteReason);
    let kernel = KernelDrop {
        reason: Some(73),
        reason_name: Some("TC_INGRESS".into()),
        location: 0xffff_ffff_8123_4567,
        symbol: Some("tc_run+0x12".into()),
    };
    let drop = CiliumDrop { reason: DropReason(155), ext_error: -12, ..denied().cilium.unwrap() };
    let flow = Flow {
        source: Source::Note,
        cilium: Some(drop),
        kernel: Some(kernel),
        netns: 4_026_531_840,
        mark: 0xf00,
        cpu: 3,
        skb: 0xffff_8880_0000_1000,
        interface: Some(Interface { index: IfIndex(27), name: "lxc1a2b".into() }),
        inferred,
        bytes: bytes::Bytes::from_static(&[0; 74]),
        ..denied()
    };
    let mut line = json_line(Format::Json, &flow);
    let tracer = line.as_object_mut().unwrap().remove("tracer").unwrap();
    let expected = json!({
        "schema_version": 1, "source": "note", "taps": ["free"], "boot_time_ns": "99",
        "cilium": {
            "reason": 155, "c_name": "DROP_CT_CREATE_FAILED", "text": "CT: Map insertion failed",
            "ext_error": -12, "ext_error_name": "ENOMEM", "file_id": 2, "endpoint": 987
        },
        "kernel": {"reason": "TC_INGRESS", "reason_number": 73, "location": "0xffffffff81234567", "symbol": "tc_run+0x12"},
        "skb": "0xffff888000001000", "mark": 3840, "cpu": 3, "netns": 4_026_531_840_u32,
        "packet": {"length_bytes": 74, "captured_bytes": 74, "protocol": 6, "ttl": 64},
        "identity_from": {"source": "datapath", "destination": "none"},
        "names_stale": false, "inferred": ["drop_reason"]
    });
    assert_eq!(tracer, expected);
    assert_eq!(line["flow"]["interface"], json!({"index": 27, "name": "lxc1a2b"}));
    let mut plain = json_line(Format::Jsonpb, &flow);
    for line in [&mut line, &mut plain] {
        line["flow"]["uuid"] = Value::Null;
    }
    assert_eq!(line, plain);
}

#[test]
fn clusters_other_than_default_are_part_of_the_node_name() {
    for (cluster, expected) in [("default", "node-a"), ("", "node-a"), ("east", "east/node-a")] {
        assert_eq!(Node::new(cluster, "node-a", ReleaseRange::ANY).name, expected);
    }
}

#[test]
fn hostile_names_reach_no_terminal_and_stay_whole_in_json() {
    let evil = "x\x1b]0;pwned\x07\r\n\"}\u{9b}2J\u{202e}";
    let mut flow = Flow { src: pod(1, 1234, evil, evil, &[evil]), ..closed_port() };
    flow.dst.dns_names = [evil.into()].into();
    flow.kernel = Some(KernelDrop {
        reason_name: Some(evil.into()),
        symbol: Some(evil.into()),
        ..KernelDrop::default()
    });
    flow.interface = Some(Interface { index: IfIndex(1), name: evil.into() });
    for format in [Format::Compact, Format::Dict, Format::Table, Format::Json, Format::Jsonpb] {
        let text = lines(&text_options(format), std::slice::from_ref(&flow));
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'),
            "{format:?}: {text}"
        );
    }
    assert_eq!(lines(&text_options(Format::Compact), std::slice::from_ref(&flow)).lines().count(), 1);
    let line = json_line(Format::Json, &flow);
    assert_eq!(line["flow"]["source"]["pod_name"], evil);
    assert_eq!(line["flow"]["source"]["labels"][0], evil);
    assert_eq!(line["flow"]["interface"]["name"], evil);
    assert_eq!(line["tracer"]["kernel"]["symbol"], evil);
}

#[test]
fn output_waits_for_flush_or_a_full_buffer() {
    let mut printer = Printer::new(Vec::new(), &text_options(Format::Compact), node());
    printer.flow(&denied()).unwrap();
    assert!(!printer.is_empty());
    printer.flush().unwrap();
    assert!(printer.is_empty());
    assert_eq!(printer.into_inner().unwrap(), DENIED_LINE.as_bytes());
}

#[test]
fn a_closed_pipe_is_recognized() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut printer = Printer::new(Closed, &text_options(Format::Json), node());
    printer.flow(&denied()).unwrap();
    let error = printer.flush().unwrap_err();
    assert!(super::is_closed_pipe(&error));
}

/// A VXLAN packet with `inner` inside, from node to node.
fn tunnelled(inner: Packet) -> Packet {
    let udp = Transport::Udp { source_port: 51000, destination_port: 8472 };
    let outer = packet("192.0.2.10", "192.0.2.20", udp).ip.unwrap();
    Packet { tunnel: Some(Tunnel { kind: TunnelKind::Vxlan, vni: 12345, outer }), ..inner }
}
