//! The commands on maps but those of connection tracking, NAT and load balancing: figures against bpftool on
//! the pretend node of every generation, rows against the vendor tool's listings of a recorded real node, bad
//! maps one at a time, and what the commands ask of the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::coexistence::whole_lines;
use super::real_node;
use crate::node::cast::{CLIENT, HOST_ENDPOINT, NODE_IPV4, PODS, SERVER};
use crate::node::encode::PolicyEntry;
use crate::node::kernel::bpf::{BPF_F_NO_PREALLOC, Map, MapSpec, MapType};
use crate::node::kernel::process::into_space;
use crate::node::kernel::space::NodeSpace;
use crate::node::{Generation, Node};
use crate::programs;
use crate::runner::Outcome;

crate::tests![
    figures_equal_those_of_bpftool: 240,
    the_cast_is_listed_as_it_was_set_up: 240,
    rows_equal_those_of_the_vendor_tool: 120,
    columns_are_those_of_the_vendor_tool: 120,
    bad_maps_are_one_line_each_and_harm_no_other: 120,
    what_does_not_exist_is_told_with_its_own_exit_code: 120,
    maps_are_only_read: 240,
];

const GLOBALS: &str = "/sys/fs/bpf/tc/globals";

pub(super) fn run_in(space: &NodeSpace, command: &mut Command) -> Result<Output> {
    let name = command.get_program().to_owned();
    into_space(command, space)?.output().with_context(|| format!("cannot run `{}`", name.display()))
}

pub(super) fn tracer(space: &NodeSpace, line: &str) -> Result<Output> {
    run_in(space, Command::new(programs::path("tracer")?).args(line.split(' ')))
}

pub(super) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Rows of a command that ends well.
pub(super) fn rows(space: &NodeSpace, line: &str) -> Result<Vec<Value>> {
    let output = tracer(space, &format!("{line} -o jsonl"))?;
    ensure!(output.status.success(), "tracer {line}: {}: {}", output.status, stderr(&output));
    parse(&output)
}

pub(super) fn parse(output: &Output) -> Result<Vec<Value>> {
    let parsed = stdout(output).lines().map(serde_json::from_str).collect::<Result<_, _>>();
    parsed.with_context(|| format!("not JSON lines: {}", stdout(output)))
}

fn bpftool(space: &NodeSpace, pin: &str, what: &[&str]) -> Result<Value> {
    let path = format!("{GLOBALS}/{pin}");
    let mut command = Command::new("bpftool");
    let output = run_in(space, command.args(["-j", "map"]).args(what).args(["pinned", &path]))?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("bpftool {pin}: {}", stderr(&output)))
}

pub(super) fn has_bpftool() -> bool {
    Command::new("bpftool").arg("version").output().is_ok_and(|output| output.status.success())
}

/// Entries as bpftool counts them; errors of single slots are no entries.
pub(super) fn bpftool_count(space: &NodeSpace, pin: &str) -> Result<u64> {
    let dump = bpftool(space, pin, &["dump"])?;
    let entries = dump.as_array().context("bpftool gave no list")?;
    let is_entry = |entry: &&Value| entry["value"].get("error").is_none() && entry.get("error").is_none();
    Ok(entries.iter().filter(is_entry).count() as u64)
}

fn figures_equal_those_of_bpftool() -> Result<Outcome> {
    if !has_bpftool() {
        return Ok(Outcome::NotPossible("bpftool is needed".to_owned()));
    }
    for generation in Generation::ALL {
        let node = Node::builder().generation(generation).build()?;
        figures(&node).with_context(|| format!("generation {generation}"))?;
    }
    Ok(Outcome::Passed)
}

