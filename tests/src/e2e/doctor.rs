//! `tracer doctor` finds and names what is wrong: one fault at a time on a healthy pretend node, each made by the
//! kernel's own means (filters detached with tc, pins replaced, maps filled, file systems mounted elsewhere).

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde_json::Value;

use super::drops_bad_input::public_copy;
use super::maps::{run_in, stderr, stdout, tracer};
use super::real_node;
use super::support::{Scratch, patience};
use crate::node::cast::{CLIENT, DNS, PODS, SERVER};
use crate::node::clock;
use crate::node::encode::PolicyEntry;
use crate::node::kernel::bpf::{self, Map};
use crate::node::kernel::space::NodeSpace;
use crate::node::{Attach, Generation, Node};
use crate::programs;
use crate::runner::Outcome;

crate::tests![
    a_healthy_node_has_no_failure: 240,
    a_missing_program_is_found_on_its_device,
    missing_programs_are_found_with_tcx_too,
    netkit_programs_are_found_from_the_hosts_side,
    a_device_that_is_gone_is_named,
    a_pin_that_is_not_the_map_in_use_is_named,
    a_full_policy_map_is_named,
    a_dead_agent_is_told_by_its_heartbeat,
    no_type_information_is_a_failure_of_kernel_and_taps,
    without_rights_it_says_what_it_can,
    a_bpffs_elsewhere_is_named_and_found,
    foreign_and_strange_pins_are_told_apart,
    half_written_endpoints_and_stray_maps_are_named,
    endpoints_without_identity_are_named,
    a_proxy_port_without_listener_is_named,
    devices_in_another_namespace_are_not_guessed_at,
    no_cilium_is_no_failure,
    quick_is_quick_and_groups_are_kept,
    a_recorded_node_is_understood,
];

const GLOBALS: &str = "/sys/fs/bpf/tc/globals";
const CONDITION_NOT_MET: i32 = 7;

/// Findings by id, and the exit code.
struct Report {
    checks: BTreeMap<String, Value>,
    summary: Value,
    code: Option<i32>,
}

impl Report {
    fn of(output: &Output) -> Result<Self> {
        let text = stdout(output);
        let mut report: Value =
            serde_json::from_str(&text).with_context(|| format!("no JSON: {text}{}", stderr(output)))?;
        let list = report["checks"].as_array().context("no checks")?;
        let id = |check: &Value| check["id"].as_str().map(str::to_owned).context("a check without id");
        let checks: BTreeMap<String, Value> =
            list.iter().map(|check| Ok((id(check)?, check.clone()))).collect::<Result<_>>()?;
        ensure!(checks.len() == list.len(), "an id stands twice: {text}");
        Ok(Self { checks, summary: report["summary"].take(), code: output.status.code() })
    }

    fn run(space: &NodeSpace, options: &str) -> Result<Self> {
        Self::of(&tracer(space, format!("doctor -o json {options}").trim())?)
    }

    fn text(&self, id: &str, member: &str) -> Result<&str> {
        let check = self.checks.get(id).with_context(|| format!("no check `{id}`"))?;
        check[member].as_str().with_context(|| format!("`{id}` has no {member}"))
    }

    /// The status of a check, and that its evidence has all these words.
    fn expect(&self, id: &str, status: &str, words: &[&str]) -> Result<()> {
        let (found, evidence) = (self.text(id, "status")?, self.text(id, "evidence")?);
        ensure!(found == status, "{id} is {found}, expected {status}: {evidence}");
        for word in words {
            ensure!(evidence.contains(word), "{id}: no `{word}` in `{evidence}`");
        }
        ensure!(status != "fail" || !self.text(id, "fix")?.is_empty(), "{id} fails and has no fix");
        Ok(())
    }

    fn failures(&self) -> Vec<&str> {
        let failed = self.checks.iter().filter(|(_, check)| check["status"] == "fail");
        failed.map(|(id, _)| id.as_str()).collect()
    }

