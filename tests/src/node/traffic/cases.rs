//! The cases: each sends a known number of packets of one kind. The main ones use ordinary sockets.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

use super::Flood;
use super::frames::{Frame, TCP, UDP, tcp_syn4, udp4};
use crate::node::cast::*;
use crate::node::datapath::XDP_PORT;
use crate::node::kernel::link::LinkSocket;

/// Cilium's drop reasons.
pub const POLICY: u8 = 133;
const INVALID_SIP: u8 = 132;
const UNKNOWN_PROTO: u8 = 137;
const FRAG_NOSUPPORT: u8 = 157;
const NO_SERVICE: u8 = 158;
const FRAG_NOT_FOUND: u8 = 175;
const POLICY_DENY: u8 = 181;
const VLAN_FILTERED: u8 = 182;

/// Interface number of `eth0` inside a pod and in the world.
const INSIDE: u32 = 2;
/// A port where nobody listens.
const CLOSED: u16 = 9;
const DNS_PORT: u16 = 53;
const WEB_PORT: u16 = 443;
/// Needs three fragments at an MTU of 1500.
const LONG: [u8; 3000] = [0x61; 3000];
const LONG_FRAGMENTS: u64 = 3;
/// Longer than any answer takes here, shorter than the first retransmission (a second).
const PATIENCE: Duration = Duration::from_millis(500);
/// A SYN that nobody answers is sent once when the socket is closed early.
const IMPATIENCE: Duration = Duration::from_millis(2);

/// One kind of packet.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    /// The Cilium drop reason that every packet of it meets.
    pub reason: Option<u8>,
    pub from_world: bool,
    pub needs_xdp: bool,
    /// Sends one round's packets from the namespace it is called in; says how many.
    pub send: fn(round: u64) -> io::Result<u64>,
}

impl PartialEq for Case {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Case {}

const fn case(name: &'static str, reason: Option<u8>, send: fn(u64) -> io::Result<u64>) -> Case {
    Case { name, reason, from_world: false, needs_xdp: false, send }
}

const fn world_case(name: &'static str, reason: Option<u8>, send: fn(u64) -> io::Result<u64>) -> Case {
    Case { from_world: true, ..case(name, reason, send) }
}

/// Every case, in the order of a round.
pub static CASES: [Case; 27] = [
    case("allowed-tcp", None, |_| talk(SERVER.ipv4.into(), ALLOWED_PORT)),
    case("allowed-tcp6", None, |_| talk(SERVER.ipv6.into(), ALLOWED_PORT)),
    case("denied-tcp", Some(POLICY), |_| knock(SERVER.ipv4.into(), DENIED_PORT)),
    case("denied-tcp6", Some(POLICY), |_| knock(SERVER.ipv6.into(), DENIED_PORT)),
    case("denied-udp", Some(POLICY), |_| datagram(SERVER.ipv4.into(), DNS_PORT, b"denied")),
    case("explicit-deny", Some(POLICY_DENY), |_| datagram(DENIED_IPV4.into(), DNS_PORT, b"question")),
    case("explicit-deny6", Some(POLICY_DENY), |_| datagram(DENIED_IPV6.into(), DNS_PORT, b"question")),
    case("allowed-udp", None, |_| ask(DNS.ipv4.into())),
    case("allowed-udp6", None, |_| ask(DNS.ipv6.into())),
    case("closed-udp", None, |_| datagram(HEALTH.ipv4.into(), CLOSED, b"anybody?")),
    case("closed-udp6", None, |_| datagram(HEALTH.ipv6.into(), CLOSED, b"anybody?")),
    case("echo", None, |round| echo4(HEALTH.ipv4, round)),
    case("echo6", None, |round| echo6(HEALTH.ipv6, round)),
    case("denied-echo", Some(POLICY), |round| echo4(SERVER.ipv4, round)),
    case("denied-echo6", Some(POLICY), |round| echo6(SERVER.ipv6, round)),
    case("fragments", None, |_| fragments(DNS.ipv4.into(), DNS_PORT)),
    case("denied-fragments", Some(POLICY), |_| fragments(SERVER.ipv4.into(), DENIED_PORT)),
    case("fragments6", Some(FRAG_NOSUPPORT), |_| fragments(SERVER.ipv6.into(), DNS_PORT)),
    case("late-fragment", Some(FRAG_NOT_FOUND), |round| frame(late_fragment(round))),
    case("vlan", Some(VLAN_FILTERED), |_| frame(from_client(SERVER.ipv4, ALLOWED_PORT).vlan(7))),
    case("spoofed-source", Some(INVALID_SIP), |_| frame(spoofed())),
    case("unknown-protocol", Some(UNKNOWN_PROTO), |_| {
        frame(Frame::ipv4(from_pod(), (CLIENT.ipv4, SERVER.ipv4), 47, b"gre?"))
    }),
    case("world-out", None, |_| talk(FAR_IPV4.into(), WEB_PORT)),
    case("world-out6", None, |_| talk(FAR_IPV6.into(), WEB_PORT)),
    world_case("world-in", Some(POLICY), |_| knock(SERVER.ipv4.into(), ALLOWED_PORT)),
    world_case("world-vlan", Some(VLAN_FILTERED), |_| frame(from_world(SERVER.ipv4, ALLOWED_PORT).vlan(7))),
    Case {
        needs_xdp: true,
        ..world_case("xdp", Some(NO_SERVICE), |_| frame(from_world(NODE_IPV4, XDP_PORT)))
    },
];

/// A whole connection: greet, be greeted, part.
fn talk(ip: IpAddr, port: u16) -> io::Result<u64> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip, port), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"hello")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    stream.shutdown(Shutdown::Both)?;
    Ok(1)
}

