//! `tracer ct` and `tracer capacity`: counts against bpftool on the pretend node of every generation, every
//! row against the vendor tool's listing of a recorded real node, raw bytes of each generation, bad maps, and
//! what the commands leave as it was.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;

use super::maps::{bpftool_count, has_bpftool, on_recorded, parse, rows, stderr, stdout, tracer, with_state};
use crate::node::kernel::bpf::{Map, MapSpec, MapType};
use crate::node::kernel::space::NodeSpace;
use crate::node::{Generation, Node};
use crate::runner::Outcome;

crate::tests![
    counts_equal_those_of_bpftool: 240,
    lines_equal_those_of_the_vendor_tool: 120,
    every_row_is_counted_once_whatever_it_is_counted_by: 120,
    a_listed_connection_is_found_again: 120,
    entries_tell_their_generation_where_they_can: 120,
    bad_maps_are_one_line_each_and_harm_no_other: 120,
    capacity_tells_fill_agent_and_owners: 120,
    listing_keeps_the_order_in_which_entries_are_evicted: 120,
];

const GLOBALS: &str = "/sys/fs/bpf/tc/globals";
const CT4: &str = "cilium_ct4_global";

/// An outgoing TCP entry of a client's port.
fn key(port: u16) -> [u8; 14] {
    let mut key = [10, 0, 1, 5, 10, 0, 2, 9, 0x1f, 0x90, 0, 0, 6, 0];
    key[10..12].copy_from_slice(&port.to_be_bytes());
    key
}

/// The first 32 bytes, and an end that is the same in all releases: alive for long, SeenNonSyn.
fn value(first: [u64; 4]) -> Vec<u8> {
    let mut value: Vec<u8> = first.iter().flat_map(|word| word.to_le_bytes()).collect();
    value.extend_from_slice(&4_000_000u32.to_le_bytes());
    value.extend_from_slice(&[0x10, 0, 0, 7, 0, 0, 0x1a, 0x12]);
    value.extend_from_slice(&50001u32.to_le_bytes());
    value.extend_from_slice(&[0; 8]);
    value
}

fn make(pin: &str, key: u32, value: u32, max_entries: u32) -> Result<Map> {
    fs::create_dir_all(GLOBALS).context("cannot make a directory in a bpffs")?;
    let spec = MapSpec { pin: pin.to_owned(), map_type: MapType::LruHash, key, value, max_entries, flags: 0 };
    let map = Map::create(spec, None).with_context(|| format!("cannot make map `{pin}`"))?;
    map.pin(Path::new(GLOBALS)).with_context(|| format!("cannot pin map `{pin}`"))?;
    Ok(map)
}

fn json(space: &NodeSpace, line: &str) -> Result<Value> {
    let output = tracer(space, &format!("{line} -o json"))?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("tracer {line}: {}", stderr(&output)))
}

fn counts_equal_those_of_bpftool() -> Result<Outcome> {
    if !has_bpftool() {
        return Ok(Outcome::NotPossible("bpftool is needed".to_owned()));
    }
    for generation in Generation::ALL {
        let node = Node::builder().generation(generation).build()?;
        let counted = json(node.space(), "ct count").with_context(|| format!("generation {generation}"))?;
        let maps = counted["maps"].as_array().context("no maps")?;
        let mut total = 0;
        for map in maps {
            let pin = map["map"].as_str().context("no name")?;
            let entries = bpftool_count(node.space(), pin)?;
            assert_eq!(map["entries"], entries, "{generation} {pin}");
            let share = entries as f64 * 100.0 / map["max_entries"].as_f64().context("no maximum")?;
            assert!((map["usage_percent"].as_f64().context("no share")? - share).abs() < 0.006, "{map}");
            total += entries;
        }
        ensure!(total > 0, "the pretend node tracks connections");
        assert_eq!(counted["entries"], total);
        assert_eq!(rows(node.space(), "ct list")?.len() as u64, total, "generation {generation}");
    }
    Ok(Outcome::Passed)
}

fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.sort_unstable();
    lines
}

fn lines_equal_those_of_the_vendor_tool() -> Result<Outcome> {
    on_recorded(|space, tool, state| {
        let listed = fs::read_to_string(tool.join("ct-list-global.txt"))?;
        for line in ["ct list -o cilium", "bpf ct list global"] {
            let found = tracer(space, &with_state(state, line))?;
            ensure!(found.status.success(), "{line}: {}", stderr(&found));
            assert_eq!(lines(&stdout(&found)), lines(&listed), "{line}");
        }
        assert_eq!(rows(space, &with_state(state, "ct list"))?.len(), lines(&listed).len());
        Ok(())
    })
}

