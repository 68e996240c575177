//! Events, summaries and banners as text and JSON. Takes finished values of [`crate::model`] and any
//! `io::Write`; knows no tap, no map and no clock. Words for Cilium's numbers come from the pure tables of
//! [`crate::cilium`].
//!
//! [`Printer`] is the way in for events, [`listing`] for map entries; [`summary`] and [`banner`] are for stderr.

pub mod banner;
pub mod capacity;
pub mod color;
pub mod comment;
pub mod counted;
pub mod ct;
mod dict;
pub mod doctor;
pub mod escape;
pub mod explain;
mod flow_json;
pub mod flow_proto;
mod fragments;
pub mod grouped;
pub mod groups;
mod json;
pub mod lb;
pub mod listing;
pub mod lost;
pub mod nat;
pub mod options;
mod packet;
mod printer;
pub mod proto;
pub mod protocol;
pub mod rows;
pub mod summary;
mod table;
mod text;
pub mod time;
mod tracer_json;
pub mod usage;
mod uuid;
pub mod why;

pub use printer::{Node, Printer, is_closed_pipe};
pub use tracer_json::SCHEMA_VERSION;

#[cfg(test)]
pub(crate) mod tests;
