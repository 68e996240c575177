//! What must be known before entries can be read: which generation wrote them and what their time stamps
//! mean. Both may take a look at some entries of every map.

use std::ops::ControlFlow;

use super::tables::CtTable;
use crate::cilium::ct::clock::Clock;
use crate::cilium::ct::generation::{Generations, Sample, decide};
use crate::cilium::ct::{GLOBAL, VALUE_SIZE, decode_key};
use crate::cilium::maps::MapRead;
use crate::cilium::node::NodeView;
use crate::pipeline::maps::Maps;

/// Entries of each map that are looked at.
const SAMPLE: u32 = 2000;
/// Where a value has the end of its life, in all generations.
pub const LIFETIME_AT: std::ops::Range<usize> = 32..36;

pub struct Facts {
    /// `None`: nothing known fits, entries are to be shown as bytes. It has been told.
    pub generations: Option<Generations>,
    pub clock: Clock,
}

/// The end of life of a value that has one.
pub fn lifetime(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.get(LIFETIME_AT)?.try_into().ok()?))
}

pub fn gather(maps: &mut Maps, view: &NodeView, tables: &[CtTable]) -> Facts {
    let mut sample = Sample::default();
    let mut lifetimes = Vec::new();
    for table in tables.iter().filter(|table| table.is_known) {
        look_at(&table.open.name, &*table.open.map, &mut |key, value| {
            if let Some(key) = decode_key(table.map, key) {
                sample.add(&key, value);
                lifetimes.extend(lifetime(value));
            }
        });
    }
    let clock = Clock::detect(view, typical(&mut lifetimes));
    if clock.is_doubtful() && !lifetimes.is_empty() {
        tracing::warn!("times are counted in {clock}");
    }
    tracing::debug!(%clock, entries = sample.entries(), releases = %view.releases().releases(), "connection tracking");
    let generations = match decide(view.releases(), &sample) {
        Ok(generations) => Some(generations),
        Err(conflict) => {
            maps.report.unknown(format_args!("{conflict}; not interpreted"));
            None
        }
    };
    Facts { generations, clock }
}

/// The clock for other maps, which share that of connection tracking.
pub fn clock(maps: &Maps, view: &NodeView) -> Clock {
    let mut lifetimes = Vec::new();
    for map in &GLOBAL {
        let Ok(open) = maps.source.open(map.name) else { continue };
        if open.info().key_size == map.key_size && open.value_bytes() == VALUE_SIZE {
            look_at(map.name, &*open, &mut |_, value| lifetimes.extend(lifetime(value)));
        }
    }
    Clock::detect(view, typical(&mut lifetimes))
}

/// Shows some entries of a map. An error here comes again when the map is walked, and is told then.
fn look_at(name: &str, map: &dyn MapRead, visit: &mut dyn FnMut(&[u8], &[u8])) {
    let mut seen = 0;
    let walk = map.for_each(&mut |key, value| {
        visit(key, value);
        seen += 1;
        if seen < SAMPLE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if let Err(error) = walk {
        tracing::debug!(map = name, %error, "sample");
    }
}

/// The one in the middle, which a few strange ones do not move far; 0 without any.
fn typical(lifetimes: &mut [u32]) -> u32 {
    let middle = lifetimes.len() / 2;
    if lifetimes.is_empty() { 0 } else { *lifetimes.select_nth_unstable(middle).1 }
}
