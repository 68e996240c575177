//! One observed event with everything known about it.

use std::sync::Arc;

use tracer_common::id::{EndpointId, IfIndex};

use super::endpoint::Peer;
use super::notice::{Notice, PolicyAction, PolicyVerdict, Trace};
use super::packet::Packet;
use super::reason::{DropReason, KernelDrop, SourcePlace};
use super::time::{BootTime, WallTime};

/// Types of Cilium's messages.
pub mod message_type {
    pub const DROP: u8 = 1;
    pub const TRACE: u8 = 4;
    pub const POLICY_VERDICT: u8 = 5;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Forwarded,
    Dropped,
    Error,
    Audit,
    Redirected,
    Traced,
    Translated,
}

impl Verdict {
    pub const ALL: [Self; 7] = [
        Self::Forwarded,
        Self::Dropped,
        Self::Error,
        Self::Audit,
        Self::Redirected,
        Self::Traced,
        Self::Translated,
    ];

    /// Hubble's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "FORWARDED",
            Self::Dropped => "DROPPED",
            Self::Error => "ERROR",
            Self::Audit => "AUDIT",
            Self::Redirected => "REDIRECTED",
            Self::Traced => "TRACED",
            Self::Translated => "TRANSLATED",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    #[default]
    Unknown,
    Ingress,
    Egress,
}

/// Which record the Cilium part of the event was read from; the best one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Cilium's own notification.
    Message,
    /// The note that Cilium's program left in `sk_buff.cb`.
    Note,
    /// The kernel only: Cilium said nothing about this packet.
    Kernel,
}

/// What was worked out rather than read: printed with the event, so that nobody takes it for a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Inferred {
    /// `traffic_direction` from addresses, not from the message.
    Direction,
    /// The source's identity was looked up after the fact (ipcache or endpoint map).
    SourceIdentity,
    /// The destination's identity was looked up after the fact.
    DestinationIdentity,
    /// The start of the packet was guessed: the message does not say whether the device has Ethernet headers.
    PacketStart,
    /// The drop reason comes from a note, which is not signed.
    NoteReason,
    /// The file name was chosen without knowing the exact release.
    FileName,
    /// Pod names come from a state file that disagrees with the maps.
    StaleNames,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    pub index: IfIndex,
    /// "" if unknown.
    pub name: Arc<str>,
}

/// What Cilium said about a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CiliumDrop {
    pub reason: DropReason,
    pub ext_error: i8,
    pub place: Option<SourcePlace>,
    /// Endpoint whose program dropped the packet; 0 for host, overlay and XDP programs, or unknown (notes).
    pub emitter: EndpointId,
    /// IP trace id, 0 for none.
    pub ip_trace_id: u64,
}

/// One observed packet: dropped, or told of by a [`Notice`].
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    pub time: WallTime,
    pub boot_time: BootTime,
    pub verdict: Verdict,
    pub source: Source,
    pub direction: Direction,
    /// Present when Cilium dropped the packet and said so.
    pub cilium: Option<CiliumDrop>,
    /// The message, if it is none about a drop; `cilium` and `kernel` are absent then.
    pub notice: Option<Notice>,
    /// Present when the free of the packet was seen.
    pub kernel: Option<KernelDrop>,
    pub packet: Packet,
    pub src: Peer,
    pub dst: Peer,
    /// The device of the packet at the time.
    pub interface: Option<Interface>,
    /// Inode number of the device's network namespace, 0 if unknown.
    pub netns: u32,
    pub mark: u32,
    pub cpu: u32,
    /// Address of the `sk_buff`.
    pub skb: u64,
    /// The packet's hash as the kernel or Cilium gave it.
    pub hash: u32,
    pub inferred: InferredSet,
    /// Drops of the same flow that were kept back before this one (`--rate-limit`).
    pub similar: u32,
    /// Captured bytes of the packet.
    pub bytes: bytes::Bytes,
}

impl Flow {
    /// Type and sub-type of Cilium's message of it; `None`: Cilium said nothing.
    pub fn event_type(&self) -> Option<(u8, u8)> {
        match &self.notice {
            Some(Notice::Trace(trace)) => Some((message_type::TRACE, trace.point.0)),
            Some(Notice::Verdict(_)) => Some((message_type::POLICY_VERDICT, 0)),
            None => self.cilium.map(|drop| (message_type::DROP, drop.reason.0)),
        }
    }

    pub fn trace(&self) -> Option<&Trace> {
        match &self.notice {
            Some(Notice::Trace(trace)) => Some(trace),
            _ => None,
        }
    }

    pub fn policy_verdict(&self) -> Option<&PolicyVerdict> {
        match &self.notice {
            Some(Notice::Verdict(verdict)) => Some(verdict),
            _ => None,
        }
    }

    /// Cilium's reason, of a drop or of a verdict that denies.
    pub fn drop_reason(&self) -> Option<DropReason> {
        match (&self.cilium, self.policy_verdict().map(|verdict| verdict.action)) {
            (Some(drop), _) => Some(drop.reason),
            (None, Some(PolicyAction::Denied(reason))) => Some(reason),
            _ => None,
        }
    }

    /// 0 for none.
    pub fn ip_trace_id(&self) -> u64 {
        let traced = self.trace().map_or(0, |trace| trace.ip_trace_id);
        self.cilium.map_or(traced, |drop| drop.ip_trace_id)
    }

    /// Whether the packet goes against the direction in which its connection was opened; `None`: not told.
    pub fn is_reply(&self) -> Option<bool> {
        match self.notice.as_ref()? {
            Notice::Trace(trace) => trace.reason.is_reply(),
            Notice::Verdict(verdict) => verdict.action.is_reply(),
        }
    }
}

/// A small set of [`Inferred`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InferredSet(u8);

impl InferredSet {
    pub const ALL: [Inferred; 7] = [
        Inferred::Direction,
        Inferred::SourceIdentity,
        Inferred::DestinationIdentity,
        Inferred::PacketStart,
        Inferred::NoteReason,
        Inferred::FileName,
        Inferred::StaleNames,
    ];

    pub fn insert(&mut self, what: Inferred) {
        self.0 |= 1 << what as u8;
    }

    pub fn contains(self, what: Inferred) -> bool {
        self.0 & (1 << what as u8) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Inferred> {
        Self::ALL.into_iter().filter(move |w| self.contains(*w))
    }
}
