//! Asks the policy of one side: of the source for egress, of the destination for ingress, of the host where the
//! host firewall is on.

use tracer_common::cilium::auth::{AuthKey, AuthValue};
use tracer_common::cilium::node::NodeKey;
use tracer_common::id::{EndpointId, Identity};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::resolve::{host_endpoint, name_of};
use super::table::{self, Policy, ReadError};
use super::{Asking, near};
use crate::cilium::node_map::{self, NODE_MAP};
use crate::cilium::pins;
use crate::model::endpoint::{IdentitySource, LocalEndpoint};
use crate::model::names::Names as _;
use crate::model::policy::{Direction, Order};
use crate::pipeline::maps::newest::Newest;
use crate::policy::decision::{Auth, Decision, MatchType, Verdict};
use crate::policy::gate::{self, Facts, Settings};
use crate::policy::{advice, rule};
use crate::why::answer::{Asked, Connection, Party, Place, Service, Side, Tracked};

/// The packet as policy sees it.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub protocol: u8,
    /// 0 where the protocol has none; for ICMP 0 too.
    pub port: u16,
    /// Type and code.
    pub icmp: Option<(u8, u8)>,
}

/// What both sides of one path have in common.
pub struct Around<'a> {
    pub source: &'a Party,
    pub destination: &'a Party,
    pub packet: Packet,
    pub tracked: &'a Tracked,
    pub service: Option<&'a Service>,
    /// An endpoint reaches itself by a service.
    pub is_loopback: bool,
}

impl Asking {
    pub fn egress(&mut self, around: &Around<'_>) -> Side {
        let (own, peer) = (around.source, around.destination);
        self.side(Direction::Egress, own, peer, peer.identity, around)
    }

    pub fn ingress(&mut self, around: &Around<'_>) -> Side {
        let (own, peer) = (around.destination, around.source);
        self.side(Direction::Ingress, own, peer, peer.identity, around)
    }

    fn side(
        &mut self,
        direction: Direction,
        own: &Party,
        peer: &Party,
        identity: Identity,
        around: &Around<'_>,
    ) -> Side {
        let who = match direction {
            Direction::Egress => "the source",
            Direction::Ingress => "the destination",
        };
        match (&own.place, &own.endpoint) {
            (Place::Here, Some(endpoint)) => {
                let endpoint = endpoint.clone();
                self.ask(direction, &endpoint, gate::Place::Endpoint, peer, identity, around)
            }
            (Place::Here, None) | (Place::Nowhere, _) => {
                Side::NotHere(format!("nothing says where {who} is: its policy is not asked"))
            }
            (Place::Host, _) => self.host(direction, peer, identity, around),
            (Place::OtherNode(Some(node)), _) => {
                Side::NotHere(format!("{who} is behind node {}, which decides", self.node_text(*node)))
            }
            (Place::OtherNode(None), _) => Side::NotHere(format!("{who} is on another node, which decides")),
            (Place::Outside, _) => {
                Side::NotHere(format!("{who} is outside the cluster: it has no policy here"))
            }
        }
    }

    fn node_text(&self, node: std::net::IpAddr) -> String {
        match self.node.view.node_name(node) {
            Some(name) => format!("{name} ({node})"),
            None => node.to_string(),
        }
    }

    /// The host's own policy counts only with the host firewall.
    fn host(&mut self, direction: Direction, peer: &Party, identity: Identity, around: &Around<'_>) -> Side {
        let firewall = self.node.view.config().and_then(|config| config.host_firewall);
        if firewall == Some(false) {
            return Side::NotHere(
                "this node's own traffic has no policy: the host firewall is off".to_owned(),
            );
        }
        let Some(endpoint) = host_endpoint(&self.node.view).cloned() else {
            return Side::NotHere("this node has no host endpoint: its own traffic has no policy".to_owned());
        };
        let place = gate::Place::Host { is_host: true, is_masqueraded: false };
        let side = self.ask(direction, &endpoint, place, peer, identity, around);
        let Side::Asked(mut asked) = side else { return side };
        if firewall.is_none() && asked.decision.verdict == Verdict::Denied {
            asked.decision.verdict = Verdict::Unknown;
            asked.near.push(crate::why::answer::Near::new(
                "host_firewall_unknown",
                "whether the host firewall is on is not known: no agent-runtime-config.json",
            ));
        }
        Side::Asked(asked)
    }

    fn ask(
        &mut self,
        direction: Direction,
        endpoint: &LocalEndpoint,
        place: gate::Place,
        peer: &Party,
        identity: Identity,
        around: &Around<'_>,
    ) -> Side {
        if self.node.view.endpoint_state(endpoint.id).is_some_and(|state| state.without_policy_map) {
            return Side::NotHere(format!(
                "{} is no part of the datapath: it has no policy map",
                name_of(endpoint)
            ));
        }
        let mut asked = Asked {
            direction,
            endpoint: endpoint.id,
            name: name_of(endpoint),
            identity,
            labels: self.node.view.labels(identity),
            map: None,
            decision: unknown(),
            missing: None,
            near: Vec::new(),
        };
        let policy = match self.policy(endpoint.id) {
            Ok(policy) => policy,
            Err(error) => {
                asked.near.push(near::unreadable(&error));
                return Side::Asked(Box::new(asked));
            }
        };
        let unknown_peer = peer.identity_source == IdentitySource::None && identity == Identity(0);
        let settings = self.settings(endpoint.id, around.packet);
        let facts = self.facts(direction, place, peer, identity, policy.table.order(), around);
        asked.identity = facts.identity;
        asked.decision = self.judge(&policy, facts, &settings, endpoint, peer);
        if unknown_peer && asked.decision.match_type != MatchType::All {
            asked.decision.verdict = Verdict::Unknown;
        }
        let query = facts.query(&settings);
        asked.missing = advice::missing(&query, &asked.decision);
        let misses = advice::near_misses(&policy.table, &query, &asked.decision);
        asked.near = self.near(&asked, peer, &misses, &policy, around);
        asked.map = Some(policy.facts);
        Side::Asked(Box::new(asked))
    }

