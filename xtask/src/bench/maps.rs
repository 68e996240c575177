//! Reading a connection tracking map of 524,288 entries: `ct count` and `ct list` beside two bare loops in C and
//! bpftool; and how much memory they take on that map and on one of 4,194,304.

use anyhow::{Result, ensure};

use super::measure::{Cost, Stdout, Words, words};
use super::node::Node;
use super::report::{Section, verdict};
use super::stats::{Samples, shown};
use super::{Bench, measure};

const ENTRIES: u64 = 524_288;
/// For the memory alone.
const MANY_ENTRIES: u64 = 4_194_304;
const PIN: &str = "/sys/fs/bpf/tc/globals/cilium_ct4_global";

/// One program that reads the map.
struct Contestant {
    name: &'static str,
    line: Words,
    runs: Vec<Cost>,
}

impl Contestant {
    fn new(name: &'static str, line: Words) -> Self {
        Self { name, line, runs: Vec::new() }
    }

    fn milliseconds(&self) -> Vec<f64> {
        self.runs.iter().map(|cost| cost.wall.as_secs_f64() * 1e3).collect()
    }

    fn resident_mib(&self) -> f64 {
        self.runs.iter().map(Cost::resident_mib).fold(0.0, f64::max)
    }
}

fn read_all(bench: &Bench, entries: u64, contestants: &mut [Contestant], rounds: usize) -> Result<()> {
    let node = Node::start(bench, &["--ct-entries", &entries.to_string()])?;
    let prefix = node.prefix();
    for _ in 0..rounds {
        for contestant in contestants.iter_mut() {
            let cost = measure::run(bench, &prefix, Stdout::Counted, contestant.line.clone())?;
            contestant.runs.push(cost);
        }
    }
    Ok(())
}

pub fn run(bench: &Bench) -> Result<Section> {
    let mut section = Section::new("Reading a connection tracking map");
    let mut field = [
        Contestant::new("batch loop in C", words([bench.peers.batch.as_os_str(), PIN.as_ref()])),
        Contestant::new("`tracer ct count`", tracer(bench, &["ct", "count", "-o", "json"])),
        Contestant::new(
            "next-key and look-up loop in C",
            words([bench.peers.next_key.as_os_str(), PIN.as_ref()]),
        ),
        Contestant::new("`tracer ct list -o jsonl`", tracer(bench, &["ct", "list", "-o", "jsonl"])),
        Contestant::new("`bpftool -j map dump`", words(["bpftool", "-j", "map", "dump", "pinned", PIN])),
    ];
    read_all(bench, ENTRIES, &mut field, bench.rounds)?;
    let [batch, count, next_key, list, bpftool] = &field;
    for cost in &list.runs {
        ensure!(cost.lines >= ENTRIES, "{} rows listed of a map with {ENTRIES}", cost.lines);
    }
    section.text(format!(
        "An LRU hash map with {ENTRIES} entries of Cilium's IPv4 connection tracking (14-byte keys, 56-byte values). Each \
         program is started anew and its output read through a pipe; the five run one after the other, {} rounds.",
        bench.rounds
    ));
    let row = |one: &Contestant| {
        let first = Samples::new(one.runs.iter().filter_map(|c| c.first).map(|t| t.as_secs_f64() * 1e3));
        let time = Samples::new(one.milliseconds());
        vec![
            one.name.to_owned(),
            shown(time.as_ref()),
            shown(first.as_ref()),
            format!("{:.1}", one.resident_mib()),
        ]
    };
    let rows: Vec<_> = field.iter().map(row).collect();
    section.table(&["program", "time, ms", "first byte, ms", "resident memory, MiB"], &rows);

    let mut many = [
        Contestant::new("`tracer ct count`", tracer(bench, &["ct", "count", "-o", "json"])),
        Contestant::new("`tracer ct list -o jsonl`", tracer(bench, &["ct", "list", "-o", "jsonl"])),
    ];
    read_all(bench, MANY_ENTRIES, &mut many, 1)?;
    let first = Samples::new(list.runs.iter().filter_map(|c| c.first).map(|t| t.as_secs_f64() * 1e3));
    let first = first.map_or(f64::INFINITY, |first| first.median());
    let mut rows = vec![
        slower(count, batch, 1.2),
        faster(count, next_key, 3.0),
        faster(count, bpftool, 20.0),
        faster(list, bpftool, 4.0),
        vec![
            "list: first row, ms".to_owned(),
            format!("{first:.1}"),
            "≤ 50".to_owned(),
            verdict(first <= 50.0),
        ],
    ];
    for (one, limit) in [(count, 16.0), (&many[0], 16.0), (list, 32.0), (&many[1], 32.0)] {
        let entries = if one.runs.len() == 1 && !std::ptr::eq(one, count) { MANY_ENTRIES } else { ENTRIES };
        let resident = one.resident_mib();
        rows.push(vec![
            format!("{}: resident at {entries} entries, MiB", one.name),
            format!("{resident:.1}"),
            format!("≤ {limit}"),
            verdict(resident <= limit),
        ]);
    }
    section.table(&["", "measured", "target", ""], &rows);
    Ok(section)
}

fn tracer(bench: &Bench, arguments: &[&str]) -> Words {
    let mut line = words([&bench.tracer]);
    line.extend(words(arguments));
    line
}

/// `ours` may take at most `limit` times what `theirs` takes.
fn slower(ours: &Contestant, theirs: &Contestant, limit: f64) -> Vec<String> {
    let ratio = Samples::ratios(&ours.milliseconds(), &theirs.milliseconds());
    let met = ratio.as_ref().is_some_and(|ratio| ratio.median() <= limit);
    vec![
        format!("{} : {}, times", ours.name, theirs.name),
        shown(ratio.as_ref()),
        format!("≤ {limit}"),
        verdict(met),
    ]
}

/// `theirs` takes at least `limit` times what `ours` takes.
fn faster(ours: &Contestant, theirs: &Contestant, limit: f64) -> Vec<String> {
    let ratio = Samples::ratios(&theirs.milliseconds(), &ours.milliseconds());
    let met = ratio.as_ref().is_some_and(|ratio| ratio.median() >= limit);
    vec![
        format!("{} : {}, times", theirs.name, ours.name),
        shown(ratio.as_ref()),
        format!("≥ {limit}"),
        verdict(met),
    ]
}
