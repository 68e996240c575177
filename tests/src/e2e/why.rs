//! `tracer why` and `drops --why` on the pretend node: what they say is what its datapath does, and what they ask
//! for makes the packet pass.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::maps::{stderr, stdout};
use super::support::{Scene, Scratch};
use crate::node::cast::{
    CLIENT, DENIED_CIDR4, DENIED_IDENTITY4, DENIED_IPV4, DNS, HOST_ENDPOINT, Pod, SERVER,
};
use crate::node::catalogue::policy_pin;
use crate::node::clock::unix_seconds;
use crate::node::encode::{PolicyEntry, auth_entry, ipcache_key};
use crate::node::kernel::bpf::TestRun;
use crate::node::traffic::{Frame, tcp_syn4, udp4};
use crate::node::{Generation, Node};
use crate::programs;
use crate::runner::Outcome;

crate::tests![
    the_missing_entry_lets_the_packet_pass: 240,
    the_deny_entry_is_named: 120,
    other_ends_have_their_verdicts: 120,
    services_lead_to_their_backends: 120,
    replies_need_no_policy: 120,
    unknown_ends_are_one_clear_line: 120,
    what_else_explains_a_denial_is_told: 120,
    settings_of_the_agent_count: 120,
    a_snapshot_answers_as_the_node_did: 120,
    an_event_is_explained: 120,
    drops_carry_their_policy: 120,
    drops_carry_their_policy_as_text: 120,
];

const TCP: u8 = 6;
const UDP: u8 = 17;

fn why(node: &Node, arguments: &[&str]) -> Result<Output> {
    node.run(Command::new(programs::path("tracer")?).arg("why").args(arguments))
}

fn code(output: &Output) -> Result<i32> {
    ensure!(!stderr(output).contains("panicked"), "{}", stderr(output));
    output.status.code().context("tracer was killed")
}

/// Exit code and the object of `-o json`.
fn asked(node: &Node, arguments: &[&str]) -> Result<(i32, Value)> {
    let output = why(node, &[arguments, &["-o", "json"]].concat())?;
    let json = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{arguments:?}: no JSON: {}{}", stdout(&output), stderr(&output)))?;
    Ok((code(&output)?, json))
}

fn frame(
    source: &Pod,
    destination: std::net::Ipv4Addr,
    protocol: u8,
    port: u16,
    source_port: u16,
) -> Vec<u8> {
    let ends = (source.ipv4, destination);
    let payload = match protocol {
        TCP => tcp_syn4((ends.0, source_port), (ends.1, port)),
        _ => udp4((ends.0, source_port), (ends.1, port), b"why"),
    };
    Frame::ipv4((source.node_mac, source.mac), ends, protocol, &payload).bytes()
}

fn is_passed(run: &TestRun) -> bool {
    matches!(run.action, TestRun::PASSED | TestRun::REDIRECTED)
}

/// The line: exit code 7, the missing entry, the near miss, a stanza; the entry applied, the packet passes
/// and the exit code is 0. In every generation.
fn the_missing_entry_lets_the_packet_pass() -> Result<Outcome> {
    for generation in Generation::ALL {
        let node = Node::builder().generation(generation).build()?;
        missing_entry(&node).with_context(|| format!("generation {generation}"))?;
    }
    Ok(Outcome::Passed)
}

const QUESTION: [&str; 2] = ["default/client", "default/server:9090/tcp"];

