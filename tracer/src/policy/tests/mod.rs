//! Each row names the rule of the ABI notes that it checks; what is expected was derived from their text.
//!
//! Entries: `IDENTITY any|tcp|tcp:8080|tcp:8080/13 [deny] [proxy=N] [prio=N] [prec=N] [auth=N] [explicit]
//! [cookie=N] [out]`; `/13` are the bits of the port that count. Packets: `IDENTITY tcp:8080 [out]`.

mod advice;
mod gate;
mod order;
mod properties;

use tracer_common::id::Identity;

use super::decision::{Decision, MatchType, Query};
use super::table::Table;
use crate::model::policy::{Direction, Entry, Key, Order, Traffic};

fn number<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

fn protocol(name: &str) -> u8 {
    match name {
        "icmp" => 1,
        "tcp" => 6,
        "udp" => 17,
        "icmp6" => 58,
        "sctp" => 132,
        other => number(other),
    }
}

fn traffic(text: &str) -> Traffic {
    if text == "any" {
        return Traffic::Any;
    }
    let Some((name, port)) = text.split_once(':') else { return Traffic::Protocol(protocol(text)) };
    let (port, bits) = port.split_once('/').unwrap_or((port, "16"));
    Traffic::Ports { protocol: protocol(name), first: number(port), bits: number(bits) }
}

fn entry(text: &str) -> Entry {
    let mut words = text.split(' ');
    let identity = Identity(number(words.next().unwrap()));
    let key = Key { direction: Direction::Ingress, identity, traffic: traffic(words.next().unwrap()) };
    words.fold(Entry::allow(key), |mut entry, word| {
        match word.split_once('=').unwrap_or((word, "")) {
            ("deny", _) => entry.deny = true,
            ("out", _) => entry.key.direction = Direction::Egress,
            ("explicit", _) => entry.explicit_auth = true,
            ("proxy", n) => entry.proxy_port = number(n),
            ("prio", n) => entry.proxy_priority = number(n),
            ("prec", n) => entry.precedence = number(n),
            ("auth", n) => entry.auth_type = number(n),
            ("cookie", n) => entry.cookie = number(n),
            other => panic!("{other:?} in `{text}`"),
        }
        entry
    })
}

fn query(text: &str) -> Query {
    let mut words = text.split(' ');
    let identity = Identity(number(words.next().unwrap()));
    let (name, port) = words.next().unwrap().split_once(':').unwrap();
    let direction = if words.next() == Some("out") { Direction::Egress } else { Direction::Ingress };
    Query::new(direction, identity, protocol(name), number(port))
}

fn entries(texts: &[&str]) -> Vec<Entry> {
    texts.iter().map(|text| entry(text)).collect()
}

fn table(order: Order, texts: &[&str]) -> Table {
    Table::new(order, entries(texts))
}

/// A decision in one line; `#N` is the place of the winner among the entries.
fn told(decision: &Decision, table: &Table) -> String {
    let mut words = vec![decision.verdict.as_str().to_owned()];
    words.extend(decision.reason.map(|reason| reason.0.to_string()));
    if decision.match_type != MatchType::None {
        words.push(decision.match_type.as_str().to_owned());
    }
    let place = |winner| table.entries().iter().position(|entry| *entry == winner);
    words.extend(decision.winner.and_then(place).map(|place| format!("#{place}")));
    let mut number = |name: &str, value: u32| {
        if value != 0 {
            words.push(format!("{name}={value}"));
        }
    };
    number("proxy", decision.proxy_port.into());
    number("auth", decision.auth_type.into());
    number("cookie", decision.cookie);
    if decision.audited {
        words.push("audited".to_owned());
    }
    words.join(" ")
}
