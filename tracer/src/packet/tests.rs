use std::net::IpAddr;

use proptest::prelude::*;
use tracer_common::cilium::notify::PacketFlags;
use tracer_common::event::{self, EventHeader};

use super::decode::{Encapsulation, Frame, TunnelPorts, decode};
use super::start::{First, Start, start_of};
use crate::model::packet::{Ip, Packet, TcpFlags, Transport, TunnelKind};

// Packets that a Linux 6 kernel sent over a veth pair (02:00:00:00:00:01 → …:02, 10.0.0.1 → 10.0.0.2,
// fd00::1 → fd00::2), read from a packet socket at the other end; long payloads are cut.
const UDP4: &str =
    "02000000000202000000000108004500 0020c50b4000401161bf0a0000010a00 000212340009000c142078787878";
const TCP4_SYN: &str = "020000000002020000000001 0800 4500003c10664000400616540a0000010a000002 \
     12351f90d1840e5200000000a002faf014310000020405b40402080a494f7bec000000000103030a";
const TCP6_SYN: &str = "020000000002020000000001 86dd 6002b7d800280640fd000000000000000000000000000001fd00 \
     0000000000000000000000000002 12351f90c3dcaca800000000a002fd20fa320000020405a00402080ade51da6e0000000001 \
     03030a";
/// With a record route option.
const UDP4_OPTIONS: &str = "020000000002020000000001 0800 47000028c56e400040114f430a0000010a000002 \
     0707080a00000100 12340009000c142078787878";
const FRAGMENT4_FIRST: &str = "020000000002020000000001 0800 450005dcc5a5200040117b690a0000010a000002 \
     123400090bc0fe6a79797979";
const FRAGMENT4_MIDDLE: &str =
    "020000000002020000000001 0800 450005dcc5a520b940117ab00a0000010a000002 7979797979797979";
const FRAGMENT4_LAST: &str =
    "020000000002020000000001 0800 45000044c5a5017240119f8f0a0000010a000002 7979797979797979";
const FRAGMENT6_FIRST: &str = "020000000002020000000001 86dd 60059fae05b02c40fd00000000000000000000000000 \
     0001fd000000000000000000000000000002 1100000108e7d253 123400090bc0189679797979";
const FRAGMENT6_LATER: &str = "020000000002020000000001 86dd 60059fae05b02c40fd00000000000000000000000000 \
     0001fd000000000000000000000000000002 110005a908e7d253 7979797979797979";
/// Hop-by-hop options, then destination options, then UDP.
const UDP6_EXTENSIONS: &str = "020000000002020000000001 86dd 60059fae001c0040fd000000000000000000000000000001 \
     fd000000000000000000000000000002 3c00010400000000 1100010400000000 12340009000c02a478787878";
/// Network 12345 between 10.0.0.1 and .2; inside 10.244.0.1 → .2.
const VXLAN_UDP4: &str = "020000000002020000000001 0800 45000052c5e900004011a0af0a0000010a000002 89b02118003e077c \
     0800000000303900 020000000102020000000101 0800 4500002094fd400040118fe50af400010af40002 12340009000c1608 \
     78787878";
const VXLAN_TCP6: &str = "020000000002020000000001 0800 45000082c61600004011a0520a0000010a000002 9da52118006ee380 \
     0800000000303900 020000000102020000000101 86dd 6005148100280640fd010000000000000000000000000001fd0100000000 \
     00000000000000000002 12351f9037b8cadb00000000a002ff32fa3400000204056e0402080a75a64047000000000103030a";
const ICMP_ECHO: &str =
    "020000000002020000000001 0800 4500001cde5240004001488c0a0000010a000002 0800f7ff00000000";
/// Multicast listener report (IPv6 with a router alert option).
const MLD: &str = "333300000016020000000001 86dd 6000000000240001fe80000000000000000000fffe000001ff02000000000000 \
     0000000000000016 3a00050200000100 8f007207000000010400 0000ff0200000000000000000001ff000001";

// Put together by hand from the RFCs around the packets above.
/// RFC 8926: Geneve with 8 bytes of options (length field 2), network 54321 (0x00d431), Ethernet inside.
const GENEVE_TCP4: &str = "020000000002020000000001 0800 4500006000004000401100000a0000010a000002 1f9017c1004c0000 \
     0200 6558 00d43100 0102800111223344 020000000202020000000201 0800 \
     4500002800004000400600000af500010af50002 12351f90000000010000000050120000 0000 0000";
