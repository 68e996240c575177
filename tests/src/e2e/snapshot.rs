//! `tracer snapshot` and `--snapshot`: a saved node answers as the live one did, somewhere else and later; what
//! is damaged is said to be; what is redacted is gone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::maps::{on_recorded, parse, rows, stderr, stdout, tracer, with_state};
use super::support::{Scratch, wait_until};
use crate::node::cast::SERVER;
use crate::node::kernel::bpf::Map;
use crate::node::kernel::space::NodeSpace;
use crate::node::{Generation, Node};
use crate::programs;
use crate::runner::Outcome;

crate::tests![
    the_cast_answers_from_a_file_as_it_did_live: 600,
    a_recorded_real_node_answers_from_a_file_as_it_did_live: 240,
    times_stand_still_at_the_moment_of_the_snapshot: 120,
    ordinary_tools_take_it_apart: 120,
    damage_is_one_clear_line: 240,
    what_only_a_running_node_can_do_is_refused: 60,
    redacted_names_are_gone_and_joins_hold: 240,
    it_is_written_whole_or_not_at_all: 120,
    killed_it_leaves_nothing_behind: 120,
    a_diff_tells_what_was_done_in_between: 120,
];

/// Every command on maps. Where an argument is the name of something, it is one of the cast's.
const CAST: &[&str] = &[
    "maps",
    "ct list",
    "ct count",
    "ct count --by source-pod",
    "ct top",
    "nat list",
    "nat ports --ip 0.0.0.0/0",
    "nat orphans --ip 0.0.0.0/0",
    "lb list",
    "lb list --frontends",
    "lb list --backends",
    "lb list --revnat",
    "lb list --affinity",
    "lb list --maglev",
    "lb get 10.96.0.10:80",
    "lb check",
    "policy list",
    "policy get default/server",
    "ipcache list",
    "ipcache get 10.244.2.20",
    "ipcache get 192.0.2.100",
    "ipcache get 8.8.8.8",
    "endpoints list",
    "endpoints get default/client",
    "identity list",
    "identity get app=server",
    "nodes",
    "metrics",
    "capacity --window 100ms",
    "why default/client default/server:8080",
    "why default/client default/server:9090/tcp",
];
const RECORDED: &[&str] = &[
    "maps",
    "ct list",
    "ct count",
    "nat list",
    "lb list",
    "lb check",
    "policy list",
    "policy get 260",
    "ipcache list",
    "ipcache get 172.30.0.33",
    "endpoints list",
    "identity list",
    "nodes",
    "metrics",
    "capacity --window 100ms",
];

/// Members that say how long ago something was or how long it will last, and how many entries are past their
/// time: they run on in the live node. The growth of a map needs two looks at it. `evidence` says where and when
/// the maps were read.
fn is_time(key: &str) -> bool {
    matches!(key, "expired" | "evidence")
        || key.ends_with("_seconds")
        || key.ends_with("_seconds_ago")
        || key.contains("growth")
        || key.contains("_at")
}

fn without_times(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|key, _| !is_time(key));
            object.values_mut().for_each(without_times);
        }
        Value::Array(list) => list.iter_mut().for_each(without_times),
        _ => {}
    }
}

fn take(space: &NodeSpace, file: &Path, options: &str) -> Result<Output> {
    let line = format!("{options} snapshot -o {}", file.display());
    tracer(space, line.trim_start())
}

/// Asks a snapshot outside of the node, where there is no Cilium.
fn ask(file: &Path, line: &str) -> Result<Output> {
    let mut command = Command::new(programs::path("tracer")?);
    command.arg("--snapshot").arg(file).args(line.split(' ').filter(|word| !word.is_empty()));
    command.output().context("cannot run tracer")
}

fn json(output: &Output, line: &str) -> Result<Value> {
    if output.stdout.is_empty() {
        return Ok(Value::Null);
    }
    let mut value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{line}: no JSON: {} {}", stdout(output), stderr(output)))?;
    without_times(&mut value);
    Ok(value)
}

