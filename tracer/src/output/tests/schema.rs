//! Every JSON line that comes out of many kinds of drops, walked through with the field tables of Hubble's
//! messages: no unknown field, no wrong JSON type, no unknown enum name, no zero value.

use super::notices::{judged, trace, traced};
use super::*;
use crate::model::notice::{AuthType, MatchType, Notice, PolicyAction, Trace, TracePoint, TraceReason};

/// JSON type of a field.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// 32 bits, or the number of an unknown enum value.
    Number,
    /// 64 bits: a string of digits.
    Number64,
    Bool,
    Time,
    /// `ENUM` names.
    Enum(&'static [&'static str]),
    /// The enum DropReason: an upper-case name, or a number.
    DropReason,
    Message(Fields),
    Texts,
    Messages(Fields),
}

type Fields = &'static [(&'static str, Kind)];

use Kind::{Bool, Enum, Message, Messages, Number, Number64, Text, Texts, Time};

const RESPONSE: Fields =
    &[("flow", Message(FLOW)), ("lost_events", Message(LOST_EVENT)), ("node_name", Text), ("time", Time)];
const LOST_EVENT: Fields = &[
    (
        "source",
        Enum(&[
            "UNKNOWN_LOST_EVENT_SOURCE",
            "PERF_EVENT_RING_BUFFER",
            "OBSERVER_EVENTS_QUEUE",
            "HUBBLE_RING_BUFFER",
        ]),
    ),
    ("num_events_lost", Number64),
    ("cpu", Number),
];
const FLOW: Fields = &[
    ("time", Time),
    ("uuid", Text),
    ("emitter", Message(&[("name", Text), ("version", Text)])),
    ("verdict", Enum(&["FORWARDED", "DROPPED", "ERROR", "AUDIT", "REDIRECTED", "TRACED", "TRANSLATED"])),
    ("drop_reason", Number),
    ("ethernet", Message(&[("source", Text), ("destination", Text)])),
    ("IP", Message(IP)),
    ("l4", Message(LAYER4)),
    (
        "tunnel",
        Message(&[
            ("protocol", Enum(&["VXLAN", "GENEVE"])),
            ("IP", Message(IP)),
            ("l4", Message(LAYER4)),
            ("vni", Number),
        ]),
    ),
    ("source", Message(ENDPOINT)),
    ("destination", Message(ENDPOINT)),
    ("Type", Enum(&["L3_L4", "L7", "SOCK"])),
    ("node_name", Text),
    ("source_names", Texts),
    ("destination_names", Texts),
    ("event_type", Message(&[("type", Number), ("sub_type", Number)])),
    ("traffic_direction", Enum(&["INGRESS", "EGRESS"])),
    ("drop_reason_desc", Kind::DropReason),
    ("is_reply", Bool),
    ("reply", Bool),
    ("policy_match_type", Number),
    ("trace_observation_point", Enum(POINTS)),
    (
        "trace_reason",
        Enum(&[
            "NEW",
            "ESTABLISHED",
            "REPLY",
            "RELATED",
            "REOPENED",
            "SRV6_ENCAP",
            "SRV6_DECAP",
            "ENCRYPT_OVERLAY",
        ]),
    ),
    ("proxy_port", Number),
    ("auth_type", Enum(&["SPIRE", "TEST_ALWAYS_FAIL"])),
    ("interface", Message(&[("index", Number), ("name", Text)])),
    ("file", Message(&[("name", Text), ("line", Number)])),
    ("ip_trace_id", Message(&[("trace_id", Number64), ("ip_option_type", Number)])),
    ("Summary", Text),
];
const POINTS: &[&str] = &[
    "TO_PROXY",
    "TO_HOST",
    "TO_STACK",
    "TO_OVERLAY",
    "FROM_ENDPOINT",
    "FROM_PROXY",
    "FROM_HOST",
    "FROM_STACK",
    "FROM_OVERLAY",
    "FROM_NETWORK",
    "TO_NETWORK",
    "FROM_CRYPTO",
    "TO_CRYPTO",
    "TO_ENDPOINT",
];
const IP: Fields = &[
    ("source", Text),
    ("destination", Text),
    ("ipVersion", Enum(&["IPv4", "IPv6"])),
    ("encrypted", Bool),
    ("source_xlated", Text),
];
const PORTS: Fields = &[("source_port", Number), ("destination_port", Number)];
const ICMP: Fields = &[("type", Number), ("code", Number)];
const LAYER4: Fields = &[
    ("TCP", Message(&[("source_port", Number), ("destination_port", Number), ("flags", Message(TCP_FLAGS))])),
    ("UDP", Message(PORTS)),
    ("ICMPv4", Message(ICMP)),
    ("ICMPv6", Message(ICMP)),
    ("SCTP", Message(PORTS)),
];
const TCP_FLAGS: Fields = &[
    ("FIN", Bool),
    ("SYN", Bool),
    ("RST", Bool),
    ("PSH", Bool),
    ("ACK", Bool),
    ("URG", Bool),
    ("ECE", Bool),
    ("CWR", Bool),
    ("NS", Bool),
];
const ENDPOINT: Fields = &[
    ("ID", Number),
    ("identity", Number),
    ("namespace", Text),
    ("labels", Texts),
    ("pod_name", Text),
    ("workloads", Messages(&[("name", Text), ("kind", Text)])),
    ("cluster_name", Text),
];

