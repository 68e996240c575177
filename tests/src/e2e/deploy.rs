//! Where tracer runs on a cluster: the container that `kubectl debug node` makes, with the node's root at /host,
//! and the pod of `tracer manifest`, with few rights and read-only mounts.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::maps::{run_in, stderr, stdout, tracer};
use super::support::{Scene, Scratch, patience};
use crate::node::Node;
use crate::node::kernel::process::into_space;
use crate::programs;
use crate::runner::Outcome;

crate::tests![
    finds_the_node_under_host_without_flags: 90,
    the_rights_and_mounts_of_the_manifest_are_enough: 90,
    documents_need_no_node,
];

/// Makes a root like that of a debug container around tracer and goes there: own proc and sys, the node at /host.
const DEBUG_CONTAINER: &str = "\
    set -e; mkdir \"$0/proc\" \"$0/sys\" \"$0/host\"; mount --rbind / \"$0/host\"; \
    mount -t proc proc \"$0/proc\"; mount -t sysfs sysfs \"$0/sys\"; exec chroot \"$0\" /tracer \"$@\"";

/// The mounts of the pod, where the node has them, and its rights: CAP_PERFMON is 38, CAP_BPF 39.
const POD: &str = "\
    set -e; for dir in /sys/fs/bpf /run/cilium; do mount --bind $dir $dir; mount -o remount,bind,ro $dir; done; \
    exec setpriv --bounding-set=-all,+cap_38,+cap_39 --inh-caps=-all --no-new-privs \"$0\" \"$@\"";

fn in_mounts_of_its_own(script: &str, first: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(first).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn new_root(scratch: &Scratch) -> Result<std::path::PathBuf> {
    let root = scratch.path("root");
    fs::create_dir(&root).context("cannot make a root")?;
    fs::copy(programs::path("tracer")?, root.join("tracer")).context("cannot copy tracer")?;
    Ok(root)
}

/// Sends denied connections until the stream has had enough.
fn first_drop(scene: &Scene, mut child: Child) -> Result<Output> {
    for _ in 0..20 * patience() {
        scene.send_case("denied-tcp", 1)?;
        if child.try_wait()?.is_some() {
            return child.wait_with_output().context("cannot read the output");
        }
    }
    child.kill()?;
    let output = child.wait_with_output()?;
    anyhow::bail!("no drop was shown: {}", stderr(&output));
}

fn check_first_drop(output: &Output) -> Result<()> {
    ensure!(output.status.success(), "{}: {}", output.status, stderr(output));
    let event: Value = serde_json::from_str(stdout(output).lines().next().context("no event")?)?;
    ensure!(event["flow"]["drop_reason_desc"] == "POLICY_DENIED", "{event}");
    ensure!(event["flow"]["source"]["pod_name"] == "client", "{event}");
    ensure!(event["flow"]["destination"]["pod_name"] == "server", "{event}");
    Ok(())
}

const ONE_DROP: [&str; 7] = ["drops", "--count", "1", "--require-cilium", "--to-port", "9090", "-ojson"];

fn finds_the_node_under_host_without_flags() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let scratch = Scratch::new()?;
    let root = new_root(&scratch)?;
    let mut command = in_mounts_of_its_own(DEBUG_CONTAINER, &root, &ONE_DROP);
    let child = into_space(&mut command, scene.node.space())?.spawn().context("cannot start tracer")?;
    check_first_drop(&first_drop(&scene, child)?)?;

    let root = scratch.path("other");
    fs::create_dir(&root)?;
    fs::copy(programs::path("tracer")?, root.join("tracer"))?;
    let mut command = in_mounts_of_its_own(DEBUG_CONTAINER, &root, &["endpoints", "list", "-o", "jsonl"]);
    let found = run_in(scene.node.space(), &mut command)?;
    let live = tracer(scene.node.space(), "endpoints list -o jsonl")?;
    ensure!(found.status.success(), "{}: {}", found.status, stderr(&found));
    let sorted = |output: &Output| {
        let mut lines: Vec<String> = stdout(output).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&found), sorted(&live));
    ensure!(sorted(&found).len() > 4, "{}", stdout(&found));
    Ok(Outcome::Passed)
}

fn the_rights_and_mounts_of_the_manifest_are_enough() -> Result<Outcome> {
    if Command::new("setpriv").arg("--version").output().is_err() {
        return Ok(Outcome::NotPossible("setpriv is needed".to_owned()));
    }
    if super::support::kernel_version()? < (5, 11) {
        return Ok(Outcome::NotPossible("eBPF memory is counted as locked memory before 5.11".to_owned()));
    }
    let scene = Scene::new(Node::builder())?;
    let program = programs::path("tracer")?;
    let status = ["CapEff", "/proc/self/status"];
    let rights = run_in(scene.node.space(), &mut in_mounts_of_its_own(POD, Path::new("grep"), &status))?;
    // Bits 38 and 39.
    ensure!(stdout(&rights).trim().ends_with("000000c000000000"), "{}{}", stdout(&rights), stderr(&rights));
    let mut command = in_mounts_of_its_own(POD, &program, &ONE_DROP);
    let child = into_space(&mut command, scene.node.space())?.spawn().context("cannot start tracer")?;
    check_first_drop(&first_drop(&scene, child)?)?;
    // What the test takes away is really gone: a file on the node cannot be made there.
    let touch = format!("{} 2>&1", POD.replace("exec", "touch /run/cilium/x && echo writable; exec"));
    let output = run_in(scene.node.space(), &mut in_mounts_of_its_own(&touch, &program, &["--version"]))?;
    ensure!(!stdout(&output).contains("writable"), "{}", stdout(&output));
    Ok(Outcome::Passed)
}

fn documents_need_no_node() -> Result<Outcome> {
    let scratch = Scratch::new()?;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(programs::path("tracer")?);
        let output = command.args(arguments).output().context("cannot run tracer")?;
        ensure!(output.status.success(), "{arguments:?}: {}: {}", output.status, stderr(&output));
        ensure!(output.stderr.is_empty(), "{arguments:?}: {}", stderr(&output));
        Ok(stdout(&output))
    };
    let script = scratch.path("completion");
    fs::write(&script, run(&["completion", "bash"])?)?;
    let checked = Command::new("bash").arg("-n").arg(&script).output().context("bash is needed")?;
    ensure!(checked.status.success(), "{}", stderr(&checked));
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        ensure!(run(&["completion", shell])?.contains("explain"), "{shell}");
    }
    ensure!(run(&["man"])?.starts_with(".ie"), "no manual page");
    let pages = scratch.path("pages");
    run(&["man", "--dir", pages.to_str().context("a path")?])?;
    for page in ["tracer.1", "tracer-drops.1", "tracer-ct-list.1", "tracer-explain.1"] {
        ensure!(pages.join(page).is_file(), "no {page}");
    }
    ensure!(run(&["manifest"])?.contains("kind: DaemonSet"), "no DaemonSet");
    Ok(Outcome::Passed)
}
