//! `serve --record` on a disk that is full for a while: it serves on, says so once, counts what is missing in the
//! recording, and records again once it can.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::serve::{address, figures, get};
use super::support::{Launch, Scene, Scratch, wait_until};
use crate::node::Node;
use crate::programs;
use crate::runner::Outcome;

crate::tests![a_full_disk_ends_nothing: 120];

/// A small disk of its own for tracer.
const ON_SMALL_DISK: &str = "mount -t tmpfs -o size=512k none \"$0\" && exec \"$@\"";

fn a_full_disk_ends_nothing() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let scratch = Scratch::new()?;
    let (disk, socket) = (scratch.path("disk"), scratch.path("hubble.sock"));
    fs::create_dir(&disk)?;
    let path = disk.to_str().context("path")?;
    let wrapper = ["unshare", "--mount", "sh", "-c", ON_SMALL_DISK, path].map(Into::into).to_vec();
    let arguments =
        ["--socket", socket.to_str().context("path")?, "--record", path, "--metrics", "127.0.0.1:0"];
    let mut tracer = Launch::new(&arguments).verb("serve").wrapped(wrapper).start(scene.node.space())?;
    let seen_disk = tracer.proc("root")?.join(disk.strip_prefix("/")?);
    let at = address(&tracer, "metrics: http://")?;
    let missing = || {
        let text = get(&scene, at, "/metrics", "*/*")?.body;
        let family = figures(&text, "tracer_events_not_recorded_total", "none");
        family.values().next().copied().context("no such figure")
    };

    scene.send_case("denied-udp", 2)?;
    thread::sleep(Duration::from_millis(600));
    let filler = seen_disk.join("filler");
    let full = fs::write(&filler, vec![0; 1 << 20]);
    ensure!(full.is_err(), "the disk has room for everything");
    // The last page of the segment has room for some.
    let mut sent = 2;
    let mut send = |rounds: u64| {
        sent += rounds;
        scene.send_case("denied-udp", rounds)
    };
    wait_until("what is missing is counted", Duration::from_secs(40), || {
        send(20)?;
        thread::sleep(Duration::from_millis(500));
        Ok(missing()? > 0.0)
    })?;
    ensure!(get(&scene, at, "/healthz", "*/*")?.status == 200, "not healthy");
    // Again, so that there is something to be said twice.
    let before = missing()?;
    send(20)?;
    wait_until("more is counted", Duration::from_secs(20), || Ok(missing()? >= before + 20.0))?;
    fs::remove_file(&filler)?;
    send(3)?;
    thread::sleep(Duration::from_secs(2));
    let lost = missing()? as u64;

    let kept = scratch.path("kept");
    fs::create_dir(&kept)?;
    for entry in fs::read_dir(&seen_disk)? {
        let entry = entry?;
        fs::copy(entry.path(), kept.join(entry.file_name()))?;
    }
    let mut replay = Command::new(programs::path("tracer")?);
    let output = replay.arg("replay").arg(&kept).args(["-q", "-o", "jsonpb"]).output()?;
    let lines = String::from_utf8(output.stdout)?;
    let denied = lines.lines().filter(|line| line.contains("\"drop_reason\":133")).count();
    ensure!(denied as u64 + lost == sent, "{denied} recorded and {lost} missing of {sent}");
    let mut told = 0;
    for line in lines.lines().filter(|line| line.contains("lost_events")) {
        let line: Value = serde_json::from_str(line)?;
        let count = line["lost_events"]["num_events_lost"].as_str().context("no count")?;
        told += count.parse::<u64>()?;
    }
    ensure!(told == lost, "the recording tells of {told} of {lost}: {lines}");

    let run = tracer.stop()?;
    run.expect_code(6)?;
    ensure!(run.stderr.matches("cannot record into").count() == 1, "not said once: {}", run.stderr);
    ensure!(run.stderr.contains(&format!("not recorded {lost}")), "{lost}: {}", run.stderr);
    Ok(Outcome::Passed)
}
