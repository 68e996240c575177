//! Which of the entries that match wins, as each generation has it.

use tracer_common::id::Identity;

use super::decision::{MatchType, Query};
use super::rule::{Rule, Side, Step};
use super::table::Table;
use crate::model::policy::{Entry, Order};

/// Precedence that no other entry can beat.
const HIGHEST: u32 = u32::MAX;

/// Where steps go. Nothing is made where nobody wants them.
pub(super) trait Trail {
    fn step(&mut self, rule: Rule, entry: Option<&Entry>);
}

/// Nobody wants them.
impl Trail for () {
    fn step(&mut self, _: Rule, _: Option<&Entry>) {}
}

impl Trail for Vec<Step> {
    fn step(&mut self, rule: Rule, entry: Option<&Entry>) {
        self.push(Step { rule, entry: entry.copied() });
    }
}

/// The winner, and the other one if there was a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    pub winner: &'a Entry,
    pub other: Option<&'a Entry>,
    pub match_type: MatchType,
}

/// `aggregate`: where the second look-up goes from 1.20 on.
pub(super) fn choose<'a>(
    table: &'a Table,
    query: &Query,
    aggregate: Identity,
    trail: &mut impl Trail,
) -> Option<Choice<'a>> {
    match table.order() {
        Order::FirstMatch => first_match(table, query, trail),
        Order::DenyFirst => deny_first(table, query, trail),
        Order::Precedence => by_precedence(table, query, Identity(0), trail),
        Order::Aggregated => by_precedence(table, query, aggregate, trail),
    }
}

fn look_up<'a>(
    table: &'a Table,
    query: &Query,
    (side, identity): (Side, Identity),
    trail: &mut impl Trail,
) -> Option<&'a Entry> {
    let found = table.look_up(query.direction, identity, query.protocol, query.look_up_port());
    trail.step(Rule::LookUp { side, identity }, found);
    found
}

fn first_match<'a>(table: &'a Table, query: &Query, trail: &mut impl Trail) -> Option<Choice<'a>> {
    let own = look_up(table, query, (Side::Own, query.identity), trail);
    let any = look_up(table, query, (Side::Any, Identity(0)), trail);
    let list = [
        (own.filter(|e| !e.any_port), any, Rule::OwnPort, MatchType::L3L4),
        (any.filter(|e| !e.any_port), own, Rule::AnyPort, MatchType::L4Only),
        (own.filter(|e| !e.any_protocol), any, Rule::OwnProtocol, MatchType::L3Proto),
        (any.filter(|e| !e.any_protocol), own, Rule::AnyProtocol, MatchType::ProtoOnly),
        (own, any, Rule::OwnAll, MatchType::L3Only),
        (any, own, Rule::AnyAll, MatchType::All),
    ];
    list.into_iter().find_map(|(winner, other, rule, match_type)| {
        let winner = winner?;
        trail.step(rule, Some(winner));
        Some(Choice { winner, other, match_type })
    })
}

fn deny_first<'a>(table: &'a Table, query: &Query, trail: &mut impl Trail) -> Option<Choice<'a>> {
    let own = look_up(table, query, (Side::Own, query.identity), trail);
    if let Some(own) = own.filter(|own| own.deny) {
        return Some(won(Side::Own, own, None, Rule::OwnDeny, trail));
    }
    let any = look_up(table, query, (Side::Any, Identity(0)), trail);
    match (own, any) {
        (_, Some(any)) if any.deny => Some(won(Side::Any, any, own, Rule::AnyDeny, trail)),
        (Some(own), Some(any)) if any.proxy_priority > own.proxy_priority => {
            Some(won(Side::Any, any, Some(own), Rule::ProxyPriority, trail))
        }
        (Some(own), Some(any)) if any.proxy_priority == own.proxy_priority && is_longer(any, own) => {
            Some(won(Side::Any, any, Some(own), Rule::LongerPrefix, trail))
        }
        _ => remaining(own, any, trail),
    }
}

fn by_precedence<'a>(
    table: &'a Table,
    query: &Query,
    second: Identity,
    trail: &mut impl Trail,
) -> Option<Choice<'a>> {
    let own = look_up(table, query, (Side::Own, query.identity), trail);
    if let Some(own) = own.filter(|own| own.precedence == HIGHEST) {
        return Some(won(Side::Own, own, None, Rule::Highest, trail));
    }
    let side = if second == Identity(0) { Side::Any } else { Side::Aggregate };
    let mut any = look_up(table, query, (side, second), trail);
    if own.is_none() && any.is_none() && second != Identity(0) {
        any = look_up(table, query, (Side::Any, Identity(0)), trail);
    }
    match (own, any) {
        (Some(own), Some(any)) if any.precedence > own.precedence => {
            Some(won(Side::Any, any, Some(own), Rule::HigherPrecedence, trail))
        }
        (Some(own), Some(any)) if any.precedence == own.precedence && is_longer(any, own) => {
            Some(won(Side::Any, any, Some(own), Rule::LongerPrefix, trail))
        }
        _ => remaining(own, any, trail),
    }
}

fn is_longer(a: &Entry, b: &Entry) -> bool {
    a.key.traffic.prefix_length() > b.key.traffic.prefix_length()
}

/// The broader entry has no claim of its own: the identity's entry wins if there is one.
fn remaining<'a>(
    own: Option<&'a Entry>,
    any: Option<&'a Entry>,
    trail: &mut impl Trail,
) -> Option<Choice<'a>> {
    match (own, any) {
        (Some(own), Some(_)) => Some(won(Side::Own, own, any, Rule::OwnWins, trail)),
        (Some(own), None) => Some(won(Side::Own, own, None, Rule::OnlyMatch, trail)),
        (None, Some(any)) => Some(won(Side::Any, any, None, Rule::OnlyMatch, trail)),
        (None, None) => None,
    }
}

fn won<'a>(
    side: Side,
    winner: &'a Entry,
    other: Option<&'a Entry>,
    rule: Rule,
    trail: &mut impl Trail,
) -> Choice<'a> {
    trail.step(rule, Some(winner));
    let match_type = match (side, winner.key.traffic.prefix_length()) {
        (Side::Own, 0) => MatchType::L3Only,
        (Side::Own, 1..=8) => MatchType::L3Proto,
        (Side::Own, _) => MatchType::L3L4,
        (_, 0) => MatchType::All,
        (_, 1..=8) => MatchType::ProtoOnly,
        (_, _) => MatchType::L4Only,
    };
    Choice { winner, other, match_type }
}