fn missing_entry(node: &Node) -> Result<()> {
    let output = why(node, &QUESTION)?;
    let text = stdout(&output);
    assert_eq!(code(&output)?, 7, "{text}{}", stderr(&output));
    for expected in [
        "DENIED  default/client -> default/server TCP 9090: Policy denied (133), ingress of default/server",
        "missing: ingress, identity 12345, TCP 9090",
        "near: identity 12345 (namespace default, app=client, tier=frontend) is let in by TCP 8080",
        "\nkind: CiliumNetworkPolicy\n",
    ] {
        ensure!(text.contains(expected), "no `{expected}` in:\n{text}");
    }
    let (exit, json) = asked(node, &QUESTION)?;
    assert_eq!((exit, &json["verdict"], &json["drop_reason"]), (7, &"denied".into(), &133.into()));
    assert_eq!(json["egress"]["verdict"], "allowed");
    let ingress = &json["ingress"];
    assert_eq!((&ingress["verdict"], &ingress["match_type"]), (&"denied".into(), &"none".into()));
    let missing = json!({
        "direction": "ingress", "identity": 12345, "protocol": "TCP", "port": 9090, "prefix_length": 24
    });
    assert_eq!((&ingress["missing"], &ingress["entry"]), (&missing, &Value::Null));
    let near = &ingress["near_misses"][0];
    assert_eq!(
        (&near["kind"], &near["entry"]["identity"], &near["entry"]["port"]),
        (&"same_identity".into(), &12345.into(), &8080.into())
    );
    let stanza = "\
spec:
  endpointSelector:
    matchLabels:
      app: server
      tier: backend
  ingress:
  - fromEndpoints:
    - matchLabels:
        app: client
        tier: frontend
    toPorts:
    - ports:
      - port: \"9090\"
        protocol: TCP
";
    let yaml = json["suggest"]["yaml"].as_str().context("no suggestion")?;
    ensure!(yaml.ends_with(stanza), "{yaml}");
    let suggested = why(node, &["--suggest", QUESTION[0], QUESTION[1]])?;
    assert_eq!((code(&suggested)?, stdout(&suggested)), (7, yaml.to_owned()));
    ensure!(text.contains(yaml), "{text}");

    let packet = |port| frame(&CLIENT, SERVER.ipv4, TCP, 9090, port);
    assert_eq!(node.test_packet(&CLIENT, &packet(50001))?.reason(), Some(133));
    node.set_policy_entry(&SERVER, &PolicyEntry::allow(CLIENT.identity, TCP, 9090))?;
    ensure!(is_passed(&node.test_packet(&CLIENT, &packet(50002))?), "the entry does not let the packet pass");
    let (exit, json) = asked(node, &QUESTION)?;
    assert_eq!((exit, &json["verdict"], &json["suggest"]), (0, &"allowed".into(), &Value::Null));
    assert_eq!(json["ingress"]["match_type"], "L3-L4");
    Ok(())
}

/// The line: `why` for 203.0.113.7:53/udp names the deny entry.
fn the_deny_entry_is_named() -> Result<Outcome> {
    for generation in [Generation::V1_14, Generation::V1_17, Generation::V1_19] {
        let node = Node::builder().generation(generation).build()?;
        let question = ["default/client", "203.0.113.7:53/udp"];
        let (exit, json) = asked(&node, &question)?;
        assert_eq!((exit, &json["verdict"], &json["drop_reason"]), (7, &"denied".into(), &181.into()));
        let entry = &json["egress"]["entry"];
        for (key, expected) in [
            ("direction", Value::from("egress")),
            ("identity", DENIED_IDENTITY4.into()),
            ("protocol", "UDP".into()),
            ("port", 53.into()),
            ("deny", true.into()),
        ] {
            assert_eq!(entry[key], expected, "{generation}: {key}");
        }
        assert_eq!(json["egress"]["missing"], Value::Null);
        assert_eq!(json["destination"]["ipcache"][0]["prefix"], "203.0.113.0/24");
        assert_eq!(json["suggest"]["yaml"], "");
        let text = stdout(&why(&node, &question)?);
        ensure!(text.contains("deny UDP 53") && text.contains("no allow rule overrides it"), "{text}");
        let run = node.test_packet(&CLIENT, &frame(&CLIENT, DENIED_IPV4, UDP, 53, 50001))?;
        assert_eq!(run.reason(), Some(181));
    }
    Ok(Outcome::Passed)
}

