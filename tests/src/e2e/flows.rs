//! `tracer flows`: trace and verdict messages of the datapath with both ends named, counted to the message; and what it
//! does where no message can be seen.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::maps::{parse, stderr, stdout};
use super::support::{Launch, Run, Scene, Scratch, Tracer, is_debian_cloud_kernel};
use crate::node::{Builder, Generation, Node};
use crate::programs;
use crate::runner::Outcome;

crate::tests![
    packets_that_pass_and_verdicts_are_told: 180,
    newer_layouts_are_read: 120,
    recorded_flows_play_back: 120,
    without_messages_it_says_so_and_shows_drops: 90,
    drops_know_nothing_of_them: 90,
];

/// Types of Cilium's messages.
const DROP: u64 = 1;
const TRACE: u64 = 4;
const VERDICT: u64 = 5;

fn start(scene: &Scene, arguments: &[&str]) -> Result<Tracer> {
    Launch::new(arguments).verb("flows").start(scene.node.space())
}

/// One connection to 8080, one knock at 9090.
fn send(scene: &Scene) -> Result<()> {
    scene.send_case("allowed-tcp", 1)?;
    scene.send_case("denied-tcp", 1)?;
    Ok(())
}

/// Ends the test where the kernel lets nobody see messages.
fn not_possible(run: &Run) -> Result<Option<Outcome>> {
    if run.summary()?.hook("message").is_some() {
        return Ok(None);
    }
    let line = run.stderr.lines().find(|line| line.starts_with("tap message: off")).context("no banner")?;
    ensure!(!is_debian_cloud_kernel(), "this kernel has fentry and kprobes: {line}");
    Ok(Some(Outcome::NotPossible(line.to_owned())))
}

fn kind(event: &Value) -> u64 {
    event["flow"]["event_type"]["type"].as_u64().unwrap_or(0)
}

fn of_kind(events: &[Value], wanted: u64) -> Vec<&Value> {
    events.iter().filter(|event| kind(event) == wanted).collect()
}

fn port(event: &Value, end: &str) -> u64 {
    event["flow"]["l4"]["TCP"][format!("{end}_port")].as_u64().unwrap_or(0)
}

fn packets_that_pass_and_verdicts_are_told() -> Result<Outcome> {
    let scene = Scene::new(Node::builder().trace_all(true))?;
    let all = start(&scene, &["-o", "json"])?;
    let lines = start(&scene, &["-t", "trace:to-endpoint", "--verdict", "FORWARDED", "--to-port", "8080"])?;
    let denied = start(&scene, &["--type", "policy-verdict", "--verdict", "DROPPED"])?;
    let kprobe = start(&scene, &["-o", "json", "--tap", "kprobe"])?;
    let ((), read) = scene.with_agent(|| send(&scene))?;
    let (all, lines, denied, kprobe) = (all.stop()?, lines.stop()?, denied.stop()?, kprobe.stop()?);
    if let Some(outcome) = not_possible(&all)? {
        return Ok(outcome);
    }
    all.expect_code(0)?;
    let events = all.events()?;
    check_traces(&events)?;
    check_verdicts(&events)?;
    ensure!(of_kind(&events, DROP).len() == 1, "drops beside the verdict: {events:?}");
    let counted = |kind: u64| read.by_type.get(&(kind as u8)).copied().unwrap_or(0) as i64;
    let summary = all.summary()?;
    let of = |counter: &str| summary.number(&format!("/notices/{counter}"));
    ensure!(
        (of("traces")?, of("verdicts")?) == (counted(TRACE), counted(VERDICT)),
        "{read:?}, {}",
        summary.0
    );
    ensure!(of("sent")? == of("shown")? && of("sent")? == counted(TRACE) + counted(VERDICT), "{}", summary.0);
    ensure!((of("lost")?, of("unaccounted")?) == (0, 0) && summary.0["incomplete"] == false, "{}", summary.0);
    check_lines(&lines, &denied)?;
    check_kprobe(&kprobe)?;
    Ok(Outcome::Passed)
}

