//! The entries of one policy map, in a form that finds the longest prefix in a few steps.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use tracer_common::id::{Identity, IdentityScope};

use crate::model::policy::{Direction, Entry, Key, Order, Traffic};

/// Identities that stand for many, from 1.20 on.
pub mod aggregate {
    use tracer_common::id::Identity;

    /// Everything with a cluster-wide identity of the own cluster.
    pub const CLUSTER: Identity = Identity(11);
    /// The same of other clusters.
    pub const OTHER_CLUSTERS: Identity = Identity(12);
    /// CIDR and FQDN identities of the node.
    pub const LOCAL: Identity = Identity(13);
    pub const REMOTE_NODES: Identity = Identity(14);
}

/// Where an identity says which cluster it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub id: u32,
    /// Bits of an identity below the cluster id: 16, or 15 with more than 255 clusters.
    pub identity_bits: u8,
}

/// Spreads packed keys. They come from the agent, so nobody chooses them to collide.
#[derive(Clone, Copy, Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write_u64(&mut self, packed: u64) {
        let product = (self.0 ^ packed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type ByPacked = HashMap<u64, u32, BuildHasherDefault<Spread>>;

/// One endpoint's policy, both directions.
#[derive(Clone, Debug)]
pub struct Table {
    order: Order,
    entries: Vec<Entry>,
    /// Place in `entries` by packed key.
    places: ByPacked,
    /// By packed peer: bit N is set if there is an entry with prefix length N.
    lengths: ByPacked,
    unread: u64,
    capacity: Option<u32>,
    cluster: Option<Cluster>,
}

/// Direction and identity, with room for the traffic below.
const fn packed_peer(direction: Direction, identity: Identity) -> u64 {
    (direction as u64) << 61 | (identity.0 as u64) << 29
}

/// Everything that makes a key, in 62 bits.
fn packed(direction: Direction, identity: Identity, traffic: Traffic) -> u64 {
    let (first, _) = traffic.ports().unwrap_or_default();
    packed_peer(direction, identity)
        | u64::from(traffic.prefix_length()) << 24
        | u64::from(traffic.protocol().unwrap_or_default()) << 16
        | u64::from(first)
}

impl Table {
    /// Of two entries with the same key the later one counts.
    pub fn new(order: Order, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut table = Self {
            order,
            entries: Vec::new(),
            places: ByPacked::default(),
            lengths: ByPacked::default(),
            unread: 0,
            capacity: None,
            cluster: None,
        };
        entries.into_iter().for_each(|entry| table.insert(entry));
        table
    }

    /// So many entries more could not be read or decoded: nothing is certain.
    pub fn with_unread(mut self, entries: u64) -> Self {
        self.unread += entries;
        self
    }

    /// How many entries there is room for.
    pub fn with_capacity(mut self, entries: u32) -> Self {
        self.capacity = Some(entries);
        self
    }

    /// The own cluster; matters only from 1.20 on and with several clusters.
    pub fn with_cluster(mut self, cluster: Cluster) -> Self {
        self.cluster = Some(cluster);
        self
    }

    /// Bits of a port beyond those that count are dropped, as the kernel does; with more bits than a port has
    /// the entry counts as not read.
    fn insert(&mut self, mut entry: Entry) {
        let Key { direction, identity, traffic } = entry.key;
        let (first, _) = traffic.ports().unwrap_or_default();
        let protocol = traffic.protocol().unwrap_or_default();
        let Some(traffic) = Traffic::new(traffic.prefix_length(), protocol, first) else {
            self.unread += 1;
            return;
        };
        entry.key.traffic = traffic;
        let place = *self.places.entry(packed(direction, identity, traffic)).or_insert_with(|| {
            self.entries.push(entry);
            self.entries.len() as u32 - 1
        });
        self.entries[place as usize] = entry;
        *self.lengths.entry(packed_peer(direction, identity)).or_default() |= 1 << traffic.prefix_length();
    }

    pub fn order(&self) -> Order {
        self.order
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn unread(&self) -> u64 {
        self.unread
    }

    pub fn capacity(&self) -> Option<u32> {
        self.capacity
    }

    /// No further entry fits; `None` when the room is not known.
    pub fn is_full(&self) -> Option<bool> {
        self.capacity.map(|room| self.entries.len() as u64 + self.unread >= u64::from(room))
    }

    /// Something is forbidden in this direction: nothing lets everything through.
    pub fn is_enforced(&self, direction: Direction) -> bool {
        let everything = packed(direction, Identity(0), Traffic::Any);
        self.places.get(&everything).is_none_or(|place| !self.entries[*place as usize].is_allow_all())
    }

    /// Every entry for this identity (not "any") and packet, the longest prefix first.
    pub fn matches(
        &self,
        direction: Direction,
        identity: Identity,
        protocol: u8,
        port: u16,
    ) -> impl Iterator<Item = &Entry> {
        let mut lengths = self.lengths.get(&packed_peer(direction, identity)).copied().unwrap_or_default();
        std::iter::from_fn(move || {
            while let Some(length) = lengths.checked_ilog2() {
                lengths &= !(1 << length);
                let found = Traffic::new(length as u8, protocol, port)
                    .and_then(|traffic| self.places.get(&packed(direction, identity, traffic)));
                if let Some(place) = found {
                    return self.entries.get(*place as usize);
                }
            }
            None
        })
    }

    /// What the kernel's look-up finds.
    pub fn look_up(
        &self,
        direction: Direction,
        identity: Identity,
        protocol: u8,
        port: u16,
    ) -> Option<&Entry> {
        self.matches(direction, identity, protocol, port).next()
    }

    /// The aggregates that an identity may belong to: one, or two if the own cluster is not known.
    pub fn aggregates(&self, identity: Identity) -> [Option<Identity>; 2] {
        let one = |aggregate| [Some(aggregate), None];
        match identity {
            Identity(0) => one(Identity(0)),
            Identity(11..=14) => one(identity),
            _ if identity.is_reserved() => one(Identity(0)),
            _ => match identity.scope() {
                IdentityScope::RemoteNode => one(aggregate::REMOTE_NODES),
                IdentityScope::Local => one(aggregate::LOCAL),
                IdentityScope::Global => self.cluster_aggregates(identity),
                IdentityScope::Unknown(_) => one(Identity(0)),
            },
        }
    }

    fn cluster_aggregates(&self, identity: Identity) -> [Option<Identity>; 2] {
        /// Without cluster bits in either division.
        const ALONE: u32 = 1 << 15;
        match self.cluster {
            Some(Cluster { id, identity_bits }) => {
                let of = identity.0.checked_shr(identity_bits.into()).unwrap_or_default();
                [Some(if of == id { aggregate::CLUSTER } else { aggregate::OTHER_CLUSTERS }), None]
            }
            None if identity.0 < ALONE => [Some(aggregate::CLUSTER), None],
            None => [Some(aggregate::CLUSTER), Some(aggregate::OTHER_CLUSTERS)],
        }
    }
}
