//! `cargo xtask setup`: installs what a verb needs and this machine lacks. Asks nothing, says each step, and does
//! nothing twice: every verb starts with [`ensure`], which only looks when all is there.

pub mod apt;
mod linker;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, anyhow, ensure};
use ebpf_build::{LINKER_ENV, Missing, RUSTC_ENV, Toolchain};

use self::apt::Tool;
use crate::say;

/// Install what is missing on this machine (Debian; other systems are told what to install).
#[derive(clap::Args)]
pub struct Args {
    /// What to set up for.
    #[arg(long = "for", value_enum, default_value_t = Purpose::All)]
    purpose: Purpose,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Purpose {
    /// A rustc with library sources and a bpf-linker.
    Build,
    /// QEMU, busybox and what unpacks Debian's kernels.
    Vm,
    /// What the end-to-end tests look at the kernel with.
    Test,
    /// All of these.
    All,
}

/// Packages of Debian 12 with the library sources and a compiler that builds them.
const RUST_PACKAGES: &[&str] = &["rustc-web", "rust-web-src"];

pub fn run(args: &Args) -> Result<ExitCode> {
    ensure(args.purpose)?;
    say::step("setup: all is there");
    Ok(ExitCode::SUCCESS)
}

/// Makes sure that everything for `purpose` is on this machine.
pub fn ensure(purpose: Purpose) -> Result<()> {
    let is_for = |one: Purpose| purpose == one || purpose == Purpose::All;
    let mut missing: Vec<&str> = Vec::new();
    let toolchain = is_for(Purpose::Build).then(ebpf_build::find_toolchain).and_then(Result::err);
    if let Some(problem) = &toolchain {
        may_complete(problem)?;
        missing.extend(toolchain_packages(problem));
    }
    if is_for(Purpose::Vm) {
        missing.extend(Tool::missing(apt::VM_TOOLS));
    }
    if is_for(Purpose::Test) {
        missing.extend(Tool::missing(apt::TEST_TOOLS));
    }
    apt::install(&missing)?;
    if toolchain.is_some() { complete_toolchain() } else { Ok(()) }
}

/// Tools that the user has named are his business.
fn may_complete(problem: &Missing) -> Result<()> {
    let named = [RUSTC_ENV, LINKER_ENV].iter().any(|name| env::var_os(name).is_some());
    ensure!(!named, "{problem}; unset {RUSTC_ENV} and {LINKER_ENV} to have a toolchain installed");
    say::step(format!("setup: {problem}"));
    Ok(())
}

/// The toolchain, installed if need be.
pub fn toolchain() -> Result<Toolchain> {
    ensure(Purpose::Build)?;
    ebpf_build::find_toolchain().map_err(|missing| anyhow!("{missing}"))
}

/// What apt has to bring: a compiler unless there is one, and what a linker is built with unless one runs.
fn toolchain_packages(problem: &Missing) -> Vec<&'static str> {
    let no_rustc = ebpf_build::find_rustcs().is_empty();
    let no_linker = matches!(problem, Missing::Match { .. }) || ebpf_build::find_linkers().is_empty();
    let rust = RUST_PACKAGES.iter().copied().filter(|_| no_rustc);
    let llvm = if no_linker { Tool::missing(linker::TOOLS) } else { Vec::new() };
    rust.chain(llvm).collect()
}

/// A linker built earlier may run again now that its LLVM is back; else it is built. If no compiler suits it (a nightly
/// with a newer LLVM), Debian's does.
fn complete_toolchain() -> Result<()> {
    if ebpf_build::find_toolchain().is_ok() {
        return Ok(());
    }
    linker::install()?;
    if let Err(problem @ Missing::Match { .. }) = ebpf_build::find_toolchain() {
        say::step(format!("setup: {problem}; taking Debian's rustc"));
        apt::install(RUST_PACKAGES)?;
    }
    ebpf_build::find_toolchain().map(drop).map_err(|problem| anyhow!("{problem}, after all was installed"))
}
