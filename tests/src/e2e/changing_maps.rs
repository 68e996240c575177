//! Maps that change while they are read, that are replaced or removed, that hold other maps, and pins that cannot
//! be read: what stays is listed once, what went wrong is one line, and nothing else is harmed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::maps::{bpftool_count, has_bpftool, parse, rows, run_in, stderr, stdout, tracer};
use super::support::{Scratch, patience};
use crate::node::Node;
use crate::node::clock::monotonic_seconds;
use crate::node::kernel::bpf::{BPF_F_NO_PREALLOC, Map, MapSpec, MapType};
use crate::node::kernel::process::into_space;
use crate::node::kernel::space::NodeSpace;
use crate::programs;
use crate::runner::Outcome;

crate::tests![
    untouched_entries_are_listed_once_under_10000_updates_a_second: 240,
    a_map_replaced_while_it_is_read_is_told: 120,
    a_map_removed_while_it_is_read_is_told: 120,
    maps_of_clusters_are_listed_under_their_ids: 120,
    a_pin_that_is_no_map_is_one_line_and_harms_no_other: 120,
    a_pin_that_may_not_be_read_is_one_line_and_harms_no_other: 120,
    strange_values_are_shown_as_bytes_beside_sound_ones: 120,
    a_map_of_a_type_without_entries_is_listed_and_refused_in_one_line: 120,
];

const GLOBALS: &str = "/sys/fs/bpf/tc/globals";
pub(super) const CT4: &str = "cilium_ct4_global";
const ANY_CT4: &str = "cilium_ct_any4_global";
const IPCACHE: &str = "cilium_ipcache";
const LXC: &str = "cilium_lxc";

pub(super) fn spec(pin: &str, map_type: MapType, key: u32, value: u32, max_entries: u32) -> MapSpec {
    let flags = if matches!(map_type, MapType::LpmTrie) { BPF_F_NO_PREALLOC } else { 0 };
    MapSpec { pin: pin.to_owned(), map_type, key, value, max_entries, flags }
}

/// Makes and pins a map; what had the name before loses it. Call inside the node's namespaces.
pub(super) fn make(spec: MapSpec, inner: Option<&Map>) -> Result<Map> {
    fs::create_dir_all(GLOBALS).context("cannot make a directory in a bpffs")?;
    let path = Path::new(GLOBALS).join(&spec.pin);
    let map = Map::create(spec, inner).with_context(|| format!("cannot make `{}`", path.display()))?;
    let _ = fs::remove_file(&path);
    map.pin(Path::new(GLOBALS)).with_context(|| format!("cannot pin `{}`", path.display()))?;
    Ok(map)
}

/// An outgoing TCP entry of 10.0.`net`.5 to 10.0.2.9:8080.
pub(super) fn ct_key(net: u8, port: u16) -> [u8; 14] {
    let [high, low] = port.to_be_bytes();
    [10, 0, net, 5, 10, 0, 2, 9, 0x1f, 0x90, high, low, 6, 0]
}

fn udp(mut key: [u8; 14]) -> [u8; 14] {
    key[12] = 17;
    key
}

/// Alive for an hour, SeenNonSyn, of identity 50001; the same in all releases.
pub(super) fn ct_value() -> [u8; 56] {
    let mut value = [0; 56];
    value[32..36].copy_from_slice(&(monotonic_seconds() + 3600).to_le_bytes());
    value[36] = 0x10;
    value[44..48].copy_from_slice(&50001u32.to_le_bytes());
    value
}

/// 10.`net`.x.y/32.
fn ipcache_key(net: u8, host: u16) -> [u8; 24] {
    let [high, low] = host.to_be_bytes();
    let mut key = [0; 24];
    key[0] = 64;
    key[7..12].copy_from_slice(&[1, 10, net, high, low]);
    key
}

fn identity_value() -> [u8; 12] {
    let mut value = [0; 12];
    value[..4].copy_from_slice(&50001u32.to_le_bytes());
    value
}