fn every_row_is_counted_once_whatever_it_is_counted_by() -> Result<Outcome> {
    on_recorded(|space, _, state| {
        let all = rows(space, &with_state(state, "ct list"))?;
        let total = all.len() as u64;
        for by in ["map", "protocol", "direction", "kind", "state", "identity", "pod", "source", "port"] {
            let counted = json(space, &with_state(state, &format!("ct count --by {by}")))?;
            let groups = counted["groups"].as_array().context("no groups")?;
            let sum: u64 = groups.iter().filter_map(|group| group["entries"].as_u64()).sum();
            assert_eq!((sum, counted["entries"].as_u64()), (total, Some(total)), "--by {by}");
        }
        for (filter, key, wanted) in [
            ("--protocol udp", "protocol", "UDP"),
            ("--kind service", "kind", "service"),
            ("--state closed", "state", "closed"),
            ("--map any6", "map", "cilium_ct_any6_global"),
        ] {
            let expected = all.iter().filter(|row| row[key] == wanted).count();
            let found = rows(space, &with_state(state, &format!("ct list {filter}")))?;
            assert!(
                expected > 0 && found.len() == expected && found.iter().all(|row| row[key] == wanted),
                "{filter}"
            );
        }
        let of_pod = rows(space, &with_state(state, "ct list --pod default/client"))?;
        let ends = |row: &&Value| {
            row["source_pod"] == "default/client" || row["destination_pod"] == "default/client"
        };
        assert_eq!(of_pod.len(), all.iter().filter(ends).count());
        let top = json(space, &with_state(state, "ct top --by source -n 1"))?;
        let first = &top["groups"][0];
        let of_first = all.iter().filter(|row| row["source_ip"] == first["source_ip"]).count();
        assert_eq!((first["entries"].as_u64(), &top["exact"]), (Some(of_first as u64), &true.into()));
        Ok(())
    })
}

fn a_listed_connection_is_found_again() -> Result<Outcome> {
    on_recorded(|space, _, state| {
        let socket = |row: &Value, end: &str| {
            let ip = row[format!("{end}_ip")].as_str().unwrap_or_default().to_owned();
            let port = &row[format!("{end}_port")];
            if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
        };
        for row in rows(space, &with_state(state, "ct list --limit 12"))? {
            let protocol = row["protocol"].as_str().context("no protocol")?;
            let (source, destination) = (socket(&row, "source"), socket(&row, "destination"));
            for line in [
                format!("ct get {source} {destination} {protocol}"),
                format!("ct get {destination} {source} {protocol}"),
            ] {
                let found = rows(space, &with_state(state, &line))?;
                let is_it = |other: &&Value| {
                    ["map", "kind", "direction", "source_ip", "destination_ip", "lifetime"]
                        .iter()
                        .all(|key| other[*key] == row[*key])
                };
                assert!(found.iter().any(|other| is_it(&other)), "{line}: {row} not in {found:?}");
            }
        }
        // Other connections of these two have companions.
        let other = tracer(space, &with_state(state, "ct get 10.15.0.11:1 10.15.0.12:1 -o jsonl"))?;
        assert_eq!((other.status.code(), stdout(&other).as_str()), (Some(7), ""), "{}", stderr(&other));
        let nothing = tracer(space, "ct get 192.0.2.1:1 192.0.2.2:2")?;
        assert_eq!((nothing.status.code(), stdout(&nothing).contains("192.0.2.1")), (Some(7), false));
        Ok(())
    })
}

/// Without a release that is known, entries tell their generation where they can, and keep to themselves what
/// they cannot tell.
fn entries_tell_their_generation_where_they_can() -> Result<Outcome> {
    for (first, keys, code) in [
        (
            [5, 420, 7, 700],
            vec![("rx_packets", 5), ("rx_bytes", 420), ("tx_packets", 7), ("tx_bytes", 700)],
            0,
        ),
        ([0, 0, 0, 0], vec![("packets", 0), ("bytes", 0)], 0),
        // Both directions or one? Nothing tells: not shown, and said.
        ([0, 0, 12, 3456], vec![], 6),
    ] {
        let space = NodeSpace::create()?;
        space
            .run(|| make(CT4, 14, 56, 1000)?.update(&key(1), &value(first)).context("cannot fill the map"))?;
        let output = tracer(&space, "ct list -o jsonl")?;
        assert_eq!(output.status.code(), Some(code), "{first:?}: {}", stderr(&output));
        let row = &parse(&output)?[0];
        assert_eq!((&row["source_identity"], &row["rev_nat_id"]), (&50001.into(), &7.into()));
        for (key, number) in &keys {
            assert_eq!(row[*key], *number, "{key}");
        }
        assert_eq!(row.get("packets").is_some(), keys.iter().any(|(key, _)| *key == "packets"));
    }
    Ok(Outcome::Passed)
}

