//! Maps of every generation, made and filled by bpftool from bytes written down by hand (most of them the test
//! vectors of the ABI notes), under a bpffs at a place of its own: `--bpffs DIR` reads each to its meaning.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, mount};
use serde_json::{Value, json};

use super::maps::{has_bpftool, parse, run_in, stderr, tracer};
use super::support::Scene;
use crate::node::cast::{CLIENT, SERVER};
use crate::node::kernel::bpf::possible_cpus;
use crate::node::kernel::space::NodeSpace;
use crate::node::{Generation, Node};
use crate::runner::Outcome;

crate::tests![
    raw_bytes_of_every_generation_are_read_from_a_bpffs_elsewhere: 240,
    counters_of_policy_entries_stand_in_their_own_map_since_1_18: 120,
    policy_counters_grow_with_the_traffic: 240,
];

const ELSEWHERE: &str = "/run/cilium/elsewhere";

/// A map as bpftool makes it: name of the pin, type, bytes of key and value.
struct Made {
    pin: &'static str,
    kind: &'static str,
    key: usize,
    value: usize,
    entries: Vec<(&'static str, &'static str)>,
}

/// What the rows of a command must say.
struct Expected {
    line: &'static str,
    rows: Vec<Value>,
}

struct Recipe {
    name: &'static str,
    maps: Vec<Made>,
    expected: Vec<Expected>,
}

fn made(
    pin: &'static str,
    kind: &'static str,
    (key, value): (usize, usize),
    entries: &[(&'static str, &'static str)],
) -> Made {
    Made { pin, kind, key, value, entries: entries.to_vec() }
}

fn expected(line: &'static str, rows: Value) -> Expected {
    Expected { line, rows: rows.as_array().cloned().unwrap_or_default() }
}

const OUT_KEY: &str = "0a000105 0a000209 1f90a8ca 0600";
const SERVICE_KEY: &str = "0a60000a 0a000105 a8ca0050 0604";
/// The end of all values: lifetime 98765, closing both ways, service 7, identity 50001.
macro_rules! tail {
    () => {
        "cd810100 13000007 00001a12 51c30000 8d620100 8e620100"
    };
}
const SERVICE_VALUE: &str = concat!(
    "00000000 00000000 2a000000 00000000 00000000 00000000 00000000 00000000 ",
    "cd810100 10000007 00001a00 00000000 8d620100 00000000"
);
/// Up to 1.15: 5 packets and 420 bytes in, 7 and 700 out.
const CT_PER_DIRECTION: &str =
    concat!("05000000 00000000 a4010000 00000000 07000000 00000000 bc020000 00000000 ", tail!());
/// From 1.16: 12 packets and 3456 bytes.
const CT_TOGETHER: &str =
    concat!("00000000 00000000 00000000 00000000 0c000000 00000000 800d0000 00000000 ", tail!());
/// From 1.19: replies leave as 192.0.2.10:30080.
const CT_WITH_NAT: &str = concat!(
    "c000020a 00000000 00000000 00000000 0c000000 00000000 800d0000 00000000 ",
    "cd810100 13000007 75801a12 51c30000 8d620100 8e620100"
);

const NAT_KEY: &str = "c6336401 0a000105 01bba8ca 0600";
const NAT_VALUE: &str =
    "905f0100 00000000 00000000 00000000 00000000 00000000 00000000 00000000 c000020a ef320000";

const IP4: &str = "40000000 00000001 0a000209 00000000 00000000 00000000";
const IP6: &str = "a0000000 00000002 fd000020 00000000 00000000 00000009";

const LXC: (&str, &str) = (
    "0a000105 00000000 00000000 00000000 01000000",
    "1b000000 0000d204 00000000 00000000 0a1b2c3d 4e5f0000 6a7b8c9d aebf0000 51c30000 00000000 00000000 00000000",
);

const TCP_8080: &str = "40000000 51c30000 00061f90";
const TCP_8080_TO_8087: &str = "3d000000 51c30000 00061f90";
const EGRESS_UDP: &str = "30000000 00000000 01110000";
const INGRESS_ALL: &str = "28000000 00000000 00000000";

fn ct(value: &'static str) -> Made {
    made("cilium_ct4_global", "lru_hash", (14, 56), &[(OUT_KEY, value), (SERVICE_KEY, SERVICE_VALUE)])
}

