//! `drops --aggregate-by`: the groups of real drops, and how many packets each has. What was sent is the traffic's own
//! count.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::support::{Run, Scene};
use crate::node::Node;
use crate::runner::Outcome;

crate::tests![groups_add_up_to_what_was_sent: 60, text_has_one_line_a_group: 60];

/// Reason, identities, destination port.
type Group = (String, String, String, String);

fn group(reason: &str, source: &str, destination: &str, port: &str) -> Group {
    (reason.into(), source.into(), destination.into(), port.into())
}

fn number(value: &Value) -> Result<u64> {
    value.as_str().and_then(|text| text.parse().ok()).with_context(|| format!("no count: {value}"))
}

/// Counts by group of the final lines, and the sums of the lines before.
fn counts(run: &Run) -> Result<(BTreeMap<Group, u64>, BTreeMap<Group, u64>)> {
    let (mut last, mut before) = (BTreeMap::new(), BTreeMap::new());
    for line in run.stdout.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| format!("`{line}`"))?;
        let aggregate = line.get("aggregate").with_context(|| format!("no group: {line}"))?;
        let text = |name: &str| aggregate[name].as_str().unwrap_or("?").to_owned();
        let key =
            (text("reason"), text("source_identity"), text("destination_identity"), text("destination_port"));
        ensure!(text("first_seen") <= text("last_seen"), "first after last: {line}");
        let counts = if aggregate["final"] == true { &mut last } else { &mut before };
        *counts.entry(key).or_default() += number(&aggregate["count"])?;
    }
    Ok((last, before))
}

fn groups_add_up_to_what_was_sent() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let tracer =
        scene.start(&["-o", "json", "--aggregate-by", "reason,identity,port", "--interval", "1s"])?;
    let mut expected = BTreeMap::new();
    for (case, rounds, key) in [
        ("denied-udp", 7, group("Policy denied", "12345", "23456", "53")),
        ("denied-tcp", 5, group("Policy denied", "12345", "23456", "9090")),
        ("explicit-deny", 3, group("Policy denied by denylist", "12345", "16777217", "53")),
    ] {
        let sent = scene.send_case(case, rounds)?;
        ensure!(sent[0].packets == rounds, "sent {:?}, not {rounds}", sent[0]);
        expected.insert(key, rounds);
    }
    // The report that is due, so that each group is told before the end too.
    thread::sleep(Duration::from_millis(2500));
    let run = tracer.stop()?;
    let (last, before) = counts(&run)?;
    for (key, count) in &expected {
        ensure!(last.get(key) == Some(count), "{key:?}: {:?}, sent {count}: {}", last.get(key), run.stdout);
        ensure!(
            before.get(key) == Some(count),
            "{key:?}: {:?} before the end, sent {count}",
            before.get(key)
        );
    }
    let shown = run.summary()?.number("/events/shown")?;
    ensure!(last.values().sum::<u64>() as i64 == shown, "{shown} shown, groups: {last:?}");
    run.expect_code(0)?;
    Ok(Outcome::Passed)
}

fn text_has_one_line_a_group() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let tracer = scene.start(&["--aggregate-by", "reason,pod,protocol", "--ip", "10.244.1.20"])?;
    let sent = scene.send_case("denied-udp", 4)?;
    let run = tracer.stop()?;
    let wanted = format!(
        ": {} drops in all: reason=\"Policy denied\" source_pod=default/client destination_pod=default/server protocol=UDP (first ",
        sent[0].packets
    );
    let lines: Vec<&str> = run.stdout.lines().filter(|line| line.contains(&wanted)).collect();
    ensure!(lines.len() == 1, "no line with `{wanted}` in\n{}", run.stdout);
    Ok(Outcome::Passed)
}