fn bad_maps_are_one_line_each_and_harm_no_other() -> Result<Outcome> {
    let space = NodeSpace::create()?;
    space.run(|| {
        make(CT4, 14, 56, 1000)?.update(&key(1), &value([0; 4]))?;
        make("cilium_ct_any4_global", 14, 64, 1000)?.update(&key(2), &[0xab; 64])?;
        let strange = make("cilium_ct6_global", 38, 56, 1000)?;
        strange.update(&[0xff; 38], &[0xff; 56])?;
        Ok::<_, anyhow::Error>(())
    })?;
    let output = tracer(&space, "ct list -o jsonl")?;
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    let found = parse(&output)?;
    let raw = |map: &str| found.iter().find(|row| row["map"] == map).map(|row| row["raw_key"].clone());
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(raw("cilium_ct_any4_global"), Some("0a0001050a0002091f9000020600".into()));
    assert_eq!(raw("cilium_ct6_global"), Some("ff".repeat(38).into()));
    let complaints = stderr(&output);
    for part in ["value size 64, expected 14 and 56", "`cilium_ct6_global`: 1 entries have impossible bits"] {
        assert_eq!(complaints.matches(part).count(), 1, "{complaints}");
    }
    let none = NodeSpace::create()?;
    none.run(|| make("cilium_lxc", 20, 48, 10).map(drop))?;
    assert_eq!(tracer(&none, "ct list")?.status.code(), Some(1));
    let no_cilium = NodeSpace::create()?;
    assert_eq!(tracer(&no_cilium, "ct list")?.status.code(), Some(4));
    Ok(Outcome::Passed)
}

fn capacity_tells_fill_agent_and_owners() -> Result<Outcome> {
    let space = NodeSpace::create()?;
    space.run(|| {
        let map = make(CT4, 14, 56, 1000)?;
        (0..500).try_for_each(|port| map.update(&key(port), &value([0; 4])))?;
        Ok::<_, anyhow::Error>(())
    })?;
    let found = json(&space, "capacity --window 50ms")?;
    let map = found["maps"].as_array().and_then(|maps| maps.iter().find(|map| map["map"] == CT4));
    let map = map.context("not listed")?;
    assert!(map["entries"].as_u64().is_some_and(|entries| (400..=500).contains(&entries)), "{map}");
    assert_eq!((&map["growth_per_second"], &map["seconds_to_full"]), (&0.into(), &Value::Null));
    assert_eq!(found["agent"]["alive"], Value::Null);
    for (limit, code) in [("90%", 0), ("40%", 7)] {
        let output = tracer(&space, &format!("capacity --window 50ms --max-usage {limit}"))?;
        assert_eq!(output.status.code(), Some(code), "{limit}: {}", stderr(&output));
    }
    Ok(Outcome::Passed)
}

/// Runs `work` on one CPU: which entries go first depends on the CPU that writes.
fn on_one_cpu<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = sched_getaffinity(None)?;
    let first = (0..CpuSet::MAX_CPU).find(|cpu| before.is_set(*cpu)).context("no CPU")?;
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one)?;
    let done = work();
    sched_setaffinity(None, &before)?;
    done
}

/// Which of 1000 old entries survive a flood of new ones must not depend on having been listed. That they would
/// survive if somebody had used them shows that this test can tell.
fn listing_keeps_the_order_in_which_entries_are_evicted() -> Result<Outcome> {
    let survivors = |meanwhile: &dyn Fn(&NodeSpace, &Map) -> Result<()>| -> Result<BTreeSet<Vec<u8>>> {
        let space = NodeSpace::create()?;
        let map = space.run(|| make(CT4, 14, 56, 4096))?;
        on_one_cpu(|| Ok((0..4000).try_for_each(|port| map.update(&key(port), &value([0; 4])))?))?;
        meanwhile(&space, &map)?;
        on_one_cpu(|| Ok((0..900u16).try_for_each(|port| map.update(&key(20_000 + port), &value([0; 4])))?))?;
        Ok(map.keys()?.into_iter().filter(|key| u16::from_be_bytes([key[10], key[11]]) < 1000).collect())
    };
    let left_alone = survivors(&|_, _| Ok(()))?;
    let used = survivors(&|_, map| {
        on_one_cpu(|| Ok((0..1000).try_for_each(|port| map.update(&key(port), &value([0; 4])))?))
    })?;
    ensure!(
        used.len() > left_alone.len() + 200,
        "{} survive after use, {} without",
        used.len(),
        left_alone.len()
    );
    for line in
        ["ct list -o jsonl", "ct count", "ct count --by state", "maps dump cilium_ct4_global", "capacity"]
    {
        let listed = survivors(&|space, _| {
            for _ in 0..3 {
                ensure!(tracer(space, line)?.status.success(), "{line}");
            }
            Ok(())
        })?;
        assert_eq!(listed, left_alone, "{line}: {} and {} survive", listed.len(), left_alone.len());
    }
    Ok(Outcome::Passed)
}
