//! Pinned maps.

use super::{text, words};
use crate::cilium::map_type::{MapType, flag_names};
use crate::kernel::bpf::MapInfo;
use crate::output::listing::{Column, Object, Row, value};

pub const COLUMNS: &[Column] = &[
    Column::text("map"),
    Column::number("id"),
    Column::text("type"),
    Column::number("key_size"),
    Column::number("value_size"),
    Column::number("entries"),
    Column::number("max_entries"),
    Column::number("usage_percent"),
    Column::number("memory_bytes"),
    Column::text("layout"),
    Column::text("in_use"),
    Column::text("flags").wide(),
    Column::text("shown_by").wide(),
];

pub struct PinnedRow<'a> {
    pub map: &'a str,
    pub info: &'a MapInfo,
    /// `None`: not counted, or a number says nothing.
    pub entries: Option<u64>,
    /// What the kernel charges for it.
    pub memory_bytes: Option<u64>,
    /// A known name with known sizes.
    pub known: bool,
    /// The command that shows its entries.
    pub shown_by: &'a str,
    /// Some loaded program uses it; `None`: we may not know.
    pub in_use: Option<bool>,
}

impl PinnedRow<'_> {
    const fn kind(&self) -> MapType {
        MapType(self.info.map_type)
    }
}

fn number(out: &mut Vec<u8>, number: Option<u64>, none: &str) {
    match number {
        Some(number) => value::number(out, number),
        None => text(out, none),
    }
}

impl Row for PinnedRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        let info = self.info;
        match column {
            0 => value::foreign(out, self.map),
            1 => value::number(out, info.id.0),
            2 => match self.kind().name() {
                Some(name) => text(out, name),
                None => value::number(out, info.map_type),
            },
            3 => value::number(out, info.key_size),
            4 => value::number(out, info.value_size),
            5 => number(out, self.entries, if self.kind().is_array() { "n/a" } else { "-" }),
            6 => value::number(out, info.max_entries),
            7 => match self.entries {
                Some(entries) => value::percent(out, entries, info.max_entries.into()),
                None => text(out, "-"),
            },
            8 => number(out, self.memory_bytes, "-"),
            9 => text(out, if self.known { "known" } else { "unknown" }),
            10 => text(out, self.in_use.map_or("-", |used| if used { "yes" } else { "no" })),
            11 => words(out, flag_names(info.flags)),
            12 => text(out, self.shown_by),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        let info = self.info;
        let or_null = |members: &mut Object<'_>, key, number: Option<u64>| match number {
            Some(number) => members.always_number(key, number),
            None => members.null(key),
        };
        members.always_string("map", self.map);
        members.always_number("id", info.id.0);
        match self.kind().name() {
            Some(name) => members.always_string("type", name),
            None => members.always_number("type", info.map_type),
        }
        members.always_number("key_size", info.key_size);
        members.always_number("value_size", info.value_size);
        members.always_number("max_entries", info.max_entries);
        or_null(members, "entries", self.entries);
        match self.entries {
            Some(entries) => value::percent(members.key("usage_percent"), entries, info.max_entries.into()),
            None => members.null("usage_percent"),
        }
        or_null(members, "memory_bytes", self.memory_bytes);
        members.always_strings("flags", flag_names(info.flags));
        members.always_string("layout", if self.known { "known" } else { "unknown" });
        members.string("shown_by", self.shown_by);
        match self.in_use {
            Some(used) => members.always_flag("in_use", used),
            None => members.null("in_use"),
        }
    }
}
