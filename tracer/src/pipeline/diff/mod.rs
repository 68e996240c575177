//! `tracer diff`: facts first, then the maps of both snapshots by name, entry by entry.

mod entries;
mod facts;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::RunError;
use super::snapshot::headline;
use crate::cilium::maps::MapRead;
use crate::cilium::node::NodeView;
use crate::cilium::source::NodeSource;
use crate::cli::diff::DiffPlan;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::kernel::bpf::MapInfo;
use crate::output::listing::Listing;
use crate::output::rows::diff::{CHANGE_COLUMNS, ChangeRow, SUMMARY_COLUMNS, SummaryRow};
use crate::snapshot::Snapshot;
use entries::Sorted;
use words::Speaker;

/// Texts by key, of one side.
type Texts = BTreeMap<String, String>;

/// One of the two.
struct Side {
    snapshot: Arc<Snapshot>,
    view: NodeView,
}

pub fn run(global: &Global, plan: &DiffPlan) -> Result<Exit, RunError> {
    super::live_only(global, "diff")?;
    let (before, after) = (Side::open(&plan.before)?, Side::open(&plan.after)?);
    if !global.quiet {
        eprintln!("A: {}", headline(&before.snapshot.manifest));
        eprintln!("B: {}", headline(&after.snapshot.manifest));
    }
    if before.snapshot.manifest.redacted != after.snapshot.manifest.redacted {
        tracing::warn!("one of them is redacted: all names are different");
    }
    let columns = if plan.rows { CHANGE_COLUMNS } else { SUMMARY_COLUMNS };
    let listing = Listing::new(io::stdout().lock(), &plan.listing, columns);
    let mut differ = Differ { plan, listing, incomplete: false, ended: false };
    for (name, texts) in facts::all(&before, &after) {
        differ.texts(name, &texts);
    }
    for name in names(&before, &after) {
        differ.map(&name, &before, &after);
    }
    let Differ { listing, incomplete, .. } = differ;
    listing.finish().map_err(RunError::Output)?;
    Ok(if incomplete { Exit::Incomplete } else { Exit::Done })
}

impl Side {
    fn open(path: &Path) -> Result<Self, RunError> {
        let snapshot = Arc::new(Snapshot::open(path).map_err(RunError::NoSnapshot)?);
        let view = view(&snapshot);
        Ok(Self { snapshot, view })
    }

    /// One of its own for who asks for names, which are kept.
    fn view(&self) -> NodeView {
        view(&self.snapshot)
    }

