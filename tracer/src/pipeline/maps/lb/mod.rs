//! `tracer lb`.

mod check;
mod plain;
mod services;

use std::io;

use crate::cilium::lb::SERVICES;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::lb::{LbPlan, ListPlan, View};
use crate::output::listing::{Column, ListFormat, Listing, ListingOptions};
use crate::pipeline::RunError;
use crate::pipeline::maps::{MapNode, Maps};

/// Runs the command; the exit code is the caller's to return.
pub fn run(global: &Global, plan: LbPlan) -> Result<Exit, RunError> {
    match plan {
        LbPlan::List(plan) => list(global, &plan),
        LbPlan::Get(plan) => services::get(global, &plan),
        LbPlan::Check(options) => check::run(global, &options),
    }
}

fn list(global: &Global, plan: &ListPlan) -> Result<Exit, RunError> {
    let MapNode { mut maps, view } = MapNode::open(global, plan.listing.progress)?;
    require(&maps)?;
    let mut listing = Listing::new(io::stdout().lock(), &plan.listing, columns(plan.view, &plan.listing));
    match plan.view {
        View::Services => services::list(&mut maps, &view, plan.listing.numeric, None, &mut listing),
        other => plain::list(&mut maps, &view, other, &mut listing),
    };
    listing.finish().map_err(RunError::Output)?;
    Ok(maps.exit())
}

fn columns(view: View, options: &ListingOptions) -> &'static [Column] {
    if options.format == ListFormat::Cilium { view.vendor_columns() } else { view.columns() }
}

/// An error when the node has no load balancer at all.
fn require(maps: &Maps) -> Result<(), RunError> {
    let names = maps.names()?;
    let has = |name: &str| names.iter().any(|found| found == name);
    if SERVICES.iter().any(|layout| has(layout[0].name)) {
        return Ok(());
    }
    Err(RunError::NoMap("no services map is pinned (`cilium_lb4_services_v2`, ...)".to_owned()))
}
