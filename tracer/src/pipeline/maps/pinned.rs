//! `tracer maps` and `tracer maps dump`.

use std::io;

use super::{MapNode, Maps, OpenMap};
use crate::cilium::catalogue::{self, Fields, Recognized, Shown, View};
use crate::cilium::map_type::MapType;
use crate::cilium::maps::Users;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::maps::MapsPlan;
use crate::output::listing::{Listing, ListingOptions, RawEntry};
use crate::output::rows::entry::{self, EntryRow};
use crate::output::rows::pinned::{self, PinnedRow};
use crate::pipeline::RunError;

pub fn run(global: &Global, plan: &MapsPlan) -> Result<Exit, RunError> {
    match plan {
        MapsPlan::List(listing) => list(global, listing),
        MapsPlan::Dump { map, raw, listing } => dump(global, map, *raw, listing),
    }
}

fn list(global: &Global, options: &ListingOptions) -> Result<Exit, RunError> {
    let MapNode { mut maps, .. } = MapNode::open(global, options.progress)?;
    let users = maps.users();
    let mut listing = Listing::new(io::stdout().lock(), options, pinned::COLUMNS);
    for name in maps.names()? {
        let Some(open) = maps.map(&name) else { continue };
        if show(&mut maps, &mut listing, &open, users.as_ref()).is_break() {
            break;
        }
    }
    listing.finish().map_err(RunError::Output)?;
    match &users {
        Some(users) if options.limit.is_none() => tell_left_behind(users),
        Some(_) => {}
        None => tracing::warn!("which maps are in use is not known: that needs CAP_SYS_ADMIN"),
    }
    Ok(maps.exit())
}

fn show<W: io::Write>(
    maps: &mut Maps,
    listing: &mut Listing<W>,
    open: &OpenMap,
    users: Option<&Users>,
) -> std::ops::ControlFlow<()> {
    let info = open.map.info();
    let (known, shown_by) = match catalogue::recognize(&open.name, info) {
        Recognized::Known(map) => (true, shown_by(map.shown)),
        Recognized::Unknown => (false, DUMP),
        Recognized::Sizes(text) => {
            maps.report.unknown(format_args!("map `{}`: {text}", open.name));
            (false, DUMP)
        }
    };
    let entries = if MapType(info.map_type).is_counted() { maps.count(open) } else { None };
    listing.row(&PinnedRow {
        map: &open.name,
        info,
        entries,
        memory_bytes: open.map.memory_bytes(),
        known,
        shown_by,
        in_use: users.map(|users| users.used.contains(&info.id)),
    })
}

const DUMP: &str = "maps dump";

const fn shown_by(shown: Shown) -> &'static str {
    match shown {
        Shown::Command(command) => command,
        Shown::View(_) => DUMP,
        Shown::Raw(_) => DUMP,
    }
}

/// What is listed is not what these programs see.
fn tell_left_behind(users: &Users) {
    for (id, name) in &users.left_behind {
        tracing::warn!("map id {id} (`{name}…`) is in use, but not pinned: its pin was replaced or removed");
    }
}

fn dump(global: &Global, name: &str, raw: bool, options: &ListingOptions) -> Result<Exit, RunError> {
    let MapNode { mut maps, .. } = MapNode::open(global, options.progress)?;
    let open = match maps.map(name) {
        Some(open) => open,
        None if maps.report.is_clean() => return Err(no_map(name)),
        None => return Ok(maps.exit()),
    };
    if open.map.info().map_type == MapType::PERF_EVENT_ARRAY.0 {
        return Err(RunError::NoMap(format!("map `{name}`: a perf event array has no entries to read")));
    }
    let view = if raw { None } else { view(&mut maps, &open) };
    let mut listing = Listing::new(io::stdout().lock(), options, entry::COLUMNS);
    let per_cpu = per_cpu(&open);
    let (mut fields, mut undecoded) = (Fields::default(), 0);
    let was_read = maps.walk(&open, &mut |key, value| {
        fields.clear();
        match view.map(|view| view(key, value, &mut fields)) {
            Some(None) => {
                undecoded += 1;
                listing.raw(&RawEntry { map: name, key, value })
            }
            Some(Some(())) => listing.row(&EntryRow { key, value, per_cpu: None, fields: Some(&fields) }),
            None => listing.row(&EntryRow { key, value, per_cpu, fields: None }),
        }
    });
    maps.report.undecoded(name, undecoded);
    if was_read {
        listing.finish().map_err(RunError::Output)?;
    } else {
        listing.finish_empty().map_err(RunError::Output)?;
    }
    Ok(maps.exit())
}

fn no_map(name: &str) -> RunError {
    RunError::NoMap(format!("no map `{name}` is pinned on this node; `tracer maps` has all"))
}

fn view(maps: &mut Maps, open: &OpenMap) -> Option<View> {
    match catalogue::recognize(&open.name, open.map.info()) {
        Recognized::Known(map) => view_or_why_not(&open.name, map.shown),
        Recognized::Unknown => None,
        Recognized::Sizes(text) => {
            maps.report.unknown(format_args!("map `{}`: {text}; shown as bytes", open.name));
            None
        }
    }
}

fn view_or_why_not(map: &str, shown: Shown) -> Option<View> {
    match shown {
        Shown::View(view) => return Some(view),
        Shown::Command(command) => {
            tracing::warn!("map `{map}`: shown as bytes; `tracer {command}` shows what they say");
        }
        Shown::Raw(why) => tracing::warn!("map `{map}`: shown as bytes: {why}"),
    }
    None
}

/// Bytes of a value and their distance, where there is one value for each CPU.
fn per_cpu(open: &OpenMap) -> Option<(usize, usize)> {
    let size = open.map.info().value_size as usize;
    MapType(open.map.info().map_type).is_per_cpu().then(|| (size, size.next_multiple_of(8)))
}
