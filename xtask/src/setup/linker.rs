//! The bpf-linker from the crate registry, built against Debian's LLVM, into the cache directory.

use std::env;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use ebpf_build::{BPF_LINKER_VERSION, linker_root};

use super::apt::{self, Tool, file, program};
use crate::{process, say};

/// LLVM with its headers, and the C++ library that it is linked with.
pub const TOOLS: &[Tool] = &[file("/usr/lib/llvm-22/bin/llvm-config", "llvm-22-dev"), program("g++", "g++")];
const LLVM_PROGRAMS: &str = "/usr/lib/llvm-22/bin";

/// Builds the linker; one that is there but does not run is replaced.
pub fn install() -> Result<()> {
    apt::install(&Tool::missing(TOOLS))?;
    say::step(format!("setup: building bpf-linker {BPF_LINKER_VERSION} (one to three minutes)"));
    let start = Instant::now();
    process::output(&mut cargo_install()).context("cannot build bpf-linker")?;
    if ebpf_build::find_linkers().is_empty() {
        bail!(
            "bpf-linker was built, but does not run; see `{}/bin/bpf-linker --version`",
            linker_root().display()
        );
    }
    say::step(format!("setup: built in {} s", start.elapsed().as_secs()));
    Ok(())
}

/// Run in `/`: neither the workspace's cargo settings nor its target directory are the linker's.
fn cargo_install() -> Command {
    let path = env::var("PATH").unwrap_or_default();
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if is_of_outer_cargo(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
        .current_dir("/")
        .args(["install", "bpf-linker", "--version", BPF_LINKER_VERSION, "--locked", "--force", "--quiet"])
        .args(["--no-default-features", "--features", "llvm-22", "--root"])
        .arg(linker_root())
        .env("PATH", format!("{LLVM_PROGRAMS}:{path}"));
    command
}

fn is_of_outer_cargo(name: &str) -> bool {
    ["CARGO_MANIFEST", "CARGO_PKG", "CARGO_TARGET_DIR", "CARGO_BUILD", "CARGO_ENCODED", "RUSTFLAGS"]
        .iter()
        .any(|p| name.starts_with(p))
}
