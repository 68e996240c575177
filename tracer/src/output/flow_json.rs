//! A drop as one JSON line: Hubble's `GetFlowsResponse` in proto3 JSON mapping with the field names of the
//! proto files, and with `-o json` the key `tracer` beside it.
//!
//! Drops that only the kernel saw have no event type, no `drop_reason` and no `drop_reason_desc`: the last would
//! be DROP_REASON_UNKNOWN (0), which the mapping leaves out. `is_reply` is left out because drops do not
//! tell it.

use super::json::{Object, quoted};
use super::packet::{write_ip, write_mac, write_summary};
use super::printer::Node;
use super::time::Clock;
use super::tracer_json;
use super::uuid::Uuids;
use super::why::brief::Rendered;
use crate::cilium::reason;
use crate::model::endpoint::{Labels, Peer};
use crate::model::flow::{CiliumDrop, Direction, Flow};
use crate::model::packet::{Ethernet, Ip, TcpFlags, Transport, Tunnel, TunnelKind};
use crate::model::reason::{DropReason, SourcePlace};
use crate::model::time::WallTime;

/// Cilium's message type of drops.
const DROP_MESSAGE: u32 = 1;

/// `tracer`: whether that key is wanted, and the policy behind the event if it was asked.
pub(super) fn write(
    out: &mut Vec<u8>,
    flow: &Flow,
    node: &Node,
    clock: &mut Clock,
    uuids: &mut Uuids,
    tracer: Option<Option<&Rendered>>,
) {
    Object::write(out, |line| {
        line.object("flow", |object| write_flow(object, flow, node, clock, uuids));
        line.string("node_name", &node.name);
        line.time("time", clock, flow.time);
        if let Some(why) = tracer {
            line.object("tracer", |object| tracer_json::write(object, flow, node.releases, why));
        }
    });
    out.push(b'\n');
}

fn write_flow(object: &mut Object<'_>, flow: &Flow, node: &Node, clock: &mut Clock, uuids: &mut Uuids) {
    object.time("time", clock, flow.time);
    quoted(object.key("uuid"), |out| uuids.write(out));
    object.object("emitter", |emitter| {
        emitter.string("name", "tracer");
        emitter.string("version", env!("CARGO_PKG_VERSION"));
    });
    object.always_string("verdict", flow.verdict.name());
    if let Some(drop) = &flow.cilium {
        object.number("drop_reason", drop.reason.0.into());
    }
    write_packet(object, flow);
    object.object("source", |end| write_endpoint(end, &flow.src));
    object.object("destination", |end| write_endpoint(end, &flow.dst));
    object.always_string("Type", "L3_L4");
    object.string("node_name", &node.name);
    object.strings("source_names", flow.src.dns_names.iter().map(AsRef::as_ref));
    object.strings("destination_names", flow.dst.dns_names.iter().map(AsRef::as_ref));
    write_event(object, flow);
    if flow.packet.ip.is_some() || flow.packet.ethernet.is_some() {
        quoted(object.key("Summary"), |out| write_summary(out, &flow.packet));
    }
}

fn write_event(object: &mut Object<'_>, flow: &Flow) {
    if let Some(drop) = &flow.cilium {
        object.object("event_type", |event| {
            event.number("type", DROP_MESSAGE);
            event.number("sub_type", drop.reason.0.into());
        });
    }
    match flow.direction {
        Direction::Unknown => {}
        Direction::Ingress => object.always_string("traffic_direction", "INGRESS"),
        Direction::Egress => object.always_string("traffic_direction", "EGRESS"),
    }
    if let Some(drop) = &flow.cilium {
        write_reason(object, drop.reason);
    }
    if let Some(interface) = &flow.interface {
        object.object("interface", |object| {
            object.number("index", interface.index.0);
            object.string("name", &interface.name);
        });
    }
    if let Some(drop) = &flow.cilium {
        write_place(object, drop);
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
    if drop.ip_trace_id != 0 {
        object.object("ip_trace_id", |id| id.number64("trace_id", drop.ip_trace_id));
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
        object.object("ethernet", |object| write_ethernet(object, ethernet));
    }
    if let Some(ip) = &flow.packet.ip {
        write_layers(object, ip);
    }
    if let Some(tunnel) = &flow.packet.tunnel {
        object.object("tunnel", |object| write_tunnel(object, tunnel));
    }
}

fn write_ethernet(object: &mut Object<'_>, ethernet: &Ethernet) {
    quoted(object.key("source"), |out| write_mac(out, &ethernet.source));
    quoted(object.key("destination"), |out| write_mac(out, &ethernet.destination));
}

/// `IP` and `l4`.
fn write_layers(object: &mut Object<'_>, ip: &Ip) {
    object.object("IP", |object| {
        quoted(object.key("source"), |out| write_ip(out, ip.source));
        quoted(object.key("destination"), |out| write_ip(out, ip.destination));
        object.always_string("ipVersion", if ip.source.is_ipv4() { "IPv4" } else { "IPv6" });
    });
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
    write_layers(object, &tunnel.outer);
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
    pub(super) fn time(&mut self, key: &str, clock: &mut Clock, time: WallTime) {
        quoted(self.key(key), |out| clock.write(out, time));
    }
}
