//! A hundred readers of the Hubble service on a steady stream of drops: every flow is delivered or reported as missed,
//! and memory stays bounded.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Bench;
use super::measure::words;
use super::node::{go_file, paced_flood};
use super::report::{Section, verdict};

const READERS: u64 = 100;
/// Drops a second.
const RATE: u64 = 50_000;
const SECONDS: u64 = 10;
/// The ring, the taps' rings and what is on its way to a hundred readers.
const MAX_RESIDENT_MIB: u64 = 96;

pub fn run(bench: &Bench) -> Result<Section> {
    let (log, out) = (bench.scratch.join("serve.log"), bench.scratch.join("serve.json"));
    let socket = bench.scratch.join("hubble.sock");
    for file in [&out, &socket, &go_file(bench)] {
        let _ = fs::remove_file(file);
    }
    let mut reader = words([bench.node.with_file_name("flow-readers").into_os_string()]);
    reader.extend(words(["--readers".to_owned(), READERS.to_string()]));
    reader.extend(words(["--socket".as_ref(), socket.as_os_str(), "--out".as_ref(), out.as_os_str()]));
    reader.extend(words(["--ready-file".as_ref(), go_file(bench).as_os_str(), "--".as_ref()]));
    reader.extend(words([
        bench.tracer.as_os_str(),
        "serve".as_ref(),
        "--socket".as_ref(),
        socket.as_os_str(),
    ]));
    let flood = paced_flood(bench, RATE * SECONDS, RATE, &reader, &log)?;
    let text = fs::read_to_string(&out).with_context(|| format!("no figures; see {}", log.display()))?;
    let figures: Value = serde_json::from_str(&text).with_context(|| format!("`{text}`"))?;
    let number = |name: &str| figures[name].as_u64().with_context(|| format!("no `{name}` in {text}"));
    let (seen, flows, lost) = (number("seen")?, number("flows")?, number("lost")?);
    let seconds = flood.elapsed.as_secs_f64();
    let exact = flows + lost == seen * READERS && number("readers")? == READERS;
    let resident = number("peak_kib")? / 1024;
    let mut section = Section::new("Serving flows");
    section.text(format!(
        "{READERS} readers follow `tracer serve` on one machine with the flood and with each other: {} packets that policy \
         denies, {:.0} a second. The server saw {seen} of them. All readers together got {:.0} flows a second ({:.1} % of \
         what they asked for); the rest was reported to them as lost.",
        flood.sent,
        flood.rate(),
        flows as f64 / seconds,
        flows as f64 * 100.0 / (flows + lost).max(1) as f64,
    ));
    section.table(
        &["", "measured", "target", ""],
        &[
            vec![
                "each reader: flows + reported as lost = seen".into(),
                (if exact { "exactly" } else { "no" }).into(),
                "exactly".into(),
                verdict(exact),
            ],
            vec![
                "resident memory of the server at its peak, MiB".into(),
                resident.to_string(),
                format!("≤ {MAX_RESIDENT_MIB}"),
                verdict(resident <= MAX_RESIDENT_MIB),
            ],
            vec![
                "its own memory with idle readers and after the flood, MiB".into(),
                format!("{} and {}", number("idle_kib")? / 1024, number("after_kib")? / 1024),
                String::new(),
                String::new(),
            ],
        ],
    );
    Ok(section)
}