fn figures(node: &Node) -> Result<()> {
    let listed = rows(node.space(), "maps")?;
    let pins: BTreeSet<String> = node.space().run(|| {
        let names = fs::read_dir(GLOBALS)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect::<Result<_>>()
    })?;
    let names: BTreeSet<String> =
        listed.iter().filter_map(|row| row["map"].as_str().map(str::to_owned)).collect();
    assert_eq!(names, pins);
    let used = maps_of_programs(node.space())?;
    for row in &listed {
        let pin = row["map"].as_str().context("no name")?;
        assert_eq!(row["in_use"], used.contains(&row["id"].as_u64().context("no id")?), "{pin}");
        let shown = bpftool(node.space(), pin, &["show"])?;
        for (ours, theirs) in [
            ("id", "id"),
            ("type", "type"),
            ("key_size", "bytes_key"),
            ("value_size", "bytes_value"),
            ("max_entries", "max_entries"),
            ("memory_bytes", "bytes_memlock"),
        ] {
            assert_eq!(row[ours], shown[theirs], "{pin}: {ours}");
        }
        assert_eq!(row["layout"], "known", "{pin}");
        if let Some(entries) = row["entries"].as_u64() {
            assert_eq!(entries, bpftool_count(node.space(), pin)?, "{pin}");
        }
    }
    figures_of_listings(node)
}

/// Ids of the maps that bpftool lists with some program; tail call tables and maps of maps included.
fn maps_of_programs(space: &NodeSpace) -> Result<BTreeSet<u64>> {
    let output = run_in(space, Command::new("bpftool").args(["-j", "prog", "show"]))?;
    let programs: Value = serde_json::from_slice(&output.stdout).context("bpftool: no JSON")?;
    let maps = programs
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|program| program["map_ids"].as_array().cloned().unwrap_or_default());
    Ok(maps.filter_map(|id| id.as_u64()).collect())
}

fn figures_of_listings(node: &Node) -> Result<()> {
    let facts = node.facts();
    for (line, pin) in [("ipcache list", facts.ipcache_pin), ("metrics", "cilium_metrics")] {
        assert_eq!(rows(node.space(), line)?.len() as u64, bpftool_count(node.space(), pin)?, "{line}");
    }
    let with_address =
        rows(node.space(), "endpoints list")?.iter().filter(|row| row["ip"] != Value::Null).count();
    assert_eq!(with_address as u64, bpftool_count(node.space(), "cilium_lxc")?);
    let policies = rows(node.space(), "policy list")?;
    assert_eq!(policies.len(), PODS.len() + 1);
    for policy in &policies {
        let (pin, id) = (policy["map"].as_str().context("no map")?, &policy["endpoint_id"]);
        let entries = bpftool_count(node.space(), pin)?;
        assert_eq!(policy["entries"].as_u64(), Some(entries), "{pin}");
        assert_eq!(rows(node.space(), &format!("policy get {id}"))?.len() as u64, entries, "{pin}");
    }
    Ok(())
}

/// What the cast's policies, addresses and nodes are stands in the pretend node's own table.
fn the_cast_is_listed_as_it_was_set_up() -> Result<Outcome> {
    for generation in Generation::ALL {
        let node = Node::builder().generation(generation).build()?;
        cast(&node).with_context(|| format!("generation {generation}"))?;
    }
    Ok(Outcome::Passed)
}

/// Both directions of all endpoints as the cast's table of policies has them; the map is asked, not the files.
fn check_enforcement(node: &Node) -> Result<()> {
    let states = |id: u16| -> Result<[String; 2]> {
        let rows = rows(node.space(), &format!("endpoints get {id}"))?;
        let of =
            |row: &Value| ["ingress", "egress"].map(|way| row[way].as_str().unwrap_or("null").to_owned());
        ensure!(rows.iter().all(|row| of(row) == of(&rows[0])), "addresses of {id} differ: {rows:?}");
        Ok(of(rows.first().context("no row")?))
    };
    for id in PODS.map(|pod| pod.endpoint).into_iter().chain([HOST_ENDPOINT]) {
        let ingress = if id == SERVER.endpoint { "enforced" } else { "open" };
        assert_eq!(states(id)?, [ingress, "open"], "endpoint {id}");
    }
    let everything = PolicyEntry::allow_all(true);
    node.set_policy_entry(&SERVER, &everything.denied())?;
    assert_eq!(states(SERVER.endpoint)?, ["enforced", "enforced"], "denied to everybody");
    node.remove_policy_entry(&SERVER, &everything)?;
    assert_eq!(states(SERVER.endpoint)?, ["enforced", "enforced"], "no entry");
    node.set_policy_entry(&SERVER, &everything)?;
    assert_eq!(states(SERVER.endpoint)?, ["enforced", "open"], "allowed again");
    Ok(())
}

