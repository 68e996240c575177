//! What the map says about one packet.

use tracer_common::id::Identity;

use super::choose::{Choice, Trail, choose};
use super::decision::{Auth, Decision, Query, Verdict, reason};
use super::rule::Rule;
use super::table::Table;
use crate::model::policy::{Entry, Order};

/// The decision and how it came about.
pub fn evaluate(table: &Table, query: &Query) -> Decision {
    let mut steps = Vec::new();
    let decision = by_trail(table, query, &mut steps);
    Decision { steps, ..decision }
}

/// The same decision without steps: nothing is allocated.
pub fn decide(table: &Table, query: &Query) -> Decision {
    by_trail(table, query, &mut ())
}

pub(super) fn by_trail(table: &Table, query: &Query, trail: &mut impl Trail) -> Decision {
    let [first, second] = match table.order() {
        Order::Aggregated => table.aggregates(query.identity),
        _ => [None, None],
    };
    let decision = settle(table, query, first.unwrap_or_default(), trail);
    if table.unread() > 0 {
        trail.step(Rule::Unread, None);
        return unknown(decision);
    }
    if let Some(second) = second {
        let otherwise = settle(table, query, second, &mut ());
        if otherwise != decision {
            trail.step(Rule::ClusterUnknown, None);
            return unknown(decision);
        }
    }
    decision
}

fn unknown(decision: Decision) -> Decision {
    Decision { verdict: Verdict::Unknown, reason: None, ..decision }
}

fn settle(table: &Table, query: &Query, aggregate: Identity, trail: &mut impl Trail) -> Decision {
    match choose(table, query, aggregate, trail) {
        Some(choice) => of_winner(table.order(), query, &choice, trail),
        None => of_nobody(table.order(), query, trail),
    }
}

fn of_nobody(order: Order, query: &Query, trail: &mut impl Trail) -> Decision {
    if query.skip_mark && matches!(order, Order::FirstMatch | Order::DenyFirst) {
        trail.step(Rule::SkipMark, None);
        return Decision::new(Verdict::Allowed);
    }
    if query.fragment {
        trail.step(Rule::NoEntryFragment, None);
        return Decision::denied(reason::FRAGMENT);
    }
    trail.step(Rule::NoEntry, None);
    Decision::denied(reason::NO_ENTRY)
}

fn of_winner(order: Order, query: &Query, choice: &Choice<'_>, trail: &mut impl Trail) -> Decision {
    let Choice { winner, other, match_type } = *choice;
    let found = Decision {
        match_type,
        winner: Some(*winner),
        other: other.copied(),
        cookie: winner.cookie,
        ..Decision::new(Verdict::Allowed)
    };
    if winner.deny {
        trail.step(Rule::Denied, Some(winner));
        return Decision { verdict: Verdict::Denied, reason: Some(reason::DENY), ..found };
    }
    let auth_type = auth_type(order, winner, other, trail);
    let found = Decision { auth_type, proxy_port: winner.proxy_port, ..found };
    if auth_type != 0 {
        let (rule, verdict, reason) = of_auth(query.auth);
        trail.step(rule, Some(winner));
        if verdict != Verdict::Allowed {
            return Decision { verdict, reason, ..found };
        }
    }
    if winner.proxy_port != 0 {
        trail.step(Rule::Proxy, Some(winner));
        return Decision { verdict: Verdict::Redirected, ..found };
    }
    trail.step(Rule::Allowed, Some(winner));
    found
}

fn of_auth(auth: Auth) -> (Rule, Verdict, Option<crate::model::reason::DropReason>) {
    match auth {
        Auth::Unknown => (Rule::AuthUnknown, Verdict::Unknown, None),
        Auth::Valid => (Rule::AuthValid, Verdict::Allowed, None),
        Auth::Missing => (Rule::AuthMissing, Verdict::Denied, Some(reason::AUTH_REQUIRED)),
        Auth::NoNodeId => (Rule::AuthNoNodeId, Verdict::Denied, Some(reason::NO_NODE_ID)),
    }
}

/// The winner's own, or the stronger one of the other entry that it may inherit.
fn auth_type(order: Order, winner: &Entry, other: Option<&Entry>, trail: &mut impl Trail) -> u8 {
    let may_inherit = |other: &&Entry| match order {
        Order::FirstMatch => false,
        Order::DenyFirst => true,
        Order::Precedence | Order::Aggregated => other.precedence == winner.precedence,
    };
    match other.filter(may_inherit) {
        Some(other) if !winner.explicit_auth && other.auth_type > winner.auth_type => {
            trail.step(Rule::AuthInherited, Some(other));
            other.auth_type
        }
        _ => winner.auth_type,
    }
}
