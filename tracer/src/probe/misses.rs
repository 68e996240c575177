//! Runs that the kernel skipped: a program that interrupted itself, or a kprobe on a CPU busy with bpf(2).

use std::os::fd::{AsFd as _, OwnedFd};

use aya::programs::Program;

/// A duplicate descriptor of the loaded program, for asking the kernel about it.
pub fn descriptor(program: &Program) -> Option<OwnedFd> {
    program.fd().ok()?.as_fd().try_clone_to_owned().ok()
}

/// Runs skipped since loading; `None` before 5.12, which does not count them.
pub fn skipped(program: &OwnedFd) -> Option<u64> {
    crate::kernel::bpf::program_misses(program.as_fd()).ok().flatten()
}
