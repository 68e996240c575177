//! Tracer beside an agent and beside another tracer: nobody sees less, nothing of Cilium is written to, nothing
//! stays behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::drops_expected::{compare, counts, expected};
use super::support::{Launch, Scene, Scratch, Tracer, growth, wait_until};
use crate::node::Node;
use crate::node::traffic::Plan;
use crate::runner::Outcome;

crate::tests![
    an_agent_reads_the_same_with_and_without_tracer: 90,
    two_tracers_show_the_same: 90,
    another_node_on_the_same_kernel_is_kept_out: 90,
    a_killed_tracer_leaves_nothing_behind: 60,
    foreign_maps_are_only_read: 60,
];

const ROUNDS: u64 = 3;

fn an_agent_reads_the_same_with_and_without_tracer() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    // Connections that are tracked already send fewer messages: all runs after the first are alike.
    scene.send(Plan::Default, 1)?;
    let before = scene.dropped()?;
    let (_, without) = scene.with_agent(|| scene.send(Plan::Default, ROUNDS))?;
    let dropped = growth(&before, &scene.dropped()?);
    let tracer = scene.start(&["-o", "json"])?;
    let (_, with) = scene.with_agent(|| scene.send(Plan::Default, ROUNDS))?;
    tracer.stop()?.expect_code(0)?;
    ensure!(without == with, "without tracer: {without:?}\nwith tracer: {with:?}");
    let mut by_reason = BTreeMap::new();
    for ((reason, ..), count) in dropped {
        *by_reason.entry(reason).or_default() += count;
    }
    ensure!(with.drops_by_reason == by_reason && with.lost == 0, "agent: {with:?}, datapath: {by_reason:?}");
    Ok(Outcome::Passed)
}

fn two_tracers_show_the_same() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let tracers = [scene.start(&["-o", "json"])?, scene.start(&["-o", "json"])?];
    scene.send(Plan::Default, ROUNDS)?;
    let dropped: u64 = scene.dropped()?.values().sum();
    for tracer in tracers {
        let run = tracer.stop()?;
        run.expect_code(0)?;
        compare("one of two", &counts(&run.events()?)?, &expected(ROUNDS, |_| true))?;
        run.summary()?.expect_complete(dropped)?;
    }
    Ok(Outcome::Passed)
}

/// As in kind, where nodes are containers: their drops leave the same notes in the same kernel.
fn another_node_on_the_same_kernel_is_kept_out() -> Result<Outcome> {
    let [here, there] = [Scene::new(Node::builder())?, Scene::new(Node::builder())?];
    let tracer = here.start(&["-o", "json"])?;
    there.send(Plan::Default, ROUNDS)?;
    here.send(Plan::Default, 1)?;
    ensure!(there.dropped()?.values().sum::<u64>() > 0, "the other node dropped nothing");
    let run = tracer.stop()?;
    run.expect_code(0)?;
    compare("beside another node", &counts(&run.events()?)?, &expected(1, |_| true))?;
    run.summary()?.expect_complete(here.dropped()?.values().sum())?;
    Ok(Outcome::Passed)
}

/// Ids of programs, maps and links that a process holds, as the kernel tells them: (kind, id).
fn held(tracer: &mut Tracer) -> Result<BTreeSet<(String, u32)>> {
    let mut held = BTreeSet::new();
    for entry in fs::read_dir(tracer.proc("fdinfo")?)? {
        // A descriptor may be closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        for line in text.lines() {
            let Some((kind, id)) = line.split_once(':') else { continue };
            if matches!(kind, "prog_id" | "map_id")
                && let Ok(id) = id.trim().parse()
            {
                held.insert((kind.to_owned(), id));
            }
        }
    }
    Ok(held)
}

/// Programs and maps that exist in the kernel.
fn existing() -> Result<BTreeSet<(String, u32)>> {
    let mut existing = BTreeSet::new();
    for program in aya::programs::loaded_programs() {
        // Others come and go while we look.
        existing.extend(program.ok().map(|program| ("prog_id".to_owned(), program.id())));
    }
    for map in aya::maps::loaded_maps() {
        existing.extend(map.ok().map(|map| ("map_id".to_owned(), map.id())));
    }
    Ok(existing)
}

