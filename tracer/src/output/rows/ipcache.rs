//! Entries of the ipcache.

use std::net::{IpAddr, Ipv4Addr};

use tracer_common::cilium::ipcache::flag;

use super::{address_or_null, labels_json, labels_text, prefix, text, words};
use crate::cilium::ipcache::IpcacheEntry;
use crate::model::endpoint::Labels;
use crate::output::listing::{Column, Object, Row, value};

pub const COLUMNS: &[Column] = &[
    Column::text("prefix"),
    Column::number("identity"),
    Column::text("tunnel_endpoint"),
    Column::number("encrypt_key"),
    Column::text("flags"),
    Column::number("cluster_id").wide(),
    Column::text("labels"),
];

pub struct IpcacheRow<'a> {
    pub entry: &'a IpcacheEntry,
    pub labels: Option<&'a Labels>,
}

const FLAGS: [(u8, &str); 4] = [
    (flag::SKIP_TUNNEL, "skip_tunnel"),
    (flag::HAS_TUNNEL_ENDPOINT, "has_tunnel_endpoint"),
    (flag::IPV6_TUNNEL_ENDPOINT, "ipv6_tunnel_endpoint"),
    (flag::REMOTE_CLUSTER, "remote_cluster"),
];

fn flags(bits: u8) -> impl Iterator<Item = &'static str> {
    FLAGS.into_iter().filter(move |(bit, _)| bits & bit != 0).map(|(_, name)| name)
}

impl Row for IpcacheRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        let entry = self.entry;
        match column {
            0 => prefix(out, entry.address, entry.prefix_length),
            1 => value::number(out, entry.identity.0),
            2 => match entry.tunnel_endpoint {
                Some(ip) => value::address(out, ip),
                None => out.push(b'-'),
            },
            3 => value::number(out, entry.encrypt_key),
            4 => words(out, flags(entry.flags)),
            5 => value::number(out, entry.cluster_id),
            6 => labels_text(self.labels, out),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        let entry = self.entry;
        members.plain("prefix", |out| prefix(out, entry.address, entry.prefix_length));
        members.always_number("identity", entry.identity.0);
        address_or_null(members, "tunnel_endpoint", entry.tunnel_endpoint);
        members.always_number("encrypt_key", entry.encrypt_key);
        labels_json(members, self.labels);
        members.always_strings("flags", flags(entry.flags));
        members.always_number("cluster_id", entry.cluster_id);
    }
}

/// The columns of `cilium-dbg bpf ipcache list`.
pub const VENDOR_COLUMNS: &[Column] = &[Column::text("ip_prefix/address"), Column::text("identity")];

/// A row in the words of `cilium-dbg bpf ipcache list`.
pub struct VendorIpcacheRow<'a>(pub IpcacheRow<'a>);

impl Row for VendorIpcacheRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        let entry = self.0.entry;
        match column {
            0 => prefix(out, entry.address, entry.prefix_length),
            1 => vendor_words(entry, out),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        self.0.json(members);
    }
}

fn vendor_words(entry: &IpcacheEntry, out: &mut Vec<u8>) {
    text(out, "identity=");
    value::number(out, entry.identity.0);
    text(out, " encryptkey=");
    value::number(out, entry.encrypt_key);
    text(out, " tunnelendpoint=");
    value::address(out, entry.tunnel_endpoint.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    text(out, ", flags=");
    let known = entry.flags & (flag::SKIP_TUNNEL | flag::HAS_TUNNEL_ENDPOINT | flag::IPV6_TUNNEL_ENDPOINT);
    if known == 0 {
        text(out, "<none>");
    } else {
        let names = flags(known).map(|name| match name {
            "skip_tunnel" => "skiptunnel",
            "has_tunnel_endpoint" => "hastunnel",
            _ => "ipv6tunnel",
        });
        words(out, names);
    }
}
