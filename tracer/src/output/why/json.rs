//! The answer as data. docs/commands/why.md lists the fields.

use crate::cilium::ipcache::IpcacheEntry;
use crate::cilium::policy::AuthType;
use crate::cilium::reason;
use crate::model::endpoint::{IdentitySource, Labels};
use crate::model::policy::{Entry, Key, Traffic};
use crate::model::reason::DropReason;
use crate::output::json::Object;
use crate::output::listing::value;
use crate::output::protocol;
use crate::policy::decision::Decision;
use crate::policy::rule::Step;
use crate::why::answer::{
    Answer, Asked, Backend, Connection, Evidence, MapFacts, Near, Party, Path, Place, Service, Side, Told,
    Tracked,
};
use crate::why::words;

pub fn json(out: &mut Vec<u8>, answer: &Answer) {
    Object::write(out, |object| write(object, answer));
    out.push(b'\n');
}

fn write(object: &mut Object<'_>, answer: &Answer) {
    object.always_string("verdict", answer.verdict.as_str());
    write_reason(object, answer.reason);
    object.plain("protocol", |out| protocol::write(out, answer.protocol));
    if let Some(port) = answer.port {
        object.always_number("port", port);
    }
    object.object("source", |object| write_party(object, &answer.source));
    object.object("destination", |object| write_party(object, &answer.destination));
    if let Some(service) = &answer.service {
        object.object("service", |object| write_service(object, service, answer));
    }
    match answer.path() {
        Some(path) => write_path(object, path),
        // The service, or the protocol, has decided before any policy.
        None => {
            for side in ["egress", "ingress"] {
                let ended = Side::NotHere("the packet does not get as far as policy".to_owned());
                object.object(side, |object| write_side(object, &ended));
            }
        }
    }
    if answer.paths.iter().any(|path| path.backend.is_some()) {
        object.objects("backends", &answer.paths, write_backend_path);
    }
    if let Some(suggestion) = &answer.suggestion {
        object.object("suggest", |object| {
            object.always_string("yaml", &suggestion.yaml);
            object.always_strings("notes", suggestion.notes.iter().map(String::as_str));
        });
    } else {
        object.null("suggest");
    }
    object.objects("remarks", &answer.remarks, write_near);
    if let Some(told) = &answer.told {
        object.object("event", |object| write_told(object, told));
    }
    object.object("evidence", |object| write_evidence(object, &answer.read, answer));
    object.always_strings("inferred", answer.inferred.iter().copied());
}

fn write_reason(object: &mut Object<'_>, reason: Option<DropReason>) {
    let Some(reason) = reason else { return };
    object.always_number("drop_reason", reason.0);
    object.string("drop_reason_desc", reason::hubble(reason).unwrap_or_default());
}

fn write_party(object: &mut Object<'_>, party: &Party) {
    object.always_string("name", &party.typed);
    if let Some(ip) = party.address {
        object.always_address("ip", ip);
    }
    if let Some(port) = party.port {
        object.always_number("port", port);
    }
    object.always_number("identity", party.identity.0);
    object.always_string("identity_from", from(party.identity_source));
    write_labels(object, party.labels.as_deref());
    object.always_string("place", place(&party.place));
    if let Place::OtherNode(Some(node)) = party.place {
        object.always_address("node_ip", node);
    }
    if let Some(endpoint) = &party.endpoint {
        object.always_number("endpoint_id", endpoint.id.0);
        object.string("namespace", &endpoint.namespace);
        object.string("pod_name", &endpoint.pod);
    }
    object.strings("dns_names", party.dns_names.iter().map(AsRef::as_ref));
    object.objects("ipcache", &party.chain, write_prefix);
}

const fn from(source: IdentitySource) -> &'static str {
    match source {
        IdentitySource::None => "named",
        IdentitySource::Datapath => "event",
        IdentitySource::Endpoint => "endpoint",
        IdentitySource::Ipcache => "ipcache",
        IdentitySource::World => "world",
    }
}

