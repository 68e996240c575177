//! `drops --why`: the policy behind each drop, at the speed of the stream. Policies are read once a second at most,
//! and only those that drop something; an answer is worked out once and used for every further packet that asks
//! the same, as long as its policy is not read again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracer_common::id::{EndpointId, Identity};

use super::resolve::{host_endpoint, name_of};
use super::settings::settings;
use super::table::{self, Policy, ReadError};
use crate::cilium::node::NodeView;
use crate::cilium::pins;
use crate::kernel::clock::{WallOffset, boot_now};
use crate::model::endpoint::Peer;
use crate::model::flow::{self, Flow};
use crate::model::packet::{Ip, Transport};
use crate::model::policy::Direction;
use crate::model::reason::DropReason;
use crate::output::why::brief::Rendered;
use crate::policy::advice::{self, NearMiss};
use crate::policy::decision::{Auth, Decision, Verdict, reason};
use crate::policy::gate::{self, Facts, Fragment, Place, Settings};
use crate::why::brief::{Brief, MapRead};

/// How long a policy is used before it is read again.
const LIFETIME: Duration = Duration::from_secs(1);
/// Answers kept for one policy; past that all of them are worked out anew.
const CAPACITY: usize = 4096;

/// What decides, beside the policy itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Question {
    direction: Direction,
    identity: Identity,
    protocol: u8,
    port: u16,
    code: u8,
    /// An IPv4 fragment that was looked up without ports.
    fragment: bool,
    /// A later fragment: only the datapath knows the port, from the first one.
    is_portless: bool,
    is_host: bool,
    reason: DropReason,
}

/// One endpoint's policy as of the last reading, and the answers that it has given.
struct Held {
    read: Instant,
    name: Arc<str>,
    settings: Settings,
    policy: Result<(Policy, MapRead), Arc<str>>,
    answers: HashMap<Question, Arc<Rendered>>,
}

/// See the module's description.
#[derive(Default)]
pub struct Explainer {
    held: HashMap<EndpointId, Held>,
}

impl Explainer {
    /// `None`: no policy dropped the packet, or nothing tells whose.
    pub fn explain(&mut self, flow: &Flow, view: &NodeView) -> Option<Arc<Rendered>> {
        let (endpoint, question) = ask(flow, view)?;
        let now = Instant::now();
        let is_fresh = |held: &Held| now.saturating_duration_since(held.read) < LIFETIME;
        if !self.held.get(&endpoint).is_some_and(is_fresh) {
            self.held.insert(endpoint, Held::read(endpoint, view, now));
        }
        let held = self.held.get_mut(&endpoint)?;
        if let Some(answer) = held.answers.get(&question) {
            return Some(answer.clone());
        }
        if held.answers.len() >= CAPACITY {
            held.answers.clear();
        }
        let answer = Arc::new(Rendered::new(&held.answer(endpoint, &question)));
        held.answers.insert(question, answer.clone());
        Some(answer)
    }
}

impl Held {
    fn read(endpoint: EndpointId, view: &NodeView, now: Instant) -> Self {
        let name = match view.endpoints().by_id(endpoint) {
            Some(known) => name_of(known),
            None => format!("endpoint {endpoint}"),
        };
        let policy = policy_of(endpoint, view).map(|policy| {
            let at = WallOffset::now().wall(boot_now());
            let read = MapRead { name: policy.facts.name.as_str().into(), id: policy.facts.id, at };
            (policy, read)
        });
        Self {
            read: now,
            name: name.into(),
            settings: settings(view, endpoint),
            policy: policy.map_err(|error| error.to_string().into()),
            answers: HashMap::new(),
        }
    }

    fn answer(&self, endpoint: EndpointId, question: &Question) -> Brief {
        let base = Brief {
            verdict: Verdict::Unknown,
            direction: question.direction,
            endpoint,
            name: self.name.clone(),
            identity: question.identity,
            protocol: question.protocol,
            port: question.port,
            match_type: Default::default(),
            entry: None,
            missing: None,
            near: None,
            map: None,
            unknown: None,
        };
        let (policy, read) = match &self.policy {
            Ok((policy, read)) => (policy, read.clone()),
            Err(why) => return Brief { unknown: Some(why.clone()), ..base },
        };
        if question.is_portless {
            let why = "a later fragment shows no port; its first fragment does";
            return Brief { unknown: Some(why.into()), ..base };
        }
        if policy.table.unread() > 0 {
            let why = format!("{} entries of map {} could not be read", policy.table.unread(), read.name);
            return Brief { unknown: Some(why.into()), map: Some(read), ..base };
        }
        let facts = question.facts();
        // The datapath has said whether it knew the ports.
        let settings = Settings { fragment_tracking: !question.fragment, ..self.settings };
        let decision = gate::judge_quickly(&policy.table, &facts, &settings);
        let query = facts.query(&settings);
        Brief {
            verdict: decision.verdict,
            match_type: decision.match_type,
            entry: decision.winner,
            missing: advice::missing(&query, &decision),
            near: nearest(policy, &query, &decision),
            map: Some(read),
            ..base
        }
    }
}

