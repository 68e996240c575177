//! The chart, rendered by just as much of Helm's template language as it uses: its result is what
//! `tracer manifest daemonset` prints.

use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::{Value, json};
use tracer::manifest::{Kind, Settings, render};

use crate::manifests::settings;
use crate::strict::strictly;

const TEMPLATE: &str = include_str!("../../../deploy/helm/tracer/templates/daemonset.yaml");
const VALUES: &str = include_str!("../../../deploy/helm/tracer/values.yaml");
const CHART: &str = include_str!("../../../deploy/helm/tracer/Chart.yaml");

/// `{{ EXPRESSION }}` on the way, and lines that are only `{{- if PATH }}`, `{{- end }}` or a comment.
fn rendered(template: &str, values: &Value) -> String {
    let (mut out, mut shown) = (String::new(), vec![true]);
    for line in template.lines() {
        let bare = line.trim();
        match bare.strip_prefix("{{- ").and_then(|rest| rest.split_once(' ')) {
            Some(("/*", _)) => {}
            Some(("if", rest)) => {
                let path = rest.strip_suffix(" }}").expect("end of an if");
                shown.push(is_true(look_up(values, path)));
            }
            Some(("end", "}}")) => assert!(shown.pop().is_some() && !shown.is_empty(), "an end too many"),
            Some(_) => panic!("this test does not know `{bare}`"),
            None if shown.iter().all(|shown| *shown) => {
                out.push_str(&filled(line, values));
                out.push('\n');
            }
            None => {}
        }
    }
    assert_eq!(shown.len(), 1, "an if without end");
    out
}

fn filled(line: &str, values: &Value) -> String {
    let Some((before, rest)) = line.split_once("{{ ") else { return line.to_owned() };
    let (expression, after) = rest.split_once(" }}").expect("end of an expression");
    let expression = expression.strip_suffix(" | toJson").expect("every value is quoted by toJson");
    let value = match expression.strip_prefix("printf \"%s:%s\" ") {
        Some(paths) => {
            let parts: Vec<&str> =
                paths.split(' ').map(|path| look_up(values, path).as_str().expect("a text")).collect();
            Value::from(parts.join(":"))
        }
        None => look_up(values, expression).clone(),
    };
    format!("{before}{value}{}", filled(after, values))
}

fn look_up<'a>(values: &'a Value, path: &str) -> &'a Value {
    let pointer = path.replace('.', "/");
    values.pointer(&pointer).unwrap_or_else(|| panic!("no value `{path}`"))
}

/// As Go's templates see it.
fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
        && *value != json!(0)
        && *value != json!({})
        && *value != json!([])
        && *value != json!("")
}

fn values(changes: &[(&str, Value)]) -> Value {
    let mut values: Value = serde_yaml_ng::from_str(VALUES).unwrap();
    for (key, value) in changes {
        assert!(values.get(key).is_some(), "{key} is no value of the chart");
        values[key] = value.clone();
    }
    json!({"Values": values, "Release": {"Name": "tracer", "Namespace": "kube-system"}})
}

fn chart(changes: &[(&str, Value)]) -> DaemonSet {
    strictly(&rendered(TEMPLATE, &values(changes))).unwrap()
}

fn printed(settings: &Settings) -> DaemonSet {
    strictly(&render(Kind::Daemonset, settings)).unwrap()
}

#[test]
fn the_chart_is_what_manifest_prints() {
    let image = "tracer:latest".to_owned();
    assert_eq!(chart(&[]), printed(&Settings { image: image.clone(), ..settings() }));
    let all = Settings { image, symbols: true, selinux: true, args: vec!["maps".to_owned()], ..settings() };
    let changes = [("symbols", json!(true)), ("selinux", json!(true)), ("args", json!(["maps"]))];
    assert_eq!(chart(&changes), printed(&all));
    assert_ne!(chart(&changes), printed(&settings()));
}

#[test]
fn the_charts_server_is_probed_as_manifests_is() {
    for (host, address) in
        [("", "0.0.0.0:9977"), ("", "[::]:9977"), ("192.0.2.7", "192.0.2.7:9977"), ("::1", "[::1]:9977")]
    {
        let args = ["serve", "--metrics", address].map(str::to_owned).to_vec();
        let changes = [("args", json!(args)), ("metrics", json!({"port": 9977, "host": host}))];
        let printed = printed(&Settings { image: "tracer:latest".to_owned(), args, ..settings() });
        assert_eq!(chart(&changes), printed, "{address}");
    }
}

#[test]
fn a_node_selector_is_optional() {
    assert!(chart(&[]).spec.unwrap().template.spec.unwrap().node_selector.is_none());
    let chosen = chart(&[("nodeSelector", json!({"zone": "a"}))]);
    let selector = chosen.spec.unwrap().template.spec.unwrap().node_selector.unwrap();
    assert_eq!(selector.get("zone").map(String::as_str), Some("a"));
}

#[test]
fn the_chart_has_tracers_version() {
    let chart: Value = serde_yaml_ng::from_str(CHART).unwrap();
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&chart["apiVersion"], &chart["name"]), (&json!("v2"), &json!("tracer")));
}
