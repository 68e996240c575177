//! The steps that run on this machine: format, lints, unit and golden tests, end-to-end tests on the running kernel.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::process;
use crate::report::{self, Counts, EndToEnd};
use crate::workspace::{Output, Profile, cargo};

pub fn format() -> Result<()> {
    process::visibly_ok(cargo().args(["fmt", "--all", "--check"]))
}

pub fn clippy() -> Result<()> {
    let arguments = ["clippy", "--locked", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    process::visibly_ok(cargo().args(arguments))
}

/// The output of the tests is shown when one failed; cargo's own goes to stderr as it comes.
pub fn unit(filter: &[String]) -> Result<(Counts, String)> {
    let mut command = cargo();
    command.args(["test", "--locked", "--no-fail-fast", "--"]).args(filter).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot run `{}`", process::shown(&command)))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let counts = report::of_cargo_test(&text);
    if !output.status.success() {
        eprintln!("{text}");
    }
    ensure!(
        output.status.success() || counts.failed > 0,
        "`{}` failed ({})",
        process::shown(&command),
        output.status
    );
    Ok((counts, String::new()))
}

/// Needs root: a machine without it has not been tested, so that is a failure.
pub fn end_to_end(filter: &[String]) -> Result<(Counts, String)> {
    let program = Output::locate()?.program(Profile::Release, "e2e");
    ensure!(program.is_file(), "{} is not built", program.display());
    let mut command = process::as_root(program.as_os_str())?;
    command.args(filter);
    let report = follow(&mut command)?;
    let note = report.not_possible_in_words();
    match report.counts {
        Some(counts) => Ok((counts, note)),
        None => bail!("`{}` ended without a result", process::shown(&command)),
    }
}

/// Shows each line as it comes.
fn follow(command: &mut Command) -> Result<EndToEnd> {
    let what = || format!("cannot run `{}`", process::shown(&Command::new("e2e")));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(what)?;
    let mut report = EndToEnd::default();
    for line in BufReader::new(child.stdout.take().context("no stdout")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line.context("cannot read the tests' output")?).into_owned();
        eprintln!("{line}");
        report.take(&line);
    }
    child.wait().with_context(what)?;
    Ok(report)
}