    fn facts(
        &self,
        direction: Direction,
        place: gate::Place,
        peer: &Party,
        identity: Identity,
        order: Order,
        around: &Around<'_>,
    ) -> Facts {
        let found = (peer.identity_source != IdentitySource::World).then_some(identity);
        let looked_up = gate::remote((place, direction), order, found, identity);
        let Packet { protocol, port, icmp } = around.packet;
        let connection = match direction {
            Direction::Egress => around.tracked.egress,
            Direction::Ingress => around.tracked.ingress,
        };
        Facts {
            place,
            icmp,
            connection: match connection {
                Connection::Reply => gate::Connection::Reply,
                Connection::Established => gate::Connection::Established,
                Connection::New | Connection::NotAsked => gate::Connection::New,
            },
            is_proxy_connection: around.tracked.through_proxy,
            is_loopback: around.is_loopback,
            l7_service: around.service.and_then(|service| service.proxy_port),
            ..Facts::new(direction, looked_up, protocol, port)
        }
    }

    /// The decision, with the map of authentications asked where it counts.
    fn judge(
        &mut self,
        policy: &Policy,
        facts: Facts,
        settings: &Settings,
        endpoint: &LocalEndpoint,
        peer: &Party,
    ) -> Decision {
        let decision = gate::judge(&policy.table, &facts, settings);
        let asks = decision.steps.iter().any(|step| step.rule == rule::Rule::AuthUnknown);
        if !asks {
            return decision;
        }
        let auth = self.authentication(endpoint.identity, facts.identity, peer, decision.auth_type);
        gate::judge(&policy.table, &Facts { auth, ..facts }, settings)
    }

    fn authentication(&mut self, local: Identity, remote: Identity, peer: &Party, auth_type: u8) -> Auth {
        const AUTH_MAP: &str = "cilium_auth_map";
        let remote_node_id = match self.node_id(peer) {
            Ok(id) => id,
            Err(auth) => return auth,
        };
        let Some(open) = self.node.maps.map(AUTH_MAP) else { return Auth::Unknown };
        if (open.map.info().key_size, open.map.value_bytes()) != (12, 8) {
            return Auth::Unknown;
        }
        let key =
            AuthKey { local_identity: local.0, remote_identity: remote.0, remote_node_id, auth_type, pad: 0 };
        let mut value = [0; 8];
        match self.node.maps.look_up(&open, key.as_bytes(), &mut value) {
            Some(true) => {
                let expires =
                    AuthValue::read_from_bytes(&value).map_or(0, |value| value.expires_at_seconds());
                let now = self.wall_now().0 / 1_000_000_000;
                if i64::try_from(expires).is_ok_and(|expires| now < expires) {
                    Auth::Valid
                } else {
                    Auth::Missing
                }
            }
            Some(false) => Auth::Missing,
            None => Auth::Unknown,
        }
    }

    /// The number of the node that the other end is behind; 0: this one.
    fn node_id(&mut self, peer: &Party) -> Result<u16, Auth> {
        let node = match (&peer.place, peer.address) {
            (Place::Here | Place::Host, _) => return Ok(0),
            (Place::OtherNode(Some(node)), _) => *node,
            (Place::OtherNode(None) | Place::Outside, Some(_)) => return Ok(0),
            _ => return Err(Auth::Unknown),
        };
        let Newest::Known(open) = self.node.maps.newest(&NODE_MAP) else { return Err(Auth::Unknown) };
        let key = NodeKey::new(node);
        let mut buffer = [0; 4];
        let Some(value) = buffer.get_mut(..open.map.value_bytes()) else { return Err(Auth::Unknown) };
        match self.node.maps.look_up(&open, key.as_bytes(), value) {
            Some(true) => {
                node_map::decode(key.as_bytes(), value).map(|node| node.node_id).ok_or(Auth::Unknown)
            }
            Some(false) => Err(Auth::NoNodeId),
            None => Err(Auth::Unknown),
        }
    }

    /// The policy of an endpoint; each is read once.
    pub(super) fn policy(&mut self, endpoint: EndpointId) -> Result<Policy, ReadError> {
        if let Some((_, policy)) = self.policies.iter().find(|(id, _)| *id == endpoint) {
            return Ok(policy.clone());
        }
        let names = self.node.maps.names().unwrap_or_default();
        let all = pins::policy_pins(names.iter().map(String::as_str));
        let pin = all.into_iter().find(|pin| pin.endpoint == endpoint).ok_or(ReadError::NoMap(endpoint))?;
        let open = self.node.maps.map(&pin.name()).ok_or(ReadError::NoMap(endpoint))?;
        let policy = table::read(&*open.map, pin, &self.node.view)
            .inspect_err(|error| self.node.maps.report.unknown(error))?;
        self.node.maps.report.undecoded(&open.name, policy.table.unread());
        self.policies.push((endpoint, policy.clone()));
        Ok(policy)
    }
}

/// Nothing is known.
fn unknown() -> Decision {
    Decision {
        verdict: Verdict::Unknown,
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