/// Where packets of the connection were delivered.
fn check_traces(events: &[Value]) -> Result<()> {
    let traces = of_kind(events, TRACE);
    let there: Vec<_> = traces.iter().filter(|event| port(event, "destination") == 8080).collect();
    let back: Vec<_> = traces.iter().filter(|event| port(event, "source") == 8080).collect();
    // At least SYN, ACK, data and FIN; SYN+ACK, data and FIN.
    ensure!(there.len() >= 3 && back.len() >= 3, "{} and {} traces", there.len(), back.len());
    for event in there.iter().chain(&back) {
        let flow = &event["flow"];
        ensure!(
            flow["verdict"] == "FORWARDED" && flow["trace_observation_point"] == "TO_ENDPOINT",
            "{event}"
        );
        ensure!(flow["event_type"] == json!({"type": 4}), "{event}");
    }
    for event in &there {
        let flow = &event["flow"];
        ensure!(flow["is_reply"] == false && flow["traffic_direction"] == "INGRESS", "{event}");
        ensure!(
            (&flow["source"]["ID"], &flow["source"]["identity"]) == (&json!(1001), &json!(12345)),
            "{event}"
        );
        ensure!(
            (&flow["source"]["pod_name"], &flow["source"]["namespace"])
                == (&json!("client"), &json!("default"))
        );
        ensure!(
            (&flow["destination"]["identity"], &flow["destination"]["pod_name"])
                == (&json!(23456), &json!("server"))
        );
        ensure!(flow["interface"] == json!({"index": 22, "name": "lxc5e12e2a1b2c3"}), "{event}");
    }
    for event in &back {
        let flow = &event["flow"];
        ensure!(flow["is_reply"] == true && flow["trace_reason"] == "REPLY", "{event}");
        // The connection leaves the client, so its answers are egress, too.
        ensure!(flow["traffic_direction"] == "EGRESS" && flow["source"]["pod_name"] == "server", "{event}");
    }
    let reasons = |reason: &str| there.iter().filter(|event| event["flow"]["trace_reason"] == reason).count();
    ensure!(reasons("NEW") == 1 && reasons("NEW") + reasons("ESTABLISHED") == there.len(), "{there:?}");
    Ok(())
}

/// Direction, destination port, verdict and reason of each verdict on the client's two connections.
fn check_verdicts(events: &[Value]) -> Result<()> {
    let mut found = Vec::new();
    for event in of_kind(events, VERDICT) {
        let flow = &event["flow"];
        ensure!(flow["event_type"] == json!({"type": 5}) && flow["source"]["identity"] == 12345, "{event}");
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let row = [&flow["traffic_direction"], &flow["verdict"], &flow["drop_reason_desc"]].map(word);
        found.push(format!("{} {} {}", port(event, "destination"), row.join(" "), flow["is_reply"]));
    }
    found.sort();
    let expected = [
        "8080 EGRESS FORWARDED - false",
        "8080 INGRESS FORWARDED - false",
        "9090 EGRESS FORWARDED - false",
        "9090 INGRESS DROPPED POLICY_DENIED null",
    ];
    ensure!(found == expected, "{found:?}");
    Ok(())
}

/// Hubble's compact lines, as the filters leave them.
fn check_lines(delivered: &Run, denied: &Run) -> Result<()> {
    let lines: Vec<&str> = delivered.stdout.lines().collect();
    ensure!(lines.len() >= 3, "{lines:?}");
    for line in &lines {
        let ends = ": default/client:";
        let rest = " (ID:12345) -> default/server:8080 (ID:23456) to-endpoint FORWARDED (TCP Flags: ";
        ensure!(line.contains(ends) && line.contains(rest), "{line}");
    }
    ensure!(lines[0].ends_with("(TCP Flags: SYN)"), "{}", lines[0]);
    let line = denied.stdout.lines().next().context("no verdict")?;
    ensure!(denied.stdout.lines().count() == 1, "{}", denied.stdout);
    let rest =
        " (ID:12345) <> default/server:9090 (ID:23456) policy-verdict:none INGRESS DENIED (TCP Flags: SYN)";
    ensure!(line.ends_with(rest), "{line}");
    Ok(())
}

/// The kernel may skip a kprobe's program, so what it shows is right and need not be all.
fn check_kprobe(run: &Run) -> Result<()> {
    run.expect_code(0)?;
    let summary = run.summary()?;
    let Some(hook) = summary.hook("message") else {
        ensure!(!is_debian_cloud_kernel(), "this kernel has kprobes: {}", run.stderr);
        return Ok(());
    };
    ensure!(hook.contains("kprobe"), "tap message by `{hook}`");
    let events = run.events()?;
    let (traces, verdicts) = (of_kind(&events, TRACE), of_kind(&events, VERDICT));
    ensure!(traces.len() >= 3 && !verdicts.is_empty(), "{} and {}", traces.len(), verdicts.len());
    ensure!(summary.number("/notices/unaccounted")? == 0, "{}", summary.0);
    for event in traces {
        let is_reply = port(event, "source") == 8080;
        ensure!(event["flow"]["is_reply"] == is_reply, "{event}");
    }
    Ok(())
}

