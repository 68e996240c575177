//! What source NAT entries add up to: which ports a destination uses up and how likely the next search for one
//! fails, and which halves of translations stand alone. Pure: entries come from the caller, no map is read.

pub mod orphans;
pub mod ports;
pub mod search;

/// Ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    /// `None` if there would be no port in it.
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    pub const fn size(self) -> u32 {
        self.last as u32 - self.first as u32 + 1
    }
}
