//! Facts of the endpoints: their directories, maps and identities.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use tracer_common::id::{EndpointId, Identity};

use super::node::Node;
use crate::cilium::pins::policy_pins;
use crate::cilium::state::directory::{EndpointDir, Form, endpoint_dirs};
use crate::doctor::Finding;
use crate::doctor::endpoints::{self, Identities, Pairing, Unfinished};

const INIT: Identity = Identity(5);

pub(super) fn look(node: &Node) -> Vec<Finding> {
    let mut findings = vec![endpoints::state(&unfinished(node))];
    if node.view.source().state_dir.is_some() {
        findings.push(endpoints::files(&node.broken_files));
    }
    findings.extend([endpoints::maps(&pairing(node)), endpoints::identity(&identities(node))]);
    findings
}

fn unfinished(node: &Node) -> Result<Unfinished, String> {
    let path = node.view.source().state_dir.as_deref().ok_or("no state directory")?;
    let dirs = endpoint_dirs(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(sort_out(dirs, SystemTime::now()))
}

fn sort_out(dirs: Vec<EndpointDir>, now: SystemTime) -> Unfinished {
    let all: BTreeSet<EndpointId> = dirs.iter().map(|dir| dir.endpoint).collect();
    let finished: BTreeSet<EndpointId> =
        dirs.iter().filter(|dir| dir.form == Form::Active).map(|dir| dir.endpoint).collect();
    let mut found = Unfinished { endpoints: all.len(), ..Unfinished::default() };
    let mut young = BTreeSet::new();
    for dir in dirs {
        match dir.form {
            Form::Active => {}
            Form::Next => {
                let age = dir.changed.and_then(|changed| now.duration_since(changed).ok());
                let seconds = age.map_or(0, |age| age.as_secs());
                if seconds < endpoints::LONG_SECONDS {
                    young.insert(dir.endpoint);
                }
                found.next.push((dir.name, seconds));
            }
            Form::Stale => found.stale.push(dir.name),
            Form::Failed => found.failed.push(dir.name),
        }
    }
    // An endpoint that is being made for the first time has nothing finished, and nothing is wrong with it.
    let only = all.iter().filter(|id| !finished.contains(id) && !young.contains(id));
    found.only = only.map(EndpointId::to_string).collect();
    found
}

/// Addresses of the endpoint map by endpoint, without those of the node.
fn identity_by_endpoint(node: &Node) -> BTreeMap<EndpointId, Identity> {
    let entries = node.view.lxc_entries().iter().filter(|entry| !entry.is_host());
    entries.map(|entry| (entry.id, entry.identity)).collect()
}

/// The endpoint of the node itself has no entry in the endpoint map: it is told by the map of its programs.
fn host_endpoint(node: &Node) -> Option<EndpointId> {
    let number = |name: &str| name.strip_prefix("cilium_calls_hostns_")?.parse().ok();
    node.pins.iter().find_map(|pin| number(&pin.name)).map(EndpointId)
}

fn pairing(node: &Node) -> Pairing {
    let with_map: BTreeSet<EndpointId> =
        policy_pins(node.pins.iter().map(|pin| pin.name.as_str())).iter().map(|pin| pin.endpoint).collect();
    let in_map: BTreeSet<EndpointId> = identity_by_endpoint(node).into_keys().collect();
    let mut known = in_map.clone();
    known.extend(node.view.endpoints().iter().map(|endpoint| endpoint.id));
    known.extend(host_endpoint(node));
    Pairing {
        pairs: with_map.intersection(&known).count(),
        without_map: in_map.difference(&with_map).map(|id| node.endpoint_name(*id)).collect(),
        without_endpoint: with_map
            .difference(&known)
            .map(|id| format!("policy map of endpoint {id}"))
            .collect(),
    }
}

fn identities(node: &Node) -> Identities {
    let all = identity_by_endpoint(node);
    let of = |wanted: Identity| -> Vec<String> {
        all.iter()
            .filter(|(_, identity)| **identity == wanted)
            .map(|(id, _)| node.endpoint_name(*id))
            .collect()
    };
    Identities { endpoints: all.len(), none: of(Identity(0)), init: of(INIT) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn directories_are_sorted_by_form_and_age() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        let dir = |name: &str, id, form, seconds| EndpointDir {
            name: name.to_owned(),
            endpoint: EndpointId(id),
            form,
            changed: now.checked_sub(Duration::from_secs(seconds)),
        };
        let found = sort_out(
            vec![
                dir("1", 1, Form::Active, 900),
                dir("1_next", 1, Form::Next, 300),
                dir("2_next", 2, Form::Next, 5),
                dir("3_next_fail", 3, Form::Failed, 900),
                dir("4_stale", 4, Form::Stale, 900),
                dir("4", 4, Form::Active, 1),
            ],
            now,
        );
        assert_eq!(found.endpoints, 4);
        assert_eq!(found.next, [("1_next".to_owned(), 300), ("2_next".to_owned(), 5)]);
        assert_eq!((found.failed, found.stale), (vec!["3_next_fail".to_owned()], vec!["4_stale".to_owned()]));
        assert_eq!(found.only, ["3"]);
    }
}