fn ct_expected(counters: &Value) -> Expected {
    let mut out = json!({
        "map": "cilium_ct4_global", "kind": "out", "protocol": "TCP",
        "source_ip": "10.0.1.5", "source_port": 43210, "destination_ip": "10.0.2.9", "destination_port": 8080,
        "flags": ["RxClosing", "TxClosing", "SeenNonSyn"], "state": "closed", "lifetime": 98765,
        "rev_nat_id": 7, "source_identity": 50001, "tx_flags_seen": 0x1a, "rx_flags_seen": 0x12,
    });
    extend(&mut out, counters);
    let service = json!({
        "kind": "service", "source_ip": "10.0.1.5", "source_port": 43210,
        "destination_ip": "10.96.0.10", "destination_port": 80, "rev_nat_id": 7, "backend_id": 42,
        "source_identity": 0,
    });
    expected("ct list", json!([out, service]))
}

fn extend(object: &mut Value, more: &Value) {
    if let (Some(object), Some(more)) = (object.as_object_mut(), more.as_object()) {
        object.extend(more.clone());
    }
}

/// Maps that look the same in all releases.
fn common() -> (Vec<Made>, Vec<Expected>) {
    let maps = vec![
        made("cilium_snat_v4_external", "lru_hash", (14, 40), &[(NAT_KEY, NAT_VALUE)]),
        made("cilium_lxc", "hash", (20, 48), &[LXC]),
        made("cilium_lb4_reverse_nat", "hash", (2, 6), &[("0007", "0a60000a 0050")]),
    ];
    let expected = vec![
        expected(
            "nat list",
            json!([{
                "direction": "out", "protocol": "TCP", "source_ip": "10.0.1.5", "source_port": 43210,
                "destination_ip": "198.51.100.1", "destination_port": 443,
                "to_ip": "192.0.2.10", "to_port": 61234, "created": 90000,
            }]),
        ),
        expected(
            "endpoints list",
            json!([{
                "endpoint_id": 1234, "ip": "10.0.1.5", "ifindex": 27, "identity": 50001,
                "mac": "0a:1b:2c:3d:4e:5f", "node_mac": "6a:7b:8c:9d:ae:bf", "flags": [],
            }]),
        ),
        expected(
            "lb list --revnat",
            json!([{ "service_id": 7, "frontend_ip": "10.96.0.10", "frontend_port": 80 }]),
        ),
    ];
    (maps, expected)
}

/// `protocol`: releases up to 1.17 do not write it into the frontend. Zones came with 1.16.
fn services(protocol: bool, zone: bool) -> (Vec<Made>, Expected) {
    let slots: &[(&str, &str)] = if protocol {
        &[
            ("0a60000a 00500000 06000000", "00000000 01000007 50000000"),
            ("0a60000a 00500100 06000000", "2a000000 00000007 40000000"),
        ]
    } else {
        &[
            ("0a60000a 00500000 00000000", "00000000 01000007 50000000"),
            ("0a60000a 00500100 00000000", "2a000000 00000007 40000000"),
        ]
    };
    let backend = if zone {
        ("2a000000", "0a000209 1f900600 00000100")
    } else {
        ("2a000000", "0a000209 1f900600 00000000")
    };
    let maps = vec![
        made("cilium_lb4_services_v2", "hash", (12, 12), slots),
        made("cilium_lb4_backends_v3", "hash", (4, 12), &[backend]),
    ];
    let mut target =
        json!({ "id": 42, "slot": 1, "ip": "10.0.2.9", "port": 8080, "protocol": "TCP", "state": "active" });
    if zone {
        extend(&mut target, &json!({ "zone": 1 }));
    }
    let row = json!({
        "frontend_ip": "10.96.0.10", "frontend_port": 80, "protocol": if protocol { "TCP" } else { "ANY" },
        "service_id": 7, "type": "ClusterIP", "active_backends": 1, "backends": [target],
    });
    (maps, expected("lb list", json!([row])))
}

fn ipcache(is_v2: bool) -> (Made, Expected) {
    let map = if is_v2 {
        const VALUE: &str = "52c30000 c0000214 00000000 00000000 00000000 00000002";
        made("cilium_ipcache_v2", "lpm_trie", (24, 24), &[(IP4, VALUE), (IP6, VALUE)])
    } else {
        const VALUE: &str = "52c30000 c0000214 00000000";
        made("cilium_ipcache", "lpm_trie", (24, 12), &[(IP4, VALUE), (IP6, VALUE)])
    };
    let row = |prefix| json!({ "prefix": prefix, "identity": 50002, "tunnel_endpoint": "192.0.2.20", "encrypt_key": 0 });
    (map, expected("ipcache list", json!([row("10.0.2.9/32"), row("fd00:20::9/128")])))
}

