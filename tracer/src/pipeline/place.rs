//! Where the user says that the node is.

use crate::cilium::source::{self, Wanted};
use crate::cli::global::Global;

pub(super) fn wanted(global: &Global) -> Wanted {
    Wanted {
        bpffs: global.bpffs.clone(),
        state_dir: global.state_dir.clone(),
        host_root: global.host_root.clone(),
        host_root_hint: std::env::var_os(source::HOST_ROOT_VARIABLE).map(Into::into),
    }
}