    /// That this is the only failure, and that the exit code says so.
    fn expect_only(&self, id: &str, words: &[&str]) -> Result<()> {
        self.expect(id, "fail", words)?;
        assert_eq!(self.failures(), [id]);
        assert_eq!(self.code, Some(CONDITION_NOT_MET));
        Ok(())
    }
}

fn doctor(node: &Node) -> Result<Report> {
    Report::run(node.space(), "")
}

/// Sums and members are those of the documented form; the table says the same.
fn a_healthy_node_has_no_failure() -> Result<Outcome> {
    for generation in Generation::ALL {
        let node = Node::builder().generation(generation).build()?;
        let _agent = beating(&node)?;
        let report = doctor(&node)?;
        ensure!(report.failures().is_empty(), "{generation}: {:?}", report.checks);
        assert_eq!(report.code, Some(0), "{generation}");
        for (id, check) in &report.checks {
            let group = id.split('.').next().unwrap_or_default();
            assert_eq!(check["group"], group, "{id}");
            let members: Vec<&str> =
                check.as_object().context("no object")?.keys().map(String::as_str).collect();
            assert_eq!(members, ["evidence", "fix", "group", "id", "status", "title"], "{id}");
        }
        let count = |status: &str| report.checks.values().filter(|check| check["status"] == status).count();
        for status in ["ok", "warn", "fail", "unknown"] {
            assert_eq!(report.summary[status], count(status), "{generation}: {status}");
        }
        for id in ["programs.endpoints", "programs.host", "pins.layout", "agent.heartbeat", "agent.socket"] {
            report.expect(id, "ok", &[]).with_context(|| format!("{generation}"))?;
        }
        report.expect("endpoints.maps", "ok", &[&format!("{0} of {0}", PODS.len() + 1)])?;
        report.expect("cilium.release", "ok", &[generation.as_str()])?;
    }
    Ok(Outcome::Passed)
}

/// An agent that has beaten once at least.
fn beating(node: &Node) -> Result<crate::node::agent::Agent> {
    let agent = node.start_agent()?;
    std::thread::sleep(Duration::from_millis(300) * patience());
    Ok(agent)
}

fn healthy(attach: Attach) -> Result<(Node, crate::node::agent::Agent)> {
    let node = Node::builder().attach(attach).build()?;
    let agent = beating(&node)?;
    Ok((node, agent))
}

/// Runs a command on the node that must end well.
fn command(node: &Node, words: &[&str]) -> Result<()> {
    let output = run_in(node.space(), Command::new(words[0]).args(&words[1..]))?;
    ensure!(output.status.success(), "{words:?}: {}", stderr(&output));
    Ok(())
}

fn a_missing_program_is_found_on_its_device() -> Result<Outcome> {
    let (node, _agent) = healthy(Attach::Clsact)?;
    command(&node, &["tc", "filter", "del", "dev", SERVER.device, "ingress"])?;
    let words = [SERVER.device, "default/server", "1002", "no cil_from_container at ingress"];
    let report = doctor(&node)?;
    report.expect_only("programs.endpoints", &words)?;
    ensure!(
        !report.text("programs.endpoints", "evidence")?.contains(CLIENT.device),
        "a healthy device is named"
    );
    command(&node, &["tc", "qdisc", "del", "dev", "cilium_host", "clsact"])?;
    command(&node, &["tc", "qdisc", "del", "dev", "eth0", "clsact"])?;
    let report = doctor(&node)?;
    let words = [
        "cilium_host: no cil_to_host at ingress",
        "cilium_host: no cil_from_host at egress",
        "eth0: no cil_from_netdev",
    ];
    report.expect("programs.host", "fail", &words)?;
    Ok(Outcome::Passed)
}

