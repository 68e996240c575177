//! How an end of a connection is named on the command line: a pod, an address, an identity, an endpoint, with a
//! port and a protocol behind it where they are wanted.

use std::fmt;
use std::net::IpAddr;

use tracer_common::id::{EndpointId, Identity};

use crate::cilium::identity::reserved_by_name;

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndName {
    Ip(IpAddr),
    Pod {
        namespace: String,
        name: String,
    },
    /// A pod without its namespace, if only one has the name.
    BarePod(String),
    Identity(Identity),
    /// `world`, whichever of the worlds the address family of the other end asks for.
    World,
    Endpoint(EndpointId),
}

/// An end as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedEnd {
    pub name: EndName,
    /// For ICMP the type.
    pub port: Option<u16>,
    pub protocol: Option<u8>,
}

/// Reads `WHO[:PORT][/PROTOCOL]`.
pub fn parse(text: &str) -> Result<TypedEnd, String> {
    let (rest, protocol) = split_protocol(text)?;
    let (who, port) = split_port(rest)?;
    Ok(TypedEnd { name: name(who)?, port, protocol })
}

const PROTOCOLS: [(&str, u8); 6] =
    [("tcp", 6), ("udp", 17), ("sctp", 132), ("icmp", 1), ("icmpv4", 1), ("icmpv6", 58)];

fn protocol_number(text: &str) -> Option<u8> {
    let named = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    named.map(|(_, number)| *number).or_else(|| text.parse().ok())
}

/// The last word behind a slash, if it is a protocol: `default/server` is a pod, `default/server/tcp` too. A
/// number is a protocol only where no name of a pod can stand.
fn split_protocol(text: &str) -> Result<(&str, Option<u8>), String> {
    let Some((rest, word)) = text.rsplit_once('/') else { return Ok((text, None)) };
    let is_end = rest.contains([':', '/']) || rest.parse::<IpAddr>().is_ok();
    let is_name = !word.bytes().all(|b| b.is_ascii_digit());
    match protocol_number(word).filter(|_| is_end || is_name) {
        Some(protocol) => Ok((rest, Some(protocol))),
        None if is_end => {
            Err(format!("unknown protocol `{word}`: expected tcp, udp, sctp, icmp, icmpv6 or a number"))
        }
        None => Ok((text, None)),
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, behind) = rest.split_once(']').ok_or("a `[` without `]`")?;
        return match behind {
            "" => Ok((address, None)),
            _ => Ok((address, Some(port(behind.strip_prefix(':').ok_or_else(wanted)?)?))),
        };
    }
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text, None));
    }
    let prefixed = PREFIXES.iter().any(|prefix| text.strip_prefix(prefix).is_some_and(|r| !r.contains(':')));
    match text.rsplit_once(':') {
        Some((who, digits)) if !prefixed => Ok((who, Some(port(digits)?))),
        _ => Ok((text, None)),
    }
}

const PREFIXES: [&str; 3] = ["identity:", "endpoint:", "reserved:"];

fn port(text: &str) -> Result<u16, String> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| format!("no port `{text}`: expected 0 to 65535"))
}

fn name(text: &str) -> Result<EndName, String> {
    if let Ok(ip) = text.parse() {
        return Ok(EndName::Ip(ip));
    }
    if let Some(id) = text.strip_prefix("endpoint:") {
        let id = id.parse().map_err(|_| format!("no endpoint `{id}`: expected an id up to 65535"))?;
        return Ok(EndName::Endpoint(EndpointId(id)));
    }
    if let Some(identity) = text.strip_prefix("identity:") {
        return self::identity(identity).ok_or_else(|| format!("no identity `{identity}`"));
    }
    if let Some((namespace, name)) = text.split_once('/') {
        let is_whole = !namespace.is_empty() && !name.is_empty() && !name.contains('/');
        let pod = EndName::Pod { namespace: namespace.to_owned(), name: name.to_owned() };
        return is_whole.then_some(pod).ok_or_else(wanted);
    }
    if let Some(known) = identity(text) {
        return Ok(known);
    }
    let is_name = !text.is_empty() && !text.starts_with("reserved:") && text.bytes().all(is_name_byte);
    is_name.then(|| EndName::BarePod(text.to_owned())).ok_or_else(wanted)
}