fn metrics(has_place: bool) -> (Made, Expected) {
    let key = if has_place { "85013508 02000000" } else { "85010000 00000000" };
    // bpftool writes the value for every CPU.
    let value = "03000000 00000000 3c000000 00000000";
    let cpus = possible_cpus() as u64;
    let mut row = json!({
        "reason": "Policy denied", "direction": "ingress", "packets": 3 * cpus, "bytes": 60 * cpus,
    });
    if has_place {
        extend(&mut row, &json!({ "line": 2101, "file": "bpf_lxc.c" }));
    }
    (made("cilium_metrics", "percpu_hash", (8, 16), &[(key, value)]), expected("metrics", json!([row])))
}

/// Entry of TCP 8080 from 50001, with what its value says.
fn policy_row(more: &Value) -> Value {
    let mut row = json!({ "direction": "ingress", "identity": 50001, "protocol": "TCP", "port": 8080 });
    extend(&mut row, more);
    row
}

fn policy(pin: &'static str, value: usize, entries: &[(&'static str, &'static str)]) -> Made {
    made(pin, "lpm_trie", (12, value), entries)
}

fn up_to_1_16() -> (Made, Expected) {
    let entries = [
        (INGRESS_ALL, "00000600 00000000 05000000 00000000 a4010000 00000000"),
        (TCP_8080, "36b10000 00000000 00000000 00000000 00000000 00000000"),
    ];
    let rows = json!([
        { "direction": "ingress", "identity": 0, "protocol": "ANY", "port": 0, "prefix_length": 0, "deny": false,
          "proxy_port": 0, "packets": 5, "bytes": 420 },
        policy_row(&json!({ "prefix_length": 24, "deny": false, "proxy_port": 14001, "auth_type": "disabled" })),
    ]);
    (policy("cilium_policy_01234", 24, &entries), expected("policy get 1234", rows))
}

fn of_1_17() -> (Made, Expected) {
    let entries = [
        (TCP_8080, "0000c100 00000000 00000000 00000000 00000000 00000000"),
        (TCP_8080_TO_8087, "0000a800 00000000 05000000 00000000 a4010000 00000000"),
    ];
    let rows = json!([
        policy_row(&json!({ "prefix_length": 24, "deny": true, "proxy_port": 0 })),
        policy_row(
            &json!({ "prefix_length": 21, "port_end": 8087, "deny": false, "packets": 5, "bytes": 420 })
        ),
    ]);
    (policy("cilium_policy_01234", 24, &entries), expected("policy get 1234", rows))
}

fn of_1_18() -> (Made, Expected) {
    let rows = json!([policy_row(
        &json!({ "prefix_length": 24, "deny": false, "proxy_port": 14001, "proxy_port_priority": 1 })
    )]);
    (
        policy("cilium_policy_v2_01234", 8, &[(TCP_8080, "36b1c000 01000000")]),
        expected("policy get 1234", rows),
    )
}

fn since_1_19(pin: &'static str) -> (Made, Expected) {
    let rows = json!([{
        "direction": "egress", "identity": 0, "protocol": "UDP", "port": 0, "prefix_length": 8, "deny": false,
        "auth_type": "spire", "explicit_auth": true, "precedence": 1000, "cookie": 77,
    }]);
    (policy(pin, 12, &[(EGRESS_UDP, "00004081 e8030000 4d000000")]), expected("policy get 1234", rows))
}