/// A tcx program hangs there as long as its link is pinned.
fn missing_programs_are_found_with_tcx_too() -> Result<Outcome> {
    if super::support::kernel_version()? < (6, 6) {
        return Ok(Outcome::NotPossible("tcx needs Linux 6.6".to_owned()));
    }
    let (node, _agent) = healthy(Attach::Tcx)?;
    let report = doctor(&node)?;
    report.expect("programs.endpoints", "ok", &["4 programs"])?;
    report.expect("programs.host", "ok", &["4 programs"])?;
    node.space().run(|| {
        let links = format!("/sys/fs/bpf/cilium/endpoints/{}/links/cil_from_container", CLIENT.endpoint);
        fs::remove_file(&links).with_context(|| format!("cannot remove `{links}`"))
    })?;
    doctor(&node)?.expect_only("programs.endpoints", &[CLIENT.device, "default/client"])?;
    Ok(Outcome::Passed)
}

/// iproute2 need not know netkit to make a device with default settings.
fn netkit_programs_are_found_from_the_hosts_side() -> Result<Outcome> {
    const DEVICE: &str = "lxcnetkit0";
    let (node, _agent) = healthy(Attach::Auto)?;
    let words = ["link", "add", DEVICE, "type", "netkit"];
    let made = run_in(node.space(), Command::new("ip").args(words))?;
    if !made.status.success() && stderr(&made).contains("Unknown device type") {
        return Ok(Outcome::NotPossible("this kernel has no netkit devices".to_owned()));
    }
    ensure!(made.status.success(), "ip {words:?}: {}", stderr(&made));
    let nothing = format!("{DEVICE} (no endpoint): no cil_from_container at ingress");
    doctor(&node)?.expect("programs.endpoints", "warn", &[&nothing])?;
    let _link = node.space().run(|| {
        let ifindex = fs::read_to_string(format!("/sys/class/net/{DEVICE}/ifindex"))?.trim().parse()?;
        let program = bpf::load_passing_classifier("cil_from_container")?;
        bpf::link_to_netkit_peer(program.as_fd(), ifindex).context("cannot attach to the netkit device")
    })?;
    doctor(&node)?.expect("programs.endpoints", "ok", &["5 programs"])?;
    Ok(Outcome::Passed)
}

fn a_device_that_is_gone_is_named() -> Result<Outcome> {
    let (node, _agent) = healthy(Attach::Auto)?;
    command(&node, &["ip", "link", "del", DNS.device])?;
    let gone = format!("device {} is gone", DNS.ifindex);
    doctor(&node)?.expect_only("programs.endpoints", &["kube-system/dns", &gone])?;
    Ok(Outcome::Passed)
}

/// What an agent of another idea of the map does: it removes the pin and pins a new, empty map.
fn a_pin_that_is_not_the_map_in_use_is_named() -> Result<Outcome> {
    let (node, _agent) = healthy(Attach::Auto)?;
    let old = node.map("cilium_ipcache")?;
    let new = Map::create(old.spec.clone(), None)?;
    repin(&node, &new, "cilium_ipcache")?;
    let words = [format!("`cilium_ipcache` is map {}", new.id()?), format!("use map {} instead", old.id()?)];
    doctor(&node)?.expect_only("pins.in-use", &[&words[0], &words[1]])?;
    // Names of policy maps are cut to the same 15 characters by the kernel.
    let policy = node.policy_map(SERVER.endpoint)?;
    let other = Map::create(policy.spec.clone(), None)?;
    repin(&node, &other, "cilium_policy_01002")?;
    let words =
        [format!("`cilium_policy_01002` is map {}", other.id()?), format!("use map {}", policy.id()?)];
    doctor(&node)?.expect("pins.in-use", "fail", &[&words[0], &words[1]])?;
    Ok(Outcome::Passed)
}

fn repin(node: &Node, map: &Map, name: &str) -> Result<()> {
    node.space().run(|| {
        let path = Path::new(GLOBALS).join(name);
        fs::remove_file(&path)?;
        Ok(map.pin_as(&path)?)
    })
}