/// IEEE 802.1ad: service tag 200, then 802.1Q tag 300, priority 5.
const QINQ: &str = "020000000002020000000001 88a8 00c8 8100 a12c 0800 4500001c00004000401100000a0200010a020002 \
     1234000900080000";
/// RFC 4960: SCTP INIT chunk.
const SCTP: &str = "020000000002020000000001 0800 4500003400004000408400000a0000010a000002 \
     12361f9100000000000000000100001400000001";
/// RFC 4302: an authentication header of 24 bytes (length field 4) in IPv6 before TCP with RST, ACK.
const AUTHENTICATED: &str = "020000000002020000000001 86dd 60000000002c3340fd000000000000000000000000000001fd00 \
     0000000000000000000000000002 0604000000000001000000020000000000000000 00000000 \
     12351f9000000000000000005014000000000000";
/// RFC 826: who has 10.0.0.2.
const ARP: &str = "ffffffffffff020000000001 0806 0001080006040001020000000001 0a000001 000000000000 0a000002";

const EVERY_PACKET: [&str; 17] = [
    UDP4,
    TCP4_SYN,
    TCP6_SYN,
    UDP4_OPTIONS,
    FRAGMENT4_FIRST,
    FRAGMENT4_MIDDLE,
    FRAGMENT4_LAST,
    FRAGMENT6_FIRST,
    FRAGMENT6_LATER,
    UDP6_EXTENSIONS,
    VXLAN_UDP4,
    VXLAN_TCP6,
    ICMP_ECHO,
    MLD,
    GENEVE_TCP4,
    QINQ,
    SCTP,
];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let value = |digit: u8| (digit as char).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

fn frame(bytes: &[u8]) -> Frame<'_> {
    Frame {
        bytes,
        first: First::Ethernet,
        protocol: 0,
        vlan_tci: None,
        length: bytes.len() as u32,
        encapsulation: Encapsulation::ByPort(TunnelPorts::default()),
    }
}

fn packet(text: &str) -> Packet {
    decode(&frame(&hex(text)))
}

