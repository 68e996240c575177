//! The only place that wires the parts together and spawns: from a plan of the command line to a running
//! stream and its closing summary.

mod accounts;
mod chain;
pub mod drops;
mod error;
mod files;
mod home;
pub mod maps;
mod reader;
mod stop;
mod tally;

pub use error::RunError;
