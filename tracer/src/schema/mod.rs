//! The machine's contract: JSON Schema (draft 2020-12) of everything that tracer prints as JSON. One document
//! with a definition for each kind of output; kept by hand, and compared with real output by the tests.

use serde_json::{Value, json};

/// The whole document.
pub const DOCUMENT: &str = include_str!("tracer.schema.json");

/// Outputs that have a definition, by the words of their command.
pub const OUTPUTS: [&str; 22] = [
    "event",
    "summary",
    "ct-count",
    "ct-list",
    "nat-list",
    "nat-ports",
    "lb-list",
    "lb-check",
    "policy-list",
    "policy-get",
    "ipcache-list",
    "endpoints-list",
    "identity-list",
    "nodes",
    "metrics",
    "maps",
    "capacity",
    "diff",
    "top",
    "doctor",
    "explain",
    "why",
];

/// The document as the schema of one output. `None`: there is no such definition.
pub fn of(output: &str) -> Option<Value> {
    let mut document: Value = serde_json::from_str(DOCUMENT).ok()?;
    document["$defs"].get(output)?;
    document["$ref"] = json!(format!("#/$defs/{output}"));
    document["title"] = json!(format!("Output of tracer: {output}"));
    Some(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_output_has_a_definition_and_is_described() {
        for output in OUTPUTS {
            let schema = of(output).unwrap_or_else(|| panic!("no definition of {output}"));
            assert!(schema["$defs"][output]["description"].is_string(), "{output}");
        }
        assert!(of("nothing").is_none());
    }

    /// A reference to nowhere would accept everything in some validators.
    #[test]
    fn every_reference_leads_somewhere() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let references = DOCUMENT.split("\"#/$defs/").skip(1).filter_map(|rest| rest.split('"').next());
        for name in references {
            assert!(document["$defs"].get(name).is_some(), "{name}");
        }
    }
}