fn ip(text: &str) -> Ip {
    let packet = packet(text);
    assert!(!packet.truncated, "{text}");
    packet.ip.unwrap()
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const SYN: TcpFlags = TcpFlags(1 << 1);

#[test]
fn udp_over_ipv4_is_read() {
    let packet = packet(UDP4);
    let ethernet = packet.ethernet.unwrap();
    assert_eq!(ethernet.source, [2, 0, 0, 0, 0, 1]);
    assert_eq!(ethernet.destination, [2, 0, 0, 0, 0, 2]);
    assert_eq!(ethernet.ethertype, 0x0800);
    let ip = packet.ip.unwrap();
    assert_eq!((ip.source, ip.destination), (addr("10.0.0.1"), addr("10.0.0.2")));
    assert_eq!(ip.transport, Transport::Udp { source_port: 0x1234, destination_port: 9 });
    assert_eq!((ip.ttl, ip.fragment, packet.length), (64, false, 46));
}

#[test]
fn tcp_syn_is_read_over_both_families() {
    let expected = Transport::Tcp { source_port: 0x1235, destination_port: 8080, flags: SYN };
    assert_eq!(ip(TCP4_SYN).transport, expected);
    let six = ip(TCP6_SYN);
    assert_eq!(six.transport, expected);
    assert_eq!((six.source, six.destination), (addr("fd00::1"), addr("fd00::2")));
}

#[test]
fn ipv4_options_are_skipped() {
    let expected = Transport::Udp { source_port: 0x1234, destination_port: 9 };
    assert_eq!(ip(UDP4_OPTIONS).transport, expected);
}

#[test]
fn first_fragment_has_ports_and_later_ones_do_not() {
    let ports = Transport::Udp { source_port: 0x1234, destination_port: 9 };
    let later = Transport::LaterFragment { protocol: 17 };
    for (text, expected) in [
        (FRAGMENT4_FIRST, ports),
        (FRAGMENT4_MIDDLE, later),
        (FRAGMENT4_LAST, later),
        (FRAGMENT6_FIRST, ports),
        (FRAGMENT6_LATER, later),
    ] {
        let ip = ip(text);
        assert_eq!((ip.transport, ip.fragment), (expected, true), "{text}");
    }
}

#[test]
fn ipv6_extension_headers_are_followed() {
    assert_eq!(ip(UDP6_EXTENSIONS).transport, Transport::Udp { source_port: 0x1234, destination_port: 9 });
    assert_eq!(ip(MLD).transport, Transport::Icmpv6 { kind: 143, code: 0 });
    let reset = TcpFlags(1 << 2 | 1 << 4);
    let expected = Transport::Tcp { source_port: 0x1235, destination_port: 8080, flags: reset };
    assert_eq!(ip(AUTHENTICATED).transport, expected);
}

#[test]
fn chain_of_extension_headers_without_end_is_left_alone() {
    let mut bytes = hex(TCP6_SYN);
    bytes.truncate(54);
    bytes[18..20].copy_from_slice(&[0, 0]);
    bytes[20] = 60;
    for _ in 0..20 {
        bytes.extend([60, 0, 1, 4, 0, 0, 0, 0]);
    }
    let packet = decode(&frame(&bytes));
    assert_eq!(packet.ip.unwrap().transport, Transport::Other { protocol: 60 });
}

#[test]
fn sctp_and_icmp_are_read() {
    assert_eq!(ip(SCTP).transport, Transport::Sctp { source_port: 0x1236, destination_port: 8081 });
    assert_eq!(ip(ICMP_ECHO).transport, Transport::Icmpv4 { kind: 8, code: 0 });
}

#[test]
fn arp_has_no_ip() {
    let packet = packet(ARP);
    assert_eq!((packet.ip, packet.truncated), (None, false));
    assert_eq!(packet.ethernet.unwrap().ethertype, 0x0806);
}

#[test]
fn outermost_vlan_tag_counts() {
    let bytes = hex(QINQ);
    let packet = decode(&frame(&bytes));
    assert_eq!(packet.vlan, Some(200));
    assert_eq!(packet.ip.unwrap().destination, addr("10.2.0.2"));
    let offloaded = decode(&Frame { vlan_tci: Some(0xa064), ..frame(&bytes) });
    assert_eq!(offloaded.vlan, Some(100));
}

#[test]
fn inner_packet_of_vxlan_is_the_flow() {
    let packet = packet(VXLAN_UDP4);
    let tunnel = packet.tunnel.unwrap();
    assert_eq!((tunnel.kind, tunnel.vni), (TunnelKind::Vxlan, 12345));
    assert_eq!(tunnel.outer.destination, addr("10.0.0.2"));
    assert_eq!(tunnel.outer.transport, Transport::Udp { source_port: 0x89b0, destination_port: 8472 });
    assert_eq!(packet.ip.unwrap().source, addr("10.244.0.1"));
    assert_eq!(packet.ethernet.unwrap().destination, [2, 0, 0, 0, 1, 2]);
    let six = ip(VXLAN_TCP6);
    assert_eq!(six.destination, addr("fd01::2"));
    assert_eq!(six.transport, Transport::Tcp { source_port: 0x1235, destination_port: 8080, flags: SYN });
}

#[test]
fn inner_packet_of_geneve_lies_behind_the_options() {
    let packet = packet(GENEVE_TCP4);
    let tunnel = packet.tunnel.unwrap();
    assert_eq!((tunnel.kind, tunnel.vni), (TunnelKind::Geneve, 54321));
    let flags = TcpFlags(1 << 1 | 1 << 4);
    let expected = Transport::Tcp { source_port: 0x1235, destination_port: 8080, flags };
    assert_eq!(packet.ip.unwrap().transport, expected);
}

#[test]
fn tunnel_is_opened_by_its_configured_port_only() {
    let bytes = hex(VXLAN_UDP4);
    let other = TunnelPorts { vxlan: 4789, geneve: 6081 };
    for encapsulation in [Encapsulation::ByPort(other), Encapsulation::None] {
        let packet = decode(&Frame { encapsulation, ..frame(&bytes) });
        assert_eq!(packet.tunnel, None);
        assert_eq!(packet.ip.unwrap().source, addr("10.0.0.1"));
    }
    let mut moved = bytes;
    moved[36..38].copy_from_slice(&[0x12, 0xb5]);
    let known = Encapsulation::Known(TunnelKind::Vxlan);
    assert!(decode(&Frame { encapsulation: known, ..frame(&moved) }).tunnel.is_some());
}

#[test]
fn udp_to_a_tunnel_port_that_is_no_tunnel_stays_as_it_is() {
    let mut bytes = hex(VXLAN_UDP4);
    bytes[42] = 0;
    let packet = decode(&frame(&bytes));
    assert_eq!((packet.tunnel, packet.truncated), (None, false));
    assert_eq!(packet.ip.unwrap().source, addr("10.0.0.1"));
}

#[test]
fn tunnel_with_inner_addresses_out_of_sight_shows_the_outer_packet() {
    let bytes = hex(VXLAN_UDP4);
    for length in 42..bytes.len() - 12 {
        let packet = decode(&frame(&bytes[..length]));
        let inner = length >= 84;
        assert_eq!(packet.tunnel.is_some(), inner, "cut to {length}");
        assert!(packet.truncated);
        assert_eq!(packet.ip.unwrap().source, addr(if inner { "10.244.0.1" } else { "10.0.0.1" }));
    }
}

#[test]
fn every_truncation_is_said_and_what_was_read_stays_true() {
    for text in EVERY_PACKET {
        let bytes = hex(text);
        let whole = decode(&frame(&bytes));
        for length in 0..bytes.len() {
            let cut = decode(&frame(&bytes[..length]));
            let same = Packet { length: cut.length, ..whole } == cut;
            assert!(same || cut.truncated, "{text} cut to {length}: {cut:?}");
            if cut.tunnel == whole.tunnel
                && let (Some(cut), Some(whole)) = (cut.ip, whole.ip)
            {
                assert_eq!((cut.source, cut.destination), (whole.source, whole.destination));
            }
        }
    }
}

#[test]
fn tcp_ports_survive_the_loss_of_the_flags() {
    let bytes = hex(TCP4_SYN);
    let cut = decode(&frame(&bytes[..14 + 20 + 13]));
    assert_eq!(cut.ip.unwrap().transport.ports(), Some((0x1235, 8080)));
    assert!(cut.truncated);
    let cut = decode(&frame(&bytes[..14 + 20 + 3]));
    assert_eq!(cut.ip.unwrap().transport, Transport::Truncated { protocol: 6 });
}

#[test]
fn ethernet_padding_is_not_taken_for_ports() {
    // An IPv4 packet of 20 bytes (no payload) in a frame padded to 60.
    let mut bytes = hex(UDP4);
    bytes[16..18].copy_from_slice(&[0, 22]);
    bytes.resize(60, 0);
    assert_eq!(decode(&frame(&bytes)).ip.unwrap().transport, Transport::Truncated { protocol: 17 });
}

#[test]
fn header_length_below_the_minimum_leaves_the_addresses() {
    let mut bytes = hex(UDP4);
    bytes[14] = 0x44;
    let packet = decode(&frame(&bytes));
    let ip = packet.ip.unwrap();
    assert_eq!((ip.source, ip.transport), (addr("10.0.0.1"), Transport::Truncated { protocol: 17 }));
}

#[test]
fn bare_packets_are_read_with_and_without_protocol() {
    for text in [TCP4_SYN, TCP6_SYN] {
        let bytes = &hex(text)[14..];
        for protocol in [0, u16::from_be_bytes([hex(text)[12], hex(text)[13]])] {
            let packet = decode(&Frame { first: First::Network, protocol, ..frame(bytes) });
            assert_eq!(packet.ethernet, None);
            assert_eq!(packet.ip, self::packet(text).ip);
        }
    }
}

fn header(start: u8, dev_type: u16, protocol: u16, length: usize) -> EventHeader {
    EventHeader {
        start,
        dev_type,
        protocol: protocol.to_be(),
        packet_len: length as u32,
        ..Default::default()
    }
}

const TOLD_ETHERNET: Start = Start { first: First::Ethernet, guessed: false };
const TOLD_NETWORK: Start = Start { first: First::Network, guessed: false };

#[test]
fn device_type_tells_the_start() {
    let bytes = hex(TCP4_SYN);
    let bare = &bytes[14..];
    for start in [event::start::MAC, event::start::DATA] {
        for dev_type in [event::ARPHRD_ETHER, event::ARPHRD_LOOPBACK] {
            let header = header(start, dev_type, 0x0800, bytes.len());
            assert_eq!(start_of(&header, None, &bytes), TOLD_ETHERNET);
        }
        // WireGuard and tun (NONE), PPP, IPIP
        for dev_type in [65534, 512, 768] {
            let header = header(start, dev_type, 0x0800, bare.len());
            assert_eq!(start_of(&header, None, bare), TOLD_NETWORK);
        }
    }
    let header = header(event::start::NETWORK, event::ARPHRD_ETHER, 0x0800, bare.len());
    assert_eq!(start_of(&header, None, bare), TOLD_NETWORK);
}

#[test]
fn flags_of_the_message_come_before_the_device() {
    let bytes = hex(TCP4_SYN);
    let header = header(event::start::DATA, event::ARPHRD_ETHER, 0x0800, 60);
    assert_eq!(start_of(&header, Some(PacketFlags(0b10)), &bytes[14..]), TOLD_NETWORK);
    assert_eq!(start_of(&header, Some(PacketFlags(0)), &bytes), TOLD_ETHERNET);
}

#[test]
fn unknown_device_is_guessed_from_the_bytes_and_said() {
    for text in [TCP4_SYN, TCP6_SYN] {
        let bytes = hex(text);
        let header = header(event::start::DATA, event::DEV_TYPE_UNKNOWN, 0, bytes.len());
        let ethernet = start_of(&header, None, &bytes);
        assert_eq!(ethernet, Start { first: First::Ethernet, guessed: true });
        let network = start_of(&header, None, &bytes[14..]);
        assert_eq!(network, Start { first: First::Network, guessed: true });
    }
    let header = header(event::start::DATA, event::DEV_TYPE_UNKNOWN, 0, 64);
    assert_eq!(start_of(&header, None, &[0xff; 64]), Start { first: First::Unknown, guessed: false });
}

#[test]
fn packet_forwarded_between_devices_of_both_kinds_is_recognised() {
    let bytes = hex(TCP4_SYN);
    // From WireGuard to Ethernet: no MAC header, though the device has them.
    let to_ethernet = header(event::start::MAC, event::ARPHRD_ETHER, 0x0800, 60);
    let start = start_of(&to_ethernet, None, &bytes[14..]);
    assert_eq!(start, Start { first: First::Network, guessed: true });
    // From Ethernet to WireGuard: the old MAC header is still there.
    let to_wireguard = header(event::start::MAC, 65534, 0x0800, 74);
    let start = start_of(&to_wireguard, None, &bytes);
    assert_eq!(start, Start { first: First::Ethernet, guessed: true });
}

#[test]
fn nothing_captured_is_truncated() {
    let packet = decode(&Frame { length: 1500, ..frame(&[]) });
    let first = First::Ethernet;
    assert_eq!(packet, Packet { first, length: 1500, truncated: true, ..Packet::default() });
}

fn any_frame(bytes: &[u8], first: u8, protocol: u16, encapsulation: u8) -> Packet {
    let first = [First::Ethernet, First::Network, First::Unknown][usize::from(first % 3)];
    let encapsulation = match encapsulation % 4 {
        0 => Encapsulation::None,
        1 => Encapsulation::Known(TunnelKind::Vxlan),
        2 => Encapsulation::Known(TunnelKind::Geneve),
        _ => Encapsulation::ByPort(TunnelPorts::default()),
    };
    decode(&Frame { first, protocol, encapsulation, ..frame(bytes) })
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..260),
        (first, protocol, encapsulation) in any::<(u8, u16, u8)>(),
        (start, dev_type, flags) in any::<(u8, u16, Option<u8>)>(),
    ) {
        any_frame(&bytes, first, protocol, encapsulation);
        any_frame(&bytes, first, 0, encapsulation);
        let header = header(start % 4, dev_type, protocol, bytes.len());
        start_of(&header, flags.map(PacketFlags), &bytes);
    }

    #[test]
    fn damaged_packets_never_panic(
        which in 0..EVERY_PACKET.len(),
        damage in prop::collection::vec((0usize..160, any::<u8>()), 1..6),
        length in 0usize..200,
        encapsulation in any::<u8>(),
    ) {
        let mut bytes = hex(EVERY_PACKET[which]);
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(length);
        any_frame(&bytes, 0, 0, encapsulation);
    }
}
