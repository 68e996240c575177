//! Why policy dropped one packet, in the few words that a stream of events has room for.

use std::sync::Arc;

use tracer_common::id::{EndpointId, Identity, MapId};

use crate::model::policy::{Direction, Entry, Key};
use crate::model::time::WallTime;
use crate::policy::decision::{MatchType, Verdict};

/// The policy that dropped a packet, asked again a moment later.
#[derive(Clone, Debug, PartialEq)]
pub struct Brief {
    /// What the policy says now; other than denied if it has changed since, or if something is not known.
    pub verdict: Verdict,
    pub direction: Direction,
    pub endpoint: EndpointId,
    /// Namespace and pod, or what else names the endpoint.
    pub name: Arc<str>,
    /// Of the other end.
    pub identity: Identity,
    pub protocol: u8,
    /// For ICMP the type.
    pub port: u16,
    pub match_type: MatchType,
    /// The entry that decides.
    pub entry: Option<Entry>,
    /// The narrowest entry that would let the packet pass.
    pub missing: Option<Key>,
    /// The entry of the map that comes closest.
    pub near: Option<Entry>,
    pub map: Option<MapRead>,
    /// Why nothing is known.
    pub unknown: Option<Arc<str>>,
}

/// Which map was asked, and when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRead {
    pub name: Arc<str>,
    pub id: MapId,
    pub at: WallTime,
}
