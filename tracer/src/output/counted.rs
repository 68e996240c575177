//! Groups of entries and their size, as rows of a listing: `--by`, `top`.

use super::listing::{Column, Object, Row, value};

pub const COLUMNS: &[Column] = &[
    Column::text("group"),
    Column::number("entries"),
    Column::number("share_percent"),
    Column::text("name"),
];

/// A group and how many entries it has.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// What the group has in common: names of properties and their values.
    pub properties: &'a [(&'static str, String)],
    pub entries: u64,
    /// Entries of all groups.
    pub of: u64,
    /// What the value stands for: a pod, labels; "" if nothing is known.
    pub name: &'a str,
}

impl Row for Counted<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        match column {
            0 => match self.properties {
                [(_, only)] => value::foreign(out, only),
                several => properties(out, several),
            },
            1 => value::number(out, self.entries),
            2 => value::percent(out, self.entries, self.of),
            3 => value::foreign(out, self.name),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        for (property, value) in self.properties {
            members.always_string(property, value);
        }
        members.always_number("entries", self.entries);
        value::percent(members.key("share_percent"), self.entries, self.of);
        members.string("name", self.name);
    }
}

fn properties(out: &mut Vec<u8>, properties: &[(&'static str, String)]) {
    for (index, (property, value)) in properties.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        value::word(out, property);
        out.push(b'=');
        value::foreign(out, value);
    }
}
