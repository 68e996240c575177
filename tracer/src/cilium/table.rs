//! Walks the entries of one BPF map: batches where the kernel has them for the map's type, else key by key.
//! Nothing is kept; each entry is shown to the caller and forgotten. No entry is decoded here.

mod progress;

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use tracer_common::id::MapId;

use self::progress::Progress;
use super::map_type::MapType;
use crate::kernel::bpf::{ENOTSUPP, MapInfo, ReadOnlyMap};

/// Memory for one batch, unless one entry needs more.
const BATCH_BYTES: usize = 256 * 1024;
/// How often a step may get nowhere because of concurrent change before the walk goes on key by key.
const MAX_INTERRUPTIONS: u32 = 100;

/// An open map, its facts, and the size of the buffer that a look-up fills.
#[derive(Debug)]
pub struct Table {
    map: ReadOnlyMap,
    info: MapInfo,
    value_bytes: usize,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// Every entry that stayed in the map all the while was visited, and none of them twice.
    Complete,
    /// The visitor wanted no more.
    Stopped,
    /// The map changed so fast that the end was not reached within a bounded number of steps.
    GaveUp,
}

/// Sees one entry after the other.
pub type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Sees one batch after the other: keys, values, how many of each are filled.
type BatchVisitor<'a> = dyn FnMut(&[u8], &[u8], usize) -> ControlFlow<()> + 'a;