fn cast(node: &Node) -> Result<()> {
    for name in [
        SERVER.endpoint.to_string(),
        SERVER.ipv4.to_string(),
        "default/server".to_owned(),
        "pod-name:default:server".to_owned(),
    ] {
        let policy = rows(node.space(), &format!("policy get {name}"))?;
        let from_client = policy.iter().find(|row| row["identity"] == CLIENT.identity).context("no entry")?;
        for (key, expected) in [
            ("direction", Value::from("ingress")),
            ("protocol", "TCP".into()),
            ("prefix_length", 24.into()),
            ("deny", false.into()),
            ("proxy_port", 0.into()),
            ("auth_type", "disabled".into()),
        ] {
            assert_eq!(from_client[key], expected, "{name}: {key}");
        }
        let labels = from_client["labels"].as_array().context("no labels")?;
        assert!(labels.contains(&Value::from("k8s:app=client")), "{labels:?}");
    }
    let denied = rows(node.space(), &format!("policy get {}", CLIENT.endpoint))?;
    assert_eq!(denied.iter().filter(|row| row["deny"] == true).count(), 2);

    let endpoints = rows(node.space(), "endpoints get default/client")?;
    assert_eq!(endpoints.len(), 2);
    for row in &endpoints {
        assert_eq!(
            (&row["endpoint_id"], &row["interface"]),
            (&CLIENT.endpoint.into(), &CLIENT.device.into())
        );
        assert_eq!((&row["mac"], &row["ifindex"]), (&"0a:58:0a:f4:01:0a".into(), &CLIENT.ifindex.into()));
    }
    check_enforcement(node)?;
    let host = rows(node.space(), &format!("endpoints get {HOST_ENDPOINT}"))?;
    assert_eq!((host.len(), &host[0]["ip"]), (1, &Value::Null));

    let chain = rows(node.space(), &format!("ipcache get {}", CLIENT.ipv4))?;
    assert_eq!(
        (&chain[0]["prefix"], &chain[0]["identity"]),
        (&format!("{}/32", CLIENT.ipv4).into(), &CLIENT.identity.into())
    );
    let identity = rows(node.space(), "identity get app=client")?;
    assert_eq!(identity[0]["identity"], CLIENT.identity);
    assert_eq!(identity[0]["prefixes"], 2);

    let nodes = rows(node.space(), "nodes")?;
    let own = nodes.iter().find(|row| row["local"] == true).context("this node is not listed")?;
    let addresses = own["addresses"].as_array().context("no addresses")?;
    assert!(addresses.contains(&NODE_IPV4.to_string().into()) && addresses.len() == 4, "{addresses:?}");
    assert_eq!(nodes.len(), 2, "{nodes:?}");
    let aliases = tracer(node.space(), "bpf policy get 1002 -n")?;
    assert!(stdout(&aliases).contains("PORT/PROTO"), "{}", stdout(&aliases));
    Ok(())
}

/// Runs `check` on the recorded node. The path is that of the vendor tool's listings.
pub(super) fn on_recorded(
    check: impl FnOnce(&NodeSpace, &Path, &Path) -> Result<()> + Send,
) -> Result<Outcome> {
    let recording = match real_node::recording_or_why_not() {
        Ok(recording) => recording,
        Err(why) => return Ok(Outcome::NotPossible(why)),
    };
    let space = NodeSpace::create()?;
    space.run(|| real_node::pin_maps(&recording))?;
    check(&space, &recording.join("tool"), &recording.join("state"))?;
    Ok(Outcome::Passed)
}

