//! What holds for any entries and any packet.

use proptest::prelude::*;
use tracer_common::id::Identity;

use crate::model::policy::{Direction, Entry, Key, Order, Traffic};
use crate::policy::advice::{NearMiss, missing, near_misses};
use crate::policy::decision::{Auth, Decision, Query, Verdict, reason};
use crate::policy::evaluate::{decide, evaluate};
use crate::policy::gate::{Connection, Facts, Fragment, Place, Settings, judge, judge_quickly};
use crate::policy::table::Table;

fn orders() -> impl Strategy<Value = Order> {
    prop::sample::select(&Order::ALL[..])
}

fn identities() -> impl Strategy<Value = Identity> {
    let few = [0, 1, 2, 7, 11, 12, 13, 14, 5000, 5001, 0x2_1388, 0x0100_0001, 0x0200_0001];
    prop_oneof![9 => prop::sample::select(few.to_vec()), 1 => any::<u32>()].prop_map(Identity)
}

/// Few enough that entries and packets meet.
fn ports() -> impl Strategy<Value = u16> {
    prop_oneof![8 => 0u16..20, 1 => any::<u16>()]
}

fn protocols() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![0u8, 1, 6, 17, 58, 132, 255])
}

prop_compose! {
    fn keys()(
        is_egress: bool,
        identity in identities(),
        bits in prop_oneof![Just(0u8), 8u8..=24],
        protocol in protocols(),
        port in ports(),
    ) -> Key {
        let direction = if is_egress { Direction::Egress } else { Direction::Ingress };
        Key { direction, identity, traffic: Traffic::new(bits, protocol, port).unwrap() }
    }
}

prop_compose! {
    fn any_entries()(
        key in keys(),
        deny: bool,
        proxy_port in prop_oneof![2 => Just(0u16), 1 => any::<u16>()],
        proxy_priority in 0u8..3,
        auth_type in prop_oneof![4 => Just(0u8), 1 => 0u8..128],
        explicit_auth: bool,
        precedence in prop_oneof![0u32..4, Just(u32::MAX), any::<u32>()],
        cookie: u32,
    ) -> Entry {
        let plain = Entry::allow(key);
        Entry { deny, proxy_port, proxy_priority, auth_type, explicit_auth, precedence, cookie, ..plain }
    }
}

prop_compose! {
    fn queries()(
        key in keys(),
        protocol in protocols(),
        port in ports(),
        fragment in prop::bool::weighted(0.1),
        skip_mark in prop::bool::weighted(0.1),
        auth in prop::sample::select(vec![Auth::Unknown, Auth::Valid, Auth::Missing, Auth::NoNodeId]),
    ) -> Query {
        let Key { direction, identity, .. } = key;
        Query { direction, identity, protocol, port, fragment, skip_mark, auth }
    }
}

prop_compose! {
    fn tables()(
        order in orders(),
        entries in prop::collection::vec(any_entries(), 0..40),
    ) -> Table {
        Table::new(order, entries)
    }
}

prop_compose! {
    fn any_facts()(
        query in queries(),
        icmp: Option<(u8, u8)>,
        circumstances: [bool; 8],
        which in (0usize..3, 0usize..4, 0usize..4),
        l7_service: Option<u16>,
    ) -> Facts {
        let [a, b, c, d, e, f, g, _] = circumstances;
        Facts {
            place: [Place::Endpoint, Place::Endpoint, Place::Host { is_host: a, is_masqueraded: b }][which.0],
            icmp,
            fragment: [
                Fragment::None,
                Fragment::First,
                Fragment::Later { first_was_seen: true },
                Fragment::Later { first_was_seen: false },
            ][which.1],
            connection: [Connection::New, Connection::Established, Connection::Reply, Connection::Related][which.2],
            is_proxy_connection: c,
            is_loopback: d,
            l7_service,
            is_from_proxy: e,
            is_foreign_source: f,
            is_program_missing: g,
            skip_mark: query.skip_mark,
            auth: query.auth,
            ..Facts::new(query.direction, query.identity, query.protocol, query.port)
        }
    }
}

/// The entries that the kernel's look-ups could find, by the plain meaning of a prefix.
fn covering<'a>(table: &'a Table, query: &'a Query) -> impl Iterator<Item = &'a Entry> {
    let is_for = |entry: &&Entry| {
        let Key { direction, identity, traffic } = entry.key;
        let is_peer = identity == Identity(0)
            || identity == query.identity
            || (table.order() == Order::Aggregated && (11..=14).contains(&identity.0));
        direction == query.direction && is_peer && traffic.covers(query.protocol, query.look_up_port())
    };
    table.entries().iter().filter(is_for)
}

fn key_of(query: &Query) -> Key {
    Key {
        direction: query.direction,
        identity: query.identity,
        traffic: Traffic::port(query.protocol, query.look_up_port()),
    }
}

fn with(table: &Table, entry: Entry) -> Table {
    Table::new(table.order(), table.entries().iter().copied().chain([entry]))
}

fn without_steps(decision: Decision) -> Decision {
    Decision { steps: Vec::new(), ..decision }
}

