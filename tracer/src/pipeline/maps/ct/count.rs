//! `tracer ct count`.

use std::io;

use super::tables;
use crate::cli::ct::CountPlan;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::output::listing::{Listing, Object};
use crate::output::usage::{COLUMNS, Usage};
use crate::pipeline::RunError;
use crate::pipeline::maps::MapNode;

pub fn run(global: &Global, plan: &CountPlan) -> Result<Exit, RunError> {
    let MapNode { mut maps, .. } = MapNode::open(global, plan.listing.progress)?;
    let mut listing = Listing::new(io::stdout().lock(), &plan.listing, COLUMNS).named("maps");
    let mut total = 0;
    for table in tables::open(&mut maps, None)? {
        let Some(entries) = maps.count(&table.open) else { continue };
        total += entries;
        let max_entries = table.open.map.info().max_entries;
        if listing.row(&Usage { map: &table.open.name, entries, max_entries }).is_break() {
            break;
        }
    }
    let members = |members: &mut Object<'_>| members.always_number("entries", total);
    listing.finish_with(&format!("{total} entries\n"), members).map_err(RunError::Output)?;
    Ok(maps.exit())
}
