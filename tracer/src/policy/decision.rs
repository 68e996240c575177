//! What was asked, and what came out.

use tracer_common::id::Identity;

use super::rule::Step;
use crate::model::policy::{Direction, Entry};
use crate::model::reason::DropReason;

/// The drop reasons of a policy decision.
pub mod reason {
    use crate::model::reason::DropReason;

    pub const INVALID_SOURCE: DropReason = DropReason(132);
    pub const NO_ENTRY: DropReason = DropReason(133);
    pub const FRAGMENT: DropReason = DropReason(157);
    pub const ENCAPSULATION: DropReason = DropReason(170);
    pub const FIRST_FRAGMENT_UNKNOWN: DropReason = DropReason(175);
    pub const DENY: DropReason = DropReason(181);
    pub const AUTH_REQUIRED: DropReason = DropReason(189);
    pub const NO_NODE_ID: DropReason = DropReason(197);
    pub const HOST_NOT_READY: DropReason = DropReason(202);
    pub const ENDPOINT_NOT_READY: DropReason = DropReason(203);
}

/// One look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    pub direction: Direction,
    /// Of the other end.
    pub identity: Identity,
    pub protocol: u8,
    /// Destination port of the packet that asks; for ICMP the type.
    pub port: u16,
    /// An IPv4 fragment whose ports nobody knows: looked up with port 0.
    pub fragment: bool,
    /// The packet carries the mark that lets it pass where no entry matches (up to 1.17).
    pub skip_mark: bool,
    /// What the authentication map says of both ends, should the winner want to know.
    pub auth: Auth,
}

impl Query {
    /// An ordinary packet.
    pub const fn new(direction: Direction, identity: Identity, protocol: u8, port: u16) -> Self {
        Self { direction, identity, protocol, port, fragment: false, skip_mark: false, auth: Auth::Unknown }
    }

    /// The port that is looked up.
    pub const fn look_up_port(&self) -> u16 {
        if self.fragment { 0 } else { self.port }
    }
}

/// The state of the authentication that a decision asks for ([`Decision::auth_type`] names the kind).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Auth {
    /// Not looked up.
    #[default]
    Unknown,
    /// There is an entry that has not expired.
    Valid,
    /// No entry, or an expired one.
    Missing,
    /// The other end's node has no id here, so there is no key to look up.
    NoNodeId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Allowed,
    Denied,
    /// Allowed, by way of a proxy.
    Redirected,
    /// Something that decides is not known; a step says what.
    Unknown,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Redirected => "redirected",
            Self::Unknown => "unknown",
        }
    }
}

/// What kind of entry won; the numbers are those of policy verdict messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MatchType {
    #[default]
    None = 0,
    L3Only = 1,
    L3L4 = 2,
    L4Only = 3,
    All = 4,
    L3Proto = 5,
    ProtoOnly = 6,
}

impl MatchType {
    /// As Hubble and the monitor write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::L3Only => "L3-Only",
            Self::L3L4 => "L3-L4",
            Self::L4Only => "L4-Only",
            Self::All => "all",
            Self::L3Proto => "L3-Proto",
            Self::ProtoOnly => "Proto-Only",
        }
    }
}

/// What the datapath does with the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub verdict: Verdict,
    /// Set when denied, and when only audit mode lets the packet pass.
    pub reason: Option<DropReason>,
    pub match_type: MatchType,
    pub winner: Option<Entry>,
    /// The other entry that matched and was looked at.
    pub other: Option<Entry>,
    /// Port of the proxy when redirected; 0 also when connection tracking redirects and the port is not known.
    pub proxy_port: u16,
    /// The authentication that the winner wants, its own or inherited; 0 none.
    pub auth_type: u8,
    /// Policy would deny, audit mode lets it pass.
    pub audited: bool,
    /// Of the winner (1.19 and newer), as verdict messages carry it.
    pub cookie: u32,
    /// In the order in which they were taken; empty unless asked for.
    pub steps: Vec<Step>,
}

impl Decision {
    pub(super) const fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            reason: None,
            match_type: MatchType::None,
            winner: None,
            other: None,
            proxy_port: 0,
            auth_type: 0,
            audited: false,
            cookie: 0,
            steps: Vec::new(),
        }
    }

    pub(super) fn denied(reason: DropReason) -> Self {
        Self { reason: Some(reason), ..Self::new(Verdict::Denied) }
    }

    /// The packet goes on, directly or through a proxy.
    pub fn is_allowed(&self) -> bool {
        matches!(self.verdict, Verdict::Allowed | Verdict::Redirected)
    }
}
