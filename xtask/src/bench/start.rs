//! From start to attached, idle, and the way of a lone event.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

use super::Bench;
use super::measure::{Words, command, words};
use super::node::{Node, signal};
use super::report::{Section, verdict};
use super::stats::{Samples, shown};
use crate::process;

const STARTS: usize = 20;
const IDLE_SECONDS: u64 = 10;
const LONE_EVENTS: &str = "20";

pub fn run(bench: &Bench) -> Result<Section> {
    let mut section = Section::new("Start, rest, latency");
    let node = Node::start(bench, &[])?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let (mut child, time) = start(bench, &node)?;
        starts.push(time.as_secs_f64() * 1e3);
        end(&mut child)?;
    }
    let starts = Samples::new(starts);
    let idle = idle(bench, &node)?;
    let phases = phases(bench, &node)?;
    drop(node);
    let latency = Samples::new(latencies(bench)?);
    let below = |samples: &Option<Samples>, limit: f64| samples.as_ref().is_some_and(|s| s.median() <= limit);
    section.text("On the pretend node, nothing dropped meanwhile but for the lone events.");
    section.table(
        &["", "measured", "target", ""],
        &[
            vec![
                format!("start to attached, {STARTS} times, ms"),
                shown(starts.as_ref()),
                "≤ 300".into(),
                verdict(below(&starts, 300.0)),
            ],
            vec![
                format!("idle: waits (`poll`, `epoll_wait`, `futex`) in {IDLE_SECONDS} s, by `strace -c`"),
                idle.waits.to_string(),
                format!("≤ {}", IDLE_SECONDS + 1),
                verdict(idle.waits <= IDLE_SECONDS + 1),
            ],
            vec![
                format!("idle: CPU in {IDLE_SECONDS} s, %"),
                format!("{:.1}", idle.percent),
                "0.0".into(),
                verdict(idle.percent < 0.05),
            ],
            vec![
                "idle: resident beside the ring, MiB".into(),
                format!("{:.1}", idle.resident_mib),
                "< 24".into(),
                verdict(idle.resident_mib < 24.0),
            ],
            vec![
                format!("latency of a lone event, {LONE_EVENTS} times, ms"),
                shown(latency.as_ref()),
                "≤ 100".into(),
                verdict(latency.as_ref().is_some_and(|latency| latency.max() <= 100.0)),
            ],
        ],
    );
    section.text("Where the start goes (one run under `strace -f -ttt`, which makes it slower):");
    let rows: Vec<Vec<String>> =
        phases.iter().map(|(what, ms)| vec![(*what).to_owned(), format!("{ms:.1}")]).collect();
    section.table(&["until", "ms since the step before"], &rows);
    Ok(section)
}

fn line(bench: &Bench, node: &Node, before: Words) -> Words {
    let ready = bench.scratch.join("ready");
    let _ = fs::remove_file(&ready);
    let mut line = node.prefix();
    line.extend(before);
    line.push(bench.tracer.clone().into());
    line.extend(words(["drops", "-o", "json", "--ip", "10.244.1.0/24", "--ready-file"]));
    line.push(ready.into());
    line
}

/// Starts tracer and tells how long it took to attach.
fn start(bench: &Bench, node: &Node) -> Result<(Child, Duration)> {
    let line = line(bench, node, Words::new());
    let ready = bench.scratch.join("ready");
    let begin = Instant::now();
    let mut child =
        command(&line).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    while !ready.exists() {
        if let Some(status) = child.try_wait()? {
            bail!("`{}` ended ({status})", process::shown(&command(&line)));
        }
        ensure!(begin.elapsed() < Duration::from_secs(30), "tracer did not attach in 30 s");
        thread::sleep(Duration::from_micros(200));
    }
    Ok((child, begin.elapsed()))
}

fn end(child: &mut Child) -> Result<()> {
    signal("INT", child.id())?;
    child.wait()?;
    Ok(())
}

struct Idle {
    waits: u64,
    percent: f64,
    resident_mib: f64,
}

fn idle(bench: &Bench, node: &Node) -> Result<Idle> {
    let (mut child, _) = start(bench, node)?;
    thread::sleep(Duration::from_secs(2));
    let pid = child.id().to_string();
    let before = processor_ticks(&pid)?;
    thread::sleep(Duration::from_secs(IDLE_SECONDS));
    let ticks = processor_ticks(&pid)? - before;
    let resident = status_kib(&pid, "VmRSS")?;
    let report = bench.scratch.join("strace");
    let mut strace = Command::new("strace")
        .args(["-c", "-f", "-p", &pid, "-o"])
        .arg(&report)
        .stderr(Stdio::null())
        .spawn()?;
    thread::sleep(Duration::from_secs(IDLE_SECONDS));
    end(&mut strace)?;
    end(&mut child)?;
    let text = fs::read_to_string(&report).with_context(|| format!("cannot read {}", report.display()))?;
    Ok(Idle {
        waits: waits(&text),
        // A tick is 10 ms.
        percent: ticks as f64 / IDLE_SECONDS as f64,
        // The 8 MiB ring is mapped twice in a row.
        resident_mib: resident.saturating_sub(16 << 10) as f64 / 1024.0,
    })
}

