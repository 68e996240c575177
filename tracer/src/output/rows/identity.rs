//! Identities that are known on the node.

use std::net::IpAddr;

use tracer_common::id::{Identity, IdentityScope};

use super::{labels_json, labels_text, prefix, text};
use crate::model::endpoint::Labels;
use crate::output::listing::{Column, Object, Row, value};

pub const COLUMNS: &[Column] = &[
    Column::number("identity"),
    Column::text("kind"),
    Column::number("prefixes"),
    Column::text("labels"),
    Column::text("endpoints").wide(),
    Column::text("addresses").wide(),
];

pub struct IdentityRow<'a> {
    pub identity: Identity,
    pub labels: Option<&'a Labels>,
    /// Number of prefixes that the ipcache gives this identity.
    pub prefixes: u64,
    /// Some or all of them.
    pub examples: &'a [(IpAddr, u8)],
    /// Ids of the local endpoints that have it.
    pub endpoints: &'a [u16],
}

/// Where an identity comes from, by its number.
pub fn kind(identity: Identity) -> &'static str {
    match (identity.scope(), identity.0) {
        (IdentityScope::Local, _) => "local",
        (IdentityScope::RemoteNode, _) => "remote_node",
        (IdentityScope::Unknown(_), _) => "unknown",
        (IdentityScope::Global, 0..=99) => "reserved",
        (IdentityScope::Global, 100..=127) => "well_known",
        (IdentityScope::Global, 128..=255) => "user_reserved",
        (IdentityScope::Global, _) => "global",
    }
}

impl Row for IdentityRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        match column {
            0 => value::number(out, self.identity.0),
            1 => text(out, kind(self.identity)),
            2 => value::number(out, self.prefixes),
            3 => labels_text(self.labels, out),
            4 => separated(out, self.endpoints, |out, id| value::number(out, *id)),
            5 => separated(out, self.examples, |out, (ip, bits)| prefix(out, *ip, *bits)),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        members.always_number("identity", self.identity.0);
        members.always_string("kind", kind(self.identity));
        labels_json(members, self.labels);
        members.always_number("prefixes", self.prefixes);
        let texts: Vec<String> = self.examples.iter().map(|(ip, bits)| format!("{ip}/{bits}")).collect();
        members.always_strings("addresses", texts.iter().map(String::as_str));
        let out = members.key("endpoints");
        out.push(b'[');
        separated(out, self.endpoints, |out, id| value::number(out, *id));
        out.push(b']');
    }
}

fn separated<T>(out: &mut Vec<u8>, items: &[T], mut one: impl FnMut(&mut Vec<u8>, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        one(out, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 6.1 of the ABI notes.
    #[test]
    fn the_number_tells_where_an_identity_comes_from() {
        for (id, expected) in [
            (1, "reserved"),
            (104, "well_known"),
            (200, "user_reserved"),
            (50001, "global"),
            (0x0001_c351, "global"),
            (16_777_217, "local"),
            (33_554_433, "remote_node"),
            (0x0300_0001, "unknown"),
        ] {
            assert_eq!(kind(Identity(id)), expected, "{id}");
        }
    }
}
