//! Other tracers and tracer on the same floods: packets that policy denies on the pretend node, and UDP to a closed port.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::Bench;
use super::machine::reader_cpu;
use super::measure::{Cost, Stdout, Words, command, cost_file, measured, words};
use super::node::{ATTACH, Flood, flood, go_file, ready_after, signal};
use super::peers::Foreign;
use super::report::{Section, verdict};
use super::stats::{Samples, shown};
use super::summary::Summary;
use crate::process;

/// Where nobody listens.
const PORT: &str = "9";
/// The sender keeps at least so much of its rate beside tracer.
const KEPT: f64 = 0.85;

/// Who follows the flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Nobody,
    Tracer,
    /// With the policy entry behind each drop.
    Why,
    PerfRecord,
    PerfTrace,
    Bpftrace,
    Tcpdrop,
}

impl Reader {
    const ALL: [Self; 7] = [
        Self::Nobody,
        Self::Tracer,
        Self::Why,
        Self::PerfRecord,
        Self::PerfTrace,
        Self::Bpftrace,
        Self::Tcpdrop,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Tracer => "`tracer drops -o json`",
            Self::Why => "`tracer drops --why -o json`",
            Self::PerfRecord => "`perf record -e skb:kfree_skb`, then `perf script`",
            Self::PerfTrace => "`perf trace -e skb:kfree_skb`",
            Self::Bpftrace => "`bpftrace` one-liner",
            Self::Tcpdrop => "bcc `tcpdrop`",
        }
    }

    const fn is_tracer(self) -> bool {
        matches!(self, Self::Tracer | Self::Why)
    }

    /// The program that must be there.
    const fn foreign(self) -> Option<Foreign> {
        let (program, package) = match self {
            Self::Nobody | Self::Tracer | Self::Why => return None,
            Self::PerfRecord | Self::PerfTrace => ("perf", "linux-perf"),
            Self::Bpftrace => ("bpftrace", "bpftrace"),
            Self::Tcpdrop => ("tcpdrop-bpfcc", "bpfcc-tools"),
        };
        Some(Foreign { program, package })
    }

    fn line(self, bench: &Bench, out: &Path) -> Words {
        let perf = |verb: &str, more: &[&str]| {
            let mut line = words(["perf", verb, "-a", "-e", "skb:kfree_skb"]);
            line.extend(words(more));
            line.extend([Path::new("-o").into(), out.into()]);
            line
        };
        match self {
            Self::Nobody => words(["sleep", "infinity"]),
            Self::Tracer | Self::Why => {
                let mut line = words([&bench.tracer]);
                line.extend(words(["drops", "-o", "json"]));
                line.extend(words((self == Self::Why).then_some("--why")));
                line.extend(words(["--ready-file"]));
                line.push(go_file(bench).into());
                line
            }
            Self::PerfRecord => perf("record", &["-q"]),
            Self::PerfTrace => perf("trace", &["--no-syscalls"]),
            Self::Bpftrace => {
                let mut line = words(["bpftrace", "-o"]);
                line.push(out.into());
                let program = "tracepoint:skb:kfree_skb { printf(\"%llx %d %d\\n\", args->location, args->protocol, args->reason); }";
                line.extend(words(["-e", program]));
                line
            }
            Self::Tcpdrop => words(["tcpdrop-bpfcc"]),
        }
    }
}

/// One reader on one flood.
struct Run {
    flood: Flood,
    /// With decoding, where that is a step of its own.
    cpu: f64,
    resident_mib: f64,
    captured: u64,
    /// As the reader itself tells.
    lost: Option<u64>,
    /// tracer only: every drop is in one of its counters.
    exact: Option<bool>,
}

/// One reader on all floods of a kind.
struct Runs {
    reader: Reader,
    runs: Vec<Run>,
    /// Why it could not take part.
    trouble: Option<String>,
}

/// Sends the flood while the reader runs: reader's command line, log of its stderr.
type Sender = fn(&Bench, &Words, &Path) -> Result<Flood>;

pub fn run(bench: &Bench) -> Result<Section> {
    let mut section = Section::new("Floods, beside other tracers");
    let versions: Vec<String> = Reader::ALL
        .iter()
        .filter_map(|r| r.foreign())
        .filter(|f| f.find().is_ok())
        .map(|f| f.version())
        .collect();
    let mut versions: Vec<&str> =
        versions.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    versions.dedup();
    section.text(format!(
        "{} packets from one thread on CPU 0, the reader on CPU {}; {} rounds, one reader after the other. Output goes to \
         `/dev/null` or, where a tool wants one, to a file. Others: {}.",
        bench.packets,
        reader_cpu(),
        bench.rounds,
        versions.join(", ")
    ));
    let floods: [(&str, Sender); 2] = [
        ("Packets that policy denies on the pretend node", denied),
        ("UDP to a closed port of the loopback device, on a machine without Cilium", closed),
    ];
    for (what, sender) in floods {
        let field = measure(bench, sender);
        section.text(format!("### {what}"));
        table(&mut section, &field);
    }
    Ok(section)
}

