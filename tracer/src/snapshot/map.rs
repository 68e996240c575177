//! One map of a snapshot.

use std::cell::OnceCell;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::manifest::{End, Map};
use super::reader::Snapshot;
use crate::cilium::map_type::MapType;
use crate::cilium::maps::MapRead;
use crate::cilium::table::{Visitor, Walk};
use crate::kernel::bpf::MapInfo;

/// A map of more bytes is walked for every look-up.
const MAX_INDEXED: u64 = 256 << 20;
/// Bytes of the prefix length before the data of an LPM key.
const PREFIX_BYTES: usize = 4;

#[derive(Debug)]
pub struct SnapshotMap {
    snapshot: Arc<Snapshot>,
    map: Map,
    info: MapInfo,
    index: OnceCell<Index>,
}

/// All entries by key. Data of LPM keys is zero behind the prefix.
#[derive(Debug)]
struct Index {
    entries: Vec<u8>,
    /// Numbers of entries, sorted by key.
    order: Vec<u32>,
    /// Of LPM keys, longest first.
    prefix_lengths: Vec<u32>,
}

impl SnapshotMap {
    /// `map` is one of the snapshot's.
    pub(super) fn open(snapshot: &Arc<Snapshot>, map: &Map) -> io::Result<Self> {
        if let End::Unopened { error } = map.end {
            return Err(io::Error::from_raw_os_error(error));
        }
        Ok(Self {
            snapshot: Arc::clone(snapshot),
            map: map.clone(),
            info: map.info(),
            index: OnceCell::new(),
        })
    }

    fn key_bytes(&self) -> usize {
        self.map.key_size as usize
    }

    fn entry_bytes(&self) -> usize {
        self.key_bytes() + self.value_bytes()
    }

    fn is_lpm(&self) -> bool {
        self.map.map_type == MapType::LPM_TRIE.0 && self.key_bytes() > PREFIX_BYTES
    }

    fn end(&self) -> io::Result<Walk> {
        match self.map.end {
            End::Complete | End::Replaced => Ok(Walk::Complete),
            End::GaveUp => Ok(Walk::GaveUp),
            End::Failed { error } | End::Unopened { error } => Err(io::Error::from_raw_os_error(error)),
        }
    }

    fn index(&self) -> io::Result<&Index> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let index = self.make_index()?;
        Ok(self.index.get_or_init(|| index))
    }

    fn make_index(&self) -> io::Result<Index> {
        let (key_bytes, entry_bytes) = (self.key_bytes(), self.entry_bytes());
        let mut entries = Vec::new();
        for part in &self.map.parts {
            entries.append(&mut self.snapshot.read(part)?);
        }
        let mut prefix_lengths = Vec::new();
        if self.is_lpm() {
            for entry in entries.chunks_exact_mut(entry_bytes) {
                let length = prefix_length(entry);
                mask(&mut entry[PREFIX_BYTES..key_bytes], length);
                prefix_lengths.push(length);
            }
            prefix_lengths.sort_unstable_by_key(|length| std::cmp::Reverse(*length));
            prefix_lengths.dedup();
        }
        let count = entries.len().checked_div(entry_bytes).unwrap_or(0);
        let mut order: Vec<u32> = (0..u32::try_from(count).map_err(io::Error::other)?).collect();
        let key = |number: &u32| &entries[*number as usize * entry_bytes..][..key_bytes];
        order.sort_unstable_by(|a, b| key(a).cmp(key(b)));
        Ok(Index { entries, order, prefix_lengths })
    }

    fn find(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        let index = self.index()?;
        if !self.is_lpm() {
            return Ok(self.exact(index, key, value));
        }
        let wanted = prefix_length(key);
        let mut prefix = key.to_vec();
        for length in index.prefix_lengths.iter().filter(|length| **length <= wanted) {
            prefix[..PREFIX_BYTES].copy_from_slice(&length.to_ne_bytes());
            mask(&mut prefix[PREFIX_BYTES..], *length);
            if self.exact(index, &prefix, value) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn exact(&self, index: &Index, key: &[u8], value: &mut [u8]) -> bool {
        let entry =
            |number: &u32| &index.entries[*number as usize * self.entry_bytes()..][..self.entry_bytes()];
        let at = index.order.binary_search_by(|number| entry(number)[..key.len()].cmp(key));
        if let Ok(at) = at {
            value.copy_from_slice(&entry(&index.order[at])[key.len()..]);
        }
        at.is_ok()
    }

    fn search(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        let mut found = false;
        self.for_each(&mut |other, bytes| {
            if other != key {
                return ControlFlow::Continue(());
            }
            value.copy_from_slice(bytes);
            found = true;
            ControlFlow::Break(())
        })?;
        Ok(found)
    }
}

impl MapRead for SnapshotMap {
    fn info(&self) -> &MapInfo {
        &self.info
    }

    fn value_bytes(&self) -> usize {
        self.map.stored_value_size as usize
    }

    fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        if key.len() != self.key_bytes() || value.len() != self.value_bytes() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // A map whose end was not read may have held what is asked for.
        let found = match self.map.entries.saturating_mul(self.entry_bytes() as u64) {
            ..=MAX_INDEXED => self.find(key, value)?,
            _ if self.is_lpm() => return Err(io::Error::other("too large to be searched for a prefix")),
            _ => self.search(key, value)?,
        };
        if found { Ok(true) } else { self.end().map(|_| false) }
    }

    fn for_each(&self, visit: &mut Visitor) -> io::Result<Walk> {
        for part in &self.map.parts {
            for entry in self.snapshot.read(part)?.chunks_exact(self.entry_bytes()) {
                let (key, value) = entry.split_at(self.key_bytes());
                if visit(key, value).is_break() {
                    return Ok(Walk::Stopped);
                }
            }
        }
        self.end()
    }

    fn count(&self) -> io::Result<(u64, Walk)> {
        Ok((self.map.entries, self.end()?))
    }

    fn memory_bytes(&self) -> Option<u64> {
        self.map.memory_bytes
    }
}

/// Bits; the kernel keeps it as a number of the machine.
fn prefix_length(key: &[u8]) -> u32 {
    key.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// Clears what is behind the first `bits`, which are counted from the highest one of each byte.
fn mask(data: &mut [u8], bits: u32) {
    for (at, byte) in data.iter_mut().enumerate() {
        let kept = (bits as usize).saturating_sub(8 * at).min(8) as u32;
        *byte &= !0xff_u8.checked_shr(kept).unwrap_or(0);
    }
}
