//! Runs end-to-end tests one by one, each in a process of its own with a time limit, and says in one line each how
//! they ended. One plain program, because the same file also runs in test VMs, where there is no cargo.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::node::kernel::process::raise_memlock;
use anyhow::{Context, Result};
use clap::Parser;
use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};

/// How a test that did not fail has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// This kernel or machine lacks what the test needs; the reason is shown.
    NotPossible(String),
}

/// One test. Made by [`tests!`](crate::tests).
#[derive(Clone, Copy)]
pub struct Test {
    pub module: &'static str,
    pub function: &'static str,
    pub run: fn() -> Result<Outcome>,
    pub limit_seconds: u64,
}

/// Seconds for a test that names no limit, on an ordinary machine.
pub const DEFAULT_LIMIT: u64 = 60;
/// Multiplies all limits: emulated machines are slow.
const PATIENCE_ENV: &str = "TRACER_TEST_PATIENCE";
/// Exit code of a test's process that means "not possible here".
const NOT_POSSIBLE: i32 = 77;
/// The line with which such a process gives its reason.
const REASON: &str = "not possible here: ";

/// Registers the functions of a module (`fn() -> Result<Outcome>`) as its `TESTS`; `name: seconds` sets a time limit.
#[macro_export]
macro_rules! tests {
    ($($function:ident $(: $limit:expr)?),* $(,)?) => {
        pub const TESTS: &[$crate::runner::Test] = &[$($crate::runner::Test {
            module: module_path!(),
            function: stringify!($function),
            run: $function,
            limit_seconds: $crate::tests!(@limit $($limit)?),
        }),*];
    };
    (@limit) => { $crate::runner::DEFAULT_LIMIT };
    (@limit $limit:expr) => { $limit };
}

impl Test {
    /// Subject and function: `binary::is_static`.
    fn name(&self) -> String {
        let subject = self.module.rsplit("::").next().unwrap_or(self.module);
        format!("{subject}::{}", self.function)
    }
}

/// End-to-end tests of tracer on the running kernel.
#[derive(Parser)]
#[command(name = "e2e")]
struct Cli {
    /// Only list the tests.
    #[arg(long)]
    list: bool,
    /// Filters are whole names.
    #[arg(long)]
    exact: bool,
    /// Run this one test in this very process; its output is not captured.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["list", "exact", "filters"])]
    inline: Option<String>,
    /// Run the tests whose name contains one of these.
    filters: Vec<String>,
}

/// The whole program.
pub fn main(modules: &[&[Test]]) -> ExitCode {
    let cli = Cli::parse();
    let tests: Vec<Test> = modules.iter().flat_map(|tests| tests.iter().copied()).collect();
    let result = match &cli.inline {
        Some(name) => run_inline(&tests, name),
        None => run_all(&selected(&tests, &cli.filters, cli.exact), cli.list),
    };
    result.unwrap_or_else(|error| {
        eprintln!("e2e: {error:#}");
        ExitCode::FAILURE
    })
}

fn selected(tests: &[Test], filters: &[String], exact: bool) -> Vec<Test> {
    let matches = |name: &str| match exact {
        true => filters.iter().any(|filter| filter == name),
        false => filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())),
    };
    tests.iter().copied().filter(|test| matches(&test.name())).collect()
}

/// The child's side: the exit code tells the outcome.
fn run_inline(tests: &[Test], name: &str) -> Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot ask to die with the runner")?;
    raise_memlock();
    let test = tests.iter().find(|test| test.name() == name).with_context(|| format!("no test `{name}`"))?;
    Ok(match (test.run)()? {
        Outcome::Passed => ExitCode::SUCCESS,
        Outcome::NotPossible(reason) => {
            println!("{REASON}{}", reason.replace('\n', " "));
            ExitCode::from(NOT_POSSIBLE as u8)
        }
    })
}

#[derive(Default, PartialEq, Eq, Debug)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

fn run_all(tests: &[Test], list: bool) -> Result<ExitCode> {
    if list {
        tests.iter().for_each(|test| println!("{}", test.name()));
        return Ok(ExitCode::SUCCESS);
    }
    let patience = std::env::var(PATIENCE_ENV).ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut counts = Counts::default();
    for test in tests {
        let start = Instant::now();
        let ended = run_child(test, Duration::from_secs(test.limit_seconds * patience))?;
        report(&test.name(), &ended, start.elapsed(), &mut counts)?;
    }
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

enum Ended {
    Passed,
    NotPossible(String),
    Failed { how: String, output: String },
}

fn report(name: &str, ended: &Ended, took: Duration, counts: &mut Counts) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let seconds = took.as_secs_f32();
    match ended {
        Ended::Passed => {
            counts.passed += 1;
            writeln!(out, "ok    {name}  {seconds:.1} s")?;
        }
        Ended::NotPossible(reason) => {
            counts.skipped += 1;
            writeln!(out, "skip  {name}: {reason}")?;
        }
        Ended::Failed { how, output } => {
            counts.failed += 1;
            writeln!(out, "FAIL  {name}: {how}  {seconds:.1} s")?;
            output.lines().try_for_each(|line| writeln!(out, "    | {line}"))?;
        }
    }
    out.flush()
}

