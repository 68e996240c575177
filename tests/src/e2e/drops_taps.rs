//! The same drops come out whatever way they are seen: message by fentry or kprobe, the note alone; programs
//! attached either way; every generation of Cilium.

use anyhow::{Context, Result, ensure};

use super::drops_expected::{check_sent, compare, counts, expected, is_ciliums, places};
use super::support::{Run, Scene, Summary, growth, is_debian_cloud_kernel, kernel_version, patience};
use crate::node::{Attach, Builder, Generation, Node};
use crate::runner::Outcome;

crate::tests![
    the_best_tap_and_the_note_alone_agree: 90,
    messages_by_fentry_and_by_kprobe: 120,
    every_generation_and_attachment: 240,
    xdp_drops_are_shown_or_known_to_be_missing: 90,
];

const ROUNDS: u64 = 2;
/// Of the 40 messages or so of a run, where the kernel does not count skipped kprobes.
const UNCOUNTED_SKIPS: u64 = 3;

/// One run with that tap, compared with the table, the sender and the datapath's counters.
fn check(scene: &Scene, tap: &str) -> Result<Run> {
    let before = scene.dropped()?;
    let (run, sent) = scene.trace(&["--tap", tap, "-o", "json"], ROUNDS)?;
    run.expect_code(0)?;
    check_sent(&sent)?;
    let events = run.events()?;
    compare(&format!("tap {tap}"), &counts(&events)?, &expected(ROUNDS, |_| true))?;
    let dropped = growth(&before, &scene.dropped()?);
    if scene.node.facts().metrics_place {
        let found = places(&events)?;
        ensure!(found == dropped, "places: {found:?}, the datapath: {dropped:?}");
    }
    let summary = run.summary()?;
    summary.expect_complete(dropped.values().sum())?;
    let source = if summary.hook("message").is_some() { "message" } else { "note" };
    let others = || events.iter().filter(|event| is_ciliums(event) && event["tracer"]["source"] != source);
    let skipped = skipped_messages(&summary)?;
    ensure!(
        others().count() as u64 <= skipped,
        "not from the {source}, {skipped} skipped: {}",
        others().next().context("none")?
    );
    Ok(run)
}

/// Messages that the kernel may have kept from the tap. It skips a kprobe's program while bpf(2) changes a map on
/// that CPU, which a pretend node does all the time; kernels before 6.7 do not count that.
fn skipped_messages(summary: &Summary) -> Result<u64> {
    if !summary.hook("message").is_some_and(|hook| hook.contains("kprobe")) {
        return Ok(0);
    }
    match summary.tap("message").and_then(|tap| tap["missed"].as_str()) {
        Some(missed) => missed.parse().context("`missed` is no number"),
        None => {
            ensure!(kernel_version()? < (6, 7), "this kernel counts skipped kprobes: {}", summary.0);
            Ok(UNCOUNTED_SKIPS)
        }
    }
}

/// The message tap's hook; a kernel that must have it is not let off.
fn must_have_message(run: &Run, word: &str) -> Result<Option<Outcome>> {
    let summary = run.summary()?;
    match summary.hook("message") {
        Some(hook) => {
            ensure!(hook.contains(word), "tap message by `{hook}`, not by {word}");
            Ok(None)
        }
        None => {
            let line = run.stderr.lines().find(|line| line.starts_with("tap message: off"));
            let line = line.context("the banner does not say why tap message is off")?;
            ensure!(!is_debian_cloud_kernel(), "this kernel has {word}: {line}");
            Ok(Some(Outcome::NotPossible(line.to_owned())))
        }
    }
}

fn the_best_tap_and_the_note_alone_agree() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let best = check(&scene, "auto")?;
    let note = check(&scene, "note")?;
    ensure!(note.summary()?.hook("message").is_none(), "`--tap note` listens to messages");
    if is_debian_cloud_kernel() {
        must_have_message(&best, "fentry")?;
    }
    Ok(Outcome::Passed)
}

fn messages_by_fentry_and_by_kprobe() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let mut missing = Vec::new();
    for tap in ["fentry", "kprobe"] {
        let run = check(&scene, tap)?;
        if let Some(Outcome::NotPossible(why)) = must_have_message(&run, tap)? {
            missing.push(why);
        }
    }
    Ok(if missing.is_empty() { Outcome::Passed } else { Outcome::NotPossible(missing.join("; ")) })
}

fn every_generation_and_attachment() -> Result<Outcome> {
    for (generation, attach) in kinds_of_node()? {
        let scene = Scene::new(Node::builder().generation(generation).attach(attach))?;
        check(&scene, "auto").with_context(|| format!("generation {generation}, {attach:?}"))?;
    }
    Ok(Outcome::Passed)
}

/// An emulated machine has no time for all; 1.17 is what the other tests run on.
fn kinds_of_node() -> Result<Vec<(Generation, Attach)>> {
    use Attach::{Auto, Clsact, Tcx};
    let mut kinds = vec![(Generation::V1_16, Clsact), (Generation::V1_18, Auto), (Generation::V1_19, Auto)];
    if patience() == 1 {
        kinds.extend([(Generation::V1_14, Auto), (Generation::V1_15, Auto), (Generation::V1_16, Auto)]);
        kinds.push((Generation::V1_17, Clsact));
        if kernel_version()? >= (6, 6) {
            kinds.push((Generation::V1_17, Tcx));
        }
    }
    Ok(kinds)
}

/// They leave no note: without the message tap they are missing, and the summary says so.
fn xdp_drops_are_shown_or_known_to_be_missing() -> Result<Outcome> {
    let builder: Builder = Node::builder().xdp(true);
    let scene = Scene::new(builder)?;
    let tracer = scene.start(&["-o", "json"])?;
    let sent = scene.send_case("xdp", 3)?;
    ensure!(sent[0].packets == 3, "sent: {sent:?}");
    let dropped: u64 = scene.dropped()?.values().sum();
    ensure!(dropped == 3, "the datapath dropped {dropped}");
    let run = tracer.stop()?;
    let summary = run.summary()?;
    if summary.hook("xdp_message").is_none() {
        ensure!(!is_debian_cloud_kernel(), "this kernel has fentry: {}", run.stderr);
        ensure!(summary.number("/cilium_metrics/unaccounted")? == 3, "unaccounted: {}", summary.0);
        run.expect_code(6)?;
        return Ok(Outcome::Passed);
    }
    run.expect_code(0)?;
    summary.expect_complete(3)?;
    let events: Vec<_> = run.events()?.into_iter().filter(is_ciliums).collect();
    ensure!(events.len() == 3, "{} shown of 3", events.len());
    for event in &events {
        let flow = &event["flow"];
        // Number and name of cilium-abi 5.1: no backend for the service.
        ensure!(
            flow["drop_reason"] == 158 && flow["drop_reason_desc"] == "SERVICE_BACKEND_NOT_FOUND",
            "{event}"
        );
        ensure!(flow["file"]["name"] == "bpf_xdp.c", "file: {event}");
        ensure!(flow["l4"]["TCP"]["destination_port"] == 30090, "port: {event}");
    }
    Ok(Outcome::Passed)
}
