//! `tracer ct`.

mod count;
mod tables;

use crate::cli::ct::CtPlan;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::pipeline::RunError;

/// Runs the command; the exit code is the caller's to return.
pub fn run(global: &Global, plan: CtPlan) -> Result<Exit, RunError> {
    match plan {
        CtPlan::Count(plan) => count::run(global, &plan),
    }
}
