//! `tracer why` on the recorded real node: verdicts that its policy listing (`tool/policy-get-all-n.txt`), ipcache
//! listing and service listing imply, worked out by hand. The rule that decides stands beside each row.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::maps::{stderr, stdout, tracer};
use super::real_node::{pin_maps, recording_or_why_not};
use crate::node::kernel::space::NodeSpace;
use crate::runner::Outcome;

crate::tests![verdicts_follow_from_the_policy_listing: 240];

/// Verdict of egress and ingress: allowed, denied, redirected, not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    A,
    D,
    R,
    N,
}

use Side::{A, D, N, R};

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::A => "allowed",
            Self::D => "denied",
            Self::R => "redirected",
            Self::N => "not_asked",
        }
    }
}

/// Source, destination, egress, ingress, drop reason (0: none), match type of the deciding side, rule.
type Row = (&'static str, &'static str, Side, Side, u64, &'static str, &'static str);

/// Pods: client 2148 (identity 20002), server 4023 and server2 260 (20310), other 601 (27246).
const DIRECT: &[Row] = &[
    ("default/client", "default/server:8080/tcp", A, A, 0, "L3-L4", "4023 in: 20002 8080/TCP"),
    ("default/client", "default/server:8443/tcp", A, A, 0, "L3-L4", "4023 in: 20002 8443/TCP"),
    ("default/client", "default/server:9000/tcp", A, A, 0, "L3-L4", "4023 in: 20002 9000-9007/TCP, first"),
    ("default/client", "default/server:9007/tcp", A, A, 0, "L3-L4", "4023 in: 20002 9000-9007/TCP, last"),
    ("default/client", "default/server:9008/tcp", A, D, 133, "none", "4023 in: nothing past the range"),
    ("default/client", "default/server:8999/tcp", A, D, 133, "none", "4023 in: nothing before the range"),
    ("default/client", "default/server:9003/udp", A, D, 133, "none", "4023 in: the range is TCP"),
    ("default/client", "default/server2:9003/tcp", A, A, 0, "L3-L4", "260 in: 20002 9000-9007/TCP"),
    ("default/client", "default/server:5353/udp", A, A, 0, "L3-L4", "4023 in: 20002 5353/UDP"),
    ("default/client", "default/server:53/udp", A, D, 133, "none", "4023 in: nothing"),
    ("default/client", "default/server:4000/tcp", A, A, 0, "L4-Only", "4023 in: 0 4000/TCP"),
    ("default/client", "default/server/icmp", A, A, 0, "L3-L4", "4023 in: 20002 8/ICMP"),
    ("default/client", "default/server:13/icmp", A, D, 133, "none", "4023 in: echo request only"),
    ("10.15.0.11", "10.15.0.13:9999/tcp", A, D, 133, "none", "260 in: nothing"),
    ("fd00:15::11", "fd00:15::12/icmpv6", A, A, 0, "L3-L4", "4023 in: 20002 128/ICMPv6"),
    ("fd00:15::11", "[fd00:15::12]:129/icmpv6", A, D, 133, "none", "4023 in: echo request only"),
    ("fd00:15::11", "[fd00:15::12]:8080/tcp", A, A, 0, "L3-L4", "4023 in: 20002 8080/TCP"),
    ("fd00:15::11", "[fd00:15::13]:8081/tcp", A, D, 133, "none", "260 in: nothing"),
    (
        "default/other",
        "default/server:8080/tcp",
        A,
        A,
        0,
        "L3-L4",
        "601 out: 20310 8080; 4023 in: 27246 8080",
    ),
    (
        "default/other",
        "default/server:7000/tcp",
        A,
        D,
        189,
        "L3-L4",
        "4023 in: 27246 7000 spire, no authentication",
    ),
    (
        "fd00:15::14",
        "[fd00:15::13]:7000/tcp",
        A,
        D,
        189,
        "L3-L4",
        "260 in: 27246 7000 spire, no authentication",
    ),
    ("default/other", "default/server:8443/tcp", D, D, 133, "none", "601 out: nothing"),
    (
        "default/other",
        "default/server:4000/tcp",
        D,
        A,
        133,
        "none",
        "601 out: nothing, though 4023 in: 0 4000",
    ),
    ("default/other", "default/client:80/tcp", D, A, 133, "none", "601 out: nothing for 20002"),
    ("default/client", "default/other:1234/udp", A, A, 0, "all", "601 in: 0 ANY"),
    ("default/server", "default/client:1/tcp", A, A, 0, "all", "4023 out: 0 ANY; 2148 in: 0 ANY"),
    ("default/other", "172.30.0.2:53/udp", R, N, 0, "L3-L4", "601 out: 16777218 53/UDP to proxy 33243"),
    ("default/other", "172.30.0.2:8080/tcp", A, N, 0, "L3-L4", "601 out: 16777218 8080/TCP"),
    ("default/other", "172.30.0.2:53/tcp", D, N, 133, "none", "601 out: DNS by UDP only"),
    ("default/other", "172.30.0.60:443/tcp", D, N, 181, "L3-L4", "601 out: deny 16777221 443/TCP"),
    ("default/other", "172.30.0.60:9/udp", D, N, 181, "L3-Only", "601 out: deny 16777221 ANY"),
    (
        "default/other",
        "172.30.0.50:443/tcp",
        A,
        N,
        0,
        "L3-L4",
        "601 out: 16777223 443/TCP, the name's identity",
    ),
    ("default/other", "[fd00:30::50]:443/tcp", A, N, 0, "L3-L4", "601 out: 16777224 443/TCP"),
    ("default/other", "[fd00:30::50]:8080/tcp", D, N, 133, "none", "601 out: 16777224 by 443 only"),
    ("default/other", "172.30.0.33:8080/tcp", A, N, 0, "L3-L4", "601 out: 16777220 8080/TCP, from the /26"),
    ("default/other", "172.30.0.33:443/tcp", D, N, 133, "none", "601 out: 16777220 by 8080 only"),
    ("default/other", "172.30.0.200:8080/tcp", A, N, 0, "L3-L4", "601 out: 16777219 8080/TCP, from the /25"),
    ("default/other", "198.51.100.1:443/tcp", D, N, 133, "none", "601 out: nothing for world-ipv4 (9)"),
    ("default/client", "198.51.100.1:443/tcp", A, N, 0, "all", "2148 out: 0 ANY"),
    (
        "default/client",
        "10.16.0.22:8080/tcp",
        A,
        N,
        0,
        "all",
        "2148 out: 0 ANY; the other node decides further",
    ),
    ("default/other", "10.16.0.22:8080/tcp", D, N, 133, "none", "601 out: nothing for 20001"),
    ("203.0.113.7", "default/server:8080/tcp", N, D, 181, "L3-L4", "4023 in: deny 16777222 8080/TCP"),
    ("203.0.113.7", "default/server2:1/udp", N, D, 181, "L3-Only", "260 in: deny 16777222 ANY"),
    (
        "203.0.113.7",
        "default/server:4000/tcp",
        N,
        D,
        181,
        "L3-L4",
        "4023 in: deny 16777222 4000 before 0 4000",
    ),
    ("2001:db8:1::5", "[fd00:15::12]:8080/tcp", N, D, 181, "L3-L4", "4023 in: deny 16777217 8080/TCP"),
    ("2001:db8:9::1", "[fd00:15::12]:8080/tcp", N, A, 0, "L3-L4", "4023 in: 10 8080/TCP"),
    ("198.51.100.9", "default/server:8080/tcp", N, A, 0, "L3-L4", "4023 in: 9 8080/TCP"),
    ("world", "default/server2:5353/udp", N, A, 0, "L3-L4", "260 in: 9 5353/UDP"),
    ("198.51.100.9", "default/server:22/tcp", N, D, 133, "none", "4023 in: nothing for 9"),
    ("172.30.0.2", "default/server2:5353/udp", N, A, 0, "L3-L4", "260 in: 16777218 5353/UDP"),
    ("host", "default/server:22/tcp", N, A, 0, "L3-Only", "4023 in: 1 ANY"),
    ("172.30.0.1", "default/client:80/tcp", N, A, 0, "L3-Only", "2148 in: 1 ANY"),
    ("172.30.0.3", "default/server:8080/tcp", N, D, 133, "none", "4023 in: nothing for remote-node (6)"),
    ("remote-node", "default/server:4000/tcp", N, A, 0, "L4-Only", "4023 in: 0 4000/TCP"),
    ("10.16.0.21", "default/server:8080/tcp", N, A, 0, "L3-L4", "4023 in: 20002 8080/TCP"),
    ("10.16.0.22", "default/server:31337/udp", N, A, 0, "L3-Only", "4023 in: 20001 ANY"),
    ("fd00:16::22", "[fd00:15::12]:1/tcp", N, A, 0, "L3-Only", "4023 in: 20001 ANY"),
    ("20001", "default/server:7/udp", N, A, 0, "L3-Only", "4023 in: 20001 ANY"),
];

