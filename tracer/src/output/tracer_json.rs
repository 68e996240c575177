//! The key `tracer` of `-o json`: what Hubble's flow has no field for. Its fields only ever grow within one
//! schema version; docs/events.md lists them.

use super::fragments::{Fragments, OriginKey, ReasonKey};
use super::json::{Object, quoted};
use super::why::brief::Rendered;
use crate::cilium::ext_error::ExtError;
use crate::cilium::release::ReleaseRange;
use crate::cilium::{notice, reason};
use crate::model::endpoint::IdentitySource;
use crate::model::flow::{CiliumDrop, Flow, Inferred, Source};
use crate::model::notice::{Notice, PolicyAction, PolicyVerdict, Trace};
use crate::model::packet::Packet;
use crate::model::reason::KernelDrop;

/// Raised when a field changes its meaning or disappears.
pub const SCHEMA_VERSION: u32 = 1;

/// Pieces that come again.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    reasons: Fragments<ReasonKey>,
    origins: Fragments<OriginKey>,
}

impl Pieces {
    /// `why`: the policy behind the event, if it was asked.
    pub fn write(
        &mut self,
        object: &mut Object<'_>,
        flow: &Flow,
        releases: ReleaseRange,
        why: Option<&Rendered>,
    ) {
        object.always_number("schema_version", SCHEMA_VERSION);
        object.word("source", source(flow.source));
        object.key("taps").extend_from_slice(taps(flow));
        object.number64("boot_time_ns", flow.boot_time.0);
        let reasons = |out: &mut Vec<u8>| {
            Object::write_members(out, |object| write_reasons(object, flow, releases));
        };
        object.members(|out| self.reasons.write(out, flow, reasons));
        write_skb(object, flow);
        object.object("packet", |object| write_packet(object, &flow.packet, flow.bytes.len()));
        let origin = |out: &mut Vec<u8>| Object::write_members(out, |object| write_origin(object, flow));
        object.members(|out| self.origins.write(out, flow, origin));
        object.number("similar_suppressed", flow.similar);
        if let Some(why) = why {
            object.key("why").extend_from_slice(&why.json);
        }
    }

    /// Forgets what depends on the node's releases.
    pub fn forget(&mut self) {
        self.reasons.clear();
    }
}

fn write_reasons(object: &mut Object<'_>, flow: &Flow, releases: ReleaseRange) {
    if let Some(drop) = &flow.cilium {
        object.object("cilium", |object| write_cilium(object, drop, releases));
    }
    match &flow.notice {
        Some(Notice::Trace(trace)) => object.object("trace", |object| write_trace(object, trace)),
        Some(Notice::Verdict(verdict)) => {
            object.object("policy_verdict", |object| write_verdict(object, verdict));
        }
        None => {}
    }
    if let Some(kernel) = &flow.kernel {
        object.object("kernel", |object| write_kernel(object, kernel));
    }
}

fn write_origin(object: &mut Object<'_>, flow: &Flow) {
    object.object("identity_from", |object| {
        object.always_string("source", identity_source(flow.src.identity_source));
        object.always_string("destination", identity_source(flow.dst.identity_source));
    });
    object.always_flag("names_stale", names_stale(flow));
    object.always_strings("inferred", flow.inferred.iter().map(inferred));
}

const fn source(source: Source) -> &'static str {
    match source {
        Source::Message => "message",
        Source::Note => "note",
        Source::Kernel => "kernel",
    }
}

/// Which taps the event was put together from.
fn taps(flow: &Flow) -> &'static [u8] {
    match (flow.source, &flow.kernel) {
        (Source::Message, Some(_)) => b"[\"message\",\"free\"]",
        (Source::Message, None) => b"[\"message\"]",
        _ => b"[\"free\"]",
    }
}

