//! What can keep the programs from running, in words that say what to do.

use std::io;

use aya::programs::ProgramError;

use crate::kernel::btf::BtfError;
use crate::kernel::layout::LayoutError;
use crate::kernel::rights;

#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("loading eBPF programs is not permitted: tracer needs root, or CAP_BPF and CAP_PERFMON; {0}")]
    NotPermitted(String),
    #[error(
        "the kernel is locked down (confidentiality): no program may read kernel memory, so no packet can be seen; \
         pinned maps can still be read"
    )]
    Lockdown,
    #[error(
        "the kernel has no type information (/sys/kernel/btf/vmlinux): boot one with CONFIG_DEBUG_INFO_BTF=y"
    )]
    NoTypeInformation(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the kernel's type information does not tell what is needed")]
    Layout(#[from] LayoutError),
    #[error("no tap can see freed packets: {0}")]
    NoFreeTap(String),
    #[error("the kernel refused the eBPF object")]
    Object(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// True for the errors that mean "you may not", whatever call gave them.
pub fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(current) = error {
        if let Some(io) = current.downcast_ref::<io::Error>() {
            return io.kind() == io::ErrorKind::PermissionDenied;
        }
        error = current.source();
    }
    false
}

impl ProbeError {
    /// Says which right is missing; the call that failed is for the debug log.
    pub fn not_permitted(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::debug!(error = error.to_string(), "not permitted");
        Self::NotPermitted(rights::lacking().unwrap_or_else(|| {
            "this process has both, so a seccomp profile, a security module or a user namespace forbids it".into()
        }))
    }
}

/// One line for a program that could not be loaded or attached: the system's error, and the verifier's last
/// words, as its whole log has thousands of lines.
pub fn one_line(error: &ProgramError) -> String {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        let last =
            log.lines().rev().find(|line| !line.is_empty() && !line.starts_with("processed ")).unwrap_or("");
        return if last.is_empty() { io_error.to_string() } else { format!("{io_error} (verifier: {last})") };
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text.replace('\n', " ")
}

impl From<BtfError> for ProbeError {
    fn from(error: BtfError) -> Self {
        match error {
            BtfError::Read { .. } => Self::NoTypeInformation(error.into()),
            other => Self::Layout(other.into()),
        }
    }
}
