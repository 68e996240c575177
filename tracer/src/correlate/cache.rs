//! A small cache of names that are dear to make and few in number.

use std::sync::Arc;

/// Direct-mapped: one name per slot, the newer one wins. Unknown names are asked for again each time.
#[derive(Debug)]
pub struct Cache<K> {
    slots: Box<[Slot<K>]>,
}

/// A key and its name.
type Slot<K> = Option<(K, Arc<str>)>;

const SLOTS: usize = 256;

impl<K: Copy + Eq + Into<u128>> Default for Cache<K> {
    fn default() -> Self {
        Self { slots: vec![None; SLOTS].into_boxed_slice() }
    }
}

impl<K: Copy + Eq + Into<u128>> Cache<K> {
    pub fn get_or(&mut self, key: K, make: impl FnOnce() -> Option<Arc<str>>) -> Option<Arc<str>> {
        let slot = &mut self.slots[slot_of(key.into())];
        match slot {
            Some((known, name)) if *known == key => Some(Arc::clone(name)),
            _ => {
                let name = make()?;
                *slot = Some((key, Arc::clone(&name)));
                Some(name)
            }
        }
    }
}

/// Multiplicative hash: the upper bits of a product depend on all bits of both halves.
fn slot_of(key: u128) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let folded = (key as u64) ^ ((key >> 64) as u64).rotate_left(32);
    (folded.wrapping_mul(ODD) >> 56) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_made_once_and_unknown_ones_are_asked_again() {
        let mut cache = Cache::<u64>::default();
        assert_eq!(cache.get_or(1, || None), None);
        assert_eq!(cache.get_or(1, || Some("a".into())).as_deref(), Some("a"));
        assert_eq!(cache.get_or(1, || unreachable!()).as_deref(), Some("a"));
    }

    #[test]
    fn keys_in_one_slot_never_answer_for_each_other() {
        let mut cache = Cache::<u64>::default();
        for key in 0..10_000u64 {
            let name = cache.get_or(key, || Some(key.to_string().into()));
            assert_eq!(name.as_deref(), Some(&*key.to_string()));
        }
    }
}
