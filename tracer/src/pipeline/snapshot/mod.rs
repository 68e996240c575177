//! `tracer snapshot`: reads everything once and writes it as it comes.

mod facts;
mod files;
mod maps;
mod open;
mod redact;

use std::io::{self, IsTerminal as _};
use std::path::Path;

pub use open::{headline, open};

use super::RunError;
use super::maps::MapNode;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::snapshot::SnapshotPlan;
use crate::kernel::clock::{WallOffset, boot_now, monotonic_now};
use crate::snapshot::Writer;
use crate::snapshot::manifest::{Manifest, Taken};
use redact::Pseudonyms;

pub fn run(global: &Global, plan: &SnapshotPlan) -> Result<Exit, RunError> {
    super::live_only(global, "snapshot")?;
    if plan.output == Path::new("-") && io::stdout().is_terminal() {
        return Err(RunError::Usage("snapshot: a terminal cannot take it; name a file".to_owned()));
    }
    let node = MapNode::open(global, false)?;
    let taken = now();
    let unwritten = |source| RunError::Snapshot { path: plan.output.display().to_string(), source };
    let mut writer = Writer::create(&plan.output, taken.wall_ns / 1_000_000_000).map_err(unwritten)?;
    let mut manifest = facts::gather(&node.view, taken);
    let mut pseudonyms = plan.redact.then(Pseudonyms::default);
    if let Some(files) = node.view.state_files() {
        manifest.files = files::write(&**files, &mut writer, pseudonyms.as_mut()).map_err(unwritten)?;
    }
    if let Some(pseudonyms) = &mut pseudonyms {
        pseudonyms.manifest(&mut manifest);
    }
    let problems = maps::write(&node.maps, &mut writer, &mut manifest).map_err(unwritten)?;
    manifest.taken.duration_ns = boot_now().0.saturating_sub(taken.boot_ns);
    let bytes = writer.finish(&manifest).map_err(unwritten)?;
    if !global.quiet {
        eprintln!("{}", summary(plan, &manifest, bytes));
    }
    Ok(if problems { Exit::Incomplete } else { Exit::Done })
}

fn now() -> Taken {
    let boot = boot_now();
    Taken {
        wall_ns: WallOffset::now().wall(boot).0,
        monotonic_ns: monotonic_now(),
        boot_ns: boot.0,
        duration_ns: 0,
    }
}

fn summary(plan: &SnapshotPlan, manifest: &Manifest, bytes: u64) -> String {
    let maps = manifest.maps.len() + manifest.inner_maps.len();
    let entries: u64 = manifest.maps.iter().chain(&manifest.inner_maps).map(|map| map.entries).sum();
    let place =
        if plan.output == Path::new("-") { "stdout".into() } else { plan.output.display().to_string() };
    format!(
        "snapshot: {maps} maps with {entries} entries and {} state files in {place}, {bytes} bytes, {:.1} s",
        manifest.files.len(),
        manifest.taken.duration_ns as f64 / 1e9
    )
}