/// Calls that put a thread to sleep, in the table of `strace -c`.
fn waits(table: &str) -> u64 {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let waiting = [
            "poll",
            "ppoll",
            "epoll_wait",
            "epoll_pwait",
            "futex",
            "nanosleep",
            "clock_nanosleep",
            "restart_syscall",
        ];
        waiting.contains(fields.last()?).then(|| fields.get(3)?.parse::<u64>().ok())?
    };
    table.lines().filter_map(row).sum()
}

fn processor_ticks(pid: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = text.rsplit(')').next().unwrap_or("").split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().context("a number of /proc/PID/stat")).sum()
}

pub fn status_kib(pid: &str, key: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).with_context(|| format!("no {key}"))
}

/// Steps of the start, by the last system call of each; told in the order in which they came.
const STEPS: [(&str, &str); 7] = [
    ("the program runs", "execve("),
    ("the last of the node's pins is open", "BPF_OBJ_GET,"),
    ("the kernel's types are opened", "/sys/kernel/btf/vmlinux"),
    ("our maps are made", "BPF_MAP_CREATE"),
    ("our programs are loaded and verified", "BPF_PROG_LOAD"),
    ("they are attached", "BPF_RAW_TRACEPOINT_OPEN"),
    ("the ready file is written", "/ready\""),
];

/// Milliseconds from step to step.
fn phases(bench: &Bench, node: &Node) -> Result<Vec<(&'static str, f64)>> {
    let trace = bench.scratch.join("trace");
    let mut before = words(["strace", "-f", "-ttt", "-e", "trace=execve,openat,bpf", "-o"]);
    before.push(trace.clone().into());
    let line = line(bench, node, before);
    let ready = bench.scratch.join("ready");
    let mut child =
        command(&line).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let begin = Instant::now();
    while !ready.exists() && begin.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(5));
    }
    // strace passes the signal on by ending; the program is then told by its own death signal.
    let _ = process::output(Command::new("pkill").args(["-INT", "-P", &child.id().to_string()]));
    let _ = signal("INT", child.id());
    child.wait()?;
    let text = fs::read_to_string(&trace).with_context(|| format!("cannot read {}", trace.display()))?;
    Ok(steps(&text))
}

fn steps(trace: &str) -> Vec<(&'static str, f64)> {
    let time = |line: &str| line.split_whitespace().nth(1)?.parse::<f64>().ok();
    let last_of = |mark: &str| trace.lines().filter(|line| line.contains(mark)).filter_map(time).next_back();
    let mut found: Vec<(&str, f64)> =
        STEPS.into_iter().filter_map(|(what, mark)| Some((what, last_of(mark)?))).collect();
    found.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    let mut before = trace.lines().find_map(time).unwrap_or_default();
    for (_, at) in &mut found {
        (*at, before) = ((*at - before) * 1e3, *at);
    }
    found
}

/// Milliseconds from the drop of a packet to its line, as the line's own time stamp and our clock tell.
fn latencies(bench: &Bench) -> Result<Vec<f64>> {
    let go = super::node::go_file(bench);
    let _ = fs::remove_file(&go);
    let mut child = Command::new(&bench.node)
        .args([
            "--quiet",
            "--no-agent",
            "--traffic",
            "case:denied-udp",
            "--pause",
            "300",
            "--rounds",
            LONE_EVENTS,
        ])
        .arg("--wait-ready")
        .arg(&go)
        .arg("--")
        .arg(&bench.tracer)
        .args(["-q", "drops", "-o", "json", "--ready-file"])
        .arg(&go)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("no stdout")?;
    let mut latencies = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        latencies
            .extend(seconds_of_day(&line).map(|then| (now % 86_400.0 - then).rem_euclid(86_400.0) * 1e3));
    }
    child.wait()?;
    Ok(latencies)
}

/// Of the line's first time stamp.
fn seconds_of_day(line: &str) -> Option<f64> {
    let (_, clock) = line.strip_prefix("{\"flow\":{\"time\":\"")?.split_once('T')?;
    let mut parts = clock.split_once('Z')?.0.split(':').map(str::parse::<f64>);
    let mut next = || parts.next()?.ok();
    Some(next()? * 3600.0 + next()? * 60.0 + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_counted_whatever_errors_they_had() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n 60.00    0.000030           3        10           ppoll\n\
                     40.00    0.000020           2         4         1 futex\n  0.00    0.000000           0         9           read\n";
        assert_eq!(waits(table), 14);
    }

    #[test]
    fn time_of_day() {
        let line = r#"{"flow":{"time":"2026-11-22T12:06:12.5Z","uuid":"#;
        assert_eq!(seconds_of_day(line), Some(43_572.5));
    }

    #[test]
    fn steps_take_the_last_call_of_their_kind() {
        let trace = "7 1.000 execve(\"t\")\n7 1.010 bpf(BPF_PROG_LOAD)\n7 1.030 bpf(BPF_PROG_LOAD)\n7 1.031 openat(\"/x/ready\")\n";
        let steps = steps(trace);
        assert_eq!(steps.len(), 3);
        assert!((steps[1].1 - 30.0).abs() < 1e-6, "{steps:?}");
    }
}
