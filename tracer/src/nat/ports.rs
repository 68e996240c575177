//! Source ports in use, per destination: an egress address, a remote address and port, and a protocol share one
//! range of ports. The halves for packets that come back are what the datapath looks for when it searches for
//! a free port, so they are what is counted; each also tells whose connection it is.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::cilium::nat::{Direction, NatEntry};

/// One port in use. Ordered by destination, then by port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Use<A> {
    egress: A,
    remote: A,
    remote_port: u16,
    protocol: u8,
    port: u16,
    owner: A,
}

impl<A: Copy + Ord> Use<A> {
    fn is_same_destination(&self, other: &Self) -> bool {
        (self.egress, self.remote, self.remote_port, self.protocol)
            == (other.egress, other.remote, other.remote_port, other.protocol)
    }
}

/// Collects entries of one walk, in 18 bytes each for IPv4 and 54 for IPv6.
#[derive(Debug, Default)]
pub struct PortUse {
    v4: Vec<Use<[u8; 4]>>,
    v6: Vec<Use<[u8; 16]>>,
}

/// What shares one range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    pub egress: IpAddr,
    pub remote: SocketAddr,
    /// IP protocol.
    pub protocol: u8,
}

/// Whose connections use how many ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub address: IpAddr,
    pub ports: u32,
}

impl PortUse {
    pub fn add(&mut self, entry: &NatEntry) {
        if entry.direction != Direction::In {
            return;
        }
        let (remote_port, protocol, port) = (entry.source.port(), entry.protocol, entry.destination.port());
        match (entry.destination.ip(), entry.source.ip(), entry.to.ip()) {
            (IpAddr::V4(egress), IpAddr::V4(remote), IpAddr::V4(owner)) => self.v4.push(Use {
                egress: egress.octets(),
                remote: remote.octets(),
                remote_port,
                protocol,
                port,
                owner: owner.octets(),
            }),
            (IpAddr::V6(egress), IpAddr::V6(remote), IpAddr::V6(owner)) => self.v6.push(Use {
                egress: egress.octets(),
                remote: remote.octets(),
                remote_port,
                protocol,
                port,
                owner: owner.octets(),
            }),
            // Keys and values of one map have one family.
            _ => {}
        }
    }

    /// Sorts by destination; a port that a changing map showed twice counts once.
    pub fn finish(mut self) -> PortsByDestination {
        let mut spans = Vec::new();
        let v4 = sort(&mut self.v4);
        spans.extend(v4.into_iter().map(|span| Span { span, is_v4: true }));
        spans.extend(sort(&mut self.v6).into_iter().map(|span| Span { span, is_v4: false }));
        spans.sort_by_key(|span| std::cmp::Reverse(span.span.len()));
        PortsByDestination { uses: self, spans }
    }
}

/// Returns where the uses of each destination lie.
fn sort<A: Copy + Ord>(uses: &mut Vec<Use<A>>) -> Vec<Range<usize>> {
    uses.sort_unstable();
    uses.dedup_by(|a, b| a.is_same_destination(b) && a.port == b.port);
    let mut start = 0;
    let spans = uses.chunk_by(Use::is_same_destination).map(|uses| {
        let span = start..start + uses.len();
        start = span.end;
        span
    });
    spans.collect()
}

#[derive(Debug)]
struct Span {
    span: Range<usize>,
    is_v4: bool,
}

/// All destinations, the one with the most ports first.
#[derive(Debug)]
pub struct PortsByDestination {
    uses: PortUse,
    spans: Vec<Span>,
}

impl PortsByDestination {
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Writes ports (ascending) and owners (most ports first) of the destination at `index` into buffers of
    /// the caller.
    pub fn read(&self, index: usize, ports: &mut Vec<u16>, owners: &mut Vec<Owner>) -> Option<Destination> {
        ports.clear();
        owners.clear();
        let Span { span, is_v4 } = self.spans.get(index)?;
        let destination = match is_v4 {
            true => read(self.uses.v4.get(span.clone())?, ports, owners),
            false => read(self.uses.v6.get(span.clone())?, ports, owners),
        };
        merge(owners);
        destination
    }
}

fn read<A: Copy + Into<IpAddr>>(
    uses: &[Use<A>],
    ports: &mut Vec<u16>,
    owners: &mut Vec<Owner>,
) -> Option<Destination> {
    ports.extend(uses.iter().map(|one| one.port));
    owners.extend(uses.iter().map(|one| Owner { address: one.owner.into(), ports: 1 }));
    let first = uses.first()?;
    Some(Destination {
        egress: first.egress.into(),
        remote: SocketAddr::new(first.remote.into(), first.remote_port),
        protocol: first.protocol,
    })
}

fn merge(owners: &mut Vec<Owner>) {
    owners.sort_unstable_by_key(|owner| owner.address);
    owners.dedup_by(|later, kept| {
        let same = later.address == kept.address;
        kept.ports += if same { later.ports } else { 0 };
        same
    });
    owners.sort_by_key(|owner| std::cmp::Reverse(owner.ports));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(remote: &str, egress: &str, to: &str) -> NatEntry {
        NatEntry {
            direction: Direction::In,
            protocol: 6,
            source: remote.parse().unwrap(),
            destination: egress.parse().unwrap(),
            to: to.parse().unwrap(),
            created: 0,
            needs_ct: false,
        }
    }

    fn owner(address: &str, ports: u32) -> Owner {
        Owner { address: address.parse().unwrap(), ports }
    }

    #[test]
    fn ports_are_counted_per_destination_and_split_by_owner() {
        let mut collected = PortUse::default();
        for (remote, egress, to) in [
            ("198.51.100.1:443", "192.0.2.10:40001", "10.0.1.5:1"),
            ("198.51.100.1:80", "192.0.2.10:40001", "10.0.1.5:2"),
            ("198.51.100.1:443", "192.0.2.10:40003", "10.0.1.6:3"),
            ("198.51.100.1:443", "192.0.2.10:40002", "10.0.1.6:4"),
            ("198.51.100.1:443", "192.0.2.11:40002", "10.0.1.6:5"),
            ("[2001:db8::1]:443", "[fd00::1]:40002", "[fd00::5]:5"),
        ] {
            collected.add(&back(remote, egress, to));
        }
        let found = collected.finish();
        let (mut ports, mut owners) = (Vec::new(), Vec::new());
        assert_eq!(found.len(), 4);
        let first = found.read(0, &mut ports, &mut owners).unwrap();
        assert_eq!(first.remote, "198.51.100.1:443".parse().unwrap());
        assert_eq!((first.egress, first.protocol), ("192.0.2.10".parse().unwrap(), 6));
        assert_eq!(ports, [40001, 40002, 40003]);
        assert_eq!(owners, [owner("10.0.1.6", 2), owner("10.0.1.5", 1)]);
        assert_eq!(found.read(4, &mut ports, &mut owners), None);
    }

    #[test]
    fn the_other_half_and_an_entry_seen_twice_count_nothing() {
        let mut collected = PortUse::default();
        let entry = back("198.51.100.1:443", "192.0.2.10:40001", "10.0.1.5:1");
        collected.add(&entry);
        collected.add(&entry);
        collected.add(&NatEntry { direction: Direction::Out, ..entry });
        let found = collected.finish();
        let (mut ports, mut owners) = (Vec::new(), Vec::new());
        assert!(found.read(0, &mut ports, &mut owners).is_some());
        assert_eq!((found.len(), ports.len(), owners.as_slice()), (1, 1, &[owner("10.0.1.5", 1)][..]));
    }
}
