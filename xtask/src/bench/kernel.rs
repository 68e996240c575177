//! What the program at `kfree_skb` costs: the kernel's own statistics of it (`run_time_ns / run_cnt`) during a flood,
//! when its records are sent and when a filter in the kernel rejects them; beside it, under the same statistics, programs
//! of bpftrace: one that does nothing, which is what the statistics themselves cost, and one that sends.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::Bench;
use super::machine::reader_cpu;
use super::measure::{Words, words};
use super::node::{ATTACH, flood, go_file, ready_after};
use super::report::{Section, verdict};
use super::stats::{Samples, shown};

const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Switches the kernel's statistics of programs on, and back when dropped.
struct Statistics(String);

impl Statistics {
    fn on() -> Result<Self> {
        let before = fs::read_to_string(STATISTICS).with_context(|| format!("cannot read {STATISTICS}"))?;
        fs::write(STATISTICS, "1").with_context(|| format!("cannot write {STATISTICS}"))?;
        Ok(Self(before))
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        let _ = fs::write(STATISTICS, self.0.trim());
    }
}

/// How a program fared: its line of `/proc/PID/fdinfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Program {
    runs: u64,
    time_ns: u64,
    instructions: u64,
}

impl Program {
    fn nanoseconds(self) -> f64 {
        self.time_ns as f64 / self.runs as f64
    }

    /// The busiest program among the descriptors of a process.
    fn busiest(text: &str) -> Option<Self> {
        let number = |part: &str, key: &str| -> Option<u64> {
            let line = part.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim_start_matches(':').trim().parse().ok()
        };
        let program = |part: &str| {
            Some(Self {
                runs: number(part, "run_cnt")?,
                time_ns: number(part, "run_time_ns")?,
                instructions: number(part, "verified_insns").unwrap_or(0),
            })
        };
        text.split("pos:").filter_map(program).filter(|one| one.runs > 0).max_by_key(|one| one.runs)
    }
}

/// Whose program it is.
enum Owner {
    /// tracer's, with these flags.
    Tracer(&'static [&'static str]),
    /// bpftrace's, made of this line.
    Bpftrace(&'static str),
}

/// One program.
struct Case {
    what: &'static str,
    owner: Owner,
    target: Option<f64>,
    costs: Vec<f64>,
    wake_ups: Vec<f64>,
    instructions: u64,
    /// Why it could not take part.
    trouble: Option<String>,
}

