//! Connection tracking: which maps there are, and their entries in the user's terms, whichever generation
//! wrote them. Which generation that is, is decided in [`generation`]; what the time stamps mean, in [`clock`].

pub mod clock;
pub mod generation;

use std::net::{IpAddr, SocketAddr};

use tracer_common::cilium::ct::{CtCommon, CtEntry as CtPair, Ends};
use tracer_common::cilium::tuple::{Tuple4, Tuple6, flag};
use tracer_common::id::Identity;
use zerocopy::FromBytes;

use super::map_type::MapType;
use super::pins::Layout;
use generation::Generations;

/// Bytes of a value in all generations.
pub const VALUE_SIZE: usize = 56;

/// A map of connection tracking and what its name says of its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CtMap {
    pub name: &'static str,
    pub key_size: u32,
    /// Only TCP; else everything but TCP.
    pub tcp: bool,
}

impl CtMap {
    const fn new(name: &'static str, is_v6: bool, tcp: bool) -> Self {
        let key_size = if is_v6 { size_of::<Tuple6>() } else { size_of::<Tuple4>() };
        Self { name, key_size: key_size as u32, tcp }
    }

    pub const fn is_v6(&self) -> bool {
        self.key_size as usize == size_of::<Tuple6>()
    }
}

pub const GLOBAL: [CtMap; 4] = [
    CtMap::new("cilium_ct4_global", false, true),
    CtMap::new("cilium_ct_any4_global", false, false),
    CtMap::new("cilium_ct6_global", true, true),
    CtMap::new("cilium_ct_any6_global", true, false),
];

/// Maps of single endpoints, whose id follows the name; only where the agent is told so, up to 1.17.
pub const PER_ENDPOINT: [CtMap; 4] = [
    CtMap::new("cilium_ct4_", false, true),
    CtMap::new("cilium_ct_any4_", false, false),
    CtMap::new("cilium_ct6_", true, true),
    CtMap::new("cilium_ct_any6_", true, false),
];

/// Arrays of maps, one per remote cluster and indexed by its id, when clusters may share addresses.
pub const PER_CLUSTER: [CtMap; 4] = [
    CtMap::new("cilium_per_cluster_ct_tcp4", false, true),
    CtMap::new("cilium_per_cluster_ct_any4", false, false),
    CtMap::new("cilium_per_cluster_ct_tcp6", true, true),
    CtMap::new("cilium_per_cluster_ct_any6", true, false),
];

/// What each of [`PER_CLUSTER`] is.
pub const PER_CLUSTER_ARRAY: Layout = Layout {
    name: "",
    map_type: MapType::ARRAY_OF_MAPS.0,
    key_size: 4,
    value_size: 4,
    releases: "all with clusters that may share addresses",
};

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Made where the first packet left: at the originator, or at the host.
    Out,
    /// Made where the first packet arrived.
    In,
    /// Binds a client and a frontend to a backend.
    Service,
    /// Recognizes ICMP errors that belong to a connection.
    Related,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Out, Self::In, Self::Service, Self::Related];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
            Self::Service => "service",
            Self::Related => "related",
        }
    }

    /// `None`: flags that no release writes.
    pub const fn of(flags: u8) -> Option<Self> {
        const RELATED_IN: u8 = flag::RELATED | flag::IN;
        match flags {
            0 => Some(Self::Out),
            flag::IN => Some(Self::In),
            flag::RELATED | RELATED_IN => Some(Self::Related),
            flag::SERVICE => Some(Self::Service),
            _ => None,
        }
    }
}

/// Where a connection stands, as far as its entry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// TCP: nothing but SYNs was seen.
    SynSent,
    /// TCP: more was seen, and no FIN or RST.
    Established,
    /// TCP: FIN or RST was seen in one direction.
    Closing,
    /// TCP: FIN or RST was seen in both directions, or on behalf of both.
    Closed,
    /// Protocols without connections.
    Active,
}

impl State {
    pub const ALL: [Self; 5] = [Self::SynSent, Self::Established, Self::Closing, Self::Closed, Self::Active];

    pub const fn name(self) -> &'static str {
        match self {
            Self::SynSent => "syn-sent",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Active => "active",
        }
    }

    pub const fn of(protocol: u8, flags: u16) -> Self {
        use tracer_common::cilium::ct::flag::{RX_CLOSING, SEEN_NON_SYN, TX_CLOSING};
        const BOTH: u16 = RX_CLOSING | TX_CLOSING;
        match flags & BOTH {
            _ if protocol != TCP => Self::Active,
            BOTH => Self::Closed,
            0 if flags & SEEN_NON_SYN == 0 => Self::SynSent,
            0 => Self::Established,
            _ => Self::Closing,
        }
    }
}

pub const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// What was counted of a connection. Stays 0 where the agent does not account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counters {
    /// Up to 1.15: seen at the ingress hook (rx) and at the egress hook (tx) of the entry.
    PerDirection { rx_packets: u64, rx_bytes: u64, tx_packets: u64, tx_bytes: u64 },
    /// 1.16 and newer: both directions together.
    Both { packets: u64, bytes: u64 },
    /// Something was counted, but nothing tells which of the above it is.
    Unclear,
}

