//! Events, summaries and banners as text and JSON. Takes finished values of [`crate::model`] and any
//! `io::Write`; knows no tap, no map and no clock.

pub mod color;
pub mod options;
pub mod time;