/// Rows and exit code of a command, live and from the file.
fn same(space: &NodeSpace, file: &Path, line: &str, live_options: &str) -> Result<u64> {
    let line = format!("{line} -o json");
    let live = tracer(space, format!("{live_options} {line}").trim_start())?;
    let saved = ask(file, &line)?;
    ensure!(
        live.status.code() == saved.status.code(),
        "{line}: live {}, saved {}: {} {}",
        live.status,
        saved.status,
        stderr(&live),
        stderr(&saved)
    );
    ensure!(!stderr(&saved).contains("panicked"), "{line}: {}", stderr(&saved));
    let (live, saved) = (json(&live, &line)?, json(&saved, &line)?);
    if live != saved {
        let difference = first_difference(&live, &saved);
        anyhow::bail!("{line}: at {difference}");
    }
    Ok(match &live {
        Value::Array(rows) => rows.len() as u64,
        Value::Object(_) => 1,
        _ => 0,
    })
}

/// Where they differ first, and how.
fn first_difference(live: &Value, saved: &Value) -> String {
    match (live, saved) {
        (Value::Array(live), Value::Array(saved)) if live.len() == saved.len() => {
            let pair = live.iter().zip(saved).enumerate().find(|(_, (live, saved))| live != saved);
            pair.map_or(String::new(), |(at, (live, saved))| {
                format!("[{at}]{}", first_difference(live, saved))
            })
        }
        (Value::Object(live), Value::Object(_)) => {
            let pair = live
                .iter()
                .map(|(key, live)| (key, live, &saved[key]))
                .find(|(_, live, saved)| live != saved);
            pair.map_or_else(
                || ": members that only the saved one has".to_owned(),
                |(key, live, saved)| format!(".{key}{}", first_difference(live, saved)),
            )
        }
        _ => format!(": live {live}, saved {saved}"),
    }
}

fn pins(space: &NodeSpace) -> Result<Vec<String>> {
    let listed = rows(space, "maps")?;
    Ok(listed.iter().filter_map(|row| row["map"].as_str().map(str::to_owned)).collect())
}

fn the_cast_answers_from_a_file_as_it_did_live() -> Result<Outcome> {
    for generation in Generation::ALL {
        let node = Node::builder().generation(generation).build()?;
        let scratch = Scratch::new()?;
        let file = scratch.path("node.snap");
        let taken = take(node.space(), &file, "")?;
        ensure!(taken.status.success() && taken.stdout.is_empty(), "{}", stderr(&taken));
        let check = || -> Result<()> {
            let mut filled = 0;
            for line in CAST {
                filled += u64::from(same(node.space(), &file, line, "")? > 0);
            }
            ensure!(filled >= 24, "only {filled} of the commands had rows");
            for pin in pins(node.space())? {
                same(node.space(), &file, &format!("maps dump {pin}"), "")?;
                same(node.space(), &file, &format!("maps dump --raw {pin}"), "")?;
            }
            Ok(())
        };
        check().with_context(|| format!("generation {generation}"))?;
    }
    Ok(Outcome::Passed)
}

fn a_recorded_real_node_answers_from_a_file_as_it_did_live() -> Result<Outcome> {
    on_recorded(|space, _, state| {
        let scratch = Scratch::new()?;
        let file = scratch.path("node.snap");
        let options = with_state(state, "");
        let taken = take(space, &file, options.trim_end())?;
        ensure!(taken.status.success(), "{}", stderr(&taken));
        for line in RECORDED {
            let rows = same(space, &file, line, options.trim_end())?;
            ensure!(rows > 0, "{line}: no rows");
        }
        for pin in pins(space)? {
            same(space, &file, &format!("maps dump {pin}"), "")?;
        }
        Ok(())
    })
}

