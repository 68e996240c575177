//! A group in the words of a person: who, what, where.

use tracer_common::id::Identity;

use super::board::{Event, Grouping};
use crate::cilium::identity;
use crate::model::endpoint::{Labels, Peer};
use crate::output::Node;
use crate::output::escape;
use crate::output::groups::texts;
use crate::why::labels;

/// `values`: as the grouping has them; `sample`: an event of the group, for the names that its numbers stand for.
/// Harmless to terminals.
pub fn of_group(grouping: Grouping, values: &[u8], sample: Option<&Event>, node: &Node) -> String {
    let values: Vec<String> = texts(values).map(|value| shown(&value)).collect();
    let value = |at: usize| values.get(at).map_or("", String::as_str);
    match grouping {
        Grouping::Reason => or_unknown(value(0)).to_owned(),
        Grouping::Identity => {
            let flow = sample.map(|event| &event.flow);
            let ends = [(value(0), flow.map(|flow| &flow.src)), (value(1), flow.map(|flow| &flow.dst))];
            let [source, destination] = ends.map(|(number, peer)| who(number, peer, node));
            format!("{source} > {destination}")
        }
        Grouping::Place => format!("{}  {}", or_unknown(value(0)), value(1)).trim_end().to_owned(),
        Grouping::Pod => {
            let ends = format!("{} > {}", or_unknown(value(0)), or_unknown(value(1)));
            let port = [value(2), value(3)].into_iter().filter(|text| !text.is_empty());
            let port = port.collect::<Vec<_>>().join("/");
            if port.is_empty() { ends } else { format!("{ends} {port}") }
        }
    }
}

fn or_unknown(value: &str) -> &str {
    if value.is_empty() { "unknown" } else { value }
}

fn shown(value: &str) -> String {
    let mut out = Vec::new();
    escape::text(&mut out, value);
    String::from_utf8_lossy(&out).into_owned()
}

/// `12345 app=client`, `2 world`; no identity is `unknown`.
fn who(number: &str, peer: Option<&Peer>, node: &Node) -> String {
    let identity = Identity(number.parse().unwrap_or_default());
    if identity == Identity(0) {
        return "unknown".to_owned();
    }
    if let Some(name) = identity::reserved_name(identity, node.releases) {
        return format!("{number} {name}");
    }
    match peer.and_then(|peer| peer.labels.as_deref()).and_then(telling) {
        Some(label) => format!("{number} {}", shown(&label)),
        None => number.to_owned(),
    }
}

/// The one label that says most: rows are short.
fn telling(known: &Labels) -> Option<String> {
    const NAMES: [&str; 3] = ["app.kubernetes.io/name", "k8s-app", "app"];
    let prefixes = known.iter().filter_map(|label| label.strip_prefix("cidr:"));
    if let Some(narrowest) = prefixes.max_by_key(|prefix| prefix.len()) {
        return Some(labels::cidr_text(narrowest));
    }
    let own = labels::telling(known);
    let named = NAMES.into_iter().find_map(|name| own.iter().find(|(key, _)| key == name));
    let (key, value) = named.or(own.first())?;
    Some(if value.is_empty() { key.clone() } else { format!("{key}={value}") })
}
