//! Rows on their way out: rendered, sorted if need be, framed as the format wants it, written in large pieces.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::columns::{CELL_END, Columns, GAP, VENDOR_GAP};
use super::sort::Sorter;
use super::{Column, ListFormat, ListingOptions, Object, RawEntry, Row, value, yaml};
use crate::output::is_closed_pipe;

/// Bytes after which the buffer goes out.
const FLUSH_AT: usize = 64 * 1024;
/// The longest time that a row waits for others before it goes out, as long as rows come.
const PATIENCE: Duration = Duration::from_millis(25);
/// The clock is looked at for each of the first rows, later for every 16th.
const CLOCK_ROWS: u64 = 256;

/// A listing in the making. After an error, or when the limit is reached, rows are refused with
/// [`ControlFlow::Break`]; [`Listing::finish`] tells the error.
pub struct Listing<W: Write> {
    sink: W,
    out: Vec<u8>,
    /// The row at hand, rendered.
    row: Vec<u8>,
    key: Vec<u8>,
    options: ListingOptions,
    columns: &'static [Column],
    table: Columns,
    sorter: Option<Sorter>,
    /// Key of the rows in the object around them.
    name: Option<&'static str>,
    rows: u64,
    flushed: Instant,
    error: Option<io::Error>,
}

impl<W: Write> Listing<W> {
    pub fn new(sink: W, options: &ListingOptions, columns: &'static [Column]) -> Self {
        let all = options.format != ListFormat::Table;
        let shown = columns.iter().filter(move |column| all || !column.wide);
        let gap = if options.format == ListFormat::Cilium { VENDOR_GAP } else { GAP };
        let limit = options.limit.map(usize::from);
        Self {
            sink,
            out: Vec::with_capacity(FLUSH_AT + 4096),
            row: Vec::with_capacity(1024),
            key: Vec::new(),
            table: Columns::new(shown, !options.no_headers, gap),
            sorter: options.sort.map(|sort| Sorter::new(sort.descending, limit)),
            options: options.clone(),
            columns,
            name: None,
            rows: 0,
            flushed: Instant::now(),
            error: None,
        }
    }

    /// In JSON and YAML the rows stand under `name` in one object, whose other members are those of
    /// [`Self::finish_with`].
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    pub fn format(&self) -> ListFormat {
        self.options.format
    }

    /// Shows a row.
    #[inline]
    pub fn row<R: Row + ?Sized>(&mut self, row: &R) -> ControlFlow<()> {
        if self.is_full() {
            return ControlFlow::Break(());
        }
        self.row.clear();
        self.render(row);
        match (&mut self.sorter, self.options.sort) {
            (Some(sorter), Some(sort)) => {
                self.key.clear();
                row.text(sort.column, &mut self.key);
                sorter.push(&self.key, &self.row);
                ControlFlow::Continue(())
            }
            _ => self.emit(),
        }
    }

    /// Shows an entry that nobody understands, as bytes. CSV has no place for it.
    pub fn raw(&mut self, entry: &RawEntry<'_>) -> ControlFlow<()> {
        if self.is_full() {
            return ControlFlow::Break(());
        }
        self.row.clear();
        match self.options.format {
            ListFormat::Csv => ControlFlow::Continue(()),
            ListFormat::Json | ListFormat::Jsonl | ListFormat::Yaml => {
                Object::write(&mut self.row, |members| raw_members(members, entry));
                self.emit()
            }
            ListFormat::Table | ListFormat::Wide | ListFormat::Cilium => {
                self.table.release(&mut self.out);
                raw_line(&mut self.out, entry);
                self.written()
            }
        }
    }

    fn is_full(&self) -> bool {
        let enough = |limit: std::num::NonZeroUsize| self.rows >= limit.get() as u64;
        self.error.is_some() || (self.sorter.is_none() && self.options.limit.is_some_and(enough))
    }

    #[inline]
    fn render<R: Row + ?Sized>(&mut self, row: &R) {
        let out = &mut self.row;
        match self.options.format {
            ListFormat::Json | ListFormat::Jsonl | ListFormat::Yaml => {
                Object::write(out, |members| row.json(members));
            }
            ListFormat::Csv => csv_line(out, self.columns.len(), |column, out| row.text(column, out)),
            ListFormat::Cilium if row.vendor(out) => out.push(b'\n'),
            ListFormat::Table | ListFormat::Wide | ListFormat::Cilium => {
                let all = self.options.format != ListFormat::Table;
                for (column, _) in self.columns.iter().enumerate().filter(|(_, c)| all || !c.wide) {
                    row.text(column, out);
                    out.push(CELL_END);
                }
            }
        }
    }

    /// Appends the rendered row to what goes out, in its frame.
    fn emit(&mut self) -> ControlFlow<()> {
        let first = self.rows == 0;
        if first {
            self.opening();
        }
        let out = &mut self.out;
        match self.options.format {
            ListFormat::Json => {
                out.extend_from_slice(if first { b"\n" } else { b",\n" });
                out.extend_from_slice(&self.row);
            }
            ListFormat::Jsonl => {
                out.extend_from_slice(&self.row);
                out.push(b'\n');
            }
            ListFormat::Yaml => yaml::item(out, &self.row, 0),
            ListFormat::Csv => out.extend_from_slice(&self.row),
            ListFormat::Cilium if self.row.last() == Some(&b'\n') => out.extend_from_slice(&self.row),
            ListFormat::Table | ListFormat::Wide | ListFormat::Cilium => self.table.push(out, &self.row),
        }
        self.written()
    }

