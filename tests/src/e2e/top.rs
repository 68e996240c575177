//! `tracer top`: its counts against what was sent, and its screen as somebody before a terminal sees it.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::maps::tracer;
use super::support::{Launch, Scene, Tracer, wait_until};
use super::terminal::Terminal;
use crate::node::Node;
use crate::runner::Outcome;

crate::tests![
    batch_counts_what_was_sent: 60,
    batch_ends_after_so_many_reports: 60,
    the_screen_shows_drops_and_gives_the_terminal_back: 90,
    a_signal_gives_the_terminal_back_too: 60,
    without_a_terminal_it_names_the_batch,
];

fn number(value: &Value) -> Result<u64> {
    value.as_str().and_then(|text| text.parse().ok()).with_context(|| format!("no count: {value}"))
}

/// Sums of a grouping's counts over all reports, by the values of some members.
fn sums(reports: &[Value], grouping: &str, members: &[&str]) -> Result<BTreeMap<Vec<String>, u64>> {
    let mut sums = BTreeMap::new();
    for report in reports {
        let rows = report["top"]["groups"][grouping]["rows"].as_array().context("no rows")?;
        for row in rows {
            let key = members.iter().map(|name| row[name].as_str().unwrap_or("?").to_owned()).collect();
            *sums.entry(key).or_default() += number(&row["count"])?;
        }
    }
    Ok(sums)
}

fn batch_counts_what_was_sent() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let arguments = ["--batch", "-o", "json", "--interval", "500ms", "--to-ip", "10.244.1.20"];
    let tracer = Launch::new(&arguments).verb("top").start(scene.node.space())?;
    for (case, rounds) in [("denied-udp", 7), ("denied-tcp", 5)] {
        let sent = scene.send_case(case, rounds)?;
        ensure!(sent[0].packets == rounds, "sent {:?}, not {rounds}", sent[0]);
    }
    thread::sleep(Duration::from_millis(1200));
    let run = tracer.stop()?;
    run.expect_code(0)?;
    let reports = run.events()?;
    ensure!(reports.len() >= 3, "{} reports", reports.len());
    let key = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
    let reasons = sums(&reports, "reason", &["reason"])?;
    ensure!(reasons == BTreeMap::from([(key(&["Policy denied"]), 12)]), "{reasons:?}");
    let pairs = sums(&reports, "identity", &["source_identity", "destination_identity"])?;
    ensure!(pairs == BTreeMap::from([(key(&["12345", "23456"]), 12)]), "{pairs:?}");
    let pods = sums(&reports, "pod", &["source_pod", "destination_pod", "destination_port", "protocol"])?;
    let pod = |port, protocol| key(&["default/client", "default/server", port, protocol]);
    let expected = BTreeMap::from([(pod("53", "UDP"), 7), (pod("9090", "TCP"), 5)]);
    ensure!(pods == expected, "{pods:?}");
    let last = &reports.last().context("no report")?["top"];
    ensure!(last["final"] == true && number(&last["drops"]["total"])? == 12, "{last}");
    ensure!(reports.iter().filter(|report| report["top"]["final"] == true).count() == 1, "one is the last");
    ensure!(number(&last["groups"]["reason"]["rows"][0]["total"])? == 12, "{last}");
    // The pretend node's connection tracking, as `ct count` has it.
    let ct = last["maps"].as_array().context("no maps")?;
    ensure!(ct.iter().any(|map| map["map"] == "cilium_ct4_global"), "{last}");
    ensure!(last["summary"]["events"]["shown"] == "12" && last["summary"]["taps"].is_array(), "{last}");
    Ok(Outcome::Passed)
}

