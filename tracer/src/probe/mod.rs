//! tracer's own eBPF programs: loading, attaching with fall-backs, the ring buffer, the counters. Knows the
//! layout of records and settings only through `tracer-common`; what a record means is for `correlate`.

mod attach_types;
pub mod counters;
mod error;
mod load;
mod misses;
pub mod ring;
pub mod taps;

pub use error::ProbeError;
pub use load::{Loader, Plan, Probe};
