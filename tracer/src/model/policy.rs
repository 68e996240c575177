//! What an endpoint may talk to, entry by entry, whichever release wrote it.

use tracer_common::id::Identity;

use super::flow;

/// Which way a packet goes, as seen from the endpoint whose policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// `None` where the flow does not say.
    pub const fn of_flow(direction: flow::Direction) -> Option<Self> {
        match direction {
            flow::Direction::Ingress => Some(Self::Ingress),
            flow::Direction::Egress => Some(Self::Egress),
            flow::Direction::Unknown => None,
        }
    }
}

/// How the datapath chooses between entries that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Up to 1.16: the first match of a fixed list; the agent has sorted out denies.
    FirstMatch,
    /// 1.17 and 1.18: deny, then the larger proxy priority, then the longer prefix.
    DenyFirst,
    /// 1.19: the larger precedence, then the longer prefix.
    Precedence,
    /// 1.20: as `Precedence`, with aggregates of identities between the identity and "any".
    Aggregated,
}

impl Order {
    pub const ALL: [Self; 4] = [Self::FirstMatch, Self::DenyFirst, Self::Precedence, Self::Aggregated];
}

/// The traffic that an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Traffic {
    Any,
    /// Every port of an IP protocol.
    Protocol(u8),
    /// A power of two of ports; for ICMP the types.
    Ports {
        protocol: u8,
        /// The low `16 - bits` bits are zero.
        first: u16,
        /// 1 to 16 bits of the port count.
        bits: u8,
    },
}

impl Traffic {
    /// From a prefix length as the datapath counts it: 0 any, 8 protocol, 9 to 24 with port bits. `None`:
    /// there is no such length.
    pub const fn new(prefix_length: u8, protocol: u8, port: u16) -> Option<Self> {
        match prefix_length {
            0 => Some(Self::Any),
            8 => Some(Self::Protocol(protocol)),
            9..=24 => {
                let bits = prefix_length - 8;
                Some(Self::Ports { protocol, first: port & mask(bits), bits })
            }
            _ => None,
        }
    }

    /// One port. No entry is for port 0: to the datapath that is every port.
    pub const fn port(protocol: u8, port: u16) -> Self {
        if port == 0 { Self::Protocol(protocol) } else { Self::Ports { protocol, first: port, bits: 16 } }
    }

    /// As the datapath counts it.
    pub const fn prefix_length(self) -> u8 {
        match self {
            Self::Any => 0,
            Self::Protocol(_) => 8,
            Self::Ports { bits, .. } => bits.saturating_add(8),
        }
    }

    pub const fn protocol(self) -> Option<u8> {
        match self {
            Self::Any => None,
            Self::Protocol(protocol) | Self::Ports { protocol, .. } => Some(protocol),
        }
    }

    /// First and last; `None`: all.
    pub const fn ports(self) -> Option<(u16, u16)> {
        match self {
            Self::Ports { first, bits, .. } => Some((first, first | !mask(bits))),
            _ => None,
        }
    }

    pub const fn covers(self, protocol: u8, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Protocol(own) => own == protocol,
            Self::Ports { protocol: own, first, bits } => own == protocol && port & mask(bits) == first,
        }
    }
}

/// Ones where the port counts.
const fn mask(bits: u8) -> u16 {
    match bits {
        0 => 0,
        1..16 => u16::MAX << (16 - bits),
        _ => u16::MAX,
    }
}

/// What an entry is for. No two entries of a map have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub direction: Direction,
    /// Of the other end; 0: any.
    pub identity: Identity,
    pub traffic: Traffic,
}

/// One entry. What its release does not have is zero or false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Key,
    pub deny: bool,
    /// 0: not redirected.
    pub proxy_port: u16,
    /// 1.17 and 1.18.
    pub proxy_priority: u8,
    /// 0 none, 1 SPIRE, 2 always fail.
    pub auth_type: u8,
    /// The rule itself names the authentication, if only to say "none" (1.17 and newer).
    pub explicit_auth: bool,
    /// 1.19 and newer.
    pub precedence: u32,
    /// Number of the rule that made it (1.19 and newer).
    pub cookie: u32,
    /// What the value itself says of its key, which is what decides up to 1.16.
    pub any_protocol: bool,
    pub any_port: bool,
}

impl Entry {
    /// Allows, and nothing more.
    pub const fn allow(key: Key) -> Self {
        let (any_protocol, any_port) = match key.traffic {
            Traffic::Any => (true, true),
            Traffic::Protocol(_) => (false, true),
            Traffic::Ports { first, .. } => (false, first == 0),
        };
        Self {
            key,
            deny: false,
            proxy_port: 0,
            proxy_priority: 0,
            auth_type: 0,
            explicit_auth: false,
            precedence: 0,
            cookie: 0,
            any_protocol,
            any_port,
        }
    }

    pub const fn deny(key: Key) -> Self {
        Self { deny: true, ..Self::allow(key) }
    }

    /// Lets everything through from or to everybody.
    pub fn is_allow_all(&self) -> bool {
        !self.deny && self.key.identity == Identity(0) && self.key.traffic == Traffic::Any
    }
}
