//! How full a map is, as a row of a listing.

use super::listing::{Column, Object, Row, value};

pub const COLUMNS: &[Column] = &[
    Column::text("map"),
    Column::number("entries"),
    Column::number("max_entries"),
    Column::number("usage_percent"),
];

/// Entries of one map and the most that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage<'a> {
    pub map: &'a str,
    pub entries: u64,
    pub max_entries: u32,
}

impl Row for Usage<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        match column {
            0 => value::foreign(out, self.map),
            1 => value::number(out, self.entries),
            2 => value::number(out, self.max_entries),
            3 => value::percent(out, self.entries, self.max_entries.into()),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        members.always_string("map", self.map);
        members.always_number("entries", self.entries);
        members.always_number("max_entries", self.max_entries);
        value::percent(members.key("usage_percent"), self.entries, self.max_entries.into());
    }
}
