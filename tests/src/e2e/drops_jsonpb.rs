//! `-o jsonpb` lines against the tables of Hubble's messages: field names, JSON types, enum names, 64-bit numbers
//! as strings, nothing that is zero. Of the whole message, the parts that a drop can have.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::support::Scene;
use crate::node::Node;
use crate::runner::Outcome;

crate::tests![lines_have_hubbles_shape: 90];

/// The JSON form of a field's type.
#[derive(Clone, Copy)]
enum Kind {
    String,
    Strings,
    /// 32 bits: a number.
    Uint32,
    /// 64 bits: a string of digits.
    Uint64,
    /// True: false is left out.
    True,
    /// May be false: the message knows "not known" too.
    BoolValue,
    Timestamp,
    Enum(&'static [&'static str]),
    Message(&'static [(&'static str, Kind)]),
    Messages(&'static [(&'static str, Kind)]),
}

type Fields = &'static [(&'static str, Kind)];

use Kind::{BoolValue, Enum, Message, Messages, String, Strings, Timestamp, True, Uint32, Uint64};

const RESPONSE: Fields = &[("flow", Message(FLOW)), ("node_name", String), ("time", Timestamp)];

const FLOW: Fields = &[
    ("time", Timestamp),
    ("verdict", Enum(&["DROPPED"])),
    ("drop_reason", Uint32),
    ("ethernet", Message(&[("source", String), ("destination", String)])),
    ("IP", Message(IP)),
    ("l4", Message(LAYER4)),
    ("source", Message(ENDPOINT)),
    ("destination", Message(ENDPOINT)),
    ("Type", Enum(&["L3_L4"])),
    ("node_name", String),
    ("source_names", Strings),
    ("destination_names", Strings),
    ("event_type", Message(&[("type", Uint32), ("sub_type", Uint32)])),
    ("source_service", Message(SERVICE)),
    ("destination_service", Message(SERVICE)),
    ("traffic_direction", Enum(&["INGRESS", "EGRESS"])),
    ("drop_reason_desc", Enum(DROP_REASONS)),
    ("is_reply", BoolValue),
    ("interface", Message(&[("index", Uint32), ("name", String)])),
    ("uuid", String),
    ("node_labels", Strings),
    ("file", Message(&[("name", String), ("line", Uint32)])),
    ("tunnel", Message(TUNNEL)),
    ("ip_trace_id", Message(&[("trace_id", Uint64), ("ip_option_type", Uint32)])),
    ("emitter", Message(&[("name", String), ("version", String)])),
    ("Summary", String),
];

const IP: Fields = &[
    ("source", String),
    ("destination", String),
    ("ipVersion", Enum(&["IPv4", "IPv6"])),
    ("encrypted", True),
];

const LAYER4: Fields = &[
    ("TCP", Message(&[("source_port", Uint32), ("destination_port", Uint32), ("flags", Message(FLAGS))])),
    ("UDP", Message(PORTS)),
    ("ICMPv4", Message(ICMP)),
    ("ICMPv6", Message(ICMP)),
    ("SCTP", Message(PORTS)),
];
const PORTS: Fields = &[("source_port", Uint32), ("destination_port", Uint32)];
const ICMP: Fields = &[("type", Uint32), ("code", Uint32)];
const FLAGS: Fields = &[
    ("FIN", True),
    ("SYN", True),
    ("RST", True),
    ("PSH", True),
    ("ACK", True),
    ("URG", True),
    ("ECE", True),
    ("CWR", True),
    ("NS", True),
];
const TUNNEL: Fields = &[
    ("protocol", Enum(&["VXLAN", "GENEVE"])),
    ("IP", Message(IP)),
    ("l4", Message(LAYER4)),
    ("vni", Uint32),
];
const SERVICE: Fields = &[("name", String), ("namespace", String)];
const ENDPOINT: Fields = &[
    ("ID", Uint32),
    ("identity", Uint32),
    ("namespace", String),
    ("labels", Strings),
    ("pod_name", String),
    ("workloads", Messages(&[("name", String), ("kind", String)])),
    ("cluster_name", String),
];

/// Names of the reasons that the traffic meets.
const DROP_REASONS: &[&str] = &[
    "INVALID_SOURCE_IP",
    "POLICY_DENIED",
    "CT_UNKNOWN_L4_PROTOCOL",
    "IP_FRAGMENTATION_NOT_SUPPORTED",
    "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND",
    "POLICY_DENY",
    "VLAN_FILTERED",
];

/// RFC 3339 in UTC with 0, 3, 6 or 9 digits behind the point.
fn is_timestamp(text: &str) -> bool {
    let shape: std::string::String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let fractions = ["", ".000", ".000000", ".000000000"];
    fractions.iter().any(|fraction| shape == format!("0000-00-00T00:00:00{fraction}Z"))
}

fn is_string(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

fn check_fields(message: &Value, fields: Fields) -> Result<()> {
    let members = message.as_object().context("not an object")?;
    for (name, value) in members {
        let field = fields.iter().find(|(known, _)| known == name);
        let (_, kind) = field.with_context(|| format!("no field `{name}` in Hubble's message"))?;
        check(value, *kind).with_context(|| name.clone())?;
    }
    Ok(())
}

fn check(value: &Value, kind: Kind) -> Result<()> {
    let good = match kind {
        String => is_string(value),
        Strings => value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(is_string)),
        Uint32 => value.as_u64().is_some_and(|number| (1..=u64::from(u32::MAX)).contains(&number)),
        Uint64 => value.as_str().is_some_and(|text| text.parse::<u64>().is_ok_and(|number| number > 0)),
        True => *value == Value::Bool(true),
        BoolValue => value.is_boolean(),
        Timestamp => value.as_str().is_some_and(is_timestamp),
        Enum(names) => value.as_str().is_some_and(|name| names.contains(&name)),
        Message(fields) => return check_fields(value, fields),
        Messages(fields) => match value.as_array() {
            Some(list) if !list.is_empty() => {
                return list.iter().try_for_each(|item| check_fields(item, fields));
            }
            _ => bail!("no list of messages: {value}"),
        },
    };
    ensure!(good, "wrong value: {value}");
    Ok(())
}

fn lines_have_hubbles_shape() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let (run, sent) = scene.trace(&["-o", "jsonpb", "--all"], 1)?;
    run.expect_code(0)?;
    let events = run.events()?;
    for event in &events {
        check_fields(event, RESPONSE).with_context(|| event.to_string())?;
        let flow = &event["flow"];
        for key in ["flow", "node_name", "time"] {
            ensure!(event.get(key).is_some(), "no `{key}`: {event}");
        }
        ensure!(flow["time"] == event["time"] && flow["node_name"] == event["node_name"], "twins: {event}");
        ensure!(
            flow["verdict"] == "DROPPED" && flow["event_type"].is_object() == flow["drop_reason"].is_u64()
        );
    }
    let dropped: u64 = sent.iter().filter(|case| case.reason.is_some()).map(|case| case.packets).sum();
    let ciliums = events.iter().filter(|event| event["flow"]["drop_reason"].is_u64()).count();
    ensure!(ciliums as u64 == dropped && events.len() > ciliums, "{ciliums} of {dropped} drops shown");
    Ok(Outcome::Passed)
}
