//! From `--snapshot FILE` to the node that it was.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::cilium::node::Origin;
use crate::cilium::source::NodeSource;
use crate::cli::global::Global;
use crate::kernel::clock::{WallOffset, boot_now};
use crate::model::time::WallTime;
use crate::output::capacity;
use crate::output::time::Clock;
use crate::pipeline::RunError;
use crate::snapshot::Snapshot;
use crate::snapshot::manifest::Manifest;

/// Opens it, and says on stderr of what time everything is that follows.
pub fn open(global: &Global, path: &Path) -> Result<(NodeSource, Origin), RunError> {
    let snapshot = Arc::new(Snapshot::open(path).map_err(RunError::NoSnapshot)?);
    if !global.quiet {
        eprintln!("{}", headline(&snapshot.manifest));
    }
    let place = |directory: &str| Some(path.join(directory));
    let source = NodeSource { globals: place("maps"), state_dir: place("state"), ..NodeSource::default() };
    Ok((source, snapshot.origin()))
}

/// One line on what a snapshot is of.
pub fn headline(manifest: &Manifest) -> String {
    let taken = manifest.taken.wall_ns;
    let now = WallOffset::now().wall(boot_now()).0;
    let age = Duration::from_nanos(u64::try_from(now.saturating_sub(taken)).unwrap_or(0)).as_secs();
    let (mut time, mut ago) = (Vec::new(), Vec::new());
    Clock::json().write(&mut time, WallTime(taken - taken.rem_euclid(1_000_000_000)));
    capacity::span(&mut ago, age);
    let redacted = if manifest.redacted { ", redacted" } else { "" };
    format!(
        "snapshot of node `{}` at {} ({} ago){redacted}: ages and remaining times are as of then",
        manifest.node_name.escape_debug(),
        String::from_utf8_lossy(&time),
        String::from_utf8_lossy(&ago),
    )
}
