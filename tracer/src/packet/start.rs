//! Which header the first captured byte belongs to. The record says where the capture began; whether there
//! is an Ethernet header at that place depends on the device, and devices change while a packet is forwarded.

use tracer_common::cilium::notify::PacketFlags;
use tracer_common::event::{self, EventHeader};
use tracer_common::packet::{EthernetHeader, Ipv4Header, Ipv6Header, ethertype};
use zerocopy::FromBytes;

pub use crate::model::packet::First;

/// The decision, and whether the bytes themselves had to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub first: First,
    pub guessed: bool,
}

/// Decides from the record, from what Cilium says about the packet (1.18 and later), and last from the bytes.
pub fn start_of(header: &EventHeader, flags: Option<PacketFlags>, bytes: &[u8]) -> Start {
    if let (event::start::DATA, Some(flags)) = (header.start, flags) {
        let first = if flags.is_l3_device() { First::Network } else { First::Ethernet };
        return Start { first, guessed: false };
    }
    let protocol = u16::from_be(header.protocol);
    let fits = |first| match first {
        First::Ethernet => looks_like_ethernet(bytes, protocol),
        First::Network => looks_like_ip(bytes, protocol, header.packet_len),
        First::Unknown => true,
    };
    let told = expected(header);
    if let Some(first) = told.filter(|first| fits(*first)) {
        return Start { first, guessed: false };
    }
    match other_order(header).into_iter().find(|first| fits(*first)) {
        Some(first) => Start { first, guessed: true },
        None => Start { first: told.unwrap_or(First::Unknown), guessed: false },
    }
}

/// What the record tells, if it does.
fn expected(header: &EventHeader) -> Option<First> {
    match header.start {
        event::start::NETWORK => Some(First::Network),
        event::start::MAC | event::start::DATA => by_device(header.dev_type),
        _ => None,
    }
}

/// What to try when the record does not tell or cannot be right.
fn other_order(header: &EventHeader) -> [First; 2] {
    match by_device(header.dev_type) {
        Some(First::Network) => [First::Network, First::Ethernet],
        _ => [First::Ethernet, First::Network],
    }
}

/// By ARPHRD_* number (`linux/if_arp.h`).
const fn by_device(dev_type: u16) -> Option<First> {
    match dev_type {
        event::ARPHRD_ETHER | event::ARPHRD_LOOPBACK => Some(First::Ethernet),
        // PPP, RAWIP, TUNNEL, TUNNEL6, SIT, IPGRE, IP6GRE, NONE
        512 | 519 | 768 | 769 | 776 | 778 | 823 | 65534 => Some(First::Network),
        _ => None,
    }
}

/// Whether an Ethernet header agrees with the packet's protocol. Without a protocol (XDP) its type must be
/// one that carries IP or ARP.
fn looks_like_ethernet(bytes: &[u8], protocol: u16) -> bool {
    let Ok((ethernet, _)) = EthernetHeader::ref_from_prefix(bytes) else { return false };
    let found = ethernet.ethertype.get();
    match protocol {
        0 => matches!(found, ethertype::IPV4 | ethertype::IPV6 | ethertype::ARP) || ethertype::is_vlan(found),
        1..ethertype::FIRST => found < ethertype::FIRST,
        _ => found == protocol || ethertype::is_vlan(found) || ethertype::is_vlan(protocol),
    }
}

/// Whether an IP header agrees with the packet's protocol and length.
fn looks_like_ip(bytes: &[u8], protocol: u16, length: u32) -> bool {
    let Some(first) = bytes.first() else { return false };
    let (wanted, needed) = match first >> 4 {
        4 => (ethertype::IPV4, ipv4_length(bytes)),
        6 => (ethertype::IPV6, ipv6_length(bytes)),
        _ => return false,
    };
    (protocol == 0 || protocol == wanted) && needed.is_none_or(|needed| length == 0 || needed <= length)
}

/// Length that an IPv4 header claims, at least that of the header; `None` if it is out of sight.
fn ipv4_length(bytes: &[u8]) -> Option<u32> {
    let (header, _) = Ipv4Header::ref_from_prefix(bytes).ok()?;
    match header.header_length() {
        ..20 => Some(u32::MAX),
        length => Some(u32::from(header.total_length.get()).max(length as u32)),
    }
}

fn ipv6_length(bytes: &[u8]) -> Option<u32> {
    let (header, _) = Ipv6Header::ref_from_prefix(bytes).ok()?;
    Some(u32::from(header.payload_length.get()) + size_of::<Ipv6Header>() as u32)
}
