//! A packet, decoded as far as the captured bytes reach.

use std::net::IpAddr;

/// Link-layer addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    pub source: [u8; 6],
    pub destination: [u8; 6],
    /// Ethertype of the payload behind VLAN tags, host order.
    pub ethertype: u16,
}

/// TCP flags, as the low nine bits of the header's flag field (FIN = bit 0 … CWR = bit 7, NS = bit 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u16);

impl TcpFlags {
    /// Names with their bits, in the order that hubble prints them.
    pub const NAMES: [(&'static str, u16); 9] = [
        ("SYN", 1 << 1),
        ("ACK", 1 << 4),
        ("RST", 1 << 2),
        ("FIN", 1 << 0),
        ("PSH", 1 << 3),
        ("URG", 1 << 5),
        ("ECE", 1 << 6),
        ("CWR", 1 << 7),
        ("NS", 1 << 8),
    ];

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(_, bit)| self.0 & bit != 0).map(|(name, _)| name)
    }
}

/// Transport layer. Ports in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp {
        source_port: u16,
        destination_port: u16,
        flags: TcpFlags,
    },
    Udp {
        source_port: u16,
        destination_port: u16,
    },
    Sctp {
        source_port: u16,
        destination_port: u16,
    },
    Icmpv4 {
        kind: u8,
        code: u8,
    },
    Icmpv6 {
        kind: u8,
        code: u8,
    },
    /// Another protocol; the IP protocol number.
    Other {
        protocol: u8,
    },
    /// A fragment that is not the first one carries no transport header.
    LaterFragment {
        protocol: u8,
    },
    /// The header lies beyond the captured bytes, or the packet ends in it.
    Truncated {
        protocol: u8,
    },
}

impl Transport {
    /// IP protocol number.
    pub const fn protocol(&self) -> u8 {
        match self {
            Self::Tcp { .. } => 6,
            Self::Udp { .. } => 17,
            Self::Sctp { .. } => 132,
            Self::Icmpv4 { .. } => 1,
            Self::Icmpv6 { .. } => 58,
            Self::Other { protocol } | Self::LaterFragment { protocol } | Self::Truncated { protocol } => {
                *protocol
            }
        }
    }

    /// (source port, destination port), if the protocol has ports.
    pub const fn ports(&self) -> Option<(u16, u16)> {
        match *self {
            Self::Tcp { source_port, destination_port, .. }
            | Self::Udp { source_port, destination_port }
            | Self::Sctp { source_port, destination_port } => Some((source_port, destination_port)),
            _ => None,
        }
    }
}

/// Network layer and what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub transport: Transport,
    /// The packet is a fragment (first or later).
    pub fragment: bool,
    pub ttl: u8,
}

/// An encapsulation around the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    pub kind: TunnelKind,
    /// The VXLAN or Geneve network identifier; Cilium puts the source's identity here.
    pub vni: u32,
    /// The outer network layer.
    pub outer: Ip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelKind {
    Vxlan,
    Geneve,
}

/// What captured bytes begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum First {
    Ethernet,
    Network,
    /// Nothing that can be recognised: not decoded at all.
    #[default]
    Unknown,
}

/// The decoded packet. For an encapsulated one `ethernet` and `ip` are the inner ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// What the captured bytes begin with, tunnel or not.
    pub first: First,
    pub ethernet: Option<Ethernet>,
    /// VLAN id of the outermost tag (in the packet or offloaded).
    pub vlan: Option<u16>,
    /// None for ARP and everything else that is not IP, and for what was too short.
    pub ip: Option<Ip>,
    pub tunnel: Option<Tunnel>,
    /// Full length in bytes as it was on the way, 0 if unknown.
    pub length: u32,
    /// The captured bytes ended before the headers did.
    pub truncated: bool,
}

impl Packet {
    pub fn transport(&self) -> Option<&Transport> {
        self.ip.as_ref().map(|ip| &ip.transport)
    }
}