fn is_denied(decision: &Decision) -> bool {
    decision.verdict == Verdict::Denied
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_steps_change_nothing(table in tables(), query in queries()) {
        prop_assert_eq!(without_steps(evaluate(&table, &query)), decide(&table, &query));
    }

    #[test]
    fn no_circumstance_is_too_odd(table in tables(), facts in any_facts(), bits: [bool; 5], tunnel_port: Option<u16>) {
        let [icmp_rules, fragmentation_needed, fragment_tracking, source_check, audit] = bits;
        let settings =
            Settings { icmp_rules, fragmentation_needed, fragment_tracking, source_check, tunnel_port, audit };
        let decision = judge(&table, &facts, &settings);
        prop_assert!(!decision.steps.is_empty());
        prop_assert_eq!(decision.reason.is_some(), is_denied(&decision) || decision.audited);
        prop_assert!(!(decision.audited && (!audit || is_denied(&decision))));
        prop_assert_eq!(without_steps(decision), judge_quickly(&table, &facts, &settings));
    }

    /// Bits that no entry can have: nothing is concluded, and nothing breaks.
    #[test]
    fn no_entry_is_too_odd(
        order in orders(),
        entries in prop::collection::vec(any_entries(), 0..9),
        (protocol, first) in any::<(u8, u16)>(),
        bits in prop_oneof![0u8..20, any::<u8>()],
        query in queries(),
    ) {
        let odd = Key { traffic: Traffic::Ports { protocol, first, bits }, ..key_of(&query) };
        let table = with(&Table::new(order, entries), Entry::allow(odd));
        let decision = evaluate(&table, &query);
        let is_possible = bits <= 16;
        prop_assert_eq!(table.unread(), u64::from(!is_possible));
        prop_assert!(table.entries().iter().all(|entry| entry.key.traffic.prefix_length() <= 24));
        prop_assert!(is_possible || decision.verdict == Verdict::Unknown);
        near_misses(&table, &query, &decision);
    }

    /// An entry that does not cover the packet has no say, and nobody wins who does not cover it.
    #[test]
    fn only_entries_that_cover_the_packet_count(table in tables(), query in queries()) {
        let decision = decide(&table, &query);
        let few = Table::new(table.order(), covering(&table, &query).copied());
        prop_assert_eq!(&decide(&few, &query), &decision);
        for entry in decision.winner.iter().chain(&decision.other) {
            prop_assert!(covering(&table, &query).any(|covers| covers == entry));
        }
    }

    /// No look-up finds an entry while a longer one of the same identity covers the packet.
    #[test]
    fn the_longest_prefix_of_its_identity_wins(table in tables(), query in queries()) {
        let port = query.look_up_port();
        let found = table.look_up(query.direction, query.identity, query.protocol, port);
        let longest = table
            .entries()
            .iter()
            .filter(|e| e.key.direction == query.direction && e.key.identity == query.identity)
            .filter(|e| e.key.traffic.covers(query.protocol, port))
            .max_by_key(|e| e.key.traffic.prefix_length());
        prop_assert_eq!(found, longest);
    }

    /// In 1.17 and 1.18 a deny on either side wins, so that a new deny cannot open anything, unless it takes
    /// the place of another entry. (Before that the agent sorts denies out, after it precedence decides.)
    #[test]
    fn a_new_deny_opens_nothing_up_to_1_18(
        entries in prop::collection::vec(any_entries(), 0..40),
        key in keys(),
        query in queries(),
    ) {
        let table = Table::new(Order::DenyFirst, entries);
        let before = decide(&table, &query);
        let after = decide(&with(&table, Entry::deny(key)), &query);
        let mark = |decision: &Decision| decision.winner.is_none() && !is_denied(decision);
        prop_assert!(!is_denied(&before) || is_denied(&after), "{:?} then {:?}", before, after);
        prop_assert!(mark(&before) || !mark(&after));
    }

    /// Up to 1.16 too, if the deny is as exact as an entry can be and for this identity.
    #[test]
    fn an_exact_deny_always_denies_up_to_1_18(
        order in prop::sample::select(&[Order::FirstMatch, Order::DenyFirst][..]),
        entries in prop::collection::vec(any_entries(), 0..40),
        query in queries(),
    ) {
        prop_assume!(query.look_up_port() != 0);
        let decision = decide(&with(&Table::new(order, entries), Entry::deny(key_of(&query))), &query);
        prop_assert_eq!(decision.reason, Some(reason::DENY));
    }

    /// With the missing entry the packet passes; nothing that is not missing is said to be.
    #[test]
    fn what_is_missing_is_enough(table in tables(), query in queries()) {
        let decision = decide(&table, &query);
        let key = missing(&query, &decision);
        let nobody = matches!(decision.reason, Some(reason::NO_ENTRY | reason::FRAGMENT));
        prop_assert_eq!(key.is_some(), nobody);
        if let Some(key) = key {
            prop_assert_eq!(decide(&with(&table, Entry::allow(key)), &query).verdict, Verdict::Allowed);
        }
    }

    /// Once every deny that is told of is gone, no deny decides.
    #[test]
    fn the_denies_in_the_way_are_all_there_are(table in tables(), query in queries()) {
        let decision = decide(&table, &query);
        let near = near_misses(&table, &query, &decision);
        prop_assert!(decision.reason.is_some() || near.is_empty());
        if decision.reason == Some(reason::DENY) {
            let in_the_way = |entry: &&Entry| near.contains(&NearMiss::CoveringDeny(**entry));
            let rest = table.entries().iter().filter(|entry| !in_the_way(entry)).copied();
            let after = decide(&Table::new(table.order(), rest), &query);
            prop_assert_ne!(after.reason, Some(reason::DENY));
        }
    }
}
