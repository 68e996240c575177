//! `local_allocator_state.json` (1.16 and newer): identities that mean something on this node only (CIDR,
//! FQDN, other nodes by label) with their labels.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use tracer_common::id::Identity;

use super::file::StateError;
use super::labels::{JsonLabels, to_labels};
use crate::model::endpoint::Labels;

#[derive(Deserialize)]
struct Json {
    id: u32,
    labels: Option<JsonLabels>,
}

/// Entries that are not of the known form are left out.
pub fn parse(bytes: &[u8]) -> Result<HashMap<Identity, Arc<Labels>>, StateError> {
    let entries: Option<Vec<serde_json::Value>> = serde_json::from_slice(bytes).map_err(StateError::Json)?;
    let known =
        entries.unwrap_or_default().into_iter().filter_map(|entry| serde_json::from_value(entry).ok());
    Ok(known
        .map(|Json { id, labels }| (Identity(id), Arc::new(to_labels(labels.unwrap_or_default()))))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cidr_and_fqdn_identities_have_their_labels() {
        let json = r#"[{"id":16777217,"labels":{"10.0.0.0/8":{"key":"10.0.0.0/8","source":"cidr"},
            "world":{"key":"world","source":"reserved"}}},
            {"id":16777218,"labels":{"*.example.org":{"key":"*.example.org","source":"fqdn"}}},
            {"id":"seven"}, 5, {"id":16777219,"labels":null}]"#;
        let found = parse(json.as_bytes()).unwrap();
        let labels = |id| found[&Identity(id)].iter().collect::<Vec<_>>();
        assert_eq!(labels(16_777_217), ["cidr:10.0.0.0/8", "reserved:world"]);
        assert_eq!(labels(16_777_218), ["fqdn:*.example.org"]);
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn an_agent_without_local_identities_writes_null_or_an_empty_list() {
        assert!(parse(b"null").unwrap().is_empty());
        assert!(parse(b"[]").unwrap().is_empty());
        assert!(parse(b"{}").is_err());
    }
}