/// Of the other entries for the same peer the one that comes closest.
fn nearest(
    policy: &Policy,
    query: &crate::policy::decision::Query,
    decision: &Decision,
) -> Option<crate::model::policy::Entry> {
    advice::near_misses(&policy.table, query, decision).into_iter().find_map(|miss| match miss {
        NearMiss::SamePeer(entry) => Some(entry),
        _ => None,
    })
}

fn policy_of(endpoint: EndpointId, view: &NodeView) -> Result<Policy, ReadError> {
    let maps = view.maps().ok_or(ReadError::NoMap(endpoint))?;
    let unreadable = |map: String| move |source| ReadError::Unreadable { map, source };
    let names = maps.names().map_err(unreadable("cilium_policy".to_owned()))?;
    let all = pins::policy_pins(names.iter().map(String::as_str));
    let pin = all.into_iter().find(|pin| pin.endpoint == endpoint).ok_or(ReadError::NoMap(endpoint))?;
    let map = maps.open(&pin.name()).map_err(unreadable(pin.name()))?;
    table::read(&*map, pin, view)
}

impl Question {
    fn facts(&self) -> Facts {
        let is_icmp = matches!(self.protocol, 1 | 58);
        let place =
            if self.is_host { Place::Host { is_host: true, is_masqueraded: false } } else { Place::Endpoint };
        Facts {
            place,
            icmp: is_icmp.then_some((self.port as u8, self.code)),
            fragment: if self.fragment { Fragment::First } else { Fragment::None },
            // The datapath has looked, and found nothing valid.
            auth: if self.reason == reason::AUTH_REQUIRED { Auth::Missing } else { Auth::Unknown },
            ..Facts::new(self.direction, self.identity, self.protocol, if is_icmp { 0 } else { self.port })
        }
    }
}

/// Whose policy dropped the packet, and what it was asked. The rules are those of the datapath's messages: a
/// packet dropped on its way in belongs to the destination, any other to the source.
fn ask(flow: &Flow, view: &NodeView) -> Option<(EndpointId, Question)> {
    let drop = flow.cilium?;
    let of_policy =
        [reason::NO_ENTRY, reason::DENY, reason::AUTH_REQUIRED, reason::FRAGMENT, reason::NO_NODE_ID];
    let ip = flow.packet.ip.as_ref().filter(|_| of_policy.contains(&drop.reason))?;
    // On the way out, and with IPv6, fragments are dropped by a rule that asks no policy.
    let fragment = drop.reason == reason::FRAGMENT;
    if fragment && (flow.direction == flow::Direction::Egress || ip.source.is_ipv6()) {
        return None;
    }
    let (direction, own, peer) = match flow.direction {
        flow::Direction::Ingress => (Direction::Ingress, &flow.dst, &flow.src),
        flow::Direction::Egress => (Direction::Egress, &flow.src, &flow.dst),
        // Host programs do not say; the end that is the host does.
        flow::Direction::Unknown if is_host(&flow.dst) => (Direction::Ingress, &flow.dst, &flow.src),
        flow::Direction::Unknown if is_host(&flow.src) => (Direction::Egress, &flow.src, &flow.dst),
        flow::Direction::Unknown => return None,
    };
    let endpoint = match (own.endpoint_id(), is_host(own)) {
        (EndpointId(0), true) => host_endpoint(view)?.id,
        (EndpointId(0), false) => Some(drop.emitter).filter(|id| id.0 != 0)?,
        (id, _) => id,
    };
    let (port, code) = ports(ip);
    let question = Question {
        direction,
        identity: peer.identity?,
        protocol: ip.transport.protocol(),
        port,
        code,
        fragment,
        is_portless: !fragment && matches!(ip.transport, Transport::LaterFragment { .. }),
        is_host: is_host(own),
        reason: drop.reason,
    };
    Some((endpoint, question))
}

fn is_host(peer: &Peer) -> bool {
    peer.identity == Some(Identity::HOST)
}

/// Port or ICMP type, and ICMP code; 0 where there is none.
fn ports(ip: &Ip) -> (u16, u8) {
    match ip.transport {
        Transport::Icmpv4 { kind, code } | Transport::Icmpv6 { kind, code } => (kind.into(), code),
        other => (other.ports().map_or(0, |ports| ports.1), 0),
    }
}
