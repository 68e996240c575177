//! A flow as Hubble's `GetFlowsResponse` in protocol buffers: what [`super::flow_json`] says in JSON. Written
//! straight into a buffer, without values in between.

use std::net::IpAddr;

use super::lost::{Lost, LostSource};
use super::packet::{write_ip, write_mac, write_summary};
use super::printer::Node;
use super::proto::Message;
use super::uuid::Uuids;
use crate::cilium::notice;
use crate::model::endpoint::{Labels, Peer};
use crate::model::flow::{CiliumDrop, Direction, Flow, Verdict};
use crate::model::notice::{Notice, Trace};
use crate::model::packet::{Ethernet, Ip, TcpFlags, Transport, Tunnel, TunnelKind};
use crate::model::reason::SourcePlace;
use crate::model::time::WallTime;

/// `FlowType.L3_L4`.
const L3_L4: u32 = 1;

/// Fields of `GetFlowsResponse`.
pub mod response {
    pub const FLOW: u32 = 1;
    pub const LOST_EVENTS: u32 = 3;
    pub const NODE_NAME: u32 = 1000;
    pub const TIME: u32 = 1001;
}

/// Events as responses of `GetFlows`.
#[derive(Debug)]
pub struct Encoder {
    node: String,
    uuids: Uuids,
}

impl Encoder {
    pub fn new(node: &Node) -> Self {
        Self { node: node.name.clone(), uuids: Uuids::new() }
    }

    /// The node may have another name now.
    pub fn set_node(&mut self, node: &Node) {
        self.node.clone_from(&node.name);
    }

    pub fn flow(&mut self, out: &mut Vec<u8>, flow: &Flow) {
        let mut line = Message::new(out);
        line.message(response::FLOW, |message| self.write_flow(message, flow));
        line.string(response::NODE_NAME, &self.node);
        line.time(response::TIME, flow.time);
    }

    pub fn lost(&self, out: &mut Vec<u8>, lost: &Lost) {
        write_lost(out, &self.node, lost, None);
    }

    fn write_flow(&mut self, flow: &mut Message<'_>, of: &Flow) {
        flow.time(1, of.time);
        flow.number(2, verdict(of.verdict));
        if let Some(reason) = of.drop_reason() {
            flow.number(3, reason.0);
        }
        write_packet(flow, of);
        flow.message(8, |end| write_endpoint(end, &of.src));
        flow.message(9, |end| write_endpoint(end, &of.dst));
        flow.number(10, L3_L4);
        flow.string(11, &self.node);
        of.src.dns_names.iter().for_each(|name| flow.always_string(13, name));
        of.dst.dns_names.iter().for_each(|name| flow.always_string(14, name));
        write_event(flow, of);
        flow.text(34, |out| self.uuids.write(out));
        match &of.notice {
            Some(Notice::Trace(trace)) => flow.number(36, notice::hubble_reason(trace.reason)),
            Some(Notice::Verdict(verdict)) => flow.number(35, verdict.auth_type.0),
            None => {}
        }
        if let Some(drop) = &of.cilium {
            write_place(flow, drop);
        }
        if let id @ 1.. = of.ip_trace_id() {
            flow.message(40, |message| message.number(1, id));
        }
        flow.message(41, |emitter| {
            emitter.string(1, "tracer");
            emitter.string(2, env!("CARGO_PKG_VERSION"));
        });
        if of.packet.ip.is_some() || of.packet.ethernet.is_some() {
            flow.text(100_000, |out| write_summary(out, &of.packet));
        }
    }
}

/// A gap. `between`: the times of the first and the last event that is missing, if known.
pub fn write_lost(out: &mut Vec<u8>, node: &str, lost: &Lost, between: Option<(WallTime, WallTime)>) {
    let mut line = Message::new(out);
    line.message(response::LOST_EVENTS, |event| {
        event.number(1, lost_source(lost.source));
        event.number(2, lost.count);
        if let Some(cpu) = lost.cpu {
            event.message(3, |value| value.number(1, cpu));
        }
        if let Some((first, last)) = between {
            event.time(4, first);
            event.time(5, last);
        }
    });
    line.string(response::NODE_NAME, node);
    line.time(response::TIME, lost.time);
}

/// Number in `LostEventSource`.
const fn lost_source(source: LostSource) -> u32 {
    match source {
        LostSource::KernelRing => 1,
        LostSource::Queue => 2,
        LostSource::SlowReader => 3,
    }
}

/// Number in `Verdict`.
pub const fn verdict(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Forwarded => 1,
        Verdict::Dropped => 2,
        Verdict::Error => 3,
        Verdict::Audit => 4,
        Verdict::Redirected => 5,
        Verdict::Traced => 6,
        Verdict::Translated => 7,
    }
}

/// Number in `TrafficDirection`.
pub const fn direction(direction: Direction) -> u32 {
    match direction {
        Direction::Unknown => 0,
        Direction::Ingress => 1,
        Direction::Egress => 2,
    }
}

