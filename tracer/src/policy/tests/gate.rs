//! Sections 3.8 and 3.9: what runs around the look-up.

use tracer_common::id::Identity;

use super::{Table, query, table, told};
use crate::model::policy::{Direction, Order};
use crate::policy::decision::{Auth, Query};
use crate::policy::gate::{Connection, Facts, Fragment, Place, Settings, judge, judge_quickly, remote};

const HOST: Place = Place::Host { is_host: true, is_masqueraded: false };

/// A rule, what makes it apply, the policy, and what comes out with and without it.
struct Case {
    rule: &'static str,
    packet: &'static str,
    entries: &'static [&'static str],
    facts: fn(&mut Facts),
    settings: fn(&mut Settings),
    expected: &'static str,
    /// The name of a step that must be there; "" none.
    step: &'static str,
}

const PLAIN: Case = Case {
    rule: "",
    packet: "5000 tcp:80",
    entries: &[],
    facts: |_| {},
    settings: |_| {},
    expected: "denied 133",
    step: "",
};

fn facts(text: &str) -> Facts {
    let Query { direction, identity, protocol, port, .. } = query(text);
    Facts::new(direction, identity, protocol, port)
}

fn check(cases: &[Case]) {
    for case in cases {
        for order in Order::ALL {
            let table = table(order, case.entries);
            let (mut facts, mut settings) = (facts(case.packet), Settings::default());
            (case.facts)(&mut facts);
            (case.settings)(&mut settings);
            let decision = judge(&table, &facts, &settings);
            let rule = case.rule;
            assert_eq!(told(&decision, &table), case.expected, "{rule} ({order:?})");
            let names: Vec<&str> = decision.steps.iter().map(|step| step.rule.as_str()).collect();
            assert!(
                case.step.is_empty() || names.contains(&case.step),
                "{rule}: no {} in {names:?}",
                case.step
            );
            let quick = judge_quickly(&table, &facts, &settings);
            assert_eq!(told(&quick, &table), case.expected, "{rule} ({order:?}): without steps");
            assert!(quick.steps.is_empty());
        }
    }
}

#[test]
fn the_gate_of_connection_tracking() {
    let both = |rule, connection: fn(&mut Facts), expected, step| {
        ["5000 tcp:80", "5000 tcp:80 out"].map(|packet| Case {
            rule,
            packet,
            facts: connection,
            expected,
            step,
            ..PLAIN
        })
    };
    check(&both("3.8 NEW: evaluated", |_| {}, "denied 133", "no-entry"));
    check(&both(
        "3.8 ESTABLISHED: evaluated for every packet",
        |f| f.connection = Connection::Established,
        "denied 133",
        "established",
    ));
    check(&both("3.8 REPLY: skipped", |f| f.connection = Connection::Reply, "allowed", "reply"));
    check(&both("3.8 RELATED: skipped", |f| f.connection = Connection::Related, "allowed", "related"));
    check(&both(
        "3.8 REPLY of a proxied connection",
        |f| (f.connection, f.is_proxy_connection) = (Connection::Reply, true),
        "redirected",
        "proxy-connection",
    ));
    check(&both(
        "3.8 NEW: proxy_redirect of an entry means nothing",
        |f| f.is_proxy_connection = true,
        "denied 133",
        "",
    ));
    check(&[
        Case {
            rule: "3.8 loopback: ingress skipped",
            facts: |f| f.is_loopback = true,
            expected: "allowed",
            step: "loopback",
            ..PLAIN
        },
        Case {
            rule: "3.8 loopback: egress evaluated",
            packet: "5000 tcp:80 out",
            facts: |f| f.is_loopback = true,
            ..PLAIN
        },
        Case {
            rule: "3.8 L7 service: egress skipped",
            packet: "5000 tcp:80 out",
            facts: |f| f.l7_service = Some(14002),
            expected: "redirected proxy=14002",
            step: "l7-service",
            ..PLAIN
        },
        Case { rule: "3.8 L7 service: ingress evaluated", facts: |f| f.l7_service = Some(14002), ..PLAIN },
        Case {
            rule: "3.8 skip_ingress_proxy",
            facts: |f| f.is_from_proxy = true,
            expected: "allowed",
            step: "from-proxy",
            ..PLAIN
        },
        Case {
            rule: "3.8 skip_ingress_proxy: not egress",
            packet: "5000 tcp:80 out",
            facts: |f| f.is_from_proxy = true,
            ..PLAIN
        },
    ]);
}

