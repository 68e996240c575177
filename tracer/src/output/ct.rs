//! Entries of connection tracking as rows of a listing.

use std::net::SocketAddr;

use tracer_common::cilium::ct::flag;

use super::listing::{Column, Object, Row, value};
use super::protocol;
use crate::cilium::ct::clock::Clock;
use crate::cilium::ct::{Counters, CtEntry, Kind};

pub const COLUMNS: &[Column] = &[
    Column::text("protocol"),
    Column::text("kind"),
    Column::text("source"),
    Column::text("destination"),
    Column::text("state"),
    Column::number("remaining_seconds"),
    Column::text("source_pod"),
    Column::text("destination_pod"),
    Column::text("details"),
    Column::text("map").wide(),
    Column::number("last_tx_seconds").wide(),
    Column::number("last_rx_seconds").wide(),
    Column::text("counters").wide(),
];

/// Names of the flags as cilium-dbg prints them.
const FLAGS: [(u16, &str); 11] = [
    (flag::RX_CLOSING, "RxClosing"),
    (flag::TX_CLOSING, "TxClosing"),
    (flag::NAT46, "Nat64"),
    (flag::LB_LOOPBACK, "LBLoopback"),
    (flag::SEEN_NON_SYN, "SeenNonSyn"),
    (flag::NODE_PORT, "NodePort"),
    (flag::PROXY_REDIRECT, "ProxyRedirect"),
    (flag::DSR, "DSR"),
    (flag::FROM_L7LB, "FromL7LB"),
    (flag::AUTH_REQUIRED, "AuthRequired"),
    (flag::FROM_TUNNEL, "FromTunnel"),
];
const KNOWN: u16 = 0x07ff;

/// An entry and what is needed to show it.
#[derive(Clone, Copy, Debug)]
pub struct CtRow<'a> {
    pub map: &'a str,
    pub entry: &'a CtEntry,
    pub clock: &'a Clock,
    /// Namespace and name; of pods of this node.
    pub source_pod: Option<(&'a str, &'a str)>,
    pub destination_pod: Option<(&'a str, &'a str)>,
    /// The rest of life in cilium-dbg's line.
    pub time_diff: bool,
}

fn flag_names(flags: u16) -> impl Iterator<Item = &'static str> {
    FLAGS.into_iter().filter(move |(bit, _)| flags & bit != 0).map(|(_, name)| name)
}

fn pod(out: &mut Vec<u8>, pod: Option<(&str, &str)>) {
    if let Some((namespace, name)) = pod {
        value::foreign(out, namespace);
        out.push(b'/');
        value::foreign(out, name);
    }
}

fn age(out: &mut Vec<u8>, clock: &Clock, stamp: u32) {
    if stamp != 0 {
        value::number(out, clock.age(stamp));
    }
}

/// As cilium-dbg prints it: without brackets around an IPv6 address.
fn vendor_socket(out: &mut Vec<u8>, socket: SocketAddr) {
    value::address(out, socket.ip());
    out.push(b':');
    value::number(out, socket.port());
}

