//! A flood for minutes: resident memory stays, no descriptor leaks, and every packet is accounted for.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::Bench;
use super::machine::reader_cpu;
use super::measure::{Words, words};
use super::node::{flood, go_file, wait_for};
use super::report::{Section, verdict};
use super::start::status_kib;
use super::summary::Summary;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Caches fill in the beginning.
const SETTLED: Duration = Duration::from_secs(60);
const MAX_GROWTH_KIB: i64 = 1024;

/// One look at the process.
#[derive(Clone, Copy, Debug)]
struct Look {
    after: Duration,
    resident_kib: u64,
    descriptors: usize,
}

pub fn run(bench: &Bench) -> Result<Section> {
    let seconds = bench.minutes * 60;
    let mut section = Section::new("Soak");
    let (log, note) = (bench.scratch.join("soak.log"), bench.scratch.join("soak.pid"));
    for file in [&note, &go_file(bench)] {
        let _ = fs::remove_file(file);
    }
    let reader = reader(bench);
    let (flood, looks) = thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(bench, u64::MAX, Some(seconds), &reader, &log));
        let looks = watch(|| flooding.is_finished(), bench);
        let flood = flooding.join().map_err(|_| anyhow!("the flood panicked"))?;
        Ok::<_, anyhow::Error>((flood?, looks?))
    })?;
    let summary = Summary::read(&log)?;
    let settled: Vec<&Look> =
        looks.iter().filter(|look| look.after >= SETTLED.min(Duration::from_secs(seconds / 2))).collect();
    let growth = |of: fn(&Look) -> i64| {
        let values = settled.iter().map(|look| of(look));
        values.clone().max().unwrap_or(0) - values.min().unwrap_or(0)
    };
    let (memory, descriptors) = (growth(|l| l.resident_kib as i64), growth(|l| l.descriptors as i64));
    let exact = summary.is_exact()? && summary.of_cilium("counted")? == i64::try_from(flood.dropped)?;
    section.text(format!(
        "{} minutes of packets that policy denies, as fast as one thread sends them: {} packets, {:.0} thousand a second; {} \
         shown, {} lost in the full ring and counted.",
        bench.minutes,
        flood.sent,
        flood.rate() / 1e3,
        summary.of_cilium("shown")?,
        summary.of_cilium("lost")?,
    ));
    section.table(
        &["", "measured", "target", ""],
        &[
            vec![
                format!(
                    "resident memory moves by (after {} s), KiB",
                    settled.first().map_or(0, |l| l.after.as_secs())
                ),
                memory.to_string(),
                format!("≤ {MAX_GROWTH_KIB}"),
                verdict(memory <= MAX_GROWTH_KIB),
            ],
            vec![
                "descriptors move by".into(),
                descriptors.to_string(),
                "0".into(),
                verdict(descriptors == 0),
            ],
            vec![
                "sent = shown + filtered + folded + suppressed + lost".into(),
                (if exact { "exactly" } else { "no" }).into(),
                "exactly".into(),
                verdict(exact),
            ],
        ],
    );
    Ok(section)
}

fn reader(bench: &Bench) -> Words {
    // exec keeps the process number that is noted.
    let script = "echo $$ >\"$1\".new && mv \"$1\".new \"$1\" && shift && exec \"$@\"";
    let mut line = words(["taskset", "-c", &reader_cpu(), "sh", "-c", script, "sh"]);
    line.push(bench.scratch.join("soak.pid").into());
    line.push(bench.tracer.clone().into());
    line.extend(words(["drops", "-o", "json", "--ready-file"]));
    line.push(go_file(bench).into());
    line
}

fn watch(is_over: impl Fn() -> bool, bench: &Bench) -> Result<Vec<Look>> {
    let pid = wait_for(&bench.scratch.join("soak.pid"), || Ok(()))?;
    let (pid, begin, mut looks) = (pid.trim().to_owned(), Instant::now(), Vec::new());
    while !is_over() {
        thread::sleep(EVERY);
        match look(&pid, begin.elapsed()) {
            Ok(look) => looks.push(look),
            // It ends a little before the flood's process does.
            Err(_) if !looks.is_empty() => break,
            Err(error) => return Err(error).context("tracer cannot be looked at"),
        }
    }
    Ok(looks)
}

fn look(pid: &str, after: Duration) -> Result<Look> {
    let resident_kib = status_kib(pid, "VmRSS")?;
    Ok(Look { after, resident_kib, descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count() })
}