#[test]
fn rules_that_no_entry_can_change() {
    const OPEN: &[&str] = &["0 any", "0 any out"];
    const TUNNEL: fn(&mut Settings) = |s| s.tunnel_port = Some(8472);
    check(&[
        Case {
            rule: "3.8 encapsulation forbidden",
            packet: "5000 udp:8472 out",
            entries: OPEN,
            settings: TUNNEL,
            expected: "denied 170",
            step: "encapsulation",
            ..PLAIN
        },
        Case {
            rule: "3.8 encapsulation: UDP only",
            packet: "5000 tcp:8472 out",
            entries: OPEN,
            settings: TUNNEL,
            expected: "allowed all #1",
            ..PLAIN
        },
        Case {
            rule: "3.8 encapsulation: egress only",
            packet: "5000 udp:8472",
            entries: OPEN,
            settings: TUNNEL,
            expected: "allowed all #0",
            ..PLAIN
        },
        Case {
            rule: "3.8 encapsulation: tunnel mode only",
            packet: "5000 udp:8472 out",
            entries: OPEN,
            expected: "allowed all #1",
            ..PLAIN
        },
        Case {
            rule: "3.8 encapsulation: source not host",
            packet: "5000 udp:8472 out",
            entries: OPEN,
            facts: |f| f.place = HOST,
            settings: TUNNEL,
            expected: "allowed all #1",
            ..PLAIN
        },
        Case {
            rule: "3.8 encapsulation is no policy error: audit mode does not help",
            packet: "5000 udp:8472 out",
            settings: |s| (s.tunnel_port, s.audit) = (Some(8472), true),
            expected: "denied 170",
            ..PLAIN
        },
        Case {
            rule: "3.8 source IP check, before everything",
            packet: "5000 tcp:80 out",
            entries: OPEN,
            facts: |f| (f.is_foreign_source, f.connection) = (true, Connection::Reply),
            expected: "denied 132",
            step: "foreign-source",
            ..PLAIN
        },
        Case {
            rule: "3.8 disable-sip-verification",
            packet: "5000 tcp:80 out",
            entries: OPEN,
            facts: |f| f.is_foreign_source = true,
            settings: |s| s.source_check = false,
            expected: "allowed all #1",
            ..PLAIN
        },
        Case {
            rule: "3.8 policy program missing",
            entries: OPEN,
            facts: |f| f.is_program_missing = true,
            expected: "denied 203",
            step: "program-missing",
            ..PLAIN
        },
        Case {
            rule: "3.8 policy program missing: host",
            entries: OPEN,
            facts: |f| (f.is_program_missing, f.place) = (true, HOST),
            expected: "denied 202",
            ..PLAIN
        },
        Case {
            rule: "3.8 unenforced direction: match type ALL",
            entries: OPEN,
            expected: "allowed all #0",
            ..PLAIN
        },
    ]);
}

#[test]
fn icmp() {
    const NEEDED: fn(&mut Facts) = |f| f.icmp = Some((3, 4));
    const ECHO: fn(&mut Facts) = |f| f.icmp = Some((8, 0));
    check(&[
        Case {
            rule: "3.8 fragmentation needed passes",
            packet: "5000 icmp:0",
            facts: NEEDED,
            expected: "allowed",
            step: "fragmentation-needed",
            ..PLAIN
        },
        Case {
            rule: "3.8 even where all is denied",
            packet: "5000 icmp:0 out",
            entries: &["0 any deny out"],
            facts: NEEDED,
            expected: "allowed",
            ..PLAIN
        },
        Case {
            rule: "3.8 type 3 code 4 only",
            packet: "5000 icmp:0",
            facts: |f| f.icmp = Some((3, 3)),
            ..PLAIN
        },
        Case { rule: "3.8 ICMPv4 only", packet: "5000 icmp6:0", facts: NEEDED, ..PLAIN },
        Case {
            rule: "3.8 ALLOW_ICMP_FRAG_NEEDED off",
            packet: "5000 icmp:0",
            facts: NEEDED,
            settings: |s| s.fragmentation_needed = false,
            ..PLAIN
        },
        Case {
            rule: "3.8 type as port",
            packet: "5000 icmp:0",
            entries: &["5000 icmp:8"],
            facts: ECHO,
            expected: "allowed L3-L4 #0",
            step: "icmp-type",
            ..PLAIN
        },
        Case {
            rule: "3.8 another type",
            packet: "5000 icmp:0",
            entries: &["5000 icmp:11"],
            facts: ECHO,
            ..PLAIN
        },
        Case {
            rule: "3.8 ICMPv6 type as port",
            packet: "5000 icmp6:0",
            entries: &["5000 icmp6:128"],
            facts: |f| f.icmp = Some((128, 0)),
            expected: "allowed L3-L4 #0",
            ..PLAIN
        },
        Case {
            rule: "3.8 enable-icmp-rules off: dport is what CT put there",
            packet: "5000 icmp:77",
            entries: &["5000 icmp:8", "5000 icmp:77"],
            facts: ECHO,
            settings: |s| s.icmp_rules = false,
            expected: "allowed L3-L4 #1",
            ..PLAIN
        },
        Case {
            rule: "3.8 a rule for type 0 is the any-port entry",
            packet: "5000 icmp:0",
            entries: &["5000 icmp"],
            facts: |f| f.icmp = Some((0, 0)),
            expected: "allowed L3-Proto #0",
            ..PLAIN
        },
        Case {
            rule: "3.8 the code is not matched",
            packet: "5000 icmp:0",
            entries: &["5000 icmp:8"],
            facts: |f| f.icmp = Some((8, 9)),
            expected: "allowed L3-L4 #0",
            ..PLAIN
        },
    ]);
}

