//! What would have to be otherwise for a packet to pass.

use std::cmp::Reverse;

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
    /// The other end is let in, but by another protocol or port.
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
    let mut same_peer: Vec<Entry> =
        table.entries().iter().filter(allows).filter(|e| e.key.identity == query.identity).copied().collect();
    same_peer.sort_by_key(|entry| distance(entry, query));
    let mut same_port: Vec<Entry> = table
        .entries()
        .iter()
        .filter(allows)
        .filter(|e| e.key.identity != query.identity && is_for(e, query))
        .copied()
        .collect();
    same_port.sort_by_key(|entry| (Reverse(entry.key.traffic.prefix_length()), entry.key.identity));
    let mut all: Vec<NearMiss> = same_peer.into_iter().map(NearMiss::SamePeer).collect();
    all.extend(same_port.into_iter().map(NearMiss::SamePort));
    all.extend(room(table, query.direction));
    all
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
    let mut identities = vec![query.identity];
    if table.order() == Order::Aggregated {
        identities.extend(table.aggregates(query.identity).into_iter().flatten());
    }
    identities.push(tracer_common::id::Identity(0));
    identities.dedup();
    let matching = identities
        .into_iter()
        .flat_map(|identity| table.matches(query.direction, identity, query.protocol, query.look_up_port()))
        .copied();
    let (mut denies, allows): (Vec<Entry>, Vec<Entry>) = matching.partition(|entry| entry.deny);
    denies.sort_by_key(|entry| Some(*entry) != decision.winner);
    let denies = denies.into_iter().map(NearMiss::CoveringDeny);
    denies.chain(allows.into_iter().map(NearMiss::HiddenAllow)).collect()
}
