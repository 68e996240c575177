//! Exit codes of all commands. Scripts rely on the numbers.

use std::process::ExitCode;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, also when stopped by SIGINT or SIGTERM or by a closed pipe.
    Done = 0,
    /// Something failed that has no code of its own.
    Failed = 1,
    /// The command line is wrong; nothing was done.
    Usage = 2,
    /// Not root, a capability is missing, or the kernel forbids it (lockdown, seccomp).
    NotPermitted = 3,
    /// No Cilium on this node, and the command needs one (`drops`: only with `--require-cilium`).
    NoCilium = 4,
    /// The kernel is too old or built without something that the command needs.
    NoKernelFeature = 5,
    /// Finished, but not everything was seen or understood: lost events, unaccounted drops, unknown layouts.
    Incomplete = 6,
    /// Finished, and the condition that was asked for does not hold.
    ConditionNotMet = 7,
}

impl Exit {
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