/// 1.19: a trace message of 56 bytes, a verdict of 40 with the rule's cookie.
fn newer_layouts_are_read() -> Result<Outcome> {
    let builder: Builder = Node::builder().generation(Generation::V1_19).trace_all(true);
    let scene = Scene::new(builder)?;
    let tracer = start(&scene, &["-o", "json"])?;
    send(&scene)?;
    let run = tracer.stop()?;
    if let Some(outcome) = not_possible(&run)? {
        return Ok(outcome);
    }
    run.expect_code(0)?;
    let events = run.events()?;
    check_traces(&events)?;
    check_verdicts(&events)?;
    let verdicts = of_kind(&events, VERDICT);
    let allowed = verdicts
        .iter()
        .find(|event| port(event, "destination") == 8080 && event["flow"]["traffic_direction"] == "INGRESS");
    let allowed = allowed.context("no verdict for 8080")?;
    // The server's entry for the client and its port has cookie 1.
    ensure!(allowed["tracer"]["policy_verdict"]["cookie"] == 1, "{allowed}");
    ensure!(allowed["flow"]["policy_match_type"] == 2, "L3-L4 is 2: {allowed}");
    Ok(Outcome::Passed)
}

fn play(directory: &Path, arguments: &[&str]) -> Result<std::process::Output> {
    let mut command = Command::new(programs::path("tracer")?);
    command.arg("flows").arg("--input").arg(directory).args(arguments);
    command.output().context("cannot run tracer")
}

/// Flow ids are made up while printing.
fn without_ids(mut events: Vec<Value>) -> Vec<Value> {
    for event in &mut events {
        event["flow"].as_object_mut().and_then(|flow| flow.remove("uuid"));
    }
    events
}

fn recorded_flows_play_back() -> Result<Outcome> {
    let scene = Scene::new(Node::builder().trace_all(true))?;
    let scratch = Scratch::new()?;
    let directory = scratch.path("recording");
    let path = directory.to_str().context("a path that is no text")?;
    let recorder = Launch::new(&[path, "--flows", "-o", "json"]).verb("record").start(scene.node.space())?;
    send(&scene)?;
    let run = recorder.stop()?;
    run.expect_code(0)?;
    let live = without_ids(run.events()?);
    let output = play(&directory, &["-o", "json"])?;
    ensure!(output.status.success(), "{}", stderr(&output));
    ensure!(without_ids(parse(&output)?) == live, "what is played back is not what was seen");
    if let Some(outcome) = not_possible(&run)? {
        return Ok(outcome);
    }
    let last = play(&directory, &["--type", "policy-verdict", "--last", "1", "--utc"])?;
    ensure!(stdout(&last).lines().count() == 1, "{}", stdout(&last));
    ensure!(stdout(&last).contains(" policy-verdict:none INGRESS DENIED "), "{}", stdout(&last));
    let traces = parse(&play(&directory, &["-t", "trace", "-o", "jsonpb"])?)?;
    ensure!(traces.len() == of_kind(&live, TRACE).len(), "{} traces", traces.len());
    Ok(Outcome::Passed)
}

fn without_messages_it_says_so_and_shows_drops() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let tracer = start(&scene, &["--tap", "note"])?;
    send(&scene)?;
    let run = tracer.stop()?;
    run.expect_code(0)?;
    let said = |line: &&str| line.starts_with("note: no message tap: ");
    ensure!(run.stderr.lines().filter(said).count() == 1, "{}", run.stderr);
    let denied = "default/server:9090 (ID:23456) Policy denied DROPPED (TCP Flags: SYN)";
    ensure!(run.stdout.lines().any(|line| line.ends_with(denied)), "{}", run.stdout);
    let row = "  trace and verdict messages: sent 0, traces 0, verdicts 0, shown 0, ";
    ensure!(run.stderr.contains(row), "the row is there also when nothing came: {}", run.stderr);
    Ok(Outcome::Passed)
}

/// `drops` has the programs send nothing else.
fn drops_know_nothing_of_them() -> Result<Outcome> {
    let scene = Scene::new(Node::builder().trace_all(true))?;
    let tracer = scene.start(&["-o", "json"])?;
    send(&scene)?;
    let run = tracer.stop()?;
    run.expect_code(0)?;
    let events = run.events()?;
    ensure!(events.iter().all(|event| matches!(kind(event), 0 | DROP)), "{events:?}");
    let summary = run.summary()?;
    ensure!(summary.0.get("notices").is_none(), "{}", summary.0);
    if let Some(tap) = summary.tap("message") {
        let number = |counter: &str| tap[counter].as_str().and_then(|text| text.parse::<u64>().ok());
        ensure!(number("foreign") >= Some(8), "{tap}");
    }
    Ok(Outcome::Passed)
}
