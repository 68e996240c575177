//! What runs around the look-up: rules that decide before the map is asked, what is looked up, and what becomes
//! of the answer.

use tracer_common::id::Identity;

use super::choose::Trail;
use super::decision::{Auth, Decision, Query, Verdict, reason};
use super::evaluate::by_trail;
use super::rule::Rule;
use super::table::Table;
use crate::model::policy::{Direction, Order};
use crate::model::reason::DropReason;

const ICMP: u8 = 1;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// Destination unreachable, fragmentation needed.
const FRAGMENTATION_NEEDED: (u8, u8) = (3, 4);

/// Whose programs handle the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Place {
    #[default]
    Endpoint,
    /// The host firewall.
    Host {
        /// The end on this side has the host's identity; nothing else is asked about.
        is_host: bool,
        /// It has so by its address only: a pod's packet behind the host's address.
        is_masqueraded: bool,
    },
}

/// What connection tracking says of the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Connection {
    #[default]
    New,
    Established,
    Reply,
    Related,
}

/// Of IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fragment {
    #[default]
    None,
    First,
    /// Without a transport header.
    Later {
        first_was_seen: bool,
    },
}

/// The packet and its circumstances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub place: Place,
    pub direction: Direction,
    /// Of the other end, see [`remote`].
    pub identity: Identity,
    pub protocol: u8,
    /// Destination port, after service translation; 0 where the protocol has none.
    pub port: u16,
    /// Type and code.
    pub icmp: Option<(u8, u8)>,
    pub fragment: Fragment,
    pub connection: Connection,
    /// The connection's entry says that a proxy has it.
    pub is_proxy_connection: bool,
    /// An endpoint that reaches itself by a service.
    pub is_loopback: bool,
    /// Port of the proxy that serves the service which was chosen.
    pub l7_service: Option<u16>,
    /// Comes from the ingress proxy, which has asked already.
    pub is_from_proxy: bool,
    /// The sender's address is not the endpoint's.
    pub is_foreign_source: bool,
    /// The program that would ask is not loaded.
    pub is_program_missing: bool,
    pub skip_mark: bool,
    pub auth: Auth,
}

impl Facts {
    /// The first packet of an ordinary connection from or to an endpoint.
    pub const fn new(direction: Direction, identity: Identity, protocol: u8, port: u16) -> Self {
        Self {
            place: Place::Endpoint,
            direction,
            identity,
            protocol,
            port,
            icmp: None,
            fragment: Fragment::None,
            connection: Connection::New,
            is_proxy_connection: false,
            is_loopback: false,
            l7_service: None,
            is_from_proxy: false,
            is_foreign_source: false,
            is_program_missing: false,
            skip_mark: false,
            auth: Auth::Unknown,
        }
    }

    /// The look-up that the datapath makes if it gets so far.
    pub fn query(&self, settings: &Settings) -> Query {
        let port = match self.icmp {
            Some((icmp_type, _)) if settings.icmp_rules && self.is_icmp() => icmp_type.into(),
            _ => self.port,
        };
        Query {
            direction: self.direction,
            identity: self.identity,
            protocol: self.protocol,
            port,
            fragment: self.is_untracked_fragment(settings),
            skip_mark: self.skip_mark,
            auth: match self.auth {
                // The map of authentications is not asked where everything passes.
                Auth::Unknown if settings.audit => Auth::Missing,
                auth => auth,
            },
        }
    }

    fn is_icmp(&self) -> bool {
        matches!(self.protocol, ICMP | ICMPV6)
    }

    fn is_untracked_fragment(&self, settings: &Settings) -> bool {
        self.fragment != Fragment::None && !settings.fragment_tracking
    }
}

/// The agent's settings that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The ICMP type is looked up as port.
    pub icmp_rules: bool,
    /// ICMPv4 "fragmentation needed" passes.
    pub fragmentation_needed: bool,
    pub fragment_tracking: bool,
    /// Endpoints send from their own addresses only.
    pub source_check: bool,
    /// Set in tunnel mode.
    pub tunnel_port: Option<u16>,
    /// Of the agent or of the endpoint.
    pub audit: bool,
}

impl Default for Settings {
    /// Cilium's defaults, without a tunnel.
    fn default() -> Self {
        Self {
            icmp_rules: true,
            fragmentation_needed: true,
            fragment_tracking: true,
            source_check: true,
            tunnel_port: None,
            audit: false,
        }
    }
}

/// The identity that is looked up, from what the ipcache has for the address: `None` or 0 where it has nothing.
/// The host firewall of releases up to 1.16 leaves 0 there on the way out; what newer ones do is not known, and
/// they are taken to do as everywhere else.
pub fn remote(
    (place, direction): (Place, Direction),
    order: Order,
    found: Option<Identity>,
    world: Identity,
) -> Identity {
    match found {
        Some(identity) if identity != Identity(0) => identity,
        _ => match (place, direction, order) {
            (Place::Host { .. }, Direction::Egress, Order::FirstMatch) => Identity(0),
            _ => world,
        },
    }
}

