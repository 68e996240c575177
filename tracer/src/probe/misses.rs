//! Runs that the kernel skipped: a program that interrupted itself, or a kprobe on a CPU busy with bpf(2).

use std::os::fd::{AsFd as _, OwnedFd};

use aya::programs::Program;

use crate::kernel::version::Version;

/// The first kernel that counts what it skips of a kprobe's program; earlier ones leave the counter at 0.
const COUNTS_KPROBES: Version = Version(6, 7);

/// A duplicate descriptor of the loaded program, for asking the kernel about it.
pub fn descriptor(program: &Program) -> Option<OwnedFd> {
    program.fd().ok()?.as_fd().try_clone_to_owned().ok()
}

/// Runs skipped since loading; `None` before 5.12, which does not count them.
pub fn skipped(program: &OwnedFd) -> Option<u64> {
    crate::kernel::bpf::program_misses(program.as_fd()).ok().flatten()
}

/// Whether [`skipped`] means anything for a kprobe's program.
pub fn counts_kprobes() -> bool {
    Version::running().is_some_and(|version| version >= COUNTS_KPROBES)
}
