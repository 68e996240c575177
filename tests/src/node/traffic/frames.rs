//! Handmade IPv4 frames, for what sockets do not send.

use std::net::Ipv4Addr;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// An Ethernet frame with an IPv4 packet.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Destination and source MAC.
    macs: ([u8; 6], [u8; 6]),
    vlan: Option<u16>,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    id: u16,
    /// The header's flags and offset.
    fragment: u16,
    payload: Vec<u8>,
}

impl Frame {
    pub fn ipv4(macs: ([u8; 6], [u8; 6]), ends: (Ipv4Addr, Ipv4Addr), protocol: u8, payload: &[u8]) -> Self {
        Self {
            macs,
            vlan: None,
            source: ends.0,
            destination: ends.1,
            protocol,
            id: 1,
            fragment: 0,
            payload: payload.to_vec(),
        }
    }

    /// Tags the frame.
    pub fn vlan(mut self, id: u16) -> Self {
        self.vlan = Some(id);
        self
    }

    /// Makes it a fragment; `offset` in units of eight bytes.
    pub fn fragment(mut self, id: u16, offset: u16, more: bool) -> Self {
        self.id = id;
        self.fragment = offset | if more { 0x2000 } else { 0 };
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = [self.macs.0, self.macs.1].concat();
        if let Some(vlan) = self.vlan {
            frame.extend([0x81, 0x00]);
            frame.extend(vlan.to_be_bytes());
        }
        frame.extend([0x08, 0x00]);
        frame.extend(self.header());
        frame.extend(&self.payload);
        frame
    }

    fn header(&self) -> [u8; 20] {
        let mut header = [0; 20];
        header[0] = 0x45;
        header[2..4].copy_from_slice(&(20 + self.payload.len() as u16).to_be_bytes());
        header[4..6].copy_from_slice(&self.id.to_be_bytes());
        header[6..8].copy_from_slice(&self.fragment.to_be_bytes());
        header[8] = 64;
        header[9] = self.protocol;
        header[12..16].copy_from_slice(&self.source.octets());
        header[16..20].copy_from_slice(&self.destination.octets());
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }
}

/// The Internet checksum.
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn pseudo_checksum(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, segment: &[u8]) -> u16 {
    let mut bytes = [source.octets(), destination.octets()].concat();
    bytes.extend([0, protocol]);
    bytes.extend((segment.len() as u16).to_be_bytes());
    bytes.extend(segment);
    checksum(&bytes)
}

/// A TCP SYN.
pub fn tcp_syn4(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16)) -> Vec<u8> {
    let mut segment = vec![0; 20];
    segment[0..2].copy_from_slice(&source.1.to_be_bytes());
    segment[2..4].copy_from_slice(&destination.1.to_be_bytes());
    segment[4..8].copy_from_slice(&1000u32.to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = 0x02;
    segment[14..16].copy_from_slice(&64240u16.to_be_bytes());
    let sum = pseudo_checksum(source.0, destination.0, TCP, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

/// A UDP datagram.
pub fn udp4(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0; 8];
    datagram[0..2].copy_from_slice(&source.1.to_be_bytes());
    datagram[2..4].copy_from_slice(&destination.1.to_be_bytes());
    datagram.extend(payload);
    let length = datagram.len() as u16;
    datagram[4..6].copy_from_slice(&length.to_be_bytes());
    let sum = pseudo_checksum(source.0, destination.0, UDP, &datagram);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_a_known_header() {
        // The worked example of the Wikipedia article on the IPv4 header checksum: 0xb861.
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x00, 0x00, 0xc0, 0xa8, 0x00, 0x01,
            0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(checksum(&header), 0xb861);
    }
}
