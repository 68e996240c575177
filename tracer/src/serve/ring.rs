//! The last flows, encoded. One thread writes, any number of clients read; each entry has a number of its own, by
//! which a client finds its place and sees what it missed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::model::flow::Flow;
use crate::model::time::WallTime;

/// An entry of the ring.
#[derive(Clone, Debug)]
pub struct Entry {
    pub number: u64,
    pub time: WallTime,
    /// `None`: the entry tells of lost events.
    pub flow: Option<Flow>,
    /// The `GetFlowsResponse` of it.
    pub encoded: Bytes,
}

/// What is at a place of the ring.
#[derive(Clone, Debug)]
pub enum Slot {
    Entry(Arc<Entry>),
    /// Overwritten by a later one.
    Gone,
    NotYet,
}

/// A bounded ring. A lock is held for one entry only, so that no reader stands in the writer's way.
#[derive(Debug)]
pub struct FlowRing {
    slots: Box<[Mutex<Option<Arc<Entry>>>]>,
    /// Number of the next entry.
    next: AtomicU64,
    /// Flows ever written.
    flows: AtomicU64,
    /// Flows that are kept.
    kept: AtomicU64,
    closed: AtomicBool,
    news: watch::Sender<()>,
}

impl FlowRing {
    pub fn new(capacity: usize) -> Self {
        Self {
            slots: (0..capacity.max(1)).map(|_| Mutex::new(None)).collect(),
            next: AtomicU64::new(0),
            flows: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            news: watch::Sender::new(()),
        }
    }

    pub fn capacity(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Number of the entry that will come next.
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Number of the oldest entry that may be there still.
    pub fn oldest(&self) -> u64 {
        self.next().saturating_sub(self.capacity())
    }

    /// Flows ever written.
    pub fn seen(&self) -> u64 {
        self.flows.load(Ordering::Relaxed)
    }

    /// Flows that are kept.
    pub fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// Adds an entry. To be called from one thread only; clients see it at once, and are woken by
    /// [`Self::announce`].
    pub fn push(&self, time: WallTime, flow: Option<Flow>, encoded: Bytes) {
        let number = self.next.load(Ordering::Relaxed);
        let is_flow = flow.is_some();
        let entry = Arc::new(Entry { number, time, flow, encoded });
        let old = self.slot(number).replace(entry);
        self.next.store(number + 1, Ordering::Release);
        let was_flow = old.is_some_and(|old| old.flow.is_some());
        self.flows.fetch_add(is_flow.into(), Ordering::Relaxed);
        match (was_flow, is_flow) {
            (false, true) => self.kept.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.kept.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
    }

    /// Wakes those who wait for news.
    pub fn announce(&self) {
        self.news.send_replace(());
    }

    /// Says that no entry will come any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.announce();
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Tells when entries have come or the ring was closed.
    pub fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    pub fn get(&self, number: u64) -> Slot {
        if number >= self.next() {
            return Slot::NotYet;
        }
        match &*self.slot(number) {
            Some(entry) if entry.number == number => Slot::Entry(Arc::clone(entry)),
            _ => Slot::Gone,
        }
    }

    /// Everything that is kept, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = Arc<Entry>> {
        let (oldest, next) = (self.oldest(), self.next());
        (oldest..next).rev().map_while(|number| match self.get(number) {
            Slot::Entry(entry) => Some(entry),
            Slot::Gone | Slot::NotYet => None,
        })
    }

    fn slot(&self, number: u64) -> MutexGuard<'_, Option<Arc<Entry>>> {
        let at = (number % self.capacity()) as usize;
        // Nothing can panic while the lock is held, and a whole entry is always valid.
        self.slots[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &FlowRing, count: i64) {
        (0..count).for_each(|time| ring.push(WallTime(time), None, Bytes::new()));
    }

    #[test]
    fn the_last_entries_are_kept_and_older_ones_are_gone() {
        let ring = FlowRing::new(4);
        push(&ring, 6);
        assert_eq!((ring.oldest(), ring.next()), (2, 6));
        assert!(matches!(ring.get(1), Slot::Gone));
        assert!(matches!(ring.get(2), Slot::Entry(entry) if entry.number == 2 && entry.time == WallTime(2)));
        assert!(matches!(ring.get(6), Slot::NotYet));
        let numbers: Vec<u64> = ring.newest_first().map(|entry| entry.number).collect();
        assert_eq!(numbers, [5, 4, 3, 2]);
    }

    #[test]
    fn reports_of_losses_are_no_flows() {
        let ring = FlowRing::new(4);
        push(&ring, 3);
        assert_eq!((ring.seen(), ring.kept()), (0, 0));
    }

    #[test]
    fn news_wake_and_a_closed_ring_says_so() {
        let ring = FlowRing::new(4);
        let news = ring.news();
        assert!(!news.has_changed().unwrap());
        push(&ring, 1);
        ring.announce();
        assert!(news.has_changed().unwrap());
        assert!(!ring.is_closed());
        ring.close();
        assert!(ring.is_closed());
    }
}