/// One SYN that is not answered.
fn knock(ip: IpAddr, port: u16) -> io::Result<u64> {
    match TcpStream::connect_timeout(&SocketAddr::new(ip, port), IMPATIENCE) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(1),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other("somebody answered")),
    }
}

fn udp(ip: IpAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0))
}

fn datagram(ip: IpAddr, port: u16, payload: &[u8]) -> io::Result<u64> {
    udp(ip)?.send_to(payload, (ip, port))?;
    Ok(1)
}

fn fragments(ip: IpAddr, port: u16) -> io::Result<u64> {
    datagram(ip, port, &LONG)?;
    Ok(LONG_FRAGMENTS)
}

/// A question to the name server, and its answer.
fn ask(ip: IpAddr) -> io::Result<u64> {
    let socket = udp(ip)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(b"question", (ip, DNS_PORT))?;
    socket.recv(&mut [0; 64])?;
    Ok(1)
}

/// Identifier and sequence number of a round's echo request.
fn echo_body(kind: u8, round: u64) -> [u8; 16] {
    let mut body = *b"\0\0\0\0\0\0\0\0tracers!";
    body[0] = kind;
    body[4..6].copy_from_slice(&0x7472u16.to_be_bytes());
    body[6..8].copy_from_slice(&(round as u16).to_be_bytes());
    body
}

fn echo4(ip: Ipv4Addr, round: u64) -> io::Result<u64> {
    let mut body = echo_body(8, round);
    let checksum = super::frames::checksum(&body);
    body[2..4].copy_from_slice(&checksum.to_be_bytes());
    let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP))?;
    sendto(&socket, &body, SendFlags::empty(), &SocketAddr::new(ip.into(), 0))?;
    Ok(1)
}

fn echo6(ip: Ipv6Addr, round: u64) -> io::Result<u64> {
    // The kernel computes the checksum of ICMPv6.
    let socket = socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6))?;
    sendto(&socket, &echo_body(128, round), SendFlags::empty(), &SocketAddr::new(ip.into(), 0))?;
    Ok(1)
}

fn frame(frame: Frame) -> io::Result<u64> {
    LinkSocket::open(INSIDE)?.send(&frame.bytes())?;
    Ok(1)
}

/// MAC addresses of a frame from the client to its gateway: destination, source.
fn from_pod() -> ([u8; 6], [u8; 6]) {
    (CLIENT.node_mac, CLIENT.mac)
}

fn from_client(to: Ipv4Addr, port: u16) -> Frame {
    Frame::ipv4(from_pod(), (CLIENT.ipv4, to), TCP, &tcp_syn4((CLIENT.ipv4, 45000), (to, port)))
}

fn from_world(to: Ipv4Addr, port: u16) -> Frame {
    Frame::ipv4((ETH0_MAC, WORLD_MAC), (FAR_IPV4, to), TCP, &tcp_syn4((FAR_IPV4, 45000), (to, port)))
}

/// From an address that is not the client's.
fn spoofed() -> Frame {
    let source = Ipv4Addr::new(10, 244, 1, 99);
    Frame::ipv4(from_pod(), (source, SERVER.ipv4), UDP, &udp4((source, 45000), (SERVER.ipv4, CLOSED), b"boo"))
}

/// The second half of a datagram whose first half was never sent.
fn late_fragment(round: u64) -> Frame {
    Frame::ipv4(from_pod(), (CLIENT.ipv4, SERVER.ipv4), UDP, &[0x62; 64]).fragment(
        0x4000 | round as u16,
        185,
        false,
    )
}

/// Datagrams that the server's policy denies, from one sender.
pub fn flood(flood: Flood, stop: &AtomicBool) -> io::Result<u64> {
    /// Sent in one go: a sleep takes longer than a packet.
    const BURST: u64 = 1024;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((SERVER.ipv4, CLOSED))?;
    let (start, mut sent) = (Instant::now(), 0);
    while sent < flood.packets {
        if sent % BURST == 0 {
            if stop.load(Ordering::Acquire) {
                break;
            }
            if let Some(rate) = flood.rate {
                let due = Duration::from_nanos(sent.saturating_mul(1_000_000_000) / rate);
                thread::sleep(due.saturating_sub(start.elapsed()));
            }
        }
        match socket.send(b"flood") {
            Ok(_) => sent += 1,
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