impl Case {
    fn ours(what: &'static str, target: f64, flags: &'static [&'static str]) -> Self {
        Self::new(what, Owner::Tracer(flags), Some(target))
    }

    fn peer(what: &'static str, program: &'static str) -> Self {
        Self::new(what, Owner::Bpftrace(program), None)
    }

    fn new(what: &'static str, owner: Owner, target: Option<f64>) -> Self {
        Self { what, owner, target, costs: vec![], wake_ups: vec![], instructions: 0, trouble: None }
    }

    fn median(&self) -> Option<f64> {
        Some(Samples::new(self.costs.iter().copied())?.median())
    }

    fn row(&self) -> Vec<String> {
        let cost = Samples::new(self.costs.iter().copied());
        let mut row = vec![self.what.to_owned()];
        match &self.trouble {
            Some(trouble) => row.push(format!("does not run here: {trouble}")),
            None => row.push(shown(cost.as_ref())),
        }
        let met = |target| verdict(cost.as_ref().is_some_and(|cost| cost.median() <= target));
        row.extend([
            self.target.map(|target| format!("≤ {target}")).unwrap_or_default(),
            self.target.map(met).unwrap_or_default(),
            self.instructions.to_string(),
            shown(Samples::new(self.wake_ups.iter().copied()).as_ref()),
        ]);
        row
    }
}

pub fn run(bench: &Bench) -> Result<Section> {
    let mut section = Section::new("What a drop costs the kernel");
    let _statistics = Statistics::on()?;
    let mut cases = [
        Case::ours("sent", 200.0, &[]),
        Case::ours(
            "rejected by what Cilium said (`--drop-reason-desc 150`)",
            80.0,
            &["--drop-reason-desc", "150"],
        ),
        Case::ours("rejected by an address (`--ip 198.18.0.1`)", 80.0, &["--ip", "198.18.0.1"]),
        Case::ours("rejected by a port (`--to-port 1`)", 80.0, &["--to-port", "1"]),
        Case::peer("bpftrace: nothing but one test", "tracepoint:skb:kfree_skb / args->protocol == 1 / { }"),
        Case::peer(
            "bpftrace: place, protocol and reason sent",
            "tracepoint:skb:kfree_skb { printf(\"%llx %d %d\\n\", args->location, args->protocol, args->reason); }",
        ),
    ];
    for _ in 0..bench.rounds {
        for case in cases.iter_mut().filter(|case| case.trouble.is_none()) {
            match (one(bench, case), &case.owner) {
                (Err(error), Owner::Bpftrace(_)) => case.trouble = Some(format!("{error:#}")),
                (result, _) => result?,
            }
        }
    }
    section.text(format!(
        "`run_time_ns / run_cnt` of the program at `kfree_skb` in a flood of {} packets that policy denies, one sender. What the \
         statistics cost is included everywhere, and is nearly all of what bpftrace's program costs that does nothing. Targets: \
         200 ns sent, 80 ns rejected.",
        bench.packets
    ));
    let titles = [
        "program",
        "cost, ns",
        "target",
        "",
        "instructions verified",
        "wake-ups of the reader a second (≤ 200)",
    ];
    section.table(&titles, &cases.iter().map(Case::row).collect::<Vec<_>>());
    let [sent, reason, address, _, nothing, _] = cases.each_ref().map(Case::median);
    if let (Some(sent), Some(reason), Some(address), Some(nothing)) = (sent, reason, address, nothing) {
        section.text(format!(
            "Where it goes, by the medians: the statistics take {nothing:.0} ns of each. To find out that a packet was dropped here, \
             by whom and why takes {:.0} ns more. To read the first 64 bytes of the packet, find its headers and compare addresses \
             takes another {:.0} ns. To describe the packet and its \
             device, copy both and put the record into the ring takes {:.0} ns more than to reject it by the reason.",
            reason - nothing,
            address - reason,
            sent - reason,
        ));
    }
    Ok(section)
}

fn one(bench: &Bench, case: &mut Case) -> Result<()> {
    let (log, facts) = (bench.scratch.join("kernel.log"), bench.scratch.join("fdinfo"));
    let _ = fs::remove_file(&facts);
    let _ = fs::remove_file(go_file(bench));
    let flood = flood(bench, bench.packets, None, &watched(bench, &case.owner, &facts), &log)?;
    let text = fs::read_to_string(&facts).with_context(|| format!("cannot read {}", facts.display()))?;
    let program =
        Program::busiest(&text).with_context(|| format!("no program statistics in {}", facts.display()))?;
    ensure!(program.runs >= flood.sent, "{} runs for {} packets", program.runs, flood.sent);
    case.costs.push(program.nanoseconds());
    case.instructions = program.instructions;
    let switches = |line: &str| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok();
    let woken: u64 = text.lines().filter_map(switches).sum();
    case.wake_ups.push(woken as f64 / flood.elapsed.as_secs_f64());
    Ok(())
}

/// The reader, whose descriptors and threads are described in `facts` before it is told to end.
fn watched(bench: &Bench, owner: &Owner, facts: &Path) -> Words {
    let script = "facts=$1; shift; \"$@\" & t=$!; \
                  trap 'cat /proc/$t/fdinfo/* /proc/$t/task/*/status >\"$facts\"; kill -TERM $t' INT; \
                  while kill -0 $t 2>/dev/null; do wait $t; done";
    let mut line = words(["taskset", "-c", &reader_cpu(), "sh", "-c", script, "sh"]);
    line.push(facts.into());
    match owner {
        Owner::Tracer(flags) => {
            line.push(bench.tracer.clone().into());
            line.extend(words(["drops", "-o", "json", "--ready-file"]));
            line.push(go_file(bench).into());
            line.extend(words(*flags));
        }
        Owner::Bpftrace(program) => {
            line.extend(ready_after(ATTACH, &go_file(bench)));
            line.extend(words(["bpftrace", "-e", program]));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_program_counts() {
        let text = "pos:\t0\nflags:\t02\nmap_type:\t27\npos:\t0\nprog_type:\t26\nrun_time_ns:\t900\nrun_cnt:\t9\n\
                    verified_insns:\t400\npos:\t0\nprog_type:\t26\nrun_time_ns:\t0\nrun_cnt:\t0\nverified_insns:\t7\n";
        let program = Program::busiest(text).unwrap();
        assert_eq!((program.nanoseconds(), program.instructions), (100.0, 400));
        assert!(Program::busiest("pos:\t0\n").is_none());
    }
}
