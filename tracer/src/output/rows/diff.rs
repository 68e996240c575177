//! Differences between two snapshots: how many, and each of them.

use super::text;
use crate::output::listing::{Column, Object, Row, value};

pub const SUMMARY_COLUMNS: &[Column] = &[
    Column::text("what"),
    Column::number("before"),
    Column::number("after"),
    Column::number("added"),
    Column::number("removed"),
    Column::number("changed"),
    Column::text("note"),
];

/// Differences of one map, or of another thing with entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SummaryRow {
    pub what: String,
    /// Entries; `None`: it was not there, or it could not be read.
    pub before: Option<u64>,
    pub after: Option<u64>,
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    /// What is different besides the entries.
    pub note: String,
}

impl Row for SummaryRow {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        let or_none = |out: &mut Vec<u8>, number: Option<u64>| match number {
            Some(number) => value::number(out, number),
            None => text(out, "-"),
        };
        match column {
            0 => value::foreign(out, &self.what),
            1 => or_none(out, self.before),
            2 => or_none(out, self.after),
            3 => value::number(out, self.added),
            4 => value::number(out, self.removed),
            5 => value::number(out, self.changed),
            6 => value::foreign(out, &self.note),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        members.always_string("what", &self.what);
        for (key, entries) in [("before", self.before), ("after", self.after)] {
            match entries {
                Some(entries) => members.always_number(key, entries),
                None => members.null(key),
            }
        }
        members.always_number("added", self.added);
        members.always_number("removed", self.removed);
        members.always_number("changed", self.changed);
        members.string("note", &self.note);
    }
}

pub const CHANGE_COLUMNS: &[Column] = &[
    Column::text("what"),
    Column::text("change"),
    Column::text("key"),
    Column::text("before"),
    Column::text("after"),
];

/// One difference, in words.
#[derive(Clone, Copy, Debug)]
pub struct ChangeRow<'a> {
    pub what: &'a str,
    pub key: &'a str,
    /// `None`: it was not there.
    pub before: Option<&'a str>,
    pub after: Option<&'a str>,
}

impl ChangeRow<'_> {
    fn change(&self) -> &'static str {
        match (self.before, self.after) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        }
    }
}

impl Row for ChangeRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        match column {
            0 => value::foreign(out, self.what),
            1 => text(out, self.change()),
            2 => value::foreign(out, self.key),
            3 => value::foreign(out, self.before.unwrap_or("")),
            4 => value::foreign(out, self.after.unwrap_or("")),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        members.always_string("what", self.what);
        members.always_string("change", self.change());
        members.always_string("key", self.key);
        for (key, side) in [("before", self.before), ("after", self.after)] {
            match side {
                Some(side) => members.always_string(key, side),
                None => members.null(key),
            }
        }
    }
}
