//! A machine without Cilium: the kernel's own drops are shown, and it is said that there is no Cilium.

use std::net::UdpSocket;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::drops_json::check_no_socket;
use super::support::{Launch, patience};
use crate::node::kernel::space::NodeSpace;
use crate::programs;
use crate::runner::Outcome;

crate::tests![a_closed_loopback_port_is_shown, required_cilium_is_missed];

fn a_closed_loopback_port_is_shown() -> Result<Outcome> {
    let space = NodeSpace::create()?;
    space.run(|| {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().context("cannot run ip")?;
        ensure!(up.success(), "cannot set lo up: {up}");
        Ok(())
    })?;
    let tracer = Launch::new(&["--all", "-o", "json"]).start(&space)?;
    space.run(|| {
        for _ in 0..3 {
            UdpSocket::bind("127.0.0.1:0")?.send_to(b"anybody?", "127.0.0.1:9")?;
        }
        Ok(())
    })?;
    thread::sleep(Duration::from_millis(200) * patience().min(3));
    let run = tracer.stop()?;
    run.expect_code(0)?;
    ensure!(run.stderr.contains("no Cilium here"), "no word of it: {}", run.stderr);
    let events = run.events()?;
    let is_ours = |event: &&Value| {
        event["flow"]["IP"]["destination"] == "127.0.0.1"
            && event["flow"]["l4"]["UDP"]["destination_port"] == 9
    };
    let ours: Vec<&Value> = events.iter().filter(is_ours).collect();
    ensure!(ours.len() == 3, "{} of 3 shown: {}", ours.len(), run.stdout);
    ours.into_iter().try_for_each(check_no_socket)?;
    Ok(Outcome::Passed)
}

fn required_cilium_is_missed() -> Result<Outcome> {
    let output = NodeSpace::create()?.run(|| {
        Command::new(programs::path("tracer")?)
            .args(["drops", "--require-cilium", "--duration", "10s"])
            .output()
            .context("cannot run tracer")
    })?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(4), "{}: {stderr}", output.status);
    ensure!(stderr.trim_end().lines().count() == 1 && stderr.contains("no Cilium on this node"), "{stderr}");
    Ok(Outcome::Passed)
}
