//! The exact filter: decides in user space whether a finished [`Flow`] is shown. Which flags make which filter
//! is [`build`]'s subject, how much of it the kernel can already decide is [`pushdown`]'s. No I/O, no
//! allocation while matching.
//!
//! The semantics are Hubble's: a flow is shown when at least one conjunction of the allow list matches (or the
//! list is empty) and none of the deny list does. Inside a conjunction, different conditions are AND-ed and
//! the values of one condition OR-ed.

pub mod build;
pub mod end;
pub mod label;
pub mod pattern;
pub mod pushdown;

use tracer_common::id::IfIndex;

use crate::model::flow::{Direction, Flow, Verdict, message_type};
use crate::model::notice::Trace;
use crate::model::packet::{Packet, TcpFlags, Transport};
use crate::model::reason::{DropReason, KernelDrop};
use end::EndFilter;
use pattern::{Glob, Net};

/// Conditions on whole flows. The default lets everything pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterSet {
    /// One must match, unless there is none.
    pub allow: Vec<Conjunction>,
    /// None may match.
    pub deny: Vec<Conjunction>,
}

impl FilterSet {
    pub fn matches(&self, flow: &Flow) -> bool {
        (self.allow.is_empty() || self.allow.iter().any(|c| c.matches(flow)))
            && !self.deny.iter().any(|c| c.matches(flow))
    }

    /// Settles every `--node-name` condition: all flows of one run come from one node. `node` is
    /// `cluster/name` or, in the cluster `default`, the bare name. Without this call such conditions
    /// match no flow.
    pub fn bind_node(&mut self, node: &str) {
        for conjunction in self.allow.iter_mut().chain(&mut self.deny) {
            conjunction.bind_node(node);
        }
    }

    /// Whether an event of this type of Cilium's messages can match, as far as type, verdict and reason go.
    pub fn can_match_type(&self, kind: u8) -> bool {
        self.allow.is_empty() || self.allow.iter().any(|allow| allow.can_match_type(kind))
    }

    /// Whether no flow of this node can match; after [`bind_node`](Self::bind_node).
    pub fn never_here(&self) -> bool {
        !self.allow.is_empty() && self.allow.iter().all(|allow| allow.nodes == NodeCondition::Never)
    }
}

/// Conditions that must all hold. An empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conjunction {
    pub source: EndFilter,
    pub destination: EndFilter,
    pub verdicts: Vec<Verdict>,
    pub event_types: Vec<EventType>,
    /// `DropReason(0)` stands for a drop that Cilium gave no reason for.
    pub drop_reasons: Vec<DropReason>,
    pub kernel_reasons: Vec<KernelReason>,
    /// IP protocol numbers.
    pub protocols: Vec<u8>,
    /// A packet matches an entry when it has all of the entry's flags.
    pub tcp_flags: Vec<TcpFlags>,
    pub directions: Vec<Direction>,
    pub ip_versions: Vec<IpVersion>,
    /// Device names.
    pub interfaces: Vec<Glob>,
    pub ip_trace_ids: Vec<u64>,
    /// Hubble's rule: where it is not told whether a packet was a reply, or encrypted, it counts as neither.
    pub replies: Vec<bool>,
    pub encrypted: Vec<bool>,
    /// The source address in the packet, where SNAT had changed it.
    pub sources_xlated: Vec<Net>,
    pub nodes: NodeCondition,
}

/// A type of Cilium's messages, and with it a sub-type if it matters. The kernel's own drops have no type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType {
    pub kind: u8,
    pub sub_type: Option<u8>,
}

impl EventType {
    fn matches(self, flow: &Flow) -> bool {
        flow.event_type().is_some_and(|(kind, sub_type)| {
            kind == self.kind && self.sub_type.is_none_or(|wanted| wanted == sub_type)
        })
    }
}

/// What `--node-name` asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum NodeCondition {
    /// Nothing, or it is settled and holds.
    #[default]
    Any,
    /// Names with a cluster, one of which must match.
    OneOf(Vec<Glob>),
    /// Settled: this node is not meant.
    Never,
}

/// IP version of a packet as the `--ip-version` flag knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// Not an IP packet.
    None,
    V4,
    V6,
}

/// A drop reason of the kernel, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelReason {
    /// Without the prefix `SKB_DROP_REASON_`.
    Name(String),
    Number(u32),
}

impl KernelReason {
    fn matches(&self, drop: &KernelDrop) -> bool {
        match self {
            Self::Number(number) => drop.reason == Some(*number),
            Self::Name(name) => drop.reason_name.as_deref().is_some_and(|n| n.eq_ignore_ascii_case(name)),
        }
    }
}

