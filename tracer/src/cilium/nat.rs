//! Source NAT maps: `cilium_snat_v{4,6}_external` and the same per remote cluster. Decodes entries and makes
//! the keys of what belongs to an entry: its other half, and the connection that it serves.

use std::net::{IpAddr, SocketAddr};

use tracer_common::cilium::nat::{NatEntry4, NatEntry6};
use tracer_common::cilium::tuple::{Tuple4, Tuple6, flag};
use zerocopy::{FromBytes, IntoBytes};

use super::pins::Layout;

/// BPF_MAP_TYPE_*.
const LRU_HASH: u32 = 9;
const ARRAY_OF_MAPS: u32 = 12;
const PER_CPU_ARRAY: u32 = 6;

const fn layout(name: &'static str, map_type: u32, key_size: u32, value_size: u32) -> Layout {
    Layout { name, map_type, key_size, value_size, releases: "Cilium 1.14+" }
}

pub const SNAT4: [Layout; 1] = [layout("cilium_snat_v4_external", LRU_HASH, 14, 40)];
pub const SNAT6: [Layout; 1] = [layout("cilium_snat_v6_external", LRU_HASH, 38, 56)];
/// Keys are ids of clusters, values ids of maps like [`SNAT4`].
pub const PER_CLUSTER4: [Layout; 1] = [layout("cilium_per_cluster_snat_v4_external", ARRAY_OF_MAPS, 4, 4)];
pub const PER_CLUSTER6: [Layout; 1] = [layout("cilium_per_cluster_snat_v6_external", ARRAY_OF_MAPS, 4, 4)];
/// How many port searches took how many tries; the last slot counts those that failed.
pub const RETRIES4: [Layout; 1] = [layout("cilium_snat_v4_alloc_retries", PER_CPU_ARRAY, 4, 4)];
pub const RETRIES6: [Layout; 1] = [layout("cilium_snat_v6_alloc_retries", PER_CPU_ARRAY, 4, 4)];

/// Which packets an entry matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Packets that leave: the source becomes [`NatEntry::to`].
    Out,
    /// Packets that come back: the destination becomes [`NatEntry::to`].
    In,
}

/// One half of a translation. Ports of ICMP are identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatEntry {
    pub direction: Direction,
    /// IP protocol.
    pub protocol: u8,
    /// Of the packets that match.
    pub source: SocketAddr,
    /// Of the packets that match.
    pub destination: SocketAddr,
    pub to: SocketAddr,
    /// Clock of connection tracking.
    pub created: u64,
    /// The translation made its own connection tracking entry: traffic of the host.
    pub needs_ct: bool,
}

/// `None`: impossible bits, or not the sizes of these maps.
pub fn decode(key: &[u8], value: &[u8]) -> Option<NatEntry> {
    if let (Ok(key), Ok(value)) = (Tuple4::read_from_bytes(key), NatEntry4::read_from_bytes(value)) {
        return Some(NatEntry {
            direction: direction(key.flags)?,
            protocol: key.nexthdr,
            source: SocketAddr::new(key.saddr(), key.sport.get()),
            destination: SocketAddr::new(key.daddr(), key.dport.get()),
            to: SocketAddr::new(value.to_addr.into(), value.to_port.get()),
            created: value.created,
            needs_ct: truth(value.needs_ct)?,
        });
    }
    let key = Tuple6::read_from_bytes(key).ok()?;
    let value = NatEntry6::read_from_bytes(value).ok()?;
    Some(NatEntry {
        direction: direction(key.flags)?,
        protocol: key.nexthdr,
        source: SocketAddr::new(key.saddr(), key.sport.get()),
        destination: SocketAddr::new(key.daddr(), key.dport.get()),
        to: SocketAddr::new(value.to_addr.into(), value.to_port.get()),
        created: value.created,
        needs_ct: truth(value.needs_ct)?,
    })
}

const fn direction(flags: u8) -> Option<Direction> {
    match flags {
        0 => Some(Direction::Out),
        flag::IN => Some(Direction::In),
        _ => None,
    }
}

