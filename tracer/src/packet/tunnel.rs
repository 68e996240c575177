//! VXLAN and Geneve: what is inside of a UDP packet.

use tracer_common::packet::{GeneveHeader, UdpHeader, VxlanHeader, ethertype};
use zerocopy::FromBytes;

use super::link::{self, Link};
use super::network::Absent;
use crate::model::packet::{Transport, TunnelKind};

/// UDP destination ports of the node's tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelPorts {
    pub vxlan: u16,
    pub geneve: u16,
}

/// Cilium's defaults (option `tunnel-port`).
impl Default for TunnelPorts {
    fn default() -> Self {
        Self { vxlan: 8472, geneve: 6081 }
    }
}

impl TunnelPorts {
    /// The tunnel that a packet to this port belongs to.
    pub fn kind_of(self, transport: &Transport) -> Option<TunnelKind> {
        match *transport {
            Transport::Udp { destination_port, .. } if destination_port == self.vxlan => {
                Some(TunnelKind::Vxlan)
            }
            Transport::Udp { destination_port, .. } if destination_port == self.geneve => {
                Some(TunnelKind::Geneve)
            }
            _ => None,
        }
    }
}

/// What a tunnel carries.
pub struct Inner<'a> {
    pub vni: u32,
    pub link: Link<'a>,
}

/// Opens the tunnel; `udp` starts at the UDP header.
pub fn decode(kind: TunnelKind, udp: &[u8]) -> Result<Inner<'_>, Absent> {
    let (_, bytes) = UdpHeader::ref_from_prefix(udp).map_err(|_| Absent::Truncated)?;
    match kind {
        TunnelKind::Vxlan => vxlan(bytes),
        TunnelKind::Geneve => geneve(bytes),
    }
}

fn vxlan(bytes: &[u8]) -> Result<Inner<'_>, Absent> {
    let (header, inner) = VxlanHeader::ref_from_prefix(bytes).map_err(|_| Absent::Truncated)?;
    if !header.has_vni() {
        return Err(Absent::Foreign);
    }
    Ok(Inner { vni: header.vni(), link: link::ethernet(inner) })
}

fn geneve(bytes: &[u8]) -> Result<Inner<'_>, Absent> {
    let (header, rest) = GeneveHeader::ref_from_prefix(bytes).map_err(|_| Absent::Truncated)?;
    if header.version() != 0 {
        return Err(Absent::Foreign);
    }
    let inner = rest.get(header.options_length()..).ok_or(Absent::Truncated)?;
    let link = match header.protocol.get() {
        ethertype::TRANSPARENT_ETHERNET => link::ethernet(inner),
        kind => link::bare(inner, kind),
    };
    Ok(Inner { vni: header.vni(), link })
}
