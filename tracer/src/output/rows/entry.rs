//! Entries of any map: their bytes, and what they say where that is known.

use super::{mac, prefix, text};
use crate::cilium::catalogue::{Field, Fields};
use crate::output::listing::{Column, Object, Row, value};

pub const COLUMNS: &[Column] = &[Column::text("key"), Column::text("value")];

pub struct EntryRow<'a> {
    pub key: &'a [u8],
    /// One value, or one for each possible CPU.
    pub value: &'a [u8],
    /// Bytes of one CPU's value, and how far apart they lie.
    pub per_cpu: Option<(usize, usize)>,
    /// What it says; `None`: bytes only.
    pub fields: Option<&'a Fields>,
}

impl<'a> EntryRow<'a> {
    fn values(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (size, distance) = self.per_cpu.unwrap_or((self.value.len(), self.value.len().max(1)));
        self.value.chunks(distance.max(1)).map(move |value| &value[..size.min(value.len())])
    }
}

impl Row for EntryRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        match (column, self.fields) {
            (0, Some(fields)) => fields_text(out, &fields.key),
            (1, Some(fields)) => fields_text(out, &fields.value),
            (0, None) => value::hex_bytes(out, self.key),
            (1, None) => {
                for (index, one) in self.values().enumerate() {
                    if index > 0 {
                        out.push(b' ');
                    }
                    value::hex_bytes(out, one);
                }
            }
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        members.bytes("key", self.key);
        if self.per_cpu.is_none() {
            members.bytes("value", self.value);
        } else {
            let out = members.key("values");
            out.push(b'[');
            for (index, one) in self.values().enumerate() {
                out.extend_from_slice(if index > 0 { b",\"" } else { b"\"" });
                value::hex_bytes(out, one);
                out.push(b'"');
            }
            out.push(b']');
        }
        if let Some(fields) = self.fields {
            members.object("decoded", |members| {
                fields
                    .key
                    .iter()
                    .chain(&fields.value)
                    .for_each(|(name, field)| field_json(members, name, field));
            });
        }
    }
}

fn fields_text(out: &mut Vec<u8>, fields: &[(&'static str, Field)]) {
    for (index, (name, field)) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        text(out, name);
        out.push(b'=');
        field_text(out, field);
    }
}

fn field_text(out: &mut Vec<u8>, field: &Field) {
    match *field {
        Field::Number(number) => value::number(out, number),
        Field::Word(word) => text(out, word),
        Field::Address(ip) => value::address(out, ip),
        Field::Prefix(ip, bits) => prefix(out, ip, bits),
        Field::Mac(address) => mac(out, address, false),
    }
}

fn field_json(members: &mut Object<'_>, name: &str, field: &Field) {
    match field {
        Field::Number(number) => members.always_number(name, *number),
        _ => members.plain(name, |out| field_text(out, field)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(row: &EntryRow<'_>) -> String {
        let mut out = Vec::new();
        Object::write(&mut out, |members| row.json(members));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_of_all_cpus_are_shown_without_their_padding() {
        let value = [1, 2, 3, 4, 0, 0, 0, 0, 5, 6, 7, 8, 0, 0, 0, 0];
        let row = EntryRow { key: &[0, 1], value: &value, per_cpu: Some((4, 8)), fields: None };
        assert_eq!(json(&row), r#"{"key":"0001","values":["01020304","05060708"]}"#);
        let mut out = Vec::new();
        row.text(1, &mut out);
        assert_eq!(out, b"01020304 05060708");
    }

    #[test]
    fn what_an_entry_says_stands_beside_its_bytes() {
        let fields = Fields {
            key: vec![("index", Field::Number(7))],
            value: vec![
                ("network", Field::Prefix("10.0.0.0".parse().unwrap(), 8)),
                ("mac", Field::Mac([1; 6])),
            ],
        };
        let row = EntryRow { key: &[7], value: &[9], per_cpu: None, fields: Some(&fields) };
        assert_eq!(
            json(&row),
            r#"{"key":"07","value":"09","decoded":{"index":7,"network":"10.0.0.0/8","mac":"01:01:01:01:01:01"}}"#
        );
        let mut out = Vec::new();
        row.text(1, &mut out);
        assert_eq!(out, b"network=10.0.0.0/8 mac=01:01:01:01:01:01");
    }
}
