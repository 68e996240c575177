//! Who has the most entries, in bounded memory: exact as long as the groups fit, after that with an error
//! that is known (the sketch of Misra and Gries: when a group more does not fit, every group gives one entry).

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Groups that are kept.
const GROUPS: usize = 65_536;

#[derive(Debug)]
pub struct Owners<K> {
    groups: HashMap<K, u64>,
    capacity: usize,
    total: u64,
    /// What any group may be short of.
    error: u64,
}

impl<K> Default for Owners<K> {
    fn default() -> Self {
        Self { groups: HashMap::new(), capacity: GROUPS, total: 0, error: 0 }
    }
}

impl<K: Eq + Hash + Ord + Clone> Owners<K> {
    /// Adds an entry to its group. Allocates for new groups only.
    pub fn add<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    {
        self.total += 1;
        if let Some(entries) = self.groups.get_mut(key) {
            *entries += 1;
        } else if self.groups.len() < self.capacity {
            self.groups.insert(key.to_owned(), 1);
        } else {
            self.error += 1;
            self.groups.retain(|_, entries| {
                *entries -= 1;
                *entries > 0
            });
        }
    }

    /// Entries that were added.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// At most that many entries of a group are missing in its number; 0: all numbers are exact.
    pub fn error(&self) -> u64 {
        self.error
    }

    /// The largest groups first.
    pub fn largest(&self, count: usize) -> Vec<(K, u64)> {
        let mut groups: Vec<(&K, u64)> = self.groups.iter().map(|(key, entries)| (key, *entries)).collect();
        groups.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        groups.into_iter().take(count).map(|(key, entries)| (key.clone(), entries)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_groups_are_counted_exactly() {
        let mut owners = Owners::default();
        for key in ["a", "b", "a", "c", "a", "b"] {
            owners.add(&key);
        }
        assert_eq!(owners.largest(2), [("a", 3), ("b", 2)]);
        assert_eq!((owners.total(), owners.error()), (6, 0));
    }

    #[test]
    fn a_large_group_is_found_among_many_small_ones_and_the_error_is_told() {
        let mut owners = Owners { capacity: 10, ..Owners::default() };
        for n in 0..1000u32 {
            owners.add(&0);
            owners.add(&(n + 1));
        }
        let largest = owners.largest(1)[0];
        assert_eq!(largest.0, 0);
        assert!(largest.1 <= 1000 && largest.1 + owners.error() >= 1000, "{largest:?} {}", owners.error());
        assert!(owners.error() > 0 && owners.groups.len() <= 10);
    }
}