impl CtRow<'_> {
    fn remaining(&self) -> i64 {
        self.clock.remaining(self.entry.common.lifetime)
    }

    /// Key=value words, those that are 0 left out.
    fn details(&self, out: &mut Vec<u8>) {
        let common = &self.entry.common;
        let start = out.len();
        let word = |out: &mut Vec<u8>, name: &str, number: u64| {
            if number != 0 {
                value::named(out, name);
                value::number(out, number);
            }
        };
        word(out, "RevNAT", common.rev_nat_index.get().into());
        word(out, "BackendID", self.entry.backend_id);
        word(out, "SourceSecurityID", common.src_sec_id.into());
        if common.flags != 0 {
            value::named(out, "Flags");
            vendor_flags(out, common.flags);
        }
        if let Some(dsr) = self.entry.dsr {
            value::named(out, "DSR");
            value::socket(out, dsr);
        }
        if out.len() > start {
            out.remove(start);
        }
    }

    fn counters(&self, out: &mut Vec<u8>) {
        let counts: [(&str, u64); 4] = match self.entry.counters {
            Counters::Both { packets, bytes } => [("Packets", packets), ("Bytes", bytes), ("", 0), ("", 0)],
            Counters::PerDirection { rx_packets, rx_bytes, tx_packets, tx_bytes } => [
                ("RxPackets", rx_packets),
                ("RxBytes", rx_bytes),
                ("TxPackets", tx_packets),
                ("TxBytes", tx_bytes),
            ],
            Counters::Unclear => return value::word(out, "?"),
        };
        let start = out.len();
        for (name, count) in counts.into_iter().filter(|(name, _)| !name.is_empty()) {
            value::named(out, name);
            value::number(out, count);
        }
        if out.len() > start {
            out.remove(start);
        }
    }
}

fn vendor_flags(out: &mut Vec<u8>, flags: u16) {
    value::hex(out, flags.into(), 4);
    value::word(out, " [ ");
    for name in flag_names(flags) {
        value::word(out, name);
        out.push(b' ');
    }
    if flags & !KNOWN != 0 {
        value::word(out, "Unknown=");
        value::hex(out, (flags & !KNOWN).into(), 4);
        out.push(b' ');
    }
    out.push(b']');
}

