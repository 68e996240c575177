//! The places where a drop is seen, and which of them are on.

use std::fmt;

/// A place where drops are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tap {
    /// Packets being freed, with Cilium's note in them.
    Free,
    /// Notifications of Cilium's tc programs.
    Message,
    /// Notifications of Cilium's XDP programs.
    XdpMessage,
}

impl Tap {
    pub const ALL: [Self; 3] = [Self::Free, Self::Message, Self::XdpMessage];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Message => "message",
            Self::XdpMessage => "xdp_message",
        }
    }

    /// Index in the programs' counters ([`tracer_common::event::tap`]).
    pub const fn index(self) -> u32 {
        match self {
            Self::Free => tracer_common::event::tap::FREE,
            Self::Message => tracer_common::event::tap::MESSAGE,
            Self::XdpMessage => tracer_common::event::tap::XDP_MESSAGE,
        }
    }
}

/// How a tap is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    TpBtf,
    RawTracepoint,
    Fentry,
    Kprobe,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TpBtf => "tp_btf kfree_skb",
            Self::RawTracepoint => "raw_tp kfree_skb",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
        })
    }
}

/// Whether a tap is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapState {
    On(Hook),
    /// And why.
    Off(String),
}

/// Which message tap to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageTap {
    /// fentry, else kprobe, else none.
    #[default]
    Auto,
    Fentry,
    Kprobe,
    /// None: Cilium's words come from the notes alone.
    Off,
}

/// Every tap and its state, in the order of [`Tap::ALL`].
#[derive(Clone, Debug)]
pub struct Taps(pub [TapState; 3]);

impl Taps {
    pub fn state(&self, tap: Tap) -> &TapState {
        &self.0[tap.index() as usize]
    }

    pub fn is_on(&self, tap: Tap) -> bool {
        matches!(self.state(tap), TapState::On(_))
    }
}
