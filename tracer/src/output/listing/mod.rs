//! Listings of map entries: one row after the other, in the format that the user chose, written as they come.
//! Nothing is kept but the first rows of a text table (to measure its columns) and what `--sort` has to sort.
//!
//! How a command lists something: describe the columns once (`const COLUMNS: &[Column]`), implement [`Row`]
//! for a small struct that borrows what it shows, and in the visitor of the walk `return listing.row(&row)`;
//! [`Listing::finish`] at the end. A row that cannot be decoded goes to [`Listing::raw`] instead. Texts that
//! somebody else wrote (pod names, labels) must go through [`value::foreign`].

mod columns;
pub mod progress;
mod sort;
pub mod value;
mod writer;
mod yaml;

use std::num::NonZeroUsize;

pub use super::json::Object;
pub use writer::Listing;

/// One column of the text formats and of CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name in CSV and for `--sort`, snake_case; the table's heading is the same in capitals, with spaces.
    pub name: &'static str,
    pub align: Align,
    /// Only in `-o wide` and CSV.
    pub wide: bool,
    /// The table's heading where it is another one.
    heading: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

impl Column {
    pub const fn text(name: &'static str) -> Self {
        Self { name, align: Align::Left, wide: false, heading: None }
    }

    pub const fn number(name: &'static str) -> Self {
        Self { name, align: Align::Right, wide: false, heading: None }
    }

    /// The same, but only in `-o wide` and CSV.
    pub const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }

    /// The same with a heading of somebody else's tool.
    pub const fn headed(self, heading: &'static str) -> Self {
        Self { heading: Some(heading), ..self }
    }

    /// Appends the heading of the table.
    fn write_heading(&self, out: &mut Vec<u8>) {
        match self.heading {
            Some(heading) => out.extend_from_slice(heading.as_bytes()),
            None => {
                let spoken = self.name.bytes().map(|b| if b == b'_' { b' ' } else { b });
                out.extend(spoken.map(|b| b.to_ascii_uppercase()));
            }
        }
    }
}

/// One entry, ready to be shown. Nothing here may allocate: it runs once per entry of a table of millions.
pub trait Row {
    /// Appends the text of one column, counted from 0; nothing if the column does not apply.
    fn text(&self, column: usize, out: &mut Vec<u8>);

    /// All members for JSON and YAML: snake_case, numbers as plain numbers.
    fn json(&self, members: &mut Object<'_>);

    /// The line that cilium-dbg prints for the same entry, without its end. Rows without one show their
    /// columns.
    fn vendor(&self, out: &mut Vec<u8>) -> bool {
        let _ = out;
        false
    }
}

/// An entry whose meaning is not known.
#[derive(Clone, Copy, Debug)]
pub struct RawEntry<'a> {
    pub map: &'a str,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListFormat {
    #[default]
    Table,
    /// [`Self::Table`] with all columns.
    Wide,
    /// One array, or one object where [`Listing::named`] says so.
    Json,
    /// One object per line.
    Jsonl,
    Yaml,
    /// RFC 4180 with a header line, all columns.
    Csv,
    /// The lines of cilium-dbg.
    Cilium,
}

impl ListFormat {
    /// Accepted spellings.
    pub const NAMES: [&'static str; 7] = ["table", "wide", "json", "jsonl", "yaml", "csv", "cilium"];

    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "table" => Self::Table,
            "wide" => Self::Wide,
            "json" => Self::Json,
            "jsonl" => Self::Jsonl,
            "yaml" => Self::Yaml,
            "csv" => Self::Csv,
            "cilium" => Self::Cilium,
            _ => return None,
        })
    }

    /// For people: footers, notes and colours make sense.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Table | Self::Wide | Self::Cilium)
    }
}

/// What every listing can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListingOptions {
    pub format: ListFormat,
    pub no_headers: bool,
    /// Numbers instead of names, where a row has both.
    pub numeric: bool,
    /// Rows are kept until the end then: all of them, or with a limit that many.
    pub sort: Option<Sort>,
    pub limit: Option<NonZeroUsize>,
    /// Show on stderr how far a long listing got.
    pub progress: bool,
}

/// `--sort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// Index into the columns.
    pub column: usize,
    pub descending: bool,
}

impl Sort {
    /// `name`, or `-name` for the other direction. `None`: there is no such column.
    pub fn by_name(text: &str, columns: &[Column]) -> Option<Self> {
        let (descending, name) = match text.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, text),
        };
        let column = columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))?;
        Some(Self { column, descending })
    }
}

#[cfg(test)]
mod tests;
