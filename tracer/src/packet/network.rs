//! Network layer: IPv4 with options, IPv6 with its chain of extension headers, fragments of both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tracer_common::packet::{
    ExtensionHeader, FragmentHeader, Ipv4Header, Ipv6Header, MAX_EXTENSIONS, ethertype, protocol,
};
use zerocopy::FromBytes;

use super::transport;
use crate::model::packet::{Ip, Transport};

/// A network layer that was read.
pub struct Network<'a> {
    pub ip: Ip,
    /// From the transport header on, no further than the IP length says.
    pub payload: &'a [u8],
    pub truncated: bool,
}

/// Why a layer was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Something else is there.
    Foreign,
    /// It lies beyond the capture.
    Truncated,
}

pub fn decode(kind: u16, bytes: &[u8]) -> Result<Network<'_>, Absent> {
    match kind {
        ethertype::IPV4 => ipv4(bytes),
        ethertype::IPV6 => ipv6(bytes),
        _ => Err(Absent::Foreign),
    }
}

fn ipv4(bytes: &[u8]) -> Result<Network<'_>, Absent> {
    let (header, rest) = Ipv4Header::ref_from_prefix(bytes).map_err(|_| Absent::Truncated)?;
    if header.version() != 4 {
        return Err(Absent::Foreign);
    }
    let length = usize::from(header.total_length.get());
    let options = header.header_length().checked_sub(size_of::<Ipv4Header>());
    let payload = options.and_then(|options| rest.get(options..));
    let payload = payload.map(|payload| clip(payload, length.checked_sub(header.header_length())));
    let place = Place {
        protocol: header.protocol,
        later: header.fragment_offset() != 0,
        fragment: header.fragment_offset() != 0 || header.has_more_fragments(),
        payload,
    };
    let (source, destination) = (Ipv4Addr::from(header.source), Ipv4Addr::from(header.destination));
    Ok(place.finish(IpAddr::V4(source), IpAddr::V4(destination), header.ttl))
}

fn ipv6(bytes: &[u8]) -> Result<Network<'_>, Absent> {
    let (header, rest) = Ipv6Header::ref_from_prefix(bytes).map_err(|_| Absent::Truncated)?;
    if header.version() != 6 {
        return Err(Absent::Foreign);
    }
    let length = usize::from(header.payload_length.get());
    let rest = clip(rest, Some(length));
    let place = follow_extensions(header.next_header, rest);
    let (source, destination) = (Ipv6Addr::from(header.source), Ipv6Addr::from(header.destination));
    Ok(place.finish(IpAddr::V6(source), IpAddr::V6(destination), header.hop_limit))
}

/// Cuts what lies behind the IP packet (Ethernet padding). A length of 0 is a packet whose length stands
/// elsewhere (jumbogram, segmentation offload) or is not filled in yet: not cut.
fn clip(bytes: &[u8], length: Option<usize>) -> &[u8] {
    match length {
        Some(length @ 1..) => &bytes[..bytes.len().min(length)],
        _ => bytes,
    }
}

/// Where the transport layer is.
struct Place<'a> {
    protocol: u8,
    /// A fragment without transport header.
    later: bool,
    fragment: bool,
    /// `None`: beyond the capture.
    payload: Option<&'a [u8]>,
}

impl<'a> Place<'a> {
    fn finish(self, source: IpAddr, destination: IpAddr, ttl: u8) -> Network<'a> {
        let (transport, truncated) = match self.payload {
            _ if self.later => (Transport::LaterFragment { protocol: self.protocol }, false),
            Some(payload) => transport::decode(self.protocol, payload),
            None => (Transport::Truncated { protocol: self.protocol }, true),
        };
        let ip = Ip { source, destination, transport, fragment: self.fragment, ttl };
        Network { ip, payload: self.payload.unwrap_or_default(), truncated }
    }
}

/// Walks the extension headers up to the transport, the capture's end, or a header that is not known.
fn follow_extensions(mut next: u8, mut rest: &[u8]) -> Place<'_> {
    let mut fragment = false;
    for _ in 0..MAX_EXTENSIONS {
        let step = match next {
            protocol::FRAGMENT => match FragmentHeader::ref_from_prefix(rest) {
                Ok((header, after)) => {
                    let later = header.fragment_offset() != 0;
                    fragment |= later || header.has_more_fragments();
                    if later {
                        return Place { protocol: header.next_header, later, fragment, payload: Some(after) };
                    }
                    Some((header.next_header, after))
                }
                Err(_) => None,
            },
            protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::DESTINATION_OPTIONS
            | protocol::AUTHENTICATION => skip(next, rest),
            _ => break,
        };
        match step {
            Some(step) => (next, rest) = step,
            None => return Place { protocol: next, later: false, fragment, payload: None },
        }
    }
    Place { protocol: next, later: false, fragment, payload: Some(rest) }
}

/// The header behind an extension header, and its kind.
fn skip(kind: u8, bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (header, _) = ExtensionHeader::ref_from_prefix(bytes).ok()?;
    Some((header.next_header, bytes.get(header.byte_length(kind)..)?))
}
