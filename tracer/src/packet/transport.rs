//! Transport layer: TCP, UDP, SCTP, ICMP, ICMPv6. Only what names a flow is read.

use tracer_common::packet::{IcmpStart, Ports, TcpStart, protocol};
use zerocopy::FromBytes;

use crate::model::packet::{TcpFlags, Transport};

/// Reads the transport header, and says whether it is cut off.
pub fn decode(protocol: u8, bytes: &[u8]) -> (Transport, bool) {
    let transport = match protocol {
        protocol::TCP => return tcp(bytes),
        protocol::UDP => ports(bytes)
            .map(|(source_port, destination_port)| Transport::Udp { source_port, destination_port }),
        protocol::SCTP => ports(bytes)
            .map(|(source_port, destination_port)| Transport::Sctp { source_port, destination_port }),
        protocol::ICMP => icmp(bytes).map(|(kind, code)| Transport::Icmpv4 { kind, code }),
        protocol::ICMPV6 => icmp(bytes).map(|(kind, code)| Transport::Icmpv6 { kind, code }),
        protocol => Some(Transport::Other { protocol }),
    };
    (transport.unwrap_or(Transport::Truncated { protocol }), transport.is_none())
}

/// Ports are worth having without the flags; then the header counts as cut off.
fn tcp(bytes: &[u8]) -> (Transport, bool) {
    let flags = TcpStart::ref_from_prefix(bytes).ok().map(|(header, _)| TcpFlags(header.flags()));
    match ports(bytes) {
        Some((source_port, destination_port)) => {
            let known = flags.unwrap_or_default();
            (Transport::Tcp { source_port, destination_port, flags: known }, flags.is_none())
        }
        None => (Transport::Truncated { protocol: protocol::TCP }, true),
    }
}

fn ports(bytes: &[u8]) -> Option<(u16, u16)> {
    let (ports, _) = Ports::ref_from_prefix(bytes).ok()?;
    Some((ports.source.get(), ports.destination.get()))
}

fn icmp(bytes: &[u8]) -> Option<(u8, u8)> {
    let (icmp, _) = IcmpStart::ref_from_prefix(bytes).ok()?;
    Some((icmp.kind, icmp.code))
}
