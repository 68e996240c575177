//! A trace or verdict message and the node's names → [`Flow`], by the rules of Cilium's own parser. A number that
//! no known release gives a meaning stays a number, and what follows from it stays unsaid.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tracer_common::cilium::notify::{self, Outcome, PacketFlags};
use tracer_common::id::{EndpointId, Identity};

use super::{Ends, Knowledge, Named, Namer, mark_peers};
use crate::cilium::notice::TO_PROXY;
use crate::correlate::facts::Facts;
use crate::correlate::join::{Noticed, Told};
use crate::model::endpoint::Peer;
use crate::model::flow::{Direction, Flow, InferredSet, Interface, Source, Verdict};
use crate::model::notice::{
    AuthType, MatchType, Notice, PolicyAction, PolicyVerdict, Trace, TracePoint, TraceReason,
};
use crate::model::packet::Packet;
use crate::model::reason::DropReason;
use crate::model::time::{BootTime, WallTime};

/// First generation of trace messages whose flags mean more than IPv6, whatever the release.
const FLAGGED_TRACE: u8 = 2;
/// Bits of the flags byte that releases before 1.18 never set.
const LATE_FLAGS: u8 = 0b1110;
const L3_DEVICE: PacketFlags = PacketFlags(0b10);

impl Namer {
    /// Names what a message tells that is about no drop.
    pub fn notice(&mut self, noticed: &Noticed<'_>, know: &mut Knowledge<'_>) -> Named {
        let record = noticed.record;
        let header = record.header;
        let facts = facts(&noticed.told);
        let mut inferred = InferredSet::default();
        let mut packet = self.packet(&record, Some(&facts), &mut inferred);
        let source_xlated = undo_snat(&mut packet, &noticed.told);
        let (src, dst) = Ends::of(packet.ip.as_ref(), know.names).peers(Some(&facts), true, know.names);
        mark_peers(&src, &dst, &mut inferred);
        let direction = match &noticed.told {
            Told::Verdict(verdict) => verdict_direction(verdict),
            Told::Trace(_) if packet.ip.is_none() => Direction::Unknown,
            Told::Trace(trace) => trace_direction(trace, src.endpoint_id()),
        };
        let mut interface = self.interface(header, Some(&facts));
        if let Some(interface) = &mut interface {
            self.name_by_endpoint(interface, [&src, &dst]);
        }
        let notice = notice(&noticed.told, source_xlated);
        let flow = Flow {
            time: WallTime((header.time_ns as i64).wrapping_add(self.settings.wall_offset_ns)),
            boot_time: BootTime(header.time_ns),
            verdict: verdict(&notice),
            source: Source::Message,
            direction,
            cilium: None,
            notice: Some(notice),
            kernel: None,
            packet,
            src,
            dst,
            interface,
            netns: header.netns,
            mark: header.mark,
            cpu: header.cpu,
            skb: if header.kind == tracer_common::event::kind::XDP_MESSAGE { 0 } else { header.skb },
            hash: if facts.hash == 0 { header.hash } else { facts.hash },
            inferred,
            similar: 0,
            bytes: self.keep(record.packet),
        };
        Named { flow, concerns: true }
    }

    /// A packet on its way to an endpoint is still on another device; the endpoint knows its own.
    fn name_by_endpoint(&mut self, interface: &mut Interface, peers: [&Peer; 2]) {
        if !interface.name.is_empty() {
            return;
        }
        let endpoints = peers.into_iter().filter_map(|peer| peer.endpoint.as_ref());
        let mut owners = endpoints.filter(|endpoint| endpoint.ifindex == interface.index.0);
        let mut raw = [0; 16];
        if let Some(owner) = owners.next()
            && let Some(room) = raw.get_mut(..owner.interface.len())
        {
            room.copy_from_slice(owner.interface.as_bytes());
            interface.name = self.interface_name(&raw).unwrap_or_else(|| Arc::from(""));
        }
    }
}