fn a_full_policy_map_is_named() -> Result<Outcome> {
    const ROOM: u32 = 100;
    let node = Node::builder().max_entries("cilium_policy_01001", ROOM).build()?;
    let _agent = beating(&node)?;
    let policy = node.policy_map(CLIENT.endpoint)?;
    for number in policy.keys()?.len() as u32..ROOM {
        node.set_policy_entry(&CLIENT, &PolicyEntry::allow(50_000 + number, 0, 0))?;
    }
    let full = node.set_policy_entry(&CLIENT, &PolicyEntry::allow(60_000, 0, 0));
    ensure!(full.is_err(), "the map takes more than it has room for");
    let report = doctor(&node)?;
    report
        .expect_only("capacity.policy", &["cilium_policy_01001", "default/client", "100 % (100 of 100)"])?;
    policy.clear()?;
    report_empty(&doctor(&node)?)?;
    Ok(Outcome::Passed)
}

fn report_empty(report: &Report) -> Result<()> {
    report.expect("capacity.policy-empty", "warn", &["cilium_policy_01001", "default/client"])
}

fn a_dead_agent_is_told_by_its_heartbeat() -> Result<Outcome> {
    let node = Node::builder().build()?;
    doctor(&node)?.expect("agent.socket", "warn", &["/run/cilium/cilium.sock: no such socket"])?;
    drop(beating(&node)?);
    let runtime = node.map("cilium_runtime_config")?;
    let beat = |ago: Duration| {
        let at = clock::monotonic_ns().saturating_sub(ago.as_nanos() as u64);
        runtime.update(&1u32.to_ne_bytes(), &at.to_ne_bytes())
    };
    beat(Duration::from_secs(600))?;
    let report = doctor(&node)?;
    report.expect_only("agent.heartbeat", &["no heartbeat for 10 min"])?;
    report.expect("agent.socket", "warn", &["nobody listens"])?;
    beat(Duration::ZERO)?;
    doctor(&node)?.expect("agent.heartbeat", "ok", &[])?;
    runtime.update(&1u32.to_ne_bytes(), &[0; 8])?;
    doctor(&node)?.expect_only("agent.heartbeat", &["no heartbeat since the map was made"])?;
    Ok(Outcome::Passed)
}

fn no_type_information_is_a_failure_of_kernel_and_taps() -> Result<Outcome> {
    let (node, _agent) = healthy(Attach::Auto)?;
    node.space().run(|| {
        mount("none", "/sys/kernel/btf", c"tmpfs", MountFlags::empty(), None).context("cannot mount a tmpfs")
    })?;
    let report = doctor(&node)?;
    report.expect("kernel.btf", "fail", &["/sys/kernel/btf/vmlinux"])?;
    report.expect("tap.free", "fail", &["/sys/kernel/btf/vmlinux"])?;
    assert_eq!(report.failures(), ["kernel.btf", "tap.free"]);
    report.expect("pins.layout", "ok", &[])?;
    assert_eq!(report.code, Some(CONDITION_NOT_MET));
    Ok(Outcome::Passed)
}

/// Root without any capability, and an ordinary user. Since Linux 5.19 whoever may open the file may read a map.
fn without_rights_it_says_what_it_can() -> Result<Outcome> {
    let (node, _agent) = healthy(Attach::Clsact)?;
    let report = Report::of(&with_capabilities(&node, CapabilitySet::empty(), "doctor -o json")?)?;
    report.expect("kernel.capabilities", "fail", &["none"])?;
    report.expect("tap.free", "fail", &["not permitted"])?;
    report.expect("cilium.state-dir", "ok", &[])?;
    report.expect("endpoints.state", "ok", &["5 endpoints"])?;
    report.expect("pins.in-use", "unknown", &["Operation not permitted"])?;
    let readable = if super::support::kernel_version()? >= (5, 19) { "ok" } else { "unknown" };
    for id in ["pins.readable", "agent.heartbeat", "capacity.policy"] {
        report.expect(id, readable, &[])?;
    }
    assert_eq!(report.failures(), ["kernel.capabilities", "tap.free"]);
    assert_eq!(report.code, Some(CONDITION_NOT_MET));
    for_nobody(&node)?;
    // Enough for drops: nothing fails, and what needs more is not known.
    let few = CapabilitySet::BPF | CapabilitySet::PERFMON;
    let report = Report::of(&with_capabilities(&node, few, "doctor -o json")?)?;
    ensure!(report.failures().is_empty(), "{:?}", report.failures());
    report.expect("tap.free", "ok", &[])?;
    report.expect("pins.in-use", "unknown", &["Operation not permitted"])?;
    // tc tells anybody the names of its filters.
    report.expect("programs.endpoints", "ok", &["4 programs"])?;
    Ok(Outcome::Passed)
}

