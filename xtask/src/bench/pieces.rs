//! The pieces between ring and output, in process: `cargo bench -p tracer` (divan), read back.

use anyhow::{Context, Result, bail};

use super::Bench;
use super::report::{Section, verdict};
use crate::process;
use crate::workspace::cargo;

/// Events a second and core through the whole chain, as JSON lines.
const GOAL: f64 = 1e6;
/// The benchmark of the whole chain.
const WHOLE: &str = "whole_json";

/// One benchmark's line.
#[derive(Debug, PartialEq)]
struct Piece {
    name: String,
    fastest_ns: f64,
    median_ns: f64,
    slowest_ns: f64,
}

pub fn run(_: &Bench) -> Result<Section> {
    let mut section = Section::new("The pieces between ring and output");
    let mut command = cargo();
    command.args(["bench", "--locked", "--quiet", "--package", "tracer", "--bench", "pieces"]);
    let said = process::output(&mut command)?;
    let pieces: Vec<Piece> = said.lines().filter_map(piece).collect();
    if pieces.is_empty() {
        bail!("`{}` said nothing that is understood:\n{said}", process::shown(&command));
    }
    section.text(
        "One thread, in process, warm; a drop by policy between two pods of the node with six labels each, as a record of the \
         `free` tap with Cilium's note. `whole_…` is everything from the record to the output's buffer: decode, join, name, \
         filter, noise, print.",
    );
    let row = |piece: &Piece| {
        vec![
            format!("`{}`", piece.name),
            format!("{:.0} / {:.0} / {:.0}", piece.fastest_ns, piece.median_ns, piece.slowest_ns),
            format!("{:.2}", 1e3 / piece.median_ns),
        ]
    };
    let rows: Vec<_> = pieces.iter().map(row).collect();
    section.table(&["piece", "ns an event", "million a second and core"], &rows);
    let whole = pieces.iter().find(|piece| piece.name == WHOLE).with_context(|| format!("no `{WHOLE}`"))?;
    let speed = 1e9 / whole.median_ns;
    section.table(
        &["", "measured", "target", ""],
        &[vec![
            "record to JSON line, events a second and core".into(),
            format!("{speed:.0}"),
            format!("≥ {GOAL:.0}"),
            verdict(speed >= GOAL),
        ]],
    );
    Ok(section)
}

/// `├─ name   1.2 µs │ 3 µs │ 1.3 µs │ …`: fastest, slowest, median.
fn piece(line: &str) -> Option<Piece> {
    let line = line.trim_start_matches(['├', '╰', '─', '│', ' ']);
    let mut cells = line.split('│').map(str::trim);
    let mut first = cells.next()?.split_whitespace();
    let name = first.next()?.to_owned();
    let fastest_ns = nanoseconds(&first.collect::<Vec<_>>().join(" "))?;
    let slowest_ns = nanoseconds(cells.next()?)?;
    let median_ns = nanoseconds(cells.next()?)?;
    Some(Piece { name, fastest_ns, median_ns, slowest_ns })
}

fn nanoseconds(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once(' ')?;
    let factor = match unit.trim() {
        "ns" => 1.0,
        "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_divan_is_read() {
        let line = "├─ whole_json     1.025 µs      │ 3 µs          │ 1.1 µs        │ 1.2 µs        │ 100     │ 100000";
        let piece = piece(line).unwrap();
        assert_eq!((&*piece.name, piece.fastest_ns, piece.median_ns), ("whole_json", 1025.0, 1100.0));
        assert_eq!(super::piece("Timer precision: 20 ns"), None);
    }
}