fn write_event(flow: &mut Message<'_>, of: &Flow) {
    let is_reply = of.is_reply();
    flow.number(16, u32::from(is_reply == Some(true)));
    if let Some((kind, sub_type)) = of.event_type() {
        flow.message(19, |event| {
            event.number(1, kind);
            event.number(2, sub_type);
        });
    }
    flow.number(22, direction(of.direction));
    match &of.notice {
        Some(Notice::Trace(trace)) => flow.number(24, notice::hubble_point(trace.point)),
        Some(Notice::Verdict(verdict)) => flow.number(23, verdict.match_type.0),
        None => {}
    }
    if let Some(reason) = of.drop_reason() {
        // Enumerations are open: numbers without a name are sent too.
        flow.number(25, reason.0);
    }
    if let Some(is_reply) = is_reply {
        // A wrapper: false is known, too.
        flow.message(26, |value| value.number(1, u32::from(is_reply)));
    }
    if let Some(interface) = &of.interface {
        flow.message(28, |message| {
            message.number(1, interface.index.0);
            message.string(2, &interface.name);
        });
    }
    flow.number(29, of.trace().map_or(0, |trace| trace.proxy_port));
}

fn write_place(flow: &mut Message<'_>, drop: &CiliumDrop) {
    if let Some(place) = drop.place {
        flow.message(38, |file| write_file(file, place));
    }
}

/// A file id without a known name is called `unknown(103)`, as Hubble does.
fn write_file(file: &mut Message<'_>, place: SourcePlace) {
    match place.file {
        Some(name) => file.string(1, name),
        None => file.text(1, |out| {
            out.extend_from_slice(b"unknown(");
            super::json::decimal(out, place.file_id);
            out.push(b')');
        }),
    }
    file.number(2, place.line);
}

fn write_packet(flow: &mut Message<'_>, of: &Flow) {
    if let Some(ethernet) = &of.packet.ethernet {
        flow.message(4, |message| write_ethernet(message, ethernet));
    }
    if let Some(ip) = &of.packet.ip {
        flow.message(5, |message| {
            write_addresses(message, ip);
            write_changes(message, of.trace());
        });
        write_transport(flow, 6, &ip.transport);
    }
    if let Some(tunnel) = &of.packet.tunnel {
        flow.message(39, |message| write_tunnel(message, tunnel));
    }
}

fn write_ethernet(message: &mut Message<'_>, ethernet: &Ethernet) {
    message.text(1, |out| write_mac(out, &ethernet.source));
    message.text(2, |out| write_mac(out, &ethernet.destination));
}

fn write_addresses(message: &mut Message<'_>, ip: &Ip) {
    let address = |message: &mut Message<'_>, field, ip: IpAddr| message.text(field, |out| write_ip(out, ip));
    address(message, 1, ip.source);
    address(message, 2, ip.destination);
    message.number(3, if ip.source.is_ipv4() { 1u32 } else { 2 });
}

/// What a trace tells of the addresses.
fn write_changes(message: &mut Message<'_>, trace: Option<&Trace>) {
    let Some(trace) = trace else { return };
    message.number(4, u32::from(trace.encrypted));
    if let Some(ip) = trace.source_xlated {
        message.text(5, |out| write_ip(out, ip));
    }
}

/// `Layer4`, if the protocol is one that it knows and its header was captured.
fn write_transport(parent: &mut Message<'_>, field: u32, transport: &Transport) {
    match *transport {
        Transport::Tcp { source_port, destination_port, flags } => parent.message(field, |layer| {
            layer.message(1, |tcp| {
                write_pair(tcp, source_port, destination_port);
                tcp.message(3, |message| write_flags(message, flags));
            });
        }),
        Transport::Udp { source_port, destination_port } => {
            parent.message(field, |layer| {
                layer.message(2, |udp| write_pair(udp, source_port, destination_port))
            });
        }
        Transport::Icmpv4 { kind, code } => {
            parent.message(field, |layer| layer.message(3, |icmp| write_pair(icmp, kind, code)));
        }
        Transport::Icmpv6 { kind, code } => {
            parent.message(field, |layer| layer.message(4, |icmp| write_pair(icmp, kind, code)));
        }
        Transport::Sctp { source_port, destination_port } => {
            parent.message(field, |layer| {
                layer.message(5, |sctp| write_pair(sctp, source_port, destination_port))
            });
        }
        Transport::Other { .. } | Transport::LaterFragment { .. } | Transport::Truncated { .. } => {}
    }
}

fn write_pair<T: Into<u64>>(message: &mut Message<'_>, first: T, second: T) {
    message.number(1, first);
    message.number(2, second);
}

/// The fields' numbers are the bits of the header, from FIN = 1 on.
fn write_flags(message: &mut Message<'_>, flags: TcpFlags) {
    for bit in 0..9 {
        message.number(bit + 1, flags.0 >> bit & 1);
    }
}

fn write_tunnel(message: &mut Message<'_>, tunnel: &Tunnel) {
    message.number(
        1,
        match tunnel.kind {
            TunnelKind::Vxlan => 1u32,
            TunnelKind::Geneve => 2,
        },
    );
    message.message(2, |ip| write_addresses(ip, &tunnel.outer));
    write_transport(message, 3, &tunnel.outer.transport);
    message.number(4, tunnel.vni);
}

fn write_endpoint(end: &mut Message<'_>, peer: &Peer) {
    end.number(1, peer.endpoint_id().0);
    end.number(2, peer.identity.unwrap_or_default().0);
    end.string(3, peer.namespace());
    peer.labels().into_iter().flat_map(Labels::iter).for_each(|label| end.always_string(4, label));
    end.string(5, peer.pod());
    let workloads = peer.endpoint.as_ref().map_or(&[][..], |endpoint| &endpoint.workloads);
    for workload in workloads {
        end.message(6, |message| {
            message.string(1, &workload.name);
            message.string(2, &workload.kind);
        });
    }
    end.string(7, peer.cluster());
}