pub(super) fn with_state(state: &Path, line: &str) -> String {
    format!("--state-dir {} {line}", state.display())
}

fn rows_equal_those_of_the_vendor_tool() -> Result<Outcome> {
    on_recorded(|space, tool, state| {
        policies(space, tool, state)?;
        ipcache(space, tool, state)?;
        nodes(space, state)
    })
}

/// (identity, egress, protocol, port, prefix length of protocol and port).
type Key = (u64, bool, u64, u64, u64);
/// (deny, proxy port, authentication, packets, bytes).
type Entry = (bool, u64, u64, u64, u64);
/// What each key says.
type Entries = BTreeMap<Key, Entry>;

fn policies(space: &NodeSpace, tool: &Path, state: &Path) -> Result<()> {
    let listed = real_node::listing(tool, "policy-get-all-n.json")?;
    let maps = listed.as_array().context("not a list")?;
    ensure!(maps.len() == 5, "{} policy maps are listed", maps.len());
    for map in maps {
        let id = map["EndpointID"].as_str().context("no id")?;
        let expected = map["Content"].as_array().into_iter().flatten().map(vendor_entry);
        let expected: Entries = expected.collect::<Option<_>>().context("an entry of an unknown form")?;
        let found = rows(space, &with_state(state, &format!("policy get {id} --numeric")))?;
        let found: Entries = found.iter().map(our_entry).collect::<Option<_>>().context("our entry")?;
        assert_eq!(found, expected, "endpoint {id}");
    }
    Ok(())
}

fn vendor_entry(entry: &Value) -> Option<(Key, Entry)> {
    let number = |value: &Value| value.as_u64();
    let key = &entry["Key"];
    let swapped = |value: &Value| Some(u64::from(u16::try_from(value.as_u64()?).ok()?.swap_bytes()));
    Some((
        (
            number(&key["Identity"])?,
            number(&key["TrafficDirection"])? == 1,
            number(&key["Nexthdr"])?,
            swapped(&key["DestPortNetwork"])?,
            number(&key["Prefixlen"])? - 40,
        ),
        (
            number(&entry["Flags"])? & 1 == 1,
            swapped(&entry["ProxyPortNetwork"])?,
            number(&entry["AuthType"])?,
            number(&entry["Packets"])?,
            number(&entry["Bytes"])?,
        ),
    ))
}

fn our_entry(row: &Value) -> Option<(Key, Entry)> {
    let number = |key: &str| row[key].as_u64();
    let protocol = match row["protocol"].as_str()? {
        "ANY" => 0,
        number => number.parse().ok()?,
    };
    let auth = match row["auth_type"].as_str()? {
        "disabled" => 0,
        "spire" => 1,
        _ => return None,
    };
    Some((
        (
            number("identity")?,
            row["direction"] == "egress",
            protocol,
            number("port")?,
            number("prefix_length")?,
        ),
        (row["deny"].as_bool()?, number("proxy_port")?, auth, number("packets")?, number("bytes")?),
    ))
}

fn ipcache(space: &NodeSpace, tool: &Path, state: &Path) -> Result<()> {
    let listed = real_node::rows(&real_node::listing(tool, "bpf-ipcache-list.json")?)?;
    let found = rows(space, &with_state(state, "ipcache list"))?;
    assert_eq!(found.len(), listed.len());
    for row in &found {
        let text = listed.get(row["prefix"].as_str().context("no prefix")?).context("not listed")?;
        assert_eq!(row["identity"].to_string(), real_node::word(text, "identity=")?);
        assert_eq!(row["encrypt_key"].to_string(), real_node::word(text, "encryptkey=")?);
        assert_eq!(
            row["tunnel_endpoint"].as_str().unwrap_or("0.0.0.0"),
            real_node::word(text, "tunnelendpoint=")?
        );
    }
    Ok(())
}