fn for_nobody(node: &Node) -> Result<()> {
    const NOBODY: u32 = 65534;
    let scratch = Scratch::new()?;
    let copy = public_copy(&scratch)?;
    node.space().run(|| {
        fs::set_permissions(GLOBALS, fs::Permissions::from_mode(0o755))?;
        Ok(fs::set_permissions("/sys/fs/bpf", fs::Permissions::from_mode(0o755))?)
    })?;
    // A command changes its user before it can enter namespaces, so the thread enters them.
    let output = std::thread::scope(|scope| {
        let run = || {
            node.space().enter()?;
            let mut command = Command::new(copy);
            command
                .args(["doctor", "-o", "json"])
                .uid(NOBODY)
                .gid(NOBODY)
                .output()
                .context("cannot run tracer")
        };
        scope.spawn(run).join().expect("the thread does not panic")
    })?;
    let report = Report::of(&output)?;
    report.expect("pins.readable", "unknown", &["permission denied for 59 of 59"])?;
    // Before 5.19 bpf(2) refuses everything to nobody, before it looks at the file.
    let is_open_to_all = super::support::kernel_version()? >= (5, 19);
    let why = if is_open_to_all { "Permission denied" } else { "Operation not permitted" };
    report.expect("agent.heartbeat", "unknown", &[why])?;
    assert_eq!(report.failures(), ["kernel.capabilities", "tap.free"]);
    Ok(())
}

fn with_capabilities(node: &Node, keep: CapabilitySet, line: &str) -> Result<Output> {
    std::thread::scope(|scope| {
        let run = || {
            // The bounding set is the thread's, and what the thread starts inherits it. Entering the node's
            // namespaces needs a right too, so that is done first.
            node.space().enter()?;
            for capability in CapabilitySet::all().difference(keep).iter() {
                // Kernels do not know them all.
                let _ = remove_capability_from_bounding_set(capability);
            }
            Command::new(programs::path("tracer")?)
                .args(line.split(' '))
                .output()
                .context("cannot run tracer")
        };
        scope.spawn(run).join().expect("the thread does not panic")
    })
}

fn a_bpffs_elsewhere_is_named_and_found() -> Result<Outcome> {
    const ELSEWHERE: &str = "/mnt/tracer-bpffs";
    let (node, _agent) = healthy(Attach::Clsact)?;
    node.space().run(|| {
        mount("none", "/mnt", c"tmpfs", MountFlags::empty(), None).context("cannot mount a tmpfs")?;
        fs::create_dir(ELSEWHERE)?;
        mount_bind("/sys/fs/bpf", ELSEWHERE)?;
        Ok(unmount("/sys/fs/bpf", UnmountFlags::DETACH)?)
    })?;
    let report = doctor(&node)?;
    report.expect_only("cilium.bpffs", &[ELSEWHERE, "/run/cilium/state", SERVER.device])?;
    assert_eq!(report.text("cilium.bpffs", "fix")?, format!("--bpffs {ELSEWHERE}"));
    let report = Report::run(node.space(), &format!("--bpffs {ELSEWHERE}"))?;
    ensure!(report.failures().is_empty(), "{:?}", report.failures());
    report.expect("cilium.bpffs", "ok", &[&format!("{ELSEWHERE}/tc/globals")])?;
    report.expect("pins.in-use", "ok", &[]).or_else(|_| report.expect("pins.in-use", "warn", &[]))?;
    Ok(Outcome::Passed)
}

