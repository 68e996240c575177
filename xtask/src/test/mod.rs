//! `cargo xtask test`: everything that CI runs, step by step. A failed step does not stop the others; the last line on
//! stdout is the sum of all tests.

mod host;
mod reproducible;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::report::Counts;
use crate::setup::{self, Purpose};
use crate::workspace::Profile;
use crate::{build, say, vm};

/// Run all tests: format, lints, unit and golden tests, end-to-end tests here and on Debian's kernels.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out the Debian kernels.
    #[arg(long)]
    no_vm: bool,
    /// How many VMs run at the same time.
    #[arg(long, value_name = "N", default_value_t = vm::DEFAULT_JOBS)]
    vm_jobs: usize,
    /// Only tests whose name contains this; may be repeated. The steps that are one test have their step's name.
    filter: Vec<String>,
}

/// A line of the table at the end.
struct Line {
    step: String,
    counts: Counts,
    note: String,
    took: Duration,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let purpose = [Purpose::Build, Purpose::Test, Purpose::Vm];
    purpose[..if args.no_vm { 2 } else { 3 }].iter().try_for_each(|purpose| setup::ensure(*purpose))?;
    let mut run = Run { filter: &args.filter, lines: Vec::new() };
    run.single("format", host::format);
    run.single("clippy", host::clippy);
    run.step("unit and golden", || host::unit(&args.filter));
    run.single("build", build_release);
    run.single("reproducible object", reproducible::check);
    run.step("end-to-end, this kernel", || host::end_to_end(&args.filter));
    if !args.no_vm {
        run.kernels(args.vm_jobs);
    }
    Ok(run.finish())
}

fn build_release() -> Result<()> {
    let output = build::programs(Profile::Release)?;
    build::check(&output, Profile::Release).map(drop)
}

struct Run<'a> {
    filter: &'a [String],
    lines: Vec<Line>,
}

impl Run<'_> {
    /// A step that is one test. What later steps need is made even when the filter names something else.
    fn single(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        let wanted =
            self.filter.is_empty() || self.filter.iter().any(|filter| name.contains(filter.as_str()));
        if wanted || name == "build" {
            self.step(name, || work().map(|()| (Counts::one(true), String::new())));
        }
    }

    /// A step with tests of its own; an error counts as one failed test.
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<(Counts, String)>) {
        say::step(format!("test: {name}"));
        let start = Instant::now();
        let (counts, note) = work().unwrap_or_else(|error| {
            say::problem(&error);
            (Counts::one(false), String::new())
        });
        self.lines.push(Line { step: name.to_owned(), counts, note, took: start.elapsed() });
    }

    fn kernels(&mut self, jobs: usize) {
        let verdicts = match vm::end_to_end(vm::KERNELS, self.filter, jobs) {
            Ok(verdicts) => verdicts,
            Err(error) => return self.step("end-to-end, Debian kernels", || Err(error)),
        };
        for verdict in verdicts {
            let step = format!("end-to-end, {}", verdict.kernel);
            self.lines.push(Line {
                step,
                counts: verdict.counts(),
                note: verdict.note(),
                took: verdict.took,
            });
        }
    }

    fn finish(self) -> ExitCode {
        let mut sum = Counts::default();
        eprintln!();
        for line in &self.lines {
            let word = if line.counts.failed == 0 { "ok" } else { "FAILED" };
            eprintln!(
                "{:<42} {word:<6} {:>5} s  {}{}",
                line.step,
                line.took.as_secs(),
                line.counts,
                line.note
            );
            sum += line.counts;
        }
        println!("{sum}");
        if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
