//! The pieces of Hubble's text output, and its compact line.

use std::net::IpAddr;

use tracer_common::id::Identity;

use super::color::Palette;
use super::escape;
use super::json::{decimal, hexadecimal};
use super::options::OutputOptions;
use super::packet::{write_ip, write_mac, write_summary};
use super::printer::Node;
use super::time::Clock;
use crate::cilium::release::ReleaseRange;
use crate::cilium::{identity, notice, reason};
use crate::model::endpoint::Peer;
use crate::model::flow::{Direction, Flow, Verdict};
use crate::model::notice::Notice;
use crate::model::reason::KernelDrop;

/// How text is written: colours, names, time.
pub(super) struct Text {
    pub palette: Palette,
    pub clock: Clock,
    names: bool,
    releases: ReleaseRange,
    /// Escaped; `None` when it is not to be printed.
    pub node_name: Option<Vec<u8>>,
}

/// An end of a flow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

impl Text {
    pub fn new(options: &OutputOptions, node: &Node, clock: Clock) -> Self {
        let mut node_name = Vec::new();
        escape::text(&mut node_name, &node.name);
        Self {
            // Escape sequences would spoil the columns of a table.
            palette: Palette::new(options.color && options.format != super::options::Format::Table),
            clock,
            names: options.names,
            releases: node.releases,
            node_name: options.node_name.then_some(node_name),
        }
    }

    pub fn set_releases(&mut self, releases: ReleaseRange) {
        self.releases = releases;
    }

    fn colored(&self, out: &mut Vec<u8>, start: &str, write: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(start.as_bytes());
        write(out);
        out.extend_from_slice(self.palette.reset.as_bytes());
    }

    /// `namespace/pod:port`, or DNS names or the address instead of the pod, or the MAC address of what is
    /// not IP.
    pub fn host(&self, out: &mut Vec<u8>, flow: &Flow, side: Side) {
        let Some(ip) = &flow.packet.ip else {
            return self.mac(out, flow, side);
        };
        let ports = ip.transport.ports();
        let (peer, ip, port) = match side {
            Side::Source => (&flow.src, ip.source, ports.map(|p| p.0)),
            Side::Destination => (&flow.dst, ip.destination, ports.map(|p| p.1)),
        };
        self.colored(out, &self.palette.host, |out| match port {
            Some(port) if port != 0 => self.host_and_port(out, peer, ip, port),
            _ => self.name(out, peer, ip),
        });
    }

    fn mac(&self, out: &mut Vec<u8>, flow: &Flow, side: Side) {
        if let Some(ethernet) = &flow.packet.ethernet {
            let mac = if side == Side::Source { &ethernet.source } else { &ethernet.destination };
            self.colored(out, &self.palette.host, |out| write_mac(out, mac));
        }
    }

    /// Names with a colon (IPv6 addresses) are put into brackets.
    fn host_and_port(&self, out: &mut Vec<u8>, peer: &Peer, ip: IpAddr, port: u16) {
        let start = out.len();
        self.name(out, peer, ip);
        if out[start..].iter().any(|b| matches!(b, b':' | b'%')) {
            out.insert(start, b'[');
            out.push(b']');
        }
        out.push(b':');
        self.colored(out, &self.palette.port, |out| decimal(out, port));
    }

    fn name(&self, out: &mut Vec<u8>, peer: &Peer, ip: IpAddr) {
        let (namespace, pod) = (peer.namespace(), peer.pod());
        if self.names && !pod.is_empty() {
            escape::text(out, namespace);
            out.extend_from_slice(if namespace.is_empty() { b"" } else { b"/" });
            escape::text(out, pod);
        } else if self.names && !peer.dns_names.is_empty() {
            for (at, name) in peer.dns_names.iter().enumerate() {
                out.extend_from_slice(if at > 0 { b"," } else { b"" });
                escape::text(out, name);
            }
        } else {
            write_ip(out, ip);
        }
    }

    /// `(world)` for reserved identities, else `(ID:12345)`.
    pub fn identity(&self, out: &mut Vec<u8>, peer: &Peer) {
        let identity = peer.identity.unwrap_or(Identity(0));
        self.colored(out, &self.palette.identity, |out| {
            out.push(b'(');
            match identity::reserved_name(identity, self.releases) {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => {
                    out.extend_from_slice(b"ID:");
                    decimal(out, identity.0);
                }
            }
            out.push(b')');
        });
    }

    /// Policy verdicts have words of their own.
    pub fn verdict(&self, out: &mut Vec<u8>, flow: &Flow) {
        let color = match flow.verdict {
            Verdict::Forwarded | Verdict::Redirected => &self.palette.forwarded,
            Verdict::Dropped | Verdict::Error => &self.palette.dropped,
            Verdict::Audit | Verdict::Traced | Verdict::Translated => &self.palette.noticed,
        };
        let word = match (flow.policy_verdict(), flow.verdict) {
            (Some(_), Verdict::Forwarded | Verdict::Redirected) => "ALLOWED",
            (Some(_), Verdict::Dropped | Verdict::Error) => "DENIED",
            (Some(_), Verdict::Audit) => "AUDITED",
            (_, verdict) => verdict.name(),
        };
        self.colored(out, color, |out| out.extend_from_slice(word.as_bytes()));
    }

