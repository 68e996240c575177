//! Endpoints of the node, one row an address.

use std::net::IpAddr;

use tracer_common::cilium::lxc::flag;

use super::{address_or_null, labels_json, labels_text, mac, text, words};
use crate::cilium::lxc::LxcEntry;
use crate::model::endpoint::LocalEndpoint;
use crate::output::listing::{Column, Object, Row, value};

pub const COLUMNS: &[Column] = &[
    Column::number("endpoint_id"),
    Column::text("ip"),
    Column::text("namespace"),
    Column::text("pod"),
    Column::number("identity"),
    Column::number("ifindex"),
    Column::text("interface"),
    Column::text("flags"),
    Column::text("ingress"),
    Column::text("egress"),
    Column::text("mac").wide(),
    Column::text("node_mac").wide(),
    Column::text("stale_names").wide(),
    Column::text("labels").wide(),
];

/// An address of the endpoint map, or an endpoint that has none there (the host endpoint).
pub struct EndpointRow<'a> {
    pub entry: Option<&'a LxcEntry>,
    /// `None`: an address of the node.
    pub endpoint: Option<&'a LocalEndpoint>,
    /// Whether policy is enforced, in and out; `None`: it has no policy map, or that was not understood.
    pub enforced: Option<[bool; 2]>,
}

const FLAGS: [(u32, &str); 4] = [
    (flag::HOST, "host"),
    (flag::AT_HOST_NS, "at_host_ns"),
    (flag::NO_SNAT_V4, "no_snat_v4"),
    (flag::NO_SNAT_V6, "no_snat_v6"),
];

impl EndpointRow<'_> {
    fn id(&self) -> u16 {
        self.entry.map(|entry| entry.id.0).or(self.endpoint.map(|e| e.id.0)).unwrap_or_default()
    }

    fn ip(&self) -> Option<IpAddr> {
        self.entry.map(|entry| entry.ip).or(self.endpoint.and_then(|e| e.addresses.first().copied()))
    }

    fn identity(&self) -> u32 {
        self.entry.map(|e| e.identity.0).or(self.endpoint.map(|e| e.identity.0)).unwrap_or_default()
    }

    fn ifindex(&self) -> u32 {
        self.entry.map(|entry| entry.ifindex).or(self.endpoint.map(|e| e.ifindex)).unwrap_or_default()
    }

    /// `way`: 0 in, 1 out.
    fn enforcement(&self, way: usize) -> Option<&'static str> {
        self.enforced.map(|enforced| if enforced[way] { "enforced" } else { "open" })
    }

    fn flags(&self) -> impl Iterator<Item = &'static str> {
        let bits = self.entry.map_or(0, |entry| entry.flags);
        FLAGS.into_iter().filter(move |(bit, _)| bits & bit != 0).map(|(_, name)| name)
    }
}

impl Row for EndpointRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        let named = |part: fn(&LocalEndpoint) -> &str| self.endpoint.map_or("", part);
        match column {
            0 => value::number(out, self.id()),
            1 => match self.ip() {
                Some(ip) => value::address(out, ip),
                None => out.push(b'-'),
            },
            2 => value::foreign(out, named(|e| &e.namespace)),
            3 => value::foreign(out, named(|e| &e.pod)),
            4 => value::number(out, self.identity()),
            5 => value::number(out, self.ifindex()),
            6 => value::foreign(out, named(|e| &e.interface)),
            7 => words(out, self.flags()),
            8 | 9 => text(out, self.enforcement(column - 8).unwrap_or("-")),
            10 => mac(out, self.entry.map_or([0; 6], |e| e.mac), false),
            11 => mac(out, self.entry.map_or([0; 6], |e| e.node_mac), false),
            12 => text(out, if self.endpoint.is_some_and(|e| e.stale_names) { "yes" } else { "no" }),
            13 => labels_text(self.endpoint.map(|e| &*e.labels), out),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        let named = |part: fn(&LocalEndpoint) -> &str| self.endpoint.map_or("", part);
        members.always_number("endpoint_id", self.id());
        address_or_null(members, "ip", self.ip());
        members.always_number("ifindex", self.ifindex());
        members.always_string("interface", named(|e| &e.interface));
        members.plain("mac", |out| mac(out, self.entry.map_or([0; 6], |e| e.mac), false));
        members.always_number("identity", self.identity());
        members.always_string("namespace", named(|e| &e.namespace));
        members.always_string("pod", named(|e| &e.pod));
        labels_json(members, self.endpoint.map(|e| &*e.labels));
        members.plain("node_mac", |out| mac(out, self.entry.map_or([0; 6], |e| e.node_mac), false));
        members.always_strings("flags", self.flags());
        for (way, name) in ["ingress", "egress"].into_iter().enumerate() {
            match self.enforcement(way) {
                Some(state) => members.always_string(name, state),
                None => members.null(name),
            }
        }
        members.always_flag("stale_names", self.endpoint.is_some_and(|e| e.stale_names));
    }
}

/// The columns of `cilium-dbg bpf endpoint list`.
pub const VENDOR_COLUMNS: &[Column] = &[Column::text("ip_address"), Column::text("local_endpoint_info")];

/// A row in the words of `cilium-dbg bpf endpoint list`.
pub struct VendorEndpointRow<'a>(pub &'a LxcEntry);

impl Row for VendorEndpointRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        match column {
            0 => {
                value::address(out, self.0.ip);
                text(out, ":0");
            }
            1 if self.0.is_host() => text(out, "(localhost)"),
            1 => vendor_words(self.0, out),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        EndpointRow { entry: Some(self.0), endpoint: None, enforced: None }.json(members);
    }
}

fn vendor_words(entry: &LxcEntry, out: &mut Vec<u8>) {
    use std::io::Write as _;
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "id={:<5} sec_id={:<5} flags=0x{:04X} ifindex={:<3} mac=",
        entry.id.0, entry.identity.0, entry.flags, entry.ifindex
    );
    mac(out, entry.mac, true);
    text(out, " nodemac=");
    mac(out, entry.node_mac, true);
}
