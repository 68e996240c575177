//! What `tracer doctor` thinks of a node: facts in, findings out. A file here judges one subject; who gathers
//! the facts is not known here, so every judgement can be tested without a node.

pub mod agent;
pub mod capacity;
pub mod endpoints;
mod finding;
pub mod kernel;
pub mod mode;
pub mod pins;
pub mod place;
pub mod programs;
pub mod proxy;
pub mod taps;

pub use finding::{Check, Finding, Group, Status, Summary, joined};