    /// The layer summary; for kernel drops also the place, for policy verdicts the authentication.
    pub fn summary(&self, out: &mut Vec<u8>, flow: &Flow) {
        if let id @ 1.. = flow.ip_trace_id() {
            out.extend_from_slice(b"IP Trace ID: ");
            decimal(out, id);
            out.extend_from_slice(b"; ");
        }
        let start = out.len();
        write_summary(out, &flow.packet);
        if let (None, Some(kernel)) = (&flow.cilium, &flow.kernel) {
            let separator: &[u8] = if out.len() > start { b" " } else { b"" };
            write_place(out, kernel, separator);
        }
        if let Some(auth) = flow.policy_verdict().map(|verdict| verdict.auth_type).filter(|auth| auth.0 != 0)
        {
            out.extend_from_slice(b"; ");
            match notice::auth_type_name(auth) {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => decimal(out, auth.0),
            }
        }
    }
}

/// ` at symbol`, or the bare address where symbols may not be seen.
fn write_place(out: &mut Vec<u8>, kernel: &KernelDrop, separator: &[u8]) {
    if kernel.symbol.is_none() && kernel.location == 0 {
        return;
    }
    out.extend_from_slice(separator);
    out.extend_from_slice(b"at ");
    match &kernel.symbol {
        Some(symbol) => escape::text(out, symbol),
        None => hexadecimal(out, kernel.location),
    }
}

/// What Hubble calls the type of an event. A drop: Cilium's reason in words, else the kernel's reason. A trace: where. A
/// verdict: `policy-verdict:L3-L4 INGRESS`. Numbers without a name stay numbers; `UNKNOWN` means that nobody gave a
/// reason.
pub(super) fn write_type(out: &mut Vec<u8>, flow: &Flow) {
    match &flow.notice {
        None => write_drop_type(out, flow),
        Some(Notice::Trace(trace)) => match notice::point_name(trace.point) {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => decimal(out, trace.point.0),
        },
        Some(Notice::Verdict(verdict)) => {
            out.extend_from_slice(b"policy-verdict:");
            out.extend_from_slice(notice::match_type_name(verdict.match_type).as_bytes());
            out.extend_from_slice(match flow.direction {
                Direction::Unknown => b" TRAFFIC_DIRECTION_UNKNOWN",
                Direction::Ingress => b" INGRESS",
                Direction::Egress => b" EGRESS",
            });
        }
    }
}

fn write_drop_type(out: &mut Vec<u8>, flow: &Flow) {
    match (&flow.cilium, &flow.kernel) {
        (Some(drop), _) => match reason::text(drop.reason) {
            Some(text) => out.extend_from_slice(text.as_bytes()),
            None => decimal(out, drop.reason.0),
        },
        (None, Some(KernelDrop { reason_name: Some(name), .. })) => escape::text(out, name),
        (None, Some(KernelDrop { reason: Some(number), .. })) => decimal(out, *number),
        _ => out.extend_from_slice(b"UNKNOWN"),
    }
}

/// `TIME [NODE]: SOURCE (ID) -> DESTINATION (ID) TYPE VERDICT (SUMMARY)`. Left is who opened the connection: a reply has
/// `<-` and its ends swapped. `<>`: nobody knows, as with every drop, and left is who sent the packet.
pub(super) fn compact(out: &mut Vec<u8>, text: &mut Text, flow: &Flow) {
    text.clock.write(out, flow.time);
    if let Some(node) = &text.node_name {
        out.extend_from_slice(b" [");
        out.extend_from_slice(node);
        out.push(b']');
    }
    out.extend_from_slice(b": ");
    let (source, destination) = ((Side::Source, &flow.src), (Side::Destination, &flow.dst));
    let (left, arrow, right): (_, &[u8], _) = match flow.is_reply() {
        None => (source, b" <> ", destination),
        Some(false) => (source, b" -> ", destination),
        Some(true) => (destination, b" <- ", source),
    };
    text.host(out, flow, left.0);
    out.push(b' ');
    text.identity(out, left.1);
    out.extend_from_slice(arrow);
    text.host(out, flow, right.0);
    out.push(b' ');
    text.identity(out, right.1);
    out.push(b' ');
    write_type(out, flow);
    out.push(b' ');
    text.verdict(out, flow);
    out.extend_from_slice(b" (");
    text.summary(out, flow);
    out.push(b')');
    if flow.similar > 0 {
        out.extend_from_slice(b" +");
        decimal(out, flow.similar);
        out.extend_from_slice(b" similar");
    }
    out.push(b'\n');
}

/// The policy behind the event above.
pub(super) fn because(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(b"  why: ");
    out.extend_from_slice(line);
    out.push(b'\n');
}