/// Rows of connection tracking by what tells them apart, with the seconds that they have left.
fn remaining(rows: &[Value]) -> Result<Vec<(String, i64)>> {
    let one = |row: &Value| {
        let left = row["remaining_seconds"].as_i64().with_context(|| format!("no time left in {row}"))?;
        let ends =
            ["source_ip", "source_port", "destination_ip", "destination_port", "protocol", "direction"];
        Ok((ends.map(|key| row[key].to_string()).join(" "), left))
    };
    let mut rows: Vec<_> = rows.iter().map(one).collect::<Result<_>>()?;
    rows.sort();
    Ok(rows)
}

fn times_stand_still_at_the_moment_of_the_snapshot() -> Result<Outcome> {
    let node = Node::builder().build()?;
    let scratch = Scratch::new()?;
    let file = scratch.path("node.snap");
    let before = remaining(&rows(node.space(), "ct list")?)?;
    take(node.space(), &file, "")?;
    let after = remaining(&rows(node.space(), "ct list")?)?;
    let saved = ask(&file, "ct list -o jsonl")?;
    thread::sleep(Duration::from_secs(3));
    let later = ask(&file, "ct list -o jsonl")?;
    assert_eq!(stdout(&saved), stdout(&later));
    let told = stderr(&later);
    let said =
        told.starts_with("snapshot of node `") && told.contains("ages and remaining times are as of then");
    ensure!(said && told.lines().count() == 1, "{told}");
    let quiet = ask(&file, "-q ct list")?;
    assert_eq!((stderr(&quiet).as_str(), quiet.status.code()), ("", Some(0)));
    let saved = remaining(&parse(&saved)?)?;
    let expired = parse(&ask(&file, "ct list --expired -o jsonl")?)?.len();
    assert_eq!(expired, saved.iter().filter(|(_, left)| *left < 0).count());
    ensure!(!saved.is_empty() && saved.len() == before.len() && saved.len() == after.len());
    for ((before, saved), after) in before.iter().zip(&saved).zip(&after) {
        ensure!(before.0 == saved.0 && saved.0 == after.0, "{before:?} {saved:?} {after:?}");
        ensure!(before.1 >= saved.1 && saved.1 >= after.1, "{before:?} {saved:?} {after:?}");
    }
    Ok(Outcome::Passed)
}

/// What tar and zstd know of the file, with the bytes of one map as the kernel gives them.
fn ordinary_tools_take_it_apart() -> Result<Outcome> {
    let has = |name: &str| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
    if !has("zstd") || !has("tar") {
        return Ok(Outcome::NotPossible("zstd and tar are needed".to_owned()));
    }
    let node = Node::builder().build()?;
    let scratch = Scratch::new()?;
    let file = scratch.path("node.snap");
    take(node.space(), &file, "")?;
    let line = "zstd -dc < $0 | tar -x -C $1";
    let unpack = Command::new("sh").args(["-c", line]).arg(&file).arg(scratch.path("")).output()?;
    ensure!(unpack.status.success(), "{}", stderr(&unpack));
    let manifest: Value = serde_json::from_slice(&fs::read(scratch.path("manifest.json"))?)?;
    assert_eq!(manifest["kernel"]["release"], *rustix::system::uname().release().to_string_lossy());
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    assert_eq!(manifest["kernel"]["boot_id"], boot_id.trim());
    let names: BTreeSet<&str> = manifest["interfaces"]
        .as_array()
        .context("no interfaces")?
        .iter()
        .filter_map(|i| i["name"].as_str())
        .collect();
    ensure!(names.contains("lxcc11e27a1b2c3") && names.contains("cilium_host"), "{names:?}");
    let saved = fs::read(scratch.path("maps/cilium_lxc/00000"))?;
    let mut entries: Vec<Vec<u8>> = saved.chunks(20 + 48).map(<[u8]>::to_vec).collect();
    let mut expected: Vec<Vec<u8>> = map_entries(node.map("cilium_lxc")?)?;
    entries.sort();
    expected.sort();
    assert_eq!(entries, expected);
    let mode = fs::metadata(&file)?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only its owner may read what only root could");
    Ok(Outcome::Passed)
}

