//! `tracer ct`.

mod count;
pub(super) mod facts;
pub(super) mod group;
mod list;
pub(super) mod owners;
mod selection;
pub(super) mod tables;

use crate::cli::ct::CtPlan;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::pipeline::RunError;

/// Runs the command; the exit code is the caller's to return.
pub fn run(global: &Global, plan: CtPlan) -> Result<Exit, RunError> {
    match plan {
        CtPlan::List(plan) => list::list(global, &plan),
        CtPlan::Count(plan) => count::count(global, &plan),
        CtPlan::Top(plan) => count::top(global, &plan),
        CtPlan::Get(plan) => list::get(global, &plan),
    }
}