fn lxc_key(net: u8, host: u16) -> [u8; 20] {
    let [high, low] = host.to_be_bytes();
    let mut key = [0; 20];
    key[..4].copy_from_slice(&[10, net, high, low]);
    key[16] = 1;
    key
}

/// A map with keys that stay and others that come, go and change.
struct Restless<'a> {
    map: &'a Map,
    /// The key of a number, for those that stay (1) and those that do not (2).
    key: &'a (dyn Fn(u8, u16) -> Vec<u8> + Sync),
    value: &'a [u8],
}

/// Keys that come and go.
const MOVING: u16 = 2000;

impl Restless<'_> {
    /// Inserts, changes and deletes until `stop`, 20,000 times a second as far as the machine can.
    fn write(&self, stop: &AtomicBool, written: &AtomicU64) -> Result<()> {
        const AT_ONCE: u64 = 40;
        let pace = Duration::from_millis(2);
        let mut due = Instant::now();
        let mut number = 0u64;
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..AT_ONCE {
                // A walk through the keys in an order that is not theirs; every third is deleted.
                number += 1;
                let key = (self.key)(2, (number * 7919 % u64::from(MOVING)) as u16);
                match number % 3 {
                    // It may not be there yet.
                    0 => drop(self.map.delete(&key)),
                    _ => self.map.update(&key, self.value)?,
                }
            }
            written.fetch_add(AT_ONCE, Ordering::Relaxed);
            due += pace;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }

    /// Does `work` meanwhile; at least 10,000 writes a second must have been made.
    fn during<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let writer = scope.spawn(|| self.write(&stop, &written));
            let begun = Instant::now();
            let done = work();
            let rate = written.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
            stop.store(true, Ordering::Relaxed);
            writer.join().ok().context("the writer panicked")??;
            ensure!(rate >= 10_000.0 / f64::from(patience()), "only {rate:.0} writes a second");
            done
        })
    }
}

/// A hash map evicts, a trie is walked by the kernel key after key, and a plain hash map has batches as well.
fn untouched_entries_are_listed_once_under_10000_updates_a_second() -> Result<Outcome> {
    const STAYING: u16 = 30_000;
    // Under emulation a round takes as long as three elsewhere.
    let rounds = if patience() > 1 { 1 } else { 3 };
    let space = NodeSpace::create()?;
    let [ct, ipcache, lxc] = space.run(|| {
        Ok([
            make(spec(CT4, MapType::LruHash, 14, 56, 65_536), None)?,
            make(spec(IPCACHE, MapType::LpmTrie, 24, 12, 512_000), None)?,
            make(spec(LXC, MapType::Hash, 20, 48, 65_535), None)?,
        ])
    })?;
    let all = [
        (
            "ct list",
            "source_port",
            Restless { map: &ct, key: &|n, i| ct_key(n, i).to_vec(), value: &ct_value() },
        ),
        (
            "ipcache list",
            "prefix",
            Restless { map: &ipcache, key: &|n, i| ipcache_key(n, i).to_vec(), value: &identity_value() },
        ),
        (
            "endpoints list",
            "ip",
            Restless { map: &lxc, key: &|n, i| lxc_key(n, i).to_vec(), value: &[1; 48] },
        ),
    ];
    for (line, column, restless) in all {
        (0..STAYING).try_for_each(|i| restless.map.update(&(restless.key)(1, i), restless.value))?;
        for round in 0..rounds {
            let found = restless.during(|| rows(&space, line))?;
            let mut times: BTreeMap<String, u32> = BTreeMap::new();
            for row in found.iter().filter(|row| is_staying(row)) {
                *times.entry(row[column].to_string()).or_default() += 1;
            }
            let twice = times.values().filter(|times| **times != 1).count();
            ensure!(
                times.len() == usize::from(STAYING) && twice == 0,
                "{line}, round {round}: {} of {STAYING} entries listed, {twice} of them more than once",
                times.len()
            );
            let moving = found.len() - times.len();
            ensure!(moving <= usize::from(MOVING) * 2, "{line}: {moving} rows of {MOVING} moving entries");
        }
    }
    let restless = Restless { map: &ct, key: &|n, i| ct_key(n, i).to_vec(), value: &ct_value() };
    let counted = restless.during(|| rows(&space, "ct count"))?;
    let entries = counted[0]["entries"].as_u64().context("no number")?;
    ensure!((30_000..=32_000).contains(&entries), "ct count: {entries}");
    Ok(Outcome::Passed)
}

