//! `--write`: packet files as tshark and capinfos read them, against the events of the same run.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::maps::{stderr, stdout};
use super::support::{Launch, Scene, Scratch};
use crate::node::Node;
use crate::node::traffic::Plan;
use crate::programs;
use crate::runner::Outcome;

crate::tests![tshark_shows_every_drop_with_its_comment: 120, stdout_is_a_packet_file_too: 120];

fn has_tshark() -> bool {
    let is_there =
        |name: &str| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
    is_there("tshark") && is_there("capinfos")
}

/// One line a frame, its fields separated by tabs.
fn frames(file: &Path, fields: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-T", "fields"]);
    let output = command.args(fields.iter().flat_map(|field| ["-e", field])).output().context("tshark")?;
    let told = stderr(&output);
    ensure!(output.status.success() && !told.contains("cut short"), "tshark: {told}");
    let line = |line: &str| line.split('\t').map(str::to_owned).collect();
    Ok(stdout(&output).lines().map(line).collect())
}

fn tshark_shows_every_drop_with_its_comment() -> Result<Outcome> {
    if !has_tshark() {
        return Ok(Outcome::NotPossible("tshark and capinfos are needed".to_owned()));
    }
    let scene = Scene::new(Node::builder())?;
    let scratch = Scratch::new()?;
    let file = scratch.path("drops.pcapng");
    let path = file.to_str().context("a path that is no text")?;
    let (run, _) = scene.trace(&["-o", "json", "--write", path], 1)?;
    run.expect_code(0)?;
    let events = run.events()?;
    let fields = [
        "frame.time_epoch",
        "frame.len",
        "frame.interface_name",
        "frame.comment",
        "ip.src",
        "ip.dst",
        "udp.dstport",
    ];
    let frames = frames(&file, &fields)?;
    ensure!(frames.len() == events.len() && frames.len() > 15, "{} of {}", frames.len(), events.len());
    for (event, frame) in events.iter().zip(&frames) {
        check(event, frame).with_context(|| format!("{frame:?} {event}"))?;
    }
    let info = Command::new("capinfos").arg(&file).output()?;
    let text = stdout(&info);
    ensure!(info.status.success(), "{}", stderr(&info));
    for expected in ["pcapng", "nanoseconds (9)", "Capture application: tracer", "Name = lxcc11e27a1b2c3"] {
        ensure!(text.contains(expected), "no `{expected}` in {text}");
    }
    Ok(Outcome::Passed)
}

/// Everything in the frame against the event as it was printed.
fn check(event: &Value, frame: &[String]) -> Result<()> {
    let flow = &event["flow"];
    let [time, length, interface, comment, source, destination, port] = frame else {
        anyhow::bail!("{} fields", frame.len());
    };
    let fraction = |text: &str| -> String {
        let digits = text.split_once('.').map_or("", |(_, digits)| digits);
        format!("{:0<9}", digits.trim_end_matches('Z'))
    };
    assert_eq!(fraction(time), fraction(flow["time"].as_str().context("no time")?));
    ensure!(length.parse::<u32>()? > 0);
    let name = flow["interface"]["name"].as_str().unwrap_or("unknown");
    ensure!(interface == name, "{interface}, not {name}");
    if let Some(code) = flow["drop_reason"].as_u64() {
        ensure!(comment.contains(&format!("({code})")), "{comment}");
    }
    for (end, address) in [("source", source), ("destination", destination)] {
        if let Some(pod) = flow[end]["pod_name"].as_str() {
            ensure!(comment.contains(pod), "{comment}");
        }
        if let Some(identity) = flow[end]["identity"].as_u64().filter(|identity| *identity > 255) {
            ensure!(comment.contains(&format!("(ID:{identity})")), "{comment}");
        }
        if !address.is_empty() && flow["IP"]["ipVersion"] == "IPv4" {
            assert_eq!(flow["IP"][end], **address);
        }
    }
    if let (Some(expected), false) = (flow["l4"]["UDP"]["destination_port"].as_u64(), port.is_empty()) {
        assert_eq!(port.parse::<u64>()?, expected);
    }
    Ok(())
}

fn stdout_is_a_packet_file_too() -> Result<Outcome> {
    if !has_tshark() {
        return Ok(Outcome::NotPossible("tshark and capinfos are needed".to_owned()));
    }
    let scene = Scene::new(Node::builder())?;
    let scratch = Scratch::new()?;
    let (piped, recording) = (scratch.path("piped.pcapng"), scratch.path("recording"));
    let recorder =
        Launch::new(&[recording.to_str().context("no text")?]).verb("record").start(scene.node.space())?;
    let tracer = Launch::new(&["--write", "-"])
        .stdout(Stdio::from(File::create(&piped)?))
        .start(scene.node.space())?;
    scene.send(Plan::Default, 1)?;
    // The file can be read while it is being written.
    let early = frames(&piped, &["ip.src", "ip.dst", "frame.protocols"])?;
    tracer.stop()?.expect_code(0)?;
    recorder.stop()?.expect_code(0)?;
    let all = frames(&piped, &["ip.src", "ip.dst", "frame.protocols"])?;
    ensure!(!early.is_empty() && all.starts_with(&early), "{} of {}", early.len(), all.len());
    let played = scratch.path("played.pcapng");
    let mut replay = Command::new(programs::path("tracer")?);
    let output = replay.arg("replay").arg(&recording).args(["-q", "--write", "-"]).output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    fs::write(&played, &output.stdout)?;
    assert_eq!(frames(&played, &["ip.src", "ip.dst", "frame.protocols"])?, all);
    Ok(Outcome::Passed)
}