impl IpVersion {
    fn of(packet: &Packet) -> Self {
        match packet.ip {
            None => Self::None,
            Some(ip) if ip.source.is_ipv4() => Self::V4,
            Some(_) => Self::V6,
        }
    }
}

impl Conjunction {
    fn can_match_type(&self, kind: u8) -> bool {
        let verdicts: &[Verdict] = match kind {
            message_type::DROP => &[Verdict::Dropped],
            message_type::TRACE => &[Verdict::Forwarded],
            _ => &[Verdict::Forwarded, Verdict::Dropped, Verdict::Audit, Verdict::Redirected],
        };
        let has_reason = kind != message_type::TRACE || self.drop_reasons.contains(&DropReason(0));
        any_or_empty(&self.event_types, |wanted| wanted.kind == kind)
            && any_or_empty(&self.verdicts, |wanted| verdicts.contains(wanted))
            && (self.drop_reasons.is_empty() || has_reason)
    }

    pub fn matches(&self, flow: &Flow) -> bool {
        self.matches_event(flow) && self.matches_packet(&flow.packet) && self.matches_ends(flow)
    }

    fn matches_event(&self, flow: &Flow) -> bool {
        self.nodes == NodeCondition::Any
            && one_of(&self.verdicts, &flow.verdict)
            && any_or_empty(&self.event_types, |wanted| wanted.matches(flow))
            && one_of(&self.drop_reasons, &flow.drop_reason().unwrap_or(DropReason(0)))
            && one_of(&self.directions, &flow.direction)
            && one_of(&self.ip_trace_ids, &flow.ip_trace_id())
            && one_of(&self.replies, &flow.is_reply().unwrap_or(false))
            && self.matches_trace(flow.trace())
            && self.matches_kernel_reason(flow)
            && self.matches_interface(flow)
    }

    fn matches_kernel_reason(&self, flow: &Flow) -> bool {
        any_or_empty(&self.kernel_reasons, |r| flow.kernel.as_ref().is_some_and(|drop| r.matches(drop)))
    }

    fn matches_trace(&self, trace: Option<&Trace>) -> bool {
        let source = trace.and_then(|trace| trace.source_xlated);
        one_of(&self.encrypted, &trace.is_some_and(|trace| trace.encrypted))
            && any_or_empty(&self.sources_xlated, |net| source.is_some_and(|ip| net.contains(ip)))
    }

    fn matches_interface(&self, flow: &Flow) -> bool {
        let name = match &flow.interface {
            Some(interface) if interface.index != IfIndex(0) || !interface.name.is_empty() => {
                &*interface.name
            }
            _ => return self.interfaces.is_empty(),
        };
        any_or_empty(&self.interfaces, |wanted| wanted.matches(name))
    }

    fn matches_packet(&self, packet: &Packet) -> bool {
        let transport = packet.transport();
        one_of(&self.ip_versions, &IpVersion::of(packet))
            && any_or_empty(&self.protocols, |p| transport.is_some_and(|t| t.protocol() == *p))
            && any_or_empty(&self.tcp_flags, |wanted| match transport {
                Some(Transport::Tcp { flags, .. }) => flags.0 & wanted.0 == wanted.0,
                _ => false,
            })
    }

    fn matches_ends(&self, flow: &Flow) -> bool {
        let ip = flow.packet.ip.as_ref();
        let ports = ip.and_then(|ip| ip.transport.ports());
        self.source.matches(&flow.src, ip.map(|ip| ip.source), ports.map(|p| p.0))
            && self.destination.matches(&flow.dst, ip.map(|ip| ip.destination), ports.map(|p| p.1))
    }

    fn bind_node(&mut self, node: &str) {
        let NodeCondition::OneOf(patterns) = &self.nodes else { return };
        let matches = match node.contains('/') {
            true => patterns.iter().any(|p| p.matches(node)),
            false => patterns.iter().any(|p| p.matches(&format!("default/{node}"))),
        };
        self.nodes = if matches { NodeCondition::Any } else { NodeCondition::Never };
    }
}

/// Whether `list` is no condition or contains `value`.
fn one_of<T: PartialEq>(list: &[T], value: &T) -> bool {
    list.is_empty() || list.contains(value)
}

/// Whether `list` is no condition or one of its entries says yes.
fn any_or_empty<T>(list: &[T], matches: impl FnMut(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(matches)
}

#[cfg(test)]
mod tests;
