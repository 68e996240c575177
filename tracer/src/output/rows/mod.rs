//! What the commands on maps list, as rows: one kind of row a file, with its columns for people and its
//! members for machines.

pub mod diff;
pub mod endpoint;
pub mod entry;
pub mod identity;
pub mod ipcache;
pub mod metrics;
pub mod node;
pub mod pinned;
pub mod policy;

use std::net::IpAddr;

use super::listing::{Object, value};
use crate::model::endpoint::Labels;

fn labels_text(labels: Option<&Labels>, out: &mut Vec<u8>) {
    for (index, label) in labels.into_iter().flat_map(Labels::iter).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        value::foreign(out, label);
    }
}

fn labels_json(members: &mut Object<'_>, labels: Option<&Labels>) {
    members.always_strings("labels", labels.into_iter().flat_map(Labels::iter));
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn words<'a>(out: &mut Vec<u8>, words: impl IntoIterator<Item = &'a str>) {
    for (index, word) in words.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        text(out, word);
    }
}

/// `0a:58:0a:f4:01:0a`.
fn mac(out: &mut Vec<u8>, mac: [u8; 6], upper_case: bool) {
    let start = out.len();
    for (index, byte) in mac.iter().enumerate() {
        if index > 0 {
            out.push(b':');
        }
        value::hex_bytes(out, &[*byte]);
    }
    if upper_case {
        out[start..].make_ascii_uppercase();
    }
}

fn prefix(out: &mut Vec<u8>, ip: IpAddr, bits: u8) {
    value::address(out, ip);
    out.push(b'/');
    value::number(out, bits);
}

fn address_or_null(members: &mut Object<'_>, key: &str, ip: Option<IpAddr>) {
    match ip {
        Some(ip) => members.always_address(key, ip),
        None => members.null(key),
    }
}

fn addresses(members: &mut Object<'_>, key: &str, ips: &[IpAddr]) {
    let texts: Vec<String> = ips.iter().map(ToString::to_string).collect();
    members.always_strings(key, texts.iter().map(String::as_str));
}
