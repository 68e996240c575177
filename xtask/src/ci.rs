//! `cargo xtask ci`: `test` with settings for a machine that nobody watches and that starts empty.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

/// Run all tests as CI does.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Result<ExitCode> {
    let own = env::current_exe().context("cannot tell where xtask itself lies")?;
    let mut command = Command::new(own);
    command
        .arg("test")
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_TERM_COLOR", "never")
        .env("CARGO_TERM_PROGRESS_WHEN", "never");
    Err(command.exec()).context("cannot run xtask again")
}
