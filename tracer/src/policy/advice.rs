//! What would have to be otherwise for a packet to pass.

use std::cmp::Reverse;

use tracer_common::id::Identity;

use super::decision::{Decision, Query, reason};
use super::table::Table;
use crate::model::policy::{Direction, Entry, Key, Order, Traffic};

/// The narrowest entry that would let the packet pass, where one is missing; `None` where the packet passes, or
/// where no further entry helps because another one forbids it.
pub fn missing(query: &Query, decision: &Decision) -> Option<Key> {
    let is_absent = matches!(decision.reason, Some(reason::NO_ENTRY | reason::FRAGMENT));
    is_absent.then(|| Key {
        direction: query.direction,
        identity: query.identity,
        traffic: Traffic::port(query.protocol, query.look_up_port()),
    })
}

/// Something in the map that nearly fits, or that stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NearMiss {
    /// The other end is let in, under its own identity or as one of many, but by another protocol or port.
    SamePeer(Entry),
    /// The port is open, but to another identity.
    SamePort(Entry),
    /// Denies this packet. All of these have to go, not only the one that decided.
    CoveringDeny(Entry),
    /// Would let the packet pass if no deny stood before it.
    HiddenAllow(Entry),
    /// No entry at all for this direction.
    Empty(Direction),
    /// There is no room for further entries: some may be missing.
    Full { entries: u64, capacity: u32 },
}

/// In the order in which they are worth reading; of each kind the nearest first. Empty unless denied.
pub fn near_misses(table: &Table, query: &Query, decision: &Decision) -> Vec<NearMiss> {
    match decision.reason {
        Some(reason::NO_ENTRY | reason::FRAGMENT) => absent(table, query),
        Some(reason::DENY) => covered(table, query, decision),
        _ => Vec::new(),
    }
}

fn absent(table: &Table, query: &Query) -> Vec<NearMiss> {
    let allows = |entry: &&Entry| !entry.deny && entry.key.direction == query.direction;
    let names = names_of_peer(table, query);
    let rank = |entry: &Entry| names.iter().position(|identity| *identity == entry.key.identity);
    let mut same_peer: Vec<(usize, Entry)> = table
        .entries()
        .iter()
        .filter(allows)
        .filter_map(|entry| rank(entry).map(|rank| (rank, *entry)))
        .collect();
    same_peer.sort_by_key(|(rank, entry)| (*rank, distance(entry, query)));
    let mut same_port: Vec<Entry> = table
        .entries()
        .iter()
        .filter(allows)
        .filter(|entry| rank(entry).is_none() && is_for(entry, query))
        .copied()
        .collect();
    same_port.sort_by_key(|entry| (Reverse(entry.key.traffic.prefix_length()), entry.key.identity));
    let mut all: Vec<NearMiss> = same_peer.into_iter().map(|(_, entry)| NearMiss::SamePeer(entry)).collect();
    all.extend(same_port.into_iter().map(NearMiss::SamePort));
    all.extend(room(table, query.direction));
    all
}

/// Everything that the other end is looked up by, its own identity first.
fn names_of_peer(table: &Table, query: &Query) -> Vec<Identity> {
    let mut names = vec![query.identity];
    if table.order() == Order::Aggregated {
        names.extend(table.aggregates(query.identity).into_iter().flatten());
    }
    names.push(Identity(0));
    names.dedup();
    names
}

fn is_for(entry: &Entry, query: &Query) -> bool {
    entry.key.traffic.covers(query.protocol, query.look_up_port())
}

/// Another port of the same protocol comes before another protocol with the same port.
fn distance(entry: &Entry, query: &Query) -> (bool, u16, Key) {
    let port = query.look_up_port();
    let away = entry.key.traffic.ports().map_or(0, |(first, last)| match port {
        _ if port < first => first - port,
        _ => port.saturating_sub(last),
    });
    (entry.key.traffic.protocol() != Some(query.protocol), away, entry.key)
}

fn room(table: &Table, direction: Direction) -> impl Iterator<Item = NearMiss> {
    let is_empty = table.unread() == 0 && !table.entries().iter().any(|e| e.key.direction == direction);
    let entries = table.entries().len() as u64 + table.unread();
    let full = table
        .capacity()
        .filter(|_| table.is_full() == Some(true))
        .map(|capacity| NearMiss::Full { entries, capacity });
    is_empty.then_some(NearMiss::Empty(direction)).into_iter().chain(full)
}

/// Every entry that matches the packet, whichever identity it is found by.
fn covered(table: &Table, query: &Query, decision: &Decision) -> Vec<NearMiss> {
    let matching = names_of_peer(table, query)
        .into_iter()
        .flat_map(|identity| table.matches(query.direction, identity, query.protocol, query.look_up_port()))
        .copied();
    let (mut denies, allows): (Vec<Entry>, Vec<Entry>) = matching.partition(|entry| entry.deny);
    denies.sort_by_key(|entry| Some(*entry) != decision.winner);
    let denies = denies.into_iter().map(NearMiss::CoveringDeny);
    denies.chain(allows.into_iter().map(NearMiss::HiddenAllow)).collect()
}
