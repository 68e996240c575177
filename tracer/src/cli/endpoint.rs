//! How a local endpoint is named on the command line.

use std::fmt;
use std::net::IpAddr;

use tracer_common::id::EndpointId;

/// An endpoint of this node, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointName {
    Id(EndpointId),
    Ip(IpAddr),
    Pod { namespace: String, name: String },
}

/// Reads `ID`, `IP`, `NAMESPACE/POD` or cilium-dbg's `pod-name:NAMESPACE:POD`.
pub fn parse(text: &str) -> Result<EndpointName, String> {
    if let Some((namespace, name)) = pod(text) {
        let is_whole = !namespace.is_empty() && !name.is_empty();
        let pod = EndpointName::Pod { namespace: namespace.to_owned(), name: name.to_owned() };
        return is_whole.then_some(pod).ok_or_else(wanted);
    }
    let digits = text.strip_prefix("cilium-local:").unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        let id = digits.parse().map_err(|_| "endpoint ids end at 65535".to_owned())?;
        return Ok(EndpointName::Id(EndpointId(id)));
    }
    let ip = ["ipv4:", "ipv6:"].iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    ip.parse().map(EndpointName::Ip).map_err(|_| wanted())
}

fn pod(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix("pod-name:") {
        Some(rest) => Some(rest.split_once(':').unwrap_or((rest, ""))),
        None => text.split_once('/'),
    }
}

fn wanted() -> String {
    "expected an endpoint id, an IP address, NAMESPACE/POD or pod-name:NAMESPACE:POD".to_owned()
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Ip(ip) => ip.fmt(f),
            Self::Pod { namespace, name } => write!(f, "{namespace}/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_named_in_four_ways() {
        let pod = EndpointName::Pod { namespace: "prod".into(), name: "shop-0".into() };
        for (text, expected) in [
            ("260", EndpointName::Id(EndpointId(260))),
            ("10.0.1.5", EndpointName::Ip("10.0.1.5".parse().unwrap())),
            ("fd00::5", EndpointName::Ip("fd00::5".parse().unwrap())),
            ("prod/shop-0", pod.clone()),
            ("pod-name:prod:shop-0", pod),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in ["", "10.0.0.300", "shop", "prod/", "pod-name:prod", "-1"] {
            assert!(parse(text).unwrap_err().starts_with("expected an endpoint id"), "{text}");
        }
        assert_eq!(parse("65536").unwrap_err(), "endpoint ids end at 65535");
    }
}