const fn place(place: &Place) -> &'static str {
    match place {
        Place::Here => "here",
        Place::Host => "host",
        Place::OtherNode(_) => "other_node",
        Place::Outside => "outside",
        Place::Nowhere => "unknown",
    }
}

fn write_labels(object: &mut Object<'_>, labels: Option<&Labels>) {
    match labels {
        Some(labels) => object.always_strings("labels", labels.iter()),
        None => object.null("labels"),
    }
}

fn write_prefix(object: &mut Object<'_>, entry: &IpcacheEntry) {
    object.plain("prefix", |out| {
        value::address(out, entry.address);
        out.push(b'/');
        value::number(out, entry.prefix_length);
    });
    object.always_number("identity", entry.identity.0);
    if let Some(node) = entry.tunnel_endpoint {
        object.always_address("tunnel_endpoint", node);
    }
    object.number("cluster_id", entry.cluster_id.into());
}

fn write_service(object: &mut Object<'_>, service: &Service, answer: &Answer) {
    object.plain("frontend", |out| value::socket(out, service.frontend));
    object.plain("protocol", |out| match service.protocol {
        0 => out.extend_from_slice(b"ANY"),
        number => protocol::write(out, number),
    });
    object.always_number("service_id", service.id);
    object.always_string("type", service.kind);
    object.always_number("active_backends", service.active);
    object.always_number("quarantined_backends", service.quarantined);
    object.flag("surrogate", service.surrogate);
    object.flag("internal_scope", service.internal);
    if let Some(port) = service.proxy_port {
        object.always_number("proxy_port", port);
    }
    if let Some((_, why)) = &service.refused {
        object.always_string("refused", why);
    }
    if let Some((id, by)) = service.bound {
        object.always_number("bound_to_backend", id);
        object.always_string("bound_by", by);
    }
    let backends = answer.paths.iter().filter_map(|path| path.backend);
    object.objects("backends", backends, |object, backend| write_backend(object, &backend));
}

fn write_backend(object: &mut Object<'_>, backend: &Backend) {
    object.always_number("backend_id", backend.id);
    object.always_address("ip", backend.address.ip());
    object.always_number("port", backend.address.port());
    object.always_string("state", backend.state);
}

fn write_backend_path(object: &mut Object<'_>, path: &Path) {
    if let Some(backend) = &path.backend {
        write_backend(object, backend);
    }
    object.always_string("verdict", path.verdict.as_str());
    object.object("destination", |object| write_party(object, &path.destination));
    write_path(object, path);
}

fn write_path(object: &mut Object<'_>, path: &Path) {
    object.object("ct", |object| write_tracked(object, &path.tracked));
    object.object("egress", |object| write_side(object, &path.egress));
    object.object("ingress", |object| write_side(object, &path.ingress));
}

fn write_tracked(object: &mut Object<'_>, tracked: &Tracked) {
    object.always_string("egress", tracked.egress.as_str());
    object.always_string("ingress", tracked.ingress.as_str());
    object.flag("proxy_redirect", tracked.through_proxy);
    object.flag("expired", tracked.expired);
    if tracked.egress == Connection::NotAsked {
        object.always_number64("connections_forward", tracked.forward);
        object.always_number64("connections_backward", tracked.backward);
    }
}

fn write_side(object: &mut Object<'_>, side: &Side) {
    match side {
        Side::NotHere(why) => {
            object.always_string("verdict", "not_asked");
            object.always_string("why", why);
        }
        Side::Asked(asked) => write_asked(object, asked),
    }
}

fn write_asked(object: &mut Object<'_>, asked: &Asked) {
    let decision = &asked.decision;
    object.always_string("verdict", decision.verdict.as_str());
    write_reason(object, decision.reason);
    object.always_string("match_type", decision.match_type.as_str());
    object.always_number("endpoint_id", asked.endpoint.0);
    object.always_string("endpoint", &asked.name);
    object.always_number("identity", asked.identity.0);
    write_decided(object, decision);
    match &asked.missing {
        Some(key) => object.object("missing", |object| write_key(object, key)),
        None => object.null("missing"),
    }
    object.objects("near_misses", &asked.near, write_near);
    object.objects("steps", &decision.steps, write_step);
    if let Some(map) = &asked.map {
        object.object("map", |object| write_map(object, map));
    }
}