fn batch_ends_after_so_many_reports() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let arguments = ["--batch", "-c", "2", "--interval", "1s"];
    let tracer = Launch::new(&arguments).verb("top").start(scene.node.space())?;
    scene.send_case("denied-udp", 4)?;
    let run = tracer.wait()?;
    run.expect_code(0)?;
    let blocks: Vec<&str> = run.stdout.split("\n\n").filter(|block| !block.trim().is_empty()).collect();
    ensure!(blocks.len() == 2, "{} blocks in\n{}", blocks.len(), run.stdout);
    for wanted in ["REASON\n", "Policy denied\n", "default/client > default/server 53/UDP\n", "tap free ("] {
        ensure!(blocks[1].contains(wanted), "no `{wanted}` in\n{}", blocks[1]);
    }
    Ok(Outcome::Passed)
}

/// `top` on a terminal of its own.
fn on_terminal(scene: &Scene, terminal: &Terminal) -> Result<Tracer> {
    Launch::new(&[]).verb("top").stdin(terminal.stdio()?).stdout(terminal.stdio()?).start(scene.node.space())
}

fn see(terminal: &Terminal, wanted: &str) -> Result<()> {
    let seen = wait_until(wanted, Duration::from_secs(15), || Ok(terminal.screen().text().contains(wanted)));
    seen.with_context(|| format!("the screen:\n{}", terminal.screen().text()))
}

fn expect_restored(terminal: &Terminal) -> Result<()> {
    let restored = || {
        let screen = terminal.screen();
        Ok(!screen.is_alternate && !screen.is_cursor_hidden && terminal.is_cooked()?)
    };
    wait_until("the terminal is as it was", Duration::from_secs(5), restored)
}

fn the_screen_shows_drops_and_gives_the_terminal_back() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let mut terminal = Terminal::new(80, 24)?;
    ensure!(terminal.is_cooked()?, "a terminal is cooked to begin with");
    let tracer = on_terminal(&scene, &terminal)?;
    see(&terminal, "tracer top")?;
    ensure!(terminal.screen().is_alternate && terminal.screen().is_cursor_hidden, "not on the second screen");
    ensure!(!terminal.is_cooked()?, "keys would be shown");
    scene.send_case("denied-udp", 6)?;
    terminal.press("/policy denied\r")?;
    see(&terminal, "filter: policy denied")?;
    let row = |text: &str| {
        text.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            line.trim_end().ends_with("Policy denied") && words.get(2) == Some(&"6")
        })
    };
    wait_until("six drops in a row of their own", Duration::from_secs(15), || {
        Ok(row(&terminal.screen().text()))
    })
    .with_context(|| terminal.screen().text())?;
    see(&terminal, "ct4_global ")?;
    terminal.press("\r")?;
    see(&terminal, "why: ingress of default/server")?;
    see(&terminal, "POLICY_DENIED: ")?;
    terminal.press("\x1b[6~")?;
    see(&terminal, "POLICY_DENIED · 133")?;
    terminal.press("q6")?;
    see(&terminal, "ring full cilium")?;
    terminal.press("q")?;
    let run = tracer.wait()?;
    run.expect_code(0)?;
    expect_restored(&terminal)?;
    ensure!(run.stderr.contains("summary of "), "no summary: {}", run.stderr);
    Ok(Outcome::Passed)
}

fn a_signal_gives_the_terminal_back_too() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    for signal in [Signal::TERM, Signal::INT] {
        let terminal = Terminal::new(160, 50)?;
        let mut tracer = on_terminal(&scene, &terminal)?;
        see(&terminal, "taps, losses (6)")?;
        tracer.signal(signal)?;
        tracer.wait()?.expect_code(0)?;
        expect_restored(&terminal)?;
    }
    Ok(Outcome::Passed)
}

fn without_a_terminal_it_names_the_batch() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let output = tracer(scene.node.space(), "top")?;
    let stderr = super::maps::stderr(&output);
    ensure!(output.status.code() == Some(2) && output.stdout.is_empty(), "{output:?}");
    ensure!(stderr.lines().count() == 1 && stderr.contains("--batch"), "{stderr}");
    Ok(Outcome::Passed)
}
