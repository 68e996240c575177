//! Entries of a policy map, and policy maps as a whole.

use super::{labels_json, labels_text, text};
use crate::cilium::policy::{AuthType, PolicyEntry};
use crate::model::endpoint::{Labels, LocalEndpoint};
use crate::output::listing::{Column, Object, Row, value};
use crate::output::protocol;

pub const COLUMNS: &[Column] = &[
    Column::text("policy"),
    Column::text("direction"),
    Column::number("identity"),
    Column::text("protocol"),
    Column::text("port"),
    Column::number("proxy_port"),
    Column::text("auth_type"),
    Column::number("packets"),
    Column::number("bytes"),
    Column::number("prefix_length"),
    Column::text("explicit_auth").wide(),
    Column::number("proxy_port_priority").wide(),
    Column::number("precedence").wide(),
    Column::number("cookie").wide(),
    Column::text("labels"),
];

/// One entry, with what others know about it.
pub struct PolicyRow<'a> {
    pub entry: &'a PolicyEntry,
    /// Of the identity.
    pub labels: Option<&'a Labels>,
    /// Packets and bytes, wherever the release counts them.
    pub counters: Option<(u64, u64)>,
    pub numeric: bool,
}

impl PolicyRow<'_> {
    fn protocol(&self, out: &mut Vec<u8>) {
        match self.entry.protocol {
            None => text(out, "ANY"),
            Some(number) if self.numeric => value::number(out, number),
            Some(number) => protocol::write(out, number),
        }
    }

    fn ports(&self, out: &mut Vec<u8>) {
        match self.entry.ports {
            None => text(out, "ANY"),
            Some((first, last)) => {
                value::number(out, first);
                if last != first {
                    out.push(b'-');
                    value::number(out, last);
                }
            }
        }
    }

    fn verdict(&self) -> &'static str {
        if self.entry.deny { "Deny" } else { "Allow" }
    }

    const fn direction(&self) -> &'static str {
        if self.entry.egress { "egress" } else { "ingress" }
    }

    fn who(&self, out: &mut Vec<u8>) {
        match self.labels {
            Some(labels) if !self.numeric => labels_text(Some(labels), out),
            _ if self.entry.identity.0 == 0 && !self.numeric => text(out, "ANY"),
            _ => value::number(out, self.entry.identity.0),
        }
    }
}

fn auth(out: &mut Vec<u8>, kind: u8) {
    match AuthType(kind).name() {
        Some(name) => text(out, name),
        None => value::number(out, kind),
    }
}

fn optional(out: &mut Vec<u8>, number: Option<impl itoa::Integer>) {
    match number {
        Some(number) => value::number(out, number),
        None => out.push(b'-'),
    }
}

impl Row for PolicyRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        let entry = self.entry;
        match column {
            0 => text(out, self.verdict()),
            1 => text(out, self.direction()),
            2 => value::number(out, entry.identity.0),
            3 => self.protocol(out),
            4 => self.ports(out),
            5 => value::number(out, entry.proxy_port),
            6 => auth(out, entry.auth_type),
            7 => optional(out, self.counters.map(|counters| counters.0)),
            8 => optional(out, self.counters.map(|counters| counters.1)),
            9 => value::number(out, entry.prefix_length),
            10 => text(out, entry.explicit_auth.map_or("-", |set| if set { "yes" } else { "no" })),
            11 => optional(out, entry.proxy_port_priority),
            12 => optional(out, entry.precedence),
            13 => optional(out, entry.cookie),
            14 if entry.identity.0 == 0 => text(out, "any peer"),
            14 => labels_text(self.labels, out),
            _ => {}
        }
    }

    /// `port` is 0 for any; a range ends at `port_end`. For ICMP it is the type.
    fn json(&self, members: &mut Object<'_>) {
        let entry = self.entry;
        members.always_string("direction", self.direction());
        members.always_number("identity", entry.identity.0);
        labels_json(members, self.labels);
        members.plain("protocol", |out| self.protocol(out));
        let (first, last) = entry.ports.unwrap_or_default();
        members.always_number("port", first);
        if last != first {
            members.always_number("port_end", last);
        }
        members.always_number("prefix_length", entry.prefix_length);
        members.always_flag("deny", entry.deny);
        members.always_number("proxy_port", entry.proxy_port);
        members.plain("auth_type", |out| auth(out, entry.auth_type));
        match self.counters {
            Some((packets, bytes)) => {
                members.always_number("packets", packets);
                members.always_number("bytes", bytes);
            }
            None => {
                members.null("packets");
                members.null("bytes");
            }
        }
        if let Some(explicit) = entry.explicit_auth {
            members.always_flag("explicit_auth", explicit);
        }
        if let Some(priority) = entry.proxy_port_priority {
            members.always_number("proxy_port_priority", priority);
        }
        if let Some(precedence) = entry.precedence {
            members.always_number("precedence", precedence);
        }
        if let Some(cookie) = entry.cookie {
            members.always_number("cookie", cookie);
        }
    }
}

