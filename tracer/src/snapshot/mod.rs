//! A node's maps and state files in one file, to be taken home and asked there.
//!
//! The file is a tar archive in zstd frames, one frame a member, so that `zstd -dc FILE | tar x` takes it apart.
//! Behind it stands an index: the last member, `manifest.json` ([`manifest`]), and a zstd frame that unpackers
//! skip, which says where that member is ([`footer`]). A file without its end is therefore known as such before
//! anything of it is used. Entries of a map are keys and values one after the other, as look-ups gave them, in
//! members of about [`PART_BYTES`]. The end also has a checksum of the whole file, so that no row of a damaged one
//! is shown.

mod files;
mod footer;
pub mod manifest;
mod map;
mod maps;
pub mod reader;
mod tar;
pub mod writer;

pub use reader::{Snapshot, SnapshotError};
pub use writer::Writer;

/// Bytes of entries in one member, unless one entry is larger.
pub const PART_BYTES: usize = 1 << 20;
/// The form that is written; the only one that is read.
pub const FORMAT: u32 = 1;
/// More than a key and a value of one entry may have together.
const MAX_ENTRY_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests;
