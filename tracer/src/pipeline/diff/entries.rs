//! All entries of the earlier map, by key.

use std::io;
use std::ops::ControlFlow;

use crate::cilium::maps::MapRead;

/// Entries one after the other, and which of them the later map has too.
pub struct Sorted {
    entries: Vec<u8>,
    key_bytes: usize,
    entry_bytes: usize,
    /// Numbers of entries, sorted by key.
    order: Vec<u32>,
    /// In that order.
    taken: Vec<bool>,
}

impl Sorted {
    pub fn load(map: &dyn MapRead) -> io::Result<Self> {
        let key_bytes = map.info().key_size as usize;
        let entry_bytes = key_bytes + map.value_bytes();
        let mut entries = Vec::new();
        map.for_each(&mut |key, value| {
            entries.extend_from_slice(key);
            entries.extend_from_slice(value);
            ControlFlow::Continue(())
        })?;
        let count = u32::try_from(entries.len().checked_div(entry_bytes).unwrap_or(0));
        let mut order: Vec<u32> = (0..count.map_err(io::Error::other)?).collect();
        let key = |number: &u32| &entries[*number as usize * entry_bytes..][..key_bytes];
        order.sort_by(|a, b| key(a).cmp(key(b)));
        // A walk key by key may have shown an entry twice; the later one stands.
        order.dedup_by(|later, earlier| {
            let is_same = key(later) == key(earlier);
            if is_same {
                *earlier = *later;
            }
            is_same
        });
        let taken = vec![false; order.len()];
        Ok(Self { entries, key_bytes, entry_bytes, order, taken })
    }

    pub fn len(&self) -> u64 {
        self.order.len() as u64
    }

    fn entry(&self, number: u32) -> (&[u8], &[u8]) {
        self.entries[number as usize * self.entry_bytes..][..self.entry_bytes].split_at(self.key_bytes)
    }

    /// The value of a key, which is then not among those that are left.
    pub fn take(&mut self, key: &[u8]) -> Option<&[u8]> {
        let at = self.order.binary_search_by(|number| self.entry(*number).0.cmp(key)).ok()?;
        self.taken[at] = true;
        Some(self.entry(self.order[at]).1)
    }

    /// Keys and values that nobody took.
    pub fn left(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let numbers = self.order.iter().zip(&self.taken).filter(|(_, taken)| !**taken);
        numbers.map(|(number, _)| self.entry(*number))
    }
}