/// A process group of its own, so that a test that hangs goes down with all that it started.
fn run_child(test: &Test, limit: Duration) -> Result<Ended> {
    use std::os::unix::process::CommandExt;
    let mut output = output_file()?;
    let exe = std::env::current_exe().context("cannot tell where this program lies")?;
    let duplicate = |file: &File| file.try_clone().context("cannot duplicate a file descriptor");
    let mut child = Command::new(exe)
        .args(["--inline", &test.name()])
        .stdin(Stdio::null())
        .stdout(duplicate(&output)?)
        .stderr(duplicate(&output)?)
        .process_group(0)
        .spawn()
        .context("cannot start a test")?;
    let status = wait(&mut child, limit)?;
    let mut bytes = Vec::new();
    output.rewind().and_then(|()| output.read_to_end(&mut bytes)).context("cannot read a test's output")?;
    Ok(judge(status, limit, String::from_utf8_lossy(&bytes).into_owned()))
}

/// A file, not a pipe: what the test leaves running cannot keep us waiting for the end of its output.
fn output_file() -> Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    Ok(memfd_create("output", MemfdFlags::CLOEXEC).context("cannot make a file in memory")?.into())
}

/// `None`: not ended within its limit. Either way its group is killed then.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait for a test")? {
            break Some(status);
        }
        if Instant::now() >= end {
            break None;
        }
        thread::sleep(Duration::from_millis(10));
    };
    // Nobody left in the group is the good case.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    child.wait().context("cannot wait for a test")?;
    Ok(status)
}

fn judge(status: Option<ExitStatus>, limit: Duration, output: String) -> Ended {
    let reason = || output.lines().rev().find_map(|line| line.strip_prefix(REASON)).map(str::to_owned);
    let how = match status {
        Some(status) if status.success() => return Ended::Passed,
        Some(status) if status.code() == Some(NOT_POSSIBLE) => match reason() {
            Some(reason) => return Ended::NotPossible(reason),
            None => "not possible here, without a reason".to_owned(),
        },
        Some(status) => status.to_string(),
        None => format!("not finished after {} s", limit.as_secs()),
    };
    Ended::Failed { how, output }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn passes() -> Result<Outcome> {
        Ok(Outcome::Passed)
    }

    const fn test(function: &'static str) -> Test {
        Test { module: "tracer_tests::e2e::subject", function, run: passes, limit_seconds: 1 }
    }

    const ALL: &[Test] = &[test("one"), test("one_more")];

    fn names(filters: &[&str], exact: bool) -> Vec<String> {
        let filters: Vec<String> = filters.iter().map(|f| (*f).to_owned()).collect();
        selected(ALL, &filters, exact).iter().map(Test::name).collect()
    }

    #[test]
    fn filters_match_parts_of_names_and_exact_ones_whole_names() {
        assert_eq!(names(&[], false), ["subject::one", "subject::one_more"]);
        assert_eq!(names(&["more"], false), ["subject::one_more"]);
        assert_eq!(names(&["subject::one"], true), ["subject::one"]);
        assert!(names(&["one"], true).is_empty());
    }

    #[test]
    fn a_test_that_gives_no_reason_for_skipping_has_failed() {
        let ended = judge(Some(ExitStatus::from_raw(NOT_POSSIBLE << 8)), Duration::ZERO, "text\n".into());
        assert!(matches!(ended, Ended::Failed { .. }));
        let ended = judge(
            Some(ExitStatus::from_raw(NOT_POSSIBLE << 8)),
            Duration::ZERO,
            format!("{REASON}no fentry\n"),
        );
        assert!(matches!(ended, Ended::NotPossible(reason) if reason == "no fentry"));
    }

    #[test]
    fn a_process_that_outlives_its_limit_is_killed() -> Result<()> {
        use std::os::unix::process::CommandExt;
        let mut child = Command::new("sleep").arg("60").process_group(0).spawn()?;
        assert_eq!(wait(&mut child, Duration::from_millis(50))?, None);
        Ok(())
    }
}
