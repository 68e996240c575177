//! `cargo xtask build`: the programs, each one static file, and a check that `tracer` is what was promised.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::setup::{self, Purpose};
use crate::workspace::{Output, Profile, cargo};
use crate::{process, say};

/// Build tracer and its test programs (release unless told otherwise).
#[derive(clap::Args)]
pub struct Args {
    /// Build with the dev profile: faster to build, slower to run.
    #[arg(long)]
    debug: bool,
}

/// The binary's promised size.
const MAX_SIZE: u64 = 15 << 20;

pub fn run(args: &Args) -> Result<ExitCode> {
    let profile = Profile::from_debug_flag(args.debug);
    let output = programs(profile)?;
    let (file, size) = check(&output, profile)?;
    say::step(format!("build: {} (static, {:.1} MiB)", file.display(), size as f64 / (1 << 20) as f64));
    Ok(ExitCode::SUCCESS)
}

/// Builds `tracer` and what its tests and its bench run.
pub fn programs(profile: Profile) -> Result<Output> {
    setup::ensure(Purpose::Build)?;
    say::step(format!("build: tracer and its test programs ({})", profile.directory()));
    let mut command = cargo();
    command.args(["build", "--locked", "--package", "tracer", "--package", "tracer-tests", "--bins"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    process::visibly_ok(&mut command)?;
    Output::locate()
}

/// Checks `tracer` and copies it to where one looks for it: `target/release/tracer`, without the target's name.
pub fn check(output: &Output, profile: Profile) -> Result<(PathBuf, u64)> {
    let built = output.program(profile, "tracer");
    ensure!(process::is_static_elf(&built)?, "{} is not static: it asks for a loader", built.display());
    let size = fs::metadata(&built).with_context(|| format!("cannot read {}", built.display()))?.len();
    if profile == Profile::Release {
        ensure!(size < MAX_SIZE, "{} has {size} bytes, more than {MAX_SIZE}", built.display());
    }
    let place = output.target.join(profile.directory()).join("tracer");
    if place != built {
        replace(&built, &place)?;
    }
    Ok((place, size))
}

/// A running program cannot be written to, but its name can be given to another file.
fn replace(source: &Path, destination: &Path) -> Result<()> {
    let what = || format!("cannot copy {} to {}", source.display(), destination.display());
    let dir = destination.parent().with_context(what)?;
    let new = dir.join(format!(".tracer-{}", std::process::id()));
    fs::create_dir_all(dir)
        .and_then(|()| fs::copy(source, &new))
        .and_then(|_| fs::rename(&new, destination))
        .with_context(what)
}