/// A number or a reserved name.
fn identity(text: &str) -> Option<EndName> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().map(|number| EndName::Identity(Identity(number)));
    }
    match reserved_by_name(text)? {
        Identity::WORLD => Some(EndName::World),
        other => Some(EndName::Identity(other)),
    }
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')
}

fn wanted() -> String {
    "expected NAMESPACE/POD, an address, an identity (number or name), identity:N or endpoint:N, \
     then :PORT and /PROTOCOL; IPv6 with a port as [ADDRESS]:PORT"
        .to_owned()
}

impl fmt::Display for EndName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Pod { namespace, name } => write!(f, "{namespace}/{name}"),
            Self::BarePod(name) => f.write_str(name),
            Self::Identity(identity) => write!(f, "identity:{identity}"),
            Self::World => f.write_str("world"),
            Self::Endpoint(id) => write!(f, "endpoint:{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(namespace: &str, name: &str) -> EndName {
        EndName::Pod { namespace: namespace.into(), name: name.into() }
    }

    #[test]
    fn ends_are_named_in_many_ways() {
        let ip = |text: &str| EndName::Ip(text.parse().unwrap());
        let identity = |number| EndName::Identity(Identity(number));
        for (text, name, port, protocol) in [
            ("default/server:9090/tcp", pod("default", "server"), Some(9090), Some(6)),
            ("default/server:9090", pod("default", "server"), Some(9090), None),
            ("default/17", pod("default", "17"), None, None),
            ("default/server/17", pod("default", "server"), None, Some(17)),
            ("default/server/udp", pod("default", "server"), None, Some(17)),
            ("default/server", pod("default", "server"), None, None),
            ("server:53/UDP", EndName::BarePod("server".into()), Some(53), Some(17)),
            ("shop-0.a", EndName::BarePod("shop-0.a".into()), None, None),
            ("203.0.113.7:53/udp", ip("203.0.113.7"), Some(53), Some(17)),
            ("203.0.113.7/icmp", ip("203.0.113.7"), None, Some(1)),
            ("fd00::1:20", ip("fd00::1:20"), None, None),
            ("fd00::1:20/tcp", ip("fd00::1:20"), None, Some(6)),
            ("[fd00::1:20]:8080/tcp", ip("fd00::1:20"), Some(8080), Some(6)),
            ("[fd00::1:20]", ip("fd00::1:20"), None, None),
            ("12345", identity(12345), None, None),
            ("12345:80/6", identity(12345), Some(80), Some(6)),
            ("identity:12345", identity(12345), None, None),
            ("identity:12345:80", identity(12345), Some(80), None),
            ("endpoint:1001", EndName::Endpoint(EndpointId(1001)), None, None),
            ("endpoint:1001:80/tcp", EndName::Endpoint(EndpointId(1001)), Some(80), Some(6)),
            ("world", EndName::World, None, None),
            ("reserved:world:443/tcp", EndName::World, Some(443), Some(6)),
            ("identity:2", identity(2), None, None),
            ("host", identity(1), None, None),
            ("kube-apiserver:6443", identity(7), Some(6443), None),
            ("remote-node/icmp", identity(6), None, Some(1)),
        ] {
            assert_eq!(parse(text), Ok(TypedEnd { name, port, protocol }), "{text}");
        }
    }

    #[test]
    fn what_is_no_end_is_refused_with_a_reason() {
        for (text, expected) in [
            ("", "expected NAMESPACE/POD"),
            ("default/", "expected NAMESPACE/POD"),
            ("/server", "expected NAMESPACE/POD"),
            ("a/b/c", "unknown protocol `c`"),
            ("default/server:80/tpc", "unknown protocol `tpc`"),
            ("server:http", "no port `http`"),
            ("server:65536", "no port `65536`"),
            ("[fd00::1", "a `[` without `]`"),
            ("[fd00::1]80", "expected NAMESPACE/POD"),
            ("endpoint:70000", "no endpoint `70000`"),
            ("identity:nobody", "no identity `nobody`"),
            ("reserved:nobody", "expected NAMESPACE/POD"),
            ("a b", "expected NAMESPACE/POD"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
