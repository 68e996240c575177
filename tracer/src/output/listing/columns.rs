//! Rows as aligned text. The first rows are held back and measured; once they are out, a column only grows:
//! a longer text shifts its own line and widens the lines that follow.

use super::{Align, Column};

/// Rows that are measured before the first is printed.
const HELD_ROWS: usize = 200;
/// Ends a cell of a row in the making. Cells are made of escaped text, which never has it.
pub(super) const CELL_END: u8 = 0;
/// Between two columns of ours, and of cilium-dbg.
pub(super) const GAP: usize = 2;
pub(super) const VENDOR_GAP: usize = 3;

#[derive(Debug)]
pub(super) struct Columns {
    shown: Vec<Shown>,
    gap: usize,
    /// Whole rows, cells ended by [`CELL_END`]; `None` once the widths are set.
    held: Option<Held>,
}

#[derive(Debug)]
struct Shown {
    column: &'static Column,
    width: usize,
}

#[derive(Debug, Default)]
struct Held {
    rows: usize,
    cells: Vec<u8>,
}

impl Columns {
    pub fn new(columns: impl Iterator<Item = &'static Column>, headings: bool, gap: usize) -> Self {
        let shown: Vec<Shown> = columns.map(|column| Shown { column, width: 0 }).collect();
        let mut this = Self { shown, gap, held: Some(Held::default()) };
        if headings {
            this.hold_headings();
        }
        this
    }

    fn hold_headings(&mut self) {
        let Some(held) = &mut self.held else { return };
        for shown in &self.shown {
            shown.column.write_heading(&mut held.cells);
            held.cells.push(CELL_END);
        }
    }

    /// Takes a row; appends it to `out`, unless it is held back.
    pub fn push(&mut self, out: &mut Vec<u8>, row: &[u8]) {
        let Some(held) = &mut self.held else { return self.print(out, row) };
        held.rows += 1;
        held.cells.extend_from_slice(row);
        if held.rows >= HELD_ROWS {
            self.release(out);
        }
    }

    /// Whether rows wait for [`Self::release`].
    pub fn is_holding(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.rows > 0)
    }

    /// Sets the widths by what is held back, and prints that.
    pub fn release(&mut self, out: &mut Vec<u8>) {
        let Some(held) = self.held.take() else { return };
        let mut rest = held.cells.as_slice();
        while let Some(end) = nth_end(rest, self.shown.len()) {
            for (shown, cell) in self.shown.iter_mut().zip(cells(&rest[..end])) {
                shown.width = shown.width.max(width(cell));
            }
            rest = &rest[end..];
        }
        let mut rest = held.cells.as_slice();
        while let Some(end) = nth_end(rest, self.shown.len()) {
            self.print(out, &rest[..end]);
            rest = &rest[end..];
        }
    }

    fn print(&mut self, out: &mut Vec<u8>, row: &[u8]) {
        let start = out.len();
        for (shown, cell) in self.shown.iter_mut().zip(cells(row)) {
            let used = width(cell);
            shown.width = shown.width.max(used);
            let padding = shown.width - used;
            match shown.column.align {
                Align::Left => {
                    out.extend_from_slice(cell);
                    spaces(out, padding + self.gap);
                }
                Align::Right => {
                    spaces(out, padding);
                    out.extend_from_slice(cell);
                    spaces(out, self.gap);
                }
            }
        }
        while out.len() > start && out.last() == Some(&b' ') {
            out.pop();
        }
        out.push(b'\n');
    }
}

fn spaces(out: &mut Vec<u8>, count: usize) {
    out.resize(out.len() + count, b' ');
}

fn cells(row: &[u8]) -> impl Iterator<Item = &[u8]> {
    row.split(|b| *b == CELL_END)
}

/// Where the `n`th cell ends; `None` at the end of all.
fn nth_end(text: &[u8], n: usize) -> Option<usize> {
    let mut ends = text.iter().enumerate().filter(|(_, b)| **b == CELL_END).map(|(at, _)| at + 1);
    ends.nth(n.checked_sub(1)?)
}

/// Characters, as far as one character is one place on the screen.
fn width(cell: &[u8]) -> usize {
    cell.iter().filter(|b| **b & 0xc0 != 0x80).count()
}
