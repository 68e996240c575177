//! Which of the three meanings of the same 56 bytes the entries of a node have. The release says it, where
//! state files or other maps tell the release; the entries must not contradict it. Where the release is not
//! known, the entries decide as far as they can: what they leave open is not shown.

use std::net::{IpAddr, SocketAddr};

use tracer_common::cilium::ct::{CtEntry, CtEntryNat, CtEntryPerDirection};
use zerocopy::FromBytes;

use super::{Counters, CtKey, Kind, VALUE_SIZE};
use crate::cilium::release::{Judgement, Release, ReleaseRange};

/// One meaning of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Up to 1.15.
    PerDirection,
    /// 1.16 to 1.18.
    Pair,
    /// 1.19 and newer.
    Nat,
}

impl Generation {
    const ALL: [Self; 3] = [Self::PerDirection, Self::Pair, Self::Nat];

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The first and last release that writes it.
    const fn releases(self) -> ReleaseRange {
        let (lowest, highest) = match self {
            Self::PerDirection => (0, 15),
            Self::Pair => (16, 18),
            Self::Nat => (19, u8::MAX),
        };
        ReleaseRange { lowest: Release(lowest), highest: Release(highest) }
    }
}

/// Those that are still possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generations(u8);

impl Generations {
    pub const ANY: Self = Self(7);

    pub const fn only(generation: Generation) -> Self {
        Self(generation.bit())
    }

    pub fn of(releases: ReleaseRange) -> Self {
        let fits = |g: &Generation| g.releases().intersect(releases).is_some();
        Self(Generation::ALL.into_iter().filter(fits).fold(0, |bits, g| bits | g.bit()))
    }

    pub const fn contains(self, generation: Generation) -> bool {
        self.0 & generation.bit() != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The only one left.
    pub fn single(self) -> Option<Generation> {
        let mut left = Generation::ALL.into_iter().filter(|g| self.contains(*g));
        let one = left.next()?;
        left.next().is_none().then_some(one)
    }

    const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// What the generations do not agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub counters: Counters,
    pub backend_id: u64,
    pub dsr: Option<SocketAddr>,
    pub ifindex: u16,
}

/// The meaning of a value in the light of the generations that may have written it. `None`: none of them can.
#[inline]
pub(super) fn meaning(generations: Generations, key: &CtKey, value: &[u8; VALUE_SIZE]) -> Option<Meaning> {
    let left = match generations.single() {
        Some(one) => return read(one, key, value),
        None => generations.both(likely(key, value)),
    };
    let mut found =
        Generation::ALL.into_iter().filter(|g| left.contains(*g)).filter_map(|g| read(g, key, value));
    let first = found.next()?;
    Some(found.fold(first, agree))
}

/// What both say; the rest is unclear.
fn agree(one: Meaning, other: Meaning) -> Meaning {
    let counters = match (one.counters, other.counters) {
        (a, b) if a == b => a,
        // Nothing was counted: how it would have been counted does not matter.
        (a, b) if is_zero(a) && is_zero(b) => b,
        _ => Counters::Unclear,
    };
    Meaning {
        counters,
        backend_id: if one.backend_id == other.backend_id { one.backend_id } else { 0 },
        dsr: if one.dsr == other.dsr { one.dsr } else { None },
        ifindex: if one.ifindex == other.ifindex { one.ifindex } else { 0 },
    }
}

fn is_zero(counters: Counters) -> bool {
    match counters {
        Counters::PerDirection { rx_packets, rx_bytes, tx_packets, tx_bytes } => {
            rx_packets | rx_bytes | tx_packets | tx_bytes == 0
        }
        Counters::Both { packets, bytes } => packets | bytes == 0,
        Counters::Unclear => false,
    }
}

/// Reads a value as one generation writes it. `None`: it does not write such values.
fn read(generation: Generation, key: &CtKey, value: &[u8; VALUE_SIZE]) -> Option<Meaning> {
    if !is_possible(generation, key, value) {
        return None;
    }
    Some(match generation {
        Generation::PerDirection => per_direction(key, value),
        Generation::Pair => pair(value),
        Generation::Nat => nat(key, value),
    })
}

fn per_direction(key: &CtKey, value: &[u8; VALUE_SIZE]) -> Meaning {
    let entry = struct_of::<CtEntryPerDirection>(value);
    let is_service = key.kind == Kind::Service;
    let (rx_bytes, backend_id) =
        if is_service { (0, entry.rx_bytes_or_backend_id) } else { (entry.rx_bytes_or_backend_id, 0) };
    Meaning {
        counters: Counters::PerDirection {
            rx_packets: entry.rx_packets,
            rx_bytes,
            tx_packets: entry.tx_packets,
            tx_bytes: entry.tx_bytes,
        },
        backend_id,
        dsr: None,
        ifindex: u16::from_le_bytes(entry.common.ifindex_or_nat_port),
    }
}

fn pair(value: &[u8; VALUE_SIZE]) -> Meaning {
    let entry = struct_of::<CtEntry>(value);
    Meaning {
        counters: Counters::Both { packets: entry.packets, bytes: entry.bytes },
        backend_id: entry.backend_id,
        dsr: None,
        ifindex: u16::from_le_bytes(entry.common.ifindex_or_nat_port),
    }
}

fn nat(key: &CtKey, value: &[u8; VALUE_SIZE]) -> Meaning {
    let entry = struct_of::<CtEntryNat>(value);
    let first = entry.nat_addr_or_backend_id;
    let [.., a, b, c, d, e, f, g, h] = first;
    let is_service = key.kind == Kind::Service;
    let is_dsr = !is_service && first != [0; 16];
    let port = u16::from_be_bytes(entry.common.ifindex_or_nat_port);
    let ip = match key.ends.originator {
        SocketAddr::V4(_) => IpAddr::from([first[0], first[1], first[2], first[3]]),
        SocketAddr::V6(_) => IpAddr::from(first),
    };
    Meaning {
        counters: Counters::Both { packets: entry.packets, bytes: entry.bytes },
        backend_id: if is_service { u64::from_ne_bytes([a, b, c, d, e, f, g, h]) } else { 0 },
        dsr: is_dsr.then(|| SocketAddr::new(ip, port)),
        ifindex: 0,
    }
}

/// All three have the size of the array.
fn struct_of<T: FromBytes + Default>(value: &[u8; VALUE_SIZE]) -> T {
    T::read_from_bytes(value).unwrap_or_default()
}

/// The generations that are likely to have written this value.
fn likely(key: &CtKey, value: &[u8; VALUE_SIZE]) -> Generations {
    let can = |g: &Generation| is_likely(*g, key, value);
    Generations(Generation::ALL.into_iter().filter(can).fold(0, |bits, g| bits | g.bit()))
}

/// Backends have 32-bit ids.
const MAX_BACKEND: u64 = u32::MAX as u64;
/// The least and the most that a packet has; large ones are segments of a network card's offload.
const PACKET_BYTES: std::ops::RangeInclusive<u64> = 14..=600_000;

#[inline]
fn is_possible(generation: Generation, key: &CtKey, value: &[u8; VALUE_SIZE]) -> bool {
    let entry = struct_of::<CtEntryPerDirection>(value);
    let (first, second) = (entry.rx_packets, entry.rx_bytes_or_backend_id);
    if !is_count(entry.tx_packets, entry.tx_bytes) {
        return false;
    }
    match (generation, key.kind) {
        (Generation::PerDirection, Kind::Service) => second <= MAX_BACKEND,
        (_, Kind::Service) => first == 0 && second <= MAX_BACKEND,
        (Generation::PerDirection, _) => is_count(first, second),
        _ if first == 0 && second == 0 => true,
        (Generation::Nat, Kind::Out) => key.ends.originator.is_ipv6() || is_v4_in_16(first, second),
        _ => false,
    }
}

/// Possible, and what a release really does: of an entry that was made on arrival the first packet was
/// counted as received, if anything was counted.
fn is_likely(generation: Generation, key: &CtKey, value: &[u8; VALUE_SIZE]) -> bool {
    let entry = struct_of::<CtEntryPerDirection>(value);
    let lacks_first = key.kind == Kind::In && entry.rx_packets == 0 && entry.tx_packets != 0;
    is_possible(generation, key, value) && !(generation == Generation::PerDirection && lacks_first)
}

const fn is_v4_in_16(first: u64, second: u64) -> bool {
    first.to_le() >> 32 == 0 && second == 0
}

fn is_count(packets: u64, bytes: u64) -> bool {
    match packets {
        0 => bytes == 0,
        _ => PACKET_BYTES.contains(&(bytes / packets)),
    }
}

/// What a sample of a node's entries says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    entries: u64,
    /// By [`Generation`]: entries that it is not likely to have written.
    unlikely: [u64; 3],
}