fn map_entries(map: &Map) -> Result<Vec<Vec<u8>>> {
    let entry = |key: Vec<u8>| Ok([key.clone(), map.lookup(&key)?.context("no value")?].concat());
    map.keys()?.into_iter().map(entry).collect()
}

fn damage_is_one_clear_line() -> Result<Outcome> {
    let node = Node::builder().build()?;
    let scratch = Scratch::new()?;
    let (file, damaged) = (scratch.path("node.snap"), scratch.path("damaged.snap"));
    take(node.space(), &file, "")?;
    let whole = fs::read(&file)?;
    let one_line = |output: &Output, what: &str| {
        let text = stderr(output);
        let line = text.lines().filter(|line| line.starts_with("error: ")).count();
        ensure!(output.status.code() == Some(1) && line == 1 && output.stdout.is_empty(), "{what}: {text}");
        Ok(text)
    };
    for (length, expected) in [(0, "cut short"), (100, "cut short"), (whole.len() - 1, "cut short")] {
        fs::write(&damaged, &whole[..length])?;
        let text = one_line(&ask(&damaged, "ct list")?, "cut")?;
        ensure!(text.contains(expected), "{text}");
    }
    one_line(&ask(Path::new("/no/such/file"), "ct list")?, "absent")?;
    one_line(&ask(Path::new("/etc/passwd"), "ct list")?, "another file")?;
    one_line(&ask(Path::new("/tmp"), "ct list")?, "a directory")?;
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&damaged, bytes)?;
        let text = one_line(&ask(&damaged, "ct list -o json")?, "a flipped byte")?;
        ensure!(text.contains("is damaged") || text.contains("cut short"), "byte {at}: {text}");
    }
    Ok(Outcome::Passed)
}

fn what_only_a_running_node_can_do_is_refused() -> Result<Outcome> {
    let node = Node::builder().without_datapath().build()?;
    let scratch = Scratch::new()?;
    let file = scratch.path("node.snap");
    take(node.space(), &file, "")?;
    for line in
        ["drops", "capacity --watch", "metrics --watch", "snapshot -o /tmp/x", "--bpffs /sys/fs/bpf maps"]
    {
        let output = ask(&file, line)?;
        let text = stderr(&output);
        let is_one_line = text.lines().count() == 1 && text.starts_with("error: ");
        ensure!(output.status.code() == Some(2) && is_one_line, "{line}: {} {text}", output.status);
    }
    Ok(Outcome::Passed)
}

/// Names of the cast that stand in its state files.
const SECRETS: [&str; 7] =
    ["default", "server", "client", "kube-system", "dns", "api.example.test", "node-2"];

fn redacted_names_are_gone_and_joins_hold() -> Result<Outcome> {
    for generation in [Generation::V1_15, Generation::V1_17] {
        let node = Node::builder().generation(generation).build()?;
        let scratch = Scratch::new()?;
        let file = scratch.path("node.snap");
        let line = format!("snapshot --redact -o {}", file.display());
        ensure!(tracer(node.space(), &line)?.status.success());
        for line in ["endpoints list", "policy get 1002", "identity list", "nodes"] {
            let text = stdout(&ask(&file, &format!("{line} -o jsonl"))?);
            ensure!(!text.is_empty(), "{line}: nothing");
            for row in text.lines() {
                check_redacted(&serde_json::from_str(row)?)?;
            }
        }
        let listed = parse(&ask(&file, "endpoints list -o jsonl")?)?;
        let server = listed.iter().find(|row| row["ip"] == "10.244.1.20").context("no server")?;
        ensure!(server["pod"].as_str().is_some_and(|pod| pod.starts_with('x')), "{server}");
        // The same pod is found by its new name, and an identity has the labels of its endpoint.
        let name = format!(
            "{}/{}",
            server["namespace"].as_str().unwrap_or(""),
            server["pod"].as_str().unwrap_or("")
        );
        let got = parse(&ask(&file, &format!("endpoints get {name} -o jsonl"))?)?;
        ensure!(got.iter().any(|row| row["ip"] == "10.244.1.20"), "{got:?}");
        assert_eq!(parse(&ask(&file, "ct list -o jsonl")?)?.len(), rows(node.space(), "ct list")?.len());
    }
    Ok(Outcome::Passed)
}

