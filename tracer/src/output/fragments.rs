//! Rendered pieces of JSON that come again and again: the two ends of a flow, its reason and place. A flood is made of
//! few of them, so they are kept, in bounded memory, and copied instead of rendered.

use std::sync::Arc;

use tracer_common::id::{Identity, IfIndex};

use crate::model::endpoint::{IdentitySource, Labels, LocalEndpoint, Peer};
use crate::model::flow::{CiliumDrop, Direction, Flow, InferredSet, Source};
use crate::model::notice::Notice;
use crate::model::reason::KernelDrop;

/// Slots of one store. Direct-mapped: the newer piece wins.
const SLOTS: usize = 128;
/// Longer pieces are rendered each time.
const MAX_BYTES: usize = 4096;

/// All that a piece is rendered from, taken out of a `T`. Values behind an [`Arc`] never change, so the same place means
/// the same value; a key keeps them alive, so that no other value can take the place.
pub(super) trait Key<T> {
    /// Any number that differs for most keys.
    fn spread(from: &T) -> u64;

    /// Whether the key is that of `from`.
    fn is_of(&self, from: &T) -> bool;

    fn of(from: &T) -> Self;
}

/// A piece and what it is of.
type Slot<K> = Option<(K, Vec<u8>)>;

/// Pieces by key.
#[derive(Debug)]
pub(super) struct Fragments<K> {
    slots: Box<[Slot<K>]>,
}

impl<K> Default for Fragments<K> {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| None).collect() }
    }
}

impl<K> Fragments<K> {
    /// Appends the piece for `from`: the kept one, else what `render` appends, which is kept.
    #[inline]
    pub fn write<T>(&mut self, out: &mut Vec<u8>, from: &T, render: impl FnOnce(&mut Vec<u8>))
    where
        K: Key<T>,
    {
        let slot = &mut self.slots[slot_of(K::spread(from))];
        match slot {
            Some((known, piece)) if known.is_of(from) => out.extend_from_slice(piece),
            _ => {
                let start = out.len();
                render(out);
                keep(slot, K::of(from), &out[start..]);
            }
        }
    }

    pub fn clear(&mut self) {
        self.slots.fill_with(|| None);
    }
}

/// A slot's memory serves the next piece too.
fn keep<K>(slot: &mut Option<(K, Vec<u8>)>, key: K, piece: &[u8]) {
    if piece.len() <= MAX_BYTES {
        let mut kept = slot.take().map_or_else(Vec::new, |(_, old)| old);
        kept.clear();
        kept.extend_from_slice(piece);
        *slot = Some((key, kept));
    }
}

/// Multiplicative hash: the upper bits of the product depend on all bits of the number.
fn slot_of(spread: u64) -> usize {
    (spread.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 57) as usize % SLOTS
}

fn place<T: ?Sized>(shared: Option<&Arc<T>>) -> Option<*const ()> {
    shared.map(|shared| Arc::as_ptr(shared).cast())
}

/// One end.
#[derive(Debug)]
pub(super) struct EndKey {
    endpoint: Option<Arc<LocalEndpoint>>,
    labels: Option<Arc<Labels>>,
    identity: Option<Identity>,
}

impl Key<Peer> for EndKey {
    fn spread(peer: &Peer) -> u64 {
        u64::from(peer.identity.unwrap_or_default().0) << 16 | u64::from(peer.endpoint_id().0)
    }

    fn is_of(&self, peer: &Peer) -> bool {
        self.identity == peer.identity
            && place(self.endpoint.as_ref()) == place(peer.endpoint.as_ref())
            && place(self.labels.as_ref()) == place(peer.labels.as_ref())
    }

    fn of(peer: &Peer) -> Self {
        Self { endpoint: peer.endpoint.clone(), labels: peer.labels.clone(), identity: peer.identity }
    }
}

/// What happened how, as Hubble tells it: from `event_type` to `ip_trace_id`.
#[derive(Debug)]
pub(super) struct EventKey {
    drop: Option<CiliumDrop>,
    notice: Option<Notice>,
    direction: Direction,
    interface: Option<(IfIndex, Arc<str>)>,
}

impl Key<Flow> for EventKey {
    fn spread(flow: &Flow) -> u64 {
        let interface = flow.interface.as_ref().map_or(0, |interface| interface.index.0);
        spread_of(flow) ^ u64::from(interface) << 32 ^ (flow.direction as u64) << 62
    }

    fn is_of(&self, flow: &Flow) -> bool {
        let known = self.interface.as_ref().map(|(index, name)| (*index, place(Some(name))));
        let here = flow.interface.as_ref().map(|interface| (interface.index, place(Some(&interface.name))));
        self.drop == flow.cilium
            && self.notice == flow.notice
            && self.direction == flow.direction
            && known == here
    }

    fn of(flow: &Flow) -> Self {
        let interface = flow.interface.as_ref();
        Self {
            drop: flow.cilium,
            notice: flow.notice,
            direction: flow.direction,
            interface: interface.map(|interface| (interface.index, Arc::clone(&interface.name))),
        }
    }
}