/// A missing map, one of another size, one that nobody knows, and a pinned program in place of a map.
fn foreign_and_strange_pins_are_told_apart() -> Result<Outcome> {
    let (node, _agent) = healthy(Attach::Tcx)?;
    let strange = |name: &str, value| {
        let mut spec = node.map("cilium_throttle")?.spec.clone();
        (spec.pin, spec.value) = (name.to_owned(), value);
        anyhow::Ok(Map::create(spec, None)?)
    };
    let (odd, unknown) = (strange("cilium_vtep_map", 24)?, strange("cilium_brand_new", 8)?);
    repin(&node, &odd, "cilium_vtep_map")?;
    node.space().run(|| Ok(unknown.pin_as(&Path::new(GLOBALS).join("cilium_brand_new"))?))?;
    let report = doctor(&node)?;
    report.expect_only("pins.layout", &["cilium_vtep_map", "value 24 found", "value 16 expected"])?;
    node.space().run(|| {
        fs::remove_file(Path::new(GLOBALS).join("cilium_vtep_map"))?;
        Ok(fs::remove_file(Path::new(GLOBALS).join("cilium_lxc"))?)
    })?;
    let report = doctor(&node)?;
    report.expect("pins.layout", "warn", &["not known: cilium_brand_new"])?;
    report.expect("pins.expected", "fail", &["cilium_lxc"])?;
    node.space().run(|| {
        let path = Path::new(GLOBALS).join("cilium_vtep_map");
        Ok(bpf::pin_passing_classifier("imposter", &path)?)
    })?;
    doctor(&node)?.expect("pins.readable", "fail", &["cilium_vtep_map"])?;
    Ok(Outcome::Passed)
}

fn half_written_endpoints_and_stray_maps_are_named() -> Result<Outcome> {
    const STATE: &str = "/run/cilium/state";
    let (node, _agent) = healthy(Attach::Auto)?;
    node.space().run(|| {
        fs::create_dir(format!("{STATE}/1001_next_fail"))?;
        fs::create_dir(format!("{STATE}/1002_next"))?;
        fs::write(format!("{STATE}/1003/ep_config.json"), "{")?;
        fs::write(format!("{STATE}/1003/ep_config.h"), "")?;
        let spec = node.policy_map(CLIENT.endpoint)?.spec.clone();
        Ok(Map::create(spec, None)?.pin_as(&Path::new(GLOBALS).join("cilium_policy_04242"))?)
    })?;
    // A directory that was made a moment ago is being made.
    let report = doctor(&node)?;
    report.expect("endpoints.state", "warn", &["1001_next_fail"])?;
    ensure!(!report.text("endpoints.state", "evidence")?.contains("1002"), "1002 is being made");
    report.expect("endpoints.files", "warn", &["1003/ep_config.json"])?;
    report.expect("endpoints.maps", "warn", &["policy map of endpoint 4242"])?;
    command(&node, &["touch", "-d", "10 minutes ago", &format!("{STATE}/1002_next")])?;
    doctor(&node)?.expect("endpoints.state", "warn", &["half-written: 1002_next (for 60"])?;
    node.space().run(|| Ok(fs::remove_file(Path::new(GLOBALS).join("cilium_policy_01002"))?))?;
    doctor(&node)?.expect("endpoints.maps", "fail", &["no policy map: default/server (endpoint 1002)"])?;
    Ok(Outcome::Passed)
}

