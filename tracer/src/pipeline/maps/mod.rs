//! What all commands on maps share: find the node, open its maps one by one, walk them, and tell what went
//! wrong with each without harming the others. A file here runs one command.
//!
//! A command does [`MapNode::open`], then for each of its maps [`Maps::map`] and [`Maps::walk`] (or
//! [`Maps::count`]), and ends with [`Maps::exit`]. Lines for the user are printed at once, on stderr.

pub mod capacity;
pub mod ct;
pub mod endpoints;
pub mod gauges;
pub mod identity;
pub mod ipcache;
mod layout;
pub mod lb;
pub mod metrics;
pub mod nat;
pub(in crate::pipeline) mod newest;
pub mod nodes;
pub mod pinned;
pub mod policy;
mod report;
mod who;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use tracer_common::id::MapId;

use crate::cilium::maps::{MapRead, MapSource, Users};
use crate::cilium::node::{NodeView, Notice, Origin};
use crate::cilium::pins::{Change, Layout, PinError};
use crate::cilium::source::{self, Refusal, Why};
use crate::cilium::table::{Visitor, Walk};
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::output::listing::progress::Progress;
pub use report::Report;

use super::{RunError, place, snapshot};

/// A node that is known to have Cilium.
pub struct MapNode {
    /// Names for what the maps hold.
    pub view: NodeView,
    pub maps: Maps,
}

/// The maps, and the books on what could not be read of them.
pub struct Maps {
    source: Arc<dyn MapSource>,
    pub report: Report,
    progress: Progress,
}

/// A map that is open, under the name of its pin.
pub struct OpenMap {
    pub name: String,
    pub map: Box<dyn MapRead>,
}

impl MapNode {
    /// Finds the node, or opens the snapshot. `progress`: see [`Progress::new`].
    pub fn open(global: &Global, progress: bool) -> Result<Self, RunError> {
        let (found, origin) = match &global.snapshot {
            Some(path) => snapshot::open(global, path)?,
            None => Self::find(global)?,
        };
        let Some(source) = origin.maps.clone() else { return Err(no_maps(&found)) };
        let mut view = NodeView::over(found, origin, Instant::now());
        let mut report = Report::default();
        view.take_notices().iter().filter(|notice| is_telling(notice)).for_each(|notice| report.tell(notice));
        let maps = Maps { source, report, progress: Progress::new(progress && !global.quiet) };
        Ok(Self { view, maps })
    }

    /// The running node.
    fn find(global: &Global) -> Result<(source::NodeSource, Origin), RunError> {
        let found = source::find(&place::wanted(global)).map_err(RunError::Source)?;
        let origin = Origin::live(&found);
        Ok((found, origin))
    }
}

/// Another process's root may be closed to us without hiding anything: only our own places count as forbidden.
fn no_maps(found: &source::NodeSource) -> RunError {
    let is_forbidden =
        |refusal: &&Refusal| refusal.why == Why::Forbidden && !refusal.path.starts_with("/proc");
    let forbidden = found.refused.iter().find(is_forbidden);
    match forbidden {
        Some(refusal) => RunError::NotPermitted(refusal.path.display().to_string()),
        None => RunError::NoCilium(found.why_nothing()),
    }
}

/// Maps that naming would like to have and that are not there, or not readable, are told by the commands
/// that need them.
fn is_telling(notice: &Notice) -> bool {
    !matches!(notice, Notice::Map(Change::Refused(PinError::Absent { .. } | PinError::Open { .. })))
}

impl Maps {
    /// Where they come from.
    pub fn source(&self) -> &dyn MapSource {
        &*self.source
    }

    /// Names of all pins of Cilium, sorted.
    pub fn names(&self) -> Result<Vec<String>, RunError> {
        self.source.names().map_err(RunError::Pins)
    }

    /// What the loaded programs use. `None`: nobody may tell.
    pub fn users(&self) -> Option<Users> {
        self.source.users()
    }

    /// Opens a map. `None`: it is not pinned, or it cannot be opened, which is told.
    pub fn map(&mut self, name: &str) -> Option<OpenMap> {
        match self.source.open(name) {
            Ok(map) => Some(OpenMap { name: name.to_owned(), map }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.report.unreadable(name, &error);
                None
            }
        }
    }

    /// Opens the map with this id, which `outer` holds. `None`: it is gone, or cannot be opened, which is told.
    pub fn inner(&mut self, outer: &str, key: u32, id: MapId) -> Option<OpenMap> {
        let name = format!("{outer}[{key}]");
        match self.source.open_inner(id) {
            Ok(map) => Some(OpenMap { name, map }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.report.unreadable(&name, &error);
                None
            }
        }
    }

    /// Opens the maps that stand in an array of maps by cluster id; what cannot be opened is told.
    pub fn per_cluster(&mut self, layout: &Layout) -> Vec<OpenMap> {
        let Some(outer) = self.map(layout.name) else { return Vec::new() };
        if !self.is_known(&outer, layout) {
            return Vec::new();
        }
        let mut inner = Vec::new();
        self.walk(&outer, &mut |cluster, id| {
            if let (Ok(cluster), Ok(id)) = (cluster.try_into(), id.try_into()) {
                inner.push((u32::from_ne_bytes(cluster), MapId(u32::from_ne_bytes(id))));
            }
            ControlFlow::Continue(())
        });
        inner.into_iter().filter_map(|(cluster, id)| self.inner(layout.name, cluster, id)).collect()
    }

    /// Shows every entry to `visit`; errors, an end that was not reached, and a map that was replaced or
    /// removed meanwhile are told. False: it cannot be read.
    pub fn walk(&mut self, open: &OpenMap, visit: &mut Visitor) -> bool {
        let progress = &mut self.progress;
        progress.on(&open.name);
        let walk = open.map.for_each(&mut |key, value| {
            progress.step();
            visit(key, value)
        });
        let was_read = walk.is_ok();
        self.walked(open, walk);
        was_read
    }

    /// The number of entries; what went wrong is told. `None`: the map cannot be read.
    pub fn count(&mut self, open: &OpenMap) -> Option<u64> {
        match open.map.count() {
            Ok((entries, walk)) => {
                self.walked(open, Ok(walk));
                Some(entries)
            }
            Err(error) => {
                self.walked(open, Err(error));
                None
            }
        }
    }

    /// Copies the value of `key` into `value`; an error is told. `None`: the map cannot be read.
    pub fn look_up(&mut self, open: &OpenMap, key: &[u8], value: &mut [u8]) -> Option<bool> {
        match open.map.lookup(key, value) {
            Ok(found) => {
                self.report.read();
                Some(found)
            }
            Err(error) => {
                self.report.unreadable(&open.name, &error);
                None
            }
        }
    }

    fn walked(&mut self, open: &OpenMap, walk: io::Result<Walk>) {
        match walk {
            Ok(Walk::Stopped) => return self.report.read(),
            Ok(Walk::Complete) => self.report.read(),
            Ok(Walk::GaveUp) => self.report.restless(&open.name),
            Err(error) => return self.report.unreadable(&open.name, &error),
        }
        if open.name.ends_with(']') {
            return;
        }
        let id = open.map.info().id;
        match self.source.current_id(&open.name) {
            Ok(Some(now)) if now == id => {}
            Ok(Some(now)) => self.report.replaced(&open.name, id, now),
            Ok(None) => self.report.removed(&open.name),
            Err(error) => tracing::debug!(map = open.name, %error, "cannot look at the pin again"),
        }
    }

    /// How the command ended, as far as reading goes.
    pub fn exit(&self) -> Exit {
        self.report.exit()
    }
}