/// Ends named in every way; the expected verdicts follow from the cast's policy in tests/README.md.
fn other_ends_have_their_verdicts() -> Result<Outcome> {
    let node = Node::builder().generation(Generation::V1_17).build()?;
    for (source, destination, exit, verdict, reason) in [
        ("client", "server:8080", 0, "allowed", 0),
        ("client", "server:9090/udp", 7, "denied", 133),
        ("10.244.1.10", "10.244.1.20:8080/tcp", 0, "allowed", 0),
        ("fd00::1:10", "[fd00::1:20]:9090/tcp", 7, "denied", 133),
        ("fd00::1:10", "[fd00::1:20]:8080/tcp", 0, "allowed", 0),
        ("default/client", "[2001:db8:113::7]:53/udp", 7, "denied", 181),
        ("12345", "default/server:8080/tcp", 0, "allowed", 0),
        ("identity:12345", "identity:23456:9090/tcp", 7, "denied", 133),
        ("endpoint:1001", "endpoint:1002:8080/tcp", 0, "allowed", 0),
        ("45678", "default/server:8080/tcp", 7, "denied", 133),
        ("world", "default/server:8080/tcp", 7, "denied", 133),
        ("198.51.100.7", "default/server:8080/tcp", 7, "denied", 133),
        ("remote-node", "kube-system/dns:53/udp", 0, "allowed", 0),
        ("kube-apiserver", "default/server:8080/tcp", 7, "denied", 133),
        // "and the host".
        ("host", "default/server:22/tcp", 0, "allowed", 0),
        ("192.0.2.10", "default/server:22/tcp", 0, "allowed", 0),
        // This node's own traffic: the host firewall is off.
        ("host", "10.244.2.20:8080/tcp", 0, "allowed", 0),
        ("198.51.100.7", "192.0.2.10:22/tcp", 0, "allowed", 0),
        ("default/client", "192.0.2.10:22/tcp", 0, "allowed", 0),
        ("default/client", "world:443/tcp", 0, "allowed", 0),
        ("default/client", "10.244.2.20:8080/tcp", 0, "allowed", 0),
        ("default/client", "default/server/icmp", 7, "denied", 133),
        ("default/client", "kube-system/dns/icmp", 0, "allowed", 0),
        ("default/client", "kube-system/dns/47", 7, "denied", 137),
        ("default/client", "default/client:1/tcp", 0, "allowed", 0),
        ("198.51.100.7", "203.0.113.7:53/udp", 6, "unknown", 0),
        // Without a port: the same for all of them, or it depends.
        ("default/client", "kube-system/dns", 0, "allowed", 0),
        ("world", "default/server/udp", 7, "denied", 133),
        ("default/client", "default/server", 6, "unknown", 0),
    ] {
        let (found, json) = asked(&node, &[source, destination])?;
        let found = (found, json["verdict"].as_str(), json["drop_reason"].as_u64().unwrap_or(0));
        assert_eq!(found, (exit, Some(verdict), reason), "{source} {destination}: {json}");
    }
    let (_, json) = asked(&node, &["default/client", "default/server/icmp"])?;
    assert_eq!(
        (&json["ingress"]["missing"]["protocol"], &json["ingress"]["missing"]["port"]),
        (&"ICMP".into(), &8.into())
    );
    let (_, json) = asked(&node, &["-6", "default/client", "default/server/icmp"])?;
    assert_eq!(
        (&json["ingress"]["missing"]["protocol"], &json["ingress"]["missing"]["port"]),
        (&"ICMPv6".into(), &128.into())
    );
    let (_, json) = asked(&node, &["default/client", "default/server"])?;
    let remarks = json["remarks"].as_array().context("no remarks")?;
    let texts: Vec<&str> = remarks.iter().filter_map(|remark| remark["text"].as_str()).collect();
    let expected = ["allowed: TCP 8080", "denied: every other port of TCP, every port of UDP"];
    assert_eq!(texts[..2], expected);
    let (exit, json) = asked(&node, &["--direction", "egress", "default/client", "default/server:9090/tcp"])?;
    assert_eq!((exit, &json["ingress"]["verdict"]), (0, &"not_asked".into()));
    Ok(Outcome::Passed)
}

