//! Opens a snapshot. Nothing in the file is believed: offsets and sizes are checked against the file and
//! against limits before memory is asked for, and every frame has to have exactly the size that the index says.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zstd::bulk::Decompressor;

use super::files::SnapshotFiles;
use super::footer::{self, Footer};
use super::manifest::{End, Manifest, Map, Part};
use super::maps::SnapshotMaps;
use super::{FORMAT, MAX_ENTRY_BYTES, tar};
use crate::cilium::node::Origin;
use crate::cilium::state::file::MAX_BYTES;
use crate::cilium::when::When;

/// A node has some hundred maps and files; an index of this size has room for hundreds of thousands.
const MAX_MANIFEST: u32 = 64 << 20;
const CHECKED_AT_ONCE: usize = 1 << 18;

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("`{}` cannot be read", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("`{}` is no snapshot of tracer, or it was cut short: no index at its end", path.display())]
    NoIndex { path: PathBuf },
    #[error("`{}` has format {found}, this tracer reads format {FORMAT}", path.display())]
    Format { path: PathBuf, found: u32 },
    #[error("`{}` is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
}

/// An open snapshot: its index in memory, everything else in the file.
#[derive(Debug)]
pub struct Snapshot {
    file: File,
    path: PathBuf,
    pub manifest: Manifest,
    /// Places in [`Manifest::maps`] by name.
    pub(super) by_name: HashMap<String, usize>,
    /// Places in [`Manifest::inner_maps`] by id.
    pub(super) by_id: HashMap<u32, usize>,
}