/// Source, frontend, exit code, drop reason, backends in any order, rule. All backends have the same verdict.
type ServiceRow = (&'static str, &'static str, i32, u64, &'static [&'static str], &'static str);

const SERVICES: &[ServiceRow] = &[
    (
        "default/client",
        "10.96.0.10:80/tcp",
        0,
        0,
        &["10.15.0.12:8080", "10.15.0.13:8080"],
        "in: 20002 8080/TCP",
    ),
    (
        "default/other",
        "10.96.0.10:80/tcp",
        0,
        0,
        &["10.15.0.12:8080", "10.15.0.13:8080"],
        "601 out: 20310 8080/TCP",
    ),
    (
        "default/client",
        "10.96.0.53:53/udp",
        0,
        0,
        &["10.15.0.12:5353", "10.15.0.13:5353"],
        "in: 20002 5353/UDP",
    ),
    (
        "default/other",
        "10.96.0.53:53/udp",
        7,
        133,
        &["10.15.0.12:5353", "10.15.0.13:5353"],
        "601 out: 20310 by TCP only",
    ),
    ("default/client", "10.96.0.40:80/tcp", 0, 0, &["10.16.0.22:8080"], "2148 out: 0 ANY"),
    ("default/other", "10.96.0.40:80/tcp", 7, 133, &["10.16.0.22:8080"], "601 out: nothing for 20001"),
    ("default/client", "10.96.0.99:80/tcp", 7, 158, &[], "no backends"),
    ("default/client", "[fd00:96::99]:80/tcp", 7, 158, &[], "no backends"),
    (
        "default/client",
        "[fd00:96::10]:80/tcp",
        0,
        0,
        &["[fd00:15::12]:8080", "[fd00:15::13]:8080"],
        "in: 20002 8080/TCP",
    ),
    (
        "default/client",
        "172.30.0.1:30053/udp",
        0,
        0,
        &["10.15.0.12:5353", "10.16.0.22:5353"],
        "in: 20002 5353/UDP",
    ),
    (
        "203.0.113.7",
        "172.30.0.1:30080/tcp",
        7,
        181,
        &["10.15.0.12:8080", "10.15.0.13:8080"],
        "in: deny 16777222 8080",
    ),
    ("198.51.100.9", "198.51.100.5:80/tcp", 0, 0, &["10.15.0.12:8080", "10.15.0.13:8080"], "in: 9 8080/TCP"),
    ("198.51.100.9", "198.51.100.6:80/tcp", 7, 177, &[], "source ranges: 10.99.0.0/16"),
    (
        "10.99.3.4",
        "198.51.100.6:80/tcp",
        0,
        0,
        &["10.15.0.12:8080", "10.15.0.13:8080"],
        "source ranges: 10.99.0.0/16",
    ),
    ("198.51.100.9", "10.96.0.10:80/tcp", 7, 174, &[], "a cluster IP from outside"),
];

