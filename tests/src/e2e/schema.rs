//! What tracer prints as JSON, held against its own schema by a validator of others: every key is described,
//! none that is promised is missing.

use anyhow::{Context, Result, ensure};
use jsonschema::Validator;
use serde_json::{Value, json};

use super::maps::{stderr, stdout, tracer};
use super::support::{Launch, Scene, Scratch};
use crate::node::kernel::space::NodeSpace;
use crate::node::traffic::Plan;
use crate::node::{Generation, Node};
use crate::runner::Outcome;

crate::tests![
    listings_are_what_the_schema_says: 180,
    events_and_summary_are_what_the_schema_says: 90,
    groups_and_reports_are_what_the_schema_says: 90,
    differences_are_what_the_schema_says: 90,
    the_contract_is_in_the_schema,
];

/// Output and the command that prints it; `-o jsonl` is added where there is no format.
const COMMANDS: [(&str, &str); 21] = [
    ("ct-count", "ct count -o json"),
    ("ct-count", "ct count --by protocol -o json"),
    ("ct-list", "ct list"),
    ("nat-list", "nat list"),
    ("nat-list", "nat orphans"),
    ("nat-ports", "nat ports -o json"),
    ("lb-list", "lb list"),
    ("lb-check", "lb check -o json"),
    ("policy-list", "policy list"),
    ("policy-get", "policy get 1002"),
    ("ipcache-list", "ipcache list"),
    ("endpoints-list", "endpoints list"),
    ("identity-list", "identity list"),
    ("nodes", "nodes"),
    ("metrics", "metrics"),
    ("maps", "maps"),
    ("capacity", "capacity -o json"),
    ("explain", "explain"),
    ("doctor", "doctor --quick -o json"),
    ("why", "why default/client default/server:9090/tcp -o json"),
    ("why", "why default/client default/server:8080/tcp -o json"),
];

/// The schema as tracer prints it, closed: a key that it does not describe is an error here.
fn validator(space: &NodeSpace, output: &str) -> Result<Validator> {
    let printed = tracer(space, &format!("schema {output}"))?;
    let mut schema: Value = serde_json::from_slice(&printed.stdout).context("the schema is no JSON")?;
    ensure!(jsonschema::meta::is_valid(&schema), "{output}: no valid schema");
    let definitions = schema["$defs"].clone();
    close(&mut schema, &definitions);
    let options = jsonschema::options().should_validate_formats(true);
    options.build(&schema).map_err(|error| anyhow::anyhow!("{output}: {error}"))
}

/// Says of every object that it has no other members. Parts of an `allOf` become one first.
fn close(schema: &mut Value, definitions: &Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Array(parts)) = members.remove("allOf") {
                parts.into_iter().for_each(|part| merge(members, part, definitions));
            }
            if members.contains_key("properties") && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
            // The names of properties are no schemas.
            for (key, member) in members.iter_mut() {
                match (key.as_str(), member) {
                    ("properties" | "$defs", Value::Object(named)) => {
                        named.values_mut().for_each(|member| close(member, definitions));
                    }
                    (_, member) => close(member, definitions),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| close(item, definitions)),
        _ => {}
    }
}

fn merge(members: &mut serde_json::Map<String, Value>, mut part: Value, definitions: &Value) {
    if let Some(name) = part["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        part = definitions[name].clone();
    }
    if let Value::Object(properties) = part["properties"].take() {
        let all = members.entry("properties").or_insert_with(|| json!({}));
        all.as_object_mut().into_iter().for_each(|all| all.extend(properties.clone()));
    }
    if let Value::Array(required) = part["required"].take() {
        let all = members.entry("required").or_insert_with(|| json!([]));
        all.as_array_mut().into_iter().for_each(|all| all.extend(required.clone()));
    }
}

fn check(validator: &Validator, what: &str, value: &Value) -> Result<()> {
    let faults: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{} at `{}`", error, error.instance_path()))
        .collect();
    ensure!(faults.is_empty(), "{what}: {}: {value}", faults.join("; "));
    Ok(())
}

fn listings_are_what_the_schema_says() -> Result<Outcome> {
    for generation in [Generation::V1_14, Generation::V1_17, Generation::V1_19] {
        let scene = Scene::new(Node::builder().generation(generation))?;
        // Counters are there only for what has happened.
        scene.send_case("denied-tcp", 1)?;
        let node = &scene.node;
        for (output, line) in COMMANDS {
            let validator = validator(node.space(), output)?;
            let line = if line.contains("-o ") { line.to_owned() } else { format!("{line} -o jsonl") };
            let printed = tracer(node.space(), &line)?;
            let code = printed.status.code();
            ensure!(matches!(code, Some(0 | 7)), "{line}: {}: {}", printed.status, stderr(&printed));
            let text = stdout(&printed);
            let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
            let values: Vec<Value> = values.collect::<Result<_, _>>().context("no JSON")?;
            ensure!(!values.is_empty() || line.contains("orphans"), "{line}: nothing was printed");
            for value in &values {
                check(&validator, &line, value)?;
            }
        }
    }
    Ok(Outcome::Passed)
}