impl Snapshot {
    pub fn open(path: &Path) -> Result<Self, SnapshotError> {
        let open_error = |source| SnapshotError::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(open_error)?;
        let metadata = file.metadata().map_err(open_error)?;
        if !metadata.is_file() {
            return Err(open_error(io::Error::other("not a regular file")));
        }
        let length = metadata.len();
        let footer = read_footer(&file, path, length)?;
        let damaged = |what: &dyn std::fmt::Display| SnapshotError::Damaged {
            path: path.to_owned(),
            what: what.to_string(),
        };
        if footer.format != FORMAT {
            return Err(SnapshotError::Format { path: path.to_owned(), found: footer.format });
        }
        if checksum(&file, length - footer::BYTES as u64).map_err(open_error)? != footer.checksum {
            return Err(damaged(&"its checksum is another one"));
        }
        if footer.bytes > MAX_MANIFEST {
            return Err(damaged(&"its index is too large"));
        }
        let part = Part { offset: footer.offset, stored: footer.stored, bytes: footer.bytes };
        check_part(&part, length, u64::from(MAX_MANIFEST)).map_err(|what| damaged(&what))?;
        let json = read_part(&file, &part, END_OF_ARCHIVE).map_err(|error| damaged(&error))?;
        let manifest: Manifest = serde_json::from_slice(&json)
            .map_err(|error| damaged(&format_args!("its index is not understood: {error}")))?;
        check(&manifest, length).map_err(|what| damaged(&what))?;
        let by_name = manifest.maps.iter().enumerate().map(|(at, map)| (map.name.clone(), at)).collect();
        let by_id = manifest.inner_maps.iter().enumerate().map(|(at, map)| (map.id, at)).collect();
        Ok(Self { file, path: path.to_owned(), manifest, by_name, by_id })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The node that it was, for everybody who reads nodes.
    pub fn origin(self: &Arc<Self>) -> Origin {
        Origin {
            maps: Some(Arc::new(SnapshotMaps(Arc::clone(self)))),
            files: Some(Arc::new(SnapshotFiles::new(Arc::clone(self)))),
            when: When::At(self.manifest.taken.moment()),
        }
    }

    /// The contents of a member.
    pub fn read(&self, part: &Part) -> io::Result<Vec<u8>> {
        read_part(&self.file, part, 0).map_err(|error| {
            let text =
                format!("snapshot `{}` is damaged at byte {}: {error}", self.path.display(), part.offset);
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }
}

const END_OF_ARCHIVE: usize = 2 * tar::BLOCK;

fn read_footer(file: &File, path: &Path, length: u64) -> Result<Footer, SnapshotError> {
    let no_index = || SnapshotError::NoIndex { path: path.to_owned() };
    let at = length.checked_sub(footer::BYTES as u64).ok_or_else(no_index)?;
    let mut bytes = [0; footer::BYTES];
    file.read_exact_at(&mut bytes, at)
        .map_err(|source| SnapshotError::Open { path: path.to_owned(), source })?;
    Footer::decode(&bytes).ok_or_else(no_index)
}

/// Of the first bytes of the file. It finds damage, not malice: what follows believes no byte because of it.
fn checksum(file: &File, length: u64) -> io::Result<u32> {
    let mut checksum = crc32fast::Hasher::new();
    let (mut buffer, mut at) = (vec![0; CHECKED_AT_ONCE], 0);
    while at < length {
        let wanted = usize::try_from(length - at).unwrap_or(usize::MAX).min(buffer.len());
        file.read_exact_at(&mut buffer[..wanted], at)?;
        checksum.update(&buffer[..wanted]);
        at += wanted as u64;
    }
    Ok(checksum.finalize())
}

/// Reads and unpacks one frame; `zeros` stand behind the member.
fn read_part(file: &File, part: &Part, zeros: usize) -> io::Result<Vec<u8>> {
    let bytes = part.bytes as usize;
    let whole = tar::BLOCK + bytes + tar::padding(bytes) + zeros;
    let mut frame = vec![0; part.stored as usize];
    file.read_exact_at(&mut frame, part.offset)?;
    let mut member = Vec::with_capacity(whole);
    let unpacked = Decompressor::new()?.decompress_to_buffer(&frame, &mut member)?;
    if unpacked != whole {
        return Err(io::Error::other("a part has another size than the index says"));
    }
    member.truncate(tar::BLOCK + bytes);
    member.drain(..tar::BLOCK);
    Ok(member)
}

/// What no index may say. In words, what is wrong.
fn check(manifest: &Manifest, length: u64) -> Result<(), String> {
    for map in manifest.maps.iter().chain(&manifest.inner_maps) {
        check_map(map, length).map_err(|what| format!("map `{}`: {what}", map.name.escape_debug()))?;
    }
    for file in &manifest.files {
        let named = |what| format!("file `{}`: {what}", file.path.escape_debug());
        check_part(&file.part, length, MAX_BYTES).map_err(named)?;
    }
    check_disjoint(manifest)
}

fn check_map(map: &Map, length: u64) -> Result<(), String> {
    let entry = u64::from(map.key_size).saturating_add(map.stored_value_size);
    if matches!(map.end, End::Unopened { .. }) {
        return if map.parts.is_empty() {
            Ok(())
        } else {
            Err("parts of a map that was never opened".into())
        };
    }
    if map.stored_value_size < u64::from(map.value_size) {
        return Err("values shorter than the map's".to_owned());
    }
    if map.parts.is_empty() && map.entries == 0 {
        return Ok(());
    }
    if entry == 0 || entry > MAX_ENTRY_BYTES {
        return Err(format!("entries of {entry} bytes"));
    }
    let mut entries = 0u64;
    for part in &map.parts {
        check_part(part, length, entry.max(super::PART_BYTES as u64))?;
        if u64::from(part.bytes) % entry != 0 {
            return Err("a part ends within an entry".to_owned());
        }
        entries += u64::from(part.bytes) / entry;
    }
    if entries != map.entries { Err("another number of entries than it says".to_owned()) } else { Ok(()) }
}

fn check_part(part: &Part, length: u64, max_bytes: u64) -> Result<(), String> {
    let end = part.offset.checked_add(part.stored.into());
    if end.is_none_or(|end| end > length) {
        return Err("a part beyond the end of the file".to_owned());
    }
    let whole = part.bytes as usize + 4 * tar::BLOCK;
    if u64::from(part.bytes) > max_bytes || part.stored as usize > zstd::zstd_safe::compress_bound(whole) {
        return Err(format!("a part of {} bytes in {}", part.bytes, part.stored));
    }
    Ok(())
}

/// Parts that share bytes would make much of little.
fn check_disjoint(manifest: &Manifest) -> Result<(), String> {
    let maps = manifest.maps.iter().chain(&manifest.inner_maps).flat_map(|map| &map.parts);
    let parts = maps.chain(manifest.files.iter().map(|file| &file.part));
    let mut ranges: Vec<(u64, u64)> = parts.map(|part| (part.offset, u64::from(part.stored))).collect();
    ranges.sort_unstable();
    let overlap = ranges.windows(2).any(|pair| pair[0].0.saturating_add(pair[0].1) > pair[1].0);
    if overlap { Err("parts that overlap".to_owned()) } else { Ok(()) }
}