/// The cast's services: two backends behind 10.96.0.20:80, none behind 10.96.0.30:80, a node port, IPv6.
fn services_lead_to_their_backends() -> Result<Outcome> {
    for generation in [Generation::V1_14, Generation::V1_17, Generation::V1_18] {
        let node = Node::builder().generation(generation).build()?;
        let (exit, json) = asked(&node, &["default/client", "10.96.0.20:80/tcp"])?;
        assert_eq!((exit, &json["verdict"]), (0, &"allowed".into()));
        assert_eq!(
            (&json["service"]["frontend"], &json["service"]["service_id"]),
            (&"10.96.0.20:80".into(), &2.into())
        );
        let backends = json["backends"].as_array().context("no backends")?;
        let addresses: Vec<_> = backends.iter().map(|backend| (&backend["ip"], &backend["port"])).collect();
        assert_eq!(addresses, [(&"10.244.1.20".into(), &8080.into()), (&"10.244.2.20".into(), &8080.into())]);
        assert_eq!(backends[0]["ingress"]["entry"]["port"], 8080);
        assert_eq!(backends[1]["ingress"]["verdict"], "not_asked");

        let (exit, json) = asked(&node, &["default/client", "10.96.0.30:80/tcp"])?;
        assert_eq!((exit, &json["drop_reason"], &json["verdict"]), (7, &158.into(), &"denied".into()));
        assert_eq!(
            (&json["egress"]["verdict"], &json["ingress"]["verdict"]),
            (&"not_asked".into(), &"not_asked".into())
        );
        // The server may not be reached by dns, its remote replica is for another node to decide.
        let (exit, json) = asked(&node, &["kube-system/dns", "10.96.0.20:80/tcp"])?;
        let verdicts: Vec<_> =
            json["backends"].as_array().context("no backends")?.iter().map(|b| &b["verdict"]).collect();
        assert_eq!((exit, verdicts), (7, vec![&"denied".into(), &"allowed".into()]));
        for (source, destination, exit) in [
            ("default/client", "192.0.2.10:30080/tcp", 0),
            ("default/client", "[fd00::b:20]:80/tcp", 0),
            ("default/client", "10.96.0.10:53/udp", 0),
            // From outside: through the node port, to a pod that does not let the world in; and to a cluster IP.
            ("198.51.100.7", "192.0.2.10:30080/tcp", 7),
            ("198.51.100.7", "10.96.0.20:80/tcp", 7),
            // Not in loadBalancerSourceRanges (192.0.2.0/24).
            ("198.51.100.7", "192.0.2.200:80/tcp", 7),
        ] {
            assert_eq!(asked(&node, &[source, destination])?.0, exit, "{generation}: {source} {destination}");
        }
        assert_eq!(asked(&node, &["198.51.100.7", "10.96.0.20:80/tcp"])?.1["drop_reason"], 174);
        assert_eq!(asked(&node, &["198.51.100.7", "192.0.2.200:80/tcp"])?.1["drop_reason"], 177);
    }
    Ok(Outcome::Passed)
}

/// The cast has an open connection from client:40000 to server:8080.
fn replies_need_no_policy() -> Result<Outcome> {
    let node = Node::builder().generation(Generation::V1_17).build()?;
    let question = |port| [format!("10.244.1.20:{port}"), "10.244.1.10:40000/tcp".to_owned()];
    node.remove_policy_entry(&CLIENT, &PolicyEntry::allow_all(false))?;
    let ask = |port| {
        let question = question(port);
        asked(&node, &[&question[0], &question[1]])
    };
    let (exit, json) = ask(8080)?;
    assert_eq!((exit, &json["ct"]["egress"], &json["ct"]["ingress"]), (0, &"reply".into(), &"reply".into()));
    assert_eq!(json["ingress"]["steps"][0]["rule"], "reply");
    let (exit, json) = ask(8081)?;
    assert_eq!((exit, &json["ct"]["ingress"]), (7, &"new".into()));
    let (exit, json) = asked(&node, &["10.244.1.10:40000", "10.244.1.20:8080/tcp"])?;
    assert_eq!((exit, &json["ct"]["ingress"]), (0, &"established".into()));
    Ok(Outcome::Passed)
}

fn unknown_ends_are_one_clear_line() -> Result<Outcome> {
    let node = Node::builder().build()?;
    for (arguments, exit, expected) in [
        (&["default/nobody", "default/server:80"][..], 1, "no endpoint `default/nobody` on this node"),
        (&["default/client", "nobody:80"], 1, "no endpoint `nobody` on this node"),
        (&["endpoint:9", "default/server:80"], 1, "no endpoint `endpoint:9` on this node"),
        (&["10.244.1.10", "[fd00::1:20]:80"], 1, "different address families"),
        (&["default/client", "default/server:80/tpc"], 2, "unknown protocol `tpc`"),
        (&["default/client", "default/server:99999"], 2, "no port `99999`"),
        (&["default/client", "default/server:256/icmp"], 1, "256 is no ICMP type"),
        (&["--packet", "/nowhere"], 1, "cannot open `/nowhere`"),
        (&["default/client"], 2, "required"),
    ] {
        let output = why(&node, arguments)?;
        let line = stderr(&output);
        assert_eq!((code(&output)?, stdout(&output).as_str()), (exit, ""), "{arguments:?}: {line}");
        ensure!(line.starts_with("error: ") && line.contains(expected), "{arguments:?}: {line}");
    }
    Ok(Outcome::Passed)
}

