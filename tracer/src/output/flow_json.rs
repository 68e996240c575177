//! An event as one JSON line: Hubble's `GetFlowsResponse` in proto3 JSON mapping with the field names of the
//! proto files, and with `-o json` the key `tracer` beside it.
//!
//! Drops that only the kernel saw have no event type, no `drop_reason` and no `drop_reason_desc`: the last would
//! be DROP_REASON_UNKNOWN (0), which the mapping leaves out. `is_reply` is left out where nobody tells it, as with
//! every drop.

use super::fragments::{EndKey, EventKey, Fragments};
use super::json::{Object, quoted};
use super::packet::{write_ip, write_mac, write_summary};
use super::printer::Node;
use super::time::Clock;
use super::tracer_json;
use super::uuid::Uuids;
use super::why::brief::Rendered;
use crate::cilium::{notice, reason};
use crate::model::endpoint::{Labels, Peer};
use crate::model::flow::{CiliumDrop, Direction, Flow};
use crate::model::notice::{Notice, PolicyVerdict, Trace};
use crate::model::packet::{Ethernet, Ip, TcpFlags, Transport, Tunnel, TunnelKind};
use crate::model::reason::{DropReason, SourcePlace};
use crate::model::time::WallTime;

/// Who made the event, in Hubble's field for it; ends the member before.
const EMITTER: &str =
    concat!("\",\"emitter\":{\"name\":\"tracer\",\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}");

/// What JSON lines of one run need beside the flow: a clock, random ids, and pieces that come again.
#[derive(Debug)]
pub(super) struct Json {
    pub clock: Clock,
    uuids: Uuids,
    /// The member `node_name`, empty until it is needed: a run has one node.
    node_name: Vec<u8>,
    ends: Fragments<EndKey>,
    events: Fragments<EventKey>,
    tracer: tracer_json::Pieces,
}

impl Default for Json {
    fn default() -> Self {
        Self {
            clock: Clock::json(),
            uuids: Uuids::new(),
            node_name: Vec::new(),
            ends: Fragments::default(),
            events: Fragments::default(),
            tracer: tracer_json::Pieces::default(),
        }
    }
}

impl Json {
    /// `tracer`: whether that key is wanted, and the policy behind the event if it was asked.
    pub fn write(&mut self, out: &mut Vec<u8>, flow: &Flow, node: &Node, tracer: Option<Option<&Rendered>>) {
        Object::write(out, |line| {
            line.object("flow", |object| self.flow(object, flow, node));
            self.node_name(line, node);
            line.time("time", &mut self.clock, flow.time);
            if let Some(why) = tracer {
                line.object("tracer", |object| self.tracer.write(object, flow, node.releases, why));
            }
        });
        out.push(b'\n');
    }

    /// Forgets what depends on the node's releases.
    pub fn forget(&mut self) {
        self.events.clear();
        self.tracer.forget();
    }

    fn flow(&mut self, object: &mut Object<'_>, flow: &Flow, node: &Node) {
        object.members(|out| {
            out.extend_from_slice(b"\"time\":\"");
            self.clock.write(out, flow.time);
            out.extend_from_slice(b"\",\"uuid\":\"");
            self.uuids.write(out);
            out.extend_from_slice(EMITTER.as_bytes());
        });
        object.word("verdict", flow.verdict.name());
        if let Some(reason) = flow.drop_reason() {
            object.number("drop_reason", reason.0.into());
        }
        write_packet(object, flow);
        self.end(object.key("source"), &flow.src);
        self.end(object.key("destination"), &flow.dst);
        object.word("Type", "L3_L4");
        self.node_name(object, node);
        object.strings("source_names", flow.src.dns_names.iter().map(AsRef::as_ref));
        object.strings("destination_names", flow.dst.dns_names.iter().map(AsRef::as_ref));
        let event = |out: &mut Vec<u8>| Object::write_members(out, |object| write_event(object, flow));
        object.members(|out| self.events.write(out, flow, event));
        if flow.packet.ip.is_some() || flow.packet.ethernet.is_some() {
            quoted(object.key("Summary"), |out| write_summary(out, &flow.packet));
        }
    }

    fn node_name(&mut self, object: &mut Object<'_>, node: &Node) {
        if self.node_name.is_empty() {
            Object::write_members(&mut self.node_name, |object| object.string("node_name", &node.name));
        }
        object.members(|out| out.extend_from_slice(&self.node_name));
    }