/// What both kinds have in common with a drop.
fn facts(told: &Told) -> Facts {
    let unknown = Identity(0);
    let (head, labels, flags, ifindex, trace_id) = match told {
        Told::Trace(trace) => {
            let told = trace.head.version >= FLAGGED_TRACE || trace.flags.0 & LATE_FLAGS != 0;
            let labels = (trace.source_identity, trace.destination_identity);
            (trace.head, labels, told.then_some(trace.flags), trace.ifindex, trace.ip_trace_id)
        }
        Told::Verdict(verdict) => {
            let labels = match verdict_direction(verdict) {
                Direction::Ingress => (verdict.remote_identity, unknown),
                Direction::Egress => (unknown, verdict.remote_identity),
                Direction::Unknown => (unknown, unknown),
            };
            (verdict.head, labels, verdict.bits.is_l3_device().then_some(L3_DEVICE), 0, 0)
        }
    };
    Facts {
        source: Source::Message,
        reason: 0,
        ext_error: 0,
        place: None,
        source_identity: labels.0,
        destination_identity: labels.1,
        destination_endpoint: EndpointId(0),
        emitter: Some(EndpointId(head.source)),
        ip_trace_id: trace_id,
        flags,
        ifindex,
        hash: head.hash,
    }
}

/// Puts the source address from before SNAT back; gives the one that is in the packet.
fn undo_snat(packet: &mut Packet, told: &Told) -> Option<IpAddr> {
    let Told::Trace(trace) = told else { return None };
    let (ip, original) = (packet.ip.as_mut()?, trace.original_ip?);
    let original = match trace.flags.is_ipv6() {
        true => IpAddr::from(original),
        false => Ipv4Addr::new(original[0], original[1], original[2], original[3]).into(),
    };
    (ip.source != original).then(|| std::mem::replace(&mut ip.source, original))
}

fn verdict_direction(verdict: &notify::Verdict) -> Direction {
    match verdict.bits.direction() {
        1 => Direction::Ingress,
        2 => Direction::Egress,
        _ => Direction::Unknown,
    }
}

/// As the connection goes, not the packet: the reply to a request that left an endpoint is egress, too. `src` is the
/// local endpoint of the source address, 0 for none.
fn trace_direction(trace: &notify::Trace, src: EndpointId) -> Direction {
    let reason = TraceReason(trace.reason);
    if trace.head.source == 0 || !reason.is_known() {
        return Direction::Unknown;
    }
    let leaves = EndpointId(trace.head.source) == src;
    let outward = leaves != (reason.is_reply() == Some(true));
    if outward || reason == TraceReason::ENCRYPT_OVERLAY || trace.original_ip.is_some() {
        Direction::Egress
    } else {
        Direction::Ingress
    }
}

fn notice(told: &Told, source_xlated: Option<IpAddr>) -> Notice {
    match told {
        Told::Trace(trace) => {
            let point = TracePoint(trace.point());
            Notice::Trace(Trace {
                point,
                reason: TraceReason(trace.reason),
                encrypted: trace.encrypted,
                proxy_port: if point == TO_PROXY { trace.destination_id } else { 0 },
                source_xlated,
                emitter: EndpointId(trace.head.source),
                ip_trace_id: trace.ip_trace_id,
            })
        }
        Told::Verdict(verdict) => Notice::Verdict(PolicyVerdict {
            action: action(verdict),
            match_type: MatchType(verdict.bits.match_type()),
            auth_type: AuthType(verdict.auth_type),
            emitter: verdict.endpoint(),
            cookie: verdict.cookie.unwrap_or(0),
        }),
    }
}

fn action(verdict: &notify::Verdict) -> PolicyAction {
    match verdict.outcome {
        Outcome::Allowed if verdict.bits.is_audited() => PolicyAction::Audited,
        Outcome::Allowed => PolicyAction::Allowed,
        Outcome::Denied(reason) => PolicyAction::Denied(DropReason(reason)),
        Outcome::Redirected(port) => PolicyAction::Redirected(port),
        Outcome::Unknown(number) => PolicyAction::Unknown(number),
    }
}

/// Hubble's rule; the sign of a verdict decides even if its number means nothing.
fn verdict(notice: &Notice) -> Verdict {
    match notice {
        Notice::Trace(_) => Verdict::Forwarded,
        Notice::Verdict(verdict) => match verdict.action {
            PolicyAction::Allowed => Verdict::Forwarded,
            PolicyAction::Audited => Verdict::Audit,
            PolicyAction::Denied(_) | PolicyAction::Unknown(..0) => Verdict::Dropped,
            PolicyAction::Redirected(_) | PolicyAction::Unknown(_) => Verdict::Redirected,
        },
    }
}

#[cfg(test)]
mod tests;