impl Table {
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::new(ReadOnlyMap::open_pin(path)?)
    }

    /// Opens a map that another map holds (needs CAP_SYS_ADMIN).
    pub fn open_id(id: MapId) -> io::Result<Self> {
        Self::new(ReadOnlyMap::open_id(id)?)
    }

    fn new(map: ReadOnlyMap) -> io::Result<Self> {
        let info = map.info()?;
        let value_bytes = value_bytes(&info)?;
        Ok(Self { map, info, value_bytes })
    }

    pub fn info(&self) -> &MapInfo {
        &self.info
    }

    /// Bytes of a value as look-ups give it; for per-CPU maps all CPUs' values, each rounded up to 8 bytes.
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// Bytes of memory that the kernel charges for the map; `None` where it does not tell.
    pub fn memory_bytes(&self) -> Option<u64> {
        self.map.memory_bytes()
    }

    /// Copies the value of `key` into `value`; false if there is none. Sizes must be those of the map.
    pub fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        if key.len() != self.info.key_size as usize || value.len() != self.value_bytes {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.map.lookup(key, value)
    }

    /// Shows every entry to `visit`.
    pub fn for_each(&self, visit: &mut Visitor) -> io::Result<Walk> {
        if self.info.key_size == 0 {
            return Err(io::Error::other("a map of this type has no entries to list"));
        }
        let (key_size, value_size) = (self.info.key_size as usize, self.value_bytes);
        let is_trie = self.kind() == MapType::LPM_TRIE;
        let mut progress = if is_trie { Progress::ordered() } else { Progress::Sure };
        let batches = self.walk_batches(&mut |keys, values, count| {
            visit_all(keys, values, key_size, value_size, count, &mut |key, value| {
                if progress.is_new(key) { visit(key, value) } else { ControlFlow::Continue(()) }
            })
        });
        if let Some(walk) = batches? {
            return Ok(walk);
        }
        if self.kind().is_hash() {
            progress = Progress::remembered();
        }
        self.walk_keys(&mut |key, value| {
            if progress.is_new(key) { visit(key, value) } else { ControlFlow::Continue(()) }
        })
    }

    /// The number of entries, and whether the end was reached.
    pub fn count(&self) -> io::Result<(u64, Walk)> {
        let mut entries = 0;
        if self.kind().is_hash() {
            // Whole buckets: nothing comes twice, so nobody has to look at the keys.
            let batches = self.walk_batches(&mut |_, _, count| {
                entries += count as u64;
                ControlFlow::Continue(())
            });
            if let Some(walk) = batches? {
                return Ok((entries, walk));
            }
        }
        let walk = self.for_each(&mut |_, _| {
            entries += 1;
            ControlFlow::Continue(())
        })?;
        Ok((entries, walk))
    }

    fn kind(&self) -> MapType {
        MapType(self.info.map_type)
    }

    /// Shows whole batches. `None`: the kernel has no batches for this type of map and nothing was visited, or
    /// it cannot go on with them (tries only).
    fn walk_batches(&self, visit: &mut BatchVisitor) -> io::Result<Option<Walk>> {
        // Kernels stumble over the holes in arrays of maps.
        if self.kind().holds_maps() {
            return Ok(None);
        }
        let (key_size, value_size) = (self.info.key_size as usize, self.value_bytes);
        let mut capacity = (BATCH_BYTES / (key_size + value_size).max(1)).clamp(16, 4096);
        let mut token = vec![0; key_size.max(size_of::<u32>())];
        let (mut keys, mut values) = (vec![0; capacity * key_size], vec![0; capacity * value_size]);
        let (mut first, mut interruptions) = (true, 0);
        let mut left = self.most_steps();
        while left > 0 {
            let count = capacity as u32;
            match self.map.lookup_batch(first, &mut token, &mut keys, &mut values, count) {
                Ok(step) => {
                    first = false;
                    left = left.saturating_sub(u64::from(step.count).max(1));
                    let filled = step.count as usize;
                    if visit(&keys, &values, filled).is_break() {
                        return Ok(Some(Walk::Stopped));
                    }
                    if step.end {
                        return Ok(Some(Walk::Complete));
                    }
                }
                Err(error) => match error.raw_os_error() {
                    // One hash bucket holds more than the buffer: the same step again with a larger one.
                    Some(libc::ENOSPC) if capacity < self.info.max_entries as usize => {
                        capacity *= 2;
                        keys.resize(capacity * key_size, 0);
                        values.resize(capacity * value_size, 0);
                    }
                    Some(libc::EINTR | libc::EAGAIN) if interruptions < MAX_INTERRUPTIONS => {
                        interruptions += 1
                    }
                    Some(libc::EINTR | libc::EAGAIN) => return Ok(None),
                    Some(ENOTSUPP | libc::EINVAL | libc::EOPNOTSUPP) if first => return Ok(None),
                    _ => return Err(error),
                },
            }
        }
        Ok(Some(Walk::GaveUp))
    }

    /// A key that is deleted while we stand on it sends the kernel back to the first key, so the number of
    /// steps is bounded.
    fn walk_keys(&self, visit: &mut Visitor) -> io::Result<Walk> {
        let mut key = vec![0; self.info.key_size as usize];
        let mut next = key.clone();
        let mut value = vec![0; self.value_bytes];
        let mut more = self.map.next_key(None, &mut next)?;
        for _ in 0..self.most_steps() {
            if !more {
                return Ok(Walk::Complete);
            }
            std::mem::swap(&mut key, &mut next);
            // Gone between the two calls is no error.
            if self.map.lookup(&key, &mut value)? && visit(&key, &value).is_break() {
                return Ok(Walk::Stopped);
            }
            more = self.map.next_key(Some(&key), &mut next)?;
        }
        Ok(Walk::GaveUp)
    }

    /// Entries after which a walk has begun anew too often.
    fn most_steps(&self) -> u64 {
        4 * u64::from(self.info.max_entries) + 16
    }
}

fn visit_all(
    keys: &[u8],
    values: &[u8],
    key_size: usize,
    value_size: usize,
    count: usize,
    visit: &mut Visitor,
) -> ControlFlow<()> {
    keys.chunks_exact(key_size.max(1))
        .zip(values.chunks_exact(value_size.max(1)))
        .take(count)
        .try_for_each(|(key, value)| visit(key, value))
}

fn value_bytes(info: &MapInfo) -> io::Result<usize> {
    let one = info.value_size as usize;
    if !MapType(info.map_type).is_per_cpu() {
        return Ok(one);
    }
    let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
    Ok(one.next_multiple_of(8) * cpus)
}
