//! What is wrong around tracer: missing rights, places that are none, missing and unknown maps, hostile state
//! files, wrong command lines, packets without an end. One clear line each, the right exit code, never a panic.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use super::drops_expected::{check_sent, compare, counts, expected};
use super::support::{FIRST_DROP, Scene, Scratch, patience};
use crate::node::Node;
use crate::node::cast::{CLIENT, SERVER};
use crate::node::kernel::bpf::{BPF_F_NO_PREALLOC, Map, MapSpec, MapType};
use crate::node::kernel::link::LinkSocket;
use crate::node::kernel::space::NodeSpace;
use crate::programs;
use crate::runner::Outcome;

crate::tests![
    missing_rights_are_told,
    wrong_places_are_told,
    wrong_command_lines_are_told,
    a_missing_map_costs_its_names_only: 90,
    a_map_of_unknown_size_costs_its_names_only: 90,
    hostile_state_files_are_told_and_escaped: 90,
    packets_without_an_end_are_shown: 60,
];

const GLOBALS: &str = "/sys/fs/bpf/tc/globals";
const STATE: &str = "/run/cilium/state";

/// Runs tracer to its end. A stream that goes on instead is the end of the test's own time.
fn run(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().context("cannot run tracer")
}

fn tracer(arguments: &[&str]) -> Result<Output> {
    run(Command::new(programs::path("tracer")?).args(arguments))
}

/// Exit code, and one line on stderr with these words; nothing on stdout.
fn refused(output: &Output, code: i32, words: &[&str]) -> Result<()> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code), "{}, not {code}: {stderr}", output.status);
    let line = stderr.lines().next().unwrap_or_default();
    ensure!(line.starts_with("error: "), "first line: {line}");
    for word in words {
        ensure!(line.contains(word), "no `{word}` in: {line}");
    }
    ensure!(!stderr.contains("panicked") && output.stdout.is_empty(), "{stderr}");
    // Behind it at most a tip and what is allowed.
    ensure!(stderr.lines().count() <= 4, "{stderr}");
    Ok(())
}

fn without(capabilities: &[CapabilitySet], arguments: &[&str]) -> Result<Output> {
    // The bounding set is the thread's, and what the thread starts inherits it.
    let limited = || {
        for capability in capabilities {
            remove_capability_from_bounding_set(*capability).context("cannot drop a capability")?;
        }
        tracer(arguments)
    };
    std::thread::scope(|scope| scope.spawn(limited).join()).map_err(|_| anyhow!("a thread panicked"))?
}

/// A copy of tracer that everybody may run.
pub(super) fn public_copy(scratch: &Scratch) -> Result<PathBuf> {
    let copy = scratch.path("tracer");
    fs::set_permissions(scratch.path(""), fs::Permissions::from_mode(0o755))?;
    fs::copy(programs::path("tracer")?, &copy).context("cannot copy tracer")?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}

fn missing_rights_are_told() -> Result<Outcome> {
    let arguments = ["drops", "--duration", "10s"];
    let scratch = Scratch::new()?;
    let mut nobody = Command::new(public_copy(&scratch)?);
    let output = run(nobody.args(arguments).uid(65534).gid(65534).current_dir("/"))?;
    refused(&output, 3, &["not permitted", "root", "CAP_BPF"])?;
    let output = without(&[CapabilitySet::BPF, CapabilitySet::SYS_ADMIN], &arguments)?;
    refused(&output, 3, &["not permitted", "lacks CAP_BPF"])?;
    Ok(Outcome::Passed)
}

fn wrong_places_are_told() -> Result<Outcome> {
    NodeSpace::create()?.run(|| {
        let scratch = Scratch::new()?;
        let path = scratch.path("").display().to_string();
        refused(&tracer(&["--bpffs", "/sys", "drops"])?, 1, &["`/sys` is not a bpffs", "sysfs"])?;
        refused(&tracer(&["--bpffs", &path, "drops"])?, 1, &["is not a bpffs", &path])?;
        let missing = scratch.path("nowhere").display().to_string();
        refused(&tracer(&["--bpffs", &missing, "drops"])?, 1, &[&missing, "does not exist"])?;
        refused(&tracer(&["--state-dir", &missing, "drops"])?, 1, &[&missing])?;
        Ok(())
    })?;
    Ok(Outcome::Passed)
}

fn wrong_command_lines_are_told() -> Result<Outcome> {
    let cases: [(&[&str], &str); 15] = [
        (&["--bogus"], "--bogus"),
        (&["--identity", "nonsense"], "nonsense"),
        (&["--to-port", "99999"], "99999"),
        (&["--ip", "10.0.0.0/33"], "10.0.0.0/33"),
        (&["--protocol", "carrier-pigeon"], "carrier-pigeon"),
        (&["--drop-reason-desc", "NO_SUCH_REASON"], "NO_SUCH_REASON"),
        (&["--tcp-flags", "LOL"], "LOL"),
        (&["--label", "((("], "((("),
        (&["--tap", "water"], "water"),
        (&["-o", "xml"], "xml"),
        (&["--duration", "soon"], "soon"),
        (&["--count", "0"], "--count"),
        (&["--not"], "--not"),
        (&["--http-status", "200"], "--http-status"),
        (&["-n", "a", "--all-namespaces"], "--all-namespaces"),
    ];
    for (arguments, word) in cases {
        let arguments: Vec<&str> = ["drops"].iter().chain(arguments).copied().collect();
        refused(&tracer(&arguments)?, 2, &[word]).with_context(|| format!("{arguments:?}"))?;
    }
    let conflicts: [&[&str]; 2] = [&["--pod", "a", "--from-pod", "b"], &["--pod", "a/b", "-n", "c"]];
    for arguments in conflicts {
        let arguments: Vec<&str> = ["drops"].iter().chain(arguments).copied().collect();
        refused(&tracer(&arguments)?, 2, &[]).with_context(|| format!("{arguments:?}"))?;
    }
    Ok(Outcome::Passed)
}