/// The tool prints node ids in hexadecimal.
fn nodes(space: &NodeSpace, state: &Path) -> Result<()> {
    let found = rows(space, &with_state(state, "nodes"))?;
    let row = |id: u64| found.iter().find(|row| row["node_id"] == id).context("no such node");
    let (own, other) = (row(0xd5c)?, row(0x1174)?);
    assert_eq!((&own["name"], &own["local"]), (&"lab-node1".into(), &true.into()));
    assert_eq!((&other["name"], &other["local"]), (&"lab-node2".into(), &false.into()));
    assert_eq!(
        own["addresses"],
        serde_json::json!(["10.15.0.150", "172.30.0.1", "fd00:15::8fdd", "fd00:30::1"])
    );
    assert_eq!(other["pod_networks"], serde_json::json!(["10.16.0.0", "fd00:16::"]));
    assert_eq!(found.len(), 2);
    Ok(())
}

/// Words of the lines of a text, sorted: columns may be padded differently.
fn words(text: &str) -> BTreeSet<String> {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|l| !l.is_empty())
        .collect()
}

fn columns_are_those_of_the_vendor_tool() -> Result<Outcome> {
    on_recorded(|space, tool, state| {
        let listed = fs::read_to_string(tool.join("policy-get-all-n.txt"))?;
        let sections = listed.split("Endpoint ID: ").skip(1);
        for section in sections {
            let (id, rest) = section.split_once('\n').context("no endpoint id")?;
            let (_, table) = rest.split_once("\n\n").context("no table")?;
            let found = tracer(space, &with_state(state, &format!("bpf policy get {} -n", id.trim())))?;
            assert_eq!(words(&stdout(&found)), words(table), "endpoint {id}");
        }
        let endpoints = real_node::rows(&real_node::listing(tool, "bpf-endpoint-list.json")?)?;
        let expected: BTreeSet<String> =
            endpoints.iter().flat_map(|(ip, text)| words(&format!("{ip} {text}"))).collect();
        let found = words(&stdout(&tracer(space, &with_state(state, "bpf endpoint list"))?));
        assert!(found.is_superset(&expected), "{found:?}");
        let ipcache = real_node::rows(&real_node::listing(tool, "bpf-ipcache-list.json")?)?;
        let expected: BTreeSet<String> =
            ipcache.iter().flat_map(|(ip, text)| words(&format!("{ip} {text}"))).collect();
        let found = words(&stdout(&tracer(space, &with_state(state, "bpf ipcache list"))?));
        assert!(found.is_superset(&expected), "{found:?}");
        Ok(())
    })
}

fn make(space: &NodeSpace, pin: &str, map_type: MapType, key: u32, value: u32) -> Result<Map> {
    let flags = if matches!(map_type, MapType::LpmTrie) { BPF_F_NO_PREALLOC } else { 0 };
    let spec = MapSpec { pin: pin.to_owned(), map_type, key, value, max_entries: 100, flags };
    space.run(|| {
        fs::create_dir_all(GLOBALS)?;
        let map = Map::create(spec, None).with_context(|| format!("cannot make map `{pin}`"))?;
        map.pin(Path::new(GLOBALS))?;
        Ok(map)
    })
}