/// The whole decision about a packet in one direction, with its steps.
pub fn judge(table: &Table, facts: &Facts, settings: &Settings) -> Decision {
    let mut steps = Vec::new();
    let decision = pass(table, facts, settings, &mut steps);
    Decision { steps, ..decision }
}

/// The same decision without steps: nothing is allocated.
pub fn judge_quickly(table: &Table, facts: &Facts, settings: &Settings) -> Decision {
    pass(table, facts, settings, &mut ())
}

fn pass(table: &Table, facts: &Facts, settings: &Settings, trail: &mut impl Trail) -> Decision {
    before(facts, settings, trail)
        .or_else(|| connection(facts, trail))
        .or_else(|| fixed(facts, settings, trail))
        .unwrap_or_else(|| asked(table, facts, settings, trail))
}

fn allowed(rule: Rule, trail: &mut impl Trail) -> Option<Decision> {
    trail.step(rule, None);
    Some(Decision::new(Verdict::Allowed))
}

fn denied(rule: Rule, reason: DropReason, trail: &mut impl Trail) -> Option<Decision> {
    trail.step(rule, None);
    Some(Decision::denied(reason))
}

fn redirected(rule: Rule, proxy_port: u16, trail: &mut impl Trail) -> Option<Decision> {
    trail.step(rule, None);
    Some(Decision { proxy_port, ..Decision::new(Verdict::Redirected) })
}

/// What settles a packet before its connection is looked up.
fn before(facts: &Facts, settings: &Settings, trail: &mut impl Trail) -> Option<Decision> {
    let is_host = matches!(facts.place, Place::Host { .. });
    if facts.is_program_missing {
        let reason = if is_host { reason::HOST_NOT_READY } else { reason::ENDPOINT_NOT_READY };
        return denied(Rule::ProgramMissing, reason, trail);
    }
    match facts.place {
        Place::Host { is_host: false, .. } => return allowed(Rule::NotHost, trail),
        Place::Host { is_masqueraded: true, .. } => return allowed(Rule::Masqueraded, trail),
        _ => {}
    }
    let leaves_endpoint = !is_host && facts.direction == Direction::Egress;
    if leaves_endpoint && facts.is_foreign_source && settings.source_check {
        return denied(Rule::ForeignSource, reason::INVALID_SOURCE, trail);
    }
    if leaves_endpoint && facts.is_untracked_fragment(settings) {
        return denied(Rule::FragmentSent, reason::FRAGMENT, trail);
    }
    let is_lost = facts.fragment == Fragment::Later { first_was_seen: false };
    if is_lost && settings.fragment_tracking {
        return denied(Rule::FirstFragmentUnknown, reason::FIRST_FRAGMENT_UNKNOWN, trail);
    }
    None
}

/// Where connection tracking, or what chose the way, makes the question of policy superfluous.
fn connection(facts: &Facts, trail: &mut impl Trail) -> Option<Decision> {
    let known = match facts.connection {
        Connection::Reply => Some(Rule::Reply),
        Connection::Related => Some(Rule::Related),
        Connection::New | Connection::Established => None,
    };
    match (known, facts.direction) {
        (Some(rule), _) if facts.is_proxy_connection => {
            trail.step(rule, None);
            redirected(Rule::ProxyConnection, 0, trail)
        }
        (Some(rule), _) => allowed(rule, trail),
        (None, Direction::Ingress) if facts.is_loopback => allowed(Rule::Loopback, trail),
        (None, Direction::Ingress) if facts.is_from_proxy => allowed(Rule::FromProxy, trail),
        (None, Direction::Egress) if facts.l7_service.is_some() => {
            redirected(Rule::L7Service, facts.l7_service.unwrap_or_default(), trail)
        }
        (None, _) => {
            if facts.connection == Connection::Established {
                trail.step(Rule::Established, None);
            }
            None
        }
    }
}

/// Rules of the policy check itself that no entry can change.
fn fixed(facts: &Facts, settings: &Settings, trail: &mut impl Trail) -> Option<Decision> {
    let from_endpoint = facts.place == Place::Endpoint && facts.direction == Direction::Egress;
    if from_endpoint && facts.protocol == UDP && settings.tunnel_port == Some(facts.port) {
        return denied(Rule::Encapsulation, reason::ENCAPSULATION, trail);
    }
    let is_needed = facts.protocol == ICMP && facts.icmp == Some(FRAGMENTATION_NEEDED);
    if is_needed && settings.fragmentation_needed {
        return allowed(Rule::FragmentationNeeded, trail);
    }
    None
}

fn asked(table: &Table, facts: &Facts, settings: &Settings, trail: &mut impl Trail) -> Decision {
    let query = facts.query(settings);
    if query.fragment {
        trail.step(Rule::FragmentPort, None);
    } else if facts.is_icmp() && facts.icmp.is_some() && settings.icmp_rules {
        trail.step(Rule::IcmpType, None);
    }
    let decision = by_trail(table, &query, trail);
    if settings.audit && decision.verdict == Verdict::Denied {
        trail.step(Rule::Audited, decision.winner.as_ref());
        return Decision { verdict: Verdict::Allowed, audited: true, proxy_port: 0, ..decision };
    }
    decision
}