#[test]
fn fragments() {
    const LOST: Fragment = Fragment::Later { first_was_seen: false };
    const FIRST: fn(&mut Facts) = |f| f.fragment = Fragment::First;
    const LATER: fn(&mut Facts) = |f| f.fragment = Fragment::Later { first_was_seen: true };
    const UNTRACKED: fn(&mut Settings) = |s| s.fragment_tracking = false;
    check(&[
        Case {
            rule: "3.8 egress, tracking off",
            packet: "5000 udp:53 out",
            entries: &["0 any out"],
            facts: FIRST,
            settings: UNTRACKED,
            expected: "denied 157",
            step: "fragment-sent",
        },
        Case {
            rule: "3.8 egress, tracking off: before CT",
            packet: "5000 udp:53 out",
            facts: |f| (f.fragment, f.connection) = (LOST, Connection::Reply),
            settings: UNTRACKED,
            expected: "denied 157",
            ..PLAIN
        },
        Case {
            rule: "3.8 ingress, tracking off: ports 0",
            packet: "5000 udp:53",
            entries: &["5000 udp:53"],
            facts: LATER,
            settings: UNTRACKED,
            expected: "denied 157",
            step: "fragment-port",
        },
        Case {
            rule: "3.8 ingress, tracking off: nobody asks for the first one",
            packet: "5000 udp:53",
            facts: |f| f.fragment = LOST,
            settings: UNTRACKED,
            expected: "denied 157",
            ..PLAIN
        },
        Case {
            rule: "3.8 ingress, tracking off: an entry for the protocol",
            packet: "5000 udp:53",
            entries: &["5000 udp"],
            facts: LATER,
            settings: UNTRACKED,
            expected: "allowed L3-Proto #0",
            ..PLAIN
        },
        Case {
            rule: "3.8 ingress, tracking off: a deny is 181",
            packet: "5000 udp:53",
            entries: &["5000 udp deny"],
            facts: LATER,
            settings: UNTRACKED,
            expected: "denied 181 L3-Proto #0",
            ..PLAIN
        },
        Case {
            rule: "3.8 the host's fragments are looked up",
            packet: "5000 udp:53 out",
            entries: &["5000 udp out"],
            facts: |f| (f.fragment, f.place) = (Fragment::First, HOST),
            settings: UNTRACKED,
            expected: "allowed L3-Proto #0",
            ..PLAIN
        },
        Case {
            rule: "2.8 tracked: ports of the first",
            packet: "5000 udp:53",
            entries: &["5000 udp:53"],
            facts: LATER,
            expected: "allowed L3-L4 #0",
            ..PLAIN
        },
        Case { rule: "2.8 tracked: no entry is 133", packet: "5000 udp:53", facts: FIRST, ..PLAIN },
        Case {
            rule: "5.1 tracked, first not seen: 175",
            packet: "5000 udp:0",
            entries: &["0 any"],
            facts: |f| f.fragment = LOST,
            expected: "denied 175",
            step: "first-fragment-unknown",
            ..PLAIN
        },
    ]);
}