/// Of 10.1.0.0/16, and in connection tracking of 10.0.1.5.
fn is_staying(row: &Value) -> bool {
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    text("source_ip") == "10.0.1.5" || text("prefix").starts_with("10.1.") || text("ip").starts_with("10.1.")
}

/// Lists a map with more rows than a pipe holds, and does `meanwhile` when the first have come.
fn listed_while(meanwhile: impl FnOnce() -> Result<()> + Send) -> Result<(Option<i32>, String, usize)> {
    const ENTRIES: u16 = 20_000;
    let space = NodeSpace::create()?;
    let _map = space.run(|| {
        let map = make(spec(CT4, MapType::LruHash, 14, 56, 65_536), None)?;
        (0..ENTRIES).try_for_each(|port| map.update(&ct_key(1, port), &ct_value()))?;
        let any = make(spec(ANY_CT4, MapType::LruHash, 14, 56, 100), None)?;
        any.update(&udp(ct_key(3, 1)), &ct_value())?;
        Ok(map)
    })?;
    let scratch = Scratch::new()?;
    let mut command = Command::new(programs::path("tracer")?);
    command.args(["ct", "list", "-o", "jsonl"]).stdout(Stdio::piped());
    command.stderr(fs::File::create(scratch.path("stderr"))?);
    let mut child = into_space(&mut command, &space)?.spawn()?;
    let mut rows = vec![0; 4096];
    let mut pipe = child.stdout.take().context("no pipe")?;
    pipe.read_exact(&mut rows)?;
    space.run(meanwhile)?;
    pipe.read_to_end(&mut rows)?;
    let code = child.wait()?.code();
    let rows = String::from_utf8(rows)?.lines().count();
    Ok((code, fs::read_to_string(scratch.path("stderr"))?, rows))
}

fn a_map_replaced_while_it_is_read_is_told() -> Result<Outcome> {
    let (code, said, rows) = listed_while(|| {
        // It may go at once: the pin holds it.
        make(spec(CT4, MapType::LruHash, 14, 56, 65_536), None)?.update(&ct_key(9, 9), &ct_value())?;
        Ok(())
    })?;
    assert_eq!((code, rows), (Some(6), 20_001), "{said}");
    let told = said.matches("map `cilium_ct4_global` was replaced while it was read").count();
    assert_eq!((told, said.lines().count()), (1, 1), "{said}");
    Ok(Outcome::Passed)
}

fn a_map_removed_while_it_is_read_is_told() -> Result<Outcome> {
    let (code, said, rows) = listed_while(|| Ok(fs::remove_file(Path::new(GLOBALS).join(CT4))?))?;
    assert_eq!((code, rows), (Some(6), 20_001), "{said}");
    let told = said.matches("map `cilium_ct4_global` was removed while it was read").count();
    assert_eq!((told, said.lines().count()), (1, 1), "{said}");
    Ok(Outcome::Passed)
}