/// An entry that makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CtEntry {
    pub kind: Kind,
    /// At the ingress hook; the direction of a related entry tells that of its connection.
    pub is_in: bool,
    pub protocol: u8,
    /// The originator and the other end. ICMP identifiers stand in place of ports.
    pub ends: Ends,
    /// What all generations have in common.
    pub common: CtCommon,
    pub counters: Counters,
    /// Of service entries; 0: none.
    pub backend_id: u64,
    /// From 1.19: the address and port that a DSR reply leaves with.
    pub dsr: Option<SocketAddr>,
    /// Up to 1.17.
    pub ifindex: u16,
}

impl CtEntry {
    pub fn source(&self) -> SocketAddr {
        self.ends.originator
    }

    pub fn destination(&self) -> SocketAddr {
        self.ends.other
    }

    pub fn source_identity(&self) -> Identity {
        Identity(self.common.src_sec_id)
    }

    pub fn state(&self) -> State {
        State::of(self.protocol, self.common.flags)
    }
}

/// The key alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CtKey {
    pub kind: Kind,
    pub is_in: bool,
    pub protocol: u8,
    pub ends: Ends,
}

/// Decodes a key of `map`. `None`: impossible bits.
#[inline]
pub fn decode_key(map: &CtMap, key: &[u8]) -> Option<CtKey> {
    let (ends, protocol, flags) = if map.is_v6() {
        let tuple = Tuple6::read_from_bytes(key).ok()?;
        (tuple.ends(), tuple.nexthdr, tuple.flags)
    } else {
        let tuple = Tuple4::read_from_bytes(key).ok()?;
        (tuple.ends(), tuple.nexthdr, tuple.flags)
    };
    let kind = Kind::of(flags)?;
    let fits = match kind {
        _ if (protocol == TCP) != map.tcp => false,
        Kind::Related => protocol == if map.is_v6() { ICMPV6 } else { ICMP },
        _ => true,
    };
    fits.then_some(CtKey { kind, is_in: flags & flag::IN != 0, protocol, ends })
}

/// Decodes an entry of `map` that one of `generations` wrote. `None`: impossible bits.
#[inline]
pub fn decode(map: &CtMap, generations: Generations, key: &[u8], value: &[u8]) -> Option<CtEntry> {
    let key = decode_key(map, key)?;
    let value: &[u8; VALUE_SIZE] = value.try_into().ok()?;
    let common = CtPair::read_from_bytes(value).ok()?.common;
    let meaning = generation::meaning(generations, &key, value)?;
    Some(CtEntry {
        kind: key.kind,
        is_in: key.is_in,
        protocol: key.protocol,
        ends: key.ends,
        common,
        counters: meaning.counters,
        backend_id: meaning.backend_id,
        dsr: meaning.dsr,
        ifindex: meaning.ifindex,
    })
}

/// The keys under which the entries of a connection would be: outgoing, incoming, as a service, and for ICMP
/// errors in both directions. `client` is the originator.
pub fn keys(client: SocketAddr, server: SocketAddr, protocol: u8) -> Option<Vec<(bool, Vec<u8>)>> {
    let mut keys = Vec::new();
    let tcp = protocol == TCP;
    for flags in [0, flag::IN] {
        keys.push((tcp, plain_key(client, server, protocol, flags)?));
    }
    keys.push((tcp, service_key(client, server, protocol)?));
    let icmp = if client.is_ipv6() { ICMPV6 } else { ICMP };
    let (from, to) = (SocketAddr::new(client.ip(), 0), SocketAddr::new(server.ip(), 0));
    for flags in [flag::RELATED, flag::RELATED | flag::IN] {
        keys.push((false, plain_key(from, to, icmp, flags)?));
    }
    Some(keys)
}

fn plain_key(client: SocketAddr, server: SocketAddr, protocol: u8, flags: u8) -> Option<Vec<u8>> {
    key_bytes(client.ip(), server.ip(), server.port(), client.port(), protocol, flags)
}

fn service_key(client: SocketAddr, frontend: SocketAddr, protocol: u8) -> Option<Vec<u8>> {
    key_bytes(frontend.ip(), client.ip(), client.port(), frontend.port(), protocol, flag::SERVICE)
}

/// `None`: addresses of different families.
fn key_bytes(
    daddr: IpAddr,
    saddr: IpAddr,
    dport: u16,
    sport: u16,
    nexthdr: u8,
    flags: u8,
) -> Option<Vec<u8>> {
    use zerocopy::IntoBytes;
    let (dport, sport) = (dport.into(), sport.into());
    match (daddr, saddr) {
        (IpAddr::V4(d), IpAddr::V4(s)) => {
            let tuple = Tuple4 { daddr: d.octets(), saddr: s.octets(), dport, sport, nexthdr, flags };
            Some(tuple.as_bytes().to_vec())
        }
        (IpAddr::V6(d), IpAddr::V6(s)) => {
            let tuple = Tuple6 { daddr: d.octets(), saddr: s.octets(), dport, sport, nexthdr, flags };
            Some(tuple.as_bytes().to_vec())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
