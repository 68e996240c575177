//! One client's way through the ring: where it starts, what it gets, when it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::Status;

use super::mask::Mask;
use super::ring::{Entry, FlowRing, Slot};
use super::wire::Response;
use crate::filter::FilterSet;
use crate::kernel::clock::wall_now;
use crate::model::time::WallTime;
use crate::output::flow_proto::write_lost;
use crate::output::lost::{Lost, LostSource};

/// Entries looked at before others get their turn.
const TURN: usize = 1024;

/// What a client asked for.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub filter: FilterSet,
    /// So many flows: the last ones, or the first ones. 0: all.
    pub number: u64,
    pub first: bool,
    /// Also those to come.
    pub follow: bool,
    pub since: Option<WallTime>,
    pub until: Option<WallTime>,
    /// Fields of a flow to send; `None`: all.
    pub mask: Option<Mask>,
}

impl Question {
    /// Whether the entry is in the time asked for, and what was asked for. Reports of losses always are.
    fn wants(&self, entry: &Entry) -> bool {
        self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time <= until)
            && entry.flow.as_ref().is_none_or(|flow| self.filter.matches(flow))
    }

    fn response(&self, entry: &Entry) -> Response {
        Response(match &self.mask {
            Some(mask) if entry.flow.is_some() => mask.apply(&entry.encoded).into(),
            _ => entry.encoded.clone(),
        })
    }

    /// Number of the entry to begin with.
    fn start(&self, ring: &FlowRing) -> u64 {
        let next = ring.next();
        match (self.number, self.first) {
            (0, false) if self.follow && self.since.is_none() => next,
            (0, _) | (_, true) => ring.oldest(),
            (number, false) => self.last(ring, number),
        }
    }

    /// Number of the `number`th wanted flow from the end, or the first there is.
    fn last(&self, ring: &FlowRing, number: u64) -> u64 {
        let in_time = |entry: &Arc<Entry>| self.since.is_none_or(|since| entry.time >= since);
        let wanted =
            ring.newest_first().take_while(in_time).filter(|entry| entry.flow.is_some() && self.wants(entry));
        let last = wanted.take(usize::try_from(number).unwrap_or(usize::MAX)).last();
        last.map_or(ring.next(), |entry| entry.number)
    }
}

/// A client's place in the ring.
#[derive(Debug)]
pub struct Cursor {
    ring: Arc<FlowRing>,
    question: Question,
    node: String,
    at: u64,
    /// First entry that is not wanted any more; `None`: follow.
    end: Option<u64>,
    /// Flows that may be sent still.
    left: u64,
}

/// What a client gets next.
#[derive(Debug)]
pub enum Next {
    Response(Response),
    /// Nothing yet.
    Wait,
    /// Nothing found for a while, but there is more to look at.
    Pause,
    End,
}

impl Cursor {
    pub fn new(ring: Arc<FlowRing>, question: Question, node: &str) -> Self {
        let at = question.start(&ring);
        let end = (!question.follow).then(|| ring.next());
        let left = if question.first && question.number > 0 { question.number } else { u64::MAX };
        Self { ring, question, node: node.to_owned(), at, end, left }
    }

    pub fn step(&mut self) -> Next {
        for _ in 0..TURN {
            if self.left == 0 || self.end.is_some_and(|end| self.at >= end) {
                return Next::End;
            }
            match self.ring.get(self.at) {
                Slot::NotYet if self.ring.is_closed() => return Next::End,
                Slot::NotYet => return if self.is_over() { Next::End } else { Next::Wait },
                Slot::Gone => return Next::Response(self.overtaken()),
                Slot::Entry(entry) => {
                    self.at += 1;
                    if self.question.wants(&entry) {
                        self.left -= u64::from(entry.flow.is_some());
                        return Next::Response(self.question.response(&entry));
                    }
                }
            }
        }
        Next::Pause
    }

    /// Whether the time asked for has passed.
    fn is_over(&self) -> bool {
        self.question.until.is_some_and(|until| wall_now() > until)
    }

    /// The ring went on without us. We go on a little behind its end, or it would be gone again at once.
    fn overtaken(&mut self) -> Response {
        let slack = self.ring.capacity() / 8;
        let resume = (self.ring.oldest() + slack).max(self.at + 1).min(self.ring.next());
        let lost =
            Lost { source: LostSource::SlowReader, count: resume - self.at, cpu: None, time: wall_now() };
        self.at = resume;
        let mut encoded = Vec::new();
        write_lost(&mut encoded, &self.node, &lost, None);
        Response(Bytes::from(encoded))
    }
}

/// The cursor as a stream of responses.
pub struct Flows {
    cursor: Cursor,
    news: WatchStream<()>,
}

impl Flows {
    pub fn new(cursor: Cursor) -> Self {
        // Subscribed before the first look, so that no news is missed.
        let news = WatchStream::from_changes(cursor.ring.news());
        Self { cursor, news }
    }
}

impl Stream for Flows {
    type Item = Result<Response, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.cursor.step() {
                Next::Response(response) => return Poll::Ready(Some(Ok(response))),
                Next::End => return Poll::Ready(None),
                Next::Pause => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Next::Wait => match Pin::new(&mut self.news).poll_next(context) {
                    Poll::Ready(Some(())) => {}
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }
}
