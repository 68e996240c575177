//! The pretend Cilium node as a program: builds it, runs a command on it, takes everything down.

use std::ffi::OsString;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use tracer_tests::node::kernel::process::{Signals, exit_code, supervise};
use tracer_tests::node::{Generation, Node};

/// Makes a pretend Cilium node in private namespaces and runs a command on it.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Cilium release to pretend: 1.14 to 1.19.
    #[arg(long, default_value = "1.17")]
    generation: Generation,
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
    let signals = Signals::block().context("cannot catch signals")?;
    let node = Node::builder().generation(arguments.generation).build()?;
    if !arguments.quiet {
        eprintln!("pretend-node: a Cilium {} node is up", arguments.generation);
    }
    let until = arguments.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let Some((program, rest)) = arguments.command.split_first() else {
        signals.wait_for_stop(until)?;
        return Ok(0);
    };
    let child = node
        .prepare(Command::new(program).args(rest))?
        .spawn()
        .with_context(|| format!("cannot run `{}`", program.display()))?;
    let status = supervise(&signals, child, until).context("cannot wait for the command")?;
    Ok(exit_code(status) as u8)
}
