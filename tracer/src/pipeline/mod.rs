//! The only place that wires the parts together and spawns: from a plan of the command line to a running
//! stream and its closing summary.

mod accounts;
mod chain;
pub mod console;
pub mod diff;
pub mod doctor;
pub mod documents;
pub mod drops;
mod error;
pub mod explain;
mod files;
mod home;
pub mod maps;
mod place;
mod reader;
pub mod replay;
pub mod serve;
mod sinks;
pub mod snapshot;
mod stop;
mod tally;
pub mod top;
pub mod why;

pub use error::RunError;

use crate::cli::global::Global;

/// Refuses `--snapshot` for what only a running node can do.
fn live_only(global: &Global, what: &str) -> Result<(), RunError> {
    match &global.snapshot {
        Some(_) => {
            Err(RunError::Usage(format!("{what}: needs the running node, and --snapshot names a saved one")))
        }
        None => Ok(()),
    }
}