    /// What stands before the first row.
    fn opening(&mut self) {
        let out = &mut self.out;
        match (self.options.format, self.name) {
            (ListFormat::Json, None) => out.push(b'['),
            (ListFormat::Json, Some(name)) => {
                out.extend_from_slice(b"{\"");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":[");
            }
            (ListFormat::Yaml, Some(name)) => {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b":\n");
            }
            (ListFormat::Csv, _) if !self.options.no_headers => {
                csv_line(out, self.columns.len(), |column, out| {
                    out.extend_from_slice(self.columns[column].name.as_bytes());
                });
            }
            _ => {}
        }
    }

    fn written(&mut self) -> ControlFlow<()> {
        self.rows += 1;
        if self.out.len() >= FLUSH_AT || self.is_time() {
            self.write_out();
        }
        if self.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn is_time(&mut self) -> bool {
        if self.rows > CLOCK_ROWS && !self.rows.is_multiple_of(16) {
            return false;
        }
        if self.flushed.elapsed() < PATIENCE {
            return false;
        }
        if self.table.is_holding() {
            self.table.release(&mut self.out);
        }
        true
    }

    fn write_out(&mut self) {
        if self.error.is_none() {
            self.error = self.sink.write_all(&self.out).err();
        }
        self.out.clear();
        self.flushed = Instant::now();
    }

    /// Ends the listing and says how many rows it had. A reader that went away is no error.
    pub fn finish(self) -> io::Result<u64> {
        self.finish_with("", |_| {})
    }

    /// Ends a listing that looked for one thing and has no row: nothing is printed, but for the empty list that
    /// readers of JSON and YAML wait for.
    pub fn finish_empty(self) -> io::Result<()> {
        match self.options.format {
            ListFormat::Json | ListFormat::Jsonl | ListFormat::Yaml => self.finish().map(drop),
            ListFormat::Table | ListFormat::Wide | ListFormat::Csv | ListFormat::Cilium => Ok(()),
        }
    }

    /// Ends the listing with `footer` (text formats; whole lines) or with more members of the object that
    /// [`Self::named`] made.
    pub fn finish_with(mut self, footer: &str, members: impl FnOnce(&mut Object<'_>)) -> io::Result<u64> {
        // Rows that waited for their order have not waited for their table to be measured.
        self.flushed = Instant::now();
        for row in self.sorter.take().into_iter().flat_map(Sorter::into_rows) {
            self.row.clear();
            self.row.extend_from_slice(&row);
            let _ = self.emit();
        }
        if self.rows == 0 {
            self.opening();
        }
        self.closing(footer, members);
        self.write_out();
        let flushed = self.sink.flush();
        match self.error.take().or(flushed.err()) {
            Some(error) if !is_closed_pipe(&error) => Err(error),
            _ => Ok(self.rows),
        }
    }

    fn closing(&mut self, footer: &str, members: impl FnOnce(&mut Object<'_>)) {
        self.row.clear();
        Object::write(&mut self.row, members);
        let rest = &self.row[1..self.row.len() - 1];
        let out = &mut self.out;
        match (self.options.format, self.name) {
            (ListFormat::Json, None) => out.extend_from_slice(if self.rows == 0 { b"]\n" } else { b"\n]\n" }),
            (ListFormat::Json, Some(_)) => {
                out.extend_from_slice(if self.rows == 0 { b"]" } else { b"\n]" });
                if !rest.is_empty() {
                    out.push(b',');
                    out.extend_from_slice(rest);
                }
                out.extend_from_slice(b"}\n");
            }
            (ListFormat::Yaml, name) => {
                if self.rows == 0 {
                    // An empty list stands on the line of its name.
                    if name.is_some() && out.last() == Some(&b'\n') {
                        out.pop();
                        out.push(b' ');
                    }
                    out.extend_from_slice(b"[]\n");
                }
                yaml::mapping(out, &self.row);
            }
            (ListFormat::Table | ListFormat::Wide, _) => {
                self.table.release(out);
                out.extend_from_slice(footer.as_bytes());
            }
            (ListFormat::Cilium, _) if self.table.is_holding() => self.table.release(out),
            _ => {}
        }
    }
}

/// Appends cells as RFC 4180 wants them, which is also safe for those that need no quotes.
fn csv_line(out: &mut Vec<u8>, columns: usize, cell: impl Fn(usize, &mut Vec<u8>)) {
    for column in 0..columns {
        if column > 0 {
            out.push(b',');
        }
        let start = out.len();
        cell(column, out);
        if out[start..].iter().any(|b| matches!(b, b',' | b'"' | b'\n' | b'\r')) {
            quote(out, start);
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn quote(out: &mut Vec<u8>, start: usize) {
    let text = out.split_off(start);
    out.push(b'"');
    for byte in text {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

fn raw_members(members: &mut Object<'_>, entry: &RawEntry<'_>) {
    members.always_string("map", entry.map);
    members.bytes("raw_key", entry.key);
    members.bytes("raw_value", entry.value);
}

fn raw_line(out: &mut Vec<u8>, entry: &RawEntry<'_>) {
    value::foreign(out, entry.map);
    out.extend_from_slice(b" raw key=");
    value::hex_bytes(out, entry.key);
    out.extend_from_slice(b" value=");
    value::hex_bytes(out, entry.value);
    out.push(b'\n');
}