    fn end(&mut self, out: &mut Vec<u8>, peer: &Peer) {
        self.ends.write(out, peer, |out| Object::write(out, |end| write_endpoint(end, peer)));
    }
}

fn write_event(object: &mut Object<'_>, flow: &Flow) {
    let is_reply = flow.is_reply();
    object.flag("reply", is_reply == Some(true));
    if let Some((kind, sub_type)) = flow.event_type() {
        object.object("event_type", |event| {
            event.number("type", kind.into());
            event.number("sub_type", sub_type.into());
        });
    }
    match flow.direction {
        Direction::Unknown => {}
        Direction::Ingress => object.always_string("traffic_direction", "INGRESS"),
        Direction::Egress => object.always_string("traffic_direction", "EGRESS"),
    }
    match &flow.notice {
        Some(Notice::Trace(trace)) => write_point(object, trace),
        Some(Notice::Verdict(verdict)) => object.number("policy_match_type", verdict.match_type.0.into()),
        None => {}
    }
    if let Some(reason) = flow.drop_reason() {
        write_reason(object, reason);
    }
    if let Some(is_reply) = is_reply {
        object.always_flag("is_reply", is_reply);
    }
    if let Some(interface) = &flow.interface {
        object.object("interface", |object| {
            object.number("index", interface.index.0);
            object.string("name", &interface.name);
        });
    }
    match &flow.notice {
        Some(Notice::Trace(trace)) => write_trace(object, trace),
        Some(Notice::Verdict(verdict)) => write_auth(object, verdict),
        None => {}
    }
    if let Some(drop) = &flow.cilium {
        write_place(object, drop);
    }
    if let id @ 1.. = flow.ip_trace_id() {
        object.object("ip_trace_id", |object| object.number64("trace_id", id));
    }
}

fn write_point(object: &mut Object<'_>, trace: &Trace) {
    match notice::hubble_point_name(trace.point) {
        Some(name) => object.always_string("trace_observation_point", name),
        None => object.number("trace_observation_point", notice::hubble_point(trace.point)),
    }
}

fn write_trace(object: &mut Object<'_>, trace: &Trace) {
    object.number("proxy_port", trace.proxy_port.into());
    match notice::hubble_reason_name(trace.reason) {
        Some(name) => object.always_string("trace_reason", name),
        None => object.number("trace_reason", notice::hubble_reason(trace.reason)),
    }
}

fn write_auth(object: &mut Object<'_>, verdict: &PolicyVerdict) {
    match notice::auth_type_name(verdict.auth_type) {
        Some(name) if verdict.auth_type.0 != 0 => object.always_string("auth_type", name),
        _ => object.number("auth_type", verdict.auth_type.0.into()),
    }
}

/// Numbers that Hubble's enumeration does not have are printed as numbers.
fn write_reason(object: &mut Object<'_>, reason: DropReason) {
    match reason::hubble(reason) {
        Some(name) => object.always_string("drop_reason_desc", name),
        None => object.number("drop_reason_desc", reason.0.into()),
    }
}

fn write_place(object: &mut Object<'_>, drop: &CiliumDrop) {
    if let Some(place) = drop.place {
        object.object("file", |file| write_file(file, place));
    }
}

/// A file id without a known name is called `unknown(103)`, as Hubble does.
fn write_file(file: &mut Object<'_>, place: SourcePlace) {
    match place.file {
        Some(name) => file.string("name", name),
        None => quoted(file.key("name"), |out| {
            out.extend_from_slice(b"unknown(");
            super::json::decimal(out, place.file_id);
            out.push(b')');
        }),
    }
    file.number("line", place.line.into());
}

fn write_packet(object: &mut Object<'_>, flow: &Flow) {
    if let Some(ethernet) = &flow.packet.ethernet {
        object.members(|out| write_ethernet(out, ethernet));
    }
    if let Some(ip) = &flow.packet.ip {
        write_layers(object, ip, flow.trace());
    }
    if let Some(tunnel) = &flow.packet.tunnel {
        object.object("tunnel", |object| write_tunnel(object, tunnel));
    }
}