fn measure(bench: &Bench, sender: Sender) -> Vec<Runs> {
    let mut field: Vec<Runs> =
        Reader::ALL.into_iter().map(|reader| Runs { reader, runs: Vec::new(), trouble: None }).collect();
    for _ in 0..bench.rounds {
        for runs in field.iter_mut().filter(|runs| runs.trouble.is_none()) {
            match one(bench, runs.reader, sender) {
                Ok(run) => runs.runs.push(run),
                Err(error) => runs.trouble = Some(format!("{error:#}")),
            }
        }
    }
    field
}

fn one(bench: &Bench, reader: Reader, sender: Sender) -> Result<Run> {
    if let Some(foreign) = reader.foreign() {
        foreign.find()?;
    }
    let (go, out, log) = (go_file(bench), bench.scratch.join("out"), bench.scratch.join("stream.log"));
    for file in [&go, &out] {
        let _ = fs::remove_file(file);
    }
    let cost = cost_file(bench);
    let mut line = words(["taskset", "-c", &reader_cpu()]);
    if !reader.is_tracer() {
        let patience = if reader == Reader::Nobody { 0 } else { ATTACH };
        line.extend(ready_after(patience, &go));
    }
    line.extend(measured(bench, &cost, Stdout::Discarded, reader.line(bench, &out)));
    let flood = sender(bench, &line, &log)?;
    let cost = Cost::read(&cost)?;
    let found = found(bench, reader, &out, &log);
    let found = found.with_context(|| format!("it ended with {}: {}", cost.code, last_words(&log)))?;
    Ok(Run {
        flood,
        cpu: cost.cpu.as_secs_f64() + found.decoding.as_secs_f64(),
        resident_mib: cost.resident_mib(),
        captured: found.captured,
        lost: found.lost,
        exact: found.exact,
    })
}

/// What a reader has to show for it.
#[derive(Default)]
struct Found {
    captured: u64,
    lost: Option<u64>,
    exact: Option<bool>,
    decoding: Duration,
}

fn found(bench: &Bench, reader: Reader, out: &PathBuf, log: &Path) -> Result<Found> {
    let found = match reader {
        Reader::Nobody => return Ok(Found::default()),
        Reader::Tracer | Reader::Why => {
            let summary = Summary::read(log)?;
            Found {
                captured: u64::try_from(summary.number("/events/shown")?)?,
                lost: Some(u64::try_from(summary.number("/lost")?)?),
                exact: summary.is_exact().ok(),
                ..Found::default()
            }
        }
        Reader::PerfRecord => {
            let mut script = words(["perf", "script", "-i"]);
            script.push(out.into());
            let decoded = super::measure::run(bench, &Words::new(), Stdout::Counted, script)?;
            let mut report = Command::new("perf");
            let said = process::output(report.args(["report", "--stats", "-i"]).arg(out))?;
            Found {
                captured: decoded.lines,
                lost: Some(lost_samples(&said)),
                decoding: decoded.cpu,
                exact: None,
            }
        }
        Reader::PerfTrace => {
            let lines = lines_of(out, "skb:kfree_skb")?;
            Found { captured: lines, lost: lost_in(out)?, ..Found::default() }
        }
        Reader::Bpftrace => {
            Found { captured: lines_of(out, " ")?, lost: lost_in(log)?.or(lost_in(out)?), ..Found::default() }
        }
        // It watches one function that only TCP calls: what counts here is whether it runs at all.
        Reader::Tcpdrop => Found::default(),
    };
    ensure!(found.captured > 0, "it captured nothing");
    Ok(found)
}

/// `LOST_SAMPLES events: 12`, summed.
fn lost_samples(said: &str) -> u64 {
    let lines = said.lines().filter(|line| line.contains("LOST") && line.contains("events:"));
    lines
        .filter_map(|line| line.split("events:").nth(1)?.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

fn lines_of(file: &Path, word: &str) -> Result<u64> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter(|line| line.contains(word) && !line.contains("Lost")).count() as u64)
}

/// Numbers in lines that speak of lost events: `Lost 12 events`, `LOST 12 events!`.
fn lost_in(file: &Path) -> Result<Option<u64>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = String::from_utf8_lossy(&bytes).to_lowercase();
    let number = |line: &str| line.split("lost").nth(1)?.split_whitespace().next()?.parse::<u64>().ok();
    let numbers: Vec<u64> = text.lines().filter_map(number).collect();
    Ok((!numbers.is_empty()).then(|| numbers.iter().sum()))
}

fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    line.chars().take(200).collect()
}

fn denied(bench: &Bench, reader: &Words, log: &Path) -> Result<Flood> {
    flood(bench, bench.packets, None, reader, log)
}