/// Two clusters of 256 have maps; the holes between them are no entries.
fn maps_of_clusters_are_listed_under_their_ids() -> Result<Outcome> {
    let space = NodeSpace::create()?;
    let _inner = space.run(|| {
        make(spec(CT4, MapType::LruHash, 14, 56, 100), None)?.update(&ct_key(1, 1), &ct_value())?;
        let ct = |n| {
            Map::create(spec(&format!("cilium_per_cluster_ct_tcp4_{n}"), MapType::LruHash, 14, 56, 100), None)
        };
        let inner = [ct(3)?, ct(200)?];
        inner[0].update(&ct_key(3, 3), &ct_value())?;
        (0..2).try_for_each(|port| inner[1].update(&ct_key(200, port), &ct_value()))?;
        let array =
            |pin: &str, pattern: &Map| make(spec(pin, MapType::ArrayOfMaps, 4, 4, 256), Some(pattern));
        let outer = array("cilium_per_cluster_ct_tcp4", &inner[0])?;
        outer.update(&3u32.to_ne_bytes(), &(inner[0].raw_fd() as u32).to_ne_bytes())?;
        outer.update(&200u32.to_ne_bytes(), &(inner[1].raw_fd() as u32).to_ne_bytes())?;
        let nat = Map::create(spec("cilium_per_cluster_snat_v4_7", MapType::LruHash, 14, 40, 100), None)?;
        // 10.0.1.5:43210 to 198.51.100.1:443 leaves as 192.0.2.10:61234.
        let key = [198, 51, 100, 1, 10, 0, 1, 5, 1, 0xbb, 0xa8, 0xca, 6, 0];
        let mut value = [0; 40];
        value[32..38].copy_from_slice(&[192, 0, 2, 10, 0xef, 0x32]);
        nat.update(&key, &value)?;
        let outer = array("cilium_per_cluster_snat_v4_external", &nat)?;
        outer.update(&7u32.to_ne_bytes(), &(nat.raw_fd() as u32).to_ne_bytes())?;
        Ok((inner, nat))
    })?;
    let mut of: BTreeMap<String, u32> = BTreeMap::new();
    for row in rows(&space, "ct list")? {
        *of.entry(row["map"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let expected = [(CT4, 1), ("cilium_per_cluster_ct_tcp4[200]", 2), ("cilium_per_cluster_ct_tcp4[3]", 1)];
    assert_eq!(of, expected.map(|(map, rows)| (map.to_owned(), rows)).into());
    let counted = rows(&space, "ct count")?;
    assert_eq!(counted.iter().filter_map(|row| row["entries"].as_u64()).sum::<u64>(), 4, "{counted:?}");
    let nat = rows(&space, "nat list")?;
    assert_eq!(nat.len(), 1, "{nat:?}");
    assert_eq!(
        (&nat[0]["map"], &nat[0]["source_ip"], &nat[0]["to_port"]),
        (&"cilium_per_cluster_snat_v4_external[7]".into(), &"10.0.1.5".into(), &61234.into())
    );
    let dumped = rows(&space, "maps dump cilium_per_cluster_ct_tcp4")?;
    let keys: Vec<&Value> = dumped.iter().map(|row| &row["key"]).collect();
    assert_eq!(keys, ["03000000", "c8000000"]);
    Ok(Outcome::Passed)
}

fn a_pin_that_is_no_map_is_one_line_and_harms_no_other() -> Result<Outcome> {
    if !has_bpftool() {
        return Ok(Outcome::NotPossible("bpftool is needed to pin a program".to_owned()));
    }
    let node = Node::builder().build()?;
    let program = programs_of(node.space())?.first().copied().context("the node has no program")?;
    let path = format!("{GLOBALS}/cilium_ct6_global");
    node.space().run(|| Ok(fs::remove_file(&path)?))?;
    let id = program.to_string();
    let pinned = run_in(node.space(), Command::new("bpftool").args(["prog", "pin", "id", &id, &path]))?;
    ensure!(pinned.status.success(), "bpftool: {}", stderr(&pinned));
    let line = "map `cilium_ct6_global`: cannot be read: not a map, but a bpf-prog";
    for command in ["ct list", "ct count", "maps", "capacity --window 10ms"] {
        let output = tracer(node.space(), &format!("{command} -o jsonl"))?;
        assert_eq!(output.status.code(), Some(6), "{command}: {}", stderr(&output));
        assert!(stderr(&output).contains(line), "{command}: {}", stderr(&output));
        ensure!(stdout(&output).contains(CT4), "{command}: others are not shown");
    }
    let listed = parse(&tracer(node.space(), "ct count -o jsonl")?)?;
    let of = |map: &str| listed.iter().find(|row| row["map"] == map).and_then(|row| row["entries"].as_u64());
    assert_eq!(of(CT4), Some(bpftool_count(node.space(), CT4)?));
    Ok(Outcome::Passed)
}

/// Ids of the programs whose maps are pinned here, as bpftool lists them.
fn programs_of(space: &NodeSpace) -> Result<Vec<u64>> {
    let output = run_in(space, Command::new("bpftool").args(["-j", "prog", "show"]))?;
    let all: Value = serde_json::from_slice(&output.stdout).context("bpftool: no JSON")?;
    let is_ours = |program: &&Value| program["name"].as_str().is_some_and(|name| name.starts_with("cil_"));
    Ok(all.as_array().into_iter().flatten().filter(is_ours).filter_map(|p| p["id"].as_u64()).collect())
}

/// Somebody who may use BPF, but not every file.
fn a_pin_that_may_not_be_read_is_one_line_and_harms_no_other() -> Result<Outcome> {
    if Command::new("setpriv").arg("--version").output().is_err() {
        return Ok(Outcome::NotPossible("setpriv is needed to run without rights".to_owned()));
    }
    let space = NodeSpace::create()?;
    let program = Path::new("/run/cilium/tracer-for-all");
    space.run(|| {
        use std::os::unix::fs::PermissionsExt;
        make(spec(CT4, MapType::LruHash, 14, 56, 100), None)?.update(&ct_key(1, 1), &ct_value())?;
        let any = make(spec(ANY_CT4, MapType::LruHash, 14, 56, 100), None)?;
        any.update(&udp(ct_key(1, 2)), &ct_value())?;
        let mode = |path: &str, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        for directory in ["/sys/fs/bpf", "/sys/fs/bpf/tc", GLOBALS] {
            mode(directory, 0o755)?;
        }
        mode(&format!("{GLOBALS}/{CT4}"), 0o644)?;
        mode(&format!("{GLOBALS}/{ANY_CT4}"), 0o600)?;
        fs::copy(programs::path("tracer")?, program)?;
        Ok(fs::set_permissions(program, fs::Permissions::from_mode(0o755))?)
    })?;
    let run = |line: &str| {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=+bpf",
            "--ambient-caps=+bpf",
        ]);
        run_in(&space, command.arg(program).args(line.split(' ')))
    };
    let output = run("ct list -o jsonl")?;
    let line = "map `cilium_ct_any4_global`: permission denied: reading needs root, or CAP_BPF and the right to the file";
    assert_eq!(stderr(&output).matches(line).count(), 1, "{}", stderr(&output));
    assert_eq!((output.status.code(), parse(&output)?.len()), (Some(6), 1), "{}", stderr(&output));
    let output = run("ct list --map any4 -o jsonl")?;
    assert!(output.stdout.is_empty() && stderr(&output).contains(line), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    Ok(Outcome::Passed)
}

/// Impossible bits, and a family that is none, in the middle of sound entries.
fn strange_values_are_shown_as_bytes_beside_sound_ones() -> Result<Outcome> {
    let space = NodeSpace::create()?;
    let odd_ipcache = {
        let mut key = ipcache_key(1, 2);
        // An IPv6 prefix length in an IPv4 entry.
        key[0] = 160;
        key
    };
    let odd_family = {
        let mut key = lxc_key(1, 3);
        // An IPv6 address where the family says IPv4.
        key[4..16].fill(0xfd);
        key
    };
    space.run(|| {
        let ct = make(spec(CT4, MapType::LruHash, 14, 56, 100), None)?;
        ct.update(&ct_key(1, 1), &ct_value())?;
        let mut key = ct_key(1, 2);
        // Flags that no entry has.
        key[13] = 0xf8;
        ct.update(&key, &ct_value())?;
        let ipcache = make(spec(IPCACHE, MapType::LpmTrie, 24, 12, 100), None)?;
        ipcache.update(&ipcache_key(1, 1), &identity_value())?;
        ipcache.update(&odd_ipcache, &identity_value())?;
        let lxc = make(spec(LXC, MapType::Hash, 20, 48, 100), None)?;
        lxc.update(&lxc_key(1, 1), &[1; 48])?;
        lxc.update(&odd_family, &[1; 48])?;
        let backends = make(spec("cilium_lb4_backends_v3", MapType::Hash, 4, 12, 100), None)?;
        make(spec("cilium_lb4_services_v2", MapType::Hash, 12, 12, 100), None)?;
        backends.update(&1u32.to_ne_bytes(), &[10, 0, 2, 9, 0x1f, 0x90, 6, 0, 0, 0, 0, 0])?;
        // A state that is none.
        Ok(backends.update(&2u32.to_ne_bytes(), &[10, 0, 2, 9, 0x1f, 0x90, 6, 9, 0, 0, 0, 0])?)
    })?;
    for (line, map) in [
        ("ct list", CT4),
        ("ipcache list", IPCACHE),
        ("endpoints list", LXC),
        ("lb list --backends", "cilium_lb4_backends_v3"),
    ] {
        let output = tracer(&space, &format!("{line} -o jsonl"))?;
        let found = parse(&output)?;
        let raw = found.iter().filter(|row| row.get("raw_key").is_some()).count();
        let told = stderr(&output).matches(&format!("map `{map}`: 1 entries have impossible bits")).count();
        assert_eq!(
            (output.status.code(), found.len(), raw, told),
            (Some(6), 2, 1, 1),
            "{line}: {found:?} {}",
            stderr(&output)
        );
    }
    Ok(Outcome::Passed)
}

/// Types that no release of Cilium uses, under names that look like its own.
fn a_map_of_a_type_without_entries_is_listed_and_refused_in_one_line() -> Result<Outcome> {
    if !has_bpftool() {
        return Ok(Outcome::NotPossible("bpftool is needed to make such maps".to_owned()));
    }
    let space = NodeSpace::create()?;
    space.run(|| {
        make(spec(CT4, MapType::LruHash, 14, 56, 100), None)?.update(&ct_key(1, 1), &ct_value())?;
        Ok(())
    })?;
    let kinds = [("ringbuf", "0", "0", "4096"), ("queue", "0", "4", "10"), ("stack", "0", "4", "10")];
    for (kind, key, value, entries) in kinds {
        let path = format!("{GLOBALS}/cilium_{kind}");
        let words = ["map", "create", &path, "type", kind, "key", key, "value", value, "entries", entries];
        let made = run_in(&space, Command::new("bpftool").args(words).args(["name", kind]))?;
        ensure!(made.status.success(), "bpftool: {}", stderr(&made));
    }
    let listed = rows(&space, "maps")?;
    for (kind, ..) in kinds {
        let row = listed.iter().find(|row| row["map"] == format!("cilium_{kind}")).context("not listed")?;
        assert_eq!(
            (&row["type"], &row["entries"], &row["layout"]),
            (&kind.into(), &Value::Null, &"unknown".into())
        );
        let output = tracer(&space, &format!("maps dump cilium_{kind}"))?;
        let line = format!("map `cilium_{kind}`: cannot be read: a map of this type has no entries to list");
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{}", stderr(&output));
        assert!(stderr(&output).contains(&line), "{}", stderr(&output));
    }
    assert_eq!(rows(&space, "ct list")?.len(), 1);
    Ok(Outcome::Passed)
}
