//! Nodes of the cluster, as the datapath numbers and reaches them.

use std::net::IpAddr;

use super::{addresses, text, words};
use crate::output::listing::{Column, Object, Row, value};

pub const COLUMNS: &[Column] = &[
    Column::number("node_id"),
    Column::text("name"),
    Column::text("local"),
    Column::number("spi"),
    Column::text("addresses"),
    Column::text("pod_networks"),
    Column::number("remote_prefixes"),
];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeRow {
    /// `None`: reached by a tunnel, but without a number.
    pub node_id: Option<u16>,
    /// "" where nobody tells.
    pub name: String,
    pub local: bool,
    /// IPsec key index.
    pub spi: Option<u8>,
    pub addresses: Vec<IpAddr>,
    /// Network addresses of the pods behind it; nobody tells the length of the prefixes.
    pub pod_networks: Vec<IpAddr>,
    /// Prefixes of the ipcache that are reached through it.
    pub remote_prefixes: u64,
}

impl Row for NodeRow {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        match column {
            0 => number(out, self.node_id),
            1 => value::foreign(out, &self.name),
            2 => text(out, if self.local { "yes" } else { "no" }),
            3 => number(out, self.spi),
            4 => list(out, &self.addresses),
            5 => list(out, &self.pod_networks),
            6 => value::number(out, self.remote_prefixes),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        match self.node_id {
            Some(id) => members.always_number("node_id", id),
            None => members.null("node_id"),
        }
        members.always_string("name", &self.name);
        members.always_flag("local", self.local);
        match self.spi {
            Some(spi) => members.always_number("spi", spi),
            None => members.null("spi"),
        }
        addresses(members, "addresses", &self.addresses);
        addresses(members, "pod_networks", &self.pod_networks);
        members.always_number("remote_prefixes", self.remote_prefixes);
    }
}

fn number(out: &mut Vec<u8>, number: Option<impl itoa::Integer>) {
    match number {
        Some(number) => value::number(out, number),
        None => out.push(b'-'),
    }
}

fn list(out: &mut Vec<u8>, ips: &[IpAddr]) {
    let texts: Vec<String> = ips.iter().map(ToString::to_string).collect();
    words(out, texts.iter().map(String::as_str));
}