fn bad_maps_are_one_line_each_and_harm_no_other() -> Result<Outcome> {
    let space = NodeSpace::create()?;
    let policy = |id: u16, entries: &[(&str, &str)]| -> Result<()> {
        let map = make(&space, &format!("cilium_policy_{id:05}"), MapType::LpmTrie, 12, 24)?;
        entries.iter().try_for_each(|(key, value)| Ok(map.update(&bytes(key), &bytes(value))?))
    };
    let old = ("28000000 00000000 00000000", "00000600 00000000 05000000 00000000 a4010000 00000000");
    let new = ("40000000 51c30000 00061f90", "0000c100 00000000 00000000 00000000 00000000 00000000");
    let odd = ("40000000 52c30000 00061f90", "0000ff00 00000000 00000000 00000000 00000000 00000000");
    policy(1, &[old])?;
    policy(2, &[old, new])?;
    policy(3, &[new, odd])?;
    make(&space, "cilium_policy_00004", MapType::LpmTrie, 12, 20)?;
    make(&space, "cilium_of_the_future", MapType::Hash, 4, 4)?.update(&[1, 2, 3, 4], &[5, 6, 7, 8])?;
    let ipcache = make(&space, "cilium_ipcache", MapType::LpmTrie, 24, 12)?;
    let ip = "00000000 00000000 00000000";
    ipcache
        .update(&bytes(&format!("40000000 00000001 0a000209 {ip}")), &bytes("52c30000 c0000214 00000000"))?;
    ipcache.update(&bytes(&format!("40000000 00000003 0a00020a {ip}")), &[0; 12])?;

    let expect = |line: &str, code: i32, rows: usize, told: &str| -> Result<Vec<Value>> {
        let output = tracer(&space, &format!("{line} -o jsonl"))?;
        let lines: Vec<String> =
            stderr(&output).lines().filter(|line| line.contains(told)).map(str::to_owned).collect();
        ensure!(output.status.code() == Some(code), "{line}: {}: {}", output.status, stderr(&output));
        ensure!(told.is_empty() || lines.len() == 1, "{line}: `{told}` in {}", stderr(&output));
        let found = parse(&output)?;
        ensure!(found.len() == rows, "{line}: {found:?}");
        Ok(found)
    };
    assert_eq!(expect("policy get 1", 0, 1, "")?[0]["packets"], 5);
    let raw =
        expect("policy get 2", 6, 2, "1 entries have the layout of releases up to 1.16 and 1 that of 1.17")?;
    assert!(raw.iter().all(|row| row.get("raw_key").is_some()), "{raw:?}");
    let mixed = expect("policy get 3", 6, 2, "1 entries have impossible bits")?;
    assert_eq!(mixed.iter().filter(|row| row["deny"] == true).count(), 1, "{mixed:?}");
    expect("policy get 4", 6, 0, "value size 20")?;
    expect("policy list", 6, 4, "map `cilium_policy_00004`")?;
    expect("ipcache list", 6, 2, "map `cilium_ipcache`: 1 entries have impossible bits")?;
    let maps = expect("maps", 6, 6, "map `cilium_policy_00004`")?;
    let unknown = maps.iter().find(|row| row["map"] == "cilium_of_the_future").context("not listed")?;
    assert_eq!((&unknown["layout"], &unknown["entries"]), (&"unknown".into(), &1.into()));
    let dumped = expect("maps dump cilium_of_the_future", 0, 1, "")?;
    assert_eq!((&dumped[0]["key"], &dumped[0]["value"]), (&"01020304".into(), &"05060708".into()));
    Ok(Outcome::Passed)
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .filter(u8::is_ascii_hexdigit)
        .map(|d| (d as char).to_digit(16).unwrap_or(0) as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn what_does_not_exist_is_told_with_its_own_exit_code() -> Result<Outcome> {
    let node = Node::builder().build()?;
    for (line, code, told) in [
        ("policy get 9999", 1, "endpoint 9999 has no policy map on this node"),
        ("policy get default/nobody", 1, "no endpoint `default/nobody` on this node"),
        ("policy get 10.0.0.300", 2, "expected an endpoint id"),
        ("ipcache get 10.0.0.300", 2, "invalid value '10.0.0.300' for '<IP>'"),
        ("identity get 4711", 1, "identity 4711 is not known on this node"),
        ("lb get 10.96.0.20:81", 1, "no frontend `10.96.0.20:81` in the services maps"),
        ("ct get 10.244.1.10:1 10.244.1.20:8080", 7, "no entry for this connection"),
        ("nat list --pod nobody", 1, "--pod: no such pod on this node"),
        ("maps dump cilium_none", 1, "no map `cilium_none` is pinned"),
        ("maps dump ../x", 2, "expected the name of a pin"),
        ("maps dump cilium_events", 1, "a perf event array has no entries to read"),
        ("metrics --watch -o json", 2, "--watch: needs -o table"),
    ] {
        let output = tracer(node.space(), line)?;
        assert_eq!(output.status.code(), Some(code), "{line}: {}", stderr(&output));
        let lines: Vec<String> = stderr(&output).lines().map(str::to_owned).collect();
        assert!(lines.iter().any(|text| text.contains(told)), "{line}: {lines:?}");
        assert!(output.stdout.is_empty(), "{line}");
    }
    // Without default routes nothing covers it: 1.14 has none.
    let node = Node::builder().generation(Generation::V1_14).build()?;
    let output = tracer(node.space(), "ipcache get 192.0.2.99")?;
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    Ok(Outcome::Passed)
}

/// Commands of bpf(2) that read; everything else writes, loads, pins, attaches, or is news to this test.
const READING: [&str; 10] = [
    "BPF_OBJ_GET",
    "BPF_OBJ_GET_INFO_BY_FD",
    "BPF_MAP_LOOKUP_ELEM",
    "BPF_MAP_LOOKUP_BATCH",
    "BPF_MAP_GET_NEXT_KEY",
    "BPF_MAP_GET_NEXT_ID",
    "BPF_MAP_GET_FD_BY_ID",
    "BPF_PROG_GET_NEXT_ID",
    "BPF_PROG_GET_FD_BY_ID",
    "BPF_PROG_QUERY",
];

/// One run of each command that reads maps.
const ALL_COMMANDS: &[&str] = &[
    "maps",
    "maps dump cilium_auth_map",
    "maps dump cilium_lb4_maglev",
    "maps dump cilium_ct4_global --raw",
    "policy list",
    "policy get 1002",
    "ipcache list",
    "ipcache get 10.244.1.10",
    "endpoints list",
    "endpoints get default/client",
    "identity list",
    "identity get 12345",
    "nodes",
    "metrics",
    "doctor --quick",
    "doctor --group capacity,proxy,mode",
    "ct list",
    "ct count",
    "ct count --by pod",
    "ct top --by identity",
    "ct get 10.244.1.10:40000 10.244.1.20:8080 tcp",
    "nat list",
    "nat ports",
    "nat orphans",
    "lb list",
    "lb list --frontends",
    "lb list --backends",
    "lb list --revnat",
    "lb list --source-ranges",
    "lb list --affinity",
    "lb list --sockets",
    "lb list --maglev",
    "lb get 10.96.0.20:80",
    "lb check",
    "why default/client default/server:9090/tcp",
    "why default/client 10.96.0.20:80/tcp -o json",
    "capacity --window 10ms",
    "bpf ct list global",
    "bpf lb list",
];

fn maps_are_only_read() -> Result<Outcome> {
    if Command::new("strace").arg("-V").output().is_err() {
        return Ok(Outcome::NotPossible("strace is needed".to_owned()));
    }
    let node = Node::builder().generation(Generation::V1_19).build()?;
    for line in ALL_COMMANDS {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=bpf", "-o", "/dev/stderr"]).arg(programs::path("tracer")?);
        let output = run_in(node.space(), command.arg("-q").args(line.split(' ')))?;
        // Findings of `lb check` make it 7.
        let is_fine = matches!(output.status.code(), Some(0 | 7));
        ensure!(is_fine, "{line}: {}: {}", output.status, stderr(&output));
        check_calls(line, &stderr(&output))?;
    }
    Ok(Outcome::Passed)
}

fn check_calls(line: &str, trace: &str) -> Result<()> {
    let mut opened = 0;
    for call in whole_lines(trace) {
        let Some(arguments) = call.strip_prefix("bpf(") else { continue };
        let command = arguments.split(',').next().unwrap_or_default();
        ensure!(READING.contains(&command), "{line}: {call}");
        if matches!(command, "BPF_OBJ_GET" | "BPF_MAP_GET_FD_BY_ID") {
            ensure!(call.contains("BPF_F_RDONLY"), "{line}: {call}");
            opened += 1;
        }
    }
    ensure!(opened > 0, "{line}: nothing was opened: {trace}");
    Ok(())
}