#[test]
fn audit_mode() {
    const AUDIT: fn(&mut Settings) = |s| s.audit = true;
    check(&[
        Case {
            rule: "3.8 audit: 133 passes",
            settings: AUDIT,
            expected: "allowed 133 audited",
            step: "audited",
            ..PLAIN
        },
        Case {
            rule: "3.8 audit: 181 passes",
            entries: &["0 any deny"],
            settings: AUDIT,
            expected: "allowed 181 all #0 audited",
            ..PLAIN
        },
        Case {
            rule: "3.8 audit: no redirect",
            entries: &["0 any auth=1 proxy=14001"],
            facts: |f| f.auth = Auth::Missing,
            settings: AUDIT,
            expected: "allowed 189 all #0 auth=1 audited",
            ..PLAIN
        },
        Case {
            rule: "3.8 audit: passes whatever authentication says",
            entries: &["0 any auth=1"],
            settings: AUDIT,
            expected: "allowed 189 all #0 auth=1 audited",
            ..PLAIN
        },
        Case {
            rule: "3.8 audit: what is allowed is not audited",
            entries: &["0 any"],
            settings: AUDIT,
            expected: "allowed all #0",
            ..PLAIN
        },
        Case {
            rule: "3.8 audit: what is redirected is not audited",
            entries: &["0 any proxy=14001"],
            settings: AUDIT,
            expected: "redirected all #0 proxy=14001",
            ..PLAIN
        },
        Case {
            rule: "3.8 audit: 157 passes",
            packet: "5000 udp:53",
            facts: |f| f.fragment = Fragment::First,
            settings: |s| (s.audit, s.fragment_tracking) = (true, false),
            expected: "allowed 157 audited",
            ..PLAIN
        },
    ]);
}

#[test]
fn authentication_and_marks_reach_the_look_up() {
    check(&[
        Case {
            rule: "3.8 auth: miss",
            entries: &["5000 tcp auth=1"],
            facts: |f| f.auth = Auth::Missing,
            expected: "denied 189 L3-Proto #0 auth=1",
            step: "auth-missing",
            ..PLAIN
        },
        Case {
            rule: "3.8 auth: no node id",
            entries: &["5000 tcp auth=1"],
            facts: |f| f.auth = Auth::NoNodeId,
            expected: "denied 197 L3-Proto #0 auth=1",
            step: "auth-no-node-id",
            ..PLAIN
        },
        Case {
            rule: "3.8 auth: valid",
            entries: &["5000 tcp auth=1"],
            facts: |f| f.auth = Auth::Valid,
            expected: "allowed L3-Proto #0 auth=1",
            step: "auth-valid",
            ..PLAIN
        },
    ]);
    let marked = Facts { skip_mark: true, ..facts("5000 tcp:80") };
    let decision = judge(&table(Order::FirstMatch, &[]), &marked, &Settings::default());
    assert_eq!(told(&decision, &table(Order::FirstMatch, &[])), "allowed", "3.3 step 7");
}

#[test]
fn the_host_firewall() {
    const NOT_HOST: Place = Place::Host { is_host: false, is_masqueraded: false };
    const MASQUERADED: Place = Place::Host { is_host: true, is_masqueraded: true };
    check(&[
        Case { rule: "3.9 the end is the host: evaluated", facts: |f| f.place = HOST, ..PLAIN },
        Case {
            rule: "3.9 the end is not the host: not checked",
            facts: |f| f.place = NOT_HOST,
            expected: "allowed",
            step: "not-host",
            ..PLAIN
        },
        Case {
            rule: "3.9 SNATed pod traffic is only tracked",
            packet: "5000 tcp:80 out",
            facts: |f| f.place = MASQUERADED,
            expected: "allowed",
            step: "masqueraded",
            ..PLAIN
        },
        Case {
            rule: "3.9 REPLY skipped",
            facts: |f| (f.place, f.connection) = (HOST, Connection::Reply),
            expected: "allowed",
            step: "reply",
            ..PLAIN
        },
        Case {
            rule: "3.9 no source check",
            packet: "5000 tcp:80 out",
            entries: &["5000 any out"],
            facts: |f| (f.place, f.is_foreign_source) = (HOST, true),
            expected: "allowed L3-Only #0",
            ..PLAIN
        },
    ]);
}

#[test]
fn the_identity_that_is_looked_up() {
    let (world, peer) = (Identity(2), Identity(5000));
    for direction in Direction::ALL {
        for place in [Place::Endpoint, HOST] {
            let of = |order, found| remote((place, direction), order, found, world);
            assert_eq!(of(Order::DenyFirst, Some(peer)), peer, "3.8 ipcache");
            let is_bare = place == HOST && direction == Direction::Egress;
            let miss = if is_bare { Identity(0) } else { world };
            assert_eq!(of(Order::FirstMatch, None), miss, "3.8 miss is world, 3.9 egress miss is 0");
            assert_eq!(of(Order::FirstMatch, Some(Identity(0))), miss, "3.8 miss or 0");
            assert_eq!(of(Order::Precedence, None), world, "3.9 of 1.14 to 1.17dev only");
        }
    }
}

#[test]
fn a_redirect_names_its_proxy() {
    let table: Table = table(Order::DenyFirst, &["5000 tcp:80 proxy=14001"]);
    let decision = judge(&table, &facts("5000 tcp:80"), &Settings::default());
    assert_eq!(told(&decision, &table), "redirected L3-L4 #0 proxy=14001", "3.8 proxy redirect");
    assert!(decision.is_allowed());
}
