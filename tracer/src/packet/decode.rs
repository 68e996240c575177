//! The whole packet, layer by layer.

use tracer_common::packet::{ethertype, vlan_id};

use super::link::{self, Link};
use super::network::{self, Absent};
use super::start::First;
use super::tunnel::{self, Inner};
use crate::model::packet::{Ip, Packet, Transport, Tunnel, TunnelKind};

pub use super::tunnel::TunnelPorts;

/// Captured bytes with what the record says about them.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub bytes: &'a [u8],
    pub first: First,
    /// What the kernel takes the packet for: Ethertype, host order, 0 if unknown.
    pub protocol: u16,
    /// Tag control field of an offloaded tag.
    pub vlan_tci: Option<u16>,
    /// Length of the packet on the way, 0 if unknown.
    pub length: u32,
    pub encapsulation: Encapsulation,
}

/// How to tell whether the packet is encapsulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// By its UDP destination port.
    ByPort(TunnelPorts),
    /// Cilium says that it is.
    Known(TunnelKind),
    /// It is not, or it is to be shown as it stands.
    None,
}

impl Encapsulation {
    fn kind_of(self, outer: &Transport) -> Option<TunnelKind> {
        match self {
            Self::ByPort(ports) => ports.kind_of(outer),
            Self::Known(kind) => matches!(outer, Transport::Udp { .. }).then_some(kind),
            Self::None => None,
        }
    }
}

/// Reads the packet as far as the bytes reach.
pub fn decode(frame: &Frame<'_>) -> Packet {
    let link = match frame.first {
        First::Ethernet => link::ethernet(frame.bytes),
        First::Network => link::bare(frame.bytes, frame.protocol),
        First::Unknown => Link { truncated: frame.bytes.is_empty(), ..Link::default() },
    };
    let mut packet = Packet {
        first: frame.first,
        ethernet: link.ethernet,
        vlan: frame.vlan_tci.map(vlan_id).or(link.vlan),
        length: frame.length,
        truncated: link.truncated,
        ..Packet::default()
    };
    match network::decode(link.ethertype, link.payload) {
        Ok(outer) => {
            packet.ip = Some(outer.ip);
            packet.truncated = outer.truncated;
            open_tunnel(&mut packet, outer.payload, frame.encapsulation);
        }
        Err(absent) => packet.truncated |= absent == Absent::Truncated,
    }
    packet
}

/// Puts the inner packet into the place of the outer one. If its addresses are out of sight, the outer one
/// stays, and the packet counts as truncated.
fn open_tunnel(packet: &mut Packet, udp: &[u8], encapsulation: Encapsulation) {
    let Some(outer) = packet.ip else { return };
    let Some(kind) = encapsulation.kind_of(&outer.transport) else { return };
    match open(packet, udp, kind, outer) {
        Ok(()) | Err(Absent::Foreign) => {}
        Err(Absent::Truncated) => packet.truncated = true,
    }
}

fn open(packet: &mut Packet, udp: &[u8], kind: TunnelKind, outer: Ip) -> Result<(), Absent> {
    let Inner { vni, link } = tunnel::decode(kind, udp)?;
    if link.truncated {
        return Err(Absent::Truncated);
    }
    let (ip, truncated) = match network::decode(link.ethertype, link.payload) {
        Ok(network) => (Some(network.ip), network.truncated),
        Err(Absent::Foreign) if link.ethertype == ethertype::ARP => (None, false),
        Err(absent) => return Err(absent),
    };
    (packet.ethernet, packet.ip, packet.truncated) = (link.ethernet, ip, truncated);
    packet.tunnel = Some(Tunnel { kind, vni, outer });
    Ok(())
}
