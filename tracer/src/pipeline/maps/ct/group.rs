//! Entries grouped by properties: `tracer ct count --by` and `tracer ct top`.

use std::net::IpAddr;
use std::ops::ControlFlow;

use tracer_common::id::{EndpointId, Identity};

use super::facts::{self, Facts};
use super::owners::Owners;
use super::selection::Selection;
use super::tables::CtTable;
use crate::cilium::ct::{self, CtEntry, Kind, State};
use crate::cilium::endpoints::Endpoints;
use crate::cilium::node::NodeView;
use crate::cli::ct::{CtWanted, Property};
use crate::model::names::Names;
use crate::output::protocol;
use crate::pipeline::maps::Maps;

/// The value of one property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Index into the tables.
    Map(usize),
    Protocol(u8),
    Direction(&'static str),
    Kind(Kind),
    State(State),
    Identity(u32),
    /// `None`: neither end is an endpoint of this node.
    Pod(Option<u16>),
    Address(IpAddr),
    Port(u8, u16),
}

/// Groups by as many properties as were asked for.
pub type Groups = Owners<Vec<Value>>;

/// Counts the wanted entries of all tables.
pub fn count(
    maps: &mut Maps,
    view: &NodeView,
    tables: &[CtTable],
    wanted: &CtWanted,
    by: &[Property],
) -> Groups {
    let facts = facts::gather(maps, view, tables);
    let selection = Selection::new(wanted, view.endpoints());
    let mut groups = Groups::default();
    for (index, table) in tables.iter().enumerate().filter(|(_, table)| table.is_known) {
        let undecoded = count_table(maps, view, (index, table), &facts, &selection, by, &mut groups);
        maps.report.undecoded(&table.open.name, undecoded);
    }
    groups
}

/// Returns the number of entries that have no meaning.
fn count_table(
    maps: &mut Maps,
    view: &NodeView,
    (index, table): (usize, &CtTable),
    facts: &Facts,
    selection: &Selection,
    by: &[Property],
    groups: &mut Groups,
) -> u64 {
    let Some(generations) = facts.generations else { return 0 };
    let (mut undecoded, mut values) = (0, Vec::with_capacity(by.len()));
    maps.walk(&table.open, &mut |key, value| {
        match ct::decode(table.map, generations, key, value) {
            Some(entry) if selection.takes(&entry, &facts.clock) => {
                values.clear();
                values.extend(by.iter().map(|property| value_of(*property, index, &entry, view.endpoints())));
                groups.add(values.as_slice());
            }
            Some(_) => {}
            None => undecoded += 1,
        }
        ControlFlow::Continue(())
    });
    undecoded
}

fn value_of(property: Property, table: usize, entry: &CtEntry, endpoints: &Endpoints) -> Value {
    match property {
        Property::Map => Value::Map(table),
        Property::Protocol => Value::Protocol(entry.protocol),
        Property::Direction => Value::Direction(if entry.is_in { "in" } else { "out" }),
        Property::Kind => Value::Kind(entry.kind),
        Property::State => Value::State(entry.state()),
        Property::Identity => Value::Identity(entry.source_identity().0),
        Property::Pod => Value::Pod(owner(entry, endpoints).map(|id| id.0)),
        Property::Source => Value::Address(entry.source().ip()),
        Property::Destination => Value::Address(entry.destination().ip()),
        Property::Port => Value::Port(entry.protocol, entry.destination().port()),
    }
}

/// The endpoint of this node at either end, the originator before the other.
pub fn owner(entry: &CtEntry, endpoints: &Endpoints) -> Option<EndpointId> {
    let at = |ip| endpoints.by_ip(ip).map(|endpoint| endpoint.id);
    at(entry.source().ip()).or_else(|| at(entry.destination().ip()))
}

/// The value as text, and what it stands for.
pub fn describe(value: &Value, tables: &[CtTable], view: &mut NodeView) -> (String, String) {
    let plain = |text: String| (text, String::new());
    match value {
        Value::Map(index) => {
            plain(tables.get(*index).map(|table| table.open.name.clone()).unwrap_or_default())
        }
        Value::Protocol(number) => plain(protocol_text(*number)),
        Value::Direction(direction) => plain((*direction).to_owned()),
        Value::Kind(kind) => plain(kind.name().to_owned()),
        Value::State(state) => plain(state.name().to_owned()),
        Value::Identity(identity) => (identity.to_string(), labels(Identity(*identity), view)),
        Value::Pod(id) => pod(*id, view),
        Value::Address(ip) => (ip.to_string(), pod_at(*ip, view)),
        Value::Port(number, port) => plain(format!("{}/{port}", protocol_text(*number))),
    }
}

fn protocol_text(number: u8) -> String {
    protocol::name(number).map_or_else(|| number.to_string(), str::to_owned)
}

fn labels(identity: Identity, view: &mut NodeView) -> String {
    view.labels(identity).map(|labels| labels.iter().collect::<Vec<_>>().join(",")).unwrap_or_default()
}

/// Pod, else endpoint; connections of neither are those of the node and of traffic that passes through.
fn pod(id: Option<u16>, view: &mut NodeView) -> (String, String) {
    let Some(id) = id else { return ("(no pod of this node)".to_owned(), String::new()) };
    let endpoint = view.endpoint_by_id(EndpointId(id));
    match endpoint.filter(|endpoint| !endpoint.pod.is_empty()) {
        Some(endpoint) => (format!("{}/{}", endpoint.namespace, endpoint.pod), format!("endpoint {id}")),
        None => (format!("endpoint {id}"), String::new()),
    }
}

fn pod_at(ip: IpAddr, view: &mut NodeView) -> String {
    match view.endpoint_by_ip(ip) {
        Some(endpoint) if !endpoint.pod.is_empty() => format!("{}/{}", endpoint.namespace, endpoint.pod),
        Some(endpoint) => format!("endpoint {}", endpoint.id.0),
        None => view.node_name(ip).map(|node| format!("node {node}")).unwrap_or_default(),
    }
}