fn events_and_summary_are_what_the_schema_says() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let (event, summary) =
        (validator(scene.node.space(), "event")?, validator(scene.node.space(), "summary")?);
    for (verb, format) in [("drops", "json"), ("drops", "jsonpb"), ("flows", "json")] {
        let tracer = Launch::new(&["-o", format, "--all"]).verb(verb).start(scene.node.space())?;
        scene.send(Plan::Default, 1)?;
        let run = tracer.stop()?;
        let events = run.events()?;
        ensure!(events.len() > 20, "{} events", events.len());
        for line in &events {
            check(&event, format, line)?;
            ensure!(line.get("tracer").is_some() == (format == "json"), "{line}");
        }
        let last = run.stderr.lines().rev().find(|line| line.starts_with("{\"summary\":"));
        check(&summary, "summary", &serde_json::from_str(last.context("no summary")?)?)?;
        // A schema that accepts anything would be no schema.
        let mut broken = events[0].clone();
        broken["flow"]["verdict"] = json!(1);
        ensure!(!event.is_valid(&broken), "{broken}");
    }
    Ok(Outcome::Passed)
}

/// `--aggregate-by` with every key, `--why`, and `top`.
fn groups_and_reports_are_what_the_schema_says() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let event = validator(scene.node.space(), "event")?;
    const KEYS: &str =
        "reason,kernel-reason,identity,pod,namespace,ip,port,protocol,place,direction,interface";
    for arguments in [["--aggregate-by", KEYS], ["--why", "--all"]] {
        let tracer = scene.start(&["-o", "json", arguments[0], arguments[1]])?;
        scene.send(Plan::Default, 1)?;
        let run = tracer.stop()?;
        let lines = run.events()?;
        ensure!(lines.len() > 5, "{} lines with {arguments:?}", lines.len());
        for line in &lines {
            check(&event, arguments[0], line)?;
        }
    }
    let top = validator(scene.node.space(), "top")?;
    let tracer = Launch::new(&["--batch", "-o", "json"]).verb("top").start(scene.node.space())?;
    scene.send(Plan::Default, 1)?;
    let reports = tracer.stop()?.events()?;
    for report in &reports {
        check(&top, "top", report)?;
    }
    let last = &reports.last().context("no report")?["top"];
    ensure!(last["maps"].is_array() && last["source_nat"].is_array(), "not everything was there to check");
    let mut broken = reports[0].clone();
    broken["top"]["drops"]["total"] = json!(1);
    ensure!(!top.is_valid(&broken), "{broken}");
    Ok(Outcome::Passed)
}

fn differences_are_what_the_schema_says() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let (space, scratch) = (scene.node.space(), Scratch::new()?);
    let files = ["before", "after"].map(|name| scratch.path(name).display().to_string());
    for file in &files {
        let taken = tracer(space, &format!("snapshot -o {file}"))?;
        ensure!(taken.status.success(), "{}", stderr(&taken));
        scene.send_case("denied-tcp", 1)?;
    }
    let validator = validator(space, "diff")?;
    for options in ["--all -o jsonl", "--rows -o jsonl"] {
        let printed = tracer(space, &format!("diff {} {} {options}", files[0], files[1]))?;
        let text = stdout(&printed);
        ensure!(printed.status.success() && !text.is_empty(), "{options}: {}", stderr(&printed));
        for line in text.lines() {
            check(&validator, options, &serde_json::from_str(line)?)?;
        }
    }
    Ok(Outcome::Passed)
}

/// The keys that were promised to programs, as they were promised.
const CONTRACT: [(&str, &str); 7] = [
    (
        "ct-list",
        "map kind protocol source_ip source_port destination_ip destination_port remaining_seconds flags \
         rev_nat_id source_identity",
    ),
    ("nat-list", "direction protocol source_ip source_port destination_ip destination_port to_ip to_port"),
    ("lb-list", "frontend_ip frontend_port protocol service_id flags backends"),
    (
        "policy-get",
        "direction identity labels protocol port prefix_length deny proxy_port auth_type packets bytes",
    ),
    ("ipcache-list", "prefix identity tunnel_endpoint encrypt_key"),
    ("endpoints-list", "endpoint_id ip ifindex interface mac identity namespace pod labels"),
    ("metrics", "reason direction packets bytes file line"),
];

fn the_contract_is_in_the_schema() -> Result<Outcome> {
    let space = NodeSpace::create()?;
    let printed = tracer(&space, "schema")?;
    let document: Value = serde_json::from_slice(&printed.stdout)?;
    for (output, keys) in CONTRACT {
        let required = document["$defs"][output]["required"].as_array().context("nothing is required")?;
        for key in keys.split_whitespace() {
            ensure!(required.contains(&key.into()), "{output}: `{key}` is not promised");
        }
    }
    let count = &document["$defs"]["ct-count"]["anyOf"][0]["required"];
    ensure!(*count == json!(["maps", "entries"]), "{count}");
    let usage = &document["$defs"]["usage"]["required"];
    ensure!(*usage == json!(["map", "entries", "max_entries", "usage_percent"]), "{usage}");
    Ok(Outcome::Passed)
}
