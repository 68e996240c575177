//! `cargo xtask build-ebpf`: the eBPF objects alone, for those who want to look at them or build elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use ebpf_build::{OBJECTS_ENV, Toolchain};

use crate::say;
use crate::setup;
use crate::workspace::{Output, root};

/// The crates that become objects.
pub const PACKAGES: &[&str] = &["tracer-ebpf", "pretend-datapath"];

/// Build the eBPF objects alone.
#[derive(clap::Args)]
#[command(after_help = format!("With {OBJECTS_ENV} set to that directory, cargo takes the objects from there."))]
pub struct Args {
    /// Put the objects here, as PACKAGE.o [default: target/ebpf].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let tools = setup::toolchain()?;
    let target = Output::locate()?.target.join("ebpf");
    let out = args.out.as_deref().unwrap_or(&target);
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    for package in PACKAGES {
        let object = build(&root(), package, &target, &tools)?;
        let place = out.join(format!("{package}.o"));
        fs::copy(&object, &place)
            .with_context(|| format!("cannot copy {} to {}", object.display(), place.display()))?;
        say::step(format!("build-ebpf: {}", place.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// One object from the sources at `root`.
pub fn build(root: &Path, package: &str, target: &Path, tools: &Toolchain) -> Result<PathBuf> {
    ebpf_build::build(root, package, target, tools).map_err(|problem| anyhow!(problem))
}