fn nodes() -> Vec<Recipe> {
    let per_direction = json!({ "rx_packets": 5, "rx_bytes": 420, "tx_packets": 7, "tx_bytes": 700 });
    let together = json!({ "packets": 12, "bytes": 3456 });
    let mut with_nat = together.clone();
    extend(&mut with_nat, &json!({ "dsr_ip": "192.0.2.10", "dsr_port": 30080 }));
    let marker = |pin, sizes| made(pin, "percpu_array", sizes, &[]);
    let skip = || made("cilium_skip_lb4", "hash", (16, 1), &[]);
    let retries = || marker("cilium_snat_v4_alloc_retries", (4, 4));
    let stats = || made("cilium_policystats", "lru_percpu_hash", (12, 16), &[]);
    let trace = || marker("cilium_percpu_trace_id", (4, 8));
    let node = |name,
                ct_bytes,
                counters: &Value,
                (policy, policy_rows): (Made, Expected),
                (has_place, is_v2, protocol, zone): (bool, bool, bool, bool),
                markers: Vec<Made>| {
        let (mut maps, mut expected) = common();
        let (ipcache, ipcache_rows) = ipcache(is_v2);
        let (metrics, metrics_rows) = metrics(has_place);
        let (services, services_rows) = services(protocol, zone);
        maps.extend([ct(ct_bytes), policy, ipcache, metrics]);
        maps.extend(services);
        maps.extend(markers);
        expected.extend([ct_expected(counters), policy_rows, ipcache_rows, metrics_rows, services_rows]);
        Recipe { name, maps, expected }
    };
    let tunnel = || made("cilium_tunnel_map", "hash", (20, 20), &[]);
    let later = (true, true, true, true);
    vec![
        node(
            "1.14 and 1.15",
            CT_PER_DIRECTION,
            &per_direction,
            up_to_1_16(),
            (false, false, false, false),
            vec![tunnel()],
        ),
        node(
            "1.16",
            CT_TOGETHER,
            &together,
            up_to_1_16(),
            (true, false, false, true),
            vec![tunnel(), skip()],
        ),
        node("1.17", CT_TOGETHER, &together, of_1_17(), (true, false, false, true), vec![skip(), retries()]),
        node("1.18", CT_TOGETHER, &together, of_1_18(), later, vec![skip(), retries(), stats()]),
        node(
            "1.19",
            CT_WITH_NAT,
            &with_nat,
            since_1_19("cilium_policy_v2_01234"),
            later,
            vec![skip(), retries(), stats(), trace()],
        ),
        node(
            "1.20",
            CT_WITH_NAT,
            &with_nat,
            since_1_19("cilium_policy_v3_01234"),
            later,
            vec![skip(), retries(), stats(), trace()],
        ),
    ]
}

fn bpftool(space: &NodeSpace, words: &[&str]) -> Result<()> {
    let output = run_in(space, Command::new("bpftool").args(words))?;
    ensure!(output.status.success(), "bpftool {}: {}", words.join(" "), stderr(&output));
    Ok(())
}

/// `0a 00 01 05`, as bpftool wants bytes.
fn spread(hex: &str) -> Vec<String> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len() / 2).map(|at| digits[2 * at..2 * at + 2].to_owned()).collect()
}

impl Made {
    fn make(&self, space: &NodeSpace) -> Result<()> {
        let path = format!("{ELSEWHERE}/tc/globals/{}", self.pin);
        let (key, value) = (self.key.to_string(), self.value.to_string());
        let flags = if self.kind == "lpm_trie" { "1" } else { "0" };
        let name = &self.pin[..self.pin.len().min(15)];
        let entries = if self.kind == "percpu_array" { "33" } else { "64" };
        let words =
            ["map", "create", &path, "type", self.kind, "key", &key, "value", &value, "entries", entries];
        bpftool(space, &[&words[..], &["name", name, "flags", flags]].concat())?;
        for (key, value) in &self.entries {
            let (key, value) = (spread(key), spread(value));
            ensure!(
                (key.len(), value.len()) == (self.key, self.value),
                "{}: a wrong number of bytes",
                self.pin
            );
            let mut words = vec!["map", "update", "pinned", &path, "key", "hex"];
            words.extend(key.iter().map(String::as_str));
            words.extend(["value", "hex"]);
            words.extend(value.iter().map(String::as_str));
            bpftool(space, &words)?;
        }
        Ok(())
    }
}

/// Whether `found` has all members of `expected`, however deep.
fn says(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(key, value)| found.get(key).is_some_and(|found| says(found, value)))
        }
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| says(f, e))
        }
        _ => found == expected,
    }
}

fn space_elsewhere() -> Result<NodeSpace> {
    let space = NodeSpace::create()?;
    space.run(|| {
        fs::create_dir_all(ELSEWHERE)?;
        mount("bpf", ELSEWHERE, "bpf", MountFlags::empty(), None).context("cannot mount a bpffs")?;
        Ok(fs::create_dir_all(format!("{ELSEWHERE}/tc/globals"))?)
    })?;
    Ok(space)
}

fn read(space: &NodeSpace, expected: &Expected) -> Result<()> {
    let output = tracer(space, &format!("--bpffs {ELSEWHERE} {} -o jsonl", expected.line))?;
    let found = parse(&output)?;
    ensure!(output.status.success(), "{}: {}: {}", expected.line, output.status, stderr(&output));
    ensure!(found.len() == expected.rows.len(), "{}: {found:?}", expected.line);
    for row in &expected.rows {
        ensure!(
            found.iter().any(|found| says(found, row)),
            "{}: no row says {row}: {}",
            expected.line,
            Value::Array(found)
        );
    }
    Ok(())
}