/// Every file in a bpffs.
fn pins(path: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(pins(&path)?);
        }
        found.insert(path.display().to_string());
    }
    Ok(found)
}

/// Ids and contents of the maps that only an agent writes.
type Contents = BTreeMap<String, (u32, Vec<(Vec<u8>, Option<Vec<u8>>)>)>;

fn contents(scene: &Scene) -> Result<Contents> {
    let mut contents = Contents::new();
    for pin in ["cilium_ipcache", "cilium_lxc", "cilium_policy_01001", "cilium_policy_01002"] {
        let map = scene.node.map(pin)?;
        let mut rows = Vec::new();
        for key in map.keys()? {
            let value = map.lookup(&key)?;
            rows.push((key, value));
        }
        contents.insert(pin.to_owned(), (map.id()?, rows));
    }
    Ok(contents)
}

fn a_killed_tracer_leaves_nothing_behind() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let bpffs = || scene.node.space().run(|| pins(Path::new("/sys/fs/bpf")));
    let (pinned, before, old) = (bpffs()?, contents(&scene)?, existing()?);
    let mut tracer = scene.start(&["-o", "json"])?;
    let held = held(&mut tracer)?;
    let own: BTreeSet<_> = held.difference(&old).cloned().collect();
    for kind in ["prog_id", "map_id"] {
        ensure!(own.iter().any(|(own, _)| own == kind), "a running tracer holds no {kind}: {held:?}");
    }
    ensure!(existing()?.is_superset(&own), "what tracer holds does not exist");
    tracer.signal(Signal::KILL)?;
    ensure!(tracer.wait()?.status.code().is_none(), "a killed tracer ended well");
    let mut left = BTreeSet::new();
    let gone = wait_until("programs and maps are gone", Duration::from_secs(2), || {
        left = existing()?.intersection(&own).cloned().collect();
        Ok(left.is_empty())
    });
    gone.with_context(|| format!("left: {left:?}"))?;
    ensure!(bpffs()? == pinned, "pins have changed");
    ensure!(contents(&scene)? == before, "maps of Cilium have changed");
    // Nothing hinders the next one.
    scene.start(&[])?.stop()?.expect_code(0)?;
    Ok(Outcome::Passed)
}

/// bpf(2) as strace shows it.
fn foreign_maps_are_only_read() -> Result<Outcome> {
    if Command::new("strace").arg("--version").output().is_err() {
        return Ok(Outcome::NotPossible("strace is needed".to_owned()));
    }
    let scene = Scene::new(Node::builder())?;
    let scratch = Scratch::new()?;
    let trace = scratch.path("trace");
    let calls = "trace=bpf,close,dup,dup2,dup3,fcntl";
    let wrapper =
        ["strace".into(), "-f".into(), "-e".into(), calls.into(), "-o".into(), trace.clone().into()];
    let tracer =
        Launch::new(&["-o", "json", "--duration", "2s"]).wrapped(wrapper.into()).start(scene.node.space())?;
    scene.send(Plan::Default, 1)?;
    let run = tracer.wait()?;
    run.expect_code(0)?;
    ensure!(!run.events()?.is_empty(), "no drop was named, so little was read");
    let text = fs::read_to_string(&trace).context("cannot read the trace")?;
    let judged = Judge::default().read(&text)?;
    ensure!(judged.opened >= 4 && judged.own_writes > 0, "the trace is not understood: {judged:?}");
    Ok(Outcome::Passed)
}

/// Follows descriptors through a trace.
#[derive(Debug, Default)]
struct Judge {
    /// Maps that tracer made itself.
    own: BTreeSet<i64>,
    opened: usize,
    own_writes: usize,
}

/// Parts of a call that another thread's call has interrupted, joined; calls that did not return are left out.
pub(super) fn whole_lines(text: &str) -> Vec<String> {
    let mut begun: BTreeMap<&str, String> = BTreeMap::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(pid, start.trim_end().to_owned());
        } else if let Some((_, end)) =
            rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"))
        {
            lines.push(begun.remove(pid).unwrap_or_default() + end);
        } else {
            lines.push(rest.to_owned());
        }
    }
    lines
}