impl Row for CtRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        let (entry, common) = (self.entry, &self.entry.common);
        match column {
            0 => protocol::write(out, entry.protocol),
            1 => {
                value::word(out, entry.kind.name());
                // Two of them differ in nothing else that is shown.
                if entry.kind == Kind::Related {
                    value::word(out, if entry.is_in { "-in" } else { "-out" });
                }
            }
            2 => value::socket(out, entry.source()),
            3 => value::socket(out, entry.destination()),
            4 => value::word(out, entry.state().name()),
            5 => value::number(out, self.remaining()),
            6 => pod(out, self.source_pod),
            7 => pod(out, self.destination_pod),
            8 => self.details(out),
            9 => value::foreign(out, self.map),
            10 => age(out, self.clock, common.last_tx_report),
            11 => age(out, self.clock, common.last_rx_report),
            12 => self.counters(out),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        let (entry, common) = (self.entry, &self.entry.common);
        members.always_string("map", self.map);
        members.plain("kind", |out| value::word(out, entry.kind.name()));
        members.plain("direction", |out| value::word(out, if entry.is_in { "in" } else { "out" }));
        members.plain("protocol", |out| protocol::write(out, entry.protocol));
        members.always_address("source_ip", entry.source().ip());
        members.always_number("source_port", entry.source().port());
        members.always_address("destination_ip", entry.destination().ip());
        members.always_number("destination_port", entry.destination().port());
        members.plain("state", |out| value::word(out, entry.state().name()));
        let remaining = self.remaining();
        members.always_number("remaining_seconds", remaining);
        members.always_flag("expired", remaining < 0);
        members.always_number("lifetime", common.lifetime);
        members.always_strings("flags", flag_names(common.flags));
        members.always_number("rev_nat_id", common.rev_nat_index.get());
        members.always_number("source_identity", common.src_sec_id);
        json_pod(members, "source_pod", self.source_pod);
        json_pod(members, "destination_pod", self.destination_pod);
        if entry.kind == Kind::Service {
            members.always_number("backend_id", entry.backend_id);
        }
        json_counters(members, entry.counters);
        members.always_number("tx_flags_seen", common.tx_flags_seen);
        members.always_number("rx_flags_seen", common.rx_flags_seen);
        json_age(members, "last_tx_seconds", self.clock, common.last_tx_report);
        json_age(members, "last_rx_seconds", self.clock, common.last_rx_report);
        if entry.ifindex != 0 {
            members.always_number("ifindex", entry.ifindex);
        }
        if let Some(dsr) = entry.dsr {
            members.always_address("dsr_ip", dsr.ip());
            members.always_number("dsr_port", dsr.port());
        }
    }

    /// The line of the releases with the same counters: per direction up to 1.15, together later.
    fn vendor(&self, out: &mut Vec<u8>) -> bool {
        let (entry, common) = (self.entry, &self.entry.common);
        protocol::write(out, entry.protocol);
        value::word(
            out,
            match entry.kind {
                Kind::Service => " SVC ",
                _ if entry.is_in => " IN ",
                _ => " OUT ",
            },
        );
        vendor_socket(out, entry.source());
        value::word(out, " -> ");
        vendor_socket(out, entry.destination());
        if entry.kind == Kind::Related {
            value::word(out, " related");
        }
        let number = |out: &mut Vec<u8>, name: &str, number: u64| {
            value::named(out, name);
            value::number(out, number);
        };
        let seen = |out: &mut Vec<u8>, name: &str, flags: u8| {
            value::named(out, name);
            value::hex(out, flags.into(), 2);
        };
        number(out, "expires", common.lifetime.into());
        if self.time_diff {
            value::word(out, " (remaining: ");
            value::number(out, self.remaining());
            value::word(out, " sec(s))");
        }
        let (rx, tx, both) = match entry.counters {
            Counters::PerDirection { rx_packets, rx_bytes, tx_packets, tx_bytes } => {
                (Some((rx_packets, rx_bytes)), Some((tx_packets, tx_bytes)), None)
            }
            Counters::Both { packets, bytes } => (None, None, Some((packets, bytes))),
            Counters::Unclear => (None, None, None),
        };
        if let Some((packets, bytes)) = both {
            number(out, "Packets", packets);
            number(out, "Bytes", bytes);
        }
        if let Some((packets, bytes)) = rx {
            number(out, "RxPackets", packets);
            number(out, "RxBytes", bytes);
        }
        seen(out, "RxFlagsSeen", common.rx_flags_seen);
        number(out, "LastRxReport", common.last_rx_report.into());
        if let Some((packets, bytes)) = tx {
            number(out, "TxPackets", packets);
            number(out, "TxBytes", bytes);
        }
        seen(out, "TxFlagsSeen", common.tx_flags_seen);
        number(out, "LastTxReport", common.last_tx_report.into());
        value::named(out, "Flags");
        vendor_flags(out, common.flags);
        number(out, "RevNAT", common.rev_nat_index.get().into());
        number(out, "SourceSecurityID", common.src_sec_id.into());
        number(out, "IfIndex", entry.ifindex.into());
        if rx.is_none() {
            number(out, "BackendID", entry.backend_id);
        }
        out.push(b' ');
        true
    }
}

fn json_pod(members: &mut Object<'_>, key: &str, pod: Option<(&str, &str)>) {
    if let Some((namespace, name)) = pod {
        let out = members.key(key);
        super::json::quoted(out, |out| {
            super::escape::json(out, namespace);
            out.push(b'/');
            super::escape::json(out, name);
        });
    }
}

fn json_counters(members: &mut Object<'_>, counters: Counters) {
    match counters {
        Counters::Both { packets, bytes } => {
            members.always_number("packets", packets);
            members.always_number("bytes", bytes);
        }
        Counters::PerDirection { rx_packets, rx_bytes, tx_packets, tx_bytes } => {
            members.always_number("rx_packets", rx_packets);
            members.always_number("rx_bytes", rx_bytes);
            members.always_number("tx_packets", tx_packets);
            members.always_number("tx_bytes", tx_bytes);
        }
        Counters::Unclear => {}
    }
}

/// Seconds since the report; null: none yet.
fn json_age(members: &mut Object<'_>, key: &str, clock: &Clock, stamp: u32) {
    match stamp {
        0 => members.null(key),
        _ => members.always_number(key, clock.age(stamp)),
    }
}

#[cfg(test)]
mod tests;