fn write_ethernet(out: &mut Vec<u8>, ethernet: &Ethernet) {
    out.extend_from_slice(b"\"ethernet\":{\"source\":\"");
    write_mac(out, &ethernet.source);
    out.extend_from_slice(b"\",\"destination\":\"");
    write_mac(out, &ethernet.destination);
    out.extend_from_slice(b"\"}");
}

/// The member `IP`.
fn write_addresses(out: &mut Vec<u8>, ip: &Ip, trace: Option<&Trace>) {
    out.extend_from_slice(b"\"IP\":{\"source\":\"");
    write_ip(out, ip.source);
    out.extend_from_slice(b"\",\"destination\":\"");
    write_ip(out, ip.destination);
    let version =
        if ip.source.is_ipv4() { b"\",\"ipVersion\":\"IPv4\"" } else { b"\",\"ipVersion\":\"IPv6\"" };
    out.extend_from_slice(version);
    if trace.is_some_and(|trace| trace.encrypted) {
        out.extend_from_slice(b",\"encrypted\":true");
    }
    if let Some(xlated) = trace.and_then(|trace| trace.source_xlated) {
        out.extend_from_slice(b",\"source_xlated\":\"");
        write_ip(out, xlated);
        out.push(b'"');
    }
    out.push(b'}');
}

/// `IP` and `l4`. `trace`: what it tells of the addresses.
fn write_layers(object: &mut Object<'_>, ip: &Ip, trace: Option<&Trace>) {
    object.members(|out| write_addresses(out, ip, trace));
    let (name, ports) = match &ip.transport {
        Transport::Tcp { source_port, destination_port, flags } => {
            return object.object("l4", |l4| {
                l4.object("TCP", |tcp| {
                    write_ports(tcp, (*source_port, *destination_port));
                    tcp.object("flags", |object| write_flags(object, *flags));
                });
            });
        }
        Transport::Icmpv4 { kind, code } => return write_icmp(object, "ICMPv4", *kind, *code),
        Transport::Icmpv6 { kind, code } => return write_icmp(object, "ICMPv6", *kind, *code),
        Transport::Udp { source_port, destination_port } => ("UDP", (*source_port, *destination_port)),
        Transport::Sctp { source_port, destination_port } => ("SCTP", (*source_port, *destination_port)),
        _ => return,
    };
    object.object("l4", |l4| l4.object(name, |object| write_ports(object, ports)));
}

fn write_ports(object: &mut Object<'_>, (source, destination): (u16, u16)) {
    object.number("source_port", source.into());
    object.number("destination_port", destination.into());
}

fn write_flags(object: &mut Object<'_>, flags: TcpFlags) {
    /// In the order of the proto fields.
    const FLAGS: [&str; 9] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS"];
    for (bit, name) in FLAGS.into_iter().enumerate() {
        object.flag(name, flags.0 >> bit & 1 == 1);
    }
}

fn write_icmp(object: &mut Object<'_>, name: &str, kind: u8, code: u8) {
    object.object("l4", |l4| {
        l4.object(name, |icmp| {
            icmp.number("type", kind.into());
            icmp.number("code", code.into());
        });
    });
}

fn write_tunnel(object: &mut Object<'_>, tunnel: &Tunnel) {
    let protocol = match tunnel.kind {
        TunnelKind::Vxlan => "VXLAN",
        TunnelKind::Geneve => "GENEVE",
    };
    object.always_string("protocol", protocol);
    write_layers(object, &tunnel.outer, None);
    object.number("vni", tunnel.vni);
}

fn write_endpoint(object: &mut Object<'_>, peer: &Peer) {
    object.number("ID", peer.endpoint_id().0.into());
    object.number("identity", peer.identity.unwrap_or_default().0);
    object.string("cluster_name", peer.cluster());
    object.string("namespace", peer.namespace());
    object.strings("labels", peer.labels().into_iter().flat_map(Labels::iter));
    object.string("pod_name", peer.pod());
    let workloads = peer.endpoint.as_ref().map_or(&[][..], |e| &e.workloads);
    if !workloads.is_empty() {
        object.objects("workloads", workloads, |object, workload| {
            object.string("name", &workload.name);
            object.string("kind", &workload.kind);
        });
    }
}

impl Object<'_> {
    pub fn time(&mut self, key: &str, clock: &mut Clock, time: WallTime) {
        quoted(self.key(key), |out| clock.write(out, time));
    }
}
