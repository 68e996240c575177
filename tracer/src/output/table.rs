//! `-o table`: Hubble's columns. Hubble aligns them when all events are known; a stream cannot wait, so the
//! columns start with usual widths and grow when something longer comes.

use super::lost::{self, Lost};
use super::text::{Side, Text, write_type};
use crate::model::flow::Flow;

/// Blanks between columns.
const GAP: usize = 3;
const HEADERS: [&str; COLUMNS] = ["TIMESTAMP", "NODE", "SOURCE", "DESTINATION", "TYPE", "VERDICT", "SUMMARY"];
const COLUMNS: usize = 7;
const NODE: usize = 1;
/// Usual lengths; the last column is not padded.
const WIDTHS: [usize; COLUMNS] = [19, 4, 40, 40, 20, 7, 0];

pub(super) struct Table {
    widths: [usize; COLUMNS],
    cells: [Vec<u8>; COLUMNS],
    header_printed: bool,
}

impl Default for Table {
    fn default() -> Self {
        Self { widths: WIDTHS, cells: Default::default(), header_printed: false }
    }
}

impl Table {
    pub fn flow(&mut self, out: &mut Vec<u8>, text: &mut Text, flow: &Flow) {
        let [time, node, source, destination, kind, verdict, summary] = self.cleared();
        text.clock.write(time, flow.time);
        node.extend_from_slice(text.node_name.as_deref().unwrap_or_default());
        text.host(source, flow, Side::Source);
        text.host(destination, flow, Side::Destination);
        write_type(kind, flow);
        text.verdict(verdict, flow);
        text.summary(summary, flow);
        self.print(out, text.node_name.is_some());
    }

    pub fn lost(&mut self, out: &mut Vec<u8>, text: &Text, lost: &Lost) {
        let [_, _, source, _, kind, _, summary] = self.cleared();
        source.extend_from_slice(lost.source.name().as_bytes());
        kind.extend_from_slice(b"EVENTS LOST");
        lost::write_summary(summary, lost);
        self.print(out, text.node_name.is_some());
    }

    fn cleared(&mut self) -> &mut [Vec<u8>; COLUMNS] {
        self.cells.iter_mut().for_each(Vec::clear);
        &mut self.cells
    }

    fn print(&mut self, out: &mut Vec<u8>, with_node: bool) {
        for (width, cell) in self.widths.iter_mut().zip(&self.cells) {
            *width = (*width).max(length(cell));
        }
        if !self.header_printed {
            self.header_printed = true;
            print_row(out, &self.widths, &HEADERS.map(str::as_bytes), with_node);
        }
        print_row(out, &self.widths, &self.cells, with_node);
    }
}

fn print_row(out: &mut Vec<u8>, widths: &[usize; COLUMNS], cells: &[impl AsRef<[u8]>], with_node: bool) {
    let columns = widths.iter().zip(cells).enumerate().filter(|(at, _)| with_node || *at != NODE);
    for (at, (width, cell)) in columns {
        out.extend_from_slice(cell.as_ref());
        if at + 1 < COLUMNS {
            let padding = width.saturating_sub(length(cell.as_ref())) + GAP;
            out.resize(out.len() + padding, b' ');
        }
    }
    out.push(b'\n');
}

/// Characters of UTF-8 text.
fn length(text: &[u8]) -> usize {
    text.iter().filter(|b| **b & 0xc0 != 0x80).count()
}
