//! Counting, per tap and CPU.

use tracer_common::event::TapCounters;

use crate::maps::COUNTERS;

/// What a run may tell the program's log (`tracer -D`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Seen,
    /// Something of the packet or the skb could not be read.
    Unreadable,
    /// A notification on Cilium's events map of a type that was not asked for.
    OtherType,
}

/// This CPU's counters of one tap.
#[derive(Clone, Copy)]
pub struct Counters(*mut TapCounters);

macro_rules! count {
    ($counters:expr, $field:ident) => {
        // SAFETY: the pointer is to this CPU's value of a per-CPU array, which lives as long as the program.
        unsafe { (*$counters.as_ptr()).$field += 1 }
    };
}
pub(crate) use count;

impl Counters {
    #[inline(always)]
    pub fn of(tap: u32) -> Option<Self> {
        COUNTERS.get_ptr_mut(tap).map(Self)
    }

    #[inline(always)]
    pub fn as_ptr(self) -> *mut TapCounters {
        self.0
    }
}