fn verdicts_follow_from_the_policy_listing() -> Result<Outcome> {
    let recording = match recording_or_why_not() {
        Ok(recording) => recording,
        Err(why) => return Ok(Outcome::NotPossible(why)),
    };
    ensure!(DIRECT.len() + SERVICES.len() >= 40, "too few combinations");
    let space = NodeSpace::create()?;
    space.run(|| pin_maps(&recording))?;
    let state = recording.join("state");
    let ask = |source: &str, destination: &str| -> Result<(i32, Value)> {
        let line = format!("--state-dir {} why {source} {destination} -o json", state.display());
        let output = tracer(&space, &line)?;
        let json = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{source} {destination}: {}{}", stdout(&output), stderr(&output)))?;
        Ok((output.status.code().context("tracer was killed")?, json))
    };
    let mut wrong = Vec::new();
    for row in DIRECT {
        let (exit, json) = ask(row.0, row.1)?;
        if let Err(error) = check(row, exit, &json) {
            wrong.push(format!("{} -> {} [{}]: {error:#}", row.0, row.1, row.6));
        }
    }
    for row in SERVICES {
        let (exit, json) = ask(row.0, row.1)?;
        if let Err(error) = check_service(row, exit, &json) {
            wrong.push(format!("{} -> {} [{}]: {error:#}", row.0, row.1, row.5));
        }
    }
    ensure!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(Outcome::Passed)
}