fn endpoints_without_identity_are_named() -> Result<Outcome> {
    let (node, _agent) = healthy(Attach::Auto)?;
    set_identity(&node, SERVER.ipv4.into(), 0)?;
    set_identity(&node, SERVER.ipv6.into(), 0)?;
    set_identity(&node, CLIENT.ipv4.into(), 5)?;
    set_identity(&node, CLIENT.ipv6.into(), 5)?;
    let words = ["none (0): default/server (endpoint 1002)", "init (5): default/client (endpoint 1001)"];
    doctor(&node)?.expect("endpoints.identity", "warn", &words)?;
    Ok(Outcome::Passed)
}

/// Of an endpoint's identity in the value (table "endpoints" of the layout reference).
const IDENTITY_AT: usize = 32;

fn set_identity(node: &Node, ip: IpAddr, identity: u32) -> Result<()> {
    let map = node.map("cilium_lxc")?;
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let key = map.keys()?.into_iter().find(|key| key.starts_with(&octets)).context("no such endpoint")?;
    let mut value = map.lookup(&key)?.context("no value")?;
    value[IDENTITY_AT..IDENTITY_AT + 4].copy_from_slice(&identity.to_ne_bytes());
    Ok(map.update(&key, &value)?)
}

fn a_proxy_port_without_listener_is_named() -> Result<Outcome> {
    const PORT: u16 = 10_101;
    let (node, _agent) = healthy(Attach::Auto)?;
    doctor(&node)?.expect("proxy.listeners", "ok", &["nothing is redirected"])?;
    let redirect = PolicyEntry { proxy_port: PORT, ..PolicyEntry::allow(45_678, 6, 80).to_egress() };
    node.set_policy_entry(&CLIENT, &redirect)?;
    let words = ["nobody listens on 10101/TCP", "default/client (endpoint 1001) egress"];
    doctor(&node)?.expect_only("proxy.listeners", &words)?;
    let _proxy = node.space().run(|| {
        command_here(&["ip", "link", "set", "lo", "up"])?;
        TcpListener::bind(("127.0.0.1", PORT)).context("cannot listen")
    })?;
    doctor(&node)?.expect("proxy.listeners", "ok", &["1 redirections to ports 10101"])?;
    Ok(Outcome::Passed)
}

fn command_here(words: &[&str]) -> Result<()> {
    let status = Command::new(words[0]).args(&words[1..]).status().context("cannot run a command")?;
    ensure!(status.success(), "{words:?}: {status}");
    Ok(())
}

/// As in a container without the node's network: the maps are seen, the devices are not.
fn devices_in_another_namespace_are_not_guessed_at() -> Result<Outcome> {
    let (node, _agent) = healthy(Attach::Auto)?;
    let output = std::thread::scope(|scope| {
        let run = || {
            node.space().enter()?;
            node.pod_space("kube-system/dns")?.enter()?;
            Command::new(programs::path("tracer")?)
                .args(["doctor", "-o", "json"])
                .output()
                .context("cannot run tracer")
        };
        scope.spawn(run).join().expect("the thread does not panic")
    })?;
    let report = Report::of(&output)?;
    for id in ["programs.endpoints", "programs.host"] {
        report.expect(id, "unknown", &["no device of Cilium is seen: none in our network namespace"])?;
    }
    ensure!(report.failures().is_empty(), "{:?}", report.failures());
    report.expect("pins.readable", "ok", &[])?;
    Ok(Outcome::Passed)
}

fn no_cilium_is_no_failure() -> Result<Outcome> {
    let space = NodeSpace::create()?;
    let report = Report::run(&space, "")?;
    assert_eq!((report.failures().len(), report.code), (0, Some(0)));
    report.expect("kernel.version", "ok", &[&rustix::system::uname().release().to_string_lossy()])?;
    report.expect("tap.free", "ok", &["detached"])?;
    report.expect("cilium.bpffs", "unknown", &[])?;
    ensure!(!report.checks.contains_key("pins.layout"), "pins are judged that are not there");
    Ok(Outcome::Passed)
}

