//! Every packet of a flood is shown, filtered, or counted as lost, also when tracer is made too slow on purpose.
//! What was really dropped comes from the sender and from the datapath's own counters.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Signal;

use super::support::{Launch, Run, Scene, patience};
use crate::node::Node;
use crate::node::traffic::Plan;
use crate::runner::Outcome;

crate::tests![
    a_flood_is_accounted_for_to_the_packet: 120,
    a_reader_that_stands_still_loses_and_counts: 90,
    what_the_kernel_filters_is_counted: 60,
];

/// More than the 8 MiB ring holds.
const MORE_THAN_THE_RING: u64 = 100_000;

fn flood_size() -> u64 {
    if patience() > 1 { 50_000 } else { 1_000_000 }
}

/// Floods while tracer writes events into a pipe whose lines are counted. `around` is called before the flood and
/// after it.
fn flood(
    packets: u64,
    arguments: &[&str],
    before: impl FnOnce(&mut super::support::Tracer) -> Result<()>,
    after: impl FnOnce(&mut super::support::Tracer) -> Result<()>,
) -> Result<(Run, u64)> {
    let scene = Scene::new(Node::builder())?;
    let mut tracer = Launch::new(arguments).stdout(Stdio::piped()).start(scene.node.space())?;
    let mut pipe = BufReader::with_capacity(1 << 20, tracer.take_stdout()?);
    let counter = thread::spawn(move || -> std::io::Result<u64> {
        let (mut lines, mut line) = (0, Vec::new());
        while pipe.read_until(b'\n', &mut line)? > 0 {
            // Lines about lost events are no events.
            lines += u64::from(line.starts_with(b"{\"flow\":"));
            line.clear();
        }
        Ok(lines)
    });
    before(&mut tracer)?;
    let sent = scene.send(Plan::flood(packets), 1)?;
    after(&mut tracer)?;
    ensure!(sent[0].packets == packets, "sent {:?}, not {packets}", sent[0]);
    let dropped: u64 = scene.dropped()?.values().sum();
    ensure!(dropped == packets, "the datapath dropped {dropped} of {packets}");
    let run = tracer.stop()?;
    let lines = counter.join().map_err(|_| anyhow!("the counting thread panicked"))?;
    Ok((run, lines.context("cannot read events")?))
}

/// sent = shown + filtered + folded + lost; how many were lost.
fn check(run: &Run, packets: u64, lines: u64) -> Result<u64> {
    let summary = run.summary()?;
    let count = |name: &str| summary.number(&format!("/cilium_metrics/{name}"));
    ensure!(count("counted")? == packets as i64, "not all counted: {}", summary.0);
    let fates = ["shown", "filtered", "folded", "after_end", "filtered_in_kernel", "suppressed", "lost"];
    let fates: Vec<i64> = fates.into_iter().map(count).collect::<Result<_>>()?;
    ensure!(fates.iter().sum::<i64>() == packets as i64, "{packets} sent: {}", summary.0);
    ensure!(count("unaccounted")? == 0, "unaccounted: {}", summary.0);
    // Whatever else the kernel drops meanwhile is shown too, and is not Cilium's.
    let shown = summary.number("/events/shown")?;
    ensure!(shown == lines as i64, "{lines} lines, {shown} said to be shown");
    let received = summary.number("/events/received")?;
    ensure!(received == summary.of_taps("emitted")?, "emitted and received differ: {}", summary.0);
    let lost = count("lost")?;
    let code = if summary.number("/lost")? > 0 { 6 } else { 0 };
    ensure!((code == 6) == (summary.0["incomplete"] == true), "incomplete or not: {}", summary.0);
    ensure!(lost == 0 || code == 6, "{lost} drops lost in silence: {}", summary.0);
    run.expect_code(code)?;
    Ok(lost as u64)
}

fn a_flood_is_accounted_for_to_the_packet() -> Result<Outcome> {
    let packets = flood_size();
    let (run, lines) = flood(packets, &["-o", "json"], |_| Ok(()), |_| Ok(()))?;
    let lost = check(&run, packets, lines)?;
    println!("{packets} sent, {lines} shown, {lost} lost");
    Ok(Outcome::Passed)
}

fn a_reader_that_stands_still_loses_and_counts() -> Result<Outcome> {
    let packets = MORE_THAN_THE_RING;
    let (run, lines) = flood(
        packets,
        &["-o", "json"],
        |tracer| tracer.signal(Signal::STOP),
        |tracer| tracer.signal(Signal::CONT),
    )?;
    let lost = check(&run, packets, lines)?;
    ensure!(lost > 0, "nothing was lost: the ring is larger than this test thinks");
    ensure!(lines + lost >= packets, "{lines} shown and {lost} lost of {packets}");
    Ok(Outcome::Passed)
}

fn what_the_kernel_filters_is_counted() -> Result<Outcome> {
    let packets = 20_000;
    let (run, lines) = flood(packets, &["--to-port", "1", "-o", "json"], |_| Ok(()), |_| Ok(()))?;
    ensure!(lines == 0, "{lines} events passed a filter that none fits");
    ensure!(check(&run, packets, lines)? == 0, "lost what no ring was needed for: {}", run.stderr);
    let in_kernel = run.summary()?.number("/cilium_metrics/filtered_in_kernel")?;
    ensure!(in_kernel == packets as i64, "{in_kernel} of {packets} filtered in the kernel");
    Ok(Outcome::Passed)
}