fn check(row: &Row, exit: i32, json: &Value) -> Result<()> {
    let (_, _, egress, ingress, reason, match_type, _) = *row;
    for (name, expected) in [("egress", egress), ("ingress", ingress)] {
        let found = &json[name]["verdict"];
        ensure!(found == expected.name(), "{name} is {found}, not {}", expected.name());
    }
    let verdict = if [egress, ingress].contains(&D) {
        "denied"
    } else if [egress, ingress].contains(&R) {
        "redirected"
    } else {
        "allowed"
    };
    ensure!(json["verdict"] == verdict, "the verdict is {}, not {verdict}", json["verdict"]);
    ensure!(exit == if verdict == "denied" { 7 } else { 0 }, "exit code {exit}");
    let found = json["drop_reason"].as_u64().unwrap_or(0);
    ensure!(found == reason, "drop reason {found}, not {reason}");
    // The side that decides: the one that denies first, else the last one that was asked.
    let side = if egress == D || ingress == N { "egress" } else { "ingress" };
    let found = &json[side]["match_type"];
    ensure!(found == match_type, "match type of {side} is {found}, not {match_type}");
    let is_missing = json[side]["missing"].is_object();
    ensure!(is_missing == (reason == 133), "missing entry: {}", json[side]["missing"]);
    if egress == R {
        ensure!(json["egress"]["proxy_port"] == 33243, "proxy port {}", json["egress"]["proxy_port"]);
    }
    Ok(())
}

fn check_service(row: &ServiceRow, exit: i32, json: &Value) -> Result<()> {
    let (_, _, expected_exit, reason, backends, _) = *row;
    let found = (exit, json["drop_reason"].as_u64().unwrap_or(0));
    ensure!(found == (expected_exit, reason), "exit and reason {found:?}, not {:?}", (expected_exit, reason));
    let list = json["backends"].as_array().cloned().unwrap_or_default();
    let address = |backend: &Value| -> Option<String> {
        let (ip, port) = (backend["ip"].as_str()?, backend["port"].as_u64()?);
        Some(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") })
    };
    let mut found: Vec<String> = list.iter().filter_map(address).collect();
    found.sort_unstable();
    ensure!(found == backends, "backends {found:?}, not {backends:?}");
    let verdict = if expected_exit == 0 { "allowed" } else { "denied" };
    ensure!(list.iter().all(|backend| backend["verdict"] == verdict), "not all are {verdict}: {list:?}");
    Ok(())
}