/// The limit is for the ordinary machine that the tests' time limits are for.
fn quick_is_quick_and_groups_are_kept() -> Result<Outcome> {
    const LIMIT: Duration = Duration::from_millis(300);
    let (node, _agent) = healthy(Attach::Auto)?;
    let (mut best, mut report) = (Duration::MAX, None);
    for _ in 0..5 {
        let start = Instant::now();
        report = Some(Report::run(node.space(), "--quick")?);
        best = best.min(start.elapsed());
    }
    let report = report.context("no report")?;
    ensure!(best < LIMIT * patience(), "--quick took {best:?}");
    assert_eq!(report.code, Some(0));
    for id in ["tap.free", "capacity.tables", "proxy.listeners", "mode.kube-proxy"] {
        ensure!(!report.checks.contains_key(id), "{id} takes time");
    }
    report.expect("programs.endpoints", "ok", &[])?;
    let report = Report::run(node.space(), "--group agent,kernel --group mode")?;
    let strange = report
        .checks
        .values()
        .find(|check| !["agent", "kernel", "mode"].iter().any(|group| check["group"] == *group));
    ensure!(strange.is_none() && report.checks.contains_key("mode.kube-proxy"), "{:?}", report.checks);
    println!("--quick: {best:?}");
    Ok(Outcome::Passed)
}

/// The recording has maps and files and no programs: modes are those that its notes name, and the redirections
/// are those of its policy listings.
fn a_recorded_node_is_understood() -> Result<Outcome> {
    let recording = match real_node::recording_or_why_not() {
        Ok(recording) => recording,
        Err(why) => return Ok(Outcome::NotPossible(why)),
    };
    let space = NodeSpace::create()?;
    space.run(|| real_node::pin_maps(&recording))?;
    let state = recording.join("state");
    let report = Report::run(&space, &format!("--state-dir {}", state.display()))?;
    let count = space.run(|| Ok(fs::read_dir(GLOBALS)?.count()))?;
    report.expect("pins.readable", "ok", &[&format!("{count} of {count}")])?;
    report.expect("pins.layout", "ok", &[&format!("{count} of {count}")])?;
    report.expect("cilium.release", "ok", &["1.16 to 1.17", "1.17.0-dev"])?;
    report.expect("mode.routing", "ok", &["tunnel", "cilium_calls_overlay_2"])?;
    report.expect("mode.kube-proxy", "ok", &["on: "])?;
    report.expect("endpoints.maps", "ok", &["5 of 5"])?;
    report.expect("endpoints.identity", "ok", &["4 of 4"])?;
    report.expect("pins.in-use", "unknown", &[])?;
    report.expect("programs.endpoints", "unknown", &[])?;
    report.expect("proxy.listeners", "unknown", &["no device of Cilium is seen"])?;
    with_devices(&space, &state)?;
    Ok(Outcome::Passed)
}

/// With devices of Cilium's names the namespace is taken for the node's. The listing of endpoint 601's policy
/// has one redirection: UDP 53 to port 33243.
fn with_devices(space: &NodeSpace, state: &Path) -> Result<()> {
    space.run(|| {
        for line in [
            "ip link add cilium_host type veth peer name cilium_net",
            "ip link add cilium_vxlan type veth peer name other",
        ] {
            command_here(&line.split(' ').collect::<Vec<_>>())?;
        }
        Ok(())
    })?;
    let doctor = || Report::run(space, &format!("--state-dir {}", state.display()));
    let report = doctor()?;
    report.expect("mode.routing", "ok", &["tunnel (vxlan)"])?;
    report.expect("programs.endpoints", "fail", &["device 9 is gone"])?;
    report.expect("programs.host", "fail", &["cilium_vxlan: no cil_from_overlay at ingress"])?;
    report.expect("proxy.listeners", "fail", &["nobody listens on 33243/UDP", "endpoint 601"])?;
    let _proxy = space.run(|| UdpSocket::bind(("0.0.0.0", 33243)).context("cannot listen"))?;
    doctor()?.expect("proxy.listeners", "ok", &["1 redirections to ports 33243"])
}
