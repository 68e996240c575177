//! The small pattern languages of the filter flags: globs, pod name prefixes, workloads, networks, ports.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::model::endpoint::Workload;

/// Text in which `*` stands for any run of characters, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<str>);

impl Glob {
    pub fn new(pattern: impl Into<Box<str>>) -> Self {
        Self(pattern.into())
    }

    /// The text itself, if it has no `*`.
    pub fn literal(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&self.0)
    }

    pub fn matches(&self, text: &str) -> bool {
        glob(self.0.as_bytes(), text.as_bytes(), u8::eq)
    }

    pub fn matches_ignoring_case(&self, text: &str) -> bool {
        glob(self.0.as_bytes(), text.as_bytes(), u8::eq_ignore_ascii_case)
    }
}

/// Goes through both once; after a mismatch it lets the last `*` swallow one byte more.
fn glob(pattern: &[u8], text: &[u8], same: fn(&u8, &u8) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if same(c, &text[t]) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, swallowed)) = star else { return false };
                star = Some((at, swallowed + 1));
                p = at + 1;
                t = swallowed + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// `[namespace/]name-prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPattern {
    /// `None`: any namespace.
    pub namespace: Option<Box<str>>,
    pub prefix: Box<str>,
}

impl PodPattern {
    /// `text` without a slash means the namespace `default`; an empty namespace means any.
    pub fn new(text: &str) -> Self {
        let (namespace, prefix) = text.split_once('/').unwrap_or(("default", text));
        Self { namespace: (!namespace.is_empty()).then(|| namespace.into()), prefix: prefix.into() }
    }

    /// An end that has neither name is no pod and matches nothing.
    pub fn matches(&self, namespace: &str, pod: &str) -> bool {
        !(namespace.is_empty() && pod.is_empty())
            && self.namespace.as_deref().is_none_or(|ns| ns == namespace)
            && pod.starts_with(&*self.prefix)
    }
}

/// `name`, `kind/name` or `kind/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadPattern {
    /// "" for any.
    pub kind: Box<str>,
    /// "" for any.
    pub name: Box<str>,
}

impl WorkloadPattern {
    pub fn new(text: &str) -> Self {
        let (kind, name) = text.split_once('/').unwrap_or(("", text));
        Self { kind: kind.into(), name: name.into() }
    }

    pub fn matches(&self, workload: &Workload) -> bool {
        (self.kind.is_empty() || self.kind.eq_ignore_ascii_case(&workload.kind))
            && (self.name.is_empty() || *self.name == workload.name)
    }
}

/// A port or an inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl FromStr for PortRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "expected a port (0 to 65535) or a range such as 8000-8010";
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range =
            Self { first: first.parse().map_err(|_| WANTED)?, last: last.parse().map_err(|_| WANTED)? };
        if range.first > range.last {
            return Err("the range ends before it starts");
        }
        Ok(range)
    }
}

/// An address or a CIDR prefix. Covers addresses of its own family only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    /// Host bits are zero.
    pub addr: IpAddr,
    pub prefix: u8,
}

impl Net {
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.addr.is_ipv4() == ip.is_ipv4() && mapped(ip) & self.mapped_mask() == mapped(self.addr)
    }

    /// The network address as 128 bits; IPv4 as `::ffff:a.b.c.d`.
    pub fn mapped(&self) -> u128 {
        mapped(self.addr)
    }

    /// One-bits where [`Self::mapped`] counts. For IPv4 the leading 96 bits count too.
    pub fn mapped_mask(&self) -> u128 {
        let bits = if self.addr.is_ipv4() { 96 + u32::from(self.prefix) } else { u32::from(self.prefix) };
        u128::MAX.checked_shl(128 - bits).unwrap_or(0)
    }
}

impl FromStr for Net {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "expected an IP address or a CIDR such as 10.0.0.0/8";
        let (addr, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let addr: IpAddr = addr.parse().map_err(|_| WANTED)?;
        let longest = if addr.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), str::parse).map_err(|_| WANTED)?;
        if prefix > longest {
            return Err("the prefix is longer than the address");
        }
        let mask = Self { addr, prefix }.mapped_mask();
        Ok(Self { addr: masked(addr, mask), prefix })
    }
}

fn mapped(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn masked(ip: IpAddr, mask: u128) -> IpAddr {
    let bits = mapped(ip) & mask;
    match ip {
        IpAddr::V4(_) => IpAddr::V4((bits as u32).into()),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_texts() {
        for (pattern, text, expected) in [
            ("lxc*", "lxc1a2b", true),
            ("lxc*", "lxc", true),
            ("lxc*", "eth0", false),
            ("*.example.org", "www.example.org", true),
            ("*.example.org", "example.org", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("eth0", "eth01", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} on {text}");
        }
        assert!(Glob::new("www.*").matches_ignoring_case("WWW.Example.org"));
    }

    #[test]
    fn pod_pattern_is_a_prefix_in_one_namespace() {
        let pod = PodPattern::new("prod/shop-");
        assert!(pod.matches("prod", "shop-5d9c7b"));
        assert!(!pod.matches("dev", "shop-5d9c7b"));
        assert!(!pod.matches("prod", "shop"));
        assert!(PodPattern::new("shop").matches("default", "shop-1"));
        assert!(!PodPattern::new("shop").matches("prod", "shop-1"));
        assert!(PodPattern::new("/shop").matches("prod", "shop-1"));
        assert!(PodPattern::new("prod/").matches("prod", ""));
        assert!(PodPattern::new("/").matches("", "x") && !PodPattern::new("/").matches("", ""));
    }

    #[test]
    fn networks_cover_their_own_family_only() {
        let check = |net: &str, ip: &str| net.parse::<Net>().unwrap().contains(ip.parse().unwrap());
        assert!(check("10.0.0.0/8", "10.255.0.1"));
        assert!(check("10.1.2.3/8", "10.255.0.1"), "host bits do not count");
        assert!(!check("10.0.0.0/8", "11.0.0.1"));
        assert!(check("10.0.0.1", "10.0.0.1") && !check("10.0.0.1", "10.0.0.2"));
        assert!(check("0.0.0.0/0", "255.1.1.1") && !check("0.0.0.0/0", "::1"));
        assert!(check("::/0", "fe80::1") && !check("::/0", "10.0.0.1"));
        assert!(check("fd00:10::/32", "fd00:10:ffff::1") && !check("fd00:10::/32", "fd00:11::1"));
        for bad in ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "fd00::/129", "10.0.0.0/-1", "a/8"] {
            assert!(bad.parse::<Net>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_and_ranges() {
        assert_eq!("80".parse(), Ok(PortRange { first: 80, last: 80 }));
        assert!("8000-8010".parse::<PortRange>().unwrap().contains(8010));
        for bad in ["", "x", "65536", "-1", "80-", "90-80"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn workloads_by_name_kind_or_both() {
        let workload = Workload { name: "shop".into(), kind: "Deployment".into() };
        for (pattern, expected) in [
            ("shop", true),
            ("Deployment/shop", true),
            ("Deployment/", true),
            ("StatefulSet/shop", false),
            ("sho", false),
        ] {
            assert_eq!(WorkloadPattern::new(pattern).matches(&workload), expected, "{pattern}");
        }
    }
}