fn spread_of(flow: &Flow) -> u64 {
    match (&flow.cilium, &flow.notice) {
        (Some(drop), _) => {
            let place = drop.place.map_or(0, |place| u64::from(place.file_id) << 16 | u64::from(place.line));
            (place << 8 | u64::from(drop.reason.0)) ^ drop.ip_trace_id
        }
        (None, Some(Notice::Trace(trace))) => {
            u64::from(trace.point.0) << 8 | u64::from(trace.reason.0) | u64::from(trace.emitter.0) << 16
        }
        (None, Some(Notice::Verdict(verdict))) => {
            u64::from(verdict.match_type.0) << 8 | (flow.verdict as u64) | u64::from(verdict.emitter.0) << 16
        }
        (None, None) => 0,
    }
}

/// What Cilium and the kernel said, as the key `tracer` has it.
#[derive(Debug)]
pub(super) struct ReasonKey {
    drop: Option<CiliumDrop>,
    notice: Option<Notice>,
    kernel: Option<KernelDrop>,
}

impl Key<Flow> for ReasonKey {
    fn spread(flow: &Flow) -> u64 {
        let kernel = flow.kernel.as_ref();
        let kernel = kernel.map_or(0, |drop| drop.location ^ u64::from(drop.reason.unwrap_or(0)) << 40);
        spread_of(flow) ^ kernel.rotate_left(24)
    }

    fn is_of(&self, flow: &Flow) -> bool {
        self.drop == flow.cilium
            && self.notice == flow.notice
            && facts(self.kernel.as_ref()) == facts(flow.kernel.as_ref())
    }

    fn of(flow: &Flow) -> Self {
        Self { drop: flow.cilium, notice: flow.notice, kernel: flow.kernel.clone() }
    }
}

/// What a [`KernelDrop`] is told apart by.
type Facts = (Option<u32>, Option<*const ()>, u64, Option<*const ()>);

fn facts(kernel: Option<&KernelDrop>) -> Option<Facts> {
    kernel.map(|drop| {
        (drop.reason, place(drop.reason_name.as_ref()), drop.location, place(drop.symbol.as_ref()))
    })
}

/// How the event came to be: the last members of the key `tracer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OriginKey {
    source: Source,
    ends: (IdentitySource, IdentitySource),
    stale: (bool, bool),
    inferred: InferredSet,
}

impl Key<Flow> for OriginKey {
    fn spread(flow: &Flow) -> u64 {
        let ends = (flow.src.identity_source as u64) << 4 | flow.dst.identity_source as u64;
        let inferred = flow.inferred.iter().fold(0u64, |sum, one| sum | 1 << one as u64);
        inferred << 16 | ends << 4 | flow.source as u64
    }

    fn is_of(&self, flow: &Flow) -> bool {
        *self == Self::of(flow)
    }

    fn of(flow: &Flow) -> Self {
        let stale = |peer: &Peer| peer.endpoint.as_ref().is_some_and(|endpoint| endpoint.stale_names);
        Self {
            source: flow.source,
            ends: (flow.src.identity_source, flow.dst.identity_source),
            stale: (stale(&flow.src), stale(&flow.dst)),
            inferred: flow.inferred,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Number(u64);

    impl Key<u64> for Number {
        fn spread(number: &u64) -> u64 {
            *number
        }

        fn is_of(&self, number: &u64) -> bool {
            self.0 == *number
        }

        fn of(number: &u64) -> Self {
            Self(*number)
        }
    }

    #[test]
    fn a_piece_is_rendered_once_and_no_key_gets_the_piece_of_another() {
        let mut pieces = Fragments::<Number>::default();
        let mut out = Vec::new();
        pieces.write(&mut out, &7, |out| out.extend(b"seven"));
        pieces.write(&mut out, &7, |_| unreachable!());
        assert_eq!(out, b"sevenseven");
        pieces.clear();
        for number in (0..10_000).chain(0..10_000) {
            out.clear();
            let mut pieces_of = |out: &mut Vec<u8>| {
                pieces.write(out, &number, |out| out.extend(format!("<{number}>").bytes()));
            };
            pieces_of(&mut out);
            pieces_of(&mut out);
            assert_eq!(out, format!("<{number}><{number}>").as_bytes());
        }
    }

    #[test]
    fn a_piece_beyond_bounds_is_not_kept() {
        let mut pieces = Fragments::<Number>::default();
        let mut renderings = 0;
        for _ in 0..2 {
            pieces.write(&mut Vec::new(), &1, |out| {
                out.resize(MAX_BYTES + 1, b'x');
                renderings += 1;
            });
        }
        assert_eq!(renderings, 2);
    }

    #[test]
    fn an_end_is_the_same_only_by_the_same_values() {
        let endpoint = Arc::new(LocalEndpoint::default());
        let peer = Peer { endpoint: Some(Arc::clone(&endpoint)), ..Peer::default() };
        let key = EndKey::of(&peer);
        assert!(key.is_of(&peer.clone()));
        assert!(!key.is_of(&Peer::default()));
        let twin = Peer { endpoint: Some(Arc::new(LocalEndpoint::default())), ..Peer::default() };
        assert!(!key.is_of(&twin), "another value in another place");
        assert!(!key.is_of(&Peer { identity: Some(Identity(1)), ..peer }));
    }
}