/// What `near_misses` holds for a kind, if it is there.
fn near<'a>(side: &'a Value, kind: &str) -> Option<&'a str> {
    side["near_misses"].as_array()?.iter().find(|near| near["kind"] == kind)?["text"].as_str()
}

/// A full map, an empty one, an ipcache that lags behind, a proxy that is gone, audit mode.
fn what_else_explains_a_denial_is_told() -> Result<Outcome> {
    let full = policy_pin(&Generation::V1_17.facts(), SERVER.endpoint);
    let node = Node::builder().generation(Generation::V1_17).max_entries(&full, 3).build()?;
    let (_, json) = asked(&node, &QUESTION)?;
    ensure!(near(&json["ingress"], "map_full").is_some(), "{}", json["ingress"]);
    ensure!(
        json["suggest"]["notes"][0].as_str().is_some_and(|note| note.contains("full")),
        "{}",
        json["suggest"]
    );

    node.policy_map(SERVER.endpoint)?.clear()?;
    let (exit, json) = asked(&node, &QUESTION)?;
    ensure!(exit == 7 && near(&json["ingress"], "map_empty").is_some(), "{}", json["ingress"]);

    node.remove_policy_entry(&CLIENT, &PolicyEntry::allow_all(true))?;
    node.set_policy_entry(&CLIENT, &PolicyEntry::allow(DENIED_IDENTITY4, TCP, 443).to_egress())?;
    node.map("cilium_ipcache")?.delete(&ipcache_key(DENIED_CIDR4.0.into(), DENIED_CIDR4.1))?;
    let (exit, json) = asked(&node, &["default/client", "203.0.113.7:443/tcp"])?;
    let text = near(&json["egress"], "identity_not_in_ipcache").context("the lost prefix is not told")?;
    ensure!(exit == 7 && text.contains("16777217"), "{text}");

    let proxy = PolicyEntry { proxy_port: 14001, ..PolicyEntry::allow(DNS.identity, UDP, 53) };
    node.set_policy_entry(&CLIENT, &proxy.to_egress())?;
    let (exit, json) = asked(&node, &["default/client", "kube-system/dns:53/udp"])?;
    assert_eq!(
        (exit, &json["verdict"], &json["egress"]["proxy_port"]),
        (0, &"redirected".into(), &14001.into())
    );
    ensure!(near(&json["egress"], "proxy_not_listening").is_some(), "{}", json["egress"]);

    let (exit, _) = asked(&node, &["host", &format!("{}:22/tcp", SERVER.ipv4)])?;
    ensure!(exit == 7, "an empty map lets not even the host in");

    shell(&node, "mkdir /run/cilium/state/1002_next_fail; rm /sys/fs/bpf/tc/globals/cilium_policy_01001")?;
    let (exit, json) = asked(&node, &QUESTION)?;
    ensure!(near(&json["ingress"], "regeneration_failed").is_some(), "{}", json["ingress"]);
    ensure!(near(&json["egress"], "no_policy_map").is_some(), "{}", json["egress"]);
    assert_eq!((exit, &json["egress"]["verdict"]), (7, &"unknown".into()), "the other side denies");
    let (exit, json) = asked(&node, &["default/client", "198.51.100.7:443/tcp"])?;
    assert_eq!((exit, &json["verdict"]), (6, &"unknown".into()));
    Ok(Outcome::Passed)
}

/// Replaces a setting in the agent's file.
fn set(node: &Node, from: &str, to: &str) -> Result<()> {
    shell(node, &format!("sed -i 's/{from}/{to}/' /run/cilium/state/agent-runtime-config.json"))
}

