//! `tracer ct count` and `tracer ct top`.

use std::io;

use super::group::{self, Groups};
use super::tables::{self, CtTable};
use crate::cilium::node::NodeView;
use crate::cli::ct::{CountPlan, CtWanted, Property, TopPlan};
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::output::counted::{self, Counted};
use crate::output::listing::{Listing, ListingOptions, Object};
use crate::output::usage::{self, Usage};
use crate::pipeline::RunError;
use crate::pipeline::maps::{MapNode, Maps};

/// Filters without `--by` count by map.
pub fn count(global: &Global, plan: &CountPlan) -> Result<Exit, RunError> {
    let MapNode { mut view, mut maps } = MapNode::open(global, plan.listing.progress)?;
    let tables = tables::open(&mut maps, plan.wanted.map.as_deref())?;
    let filtered = CtWanted { map: None, ..plan.wanted.clone() } != CtWanted::default();
    match plan.by.as_slice() {
        [] if !filtered => entries(&mut maps, &tables, &plan.listing)?,
        [] => {
            groups(&mut maps, &mut view, &tables, &plan.wanted, &[Property::Map], usize::MAX, &plan.listing)?
        }
        by => groups(&mut maps, &mut view, &tables, &plan.wanted, by, usize::MAX, &plan.listing)?,
    }
    Ok(maps.exit())
}

pub fn top(global: &Global, plan: &TopPlan) -> Result<Exit, RunError> {
    let MapNode { mut view, mut maps } = MapNode::open(global, plan.listing.progress)?;
    let tables = tables::open(&mut maps, plan.wanted.map.as_deref())?;
    groups(&mut maps, &mut view, &tables, &plan.wanted, &[plan.by], plan.count, &plan.listing)?;
    Ok(maps.exit())
}

/// How many entries each map has, none of them looked at.
fn entries(maps: &mut Maps, tables: &[CtTable], options: &ListingOptions) -> Result<(), RunError> {
    let mut listing = Listing::new(io::stdout().lock(), options, usage::COLUMNS).named("maps");
    let mut total = 0;
    for table in tables {
        let Some(entries) = maps.count(&table.open) else { continue };
        total += entries;
        let max_entries = table.open.map.info().max_entries;
        if listing.row(&Usage { map: &table.open.name, entries, max_entries }).is_break() {
            break;
        }
    }
    let members = |members: &mut Object<'_>| members.always_number("entries", total);
    listing.finish_with(&format!("{total} entries\n"), members).map_err(RunError::Output)?;
    Ok(())
}

fn groups(
    maps: &mut Maps,
    view: &mut NodeView,
    tables: &[CtTable],
    wanted: &CtWanted,
    by: &[Property],
    count: usize,
    options: &ListingOptions,
) -> Result<(), RunError> {
    let groups = group::count(maps, view, tables, wanted, by);
    let mut listing = Listing::new(io::stdout().lock(), options, counted::COLUMNS).named("groups");
    for (values, entries) in groups.largest(count) {
        let described: Vec<(String, String)> =
            values.iter().map(|value| group::describe(value, tables, view)).collect();
        let names: Vec<&str> =
            described.iter().map(|(_, name)| name.as_str()).filter(|name| !name.is_empty()).collect();
        let name = names.join(" ");
        let properties: Vec<(&'static str, String)> =
            by.iter().zip(&described).map(|(property, (text, _))| (property.name(), text.clone())).collect();
        let row = Counted { properties: &properties, entries, of: groups.total(), name: &name };
        if listing.row(&row).is_break() {
            break;
        }
    }
    finish(listing, &groups)
}

fn finish(listing: Listing<impl io::Write>, groups: &Groups) -> Result<(), RunError> {
    let (total, error) = (groups.total(), groups.error());
    let footer = match error {
        0 => format!("{total} entries\n"),
        _ => format!("{total} entries; too many groups to keep: each may have up to {error} more\n"),
    };
    let members = |members: &mut Object<'_>| {
        members.always_number("entries", total);
        members.always_flag("exact", error == 0);
        members.always_number("max_error", error);
    };
    listing.finish_with(&footer, members).map_err(RunError::Output)?;
    Ok(())
}
