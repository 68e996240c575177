//! tracer: sees every packet that a Cilium node drops, and says who was on both ends and why, with or
//! without a live Cilium agent. See ARCHITECTURE.md for the map of the house.

pub mod cilium;
pub mod cli;
pub mod correlate;
pub mod doctor;
pub mod explain;
pub mod filter;
pub mod kernel;
pub mod lb;
pub mod manifest;
pub mod model;
pub mod nat;
pub mod output;
pub mod packet;
pub mod pcapng;
pub mod pipeline;
pub mod policy;
pub mod probe;
pub mod record;
pub mod schema;
pub mod serve;
pub mod snapshot;
pub mod top;
pub mod why;
