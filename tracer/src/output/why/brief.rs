//! The policy behind a drop in the event stream: the value of `tracer.why` in `-o json`, a line of its own in text.
//! Both are made once and printed with every event that they hold for.

use std::fmt::Write as _;

use super::json::{write_entry, write_key};
use super::timestamp;
use crate::output::escape;
use crate::output::json::Object;
use crate::output::protocol;
use crate::policy::decision::Verdict;
use crate::why::brief::Brief;
use crate::why::words;

/// A [`Brief`], ready to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Without indent and end of line; harmless to terminals.
    pub(in crate::output) line: Box<[u8]>,
    /// A JSON object.
    pub(in crate::output) json: Box<[u8]>,
}

impl Rendered {
    pub fn new(brief: &Brief) -> Self {
        let (mut line, mut json) = (Vec::new(), Vec::new());
        escape::text(&mut line, &sentence(brief));
        Object::write(&mut json, |object| write(object, brief));
        Self { line: line.into(), json: json.into() }
    }
}

fn sentence(brief: &Brief) -> String {
    let mut text = format!("{} of {} ({}): ", words::direction(brief.direction), brief.name, brief.endpoint);
    if let Some(why) = &brief.unknown {
        let _ = write!(text, "not known: {why}");
        return text;
    }
    match (brief.verdict, &brief.entry, &brief.missing) {
        (Verdict::Denied, Some(entry), _) if entry.deny => {
            let _ = write!(text, "denied by the entry for {}", words::key_of_peer(&entry.key));
        }
        (Verdict::Denied, Some(entry), _) => {
            let _ = write!(text, "the entry for {} wants authentication", words::key_of_peer(&entry.key));
        }
        (Verdict::Denied, None, Some(key)) => {
            let _ = write!(text, "no entry for {}", words::key_of_peer(key));
        }
        (Verdict::Denied, None, None) => text.push_str("a fixed rule, not an entry"),
        (verdict, _, _) => {
            let packet = words::packet(brief.protocol, Some(brief.port));
            let _ = write!(
                text,
                "{} now for identity {}, {packet}: policy has changed since",
                verdict.as_str(),
                brief.identity
            );
        }
    }
    if let Some(near) = &brief.near {
        let _ = write!(text, "; near: {}", words::key_of_peer(&near.key));
    }
    text
}

fn write(object: &mut Object<'_>, brief: &Brief) {
    object.always_string("verdict", brief.verdict.as_str());
    object.always_string("direction", words::direction(brief.direction));
    object.always_number("endpoint_id", brief.endpoint.0);
    object.always_string("endpoint", &brief.name);
    object.always_number("identity", brief.identity.0);
    object.plain("protocol", |out| protocol::write(out, brief.protocol));
    object.always_number("port", brief.port);
    if let Some(why) = &brief.unknown {
        object.always_string("why", why);
        return;
    }
    object.always_string("match_type", brief.match_type.as_str());
    match &brief.entry {
        Some(entry) => object.object("entry", |object| write_entry(object, entry)),
        None => object.null("entry"),
    }
    match &brief.missing {
        Some(key) => object.object("missing", |object| write_key(object, key)),
        None => object.null("missing"),
    }
    match &brief.near {
        Some(entry) => object.object("near", |object| write_entry(object, entry)),
        None => object.null("near"),
    }
    if let Some(map) = &brief.map {
        object.always_string("map", &map.name);
        object.always_number("map_id", map.id.0);
        object.always_string("map_read_at", &timestamp(map.at));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracer_common::id::{EndpointId, Identity, MapId};

    use super::*;
    use crate::model::policy::{Direction, Entry, Key, Traffic};
    use crate::model::time::WallTime;
    use crate::policy::decision::MatchType;
    use crate::why::brief::MapRead;

    fn key(identity: u32, port: u16) -> Key {
        Key { direction: Direction::Ingress, identity: Identity(identity), traffic: Traffic::port(6, port) }
    }

    fn brief() -> Brief {
        Brief {
            verdict: Verdict::Denied,
            direction: Direction::Ingress,
            endpoint: EndpointId(1002),
            name: "default/server".into(),
            identity: Identity(12345),
            protocol: 6,
            port: 9090,
            match_type: MatchType::None,
            entry: None,
            missing: Some(key(12345, 9090)),
            near: Some(Entry::allow(key(12345, 8080))),
            map: Some(MapRead { name: "cilium_policy_01002".into(), id: MapId(7), at: WallTime(0) }),
            unknown: None,
        }
    }

    fn line(brief: &Brief) -> String {
        String::from_utf8(Rendered::new(brief).line.into()).unwrap()
    }

    #[test]
    fn the_line_names_the_entry_that_is_missing_or_decides() {
        let missing = "ingress of default/server (1002): no entry for identity 12345, TCP 9090; near: identity 12345, TCP 8080";
        assert_eq!(line(&brief()), missing);
        let deny = Brief { entry: Some(Entry::deny(key(0, 9090))), missing: None, near: None, ..brief() };
        assert_eq!(
            line(&deny),
            "ingress of default/server (1002): denied by the entry for any identity, TCP 9090"
        );
        let changed = Brief { verdict: Verdict::Allowed, missing: None, near: None, ..brief() };
        assert!(
            line(&changed).ends_with("allowed now for identity 12345, TCP 9090: policy has changed since")
        );
        let unknown = Brief { unknown: Some(Arc::from("endpoint 1002 has no policy map")), ..brief() };
        assert!(line(&unknown).ends_with("not known: endpoint 1002 has no policy map"));
    }

    #[test]
    fn the_object_has_the_entry_that_is_missing_as_policy_get_lists_entries() {
        let json: serde_json::Value = serde_json::from_slice(&Rendered::new(&brief()).json).unwrap();
        assert_eq!(
            json["missing"],
            serde_json::json!({"direction": "ingress", "identity": 12345, "protocol": "TCP", "port": 9090, "prefix_length": 24})
        );
        assert_eq!((&json["entry"], &json["near"]["port"]), (&serde_json::Value::Null, &8080.into()));
        assert_eq!(json["map_read_at"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn names_of_others_do_no_harm_to_terminals() {
        assert!(!line(&Brief { name: "a\x1b[31m".into(), ..brief() }).contains('\x1b'));
    }
}