fn write_cilium(object: &mut Object<'_>, drop: &CiliumDrop, releases: ReleaseRange) {
    object.always_number("reason", drop.reason.0);
    if let Some(constant) = reason::constant(drop.reason) {
        quoted(object.key("c_name"), |out| {
            out.extend_from_slice(b"DROP_");
            out.extend_from_slice(constant.as_bytes());
        });
    }
    object.string("text", reason::text(drop.reason).unwrap_or_default());
    if drop.ext_error != 0 {
        object.always_number("ext_error", drop.ext_error);
        let name = ExtError::of(drop.reason, drop.ext_error, releases).name();
        object.string("ext_error_name", name.unwrap_or_default());
    }
    if let Some(place) = drop.place {
        object.number("file_id", place.file_id.into());
    }
    object.number("endpoint", drop.emitter.0.into());
}

fn write_trace(object: &mut Object<'_>, trace: &Trace) {
    object.always_number("point", trace.point.0);
    object.string("point_name", notice::point_name(trace.point).unwrap_or_default());
    object.always_number("reason", trace.reason.0);
    object.string("reason_name", notice::reason_name(trace.reason).unwrap_or_default());
    object.number("endpoint", trace.emitter.0.into());
}

fn write_verdict(object: &mut Object<'_>, verdict: &PolicyVerdict) {
    let action = match verdict.action {
        PolicyAction::Allowed => "allowed",
        PolicyAction::Audited => "audited",
        PolicyAction::Denied(_) => "denied",
        PolicyAction::Redirected(_) => "redirected",
        PolicyAction::Unknown(_) => "unknown",
    };
    object.word("action", action);
    match verdict.action {
        PolicyAction::Redirected(port) => object.number("proxy_port", port.into()),
        PolicyAction::Unknown(number) => object.always_number("number", number),
        _ => {}
    }
    object.always_string("match_type", notice::match_type_name(verdict.match_type));
    object.number("endpoint", verdict.emitter.0.into());
    object.number("cookie", verdict.cookie);
}

fn write_kernel(object: &mut Object<'_>, kernel: &KernelDrop) {
    object.string("reason", kernel.reason_name.as_deref().unwrap_or_default());
    if let Some(number) = kernel.reason {
        object.always_number("reason_number", number);
    }
    object.hex("location", kernel.location);
    object.string("symbol", kernel.symbol.as_deref().unwrap_or_default());
}

fn write_skb(object: &mut Object<'_>, flow: &Flow) {
    object.hex("skb", flow.skb);
    object.number("hash", flow.hash);
    object.number("mark", flow.mark);
    object.always_number("cpu", flow.cpu);
    object.number("netns", flow.netns);
}

fn write_packet(object: &mut Object<'_>, packet: &Packet, captured: usize) {
    object.number("length_bytes", packet.length);
    object.always_number("captured_bytes", captured);
    if let Some(vlan) = packet.vlan {
        object.always_number("vlan", vlan);
    }
    object.flag("fragment", packet.ip.is_some_and(|ip| ip.fragment));
    object.flag("truncated", packet.truncated);
    if let Some(ip) = &packet.ip {
        object.always_number("protocol", ip.transport.protocol());
        object.always_number("ttl", ip.ttl);
    }
}

const fn identity_source(source: IdentitySource) -> &'static str {
    match source {
        IdentitySource::None => "none",
        IdentitySource::Datapath => "datapath",
        IdentitySource::Endpoint => "endpoint",
        IdentitySource::Ipcache => "ipcache",
        IdentitySource::World => "world",
    }
}

fn names_stale(flow: &Flow) -> bool {
    let stale = |peer: &crate::model::endpoint::Peer| peer.endpoint.as_ref().is_some_and(|e| e.stale_names);
    flow.inferred.contains(Inferred::StaleNames) || stale(&flow.src) || stale(&flow.dst)
}

const fn inferred(what: Inferred) -> &'static str {
    match what {
        Inferred::Direction => "traffic_direction",
        Inferred::SourceIdentity => "source.identity",
        Inferred::DestinationIdentity => "destination.identity",
        Inferred::PacketStart => "packet_start",
        Inferred::NoteReason => "drop_reason",
        Inferred::FileName => "file.name",
        Inferred::StaleNames => "names",
    }
}
