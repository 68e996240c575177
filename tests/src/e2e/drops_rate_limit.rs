//! `drops --rate-limit`: a flood of one flow becomes a few lines, and every packet of it is in the accounts.

use anyhow::{Context, Result, ensure};

use super::support::{Scene, patience};
use crate::node::Node;
use crate::node::traffic::Plan;
use crate::runner::Outcome;

crate::tests![
    a_flood_becomes_a_few_lines_and_adds_up: 120,
    different_flows_do_not_limit_each_other: 60,
];

const PACKETS: u64 = 100_000;

/// Seconds that a flood of [`PACKETS`] takes at the very most.
fn most_seconds() -> u64 {
    60 * u64::from(patience())
}

fn a_flood_becomes_a_few_lines_and_adds_up() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let tracer = scene.start(&["-o", "json", "--rate-limit", "5"])?;
    let sent = scene.send(Plan::flood(PACKETS), 1)?;
    ensure!(sent[0].packets == PACKETS, "sent {:?}", sent[0]);
    let dropped: u64 = scene.dropped()?.values().sum();
    ensure!(dropped == PACKETS, "the datapath dropped {dropped} of {PACKETS}");
    let run = tracer.stop()?;
    let summary = run.summary()?;
    let of_cilium = |name: &str| summary.number(&format!("/cilium_metrics/{name}"));
    let (shown, suppressed) = (of_cilium("shown")?, of_cilium("suppressed")?);
    let mut accounted = shown + suppressed;
    for name in ["filtered", "folded", "after_end", "filtered_in_kernel", "lost"] {
        accounted += of_cilium(name)?;
    }
    ensure!(accounted == PACKETS as i64 && of_cilium("unaccounted")? == 0, "{PACKETS} sent: {}", summary.0);
    // Five a second on each processor that the sender was on.
    let processors = std::thread::available_parallelism()?.get() as u64;
    let most = 5 * (sent[0].elapsed_ns / 1_000_000_000 + 2).min(most_seconds()) * processors;
    ensure!(shown > 0 && shown <= most as i64, "{shown} shown, at most {most}: {}", summary.0);
    // What the lines tell is what was kept back before the last of them.
    let told: u64 =
        run.events()?.iter().filter_map(|event| event["tracer"]["similar_suppressed"].as_u64()).sum();
    ensure!(told <= suppressed as u64, "{told} told, {suppressed} kept back");
    let enough = sent[0].elapsed_ns > 1_500_000_000;
    ensure!(told > 0 || !enough, "no line tells of those kept back: {}", run.stdout);
    Ok(Outcome::Passed)
}

fn different_flows_do_not_limit_each_other() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let tracer = scene.start(&["-o", "json", "--rate-limit", "1000"])?;
    let mut wanted = 0;
    for case in ["denied-udp", "denied-tcp", "explicit-deny"] {
        wanted += scene.send_case(case, 5)?.iter().map(|sent| sent.packets).sum::<u64>();
    }
    let run = tracer.stop()?;
    let summary = run.summary()?;
    let shown = summary.number("/cilium_metrics/shown").context("no comparison")?;
    ensure!(shown == wanted as i64, "{wanted} sent, {shown} shown: {}", summary.0);
    ensure!(summary.number("/cilium_metrics/suppressed")? == 0, "kept back below the limit: {}", summary.0);
    run.expect_code(0)?;
    Ok(Outcome::Passed)
}
