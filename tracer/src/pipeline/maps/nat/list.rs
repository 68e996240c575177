//! `tracer nat list`.

use std::io;

use super::{Wanted, tables};
use crate::cilium::nat;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::nat::ListPlan;
use crate::output::listing::{Listing, RawEntry};
use crate::output::nat::{LIST_COLUMNS, NatRow};
use crate::pipeline::RunError;
use crate::pipeline::maps::MapNode;
use crate::pipeline::maps::ct::facts;

pub fn run(global: &Global, plan: &ListPlan) -> Result<Exit, RunError> {
    let MapNode { mut maps, view } = MapNode::open(global, plan.listing.progress)?;
    let wanted = Wanted::new(&plan.filter, &view)?;
    let clock = facts::clock(&maps, &view);
    let mut listing = Listing::new(io::stdout().lock(), &plan.listing, LIST_COLUMNS);
    for table in tables::open(&mut maps)? {
        let map = table.open.name.as_str();
        let mut undecoded = 0;
        maps.walk(&table.open, &mut |key, value| {
            let entry = if table.is_known { nat::decode(key, value) } else { None };
            let Some(entry) = entry else {
                undecoded += u64::from(table.is_known);
                return listing.raw(&RawEntry { map, key, value });
            };
            if !wanted.matches(&entry) {
                return std::ops::ControlFlow::Continue(());
            }
            listing.row(&NatRow {
                map,
                entry: &entry,
                created_seconds_ago: super::age(&clock, entry.created),
                endpoint: super::endpoint(&view, &plan.listing, &entry),
                problems: None,
            })
        });
        maps.report.undecoded(map, undecoded);
    }
    listing.finish().map_err(RunError::Output)?;
    Ok(maps.exit())
}
