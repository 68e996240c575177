//! Lost events: lines of their own in the stream, so that a gap is seen where it is.

use super::json::{Object, decimal};
use super::time::Clock;
use crate::model::time::WallTime;

/// Where events were lost, in Hubble's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostSource {
    /// The ring buffer between kernel and tracer was full.
    KernelRing,
    /// A queue inside tracer was full.
    Queue,
    /// A reader of the kept flows was too slow: what it had not read yet is no longer kept.
    SlowReader,
}

impl LostSource {
    /// The name in Hubble's enumeration `LostEventSource`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KernelRing => "PERF_EVENT_RING_BUFFER",
            Self::Queue => "OBSERVER_EVENTS_QUEUE",
            Self::SlowReader => "HUBBLE_RING_BUFFER",
        }
    }
}

/// Events lost since the last such report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    pub source: LostSource,
    pub count: u64,
    /// `None`: on any of them.
    pub cpu: Option<u32>,
    /// When it was noticed.
    pub time: WallTime,
}

pub(super) fn compact(out: &mut Vec<u8>, lost: &Lost) {
    out.extend_from_slice(b"EVENTS LOST: ");
    out.extend_from_slice(lost.source.name().as_bytes());
    out.extend_from_slice(b" CPU(");
    decimal(out, lost.cpu.unwrap_or(0));
    out.extend_from_slice(b") ");
    decimal(out, lost.count);
    out.push(b'\n');
}

/// `CPU(0) - 12`, as dict and table print it.
pub(super) fn write_summary(out: &mut Vec<u8>, lost: &Lost) {
    out.extend_from_slice(b"CPU(");
    decimal(out, lost.cpu.unwrap_or(0));
    out.extend_from_slice(b") - ");
    decimal(out, lost.count);
}

pub(super) fn json(out: &mut Vec<u8>, lost: &Lost, node_name: &str, clock: &mut Clock) {
    Object::write(out, |line| {
        line.object("lost_events", |event| {
            event.always_string("source", lost.source.name());
            event.number64("num_events_lost", lost.count);
            if let Some(cpu) = lost.cpu {
                event.always_number("cpu", cpu);
            }
        });
        line.string("node_name", node_name);
        line.time("time", clock, lost.time);
    });
    out.push(b'\n');
}
