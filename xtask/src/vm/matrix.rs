//! The end-to-end tests on several kernels: one VM each, one verdict each.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::initramfs::Payload;
use super::{Boot, kernel};
use crate::report::{Counts, EndToEnd};
use crate::{process, say};

/// How much longer than on an ordinary machine tests may take under emulation.
const PATIENCE: u32 = 8;

/// How the tests went on one kernel.
pub struct Verdict {
    /// The kernel's release, or what was asked for if there is none.
    pub kernel: String,
    pub took: Duration,
    report: EndToEnd,
    /// Why there is no complete report.
    broken: Option<String>,
}

impl Verdict {
    /// A machine that broke counts as one failed test more.
    pub fn counts(&self) -> Counts {
        let mut counts = self.report.counts.unwrap_or_default();
        counts.failed += u32::from(self.broken.is_some());
        counts
    }

    pub fn is_good(&self) -> bool {
        self.counts().failed == 0
    }

    /// What is to be said beside the counts.
    pub fn note(&self) -> String {
        let broken =
            self.broken.as_ref().and_then(|text| text.lines().next()).map(|line| format!(", {line}"));
        self.report.not_possible_in_words() + &broken.unwrap_or_default()
    }

    fn show(&self) {
        let word = if self.is_good() { "ok" } else { "FAILED" };
        eprintln!("{}  {word}  {}{}  {} s", self.kernel, self.counts(), self.note(), self.took.as_secs());
        self.report.failures.iter().for_each(|line| eprintln!("    {line}"));
        if let Some(problem) = &self.broken {
            eprintln!("{problem}");
        }
    }
}

/// What all VMs of a run have in common.
pub struct Matrix<'a> {
    pub payload: &'a [Payload],
    pub filter: &'a [String],
    pub logs: PathBuf,
    pub timeout: Duration,
    pub update: bool,
}

impl Matrix<'_> {
    /// Up to `jobs` kernels at a time; the verdicts come in the order of the kernels, and are shown as they come in.
    pub fn run(&self, kernels: &[&str], jobs: usize) -> Vec<Verdict> {
        let next = AtomicUsize::new(0);
        let verdicts = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..jobs.clamp(1, kernels.len().max(1)) {
                scope.spawn(|| {
                    while let Some((at, series)) = take_next(&next, kernels) {
                        let verdict = self.one(series);
                        verdict.show();
                        verdicts.lock().unwrap_or_else(|poison| poison.into_inner()).push((at, verdict));
                    }
                });
            }
        });
        let mut verdicts = verdicts.into_inner().unwrap_or_else(|poison| poison.into_inner());
        verdicts.sort_by_key(|(at, _)| *at);
        verdicts.into_iter().map(|(_, verdict)| verdict).collect()
    }

    fn one(&self, series: &str) -> Verdict {
        let start = Instant::now();
        let mut report = EndToEnd::default();
        let mut name = series.to_owned();
        let broken = self.boot(series, &mut name, &mut report).err().map(|error| format!("{error:#}"));
        Verdict { kernel: name, took: start.elapsed(), report, broken }
    }

    fn boot(&self, series: &str, name: &mut String, report: &mut EndToEnd) -> Result<()> {
        let kernel = kernel::get(series, self.update)?;
        name.clone_from(&kernel.release);
        let filter: Vec<String> = self.filter.iter().map(|word| process::quoted(word)).collect();
        let script = format!("TRACER_TEST_PATIENCE={PATIENCE} exec e2e {}\n", filter.join(" "));
        let boot = Boot { kernel: &kernel, payload: self.payload, logs: &self.logs, timeout: self.timeout };
        let mut output = String::new();
        let ended = boot.script(script, |line| {
            report.take(line);
            output.push_str(line);
            output.push('\n');
        });
        let log = self.logs.join(format!("{}.e2e", kernel.release));
        fs::write(&log, &output).with_context(|| format!("cannot write {}", log.display()))?;
        ended?;
        report.counts.map(drop).with_context(|| {
            format!(
                "the tests ended without a result; end of {}:\n{}",
                log.display(),
                process::tail(&output, 20)
            )
        })
    }
}

fn take_next<'a>(next: &AtomicUsize, kernels: &[&'a str]) -> Option<(usize, &'a str)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    kernels.get(at).map(|series| (at, *series))
}

/// The first line of all runs.
pub fn announce(kernels: &[&str]) {
    say::step(format!("vm: end-to-end tests on {}", kernels.join(", ")));
}
