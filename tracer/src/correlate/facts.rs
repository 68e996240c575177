//! What Cilium said about a drop, from the message and the note together: field by field the message first,
//! and the note where the message has nothing (an old generation, or no message at all).

use tracer_common::cilium::note::Note;
use tracer_common::cilium::notify::{self, DropGeneration, PacketFlags};
use tracer_common::event::flag;
use tracer_common::id::{EndpointId, Identity};

use super::join::Joined;
use super::record::Record;
use crate::model::flow::Source;

/// Cilium's side of a drop. Identities are 0 where the datapath did not know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Where `reason` comes from.
    pub source: Source,
    pub reason: u8,
    pub ext_error: i8,
    /// File id and line; `None` before 1.13.
    pub place: Option<Place>,
    pub source_identity: Identity,
    pub destination_identity: Identity,
    /// The destination endpoint of a packet dropped on its way in; 0 on the way out.
    pub destination_endpoint: EndpointId,
    /// Whose program dropped the packet. A note does not tell.
    pub emitter: Option<EndpointId>,
    pub ip_trace_id: u64,
    pub flags: Option<PacketFlags>,
    /// Device that the program ran on, 0 if not told.
    pub ifindex: u32,
    /// 0 if not told.
    pub hash: u32,
}

/// A line of Cilium's source, as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub file_id: u8,
    pub line: u16,
    /// Layout of the message that told; `None`: a note.
    pub sent_as: Option<DropGeneration>,
}

impl Facts {
    /// `None`: Cilium said nothing about this packet.
    pub fn of(joined: &Joined<'_>) -> Option<Self> {
        let note = joined.free.as_ref().and_then(note_of);
        match (&joined.message, note) {
            (Some(message), note) => Some(Self::of_message(&message.drop, note)),
            (None, Some(note)) => Some(Self::of_note(&note)),
            (None, None) => None,
        }
    }

    fn of_message(drop: &notify::Drop, note: Option<Note>) -> Self {
        let told = drop.generation > DropGeneration::V0;
        let place = Place { file_id: drop.file_id, line: drop.line, sent_as: Some(drop.generation) };
        // A note of another drop says nothing about this one.
        let note = note.filter(|note| note.reason == drop.reason()).map(|note| Self::of_note(&note));
        let or = |identity: Identity, noted: Option<Identity>| match identity {
            Identity(0) => noted.unwrap_or(identity),
            known => known,
        };
        Self {
            source: Source::Message,
            reason: drop.reason(),
            ext_error: if told { drop.ext_error } else { note.map_or(0, |note| note.ext_error) },
            place: if told { Some(place) } else { note.and_then(|note| note.place) },
            source_identity: or(drop.source_identity, note.map(|note| note.source_identity)),
            destination_identity: or(drop.destination_identity, note.map(|note| note.destination_identity)),
            destination_endpoint: drop.destination_endpoint,
            emitter: Some(drop.emitter()),
            ip_trace_id: drop.ip_trace_id,
            flags: drop.flags,
            ifindex: drop.ifindex,
            hash: drop.head.hash,
        }
    }

    fn of_note(note: &Note) -> Self {
        Self {
            source: Source::Note,
            reason: note.reason,
            ext_error: note.ext_error,
            place: Some(Place { file_id: note.file_id, line: note.line, sent_as: None }),
            source_identity: note.source_identity,
            destination_identity: note.destination_identity,
            destination_endpoint: note.endpoint_id,
            emitter: None,
            ip_trace_id: 0,
            flags: None,
            ifindex: 0,
            hash: 0,
        }
    }
}

fn note_of(free: &Record<'_>) -> Option<Note> {
    if free.has(flag::HAS_NOTE) { Note::parse(&free.header.note) } else { None }
}
