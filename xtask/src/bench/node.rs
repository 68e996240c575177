//! The pretend node as the place where things are measured: one that just stays, to run commands in, and one whose
//! flood meets a reader.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Bench;
use super::measure::{Words, command, words};
use crate::process;

/// Filling a map with millions of entries takes a while.
const LIMIT: Duration = Duration::from_secs(300);

/// A node that stays until it is dropped.
pub struct Node {
    child: Child,
    /// A process that lives in it.
    inside: String,
}

impl Node {
    pub fn start(bench: &Bench, arguments: &[&str]) -> Result<Self> {
        let note = bench.scratch.join("inside");
        let _ = fs::remove_file(&note);
        let script = "echo $$ > \"$0\".new && mv \"$0\".new \"$0\" && exec sleep infinity";
        let mut child = Command::new(&bench.node)
            .args(["--quiet", "--no-agent", "--traffic", "none"])
            .args(arguments)
            .args(["--", "sh", "-c", script])
            .arg(&note)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {}", bench.node.display()))?;
        let inside = wait_for(&note, || match child.try_wait()? {
            Some(status) => bail!("the pretend node ended ({status})"),
            None => Ok(()),
        })?;
        Ok(Self { child, inside: inside.trim().to_owned() })
    }

    /// The prefix that makes a command run on the node.
    pub fn prefix(&self) -> Words {
        words(["nsenter", "--target", &self.inside, "--mount", "--net", "--"])
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = signal("TERM", self.child.id());
        let _ = self.child.wait();
    }
}

/// Sends a signal, by its name without SIG.
pub fn signal(name: &str, process: u32) -> Result<()> {
    process::output(Command::new("kill").arg(format!("-{name}")).arg(process.to_string())).map(drop)
}

/// The content of a file as soon as it exists.
pub fn wait_for(file: &Path, mut alive: impl FnMut() -> Result<()>) -> Result<String> {
    let end = Instant::now() + LIMIT;
    while !file.exists() {
        alive()?;
        ensure!(Instant::now() < end, "{} did not appear within {} s", file.display(), LIMIT.as_secs());
        thread::sleep(Duration::from_millis(20));
    }
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// A flood of packets that policy denies, and what was sent.
pub struct Flood {
    pub sent: u64,
    pub elapsed: Duration,
    /// Drops that the datapath counted.
    pub dropped: u64,
}

impl Flood {
    pub fn rate(&self) -> f64 {
        self.sent as f64 / self.elapsed.as_secs_f64()
    }
}

/// The file whose existence lets the flood of [`flood`] begin.
pub fn go_file(bench: &Bench) -> PathBuf {
    bench.scratch.join("go")
}

/// Seconds that other tracers get to attach before the flood: they do not tell when they are ready.
pub const ATTACH: u32 = 5;

/// The prefix of a reader that does not make [`go_file`] itself: it is made after so many seconds.
pub fn ready_after(seconds: u32, go: &Path) -> Words {
    let script = "(sleep \"$1\"; : >\"$2\") & shift 2; exec \"$@\"";
    let mut line = words(["sh", "-c", script, "sh", &seconds.to_string()]);
    line.push(go.into());
    line
}

/// Runs `reader` on a node and floods once [`go_file`] exists, for at most `seconds`; half a second after the flood the
/// reader gets SIGINT. What all of them say on stderr is in `log`.
pub fn flood(bench: &Bench, packets: u64, seconds: Option<u64>, reader: &Words, log: &Path) -> Result<Flood> {
    // Away from the reader.
    send(bench, words(["taskset", "-c", "0"]), format!("flood:{packets}"), seconds, reader, log)
}

/// The same with so many packets a second, wherever the scheduler likes.
pub fn paced_flood(bench: &Bench, packets: u64, rate: u64, reader: &Words, log: &Path) -> Result<Flood> {
    send(bench, Words::new(), format!("flood:{packets}@{rate}"), None, reader, log)
}

fn send(
    bench: &Bench,
    mut line: Words,
    traffic: String,
    seconds: Option<u64>,
    reader: &Words,
    log: &Path,
) -> Result<Flood> {
    let (stats, go) = (bench.scratch.join("stats.json"), go_file(bench));
    let _ = fs::remove_file(&stats);
    let stderr = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    line.push(bench.node.clone().into());
    line.extend(words(["--quiet", "--no-agent", "--stop-after-traffic"]));
    line.extend(words(["--traffic".to_owned(), traffic]));
    line.extend(words([Path::new("--wait-ready"), &go, Path::new("--stats"), &stats]));
    if let Some(seconds) = seconds {
        line.extend(words(["--seconds".to_owned(), seconds.to_string()]));
    }
    line.push("--".into());
    line.extend(reader.iter().cloned());
    let status = command(&line).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).status();
    status.with_context(|| format!("cannot run `{}`", process::shown(&command(&line))))?;
    let text = fs::read_to_string(&stats)
        .with_context(|| format!("the pretend node left no {}; see {}", stats.display(), log.display()))?;
    parse(&text).with_context(|| format!("{}: `{text}`", stats.display()))
}

fn parse(text: &str) -> Option<Flood> {
    let stats: Value = serde_json::from_str(text).ok()?;
    let sent = &stats["sent"][0];
    Some(Flood {
        sent: sent["packets"].as_u64()?,
        elapsed: Duration::from_nanos(sent["elapsed_ns"].as_u64()?),
        dropped: stats["dropped"].as_u64()?,
    })
}
