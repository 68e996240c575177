//! The dashboard and the alerts in `deploy/` name only figures that there are, and labels that they have.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of figures in a text: words that begin like ours.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_part(c))
        .filter(|word| word.starts_with("tracer_") || word.starts_with("hubble_"))
        .map(str::to_owned)
        .collect()
}

/// The names in the sources of the figures: the literals that begin like ours.
fn made() -> BTreeSet<String> {
    let sources = ["drops.rs", "metrics.rs"].map(|file| format!("tracer/src/serve/{file}"));
    let wired = ["figures.rs", "maps.rs"].map(|file| format!("tracer/src/pipeline/serve/{file}"));
    let mut names = BTreeSet::new();
    for source in sources.iter().chain(&wired) {
        let text = read(source);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let literals = code.split('"').skip(1).step_by(2);
        names.extend(literals.filter(|text| named(text).contains(*text)).map(str::to_owned));
    }
    names
}

fn check(file: &str) {
    let (made, asked) = (made(), named(&read(file)));
    assert!(asked.len() > 5, "{file}: {asked:?}");
    let unknown: Vec<_> = asked.difference(&made).collect();
    assert!(unknown.is_empty(), "{file} asks for {unknown:?}, which nobody makes");
}

#[test]
fn alerts_ask_for_figures_that_there_are() {
    check("deploy/prometheus/tracer-rules.yaml");
}

#[test]
fn the_dashboard_asks_for_figures_that_there_are() {
    check("deploy/grafana/tracer.json");
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/grafana/tracer.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(
        panels.iter().all(|panel| panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()))
    );
}

#[test]
fn every_figure_is_documented() {
    let docs = read("docs/commands/serve.md");
    let is_told = |name: &&String| {
        let tap = name.strip_prefix("tracer_tap_").and_then(|rest| rest.strip_suffix("_total"));
        docs.contains(name.as_str()) || tap.is_some_and(|counter| docs.contains(&format!("`{counter}`")))
    };
    let made = made();
    let missing: Vec<_> = made.iter().filter(|name| !is_told(name)).collect();
    assert!(missing.is_empty(), "docs/commands/serve.md does not know {missing:?}");
}
