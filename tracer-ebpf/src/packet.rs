//! As much of a packet as the filter in the kernel looks at. What cannot be told stays unknown, and an unknown
//! never fails a filter; user space decodes the same bytes in full.

use network_types::eth::EthHdr;
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use tracer_common::event::{ARPHRD_ETHER, ARPHRD_LOOPBACK, DEV_TYPE_UNKNOWN, MAX_SNAPLEN, start};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
/// Destination ports behind which the packet that matters is an inner one.
const TUNNEL_PORTS: [u16; 3] = [8472, 4789, 6081];

/// Facts about a packet, 0 where unknown (`protocol`: 0 is unknown too, as HOPOPT never stands alone).
#[derive(Default)]
pub struct Facts {
    /// 4, 6, or 0.
    pub version: u8,
    pub protocol: u8,
    /// Both known or both 0; host order.
    pub source_port: u16,
    pub destination_port: u16,
    /// IPv4 as ::ffff:a.b.c.d; memory order. Known if `version` is.
    pub source: [u32; 4],
    pub destination: [u32; 4],
}

/// The captured bytes.
pub struct Bytes {
    pub base: *const u8,
    pub length: u32,
}

impl Bytes {
    /// The `N` bytes at `offset`, if they were captured. One test for all: each costs as much as the loads behind it.
    #[inline(always)]
    fn part<const N: usize>(&self, offset: u32) -> Option<&[u8; N]> {
        let offset = core::hint::black_box(offset);
        if offset as usize > MAX_SNAPLEN - N || offset + N as u32 > self.length {
            return None;
        }
        // SAFETY: `base` points to MAX_SNAPLEN bytes of a map value, and the offset was just checked.
        Some(unsafe { &*self.base.add(offset as usize).cast::<[u8; N]>() })
    }

    #[inline(always)]
    fn be16(&self, offset: u32) -> Option<u16> {
        self.part::<2>(offset).map(|part| be16(part, 0))
    }
}

#[inline(always)]
fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Four bytes as they lie in memory.
#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Finds the network header and reads what the filter needs.
#[inline(always)]
pub fn facts(bytes: &Bytes, start: u8, dev_type: u16, protocol: u16) -> Facts {
    let mut facts = Facts::default();
    if dev_type == DEV_TYPE_UNKNOWN && start == start::DATA {
        return facts;
    }
    let ethernet = matches!(dev_type, ARPHRD_ETHER | ARPHRD_LOOPBACK | DEV_TYPE_UNKNOWN);
    let (ethertype, offset) = if start == start::NETWORK || !ethernet {
        (u16::from_be(protocol), 0)
    } else {
        match link_layer(bytes) {
            Some(found) => found,
            None => return facts,
        }
    };
    let _ = match ethertype {
        ETHERTYPE_IPV4 => ipv4(bytes, offset, &mut facts),
        ETHERTYPE_IPV6 => ipv6(bytes, offset, &mut facts),
        _ => None,
    };
    facts
}

/// Ethertype and place of the payload behind up to two VLAN tags.
#[inline(always)]
fn link_layer(bytes: &Bytes) -> Option<(u16, u32)> {
    let mut ethertype = bytes.be16(12)?;
    let mut offset = EthHdr::LEN as u32;
    if ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ {
        ethertype = bytes.be16(offset + 2)?;
        offset += 4;
    }
    if ethertype == ETHERTYPE_VLAN {
        ethertype = bytes.be16(offset + 2)?;
        offset += 4;
    }
    Some((ethertype, offset))
}

#[inline(always)]
fn ipv4(bytes: &Bytes, offset: u32, facts: &mut Facts) -> Option<()> {
    let ip = bytes.part::<{ Ipv4Hdr::LEN }>(offset)?;
    let header = u32::from(ip[0] & 0x0f) * 4;
    if ip[0] >> 4 != 4 || header < Ipv4Hdr::LEN as u32 {
        return None;
    }
    let mapped = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
    facts.version = 4;
    facts.protocol = ip[9];
    facts.source = [0, 0, mapped, word(ip, 12)];
    facts.destination = [0, 0, mapped, word(ip, 16)];
    let fragment = be16(ip, 6) & 0x1fff;
    if fragment == 0 { ports(bytes, offset + header, facts.protocol, facts) } else { None }
}

#[inline(always)]
fn ipv6(bytes: &Bytes, offset: u32, facts: &mut Facts) -> Option<()> {
    let ip = bytes.part::<{ Ipv6Hdr::LEN }>(offset)?;
    if ip[0] >> 4 != 6 {
        return None;
    }
    facts.version = 6;
    facts.source = [word(ip, 8), word(ip, 12), word(ip, 16), word(ip, 20)];
    facts.destination = [word(ip, 24), word(ip, 28), word(ip, 32), word(ip, 36)];
    // Behind an extension header the protocol stays unknown.
    let next = ip[6];
    if !matches!(next, TCP | UDP | SCTP | ICMP | ICMPV6) {
        return None;
    }
    facts.protocol = next;
    ports(bytes, offset + Ipv6Hdr::LEN as u32, next, facts)
}

/// Reads the ports; forgets everything about a packet that carries another one.
#[inline(always)]
fn ports(bytes: &Bytes, offset: u32, protocol: u8, facts: &mut Facts) -> Option<()> {
    if !matches!(protocol, TCP | UDP | SCTP) {
        return None;
    }
    let ports = bytes.part::<4>(offset)?;
    facts.source_port = be16(ports, 0);
    facts.destination_port = be16(ports, 2);
    if protocol == UDP && TUNNEL_PORTS.contains(&facts.destination_port) {
        *facts = Facts::default();
    }
    Some(())
}
