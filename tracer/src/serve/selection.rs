//! Hubble's `FlowFilter` as conditions of ours. A field that cannot be decided here is refused, and so is one
//! that this release does not know: a filter that is ignored would show what nobody asked for.

use prost::Message as _;

use super::proto::flow::{EventTypeFilter, NetworkInterface, TcpFlags as WireFlags};
use super::wire::{Fields, Value};
use crate::filter::build::{FilterError, conjunction};
use crate::filter::pattern::Glob;
use crate::filter::{Conjunction, EventType, FilterSet, IpVersion};
use crate::model::flow::{Direction, Verdict};
use crate::model::packet::TcpFlags;
use crate::model::reason::DropReason;
use crate::output::flow_proto;

/// Why a filter is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    #[error("filter field `{0}` cannot be decided here: {1}")]
    Undecidable(&'static str, &'static str),
    #[error("filter field number {0} is not known to this release of tracer")]
    Unknown(u32),
    #[error("filter field `{0}`: {1}")]
    Value(&'static str, String),
    #[error("filter field `{0}` has a value of the wrong type")]
    Type(&'static str),
}

/// How the values of a field are read.
enum Kind {
    /// Text, as the flag of this name has it.
    Flag(&'static str),
    /// A number, as the flag of this name has it.
    NumberFlag(&'static str),
    Number(fn(&mut Conjunction, u64) -> Result<(), String>),
    Message(fn(&mut Conjunction, &[u8]) -> Result<(), String>),
    /// Why it cannot be decided.
    Undecidable(&'static str),
}

use Kind::{Flag, Message, Number, NumberFlag, Undecidable};

const LAYER7: &str = "layer 7 is seen by the agent's proxy only, not by the datapath";
const SERVICES: &str = "services are not looked up; use the frontend's address and port";
const WORKLOADS: &str = "a pod's workload is known to the Kubernetes API only";

/// The fields of `FlowFilter`: number, name, and how to read them.
const FIELDS: &[(u32, &str, Kind)] = &[
    (1, "source_ip", Flag("from-ip")),
    (2, "source_pod", Flag("from-pod")),
    (3, "destination_ip", Flag("to-ip")),
    (4, "destination_pod", Flag("to-pod")),
    (5, "verdict", Number(verdict)),
    (6, "event_type", Message(event_type)),
    (7, "source_fqdn", Flag("from-fqdn")),
    (8, "destination_fqdn", Flag("to-fqdn")),
    (9, "http_status_code", Undecidable(LAYER7)),
    (10, "source_label", Flag("from-label")),
    (11, "destination_label", Flag("to-label")),
    (12, "protocol", Flag("protocol")),
    (13, "source_port", Flag("from-port")),
    (14, "destination_port", Flag("to-port")),
    (15, "reply", Number(|conditions, number| truth(&mut conditions.replies, number))),
    (16, "source_service", Undecidable(SERVICES)),
    (17, "destination_service", Undecidable(SERVICES)),
    (18, "dns_query", Undecidable(LAYER7)),
    (19, "source_identity", NumberFlag("from-identity")),
    (20, "destination_identity", NumberFlag("to-identity")),
    (21, "http_method", Undecidable(LAYER7)),
    (22, "http_path", Undecidable(LAYER7)),
    (23, "tcp_flags", Message(tcp_flags)),
    (24, "node_name", Flag("node-name")),
    (25, "ip_version", Number(ip_version)),
    (26, "source_workload", Undecidable(WORKLOADS)),
    (27, "destination_workload", Undecidable(WORKLOADS)),
    (28, "trace_id", Undecidable(LAYER7)),
    (29, "uuid", Undecidable("flow ids are made up while sending")),
    (30, "traffic_direction", Number(direction)),
    (31, "http_url", Undecidable(LAYER7)),
    (32, "http_header", Undecidable(LAYER7)),
    (33, "drop_reason_desc", Number(drop_reason)),
    (34, "source_ip_xlated", Flag("snat-ip")),
    (35, "interface", Message(interface)),
    (36, "node_labels", Undecidable("node labels are known to the Kubernetes API only")),
    (37, "source_cluster_name", Flag("from-cluster")),
    (38, "destination_cluster_name", Flag("to-cluster")),
    (39, "ip_trace_id", NumberFlag("ip-trace-id")),
    (40, "encrypted", Number(|conditions, number| truth(&mut conditions.encrypted, number))),
    (999, "experimental", Undecidable("expressions are not evaluated")),
];

/// The filter of a request. `node`: see [`FilterSet::bind_node`].
pub fn filter_set(allow: &[Fields], deny: &[Fields], node: &str) -> Result<FilterSet, SelectionError> {
    let list = |filters: &[Fields]| filters.iter().map(read).collect::<Result<_, _>>();
    let mut set = FilterSet { allow: list(allow)?, deny: list(deny)? };
    set.bind_node(node);
    Ok(set)
}

fn read(filter: &Fields) -> Result<Conjunction, SelectionError> {
    let mut texts: Vec<(&'static str, &'static str, String)> = Vec::new();
    let mut later = Vec::new();
    for (number, value) in &filter.0 {
        let known = FIELDS.iter().find(|(known, _, _)| known == number);
        let (_, name, kind) = known.ok_or(SelectionError::Unknown(*number))?;
        match kind {
            Undecidable(why) => return Err(SelectionError::Undecidable(name, why)),
            Flag(flag) => texts.push((name, flag, text(value).ok_or(SelectionError::Type(name))?)),
            NumberFlag(flag) => {
                let numbers = numbers(value).ok_or(SelectionError::Type(name))?;
                texts.extend(numbers.into_iter().map(|number| (*name, *flag, number.to_string())));
            }
            Number(_) | Message(_) => later.push((*name, kind, value)),
        }
    }
    let flags = texts.iter().map(|(_, flag, value)| (*flag, value.as_str()));
    let mut conditions = conjunction(flags).map_err(|error| in_fields_words(error, &texts))?;
    for (name, kind, value) in later {
        add(&mut conditions, kind, value)
            .ok_or(SelectionError::Type(name))?
            .map_err(|problem| SelectionError::Value(name, problem))?;
    }
    Ok(conditions)
}

/// `None`: the value has the wrong type.
fn add(conditions: &mut Conjunction, kind: &Kind, value: &Value) -> Option<Result<(), String>> {
    match (kind, value) {
        (Number(add), _) => Some(numbers(value)?.into_iter().try_for_each(|number| add(conditions, number))),
        (Message(add), Value::Bytes(bytes)) => Some(add(conditions, bytes)),
        _ => None,
    }
}

/// The error under the name of the field instead of the flag's.
fn in_fields_words(error: FilterError, texts: &[(&'static str, &'static str, String)]) -> SelectionError {
    let FilterError::Value { flag, value, problem } = error else {
        return SelectionError::Value("filter", error.to_string());
    };
    let name = texts.iter().find(|(_, known, _)| *known == flag).map_or("filter", |(name, _, _)| name);
    SelectionError::Value(name, format!("`{value}`: {problem}"))
}

fn text(value: &Value) -> Option<String> {
    let Value::Bytes(bytes) = value else { return None };
    String::from_utf8(bytes.to_vec()).ok()
}

/// A number, or packed ones.
fn numbers(value: &Value) -> Option<Vec<u64>> {
    match value {
        Value::Number(number) => Some(vec![*number]),
        Value::Bytes(bytes) => {
            let mut rest = bytes.clone();
            let mut numbers = Vec::new();
            while !rest.is_empty() {
                numbers.push(prost::encoding::decode_varint(&mut rest).ok()?);
            }
            Some(numbers)
        }
        Value::Other => None,
    }
}

fn truth(wanted: &mut Vec<bool>, number: u64) -> Result<(), String> {
    wanted.push(match number {
        0 => false,
        1 => true,
        _ => return Err(format!("{number} is neither true nor false")),
    });
    Ok(())
}

fn verdict(conditions: &mut Conjunction, number: u64) -> Result<(), String> {
    let known = Verdict::ALL.into_iter().find(|known| u64::from(flow_proto::verdict(*known)) == number);
    conditions.verdicts.push(known.ok_or_else(|| format!("no verdict has number {number}"))?);
    Ok(())
}

fn direction(conditions: &mut Conjunction, number: u64) -> Result<(), String> {
    let all = [Direction::Unknown, Direction::Ingress, Direction::Egress];
    let known = all.into_iter().find(|known| u64::from(flow_proto::direction(*known)) == number);
    conditions.directions.push(known.ok_or_else(|| format!("no direction has number {number}"))?);
    Ok(())
}

fn drop_reason(conditions: &mut Conjunction, number: u64) -> Result<(), String> {
    let reason = u8::try_from(number).map_err(|_| format!("no drop reason has number {number}"))?;
    conditions.drop_reasons.push(DropReason(reason));
    Ok(())
}

fn ip_version(conditions: &mut Conjunction, number: u64) -> Result<(), String> {
    conditions.ip_versions.push(match number {
        0 => IpVersion::None,
        1 => IpVersion::V4,
        2 => IpVersion::V6,
        _ => return Err(format!("no IP version has number {number}")),
    });
    Ok(())
}

fn event_type(conditions: &mut Conjunction, message: &[u8]) -> Result<(), String> {
    let wanted = EventTypeFilter::decode(message).map_err(|error| error.to_string())?;
    let byte = |number: i32| u8::try_from(number).map_err(|_| format!("no event type has number {number}"));
    let sub_type = if wanted.match_sub_type { Some(byte(wanted.sub_type)?) } else { None };
    conditions.event_types.push(EventType { kind: byte(wanted.r#type)?, sub_type });
    Ok(())
}

fn tcp_flags(conditions: &mut Conjunction, message: &[u8]) -> Result<(), String> {
    let wanted = WireFlags::decode(message).map_err(|error| error.to_string())?;
    let WireFlags { fin, syn, rst, psh, ack, urg, ece, cwr, ns } = wanted;
    let flags = [fin, syn, rst, psh, ack, urg, ece, cwr, ns];
    let bits = flags.into_iter().enumerate().map(|(bit, set)| u16::from(set) << bit).sum();
    conditions.tcp_flags.push(TcpFlags(bits));
    Ok(())
}

fn interface(conditions: &mut Conjunction, message: &[u8]) -> Result<(), String> {
    let wanted = NetworkInterface::decode(message).map_err(|error| error.to_string())?;
    if wanted.index != 0 || wanted.name.is_empty() {
        return Err("interfaces are selected by name here, not by index".to_owned());
    }
    conditions.interfaces.push(Glob::new(wanted.name));
    Ok(())
}
