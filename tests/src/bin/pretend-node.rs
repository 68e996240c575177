//! The pretend Cilium node as a program: builds it, runs a command on it with traffic around, takes
//! everything down. All it says goes to stderr; stdin and stdout are the command's.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use tracer_tests::node::kernel::process::{Signals, exit_code, supervise};
use tracer_tests::node::stats::Stats;
use tracer_tests::node::traffic::{Plan, Schedule, Traffic};
use tracer_tests::node::{Attach, Generation, Node};

/// Makes a pretend Cilium node in private namespaces and runs a command on it.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Cilium release to pretend: 1.14 to 1.19.
    #[arg(long, default_value = "1.17")]
    generation: Generation,
    /// How the tc programs are attached: clsact, tcx, auto (as the release would).
    #[arg(long, default_value = "auto")]
    attach: Attach,
    /// Attach the XDP program to eth0 too (generic mode).
    #[arg(long)]
    xdp: bool,
    /// Send a trace message for every packet that passes, not only for new connections.
    #[arg(long)]
    trace_all: bool,
    /// Packets to send: none, default (all cases), case:NAME, flood:N, flood:N@RATE (packets a second).
    #[arg(long, default_value = "default")]
    traffic: Plan,
    /// Milliseconds between the starts of two rounds of traffic.
    #[arg(long, value_name = "MS", default_value_t = 500)]
    pause: u64,
    /// Make so many rounds of traffic, then stop the command.
    #[arg(long, value_name = "N")]
    rounds: Option<u64>,
    /// Stop the command when the traffic has ended by itself (a flood; --rounds implies it).
    #[arg(long)]
    stop_after_traffic: bool,
    /// Fill the connection tracking map of IPv4 and TCP with so many connections of the past.
    #[arg(long, value_name = "N", default_value_t = 0)]
    ct_entries: u32,
    /// Begin the traffic when this file exists.
    #[arg(long, value_name = "FILE")]
    wait_ready: Option<PathBuf>,
    /// No agent: nobody reads events, no heartbeat.
    #[arg(long)]
    no_agent: bool,
    /// Write what was sent, counted and read to FILE as JSON.
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,
    /// Stop after so many seconds (SIGINT to the command; SIGKILL if it lingers).
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Say nothing on stderr but errors.
    #[arg(short, long)]
    quiet: bool,
    /// What to run on the node; without it the node just stays until it is told to stop.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Between the end of the traffic and the end of the command: everything on its way arrives.
const SETTLE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("pretend-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<u8> {
    // Before the first thread, so that all inherit the mask.
    let signals = Signals::block().context("cannot catch signals")?;
    let node = Node::builder()
        .generation(arguments.generation)
        .attach(arguments.attach)
        .xdp(arguments.xdp)
        .trace_all(arguments.trace_all)
        .connections(arguments.ct_entries)
        .build()?;
    let agent = if arguments.no_agent { None } else { Some(node.start_agent()?) };
    let services = node.start_services()?;
    say(arguments, &format!("a Cilium {} node is up", arguments.generation));
    let (code, sent) = run_command(arguments, &signals, &node)?;
    drop(services);
    let read = agent.map(|agent| agent.stop());
    let stats = Stats::new(arguments.generation.as_str(), sent, node.metrics()?, read);
    say(arguments, &format!("{} packets dropped by the datapath", stats.dropped));
    if let Some(path) = &arguments.stats {
        let text = serde_json::to_string_pretty(&stats).context("cannot write statistics")?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(code)
}

fn say(arguments: &Arguments, text: &str) {
    if !arguments.quiet {
        eprintln!("pretend-node: {text}");
    }
}

/// Runs the command (or just waits) while traffic flows; the exit code and what was sent.
fn run_command(
    arguments: &Arguments,
    signals: &Signals,
    node: &Node,
) -> Result<(u8, Vec<tracer_tests::node::traffic::Sent>)> {
    let child = match arguments.command.split_first() {
        None => None,
        Some((program, rest)) => {
            let mut command = Command::new(program);
            let started = node.prepare(command.args(rest))?.spawn();
            Some(started.with_context(|| format!("cannot run `{}`", program.display()))?)
        }
    };
    let mut traffic = node.start_traffic(schedule(arguments))?;
    let mut end = End::new(arguments);
    let code = match child {
        None => signals.wait_for_stop(|| end.is_time(&traffic)).map(|()| 0),
        Some(child) => supervise(signals, child, || end.is_time(&traffic)).map(exit_code),
    };
    let sent = traffic.stop()?;
    Ok((code.context("cannot wait for the command")? as u8, sent))
}

fn schedule(arguments: &Arguments) -> Schedule {
    Schedule {
        plan: arguments.traffic.clone(),
        ready: arguments.wait_ready.clone(),
        pause: Duration::from_millis(arguments.pause),
        rounds: arguments.rounds,
        xdp: arguments.xdp,
    }
}

/// When the command is to be stopped: traffic first, then a pause, then the command.
struct End {
    at: Option<Instant>,
    with_traffic: bool,
    settled: Option<Instant>,
}

impl End {
    fn new(arguments: &Arguments) -> Self {
        Self {
            at: arguments.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
            with_traffic: arguments.stop_after_traffic || arguments.rounds.is_some(),
            settled: None,
        }
    }

    fn is_time(&mut self, traffic: &Traffic) -> bool {
        let now = Instant::now();
        if self.at.is_some_and(|at| now >= at) {
            traffic.ask_to_stop();
            self.with_traffic = true;
        }
        if self.with_traffic && traffic.is_done() {
            self.settled.get_or_insert(now + SETTLE);
        }
        self.settled.is_some_and(|settled| now >= settled)
    }
}
