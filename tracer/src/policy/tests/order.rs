//! Sections 3.1 to 3.7: which entry wins.

use super::{Query, Table, entries, query, table, told};
use crate::model::policy::Order::{self, Aggregated, DenyFirst, FirstMatch, Precedence};
use crate::policy::decision::Auth;
use crate::policy::evaluate::{decide, evaluate};
use crate::policy::table::Cluster;

/// Rule, entries, packet, decision.
type Row = (&'static str, &'static [&'static str], &'static str, &'static str);

fn check(orders: &[Order], rows: &[Row]) {
    for (order, (rule, entries, packet, expected)) in
        orders.iter().flat_map(|o| rows.iter().map(move |r| (o, r)))
    {
        let table = table(*order, entries);
        let decision = evaluate(&table, &query(packet));
        assert_eq!(told(&decision, &table), *expected, "{rule} ({order:?}): {entries:?} asked for {packet}");
        assert_eq!(decide(&table, &query(packet)).verdict, decision.verdict, "{rule}: without steps");
    }
}

#[test]
fn keys_as_in_3_1() {
    check(
        &Order::ALL,
        &[
            ("3.1 prefixlen 40: anything", &["5000 any"], "5000 udp:53", "allowed L3-Only #0"),
            ("3.1 prefixlen 48: a protocol", &["5000 tcp"], "5000 tcp:1", "allowed L3-Proto #0"),
            ("3.1 prefixlen 48: no other protocol", &["5000 tcp"], "5000 udp:1", "denied 133"),
            ("3.1 prefixlen 61: 8080 to 8087", &["5000 tcp:8080/13"], "5000 tcp:8087", "allowed L3-L4 #0"),
            ("3.1 prefixlen 61: not 8088", &["5000 tcp:8080/13"], "5000 tcp:8088", "denied 133"),
            ("3.1 prefixlen 61: not 8079", &["5000 tcp:8080/13"], "5000 tcp:8079", "denied 133"),
            ("3.1 prefixlen 64: one port", &["5000 tcp:443"], "5000 tcp:443", "allowed L3-L4 #0"),
            ("3.1 prefixlen 64: no other port", &["5000 tcp:443"], "5000 tcp:444", "denied 133"),
            (
                "3.1 the longest prefix",
                &["5000 tcp deny", "5000 tcp:443"],
                "5000 tcp:443",
                "allowed L3-L4 #1",
            ),
            (
                "3.1 the longest of ranges",
                &["5000 tcp:8192/3", "5000 tcp:8192/8 deny", "5000 tcp:8192/6"],
                "5000 tcp:8200",
                "denied 181 L3-L4 #1",
            ),
            ("3.1 no look-up crosses identities", &["5001 any"], "5000 tcp:443", "denied 133"),
            ("3.1 no look-up crosses directions", &["5000 any out"], "5000 tcp:443", "denied 133"),
            ("3.1 any identity is a second look-up", &["0 tcp:443"], "5000 tcp:443", "allowed L4-Only #0"),
            ("3.1 allow-all", &["0 any out"], "5000 tcp:443 out", "allowed all #0"),
            ("3.1 no entry is default deny", &[], "5000 tcp:443", "denied 133"),
            ("3.1 the local host needs an entry", &["5000 any"], "1 tcp:443", "denied 133"),
        ],
    );
}

#[test]
fn first_match_as_in_3_3() {
    check(
        &[FirstMatch],
        &[
            ("3.3 step 1", &["5000 tcp:80", "0 tcp:80"], "5000 tcp:80", "allowed L3-L4 #0"),
            ("3.3 step 1: L denies", &["5000 tcp:80 deny", "0 tcp:80"], "5000 tcp:80", "denied 181 L3-L4 #0"),
            (
                "3.3 step 1: no deny of A counts",
                &["5000 tcp:80", "0 any deny"],
                "5000 tcp:80",
                "allowed L3-L4 #0",
            ),
            ("3.3 step 2", &["5000 tcp", "0 tcp:80"], "5000 tcp:80", "allowed L4-Only #1"),
            (
                "3.3 step 2: no deny of L counts",
                &["5000 any deny", "0 tcp:80"],
                "5000 tcp:80",
                "allowed L4-Only #1",
            ),
            ("3.3 step 2: A denies", &["5000 tcp", "0 tcp:80 deny"], "5000 tcp:80", "denied 181 L4-Only #1"),
            ("3.3 step 3", &["5000 tcp", "0 tcp"], "5000 tcp:80", "allowed L3-Proto #0"),
            ("3.3 step 3 over all", &["5000 tcp deny", "0 any"], "5000 tcp:80", "denied 181 L3-Proto #0"),
            ("3.3 step 4", &["5000 any", "0 tcp"], "5000 tcp:80", "allowed Proto-Only #1"),
            ("3.3 step 4: A denies", &["5000 any", "0 tcp deny"], "5000 tcp:80", "denied 181 Proto-Only #1"),
            ("3.3 step 5", &["5000 any", "0 any"], "5000 tcp:80", "allowed L3-Only #0"),
            ("3.3 step 5: L denies", &["5000 any deny", "0 any"], "5000 tcp:80", "denied 181 L3-Only #0"),
            ("3.3 step 6", &["0 any"], "5000 tcp:80", "allowed all #0"),
            ("3.3 step 6: A denies", &["0 any deny"], "5000 tcp:80", "denied 181 all #0"),
            ("3.3 step 9", &[], "5000 tcp:80", "denied 133"),
            (
                "3.3 result: proxy",
                &["5000 tcp:80 proxy=14001"],
                "5000 tcp:80",
                "redirected L3-L4 #0 proxy=14001",
            ),
            (
                "3.3 result: deny before proxy",
                &["5000 tcp:80 deny proxy=14001"],
                "5000 tcp:80",
                "denied 181 L3-L4 #0",
            ),
            ("3.3 result: auth", &["5000 tcp:80 auth=1"], "5000 tcp:80", "unknown L3-L4 #0 auth=1"),
            (
                "3.3 auth of A is not inherited",
                &["5000 tcp:80", "0 tcp:80 auth=1"],
                "5000 tcp:80",
                "allowed L3-L4 #0",
            ),
            (
                "3.2 wildcard_dport is dport == 0",
                &["5000 tcp:0/13", "0 tcp:4/14"],
                "5000 tcp:5",
                "allowed L4-Only #1",
            ),
            ("3.2 wildcard_dport is dport == 0", &["5000 tcp:0/13"], "5000 tcp:5", "allowed L3-Proto #0"),
            ("3.8 identity 0: both look-ups coincide", &["0 tcp:80"], "0 tcp:80", "allowed L3-L4 #0"),
        ],
    );
}

#[test]
fn deny_first_as_in_3_4() {
    check(
        &[DenyFirst],
        &[
            ("3.4 step 1", &["5000 any deny", "0 tcp:80"], "5000 tcp:80", "denied 181 L3-Only #0"),
            (
                "3.4 step 1: before a deny of A",
                &["5000 any deny", "0 tcp:80 deny"],
                "5000 tcp:80",
                "denied 181 L3-Only #0",
            ),
            ("3.4 step 2", &["5000 tcp:80 prio=9", "0 any deny"], "5000 tcp:80", "denied 181 all #1"),
            ("3.4 step 3: no L", &["0 tcp"], "5000 tcp:80", "allowed Proto-Only #0"),
            (
                "3.4 step 3: priority",
                &["5000 tcp:80", "0 any prio=1 proxy=14001"],
                "5000 tcp:80",
                "redirected all #1 proxy=14001",
            ),
            ("3.4 step 3: longer prefix", &["5000 tcp", "0 tcp:80"], "5000 tcp:80", "allowed L4-Only #1"),
            (
                "3.4 step 3: longer range",
                &["5000 tcp:80/12", "0 tcp:80/13"],
                "5000 tcp:80",
                "allowed L4-Only #1",
            ),
            (
                "3.4 step 3: longer, less priority",
                &["5000 tcp prio=1", "0 tcp:80"],
                "5000 tcp:80",
                "allowed L3-Proto #0",
            ),
            ("3.4 step 4: ties go to L", &["5000 tcp:80", "0 tcp:80"], "5000 tcp:80", "allowed L3-L4 #0"),
            ("3.4 step 4: L is longer", &["5000 tcp:80", "0 tcp"], "5000 tcp:80", "allowed L3-L4 #0"),
            ("3.4 step 5", &[], "5000 tcp:80", "denied 133"),
            (
                "3.4 a shorter deny cannot be seen",
                &["5000 any deny", "5000 tcp:80"],
                "5000 tcp:80",
                "allowed L3-L4 #1",
            ),
            (
                "3.4 precedence means nothing yet",
                &["5000 tcp:80", "0 tcp:80 prec=9"],
                "5000 tcp:80",
                "allowed L3-L4 #0",
            ),
            (
                "3.4 auth is inherited",
                &["5000 tcp:80", "0 any auth=1"],
                "5000 tcp:80",
                "unknown L3-L4 #0 auth=1",
            ),
            (
                "3.4 auth is inherited by A too",
                &["5000 any auth=2", "0 tcp:80 auth=1"],
                "5000 tcp:80",
                "unknown L4-Only #1 auth=2",
            ),
            (
                "3.4 explicit auth is not",
                &["5000 tcp:80 explicit", "0 any auth=1"],
                "5000 tcp:80",
                "allowed L3-L4 #0",
            ),
            (
                "3.4 only a larger auth type",
                &["5000 tcp:80 auth=2", "0 any auth=1"],
                "5000 tcp:80",
                "unknown L3-L4 #0 auth=2",
            ),
            (
                "3.4 deny before auth",
                &["5000 tcp:80", "0 any deny auth=1"],
                "5000 tcp:80",
                "denied 181 all #1",
            ),
            (
                "3.4 proxy of the winner only",
                &["5000 tcp:80", "0 tcp:80 proxy=14001"],
                "5000 tcp:80",
                "allowed L3-L4 #0",
            ),
        ],
    );
}

const PRECEDENCE: &[Row] = &[
    (
        "3.5 step 1: highest",
        &["5000 any prec=4294967295 deny", "0 tcp:80 prec=4294967295"],
        "5000 tcp:80",
        "denied 181 L3-Only #0",
    ),
    (
        "3.5 step 1: highest allow",
        &["5000 any prec=4294967295", "0 tcp:80 prec=4294967295 deny"],
        "5000 tcp:80",
        "allowed L3-Only #0",
    ),
    (
        "3.5 step 1: highest only",
        &["5000 any prec=4294967294", "0 tcp:80 prec=4294967295 deny"],
        "5000 tcp:80",
        "denied 181 L4-Only #1",
    ),
    ("3.5 step 2: no L", &["0 any prec=1"], "5000 tcp:80", "allowed all #0"),
    ("3.5 step 2: larger", &["5000 tcp:80 prec=7", "0 any deny prec=8"], "5000 tcp:80", "denied 181 all #1"),
    (
        "3.5 step 2: larger allow over deny",
        &["5000 tcp:80 deny prec=7", "0 any prec=8"],
        "5000 tcp:80",
        "allowed all #1",
    ),
    (
        "3.5 step 2: equal and longer",
        &["5000 tcp prec=7", "0 tcp:80 prec=7"],
        "5000 tcp:80",
        "allowed L4-Only #1",
    ),
    (
        "3.5 step 3: longer, smaller",
        &["5000 tcp prec=8", "0 tcp:80 prec=7"],
        "5000 tcp:80",
        "allowed L3-Proto #0",
    ),
    ("3.5 step 3: equal", &["5000 tcp:80 prec=7", "0 tcp:80 prec=7 deny"], "5000 tcp:80", "allowed L3-L4 #0"),
    ("3.5 step 4", &["5001 any prec=9"], "5000 tcp:80", "denied 133"),
    (
        "3.5 unsigned",
        &["5000 tcp:80 prec=2147483647", "0 tcp:80 prec=2147483648 deny"],
        "5000 tcp:80",
        "denied 181 L4-Only #1",
    ),
    (
        "3.5 auth between equals",
        &["5000 tcp:80 prec=7", "0 any prec=7 auth=1"],
        "5000 tcp:80",
        "unknown L3-L4 #0 auth=1",
    ),
    (
        "3.5 auth not between others",
        &["5000 tcp:80 prec=8", "0 any prec=7 auth=1"],
        "5000 tcp:80",
        "allowed L3-L4 #0",
    ),
    (
        "3.5 explicit auth",
        &["5000 tcp:80 prec=7 explicit", "0 any prec=7 auth=1"],
        "5000 tcp:80",
        "allowed L3-L4 #0",
    ),
    (
        "3.5 cookie of the winner",
        &["5000 tcp:80 cookie=3", "0 any prec=1 cookie=4"],
        "5000 tcp:80",
        "allowed all #1 cookie=4",
    ),
    (
        "3.5 proxy of the winner",
        &["5000 tcp:80 prec=1 proxy=14001"],
        "5000 tcp:80",
        "redirected L3-L4 #0 proxy=14001",
    ),
];

#[test]
fn precedence_as_in_3_5_and_still_in_3_6() {
    for order in [Precedence, Aggregated] {
        for (rule, entries, packet, expected) in PRECEDENCE {
            // From 1.20 on a global identity is looked up by its aggregate before "any": 0 comes last.
            let entries: Vec<String> = entries
                .iter()
                .map(|entry| match (order, entry.strip_prefix("0 ")) {
                    (Aggregated, Some(rest)) => format!("11 {rest}"),
                    _ => (*entry).to_owned(),
                })
                .collect();
            let texts: Vec<&str> = entries.iter().map(String::as_str).collect();
            let table = table(order, &texts);
            assert_eq!(told(&evaluate(&table, &query(packet)), &table), *expected, "{rule} ({order:?})");
        }
    }
}

#[test]
fn aggregates_as_in_3_6() {
    check(
        &[Aggregated],
        &[
            ("3.6 identity 0: 0", &["0 tcp:80"], "0 tcp:80", "allowed L3-L4 #0"),
            ("3.6 11 to 14: itself, then 0", &["0 tcp:80"], "12 tcp:80", "allowed L4-Only #0"),
            (
                "3.6 11: no look-up by 0",
                &["11 any", "0 tcp:80 deny prec=9"],
                "11 tcp:80",
                "allowed L3-Only #0",
            ),
            (
                "3.6 14: no look-up by 0",
                &["14 any", "0 tcp:80 deny prec=9"],
                "14 tcp:80",
                "allowed L3-Only #0",
            ),
            ("3.6 15: reserved", &["15 any", "0 tcp:80 deny prec=9"], "15 tcp:80", "denied 181 L4-Only #1"),
            ("3.6 reserved: 0", &["11 any", "0 tcp:80"], "7 tcp:80", "allowed L4-Only #1"),
            ("3.6 remote node: 14", &["14 tcp:80", "0 tcp:80 deny"], "33554433 tcp:80", "allowed L4-Only #0"),
            ("3.6 CIDR: 13", &["13 tcp:80", "0 tcp:80 deny"], "16777217 tcp:80", "allowed L4-Only #0"),
            ("3.6 own cluster: 11", &["11 tcp:80", "0 tcp:80 deny"], "5000 tcp:80", "allowed L4-Only #0"),
            ("3.6 third look-up if both missed", &["0 tcp:80 deny"], "5000 tcp:80", "denied 181 L4-Only #0"),
            (
                "3.6 no third if the first found",
                &["5000 any", "0 tcp:80 deny prec=9"],
                "5000 tcp:80",
                "allowed L3-Only #0",
            ),
            (
                "3.6 no third if the second found",
                &["11 any", "0 tcp:80 deny prec=9"],
                "5000 tcp:80",
                "allowed all #0",
            ),
        ],
    );
}

#[test]
fn the_cluster_decides_the_aggregate_as_in_3_6() {
    const OTHER: &str = "136072 tcp:80"; // 2 << 16 | 5000
    const SPLIT: &[&str] = &["11 tcp:80", "12 tcp:80 deny"];
    let with = |id, identity_bits| {
        Table::new(Aggregated, entries(SPLIT)).with_cluster(Cluster { id, identity_bits })
    };
    for (rule, table, packet, expected) in [
        ("3.6 own cluster id: 11", with(2, 16), OTHER, "allowed L4-Only #0"),
        ("3.6 other cluster: 12", with(1, 16), OTHER, "denied 181 L4-Only #1"),
        ("6.1 shift 15: cluster 4", with(4, 15), OTHER, "allowed L4-Only #0"),
        ("no guess at the own cluster", table(Aggregated, SPLIT), OTHER, "unknown L4-Only #0"),
        ("no need to know it", table(Aggregated, &["0 tcp:80"]), OTHER, "allowed L4-Only #0"),
    ] {
        assert_eq!(told(&evaluate(&table, &query(packet)), &table), expected, "{rule}");
    }
}

#[test]
fn nothing_found_as_in_3_3_to_3_5() {
    let fragment = Query { fragment: true, ..query("5000 udp:53") };
    let marked = Query { skip_mark: true, ..query("5000 udp:53") };
    for order in Order::ALL {
        let told = |entries: &[&str], query: &Query| {
            let table = table(order, entries);
            told(&evaluate(&table, query), &table)
        };
        assert_eq!(told(&[], &fragment), "denied 157", "3.3 step 8");
        assert_eq!(told(&["5000 udp:53"], &fragment), "denied 157", "3.8: looked up with ports 0");
        assert_eq!(told(&["5000 udp"], &fragment), "allowed L3-Proto #0", "3.10: a wildcard port lets it in");
        let marked_passes = matches!(order, FirstMatch | DenyFirst);
        let expected = if marked_passes { "allowed" } else { "denied 133" };
        assert_eq!(told(&[], &marked), expected, "3.3 step 7, 3.4 step 5, 3.5 step 4");
        assert_eq!(
            told(&["5000 any deny"], &marked),
            "denied 181 L3-Only #0",
            "3.3 step 7 only without entry"
        );
    }
}

#[test]
fn authentication_as_in_3_8() {
    for (auth, expected) in [
        (Auth::Valid, "redirected L3-L4 #0 proxy=14001 auth=1"),
        (Auth::Missing, "denied 189 L3-L4 #0 proxy=14001 auth=1"),
        (Auth::NoNodeId, "denied 197 L3-L4 #0 proxy=14001 auth=1"),
        (Auth::Unknown, "unknown L3-L4 #0 proxy=14001 auth=1"),
    ] {
        for order in Order::ALL {
            let table = table(order, &["5000 tcp:80 auth=1 proxy=14001"]);
            let decision = evaluate(&table, &Query { auth, ..query("5000 tcp:80") });
            assert_eq!(told(&decision, &table), expected, "3.8 auth ({order:?})");
        }
    }
}

#[test]
fn match_types_have_the_numbers_of_3_7() {
    use crate::policy::decision::MatchType::{All, L3L4, L3Only, L3Proto, L4Only, None, ProtoOnly};
    let numbers =
        [None, L3Only, L3L4, L4Only, All, L3Proto, ProtoOnly].map(|kind| (kind as u8, kind.as_str()));
    let expected = ["none", "L3-Only", "L3-L4", "L4-Only", "all", "L3-Proto", "Proto-Only"];
    assert_eq!(numbers, std::array::from_fn(|number| (number as u8, expected[number])));
    check(
        &[DenyFirst, Precedence, Aggregated],
        &[
            ("3.7: L, 0", &["5000 any"], "5000 tcp:80", "allowed L3-Only #0"),
            ("3.7: L, 8", &["5000 tcp"], "5000 tcp:80", "allowed L3-Proto #0"),
            ("3.7: L, 9", &["5000 tcp:0/1"], "5000 tcp:80", "allowed L3-L4 #0"),
            ("3.7: L, 24", &["5000 tcp:80"], "5000 tcp:80", "allowed L3-L4 #0"),
            ("3.7: A, 0", &["0 any"], "5000 tcp:80", "allowed all #0"),
            ("3.7: A, 8", &["0 tcp"], "5000 tcp:80", "allowed Proto-Only #0"),
            ("3.7: A, 9", &["0 tcp:0/1"], "5000 tcp:80", "allowed L4-Only #0"),
        ],
    );
}

#[test]
fn entries_that_were_not_read_leave_the_answer_open() {
    let table = table(DenyFirst, &["5000 any"]).with_unread(1);
    assert_eq!(told(&evaluate(&table, &query("5000 tcp:80")), &table), "unknown L3-Only #0");
}

#[test]
fn enforcement_as_in_7_5() {
    use crate::model::policy::Direction::{Egress, Ingress};
    for (entries, expected) in [
        (&["0 any"][..], [false, true]),
        (&["0 any out"], [true, false]),
        (&["0 any deny", "0 tcp out", "5000 any out"], [true, true]),
        (&[], [true, true]),
    ] {
        let table = table(DenyFirst, entries);
        assert_eq!([Ingress, Egress].map(|way| table.is_enforced(way)), expected, "{entries:?}");
    }
}
