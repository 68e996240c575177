//! Keeps a walk from showing an entry twice. The kernel goes on behind a key that it is given; when that key was
//! deleted in the meantime, it begins anew.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

/// Bytes of the prefix length in front of a trie's key.
const LENGTH_BYTES: usize = 4;

#[derive(Debug)]
pub enum Progress {
    /// Entries come once, whatever happens meanwhile: slots of arrays, hash buckets as a whole.
    Sure,
    /// A trie is walked in an order of its keys. The key that was shown last; empty at first.
    Ordered(Vec<u8>),
    /// Fingerprints of the keys that were shown, where there is no order.
    Remembered(HashSet<u64>, RandomState),
}

impl Progress {
    pub fn ordered() -> Self {
        Self::Ordered(Vec::new())
    }

    pub fn remembered() -> Self {
        Self::Remembered(HashSet::new(), RandomState::new())
    }

    /// Whether the entry was not shown before; it counts as shown from now on.
    pub fn is_new(&mut self, key: &[u8]) -> bool {
        match self {
            Self::Sure => true,
            Self::Ordered(last) => {
                let is_new = last.is_empty() || trie_order(last, key) == Ordering::Less;
                if is_new {
                    last.clear();
                    last.extend_from_slice(key);
                }
                is_new
            }
            Self::Remembered(seen, hasher) => seen.insert(hasher.hash_one(key)),
        }
    }
}

/// The order in which `trie_get_next_key` (kernel/bpf/lpm_trie.c) visits keys: smaller bits first, and a prefix
/// after all that it covers. Keys are a prefix length, host order, and the bits.
fn trie_order(a: &[u8], b: &[u8]) -> Ordering {
    let ((a_length, a_bits), (b_length, b_bits)) = (split(a), split(b));
    let shorter = a_length.min(b_length);
    let differing = a_bits.iter().zip(b_bits).position(|(a, b)| a != b);
    let same = differing.map_or(u32::MAX, |at| at as u32 * 8 + (a_bits[at] ^ b_bits[at]).leading_zeros());
    if same < shorter { a_bits.cmp(b_bits) } else { b_length.cmp(&a_length) }
}

fn split(key: &[u8]) -> (u32, &[u8]) {
    match key.split_first_chunk::<LENGTH_BYTES>() {
        Some((length, bits)) => (u32::from_ne_bytes(*length), bits),
        None => (0, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(length: u32, bits: [u8; 4]) -> Vec<u8> {
        [length.to_ne_bytes(), bits].concat()
    }

    /// What the kernel's comment at `trie_get_next_key` draws as an example.
    #[test]
    fn covered_prefixes_come_before_those_that_cover_them() {
        let order = [
            key(24, [192, 168, 0, 0]),
            key(24, [192, 168, 128, 0]),
            key(23, [192, 168, 128, 0]),
            key(16, [192, 168, 0, 0]),
            key(0, [0; 4]),
        ];
        for (at, first) in order.iter().enumerate() {
            assert_eq!(trie_order(first, first), Ordering::Equal);
            for second in &order[at + 1..] {
                assert_eq!(trie_order(first, second), Ordering::Less, "{first:?} {second:?}");
                assert_eq!(trie_order(second, first), Ordering::Greater, "{first:?} {second:?}");
            }
        }
    }

    #[test]
    fn a_walk_that_begins_anew_shows_only_what_it_had_not_reached() {
        let keys = [key(32, [10, 0, 0, 1]), key(32, [10, 0, 0, 2]), key(24, [10, 0, 0, 0])];
        for mut progress in [Progress::ordered(), Progress::remembered()] {
            assert!(keys[..2].iter().all(|key| progress.is_new(key)));
            let again: Vec<bool> = keys.iter().map(|key| progress.is_new(key)).collect();
            assert_eq!(again, [false, false, true]);
        }
    }
}