/// The reader outside, the flood in a network namespace of its own.
fn closed(bench: &Bench, reader: &Words, log: &Path) -> Result<Flood> {
    let stderr = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut child = command(reader)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .with_context(|| format!("cannot run `{}`", process::shown(&command(reader))))?;
    let sent = super::node::wait_for(&go_file(bench), || match child.try_wait()? {
        Some(status) => Err(anyhow!("the reader ended ({status}): {}", last_words(log))),
        None => Ok(()),
    })
    .and_then(|_| send_closed(bench));
    thread::sleep(Duration::from_millis(500));
    let _ = signal("INT", child.id());
    child.wait()?;
    sent
}

fn send_closed(bench: &Bench) -> Result<Flood> {
    let script = "ip link set lo up && exec taskset -c 0 \"$@\"";
    let mut line = words(["unshare", "--net", "sh", "-c", script, "sh"]);
    line.push(bench.peers.flood.clone().into());
    line.extend(words([bench.packets.to_string(), PORT.to_owned()]));
    let said = process::output(&mut command(&line))?;
    let mut numbers = said.split_whitespace().map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(sent)), Some(Ok(elapsed))) => {
            Ok(Flood { sent, elapsed: Duration::from_nanos(elapsed), dropped: sent })
        }
        _ => Err(anyhow!("the flood said `{}`", said.trim())),
    }
}

fn table(section: &mut Section, field: &[Runs]) {
    let bare: Vec<f64> = field[0].runs.iter().map(|run| run.flood.rate()).collect();
    let mut rows = Vec::new();
    let mut per_second = Vec::new();
    for runs in field {
        let name = runs.reader.name().to_owned();
        if let Some(trouble) = &runs.trouble {
            rows.push(vec![name, format!("does not run here: {}", trouble.replace(['\n', '|'], " "))]);
            continue;
        }
        let of = |value: fn(&Run) -> f64| Samples::new(runs.runs.iter().map(value));
        let rates: Vec<f64> = runs.runs.iter().map(|run| run.flood.rate()).collect();
        let thousands = Samples::new(rates.iter().map(|rate| rate / 1e3));
        let kept = Samples::ratios(&rates, &bare);
        if runs.reader == Reader::Nobody {
            rows.push(vec![
                name,
                "–".into(),
                "–".into(),
                "–".into(),
                "–".into(),
                "–".into(),
                shown(thousands.as_ref()),
                "1".into(),
            ]);
            continue;
        }
        let speed = of(|run| run.captured as f64 / run.cpu / 1e3);
        let lost = Samples::new(runs.runs.iter().filter_map(|run| run.lost).map(|lost| lost as f64));
        per_second.push((
            runs.reader,
            speed.clone(),
            kept.clone(),
            runs.runs.iter().all(|run| run.exact != Some(false)),
        ));
        rows.push(vec![
            name,
            shown(of(|run| 100.0 * run.captured as f64 / run.flood.dropped as f64).as_ref()),
            shown(lost.as_ref()),
            shown(of(|run| run.cpu).as_ref()),
            shown(speed.as_ref()),
            shown(of(|run| run.resident_mib).as_ref()),
            shown(thousands.as_ref()),
            shown(kept.as_ref()),
        ]);
    }
    let titles = [
        "reader",
        "captured, % of the flood",
        "lost, as it tells",
        "reader's CPU, s",
        "captured and decoded per CPU second, thousands",
        "peak of resident memory, MiB",
        "sender, thousands/s",
        "sender's rate kept",
    ];
    section.table(&titles, &rows);
    verdicts(section, &per_second);
}

type Ranked = (Reader, Option<Samples>, Option<Samples>, bool);

fn verdicts(section: &mut Section, field: &[Ranked]) {
    let Some((_, speed, kept, exact)) = field.iter().find(|(reader, ..)| *reader == Reader::Tracer) else {
        return;
    };
    let median = |samples: &Option<Samples>| samples.as_ref().map_or(0.0, Samples::median);
    let others = field.iter().filter(|(reader, ..)| !reader.is_tracer()).map(|(_, speed, ..)| median(speed));
    let best = others.fold(0.0, f64::max);
    section.table(
        &["tracer", "measured", "target", ""],
        &[
            vec![
                "captured and decoded per CPU second, times the best of the others".into(),
                format!("{:.1}", median(speed) / best),
                "> 1".into(),
                verdict(median(speed) > best),
            ],
            vec![
                "the sender keeps of its rate".into(),
                shown(kept.as_ref()),
                format!("≥ {KEPT}"),
                verdict(median(kept) >= KEPT),
            ],
            vec![
                "sent = shown + filtered + folded + suppressed + lost".into(),
                (if *exact { "exactly, in each round" } else { "no" }).into(),
                "exactly".into(),
                verdict(*exact),
            ],
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_perf_lost_is_summed() {
        let said = "Aggregated stats:\n  TOTAL events:  100\n  LOST events:  2 ( 2.0%)\n  LOST_SAMPLES events: 5 (5%)\n";
        assert_eq!(lost_samples(said), 7);
    }
}
