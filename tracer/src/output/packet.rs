//! Packets in Hubble's words: addresses, ICMP names, and the one-line summary of the innermost layer.

use std::io::Write;
use std::net::IpAddr;

use super::json::HEX_DIGITS;
use crate::model::packet::{Packet, Transport};

pub(super) fn write_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => write_ipv4(out, v4.octets()),
        // Writing to a Vec cannot fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

/// The digits of each octet, and how many there are.
const OCTETS: [([u8; 3], u8); 256] = {
    let mut octets = [([b'0'; 3], 1); 256];
    let mut octet = 0;
    while octet < 256 {
        let (hundreds, tens, ones) = (octet / 100, octet / 10 % 10, octet % 10);
        octets[octet] = match (hundreds, tens) {
            (0, 0) => ([b'0' + ones as u8, 0, 0], 1),
            (0, _) => ([b'0' + tens as u8, b'0' + ones as u8, 0], 2),
            _ => ([b'0' + hundreds as u8, b'0' + tens as u8, b'0' + ones as u8], 3),
        };
        octet += 1;
    }
    octets
};

fn write_ipv4(out: &mut Vec<u8>, octets: [u8; 4]) {
    let (mut text, mut length) = ([0; 16], 0);
    for octet in octets {
        let (digits, count) = OCTETS[usize::from(octet)];
        text[length..length + 3].copy_from_slice(&digits);
        length += usize::from(count);
        text[length] = b'.';
        length += 1;
    }
    out.extend_from_slice(&text[..length - 1]);
}

pub(super) fn write_mac(out: &mut Vec<u8>, mac: &[u8; 6]) {
    let mut text = [b':'; 17];
    for (digits, byte) in text.chunks_mut(3).zip(mac) {
        digits[..2].copy_from_slice(&hex(*byte));
    }
    out.extend_from_slice(&text);
}

/// Two lower-case digits.
pub(super) const fn hex(byte: u8) -> [u8; 2] {
    [HEX_DIGITS[(byte >> 4) as usize], HEX_DIGITS[(byte & 15) as usize]]
}

/// The innermost decoded layer: `TCP Flags: SYN, ACK`, `ICMPv4 EchoRequest`, else its name alone.
pub(super) fn write_summary(out: &mut Vec<u8>, packet: &Packet) {
    let Some(ip) = &packet.ip else {
        return out.extend_from_slice(if packet.ethernet.is_some() { b"Ethernet" } else { b"" });
    };
    match ip.transport {
        Transport::Tcp { flags, .. } => {
            out.extend_from_slice(b"TCP Flags: ");
            for (at, name) in flags.names().enumerate() {
                out.extend_from_slice(if at > 0 { b", " } else { b"" });
                out.extend_from_slice(name.as_bytes());
            }
        }
        Transport::Udp { .. } => out.extend_from_slice(b"UDP"),
        Transport::Sctp { .. } => out.extend_from_slice(b"SCTP"),
        Transport::Icmpv4 { kind, code } => write_icmp(out, "ICMPv4 ", kind, code, icmpv4(kind)),
        Transport::Icmpv6 { kind, code } => write_icmp(out, "ICMPv6 ", kind, code, icmpv6(kind)),
        _ => out.extend_from_slice(if ip.source.is_ipv4() { b"IPv4" } else { b"IPv6" }),
    }
}