fn walk(message: &Value, fields: Fields, at: &str) {
    let members = message.as_object().unwrap_or_else(|| panic!("{at} is no object: {message}"));
    for (name, value) in members {
        let field = fields.iter().find(|(known, _)| known == name);
        let (_, kind) = field.unwrap_or_else(|| panic!("{at} has no field {name}"));
        walk_value(value, *kind, &format!("{at}.{name}"));
    }
}

fn walk_value(value: &Value, kind: Kind, at: &str) {
    let ok = match kind {
        Text => value.as_str().is_some_and(|text| !text.is_empty()),
        Number => value.as_u64().is_some_and(|n| n <= u32::MAX.into() && (n != 0 || at.ends_with(".cpu"))),
        Number64 => value.as_str().is_some_and(|text| text.parse::<u64>().is_ok_and(|n| n != 0)),
        // False is printed for wrappers only.
        Bool => value == &Value::Bool(true) || at.ends_with(".is_reply"),
        Time => value.as_str().is_some_and(is_time),
        Enum(names) => value.as_str().is_some_and(|name| names.contains(&name)),
        Kind::DropReason => match value {
            Value::String(name) => {
                name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            }
            number => number.as_u64().is_some_and(|n| n != 0),
        },
        Message(fields) => {
            walk(value, fields, at);
            true
        }
        Texts => {
            value.as_array().is_some_and(|texts| !texts.is_empty() && texts.iter().all(Value::is_string))
        }
        Messages(fields) => value.as_array().is_some_and(|items| {
            items.iter().for_each(|item| walk(item, fields, at));
            !items.is_empty()
        }),
    };
    assert!(ok, "{at}: {value}");
}

/// RFC 3339 in UTC with 0, 3, 6 or 9 digits of a second.
fn is_time(text: &str) -> bool {
    let Some(text) = text.strip_suffix('Z') else { return false };
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    whole.len() == 19 && whole.as_bytes()[10] == b'T' && matches!(digits.len(), 0 | 3 | 6 | 9)
}

/// All transports, with and without tunnel, Cilium's part, names, interface.
fn flows() -> Vec<Flow> {
    let (source_port, destination_port) = (0, 65535);
    let transports = [
        Transport::Tcp { source_port, destination_port, flags: TcpFlags(0) },
        Transport::Tcp { source_port, destination_port, flags: TcpFlags(0x1ff) },
        Transport::Udp { source_port, destination_port },
        Transport::Sctp { source_port, destination_port },
        Transport::Icmpv4 { kind: 0, code: 0 },
        Transport::Icmpv4 { kind: 3, code: 3 },
        Transport::Icmpv6 { kind: 128, code: 0 },
        Transport::Other { protocol: 89 },
        Transport::LaterFragment { protocol: 17 },
        Transport::Truncated { protocol: 6 },
    ];
    let mut packets = vec![];
    for transport in transports {
        for addresses in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            let plain = packet(addresses.0, addresses.1, transport);
            packets.extend([plain, tunnelled(plain)]);
        }
    }
    let ethernet = Ethernet { source: [0; 6], destination: [1; 6], ethertype: 0x806 };
    packets.push(Packet { ethernet: Some(ethernet), ..Packet::default() });
    packets.push(Packet::default());
    let mut flows: Vec<Flow> = packets.iter().map(|packet| Flow { packet: *packet, ..denied() }).collect();
    flows.extend(packets.iter().map(|packet| Flow { packet: *packet, ..closed_port() }));
    for reason in 0..=255 {
        let place = SourcePlace { file_id: 0, file: None, line: 0 };
        let drop = CiliumDrop {
            reason: DropReason(reason),
            ext_error: -1,
            place: Some(place),
            emitter: EndpointId(0),
            ip_trace_id: u64::from(reason) << 56,
        };
        let interface = Interface { index: IfIndex(u32::from(reason)), name: "".into() };
        flows.push(Flow {
            cilium: Some(drop),
            interface: Some(interface),
            time: WallTime(i64::from(reason)),
            ..denied()
        });
    }
    flows
}