fn write_decided(object: &mut Object<'_>, decision: &Decision) {
    match &decision.winner {
        Some(entry) => object.object("entry", |object| write_entry(object, entry)),
        None => object.null("entry"),
    }
    object.number("proxy_port", decision.proxy_port.into());
    if decision.auth_type != 0 {
        let auth = AuthType(decision.auth_type);
        object.always_string("auth_type", auth.name().unwrap_or("unknown"));
    }
    object.flag("audited", decision.audited);
    object.number("cookie", decision.cookie);
}

fn write_map(object: &mut Object<'_>, map: &MapFacts) {
    object.always_string("name", &map.name);
    object.always_number("id", map.id.0);
    object.always_number64("entries", map.entries);
    object.always_number("max_entries", map.max_entries);
    object.always_string("layout", map.layout);
}

pub(super) fn write_key(object: &mut Object<'_>, key: &Key) {
    object.always_string("direction", words::direction(key.direction));
    object.always_number("identity", key.identity.0);
    write_traffic(object, key.traffic);
}

/// As `policy get` has it: port 0 for any, a range ends at `port_end`, for ICMP the type.
fn write_traffic(object: &mut Object<'_>, traffic: Traffic) {
    object.plain("protocol", |out| match traffic.protocol() {
        None => out.extend_from_slice(b"ANY"),
        Some(number) => protocol::write(out, number),
    });
    let (first, last) = traffic.ports().unwrap_or_default();
    object.always_number("port", first);
    if last != first {
        object.always_number("port_end", last);
    }
    object.always_number("prefix_length", traffic.prefix_length());
}

/// The members of a policy entry.
pub(super) fn write_entry(object: &mut Object<'_>, entry: &Entry) {
    write_key(object, &entry.key);
    object.always_flag("deny", entry.deny);
    object.always_number("proxy_port", entry.proxy_port);
    object.always_string("auth_type", AuthType(entry.auth_type).name().unwrap_or("unknown"));
    object.number("proxy_port_priority", entry.proxy_priority.into());
    object.number("precedence", entry.precedence);
    object.number("cookie", entry.cookie);
}

fn write_near(object: &mut Object<'_>, near: &Near) {
    object.always_string("kind", near.kind);
    object.always_string("text", &near.text);
    if let Some(entry) = &near.entry {
        object.object("entry", |object| write_entry(object, entry));
    }
    object.strings("labels_lacking", near.lacking.iter().map(String::as_str));
    object.strings("labels_beyond", near.beyond.iter().map(String::as_str));
}

fn write_step(object: &mut Object<'_>, step: &Step) {
    object.always_string("rule", step.rule.as_str());
    object.always_string("text", &step.rule.to_string());
    if let Some(entry) = &step.entry {
        object.object("entry", |object| write_entry(object, entry));
    }
}

fn write_told(object: &mut Object<'_>, told: &Told) {
    object.string("time", &told.time);
    write_reason(object, told.reason);
    object.flag("by_kernel", told.by_kernel);
}

fn write_evidence(object: &mut Object<'_>, read: &Evidence, answer: &Answer) {
    object.always_string("read_at", &read.at);
    object.always_number64("read_took_us", read.took_us);
    if let Some(after) = read.after_event_ms {
        object.always_number64("after_event_ms", after);
    }
    object.always_string("maps", &read.maps);
    match &read.state {
        Some(state) => object.always_string("state", state),
        None => object.null("state"),
    }
    match read.agent_silent_s {
        Some(seconds) => object.always_number64("agent_silent_s", seconds),
        None => object.null("agent_silent_s"),
    }
    let sides = answer.paths.iter().flat_map(|path| [&path.egress, &path.ingress]);
    let mut maps: Vec<&MapFacts> = sides.filter_map(|side| side.asked()?.map.as_ref()).collect();
    maps.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    maps.dedup_by(|a, b| a.name == b.name);
    object.objects("policy_maps", maps, write_map);
}
