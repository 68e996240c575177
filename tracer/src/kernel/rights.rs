//! Rights that tracer gives back once its programs are attached.

use std::io;
use std::path::Path;

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// Gives up every capability of the calling thread, and of the threads it makes from now on, but the one that
/// reading pinned maps needs (CAP_BPF; CAP_SYS_ADMIN where the kernel knows no CAP_BPF). `through` is where
/// the node's files are: a way that leads through another process's root needs CAP_SYS_PTRACE at each step.
pub fn keep_reading_only(through: &Path) -> io::Result<()> {
    let before = rustix::thread::capabilities(None)?;
    let mut keep = CapabilitySet::BPF;
    if !before.effective.contains(CapabilitySet::BPF) {
        keep = CapabilitySet::SYS_ADMIN;
    }
    if through.starts_with("/proc") {
        keep |= CapabilitySet::SYS_PTRACE;
    }
    let kept = before.permitted & keep;
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )?;
    Ok(())
}

/// Inode number of our own network namespace: what event records carry for it. 0 if it cannot be read.
pub fn own_network_namespace() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self/ns/net").map_or(0, |meta| meta.ino() as u32)
}

/// What this process lacks for loading tracing programs, in words; `None`: nothing that could be told.
pub fn lacking() -> Option<String> {
    let held = rustix::thread::capabilities(None).ok()?.effective;
    if held.contains(CapabilitySet::SYS_ADMIN) {
        return None;
    }
    let needed = [("CAP_BPF", CapabilitySet::BPF), ("CAP_PERFMON", CapabilitySet::PERFMON)];
    let missing: Vec<&str> =
        needed.iter().filter(|(_, capability)| !held.contains(*capability)).map(|(name, _)| *name).collect();
    (!missing.is_empty()).then(|| format!("this process lacks {}", missing.join(" and ")))
}

/// The capabilities that tracer has a use for, by name, and whether we hold each.
pub fn held() -> io::Result<Vec<(&'static str, bool)>> {
    let effective = rustix::thread::capabilities(None)?.effective;
    Ok(USEFUL.iter().map(|(name, capability)| (*name, effective.contains(*capability))).collect())
}

const USEFUL: [(&str, CapabilitySet); 6] = [
    ("CAP_BPF", CapabilitySet::BPF),
    ("CAP_PERFMON", CapabilitySet::PERFMON),
    ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN),
    ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN),
    ("CAP_SYSLOG", CapabilitySet::SYSLOG),
    ("CAP_SYS_PTRACE", CapabilitySet::SYS_PTRACE),
];
