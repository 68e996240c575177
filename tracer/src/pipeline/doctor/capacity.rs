//! How full the maps are.

use super::node::Node;
use super::policy::Policies;
use crate::cilium::map_type::MapType;
use crate::cilium::pins::PolicyPin;
use crate::doctor::Finding;
use crate::doctor::capacity::{self, Fill};

/// Smaller maps are lists of settings: full is what they are meant to be.
const SMALL: u32 = 64;

pub(super) fn look(node: &Node, policies: &Policies) -> Vec<Finding> {
    let (mut fills, mut unread) = (Vec::new(), Vec::new());
    for (name, map) in node.maps().filter(|(name, _)| PolicyPin::parse(name).is_none()) {
        let (kind, max_entries) = (MapType(map.info().map_type), map.info().max_entries);
        if !kind.is_counted() || max_entries < SMALL {
            continue;
        }
        match map.count() {
            Ok((entries, _)) => fills.push(Fill {
                map: name.to_owned(),
                entries,
                max_entries,
                evicts: matches!(kind, MapType::LRU_HASH | MapType::LRU_PERCPU_HASH),
            }),
            Err(error) => unread.push(format!("{name} ({error})")),
        }
    }
    vec![
        capacity::tables(&fills, &unread),
        capacity::policy(&policies.fills, &policies.unread),
        capacity::empty_policy(&policies.fills),
    ]
}