/// The columns of `cilium-dbg bpf policy get`.
pub const VENDOR_COLUMNS: &[Column] = &vendor_columns("labels");

/// The same with `-n`.
pub const VENDOR_NUMERIC_COLUMNS: &[Column] = &vendor_columns("identity");

const fn vendor_columns(peer: &'static str) -> [Column; 9] {
    [
        Column::text("policy"),
        Column::text("direction"),
        Column::text(peer),
        Column::text("port/proto"),
        Column::text("proxy_port"),
        Column::text("auth_type"),
        Column::text("bytes"),
        Column::text("packets"),
        Column::text("prefix"),
    ]
}

/// A row in the words of `cilium-dbg bpf policy get`.
pub struct VendorPolicyRow<'a>(pub PolicyRow<'a>);

impl Row for VendorPolicyRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        let (row, entry) = (&self.0, self.0.entry);
        match column {
            0 => text(out, row.verdict()),
            1 => text(out, if entry.egress { "Egress" } else { "Ingress" }),
            2 => row.who(out),
            3 => port_and_protocol(row, out),
            4 if entry.proxy_port == 0 => text(out, "NONE"),
            4 => value::number(out, entry.proxy_port),
            5 => auth(out, entry.auth_type),
            6 => value::number(out, row.counters.unwrap_or_default().1),
            7 => value::number(out, row.counters.unwrap_or_default().0),
            8 => value::number(out, entry.prefix_length),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        self.0.json(members);
    }
}

/// `8080-8087/TCP`, `8/ICMP`, `ANY`; the port is left out where any will do.
fn port_and_protocol(row: &PolicyRow<'_>, out: &mut Vec<u8>) {
    let Some(number) = row.entry.protocol else { return text(out, "ANY") };
    if row.entry.ports.is_some() {
        row.ports(out);
        out.push(b'/');
    }
    protocol::write(out, number);
}

pub const MAP_COLUMNS: &[Column] = &[
    Column::number("endpoint_id"),
    Column::text("namespace"),
    Column::text("pod"),
    Column::number("identity"),
    Column::number("entries"),
    Column::number("max_entries"),
    Column::number("usage_percent"),
    Column::number("ingress"),
    Column::number("egress"),
    Column::text("layout"),
    Column::text("map").wide(),
    Column::number("map_id").wide(),
];

/// One policy map.
pub struct PolicyMapRow<'a> {
    pub endpoint_id: u16,
    /// `None`: the endpoint is not known.
    pub endpoint: Option<&'a LocalEndpoint>,
    pub map: &'a str,
    pub map_id: u32,
    pub entries: u64,
    pub max_entries: u32,
    /// Entries for this direction.
    pub ingress: u64,
    pub egress: u64,
    /// The releases that write entries so; `None`: unknown or contradictory.
    pub layout: Option<&'static str>,
}

impl Row for PolicyMapRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        match column {
            0 => value::number(out, self.endpoint_id),
            1 => value::foreign(out, self.endpoint.map_or("", |e| &e.namespace)),
            2 => value::foreign(out, self.endpoint.map_or("", |e| &e.pod)),
            3 => optional(out, self.endpoint.map(|e| e.identity.0)),
            4 => value::number(out, self.entries),
            5 => value::number(out, self.max_entries),
            6 => value::percent(out, self.entries, self.max_entries.into()),
            7 => value::number(out, self.ingress),
            8 => value::number(out, self.egress),
            9 => text(out, self.layout.unwrap_or("unknown")),
            10 => value::foreign(out, self.map),
            11 => value::number(out, self.map_id),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        members.always_number("endpoint_id", self.endpoint_id);
        members.always_string("namespace", self.endpoint.map_or("", |e| &e.namespace));
        members.always_string("pod", self.endpoint.map_or("", |e| &e.pod));
        match self.endpoint {
            Some(endpoint) => members.always_number("identity", endpoint.identity.0),
            None => members.null("identity"),
        }
        members.always_string("map", self.map);
        members.always_number("map_id", self.map_id);
        members.always_number("entries", self.entries);
        members.always_number("max_entries", self.max_entries);
        value::percent(members.key("usage_percent"), self.entries, self.max_entries.into());
        members.always_number("ingress_entries", self.ingress);
        members.always_number("egress_entries", self.egress);
        match self.layout {
            Some(layout) => members.always_string("layout", layout),
            None => members.null("layout"),
        }
    }
}
