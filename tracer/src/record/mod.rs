//! Recordings: named events in files of bounded size, to be played back through the filters and outputs of the
//! live stream. What is kept is the event as it was named at the time, with its captured bytes.
//!
//! A recording is a directory of segments. A segment is [`HEADER`] and then blocks; a block is its header
//! ([`block`]) and compressed frames, each a byte for the kind, a length and the contents ([`item`]). A block is
//! written by one call at least every [`BLOCK_AGE`], so that a recorder that is killed loses no more, and what
//! stands before a torn block stays readable.

mod block;
mod bytes;
mod flow;
mod item;
pub mod reader;
mod segment;
#[cfg(test)]
mod tests;
pub mod writer;

use std::time::Duration;

pub use item::Item;
pub use reader::Recording;
pub use writer::{Limits, Recorder};

/// Magic and number of the form, little-endian. Form 2 has trace and verdict messages.
const HEADER: [u8; 12] = *b"tracerev\x02\0\0\0";
/// The form before, which is read as well.
const OLD_HEADER: [u8; 12] = *b"tracerev\x01\0\0\0";
/// Events wait that long for others before they are written.
pub const BLOCK_AGE: Duration = Duration::from_millis(250);
/// Bytes of frames after which a block is written at once.
const BLOCK_BYTES: usize = 256 * 1024;
/// More than a block with the largest event has.
const MAX_BLOCK_BYTES: usize = 32 << 20;