#[test]
fn every_line_obeys_the_tables_of_hubbles_messages() {
    for flow in flows() {
        let mut plain = json_line(Format::Jsonpb, &flow);
        walk_line(&mut plain);
        let mut with_tracer = json_line(Format::Json, &flow);
        let tracer = with_tracer.as_object_mut().unwrap().remove("tracer");
        assert!(tracer.is_some_and(|t| t["schema_version"] == 1));
        walk_line(&mut with_tracer);
    }
}

fn walk_line(line: &mut Value) {
    walk(line, RESPONSE, "response");
    assert!(line.get("flow").is_some() && line.get("node_name").is_some() && line.get("time").is_some());
}

#[test]
fn traces_and_verdicts_obey_them_too() {
    for number in 0..14 {
        let (point, reason) = (TracePoint(number), TraceReason(number % 9));
        let source_xlated = Some("192.0.2.10".parse().unwrap());
        let told = Trace { point, reason, encrypted: true, source_xlated, proxy_port: 1, ..trace() };
        walk_line(&mut json_line(Format::Jsonpb, &traced(told)));
    }
    for (number, verdict) in Verdict::ALL.into_iter().enumerate() {
        for action in
            [PolicyAction::Allowed, PolicyAction::Denied(DropReason(181)), PolicyAction::Unknown(-300)]
        {
            let mut flow = judged(action, verdict);
            if let Some(Notice::Verdict(told)) = &mut flow.notice {
                (told.match_type, told.auth_type) = (MatchType(number as u8), AuthType(number as u8 % 3));
            }
            walk_line(&mut json_line(Format::Jsonpb, &flow));
        }
    }
}

#[test]
fn lost_events_obey_them_too() {
    for cpu in [None, Some(0), Some(7)] {
        let lost = Lost { source: LostSource::Queue, count: u64::MAX, cpu, time: WallTime(0) };
        let text = printed(&text_options(Format::Jsonpb), |printer| printer.lost(&lost).unwrap());
        walk(&serde_json::from_str(&text).unwrap(), RESPONSE, "response");
    }
}

#[test]
fn all_named_reasons_are_names_and_the_others_numbers() {
    for (reason, name) in crate::cilium::reason::all() {
        let drop = CiliumDrop { reason, ..denied().cilium.unwrap() };
        let line = json_line(Format::Jsonpb, &Flow { cilium: Some(drop), ..denied() });
        assert_eq!(line["flow"]["drop_reason_desc"], name);
        assert_eq!(line["flow"]["drop_reason"], reason.0);
        assert_eq!(line["flow"]["event_type"], json!({"type": 1, "sub_type": reason.0}));
    }
}

#[test]
fn the_outer_packet_of_a_tunnel_is_its_own_message() {
    let flow = Flow { packet: tunnelled(packet("10.0.0.1", "10.0.0.2", tcp(1, 2))), ..denied() };
    let line = json_line(Format::Jsonpb, &flow);
    let expected = json!({
        "protocol": "VXLAN",
        "IP": {"source": "192.0.2.10", "destination": "192.0.2.20", "ipVersion": "IPv4"},
        "l4": {"UDP": {"source_port": 51000, "destination_port": 8472}},
        "vni": 12345
    });
    assert_eq!(line["flow"]["tunnel"], expected);
    assert_eq!(line["flow"]["IP"]["source"], "10.0.0.1");
}
