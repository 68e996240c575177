//! Why a packet was dropped.

use std::sync::Arc;

/// A drop reason of Cilium's datapath: the code in messages, notes and metrics (130…).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DropReason(pub u8);

/// The kernel's own view of a freed packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelDrop {
    /// Number of the kernel's reason; `None` before 5.17.
    pub reason: Option<u32>,
    /// Name from the running kernel's BTF without the common prefix (`NO_SOCKET`), if it knows one.
    pub reason_name: Option<Arc<str>>,
    /// Return address of the call that freed the packet.
    pub location: u64,
    /// `symbol+0xoffset` of `location`, if addresses may be seen.
    pub symbol: Option<Arc<str>>,
}

/// A place in Cilium's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePlace {
    /// File id as sent.
    pub file_id: u8,
    /// Name of the file in the release that sent it; `None` if the release or the id is not known.
    pub file: Option<&'static str>,
    pub line: u16,
}
