//! What ends a command before or instead of its work, and the exit code for it.

use std::io;

use crate::cilium::source::Refusal;
use crate::cli::exit::Exit;
use crate::kernel::btf::BtfError;
use crate::probe::ProbeError;
use crate::record::reader::RecordingError;
use crate::serve::error::ServeError;
use crate::snapshot::SnapshotError;

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error("{0}")]
    Source(Refusal),
    #[error("no Cilium on this node: no bpffs with tc/globals/cilium_* ({0})")]
    NoCilium(String),
    #[error("`{0}`: permission denied; need: root, or CAP_BPF and the right to read there")]
    NotPermitted(String),
    #[error("cannot list the pinned maps: {0}")]
    Pins(io::Error),
    #[error("{0}")]
    NoMap(String),
    #[error("{0}")]
    UnknownReason(String),
    #[error("cannot start `{command}`: {source}")]
    Command { command: String, source: io::Error },
    #[error("cannot write `{path}`: {source}")]
    ReadyFile { path: String, source: io::Error },
    #[error("cannot write the snapshot `{path}`: {source}")]
    Snapshot { path: String, source: io::Error },
    #[error(transparent)]
    NoSnapshot(SnapshotError),
    #[error(transparent)]
    Recording(RecordingError),
    /// The arguments contradict each other.
    #[error("{0}")]
    Usage(String),
    #[error("cannot write the pages into `{path}`: {source}")]
    Pages { path: String, source: io::Error },
    #[error(transparent)]
    Serve(ServeError),
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    #[error("cannot set up the run: {0}")]
    Setup(#[from] io::Error),
}

impl From<BtfError> for RunError {
    fn from(error: BtfError) -> Self {
        Self::Probe(error.into())
    }
}

impl RunError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Probe(ProbeError::NotPermitted(_) | ProbeError::Lockdown) => Exit::NotPermitted,
            Self::Probe(_) => Exit::NoKernelFeature,
            Self::NoCilium(_) => Exit::NoCilium,
            Self::UnknownReason(_) => Exit::Usage,
            Self::NotPermitted(_) => Exit::NotPermitted,
            Self::Pins(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied) => {
                Exit::NotPermitted
            }
            Self::Usage(_) => Exit::Usage,
            Self::Source(_)
            | Self::Pins(_)
            | Self::NoMap(_)
            | Self::Command { .. }
            | Self::ReadyFile { .. }
            | Self::Pages { .. }
            | Self::Serve(_)
            | Self::Output(_)
            | Self::Snapshot { .. }
            | Self::NoSnapshot(_)
            | Self::Recording(_)
            | Self::Setup(_) => Exit::Failed,
        }
    }

    /// The message and what caused it, on one line.
    pub fn one_line(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(inner) = source {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text = format!("{text}: {inner_text}");
            }
            source = inner.source();
        }
        text.replace('\n', " ")
    }
}
