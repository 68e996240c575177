//! Where Cilium's traces are: its maps, the agent's files, and which release wrote them.

use std::path::{Path, PathBuf};

use super::{Check, Finding, Group, joined};

const MAPS: Check = Check::new("cilium.bpffs", Group::Cilium, "Cilium's pinned maps are there");
const STATE: Check = Check::new("cilium.state-dir", Group::Cilium, "The agent's state directory is there");
const RELEASE: Check = Check::new("cilium.release", Group::Cilium, "All traces are of one release of Cilium");

/// What was looked for and found.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Directory of the pinned maps.
    pub globals: Option<PathBuf>,
    /// Why nothing was found, in one line.
    pub why_nothing: String,
    /// Where BPF file systems are mounted, as we see it.
    pub mounts: Vec<PathBuf>,
    pub state_dir: Option<PathBuf>,
    /// Devices that only Cilium makes.
    pub devices: Vec<String>,
}

impl Places {
    /// Whether anything at all says that this is a node with Cilium.
    fn is_cilium_node(&self) -> bool {
        self.state_dir.is_some() || !self.devices.is_empty()
    }
}

pub fn maps(places: &Places) -> Finding {
    if let Some(globals) = &places.globals {
        return MAPS.ok(format!("{}; bpffs mounted {}", globals.display(), mounts(&places.mounts)));
    }
    let evidence = format!("{}; bpffs mounted {}", places.why_nothing, mounts(&places.mounts));
    if !places.is_cilium_node() {
        let fix = "no trace of Cilium: nothing to do if it does not run here; in a container mount the node's \
                   root at /host, or name it with --host-root or --bpffs";
        return MAPS.unknown(evidence, fix);
    }
    let traces = places.state_dir.iter().map(|dir| dir.display().to_string());
    let traces: Vec<String> = traces.chain(places.devices.iter().cloned()).collect();
    let fix = match places.mounts.as_slice() {
        [] => {
            "mount the node's /sys/fs/bpf here, or its root at /host (`kubectl debug node/…` does)".to_owned()
        }
        [one] if one != Path::new("/sys/fs/bpf") => format!("--bpffs {}", one.display()),
        _ => "--bpffs DIR, if the maps are pinned elsewhere; else restart the agent, which makes them"
            .to_owned(),
    };
    MAPS.fail(format!("{evidence}, though Cilium is here: {}", joined(&traces)), fix)
}

fn mounts(mounts: &[PathBuf]) -> String {
    let texts: Vec<String> = mounts.iter().map(|path| path.display().to_string()).collect();
    if texts.is_empty() { "nowhere".to_owned() } else { format!("at {}", joined(&texts)) }
}

pub fn state_dir(places: &Places) -> Finding {
    match &places.state_dir {
        Some(dir) => STATE.ok(dir.display().to_string()),
        None if places.globals.is_none() => STATE.unknown("not found", ""),
        None => STATE.warn(
            "not found",
            "--state-dir DIR, or mount the node's /run/cilium; until then pods have numbers and no names",
        ),
    }
}

/// The release in words, or two things that contradict each other.
pub fn release(agreed: Result<String, String>, agent: Option<&str>) -> Finding {
    let agent = agent.map(|version| format!("; the agent that wrote last was {version}")).unwrap_or_default();
    match agreed {
        Ok(range) => RELEASE.ok(format!("{range}{agent}")),
        Err(conflict) => RELEASE.warn(
            format!("{conflict}{agent}"),
            "an upgrade that is under way or stopped half-way; once the agent has restarted, old maps go away",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn maps_that_must_be_somewhere_else_fail_and_the_mount_is_named() {
        let places = Places {
            why_nothing: "`/sys/fs/bpf` is not a bpffs (sysfs found)".to_owned(),
            mounts: vec!["/mnt/bpf".into()],
            state_dir: Some("/run/cilium/state".into()),
            ..Places::default()
        };
        let finding = maps(&places);
        assert_eq!((finding.status, finding.fix.as_str()), (Status::Fail, "--bpffs /mnt/bpf"));
        let nothing = Places { state_dir: None, ..places };
        assert_eq!(maps(&nothing).status, Status::Unknown);
    }

    #[test]
    fn a_conflict_is_a_warning() {
        assert_eq!(
            release(Ok("1.17".to_owned()), Some("1.17.5")).evidence,
            "1.17; the agent that wrote last was 1.17.5"
        );
        assert_eq!(release(Err("one, but two".to_owned()), None).status, Status::Warn);
    }
}
