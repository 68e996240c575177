//! The things tracer talks about, as plain values in the user's words. No I/O, no serde, no clock, no
//! byte offsets: readers (`probe`, `cilium`) make these, `correlate`, `filter`, `policy` and `output` use them.

pub mod endpoint;
pub mod flow;
pub mod gauges;
pub mod names;
pub mod notice;
pub mod packet;
pub mod policy;
pub mod reason;
pub mod time;
