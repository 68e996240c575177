//! `tracer record` and `tracer replay`: what is played back is what was seen, also after kill -9, also what was
//! lost; and nothing else is.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::maps::{parse, stderr, stdout};
use super::support::{Launch, Run, Scene, Scratch, Tracer};
use crate::node::Node;
use crate::node::traffic::Plan;
use crate::programs;
use crate::runner::Outcome;

crate::tests![
    replay_equals_the_live_stream: 240,
    losses_are_played_back: 300,
    a_killed_recorder_loses_at_most_the_last_second: 120,
    times_and_numbers_select: 120,
    a_recording_keeps_to_its_size: 120,
    what_is_no_recording_is_one_clear_line: 60,
];

fn text_of(path: &Path) -> Result<String> {
    Ok(path.to_str().context("a path that is no text")?.to_owned())
}

/// Starts `record` and waits until it has attached.
fn record(scene: &Scene, directory: &Path, options: &[&str]) -> Result<Tracer> {
    let directory = text_of(directory)?;
    let arguments = [&[directory.as_str()], options].concat();
    Launch::new(&arguments).verb("record").start(scene.node.space())
}

/// Plays back where there is no node.
fn replay(directory: &Path, options: &[&str]) -> Result<Output> {
    let mut command = Command::new(programs::path("tracer")?);
    command.arg("replay").arg(directory).args(options).output().context("cannot run tracer")
}

fn replayed(directory: &Path, options: &[&str]) -> Result<Vec<Value>> {
    let output = replay(directory, &[options, &["-o", "json"]].concat())?;
    ensure!(output.status.success(), "replay: {}: {}", output.status, stderr(&output));
    Ok(comparable(parse(&output)?))
}

/// Flow ids are made up while printing.
fn comparable(mut events: Vec<Value>) -> Vec<Value> {
    for event in &mut events {
        if let Some(flow) = event["flow"].as_object_mut() {
            flow.remove("uuid");
        }
    }
    events
}

fn live(run: &Run) -> Result<Vec<Value>> {
    Ok(comparable(run.events()?))
}

/// Two tracers that see the same drops, one of them recording, and a third one with filters.
fn replay_equals_the_live_stream() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let scratch = Scratch::new()?;
    let directory = scratch.path("recording");
    let filters: &[&str] = &["--to-pod", "default/server", "--not", "--protocol", "icmp", "--utc"];
    let beside = scene.start(&["-o", "json"])?;
    let filtered = scene.start(&[filters, &["-o", "compact"]].concat())?;
    let recorder = record(&scene, &directory, &["-o", "json"])?;
    scene.send(Plan::Default, 2)?;
    let (recorder, beside, filtered) = (recorder.stop()?, beside.stop()?, filtered.stop()?);
    for run in [&recorder, &beside, &filtered] {
        run.expect_code(0)?;
    }
    let played = replayed(&directory, &[])?;
    ensure!(played.len() > 30, "only {} events", played.len());
    assert_eq!(played, live(&recorder)?);
    // Each tracer turns boot time into wall time by its own measurement; everything else is the same.
    let packets = |events: &[Value]| -> Vec<String> {
        let fields = ["IP", "l4", "source", "destination", "drop_reason_desc", "Summary"];
        let one = |event: &Value| fields.map(|field| event["flow"][field].to_string()).join(" ");
        let mut packets: Vec<String> = events.iter().map(one).collect();
        packets.sort();
        packets
    };
    assert_eq!(packets(&played), packets(&live(&beside)?));
    let lines = |text: &str| text.lines().count();
    let same_filters = stdout(&replay(&directory, &[filters, &["-o", "compact"]].concat())?);
    ensure!(lines(&same_filters) > 0 && lines(&same_filters) == lines(&filtered.stdout), "{same_filters}");
    let counted = replay(&directory, &["--aggregate-by", "reason", "-o", "json"])?;
    let groups = parse(&counted)?;
    ensure!(counted.status.success() && !groups.is_empty() && groups.len() < played.len(), "{groups:?}");
    for format in ["jsonpb", "dict", "table"] {
        let output = replay(&directory, &["-o", format])?;
        ensure!(output.status.success() && lines(&stdout(&output)) >= played.len(), "{format}");
    }
    Ok(Outcome::Passed)
}

fn losses_are_played_back() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let scratch = Scratch::new()?;
    let directory = scratch.path("recording");
    let mut recorder = record(&scene, &directory, &["-o", "json"])?;
    recorder.signal(Signal::STOP)?;
    scene.send(Plan::flood(60_000), 1)?;
    recorder.signal(Signal::CONT)?;
    let recorder = recorder.stop()?;
    recorder.expect_code(6)?;
    let seen = live(&recorder)?;
    let lost = |events: &[Value]| events.iter().filter(|event| !event["lost_events"].is_null()).count();
    ensure!(lost(&seen) > 0, "nothing was lost");
    let output = replay(&directory, &["-o", "json"])?;
    ensure!(output.status.code() == Some(6), "{}: {}", output.status, stderr(&output));
    ensure!(stderr(&output).contains("were lost before they could be recorded"), "{}", stderr(&output));
    assert_eq!(comparable(parse(&output)?), seen);
    Ok(Outcome::Passed)
}