/// Name of an ICMP type, and the names of its codes by number.
type IcmpNames = (&'static str, &'static [&'static str]);

/// `EchoRequest`, `DestinationUnreachable(Port)`, `TimeExceeded(Code: 9)`, or `40(0)` for an unknown type.
fn write_icmp(out: &mut Vec<u8>, layer: &str, kind: u8, code: u8, names: Option<IcmpNames>) {
    out.extend_from_slice(layer.as_bytes());
    // Writing to a Vec cannot fail.
    let _ = match names {
        None => write!(out, "{kind}({code})"),
        Some((name, [])) if code == 0 => write!(out, "{name}"),
        Some((name, codes)) => match codes.get(usize::from(code)) {
            Some(code) => write!(out, "{name}({code})"),
            None => write!(out, "{name}(Code: {code})"),
        },
    };
}

/// Names as Hubble's packet decoder prints them.
fn icmpv4(kind: u8) -> Option<IcmpNames> {
    const UNREACHABLE: &[&str] = &[
        "Net",
        "Host",
        "Protocol",
        "Port",
        "FragmentationNeeded",
        "SourceRoutingFailed",
        "NetUnknown",
        "HostUnknown",
        "SourceIsolated",
        "NetAdminProhibited",
        "HostAdminProhibited",
        "NetTOS",
        "HostTOS",
        "CommAdminProhibited",
        "HostPrecedence",
        "PrecedenceCutoff",
    ];
    Some(match kind {
        0 => ("EchoReply", &[]),
        3 => ("DestinationUnreachable", UNREACHABLE),
        4 => ("SourceQuench", &[]),
        5 => ("Redirect", &["Net", "Host", "TOS+Net", "TOS+Host"]),
        8 => ("EchoRequest", &[]),
        9 => ("RouterAdvertisement", &[]),
        10 => ("RouterSolicitation", &[]),
        11 => ("TimeExceeded", &["TTLExceeded", "FragmentReassemblyTimeExceeded"]),
        12 => ("ParameterProblem", &["PointerIndicatesError", "MissingOption", "BadLength"]),
        13 => ("TimestampRequest", &[]),
        14 => ("TimestampReply", &[]),
        15 => ("InfoRequest", &[]),
        16 => ("InfoReply", &[]),
        17 => ("AddressMaskRequest", &[]),
        18 => ("AddressMaskReply", &[]),
        _ => return None,
    })
}

/// Names as Hubble's packet decoder prints them.
fn icmpv6(kind: u8) -> Option<IcmpNames> {
    const UNREACHABLE: &[&str] = &[
        "NoRouteToDst",
        "AdminProhibited",
        "BeyondScopeOfSrc",
        "AddressUnreachable",
        "PortUnreachable",
        "SrcAddressFailedPolicy",
        "RejectRouteToDst",
    ];
    Some(match kind {
        1 => ("DestinationUnreachable", UNREACHABLE),
        2 => ("PacketTooBig", &[]),
        3 => ("TimeExceeded", &["HopLimitExceeded", "FragmentReassemblyTimeExceeded"]),
        4 => (
            "ParameterProblem",
            &["ErroneousHeaderField", "UnrecognizedNextHeader", "UnrecognizedNextHeader"],
        ),
        128 => ("EchoRequest", &[]),
        129 => ("EchoReply", &[]),
        133 => ("RouterSolicitation", &[]),
        134 => ("RouterAdvertisement", &[]),
        135 => ("NeighborSolicitation", &[]),
        136 => ("NeighborAdvertisement", &[]),
        137 => ("Redirect", &[]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::packet::{Ethernet, Ip, TcpFlags};

    fn check(transport: Transport, expected: &str) {
        let ip = Ip {
            source: "10.0.0.1".parse().unwrap(),
            destination: "10.0.0.2".parse().unwrap(),
            transport,
            fragment: false,
            ttl: 64,
        };
        let mut out = Vec::new();
        write_summary(&mut out, &Packet { ip: Some(ip), ..Packet::default() });
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn the_innermost_layer_is_named() {
        let (source_port, destination_port) = (1, 2);
        // All nine bits, in Hubble's order.
        let all = "TCP Flags: SYN, ACK, RST, FIN, PSH, URG, ECE, CWR, NS";
        check(Transport::Tcp { source_port, destination_port, flags: TcpFlags(0x1ff) }, all);
        check(Transport::Tcp { source_port, destination_port, flags: TcpFlags(0x12) }, "TCP Flags: SYN, ACK");
        check(Transport::Udp { source_port, destination_port }, "UDP");
        check(Transport::Sctp { source_port, destination_port }, "SCTP");
        check(Transport::Icmpv4 { kind: 8, code: 0 }, "ICMPv4 EchoRequest");
        check(Transport::Icmpv4 { kind: 8, code: 1 }, "ICMPv4 EchoRequest(Code: 1)");
        check(Transport::Icmpv4 { kind: 3, code: 3 }, "ICMPv4 DestinationUnreachable(Port)");
        check(Transport::Icmpv4 { kind: 11, code: 9 }, "ICMPv4 TimeExceeded(Code: 9)");
        check(Transport::Icmpv4 { kind: 40, code: 2 }, "ICMPv4 40(2)");
        check(Transport::Icmpv6 { kind: 135, code: 0 }, "ICMPv6 NeighborSolicitation");
        check(Transport::Icmpv6 { kind: 1, code: 4 }, "ICMPv6 DestinationUnreachable(PortUnreachable)");
        check(Transport::LaterFragment { protocol: 17 }, "IPv4");
        check(Transport::Other { protocol: 89 }, "IPv4");
    }

    #[test]
    fn packets_without_ip_are_ethernet_or_nothing() {
        let mut out = Vec::new();
        write_summary(&mut out, &Packet::default());
        assert!(out.is_empty());
        let ethernet = Ethernet { source: [1; 6], destination: [2; 6], ethertype: 0x806 };
        write_summary(&mut out, &Packet { ethernet: Some(ethernet), ..Packet::default() });
        assert_eq!(out, b"Ethernet");
    }

    #[test]
    fn addresses() {
        let mut out = Vec::new();
        for ip in ["203.0.113.7", "0.9.10.99", "100.255.199.1"] {
            write_ip(&mut out, ip.parse().unwrap());
            out.push(b' ');
        }
        write_ip(&mut out, "fd00::1:20".parse().unwrap());
        write_mac(&mut out, &[0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f]);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "203.0.113.7 0.9.10.99 100.255.199.1 fd00::1:200a:1b:2c:3d:4e:5f"
        );
    }
}