fn shell(node: &Node, script: &str) -> Result<()> {
    let output = node.run(Command::new("sh").args(["-c", script]))?;
    ensure!(output.status.success(), "{script}: {}", stderr(&output));
    Ok(())
}

/// Audit mode lets a denied packet pass and says so; the host firewall makes the host's own policy count; an entry
/// that asks for authentication is asked against the map of authentications.
fn settings_of_the_agent_count() -> Result<Outcome> {
    let node = Node::builder().generation(Generation::V1_17).build()?;
    let host = Pod { name: "host", endpoint: HOST_ENDPOINT, ..SERVER };
    node.remove_policy_entry(&host, &PolicyEntry::allow_all(false))?;
    let to_host = ["default/client", "192.0.2.10:22/tcp"];
    assert_eq!(asked(&node, &to_host)?.0, 0);
    set(&node, "\"EnableHostFirewall\": false", "\"EnableHostFirewall\": true")?;
    let (exit, json) = asked(&node, &to_host)?;
    assert_eq!(
        (exit, &json["ingress"]["endpoint_id"], &json["ingress"]["verdict"]),
        (7, &HOST_ENDPOINT.into(), &"denied".into())
    );

    let spire =
        PolicyEntry { auth: 1, auth_explicit: true, ..PolicyEntry::allow(CLIENT.identity, TCP, 7000) };
    node.set_policy_entry(&SERVER, &spire)?;
    let question = ["default/client", "default/server:7000/tcp"];
    let (exit, json) = asked(&node, &question)?;
    assert_eq!(
        (exit, &json["drop_reason"], &json["ingress"]["auth_type"]),
        (7, &189.into(), &"spire".into())
    );
    assert_eq!(
        node.test_packet(&CLIENT, &frame(&CLIENT, SERVER.ipv4, TCP, 7000, 50001))?.reason(),
        Some(189)
    );
    let (key, value) = auth_entry(SERVER.identity, CLIENT.identity, 0, 1, unix_seconds() + 3600);
    node.map("cilium_auth_map")?.update(&key, &value)?;
    let (exit, json) = asked(&node, &question)?;
    assert_eq!((exit, &json["verdict"]), (0, &"allowed".into()));
    ensure!(
        is_passed(&node.test_packet(&CLIENT, &frame(&CLIENT, SERVER.ipv4, TCP, 7000, 50002))?),
        "dropped"
    );

    set(&node, "\"PolicyAuditMode\": false", "\"PolicyAuditMode\": true")?;
    let (exit, json) = asked(&node, &QUESTION)?;
    assert_eq!((exit, &json["verdict"], &json["ingress"]["audited"]), (0, &"allowed".into(), &true.into()));
    Ok(Outcome::Passed)
}

/// A saved node answers as the live one.
fn a_snapshot_answers_as_the_node_did() -> Result<Outcome> {
    let node = Node::builder().generation(Generation::V1_18).build()?;
    let scratch = Scratch::new()?;
    let file = scratch.path("node.snapshot");
    let path = file.to_str().context("path")?;
    let saved = node.run(Command::new(programs::path("tracer")?).args(["snapshot", "-o", path]))?;
    ensure!(saved.status.success(), "{}", stderr(&saved));
    for question in
        [QUESTION, ["default/client", "203.0.113.7:53/udp"], ["default/client", "10.96.0.20:80/tcp"]]
    {
        let (exit, live) = asked(&node, &question)?;
        let mut command = Command::new(programs::path("tracer")?);
        let output = command.args(["--snapshot", path, "-q", "why", "-o", "json"]).args(question).output()?;
        let past: Value = serde_json::from_slice(&output.stdout).with_context(|| stderr(&output))?;
        assert_eq!(output.status.code(), Some(exit), "{question:?}: {}", stderr(&output));
        for key in ["verdict", "source", "egress", "ingress", "suggest"] {
            assert_eq!(live[key], past[key], "{question:?}: {key}");
        }
    }
    Ok(Outcome::Passed)
}

