//! The answer of `tracer why`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tracer_common::id::{EndpointId, Identity, MapId};

use super::suggest::Suggestion;
use crate::cilium::ipcache::IpcacheEntry;
use crate::model::endpoint::{IdentitySource, Labels, LocalEndpoint};
use crate::model::policy::{Direction, Entry, Key};
use crate::model::reason::DropReason;
use crate::policy::decision::{Decision, Verdict};

/// Where an end is, seen from this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An endpoint of this node with a device of its own.
    Here,
    /// This node itself.
    Host,
    /// Behind another node; its address where the maps tell.
    OtherNode(Option<IpAddr>),
    Outside,
    /// Only an identity is known.
    Nowhere,
}

/// One end.
#[derive(Clone, Debug, PartialEq)]
pub struct Party {
    /// As it was named.
    pub typed: String,
    pub address: Option<IpAddr>,
    pub port: Option<u16>,
    pub place: Place,
    /// What the datapath takes it for when it is the other end.
    pub identity: Identity,
    pub identity_source: IdentitySource,
    pub labels: Option<Arc<Labels>>,
    /// Whose policy is asked for this end.
    pub endpoint: Option<Arc<LocalEndpoint>>,
    /// Entries of the ipcache that cover the address, the longest prefix first.
    pub chain: Vec<IpcacheEntry>,
    pub dns_names: Vec<Arc<str>>,
}

/// A service that the destination belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub frontend: SocketAddr,
    /// IP protocol of the entry; 0: any.
    pub protocol: u8,
    pub id: u16,
    pub kind: &'static str,
    pub active: u16,
    pub quarantined: u16,
    /// The frontend of the wildcard address stood in for that of the node.
    pub surrogate: bool,
    /// The scope of the entries: the frontend has another set of backends for clients of the cluster.
    pub internal: bool,
    /// The proxy that balances instead.
    pub proxy_port: Option<u16>,
    /// Why the packet ends here.
    pub refused: Option<(DropReason, String)>,
    /// The only backend that counts, because the client is bound to it, and by what.
    pub bound: Option<(u32, &'static str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    pub id: u32,
    pub address: SocketAddr,
    pub state: &'static str,
}

/// What connection tracking says about a packet on one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connection {
    /// Not looked up: a port or an address is missing.
    #[default]
    NotAsked,
    New,
    Established,
    Reply,
}

impl Connection {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::New => "new",
            Self::Established => "established",
            Self::Reply => "reply",
        }
    }
}

/// Connection tracking on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracked {
    pub egress: Connection,
    pub ingress: Connection,
    /// An entry that was found redirects to a proxy.
    pub through_proxy: bool,
    /// The time of an entry that was found is over; it counts all the same while it is there.
    pub expired: bool,
    /// Without a source port: entries of connections to this port, and of connections that the destination
    /// began.
    pub forward: u64,
    pub backward: u64,
}

/// One policy: of the source for egress, of the destination for ingress.
#[derive(Clone, Debug, PartialEq)]
pub enum Side {
    /// Why nobody on this node decides this.
    NotHere(String),
    Asked(Box<Asked>),
}

impl Side {
    pub fn asked(&self) -> Option<&Asked> {
        match self {
            Self::Asked(asked) => Some(asked),
            Self::NotHere(_) => None,
        }
    }

    pub fn verdict(&self) -> Option<Verdict> {
        self.asked().map(|asked| asked.decision.verdict)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub direction: Direction,
    pub endpoint: EndpointId,
    /// Namespace and pod, or what else names the endpoint.
    pub name: String,
    /// Of the other end.
    pub identity: Identity,
    /// Labels of `identity`.
    pub labels: Option<Arc<Labels>>,
    pub map: Option<MapFacts>,
    pub decision: Decision,
    /// The narrowest entry that would allow it, when none matches.
    pub missing: Option<Key>,
    pub near: Vec<Near>,
}

/// The policy map that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFacts {
    pub name: String,
    pub id: MapId,
    pub entries: u64,
    pub max_entries: u32,
    /// The releases that write this layout.
    pub layout: &'static str,
}

/// Something that comes close to an explanation or a remedy.
#[derive(Clone, Debug, PartialEq)]
pub struct Near {
    /// A word for programs.
    pub kind: &'static str,
    pub text: String,
    pub entry: Option<Entry>,
    /// Labels of the other identity that the end lacks, and that the end has beyond it.
    pub lacking: Vec<String>,
    pub beyond: Vec<String>,
}

impl Near {
    pub fn new(kind: &'static str, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), entry: None, lacking: Vec::new(), beyond: Vec::new() }
    }
}

/// One way that the packet can take: directly, or to one backend of the service.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    pub backend: Option<Backend>,
    pub destination: Party,
    pub tracked: Tracked,
    pub egress: Side,
    pub ingress: Side,
    pub verdict: Verdict,
}

/// What an event says about its packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// RFC 3339.
    pub time: String,
    pub reason: Option<DropReason>,
    /// The event stands for a packet that the kernel dropped, not Cilium.
    pub by_kernel: bool,
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub verdict: Verdict,
    /// Set when denied.
    pub reason: Option<DropReason>,
    pub protocol: u8,
    /// For ICMP the type; `None`: the protocol has none.
    pub port: Option<u16>,
    pub source: Party,
    /// As named; what services make of it is in the paths.
    pub destination: Party,
    pub service: Option<Service>,
    /// One, or one for each backend; none if the packet ends at the service.
    pub paths: Vec<Path>,
    /// The path that `verdict` is about.
    pub decisive: usize,
    pub told: Option<Told>,
    pub suggestion: Option<Suggestion>,
    /// Findings about the node that bear on the answer.
    pub remarks: Vec<Near>,
    pub inferred: Vec<&'static str>,
    pub read: Evidence,
}

/// What the answer rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// RFC 3339, when the maps were read.
    pub at: String,
    /// From the first to the last map, in microseconds.
    pub took_us: u64,
    /// Since the event's time, in milliseconds.
    pub after_event_ms: Option<i64>,
    /// Where the maps are pinned, and the state files.
    pub maps: String,
    pub state: Option<String>,
    /// Seconds since the agent last gave a sign of life.
    pub agent_silent_s: Option<u64>,
}

impl Answer {
    pub fn path(&self) -> Option<&Path> {
        self.paths.get(self.decisive)
    }
}

/// The worse of two, as far as a packet is concerned.
pub fn worse(a: Verdict, b: Verdict) -> Verdict {
    let rank = |verdict| match verdict {
        Verdict::Allowed => 0,
        Verdict::Redirected => 1,
        Verdict::Unknown => 2,
        Verdict::Denied => 3,
    };
    if rank(b) > rank(a) { b } else { a }
}
