//! Reading the ring buffer.

use std::os::fd::AsRawFd;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};

/// The consumer's end of the ring buffer. There is one.
pub struct Ring(RingBuf<MapData>);

impl Ring {
    pub(super) const fn new(inner: RingBuf<MapData>) -> Self {
        Self(inner)
    }

    /// Hands every record that is there to `take`, until `limit` records; returns how many. A record is only
    /// lent: its place in the ring is free again when `take` returns.
    pub fn drain(&mut self, limit: usize, mut take: impl FnMut(&[u8])) -> usize {
        let mut taken = 0;
        while taken < limit {
            let Some(record) = self.0.next() else { break };
            take(&record);
            taken += 1;
        }
        taken
    }
}

impl AsFd for Ring {
    /// Readable while records wait.
    fn as_fd(&self) -> BorrowedFd<'_> {
        crate::kernel::borrow_fd(&self.0, self.0.as_raw_fd())
    }
}