fn raw_bytes_of_every_generation_are_read_from_a_bpffs_elsewhere() -> Result<Outcome> {
    if !has_bpftool() {
        return Ok(Outcome::NotPossible("bpftool is needed".to_owned()));
    }
    for node in nodes() {
        let space = space_elsewhere()?;
        node.maps.iter().try_for_each(|map| map.make(&space)).context(node.name)?;
        node.expected.iter().try_for_each(|expected| read(&space, expected)).context(node.name)?;
        let listed = parse(&tracer(&space, &format!("--bpffs {ELSEWHERE} maps -o jsonl"))?)?;
        assert_eq!(listed.len(), node.maps.len(), "{}", node.name);
        assert!(listed.iter().all(|row| row["layout"] == "known"), "{}: {listed:?}", node.name);
        assert_eq!(tracer(&space, "ct list")?.status.code(), Some(4), "nothing is at the usual place");
    }
    Ok(Outcome::Passed)
}

/// Found under the prefix length of the entry; endpoint 1234, ingress, 50001, TCP 8080.
fn counters_of_policy_entries_stand_in_their_own_map_since_1_18() -> Result<Outcome> {
    if !has_bpftool() {
        return Ok(Outcome::NotPossible("bpftool is needed".to_owned()));
    }
    let space = space_elsewhere()?;
    let (map, _) = of_1_18();
    map.make(&space)?;
    let stats = [("d2040018 51c30000 00061f90", "02000000 00000000 64000000 00000000")];
    made("cilium_policystats", "lru_percpu_hash", (12, 16), &stats).make(&space)?;
    let cpus = possible_cpus() as u64;
    let row = policy_row(&json!({ "proxy_port": 14001, "packets": 2 * cpus, "bytes": 100 * cpus }));
    read(&space, &expected("policy get 1234", json!([row])))?;
    Ok(Outcome::Passed)
}

/// Entry of client's connections to the server's port 8080, whose counters the datapath keeps where the release
/// has them.
fn policy_counters_grow_with_the_traffic() -> Result<Outcome> {
    for generation in [Generation::V1_16, Generation::V1_17, Generation::V1_18, Generation::V1_19] {
        let scene = Scene::new(Node::builder().generation(generation))?;
        let space = scene.node.space();
        let counted = |line: &str| -> Result<(u64, u64)> {
            let found = parse(&tracer(space, &format!("{line} -o jsonl"))?)?;
            let is_it = |row: &&Value| row["identity"] == CLIENT.identity && row["port"] == 8080;
            let row = found.iter().find(is_it).with_context(|| format!("no such entry: {found:?}"))?;
            let number = |key: &str| row[key].as_u64().with_context(|| format!("no {key}: {row}"));
            Ok((number("packets")?, number("bytes")?))
        };
        let line = format!("policy get {}", SERVER.endpoint);
        assert_eq!(counted(&line)?, (0, 0), "{generation}");
        scene.send_case("allowed-tcp", 1)?;
        let once = counted(&line)?;
        // A SYN, an acknowledgement, and more; 54 bytes or more each.
        ensure!(once.0 >= 3 && once.1 >= 54 * once.0, "{generation}: {once:?}");
        if generation >= Generation::V1_18 {
            assert_eq!(once, policystats(&scene.node)?, "{generation}");
        }
        scene.send_case("allowed-tcp", 2)?;
        let thrice = counted(&line)?;
        ensure!(thrice.0 >= 3 * once.0 - 2 && thrice.1 > 2 * once.1, "{generation}: {once:?}, {thrice:?}");
    }
    Ok(Outcome::Passed)
}

/// Sum over CPUs under the key of the notes: endpoint, prefix length 24, identity, ingress, TCP, 8080.
fn policystats(node: &Node) -> Result<(u64, u64)> {
    let mut key = [0; 12];
    key[..2].copy_from_slice(&SERVER.endpoint.to_le_bytes());
    key[3] = 24;
    key[4..8].copy_from_slice(&CLIENT.identity.to_le_bytes());
    key[9..].copy_from_slice(&[6, 0x1f, 0x90]);
    let values = node.map("cilium_policystats")?.lookup(&key)?.context("nothing was counted")?;
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| values[at + byte]));
    Ok((0..possible_cpus()).fold((0, 0), |sum, cpu| (sum.0 + number(16 * cpu), sum.1 + number(16 * cpu + 8))))
}