fn check_redacted(value: &Value) -> Result<()> {
    match value {
        Value::Object(object) => object.values().try_for_each(check_redacted),
        Value::Array(list) => list.iter().try_for_each(check_redacted),
        Value::String(text) => {
            let words = text.split(['=', '/', ':', ' ']);
            let told = words.filter(|word| SECRETS.contains(word)).collect::<Vec<_>>();
            // Well-known identities have these labels on every node.
            let is_fixed =
                text.contains("cluster=default") || text.contains("kube-dns") || text.contains("kube-system");
            ensure!(told.is_empty() || is_fixed, "`{text}` is still there");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn it_is_written_whole_or_not_at_all() -> Result<Outcome> {
    let node = Node::builder().without_datapath().build()?;
    let scratch = Scratch::new()?;
    let output = take(node.space(), &scratch.path("no/such/directory/a.snap"), "")?;
    ensure!(output.status.code() == Some(1) && stderr(&output).contains("error: cannot write the snapshot"));
    let to_stdout = tracer(node.space(), "snapshot -o -")?;
    ensure!(to_stdout.status.success(), "{}", stderr(&to_stdout));
    let file = scratch.path("from-stdout.snap");
    fs::write(&file, &to_stdout.stdout)?;
    same(node.space(), &file, "maps", "")?;
    let kept = scratch.path("kept.snap");
    fs::write(&kept, "before")?;
    let line = format!("ulimit -f 8; exec $0 snapshot -o {}", kept.display());
    let mut command = Command::new("sh");
    command.args(["-c", &line]).arg(programs::path("tracer")?);
    let limited = super::maps::run_in(node.space(), &mut command)?;
    ensure!(!limited.status.success(), "8 blocks were enough");
    assert_eq!(fs::read(&kept)?, b"before");
    Ok(Outcome::Passed)
}

fn killed_it_leaves_nothing_behind() -> Result<Outcome> {
    let node = Node::builder().without_datapath().connections(100_000).build()?;
    let scratch = Scratch::new()?;
    let directory = scratch.path("out");
    fs::create_dir(&directory)?;
    let nameless = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::WRONLY;
    if rustix::fs::open(&directory, nameless, rustix::fs::Mode::RUSR).is_err() {
        return Ok(Outcome::NotPossible("this file system has no files without a name".to_owned()));
    }
    let names = || -> Result<Vec<String>> {
        let entries = fs::read_dir(&directory)?.collect::<Result<Vec<_>, _>>()?;
        Ok(entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    };
    let file = directory.join("node.snap");
    let mut command = Command::new(programs::path("tracer")?);
    command.args(["-q", "snapshot", "-o"]).arg(&file);
    let mut child = crate::node::kernel::process::into_space(&mut command, node.space())?.spawn()?;
    let descriptors = format!("/proc/{}/fd", child.id());
    let is_writing = || {
        let mut open = fs::read_dir(&descriptors).into_iter().flatten().flatten();
        open.any(|entry| fs::read_link(entry.path()).is_ok_and(|path| path.starts_with(&directory)))
    };
    wait_until("it writes", Duration::from_secs(30), || {
        ensure!(child.try_wait()?.is_none(), "it has ended before it was killed");
        Ok(is_writing())
    })?;
    child.kill()?;
    child.wait()?;
    ensure!(names()?.is_empty(), "left behind: {:?}", names()?);
    // The whole file takes the place of what is there.
    fs::write(&file, "before")?;
    let output = take(node.space(), &file, "")?;
    ensure!(output.status.success(), "{}", stderr(&output));
    ensure!(names()? == ["node.snap"], "{:?}", names()?);
    ensure!(fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600, "others may read it");
    same(node.space(), &file, "maps", "")?;
    Ok(Outcome::Passed)
}

fn diff(files: [&Path; 2], options: &str) -> Result<Vec<Value>> {
    let mut command = Command::new(programs::path("tracer")?);
    command.arg("diff").args(files).args(options.split(' ').filter(|word| !word.is_empty()));
    let output = command.args(["-o", "jsonl"]).output().context("cannot run tracer")?;
    ensure!(output.status.success(), "diff {options}: {}", stderr(&output));
    parse(&output)
}

/// One address added to the ipcache, one taken away, one changed; one policy entry taken away; an interface.
fn a_diff_tells_what_was_done_in_between() -> Result<Outcome> {
    let node = Node::builder().generation(Generation::V1_17).build()?;
    let scratch = Scratch::new()?;
    let (before, after) = (scratch.path("a.snap"), scratch.path("b.snap"));
    take(node.space(), &before, "")?;
    take(node.space(), &after, "")?;
    assert_eq!(diff([&before, &after], "")?, Vec::<Value>::new(), "nothing was done");
    let ipcache = node.map("cilium_ipcache")?;
    // /32 of an IPv4 address: 32 bits in front of it are part of the prefix.
    let key = |address: [u8; 4]| [&64u32.to_ne_bytes()[..], &[0, 0, 0, 1], &address, &[0; 12]].concat();
    let value = |identity: u32| [&identity.to_ne_bytes()[..], &[0; 8]].concat();
    ipcache.update(&key([10, 244, 9, 9]), &value(777))?;
    ipcache.delete(&key([10, 244, 2, 30]))?;
    ipcache.update(&key([10, 244, 2, 20]), &value(778))?;
    let policy = node.policy_map(SERVER.endpoint)?;
    let first = policy.keys()?.into_iter().next().context("no policy")?;
    policy.delete(&first)?;
    let pair = ["link", "add", "extra0", "type", "veth", "peer", "name", "extra1"];
    let made = super::maps::run_in(node.space(), Command::new("ip").args(pair))?;
    ensure!(made.status.success(), "{}", stderr(&made));
    take(node.space(), &after, "")?;
    let summary = diff([&before, &after], "")?;
    let of =
        |what: &str| summary.iter().find(|row| row["what"] == what).with_context(|| format!("no {what}"));
    let counts = |row: &Value| ["added", "removed", "changed"].map(|key| row[key].as_u64().unwrap_or(99));
    assert_eq!(counts(of("cilium_ipcache")?), [1, 1, 1]);
    assert_eq!(counts(of("cilium_policy_01002")?), [0, 1, 0]);
    assert_eq!(counts(of("interfaces")?), [2, 0, 0]);
    ensure!(
        summary.iter().all(|row| row["what"] != "cilium_lxc" && row["what"] != "endpoints"),
        "{summary:?}"
    );
    let rows = diff([&before, &after], "--rows --only ipcache")?;
    let row =
        |key: &str| rows.iter().find(|row| row["key"] == key).with_context(|| format!("no {key}: {rows:?}"));
    assert_eq!((rows.len(), &row("10.244.9.9/32")?["change"]), (3, &"added".into()));
    assert_eq!(row("10.244.2.30/32")?["change"], "removed");
    let changed = row("10.244.2.20/32")?;
    let said = |side: &str| changed[side].as_str().unwrap_or_default().to_owned();
    ensure!(said("before").contains("identity=23456") && said("after").contains("identity=778"), "{changed}");
    let text = Command::new(programs::path("tracer")?).arg("diff").args([&before, &after]).output()?;
    ensure!(
        stdout(&text).starts_with("WHAT") && stdout(&text).contains("cilium_ipcache"),
        "{}",
        stdout(&text)
    );
    ensure!(stderr(&text).lines().count() == 2, "{}", stderr(&text));
    // Both ways round it is the same, with other signs.
    let back = diff([&after, &before], "")?;
    assert_eq!(back.len(), summary.len());
    Ok(Outcome::Passed)
}
