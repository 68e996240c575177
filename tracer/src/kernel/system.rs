//! Settings of the running system that decide what tracer may do.

use std::fs;
use std::path::PathBuf;

/// What lockdown forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    /// Off, or not in this kernel.
    None,
    Integrity,
    /// No program may read kernel memory.
    Confidentiality,
}

/// The kernel's release as uname gives it.
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

pub fn lockdown() -> Lockdown {
    lockdown_of(&fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default())
}

/// `none [integrity] confidentiality`: the one in brackets is on.
fn lockdown_of(text: &str) -> Lockdown {
    if text.contains("[confidentiality]") {
        Lockdown::Confidentiality
    } else if text.contains("[integrity]") {
        Lockdown::Integrity
    } else {
        Lockdown::None
    }
}

/// A setting by its dotted name; `None`: this kernel has none of that name, or it cannot be read.
pub fn sysctl(name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
    Some(text.trim().to_owned())
}

/// Where BPF file systems are mounted in our mount namespace.
pub fn bpffs_mounts() -> Vec<PathBuf> {
    mounts_of("bpf", &fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// Lines of mountinfo: six fields, the fifth being the mount point, optional ones, `-`, the file system's kind.
fn mounts_of(kind: &str, text: &str) -> Vec<PathBuf> {
    let mounted = |line: &str| {
        let (place, rest) = line.split_once(" - ")?;
        (rest.split(' ').next() == Some(kind)).then(|| place.split(' ').nth(4).map(unescape))?
    };
    text.lines().filter_map(mounted).collect()
}

/// The kernel writes a space as `\040`; other escapes are not worth it here.
fn unescape(path: &str) -> PathBuf {
    path.replace("\\040", " ").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_in_brackets_counts() {
        for (text, expected) in [
            ("[none] integrity confidentiality\n", Lockdown::None),
            ("none [integrity] confidentiality\n", Lockdown::Integrity),
            ("none integrity [confidentiality]\n", Lockdown::Confidentiality),
            ("", Lockdown::None),
        ] {
            assert_eq!(lockdown_of(text), expected, "{text}");
        }
    }

    #[test]
    fn mount_points_of_a_kind() {
        let text = "\
30 23 0:27 / /sys/fs/bpf rw,nosuid shared:9 - bpf bpf rw,mode=700
31 23 0:28 / /run rw - tmpfs tmpfs rw
32 23 0:27 / /mnt/b\\040c rw - bpf none rw
broken";
        assert_eq!(mounts_of("bpf", text), [PathBuf::from("/sys/fs/bpf"), PathBuf::from("/mnt/b c")]);
    }
}
