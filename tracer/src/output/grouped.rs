//! Events put together by what they have in common. Memory is bounded: events of groups beyond the limit are counted
//! together.

use std::collections::HashMap;

use super::groups::GroupKey;
use super::printer::Node;
use crate::model::flow::Flow;
use crate::model::time::WallTime;

/// Groups that are told apart; a flood with random ports must not fill the memory.
pub(super) const MAX_GROUPS: usize = 4096;

/// How many, and when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub total: u64,
    /// Since the last report.
    pub recent: u64,
    pub first: WallTime,
    pub last: WallTime,
}

impl Count {
    pub fn add(&mut self, time: WallTime) {
        if self.total == 0 {
            self.first = time;
        }
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        self.total += 1;
        self.recent += 1;
    }
}

/// One `T` for each group.
#[derive(Clone, Debug)]
pub struct Grouped<T> {
    keys: Vec<GroupKey>,
    /// By values. They come from packets, so the hash is the one that withstands chosen keys.
    groups: HashMap<Box<[u8]>, T>,
    /// Of groups that were too many.
    other: T,
    scratch: Vec<u8>,
}

impl<T: Default> Grouped<T> {
    pub fn new(keys: &[GroupKey]) -> Self {
        Self { keys: keys.to_vec(), groups: HashMap::new(), other: T::default(), scratch: Vec::new() }
    }

    pub fn keys(&self) -> &[GroupKey] {
        &self.keys
    }

    /// Calls `add` with what the event's group has so far. Allocates for the first event of a group, not for the
    /// following ones.
    pub fn add(&mut self, flow: &Flow, node: &Node, add: impl FnOnce(&mut T)) {
        self.scratch.clear();
        for key in &self.keys {
            key.values(&mut self.scratch, flow, node);
        }
        if let Some(group) = self.groups.get_mut(&*self.scratch) {
            return add(group);
        }
        if self.groups.len() >= MAX_GROUPS {
            return add(&mut self.other);
        }
        add(self.groups.entry(self.scratch.as_slice().into()).or_default());
    }

    /// Groups by their values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.groups.iter().map(|(values, group)| (&**values, group))
    }

    pub fn get(&self, values: &[u8]) -> Option<&T> {
        self.groups.get(values)
    }

    /// All groups beyond the limit.
    pub fn other(&self) -> &T {
        &self.other
    }

    /// Every group, those beyond the limit as one.
    pub fn each(&mut self, act: impl FnMut(&mut T)) {
        self.groups.values_mut().chain([&mut self.other]).for_each(act);
    }

    pub fn clear(&mut self) {
        self.groups.clear();
        self.other = T::default();
    }
}