    /// `None`: it is not there; an error: it is, and cannot be read.
    fn map(&self, name: &str) -> io::Result<Option<Box<dyn MapRead>>> {
        let maps = self.view.maps().ok_or(io::ErrorKind::NotFound)?;
        match maps.open(name) {
            Ok(map) => Ok(Some(map)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn view(snapshot: &Arc<Snapshot>) -> NodeView {
    NodeView::over(NodeSource::default(), snapshot.origin(), Instant::now())
}

fn names(before: &Side, after: &Side) -> BTreeSet<String> {
    let maps =
        |side: &Side| side.snapshot.manifest.maps.iter().map(|map| map.name.clone()).collect::<Vec<_>>();
    maps(before).into_iter().chain(maps(after)).collect()
}

struct Differ<'a, W: io::Write> {
    plan: &'a DiffPlan,
    listing: Listing<W>,
    /// Something could not be compared, which was told.
    incomplete: bool,
    /// Nobody wants more rows.
    ended: bool,
}

impl<W: io::Write> Differ<'_, W> {
    fn is_wanted(&self, what: &str) -> bool {
        !self.ended && (self.plan.only.is_empty() || self.plan.only.iter().any(|name| what.contains(name)))
    }

    fn row(&mut self, row: ChangeRow<'_>) {
        if self.plan.rows && !self.ended {
            self.ended = self.listing.row(&row).is_break();
        }
    }

    fn summary(&mut self, summary: &SummaryRow) {
        let is_same = summary.added + summary.removed + summary.changed == 0 && summary.note.is_empty();
        if !self.plan.rows && !self.ended && (self.plan.all || !is_same) {
            self.ended = self.listing.row(summary).is_break();
        }
    }

    fn texts(&mut self, what: &str, [before, after]: &[Texts; 2]) {
        if !self.is_wanted(what) {
            return;
        }
        let count = |texts: &Texts| Some(texts.len() as u64);
        let (before_count, after_count) = (count(before), count(after));
        let mut summary = SummaryRow {
            what: what.to_owned(),
            before: before_count,
            after: after_count,
            ..Default::default()
        };
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let (old, new) = (before.get(key).map(String::as_str), after.get(key).map(String::as_str));
            match (old, new) {
                _ if old == new => continue,
                (None, _) => summary.added += 1,
                (_, None) => summary.removed += 1,
                _ => summary.changed += 1,
            }
            self.row(ChangeRow { what, key, before: old, after: new });
        }
        self.summary(&summary);
    }

    fn map(&mut self, name: &str, before: &Side, after: &Side) {
        if !self.is_wanted(name) {
            return;
        }
        let compared = before.map(name).and_then(|old| Ok((old, after.map(name)?)));
        let compared = compared.and_then(|(old, new)| self.maps(name, old.as_deref(), new.as_deref(), after));
        match compared {
            Ok(summary) => self.summary(&summary),
            Err(error) if is_unreadable(&error) => {}
            Err(error) => {
                self.incomplete = true;
                tracing::warn!("map `{name}`: cannot be compared: {error}");
            }
        }
    }

    fn maps(
        &mut self,
        name: &str,
        before: Option<&dyn MapRead>,
        after: Option<&dyn MapRead>,
        side: &Side,
    ) -> io::Result<SummaryRow> {
        let mut old = before.map(Sorted::load).transpose()?;
        let speaker = Speaker::new(name, [before, after], side.view.releases().releases());
        let mut summary = SummaryRow { what: name.to_owned(), ..Default::default() };
        summary.note = note(before.map(MapRead::info), after.map(MapRead::info));
        summary.before = old.as_ref().map(Sorted::len);
        let mut fresh = 0;
        if let Some(after) = after {
            let comparable = match before {
                Some(before) => sizes(before) == sizes(after),
                None => true,
            };
            after.for_each(&mut |key, value| {
                fresh += 1;
                let known = old.as_mut().filter(|_| comparable).and_then(|old| old.take(key));
                match known {
                    Some(old) if old == value => {}
                    Some(old) => {
                        summary.changed += 1;
                        self.entry(&speaker, key, Some(old), Some(value));
                    }
                    None => {
                        summary.added += 1;
                        self.entry(&speaker, key, None, Some(value));
                    }
                }
                if self.ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            summary.after = Some(fresh);
        }
        if let Some(old) = &old {
            for (key, value) in old.left() {
                summary.removed += 1;
                self.entry(&speaker, key, Some(value), None);
            }
        }
        Ok(summary)
    }

    fn entry(&mut self, speaker: &Speaker<'_>, key: &[u8], before: Option<&[u8]>, after: Option<&[u8]>) {
        if !self.plan.rows || self.ended {
            return;
        }
        let said = |value: &[u8]| speaker.say(key, value);
        let (old, new) = (before.map(said), after.map(said));
        let key = old.as_ref().or(new.as_ref()).map_or(String::new(), |said| said.0.clone());
        let (old, new) = (old.map(|said| said.1), new.map(|said| said.1));
        self.row(ChangeRow { what: speaker.map, key: &key, before: old.as_deref(), after: new.as_deref() });
    }
}

/// Kinds of maps whose entries nobody can read: both snapshots say so, and there is nothing to compare.
fn is_unreadable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | crate::kernel::bpf::ENOTSUPP | libc::EINVAL))
}

fn sizes(map: &dyn MapRead) -> (u32, usize) {
    (map.info().key_size, map.value_bytes())
}

/// What is different about the map itself.
fn note(before: Option<&MapInfo>, after: Option<&MapInfo>) -> String {
    let (before, after) = match (before, after) {
        (Some(before), Some(after)) => (before, after),
        (None, _) => return "new".to_owned(),
        (_, None) => return "gone".to_owned(),
    };
    let mut notes = Vec::new();
    let mut number = |name: &str, old: u32, new: u32| {
        if old != new {
            notes.push(format!("{name} {old} is now {new}"));
        }
    };
    number("id", before.id.0, after.id.0);
    number("type", before.map_type, after.map_type);
    number("key_size", before.key_size, after.key_size);
    number("value_size", before.value_size, after.value_size);
    number("max_entries", before.max_entries, after.max_entries);
    number("flags", before.flags, after.flags);
    notes.join(", ")
}
