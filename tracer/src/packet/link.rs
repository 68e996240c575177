//! Link layer: Ethernet with VLAN tags, or none.

use tracer_common::packet::{EthernetHeader, VlanTag, ethertype, vlan_id};
use zerocopy::FromBytes;

use crate::model::packet::Ethernet;

/// Tags that are followed; the kernel itself follows eight, the standard knows two.
const MAX_TAGS: usize = 8;

/// What stands before the network layer.
#[derive(Default)]
pub struct Link<'a> {
    pub ethernet: Option<Ethernet>,
    /// Id of the outermost tag.
    pub vlan: Option<u16>,
    /// Ethertype of `payload`.
    pub ethertype: u16,
    pub payload: &'a [u8],
    pub truncated: bool,
}

/// Reads an Ethernet header and the tags behind it.
pub fn ethernet(bytes: &[u8]) -> Link<'_> {
    let Ok((header, mut payload)) = EthernetHeader::ref_from_prefix(bytes) else {
        return Link { truncated: true, ..Link::default() };
    };
    let mut kind = header.ethertype.get();
    let mut vlan = None;
    let mut truncated = false;
    for _ in 0..MAX_TAGS {
        if !ethertype::is_vlan(kind) {
            break;
        }
        let Ok((tag, rest)) = VlanTag::ref_from_prefix(payload) else {
            truncated = true;
            break;
        };
        vlan = vlan.or(Some(vlan_id(tag.tci.get())));
        (kind, payload) = (tag.ethertype.get(), rest);
    }
    let ethernet = Ethernet { source: header.source, destination: header.destination, ethertype: kind };
    Link { ethernet: Some(ethernet), vlan, ethertype: kind, payload, truncated }
}

/// A packet without link-layer header. `protocol` is what the kernel takes it for; 0: the version field
/// of the packet decides.
pub fn bare(bytes: &[u8], protocol: u16) -> Link<'_> {
    let ethertype = match (protocol, bytes.first().map(|first| first >> 4)) {
        (0, Some(4)) => ethertype::IPV4,
        (0, Some(6)) => ethertype::IPV6,
        _ => protocol,
    };
    Link { ethertype, payload: bytes, truncated: bytes.is_empty(), ..Link::default() }
}