/// All of Cilium's drops are shown; stderr has this line about a map.
fn stream_goes_on(scene: &Scene, words: &[&str]) -> Result<()> {
    let (run, sent) = scene.trace(&["-o", "json"], 1)?;
    check_sent(&sent)?;
    run.expect_code(0)?;
    compare("the stream", &counts(&run.events()?)?, &expected(1, |_| true))?;
    for word in words {
        let lines = run.stderr.lines().filter(|line| line.contains(word)).count();
        ensure!(lines == 1, "`{word}` in {lines} lines of: {}", run.stderr);
    }
    Ok(())
}

fn a_missing_map_costs_its_names_only() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    scene.node.space().run(|| Ok(fs::remove_file(Path::new(GLOBALS).join("cilium_ipcache"))?))?;
    stream_goes_on(&scene, &["cilium_ipcache"])?;
    Ok(Outcome::Passed)
}

fn a_map_of_unknown_size_costs_its_names_only() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let spec = MapSpec {
        pin: "cilium_ipcache".to_owned(),
        map_type: MapType::LpmTrie,
        key: 24,
        value: 20,
        max_entries: 100,
        flags: BPF_F_NO_PREALLOC,
    };
    let map = Map::create(spec, None).context("cannot make a map")?;
    scene.node.space().run(|| {
        fs::remove_file(Path::new(GLOBALS).join("cilium_ipcache"))?;
        Ok(map.pin(Path::new(GLOBALS))?)
    })?;
    stream_goes_on(&scene, &["map `cilium_ipcache`: value size 20"])?;
    Ok(Outcome::Passed)
}

/// The client's files say its name with a terminal escape in it, the server's are rubbish, more rubbish lies about.
fn spoil_state() -> Result<()> {
    for (endpoint, name) in [(CLIENT.endpoint, "client"), (SERVER.endpoint, "server")] {
        let directory = Path::new(STATE).join(endpoint.to_string());
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let text = match name {
                "client" => text.replace("\"client\"", "\"cli\\u001b[31ment\\u0007\""),
                _ => "{\"ID\": 1002, \"broken".to_owned(),
            };
            fs::write(&path, text)?;
        }
    }
    fs::create_dir(Path::new(STATE).join("4711"))?;
    fs::write(
        Path::new(STATE).join("4711/ep_config.h"),
        "/*\n * CILIUM_BASE64_!!!not base64!!!\n */\n#define LXC_ID 4711\n",
    )?;
    fs::write(Path::new(STATE).join("4711/ep_config.json"), b"\xff\xfe\x00")?;
    fs::create_dir(Path::new(STATE).join("99999999999"))?;
    Ok(())
}

fn hostile_state_files_are_told_and_escaped() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    scene.node.space().run(spoil_state)?;
    for format in ["compact", "dict", "table", "json", "jsonpb"] {
        let tracer = scene.start(&["-o", format])?;
        scene.send_case("denied-tcp", 1)?;
        let run = tracer.stop()?;
        run.expect_code(0)?;
        ensure!(run.stdout.contains("9090"), "{format}: {}", run.stdout);
        for (stream, text) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
            let control = text.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
            ensure!(control.is_none(), "{format}: {control:?} on {stream}: {text:?}");
        }
        if format.starts_with("json") {
            let events = run.events()?;
            let flow = &events.first().context("no event")?["flow"];
            ensure!(flow["source"]["pod_name"] == "cli\u{1b}[31ment\u{7}", "source: {}", flow["source"]);
            ensure!(flow["destination"]["identity"] == 23456, "destination: {}", flow["destination"]);
        }
        ensure!(run.stderr.contains("1002"), "no word of the server's files: {}", run.stderr);
    }
    Ok(Outcome::Passed)
}

/// Frames that end in the middle of a header.
fn packets_without_an_end_are_shown() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let tracer = scene.start(&["-o", "json", "--all"])?;
    scene.node.in_pod("default/client", || {
        let socket = LinkSocket::open(2)?;
        for (ethertype, first) in [([0x08, 0x00], 0x45), ([0x86, 0xdd], 0x60), ([0x12, 0x34], 0)] {
            for length in 15..60 {
                let mut frame = [CLIENT.node_mac, CLIENT.mac].concat();
                frame.extend(ethertype);
                frame.push(first);
                frame.resize(length, 0x11);
                socket.send(&frame).with_context(|| format!("cannot send {length} bytes"))?;
            }
        }
        Ok(())
    })?;
    std::thread::sleep(Duration::from_millis(200) * patience().min(3));
    let dropped: u64 =
        scene.node.metrics()?.iter().filter(|row| row.reason >= FIRST_DROP).map(|row| row.packets).sum();
    ensure!(dropped > 0, "the datapath dropped none of them");
    // The stream is well afterwards.
    scene.send_case("denied-udp", 1)?;
    let run = tracer.stop()?;
    run.expect_code(0)?;
    run.summary()?.expect_complete(dropped + 1)?;
    let shown: u64 = counts(&run.events()?)?.values().sum();
    ensure!(shown == dropped + 1, "{shown} of {} shown", dropped + 1);
    Ok(Outcome::Passed)
}