/// A real event of `drops -o json` as the question.
fn an_event_is_explained() -> Result<Outcome> {
    let scene = Scene::new(Node::builder().generation(Generation::V1_17))?;
    let scratch = Scratch::new()?;
    for (case, reason, side, identity) in [
        ("denied-tcp", 133, "ingress", 12345),
        ("denied-tcp6", 133, "ingress", 12345),
        ("explicit-deny", 181, "egress", DENIED_IDENTITY4),
        ("denied-echo", 133, "ingress", 12345),
    ] {
        let tracer = scene.start(&["-o", "json", "--identity", "12345"])?;
        scene.send_case(case, 1)?;
        let run = tracer.stop()?;
        let file = scratch.path(case);
        std::fs::write(&file, &run.stdout)?;
        let path = file.to_str().context("path")?;
        let (exit, json) = asked(&scene.node, &["--packet", path])?;
        assert_eq!(
            (exit, &json["verdict"], &json["drop_reason"]),
            (7, &"denied".into(), &reason.into()),
            "{case}"
        );
        assert_eq!(
            (&json[side]["verdict"], &json[side]["identity"]),
            (&"denied".into(), &identity.into()),
            "{case}"
        );
        assert_eq!(json["event"]["drop_reason"], reason, "{case}");
    }
    Ok(Outcome::Passed)
}

/// `drops --why -o json`: each policy drop of the cast carries the entry that is missing or that denies.
fn drops_carry_their_policy() -> Result<Outcome> {
    for generation in [Generation::V1_14, Generation::V1_17, Generation::V1_19] {
        let scene = Scene::new(Node::builder().generation(generation))?;
        let (run, _) = scene.trace(&["-o", "json", "--why"], 2)?;
        run.expect_code(0)?;
        let (mut missing, mut denied) = (0, 0);
        for event in run.events()? {
            let (flow, why) = (&event["flow"], &event["tracer"]["why"]);
            match flow["drop_reason"].as_u64() {
                Some(133) => {
                    missing += 1;
                    check_missing(flow, why).with_context(|| format!("{generation}: {event}"))?;
                }
                Some(181) => {
                    denied += 1;
                    assert_eq!((&why["verdict"], &why["direction"]), (&"denied".into(), &"egress".into()));
                    let entry = &why["entry"];
                    assert_eq!(
                        (&entry["deny"], &entry["protocol"], &entry["port"]),
                        (&true.into(), &"UDP".into(), &53.into())
                    );
                    assert_eq!(entry["identity"], flow["destination"]["identity"]);
                }
                _ => assert_eq!(*why, Value::Null, "{event}"),
            }
        }
        ensure!(missing > 0 && denied > 0, "{missing} without entry, {denied} denied");
    }
    Ok(Outcome::Passed)
}

/// All of the cast's drops without entry are at the server's ingress.
fn check_missing(flow: &Value, why: &Value) -> Result<()> {
    assert_eq!((&why["direction"], &why["endpoint"]), (&"ingress".into(), &"default/server".into()));
    let l4 = &flow["l4"];
    let port =
        [("TCP", "destination_port"), ("UDP", "destination_port"), ("ICMPv4", "type"), ("ICMPv6", "type")]
            .into_iter()
            .find_map(|(name, key)| l4[name].is_object().then(|| &l4[name][key]));
    let Some(port) = port else {
        // The datapath knows the ports of later fragments, the packet does not.
        ensure!(why["why"].as_str().is_some_and(|text| text.contains("fragment")), "{why}");
        return Ok(());
    };
    assert_eq!((&why["verdict"], &why["entry"]), (&"denied".into(), &Value::Null));
    assert_eq!((&why["missing"]["identity"], &why["missing"]["port"]), (&flow["source"]["identity"], port));
    Ok(())
}

fn drops_carry_their_policy_as_text() -> Result<Outcome> {
    let scene = Scene::new(Node::builder().generation(Generation::V1_17))?;
    let tracer = scene.start(&["--why", "--from-pod", "default/client", "--protocol", "tcp"])?;
    scene.send_case("denied-tcp", 1)?;
    let run = tracer.stop()?;
    let lines: Vec<&str> = run.stdout.lines().collect();
    let expected = "  why: ingress of default/server (1002): no entry for identity 12345, TCP 9090; near: identity 12345, TCP 8080";
    ensure!(lines.len() == 2 && lines[1] == expected, "{}", run.stdout);
    let refused =
        scene.node.run(Command::new(programs::path("tracer")?).args(["drops", "--why", "-o", "jsonpb"]))?;
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    Ok(Outcome::Passed)
}