/// Up to one strange entry in this many is no evidence against a generation.
const TOLERANCE: u64 = 50;

impl Sample {
    /// Adds an entry with a good key.
    pub fn add(&mut self, key: &CtKey, value: &[u8]) {
        let Ok(value) = value.try_into() else { return };
        let likely = likely(key, value);
        self.entries += 1;
        for generation in Generation::ALL {
            self.unlikely[generation as usize] += u64::from(!likely.contains(generation));
        }
    }

    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Those that explain the entries as well as any other does, but for a few strange ones; none if the best
    /// explains less than half.
    fn allows(&self) -> Generations {
        let best = self.unlikely.into_iter().min().unwrap_or_default();
        if best * 2 > self.entries {
            return Generations(0);
        }
        let allowed = |g: &Generation| self.unlikely[*g as usize] <= best + self.entries / TOLERANCE;
        Generations(Generation::ALL.into_iter().filter(allowed).fold(0, |bits, g| bits | g.bit()))
    }
}

/// Why no generation fits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error(
        "entries of connection tracking do not look like those of Cilium {releases}: {strange} of {entries} cannot be"
    )]
    Entries { releases: ReleaseRange, strange: u64, entries: u64 },
    #[error(
        "entries of connection tracking look like those of no known release: {strange} of {entries} cannot be"
    )]
    Unknown { strange: u64, entries: u64 },
}

/// The generations that both the node's release and its entries allow. A release that is not clear allows
/// all.
pub fn decide(releases: &Judgement, sample: &Sample) -> Result<Generations, Conflict> {
    let range = releases.releases();
    let by_release = Generations::of(range);
    let by_entries = sample.allows();
    let left = by_release.both(by_entries);
    if !left.is_empty() {
        return Ok(left);
    }
    let least = |generations: Generations| {
        let counts = Generation::ALL.into_iter().filter(move |g| generations.contains(*g));
        counts.map(|g| sample.unlikely[g as usize]).min().unwrap_or_default()
    };
    let entries = sample.entries;
    Err(match by_entries.is_empty() {
        true => Conflict::Unknown { strange: least(Generations::ANY), entries },
        false => Conflict::Entries { releases: range, strange: least(by_release), entries },
    })
}
