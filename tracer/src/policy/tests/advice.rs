//! Section 3.10: what is missing, and what nearly fits.

use super::{Query, entry, query, table, traffic};
use crate::model::policy::{Direction, Order};
use crate::policy::advice::{NearMiss, missing, near_misses};
use crate::policy::evaluate::evaluate;
use crate::policy::gate::{Facts, Place, Settings, judge};

#[test]
fn the_narrowest_entry_is_missing() {
    for (rule, entries, query, expected) in [
        ("3.10 133: (remote, proto, port)", &["5000 tcp:80"][..], query("5000 tcp:81"), Some("tcp:81")),
        ("3.10 133: direction", &["5000 tcp:80 out"], query("5000 tcp:80"), Some("tcp:80")),
        ("3.8 ICMP type as port", &[], query("5000 icmp:8"), Some("icmp:8")),
        ("3.8 type 0 is the any-port entry", &[], query("5000 icmp:0"), Some("icmp")),
        ("3.10 157: a wildcard port", &[], Query { fragment: true, ..query("5000 udp:53") }, Some("udp")),
        ("3.10 181: nothing is missing", &["5000 any deny"], query("5000 tcp:80"), None),
        ("3.10 189: nothing is missing", &["5000 any auth=1"], query("5000 tcp:80"), None),
        ("allowed", &["5000 any"], query("5000 tcp:80"), None),
    ] {
        for order in Order::ALL {
            let table = table(order, entries);
            let found = missing(&query, &evaluate(&table, &query));
            assert_eq!(found.map(|key| key.traffic), expected.map(traffic), "{rule} ({order:?})");
            let Some(key) = found else { continue };
            assert_eq!((key.direction, key.identity), (query.direction, query.identity), "{rule}");
        }
    }
}

fn near(order: Order, entries: &[&str], packet: &str) -> Vec<NearMiss> {
    let (table, query) = (table(order, entries).with_capacity(100), query(packet));
    near_misses(&table, &query, &evaluate(&table, &query))
}

#[test]
fn near_misses_come_in_the_order_of_their_use() {
    for order in Order::ALL {
        let found = near(
            order,
            &[
                "6000 tcp:80",
                "5000 udp:80",
                "5000 tcp:8080",
                "5000 tcp:96/11",
                "6000 tcp",
                "7000 tcp:80 deny",
                "5000 tcp:443 deny",
                "5000 tcp:81 out",
                "6000 udp:80",
                "0 tcp:443",
            ],
            "5000 tcp:80",
        );
        let expected = [
            NearMiss::SamePeer(entry("5000 tcp:96/11")),
            NearMiss::SamePeer(entry("5000 tcp:8080")),
            NearMiss::SamePeer(entry("5000 udp:80")),
            NearMiss::SamePeer(entry("0 tcp:443")),
            NearMiss::SamePort(entry("6000 tcp:80")),
            NearMiss::SamePort(entry("6000 tcp")),
        ];
        assert_eq!(found, expected, "{order:?}");
    }
}

#[test]
fn an_empty_and_a_full_map_are_told() {
    let empty = near(Order::DenyFirst, &["5000 any out"], "5000 tcp:80");
    assert_eq!(empty, [NearMiss::Empty(Direction::Ingress)]);
    let full = table(Order::DenyFirst, &["7 any", "8 any"]).with_capacity(2);
    let query = query("5000 udp:53 out");
    let found = near_misses(&full, &query, &evaluate(&full, &query));
    assert_eq!(found, [NearMiss::Empty(Direction::Egress), NearMiss::Full { entries: 2, capacity: 2 }]);
}

#[test]
fn every_deny_in_the_way_is_told_the_winner_first() {
    let found = near(
        Order::DenyFirst,
        &["5000 any deny", "5000 tcp:80", "0 tcp deny", "0 any", "5000 udp deny"],
        "5000 tcp:80",
    );
    let expected = [
        NearMiss::CoveringDeny(entry("0 tcp deny")),
        NearMiss::CoveringDeny(entry("5000 any deny")),
        NearMiss::HiddenAllow(entry("5000 tcp:80")),
        NearMiss::HiddenAllow(entry("0 any")),
    ];
    assert_eq!(found, expected);
    let aggregated = near(Order::Aggregated, &["11 tcp:80 deny", "0 any"], "5000 tcp:80");
    let expected = [NearMiss::CoveringDeny(entry("11 tcp:80 deny")), NearMiss::HiddenAllow(entry("0 any"))];
    assert_eq!(aggregated, expected);
}

#[test]
fn nothing_nearly_fits_what_passes() {
    assert!(near(Order::DenyFirst, &["5000 tcp:80", "5000 tcp:81"], "5000 tcp:80").is_empty());
}

/// 170, 203 and 202 are fixed rules: no entry is missing and none is in the way.
#[test]
fn fixed_rules_miss_no_entry_as_in_3_10() {
    let packet = query("5000 udp:8472 out");
    let facts = Facts::new(packet.direction, packet.identity, packet.protocol, packet.port);
    let settings = Settings { tunnel_port: Some(8472), ..Settings::default() };
    let missing_program = Facts { is_program_missing: true, ..facts };
    let host = Place::Host { is_host: true, is_masqueraded: false };
    let table = table(Order::DenyFirst, &["5000 tcp out", "0 any deny out"]);
    for (facts, expected) in
        [(facts, 170), (missing_program, 203), (Facts { place: host, ..missing_program }, 202)]
    {
        let decision = judge(&table, &facts, &settings);
        assert_eq!(decision.reason.map(|reason| reason.0), Some(expected));
        assert_eq!(missing(&packet, &decision), None);
        assert!(near_misses(&table, &packet, &decision).is_empty());
    }
}
