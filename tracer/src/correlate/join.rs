//! One event per drop: a drop message and the free of the same packet become one.
//!
//! The kernel side marks a free as belonging to the drop message sent just before on the same CPU, and only
//! if that message went into the ring. So one place per CPU is enough: the ring keeps the order within a
//! CPU, and once the next drop message of a CPU comes, no free of the earlier one can follow. A message whose
//! free does not come (native XDP, a free lost in the ring) goes out alone, after a hold time at the latest.
//!
//! Trace and verdict messages belong to no free: each is handed back as what it is, at once.

use tracer_common::cilium::note::Note;
use tracer_common::cilium::notify::{self, Message};
use tracer_common::event::{EventHeader, MAX_RECORD, flag, kind};
use zerocopy::IntoBytes;

use super::record::Record;
use crate::model::time::BootTime;

/// How long a message waits for its free. The two are microseconds apart, 20 ms on emulated machines.
pub const HOLD_NS: u64 = 50_000_000;
/// CPUs with a place of their own; messages of others (no such machine is known) are not held.
const MAX_CPUS: usize = 8192;

/// One drop: its message, its free, or both. Never neither.
#[derive(Clone, Copy, Debug)]
pub struct Joined<'a> {
    pub message: Option<DropMessage<'a>>,
    pub free: Option<Record<'a>>,
}

/// A record with Cilium's drop message in it.
#[derive(Clone, Copy, Debug)]
pub struct DropMessage<'a> {
    pub record: Record<'a>,
    pub drop: notify::Drop,
}

/// A record whose message is an event by itself.
#[derive(Clone, Copy, Debug)]
pub struct Noticed<'a> {
    pub record: Record<'a>,
    pub told: Told,
}

/// A message about a packet that is not dropped by it.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    Trace(notify::Trace),
    Verdict(notify::Verdict),
}

/// What came in, and what became of it.
///
/// Each record is in one counter: `records` = 2 × `joined` + `messages_alone` + `frees_alone` + `late_frees` +
/// `traces` + `verdicts` + `debugs` + `unreadable` + the messages that are still waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinCounters {
    pub records: u64,
    /// Those of `records` that are drop messages.
    pub drop_messages: u64,
    /// Events made of a message and its free.
    pub joined: u64,
    /// Events made of a message alone.
    pub messages_alone: u64,
    /// Events made of a free alone: all drops that Cilium sent no message for.
    pub frees_alone: u64,
    /// Frees whose message had to be let go before they came: the event is out, without kernel reason and place.
    pub late_frees: u64,
    /// Those of `frees_alone` that claim a message which never came.
    pub orphans: u64,
    pub traces: u64,
    pub verdicts: u64,
    pub debugs: u64,
    /// Notifications that could not be read.
    pub unreadable: u64,
    /// Those of `joined` whose note names another reason or place than the message.
    pub disagreeing: u64,
}

/// The places of the CPUs. Allocates when it first sees a CPU, never after.
#[derive(Debug, Default)]
pub struct Join {
    places: Vec<Place>,
    counters: JoinCounters,
    /// Number of places that hold a message; lets the common case skip the search.
    waiting: usize,
}

/// The last drop message of a CPU.
#[derive(Debug)]
struct Place {
    state: State,
    drop: Option<notify::Drop>,
    /// A copy of the record: the ring wants its memory back.
    buffer: Box<Buffer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    Waiting,
    /// Went out alone; its free must not make a second event.
    LetGo,
}

/// Room for the longest record, aligned for its header.
#[derive(Debug)]
#[repr(align(8))]
struct Buffer([u8; MAX_RECORD]);

impl Default for Place {
    fn default() -> Self {
        Self { state: State::Empty, drop: None, buffer: Box::new(Buffer([0; MAX_RECORD])) }
    }
}

impl Place {
    fn fill(&mut self, message: &DropMessage<'_>) {
        let record = &message.record;
        let parts = [record.header.as_bytes(), record.meta, record.packet];
        let mut room = &mut self.buffer.0[..];
        for part in parts {
            let (here, rest) = room.split_at_mut(part.len().min(room.len()));
            here.copy_from_slice(&part[..here.len()]);
            room = rest;
        }
        (self.drop, self.state) = (Some(message.drop), State::Waiting);
    }

    fn message(&self) -> Option<DropMessage<'_>> {
        Some(DropMessage { record: Record::parse(&self.buffer.0).ok()?, drop: self.drop? })
    }

    fn header(&self) -> Option<&EventHeader> {
        Some(self.message()?.record.header)
    }

    /// Whether a marked free belongs here. An XDP program knows no `sk_buff`: the mark has to do.
    fn owns(&self, free: &EventHeader) -> bool {
        self.header().is_some_and(|message| message.kind == kind::XDP_MESSAGE || message.skb == free.skb)
    }
}

impl Join {
    pub fn counters(&self) -> JoinCounters {
        self.counters
    }