const fn truth(number: u64) -> Option<bool> {
    match number {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// A key of NAT or connection tracking maps, as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; size_of::<Tuple6>()],
    length: usize,
}

impl Key {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn new(saddr: SocketAddr, daddr: SocketAddr, protocol: u8, flags: u8) -> Option<Self> {
        let (sport, dport) = (saddr.port().into(), daddr.port().into());
        Some(match (saddr.ip(), daddr.ip()) {
            (IpAddr::V4(s), IpAddr::V4(d)) => Self::of(&Tuple4 {
                daddr: d.octets(),
                saddr: s.octets(),
                dport,
                sport,
                nexthdr: protocol,
                flags,
            }),
            (IpAddr::V6(s), IpAddr::V6(d)) => Self::of(&Tuple6 {
                daddr: d.octets(),
                saddr: s.octets(),
                dport,
                sport,
                nexthdr: protocol,
                flags,
            }),
            _ => return None,
        })
    }

    fn of(tuple: &(impl IntoBytes + zerocopy::Immutable)) -> Self {
        let mut bytes = [0; size_of::<Tuple6>()];
        let tuple = tuple.as_bytes();
        bytes[..tuple.len()].copy_from_slice(tuple);
        Self { bytes, length: tuple.len() }
    }
}

impl NatEntry {
    /// The packet that leaves: its source before translation, its source after it, and where it goes.
    pub fn flow(&self) -> (SocketAddr, SocketAddr, SocketAddr) {
        match self.direction {
            Direction::Out => (self.source, self.to, self.destination),
            Direction::In => (self.to, self.destination, self.source),
        }
    }

    /// The key that the entry has itself.
    pub fn key(&self) -> Option<Key> {
        let flags = if self.direction == Direction::In { flag::IN } else { 0 };
        Key::new(self.source, self.destination, self.protocol, flags)
    }

    /// The key under which the other half must be.
    pub fn partner(&self) -> Option<Key> {
        let (original, translated, remote) = self.flow();
        match self.direction {
            Direction::Out => Key::new(remote, translated, self.protocol, flag::IN),
            Direction::In => Key::new(original, remote, self.protocol, 0),
        }
    }

    /// Whether `other`, found under [`Self::partner`], undoes what this half does.
    pub fn is_undone_by(&self, other: &Self) -> bool {
        self.direction != other.direction && self.flow() == other.flow()
    }

    /// Key of the outgoing connection in the connection tracking maps: addresses swapped, ports not.
    pub fn connection(&self) -> Option<Key> {
        let (original, _, remote) = self.flow();
        let swapped = |ip: SocketAddr, port: SocketAddr| SocketAddr::new(ip.ip(), port.port());
        Key::new(swapped(remote, original), swapped(original, remote), self.protocol, 0)
    }

    /// Key of the incoming connection that replies of direct server return belong to.
    pub fn dsr_connection(&self) -> Option<Key> {
        let (original, _, remote) = self.flow();
        let swapped = |ip: SocketAddr, port: SocketAddr| SocketAddr::new(ip.ip(), port.port());
        Key::new(swapped(original, remote), swapped(remote, original), self.protocol, flag::IN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
    }

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A pod masqueraded by its node.
    const OUT_KEY: &str = "c6336401 0a000105 01bb a8ca 06 00";
    const OUT_VALUE: &str =
        "905f0100 00000000 00000000 00000000 00000000 00000000 00000000 00000000 c000020a ef32 0000";
    const IN_KEY: &str = "c000020a c6336401 ef32 01bb 06 01";
    const IN_VALUE: &str =
        "905f0100 00000000 00000000 00000000 00000000 00000000 00000000 00000000 0a000105 a8ca 0000";

    #[test]
    fn both_halves_of_a_masquerade_tell_the_same_flow() {
        let out = decode(&bytes(OUT_KEY), &bytes(OUT_VALUE)).unwrap();
        assert_eq!(
            (out.direction, out.protocol, out.created, out.needs_ct),
            (Direction::Out, 6, 90000, false)
        );
        assert_eq!(out.source, socket("10.0.1.5:43210"));
        assert_eq!(out.destination, socket("198.51.100.1:443"));
        assert_eq!(out.to, socket("192.0.2.10:61234"));
        let back = decode(&bytes(IN_KEY), &bytes(IN_VALUE)).unwrap();
        assert_eq!((back.direction, back.to), (Direction::In, out.source));
        assert_eq!(back.flow(), out.flow());
        assert!(out.is_undone_by(&back) && back.is_undone_by(&out) && !out.is_undone_by(&out));
    }

    #[test]
    fn each_half_knows_the_key_of_the_other() {
        let out = decode(&bytes(OUT_KEY), &bytes(OUT_VALUE)).unwrap();
        let back = decode(&bytes(IN_KEY), &bytes(IN_VALUE)).unwrap();
        assert_eq!(out.partner().unwrap().bytes(), bytes(IN_KEY));
        assert_eq!(back.partner().unwrap().bytes(), bytes(OUT_KEY));
    }

    /// The connection of 10.0.1.5:43210 to 198.51.100.1:443 as connection tracking keys it.
    #[test]
    fn both_halves_know_the_key_of_their_connection() {
        let connection = bytes("0a000105 c6336401 01bb a8ca 06 00");
        for (key, value) in [(OUT_KEY, OUT_VALUE), (IN_KEY, IN_VALUE)] {
            let entry = decode(&bytes(key), &bytes(value)).unwrap();
            assert_eq!(entry.connection().unwrap().bytes(), connection);
        }
    }

    /// 203.0.113.7:51000 reached 10.0.2.9:8080 directly; replies leave as 192.0.2.10:30080.
    #[test]
    fn replies_of_direct_server_return_belong_to_an_incoming_connection() {
        let entry = NatEntry {
            direction: Direction::Out,
            protocol: 6,
            source: socket("10.0.2.9:8080"),
            destination: socket("203.0.113.7:51000"),
            to: socket("192.0.2.10:30080"),
            created: 1,
            needs_ct: false,
        };
        assert_eq!(entry.dsr_connection().unwrap().bytes(), bytes("cb007107 0a000209 1f90 c738 06 01"));
    }

    #[test]
    fn ipv6_has_its_own_sizes() {
        let mut key = [0; 38];
        key[..2].copy_from_slice(&[0x20, 0x01]);
        key[15] = 1;
        key[16..18].copy_from_slice(&[0xfd, 0x00]);
        key[31] = 5;
        key[32..38].copy_from_slice(&[0x01, 0xbb, 0xa8, 0xca, 6, 0]);
        let mut value = [0; 56];
        value[8] = 1;
        value[32..34].copy_from_slice(&[0xfd, 0x30]);
        value[47] = 1;
        value[48..50].copy_from_slice(&[0xef, 0x32]);
        let entry = decode(&key, &value).unwrap();
        assert_eq!(entry.source, socket("[fd00::5]:43210"));
        assert_eq!((entry.destination, entry.needs_ct), (socket("[2001::1]:443"), true));
        assert_eq!(entry.to, socket("[fd30::1]:61234"));
        assert_eq!(entry.partner().unwrap().bytes().len(), 38);
    }

    #[test]
    fn impossible_bits_are_not_decoded() {
        for flags in ["02", "04", "80"] {
            let key = bytes(&format!("c6336401 0a000105 01bb a8ca 06 {flags}"));
            assert_eq!(decode(&key, &bytes(OUT_VALUE)), None, "{flags}");
        }
        let mut value = bytes(OUT_VALUE);
        value[8] = 2;
        assert_eq!(decode(&bytes(OUT_KEY), &value), None);
        assert_eq!(decode(&bytes(OUT_KEY), &[0; 56]), None);
        assert_eq!(decode(&[0; 38], &bytes(OUT_VALUE)), None);
    }

    proptest::proptest! {
        #[test]
        fn the_partner_of_the_partner_is_the_entry_itself(
            s: [u8; 4], d: [u8; 4], t: [u8; 4], ports: [u16; 3], incoming: bool
        ) {
            let at = |ip: [u8; 4], port| SocketAddr::new(ip.into(), port);
            let direction = if incoming { Direction::In } else { Direction::Out };
            let entry = NatEntry {
                direction, protocol: 17, source: at(s, ports[0]), destination: at(d, ports[1]),
                to: at(t, ports[2]), created: 0, needs_ct: false,
            };
            let (original, translated, remote) = entry.flow();
            let other = match direction {
                Direction::Out => NatEntry {
                    direction: Direction::In, source: remote, destination: translated, to: original, ..entry
                },
                Direction::In => NatEntry {
                    direction: Direction::Out, source: original, destination: remote, to: translated, ..entry
                },
            };
            proptest::prop_assert!(entry.is_undone_by(&other));
            let own = Key::new(entry.source, entry.destination, 17, u8::from(incoming));
            proptest::prop_assert_eq!(other.partner(), own);
        }
    }
}
