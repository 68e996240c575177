//! `cargo xtask demo`: a pretend Cilium node with traffic on it, and tracer watching. xtask builds both and becomes
//! the node's process, so that signals and the exit code are its own. stdout belongs to tracer alone.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::workspace::Profile;
use crate::{build, process, say};

/// Run tracer on a pretend Cilium node with real traffic and real drops.
#[derive(clap::Args)]
pub struct Args {
    /// End after this many seconds [default: when tracer ends, or Ctrl-C].
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Whose maps and state files the node pretends to have: 1.16, 1.17, 1.18 or 1.19.
    #[arg(long, value_name = "G")]
    generation: Option<String>,
    /// How the node's datapath is attached: clsact or tcx.
    #[arg(long, value_name = "HOW")]
    attach: Option<String>,
    /// Take the dev profile: faster to build.
    #[arg(long)]
    debug: bool,
    /// What tracer is run with.
    #[arg(last = true, value_name = "TRACER ARGS", default_values_t = ["drops".to_owned()])]
    arguments: Vec<String>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let profile = Profile::from_debug_flag(args.debug);
    let output = build::programs(profile)?;
    let (tracer, _) = build::check(&output, profile)?;
    let mut command = process::as_root(output.program(profile, "pretend-node").as_os_str())?;
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            command.args([name, &value]);
        }
    };
    option("--generation", args.generation.clone());
    option("--seconds", args.seconds.map(|n| n.to_string()));
    option("--attach", args.attach.clone());
    command.arg("--").arg(tracer).args(&args.arguments);
    say::step(format!("demo: {}", process::shown(&command)));
    Err(command.exec()).with_context(|| format!("cannot run `{}`", process::shown(&command)))
}
