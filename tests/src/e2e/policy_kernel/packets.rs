//! Packets from the client, byte by byte.

use std::net::Ipv6Addr;

use crate::node::cast::{CLIENT, Pod};
use crate::node::traffic::{Frame, checksum, tcp_syn4, udp4};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const SCTP: u8 = 132;

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Tcp,
    Udp,
    Sctp,
    /// Type and code.
    Icmp((u8, u8)),
    /// Of UDP; its first fragment was never sent.
    LateFragment,
}

/// One packet from the client to another pod.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub to: Pod,
    pub kind: Kind,
    /// TCP and UDP only.
    pub ipv6: bool,
    /// The identifier of an ICMP message.
    pub source_port: u16,
    pub port: u16,
    /// It has somebody else's source address.
    pub is_spoofed: bool,
}

impl Packet {
    pub fn protocol(&self) -> u8 {
        match self.kind {
            Kind::Tcp => TCP,
            Kind::Udp | Kind::LateFragment => UDP,
            Kind::Sctp => SCTP,
            Kind::Icmp(_) => ICMP,
        }
    }

    pub fn icmp(&self) -> Option<(u8, u8)> {
        match self.kind {
            Kind::Icmp(icmp) => Some(icmp),
            _ => None,
        }
    }

    pub fn is_late_fragment(&self) -> bool {
        matches!(self.kind, Kind::LateFragment)
    }

    /// It starts a connection, so that the answer belongs to one.
    pub fn has_reply(&self) -> bool {
        matches!(self.kind, Kind::Tcp | Kind::Udp | Kind::Sctp | Kind::Icmp((8, _)))
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.between((CLIENT, self.source_port), (self.to, self.port), self.icmp())
    }

    /// The answer of the other end; to an ICMP message that of an echo.
    pub fn reply(&self) -> Vec<u8> {
        self.between((self.to, self.port), (CLIENT, self.source_port), self.icmp().map(|_| (0, 0)))
    }

    fn between(&self, from: (Pod, u16), to: (Pod, u16), icmp: Option<(u8, u8)>) -> Vec<u8> {
        if self.ipv6 {
            return self.ipv6_between(from, to);
        }
        let macs = (from.0.node_mac, from.0.mac);
        let source = if self.is_spoofed { [10, 244, 9, 9].into() } else { from.0.ipv4 };
        let ends = ((source, from.1), (to.0.ipv4, to.1));
        let payload = match (self.kind, icmp) {
            (Kind::Tcp, _) => tcp_syn4(ends.0, ends.1),
            (Kind::Sctp, _) => [&ports(from.1, to.1)[..], &[0; 8]].concat(),
            (_, Some((kind, code))) => icmp_message(kind, code, self.source_port),
            _ => udp4(ends.0, ends.1, b"test"),
        };
        let frame = Frame::ipv4(macs, (source, to.0.ipv4), self.protocol(), &payload);
        match self.kind {
            Kind::LateFragment => frame.fragment(self.source_port, 64, false).bytes(),
            _ => frame.bytes(),
        }
    }

    /// Without checksums: the datapath does not look at them.
    fn ipv6_between(&self, from: (Pod, u16), to: (Pod, u16)) -> Vec<u8> {
        let mut payload = vec![0; if matches!(self.kind, Kind::Tcp) { 20 } else { 12 }];
        payload[..4].copy_from_slice(&ports(from.1, to.1));
        if matches!(self.kind, Kind::Tcp) {
            (payload[12], payload[13]) = (5 << 4, 0x02);
        } else {
            payload[5] = 12;
        }
        let source = if self.is_spoofed { Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 9, 9) } else { from.0.ipv6 };
        let mut frame = [&from.0.node_mac[..], &from.0.mac, &[0x86, 0xdd, 0x60, 0, 0, 0, 0]].concat();
        frame.extend([payload.len() as u8, self.protocol(), 64]);
        frame.extend(source.octets());
        frame.extend(to.0.ipv6.octets());
        frame.extend(payload);
        frame
    }
}

fn ports(source: u16, destination: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (source.to_be_bytes(), destination.to_be_bytes());
    [a, b, c, d]
}

fn icmp_message(kind: u8, code: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let mut message = vec![kind, code, 0, 0, high, low, 0, 1];
    message.extend(b"datadata");
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}