fn a_killed_recorder_loses_at_most_the_last_second() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let scratch = Scratch::new()?;
    let directory = scratch.path("recording");
    let mut recorder = record(&scene, &directory, &[])?;
    let mut sent = Vec::new();
    for _ in 0..8 {
        scene.send_case("denied-udp", 5)?;
        sent.push(Instant::now());
    }
    let killed = Instant::now();
    recorder.signal(Signal::KILL)?;
    drop(recorder);
    let output = replay(&directory, &["-o", "json"])?;
    ensure!(matches!(output.status.code(), Some(0 | 6)), "{}: {}", output.status, stderr(&output));
    let found = parse(&output)?.len();
    let rounds = sent.iter().filter(|at| killed.duration_since(**at) >= Duration::from_secs(1)).count();
    ensure!(rounds >= 2 && found >= rounds * 5 && found <= 40, "{found} events of {rounds} rounds");
    // What was killed goes on in the same place.
    let recorder = record(&scene, &directory, &[])?;
    scene.send_case("denied-udp", 5)?;
    recorder.stop()?.expect_code(0)?;
    assert_eq!(parse(&replay(&directory, &["-o", "json"])?)?.len(), found + 5);
    Ok(Outcome::Passed)
}

fn times_and_numbers_select() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let scratch = Scratch::new()?;
    let directory = scratch.path("recording");
    let recorder = record(&scene, &directory, &[])?;
    scene.send_case("denied-udp", 3)?;
    std::thread::sleep(Duration::from_millis(1100));
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let date =
        Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"]).output()?;
    let border = stdout(&date).trim().to_owned();
    std::thread::sleep(Duration::from_millis(1100));
    scene.send_case("denied-tcp", 2)?;
    let run = recorder.stop()?;
    run.expect_code(0)?;
    ensure!(run.stdout.is_empty(), "record prints what nobody asked for: {}", run.stdout);
    let all = replayed(&directory, &[])?;
    assert_eq!(all.len(), 5);
    for (options, expected) in [
        (&["--since", &border][..], &all[3..]),
        (&["--until", &border], &all[..3]),
        (&["--since", "1h"], &all[..]),
        (&["--until", "1h"], &all[..0]),
        (&["--first", "2"], &all[..2]),
        (&["--last", "2"], &all[3..]),
        (&["--last", "1", "--until", &border], &all[2..3]),
        (&["--first", "1", "--protocol", "tcp"], &all[3..4]),
        (&["--last", "99"], &all[..]),
    ] {
        assert_eq!(replayed(&directory, options)?, expected, "{options:?}");
    }
    Ok(Outcome::Passed)
}

fn a_recording_keeps_to_its_size() -> Result<Outcome> {
    const LIMIT: u64 = 1 << 20;
    let scene = Scene::new(Node::builder())?;
    let scratch = Scratch::new()?;
    let directory = scratch.path("recording");
    let recorder = record(&scene, &directory, &["--max-size", "1MiB"])?;
    let mut largest = 0;
    for _ in 0..4 {
        scene.send(Plan::flood(15_000), 1)?;
        largest = largest.max(size(&directory)?);
    }
    scene.send_case("denied-tcp", 1)?;
    let run = recorder.stop()?;
    ensure!(matches!(run.status.code(), Some(0 | 6)), "{}", run.stderr);
    ensure!(largest.max(size(&directory)?) <= LIMIT, "{largest} bytes");
    let newest = replay(&directory, &["--last", "1", "-o", "json"])?;
    assert_eq!(parse(&newest)?[0]["flow"]["l4"]["TCP"]["destination_port"], 9090);
    Ok(Outcome::Passed)
}

fn size(directory: &Path) -> Result<u64> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

fn what_is_no_recording_is_one_clear_line() -> Result<Outcome> {
    let scratch = Scratch::new()?;
    let empty = scratch.path("empty");
    fs::create_dir(&empty)?;
    let foreign = scratch.path("events-1.trec");
    fs::write(&foreign, "something else entirely")?;
    for path in [&empty, &foreign, &scratch.path("absent")] {
        let output = replay(path, &[])?;
        let text = stderr(&output);
        let is_one_line = text.lines().count() == 1 && text.starts_with("error: ");
        ensure!(output.status.code() == Some(1) && is_one_line && output.stdout.is_empty(), "{text}");
    }
    Ok(Outcome::Passed)
}
