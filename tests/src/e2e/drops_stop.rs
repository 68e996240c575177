//! What ends the stream, and how: signals, a number of events, a time, a command, a reader that goes away.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::support::{Launch, Scene, patience};
use crate::node::Node;
use crate::runner::Outcome;

crate::tests![signals_count_time_and_command_end_it_well: 120, a_closed_pipe_ends_it_quietly: 60];

fn signals_count_time_and_command_end_it_well() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    for signal in [Signal::INT, Signal::TERM] {
        let mut tracer = scene.start(&["-o", "json"])?;
        scene.send_case("denied-udp", 2)?;
        tracer.signal(signal)?;
        let run = tracer.wait()?;
        run.expect_code(0)?;
        ensure!(run.events()?.len() == 2, "{signal:?}: {}", run.stdout);
        run.summary()?.expect_complete(2)?;
    }

    let tracer = scene.start(&["-o", "json", "--count", "3"])?;
    scene.send_case("denied-udp", 5)?;
    let run = tracer.wait()?;
    run.expect_code(0)?;
    ensure!(run.events()?.len() == 3, "--count 3: {}", run.stdout);

    let start = Instant::now();
    let run = scene.start(&["--duration", "1s"])?.wait()?;
    run.expect_code(0)?;
    ensure!(start.elapsed() >= Duration::from_secs(1), "--duration 1s took {:?}", start.elapsed());
    ensure!(run.stderr.contains("summary of 1."), "--duration 1s: {}", run.stderr);

    let run = scene.start(&["-o", "json", "--", "sh", "-c", "echo words of the command"])?.wait()?;
    run.expect_code(0)?;
    ensure!(run.stderr.contains("words of the command"), "the command's output is lost: {}", run.stderr);
    ensure!(run.stdout.is_empty(), "the command's output among the events: {}", run.stdout);
    Ok(Outcome::Passed)
}

fn a_closed_pipe_ends_it_quietly() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let mut tracer = Launch::new(&["-o", "json"]).stdout(Stdio::piped()).start(scene.node.space())?;
    let mut pipe = BufReader::new(tracer.take_stdout()?);
    scene.send_case("denied-udp", 1)?;
    let start = Instant::now();
    let mut line = String::new();
    pipe.read_line(&mut line)?;
    ensure!(line.contains("POLICY_DENIED"), "first line: {line}");
    ensure!(start.elapsed() < Duration::from_secs(1) * patience(), "an event waits in a buffer");
    drop(pipe);
    scene.send_case("denied-udp", 2)?;
    let run = tracer.wait()?;
    run.expect_code(0)?;
    let loud = ["error", "warn", "broken pipe", "panicked"];
    let is_loud = |line: &str| loud.iter().any(|word| line.trim_start().starts_with(word));
    ensure!(!run.stderr.to_lowercase().lines().any(is_loud), "not quiet: {}", run.stderr);
    Ok(Outcome::Passed)
}