fn number_after(line: &str, key: &str) -> Option<i64> {
    let rest = line.split_once(key)?.1;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

impl Judge {
    fn read(mut self, text: &str) -> Result<Self> {
        whole_lines(text).iter().try_for_each(|line| self.line(line))?;
        Ok(self)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let result = line.rsplit_once(" = ").and_then(|(_, result)| number_after(result, ""));
        let Some((call, arguments)) = line.split_once('(') else { return Ok(()) };
        match (call, result) {
            ("bpf", _) => self.bpf(arguments, result).with_context(|| line.to_owned()),
            ("close", _) => {
                self.own.remove(&number_after(arguments, "").unwrap_or(-1));
                Ok(())
            }
            ("dup" | "dup2" | "dup3" | "fcntl", Some(copy))
                if call != "fcntl" || arguments.contains("F_DUPFD") =>
            {
                if number_after(arguments, "").is_some_and(|fd| self.own.contains(&fd)) {
                    self.own.insert(copy);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn bpf(&mut self, arguments: &str, result: Option<i64>) -> Result<()> {
        let command = arguments.split(',').next().unwrap_or_default();
        match command {
            "BPF_MAP_CREATE" => self.own.extend(result),
            "BPF_OBJ_GET" => {
                ensure!(arguments.contains("file_flags=BPF_F_RDONLY}"), "opened to write");
                self.opened += usize::from(result.is_some());
                if let Some(fd) = result {
                    self.own.remove(&fd);
                }
            }
            "BPF_MAP_UPDATE_ELEM" | "BPF_MAP_FREEZE" | "BPF_MAP_UPDATE_BATCH" => {
                let fd = number_after(arguments, "map_fd=").context("no descriptor")?;
                ensure!(self.own.contains(&fd), "a write to a map that is not tracer's");
                self.own_writes += 1;
            }
            "BPF_MAP_LOOKUP_ELEM"
            | "BPF_MAP_LOOKUP_BATCH"
            | "BPF_MAP_GET_NEXT_KEY"
            | "BPF_OBJ_GET_INFO_BY_FD"
            | "BPF_BTF_LOAD"
            | "BPF_PROG_LOAD"
            | "BPF_LINK_CREATE"
            | "BPF_RAW_TRACEPOINT_OPEN" => {}
            // Everything else would change something of somebody else, or is news to this test.
            other => anyhow::bail!("{other} is not expected"),
        }
        ensure!(!arguments.contains("BPF_TCX") && !arguments.contains("BPF_XDP,"), "attached to a device");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "7 bpf(BPF_OBJ_GET, {pathname=\"/p\", bpf_fd=0, file_flags=BPF_F_RDONLY}, 16) = 9\n";

    #[test]
    fn a_write_to_a_pinned_map_is_found_also_through_a_copy() {
        let update = "7 bpf(BPF_MAP_UPDATE_ELEM, {map_fd=9, key=0x1, value=0x2, flags=BPF_ANY}, 32) = 0\n";
        assert!(Judge::default().read(&format!("{GET}{update}")).is_err());
        let copied = format!("{GET}7 fcntl(9, F_DUPFD_CLOEXEC, 3) = 10\n{}", update.replace("=9", "=10"));
        assert!(Judge::default().read(&copied).is_err());
    }

    #[test]
    fn writes_to_own_maps_are_fine_until_the_descriptor_is_anothers() -> Result<()> {
        let create = "7 bpf(BPF_MAP_CREATE, {map_type=BPF_MAP_TYPE_ARRAY}, 152) = 9\n";
        let update = "8 bpf(BPF_MAP_UPDATE_ELEM, {map_fd=9, key=0x1, value=0x2}, 32 <unfinished ...>\n7 close(5) = 0\n8 <... bpf resumed>) = 0\n";
        assert_eq!(Judge::default().read(&format!("{create}{update}"))?.own_writes, 1);
        assert!(Judge::default().read(&format!("{create}7 close(9) = 0\n{GET}{update}")).is_err());
        Ok(())
    }

    #[test]
    fn opening_to_write_is_found() {
        assert!(Judge::default().read(&GET.replace("BPF_F_RDONLY", "0")).is_err());
    }
}