    /// Takes the next record of the ring. Calls `emit` for each drop that is complete now: none, one, or two.
    /// Gives back what is no drop.
    pub fn push<'a>(&mut self, record: Record<'a>, mut emit: impl FnMut(Joined<'_>)) -> Option<Noticed<'a>> {
        self.counters.records += 1;
        if record.header.kind == kind::FREE {
            self.free(record, &mut emit);
            return None;
        }
        match Message::parse(record.meta) {
            Ok(Message::Drop(drop)) => {
                self.counters.drop_messages += 1;
                self.message(DropMessage { record, drop }, &mut emit);
            }
            Ok(Message::Trace(trace)) => {
                self.counters.traces += 1;
                return Some(Noticed { record, told: Told::Trace(trace) });
            }
            Ok(Message::Verdict(verdict)) => {
                self.counters.verdicts += 1;
                return Some(Noticed { record, told: Told::Verdict(verdict) });
            }
            Ok(Message::Debug(_) | Message::DebugCapture(_)) => self.counters.debugs += 1,
            Err(_) => self.counters.unreadable += 1,
        }
        None
    }

    /// Lets go of messages that have waited for the hold time. Call it when the ring has been read to its
    /// end, so that no free is still on its way.
    pub fn expire(&mut self, now: BootTime, mut emit: impl FnMut(Joined<'_>)) {
        if self.waiting > 0 {
            self.let_go(|header| now.0.saturating_sub(header.time_ns) >= HOLD_NS, &mut emit);
        }
    }

    /// Lets go of everything: there will be no more records.
    pub fn finish(&mut self, mut emit: impl FnMut(Joined<'_>)) {
        self.let_go(|_| true, &mut emit);
    }

    /// When the next message is due for [`Join::expire`]; `None`: none is waiting.
    pub fn next_expiry(&self) -> Option<BootTime> {
        if self.waiting == 0 {
            return None;
        }
        let waiting = self.places.iter().filter(|place| place.state == State::Waiting);
        let oldest = waiting.filter_map(|place| Some(place.header()?.time_ns)).min()?;
        Some(BootTime(oldest.saturating_add(HOLD_NS)))
    }

    fn let_go(&mut self, due: impl Fn(&EventHeader) -> bool, emit: &mut impl FnMut(Joined<'_>)) {
        for place in self.places.iter_mut().filter(|place| place.state == State::Waiting) {
            if place.header().is_none_or(&due) {
                release(place, &mut self.counters, &mut self.waiting, emit);
            }
        }
    }

    fn message(&mut self, message: DropMessage<'_>, emit: &mut impl FnMut(Joined<'_>)) {
        let cpu = message.record.header.cpu as usize;
        if cpu >= MAX_CPUS {
            self.counters.messages_alone += 1;
            return emit(Joined { message: Some(message), free: None });
        }
        if cpu >= self.places.len() {
            self.places.resize_with(cpu + 1, Place::default);
        }
        let place = &mut self.places[cpu];
        if place.state == State::Waiting {
            release(place, &mut self.counters, &mut self.waiting, emit);
        }
        place.fill(&message);
        self.waiting += 1;
    }

    fn free(&mut self, free: Record<'_>, emit: &mut impl FnMut(Joined<'_>)) {
        if !free.has(flag::SAME_DROP) {
            self.counters.frees_alone += 1;
            return emit(Joined { message: None, free: Some(free) });
        }
        let place = self.places.get_mut(free.header.cpu as usize).filter(|place| place.owns(free.header));
        match place {
            Some(place) if place.state == State::Waiting => {
                place.state = State::Empty;
                self.waiting -= 1;
                self.counters.joined += 1;
                let message = place.message();
                self.counters.disagreeing +=
                    u64::from(message.is_some_and(|message| disagree(&message.drop, &free)));
                emit(Joined { message, free: Some(free) });
            }
            Some(place) if place.state == State::LetGo => {
                place.state = State::Empty;
                self.counters.late_frees += 1;
            }
            _ => {
                self.counters.orphans += 1;
                self.counters.frees_alone += 1;
                emit(Joined { message: None, free: Some(free) });
            }
        }
    }
}

/// Sends a waiting message out alone.
fn release(
    place: &mut Place,
    counters: &mut JoinCounters,
    waiting: &mut usize,
    emit: &mut impl FnMut(Joined<'_>),
) {
    place.state = State::LetGo;
    *waiting -= 1;
    counters.messages_alone += 1;
    emit(Joined { message: place.message(), free: None });
}

/// Whether the note in the freed packet tells another story than the message.
fn disagree(drop: &notify::Drop, free: &Record<'_>) -> bool {
    let note = if free.has(flag::HAS_NOTE) { Note::parse(&free.header.note) } else { None };
    note.is_some_and(|note| {
        let placed = drop.generation > notify::DropGeneration::V0;
        note.reason != drop.reason() || placed && (note.line, note.file_id) != (drop.line, drop.file_id)
    })
}

#[cfg(test)]
mod tests;
