//! What `top` counts: every shown drop in each of the groupings, with its rate and its last events. Nothing is
//! allocated per event once warm.

use std::collections::VecDeque;
use std::sync::Arc;

use super::label;
use super::rate::Rate;
use crate::model::flow::Flow;
use crate::model::time::BootTime;
use crate::output::Node;
use crate::output::grouped::{Count, Grouped};
use crate::output::groups::GroupKey;
use crate::output::why::brief::Rendered;

/// Events kept for each group.
pub const EVENTS: usize = 8;
/// Once so many are kept, a new one is kept when the last is as old as this: a flood is not to be copied.
const KEEP_EVERY_NS: u64 = 100_000_000;

/// What drops are put together by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    #[default]
    Reason,
    Identity,
    Place,
    Pod,
}

impl Grouping {
    pub const ALL: [Self; 4] = [Self::Reason, Self::Identity, Self::Place, Self::Pod];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Reason => "reason",
            Self::Identity => "identity",
            Self::Place => "place",
            Self::Pod => "pod",
        }
    }

    pub const fn heading(self) -> &'static str {
        match self {
            Self::Reason => "REASON",
            Self::Identity => "SOURCE > DESTINATION IDENTITY",
            Self::Place => "PLACE, REASON",
            Self::Pod => "SOURCE > DESTINATION, PORT",
        }
    }

    pub const fn keys(self) -> &'static [GroupKey] {
        match self {
            Self::Reason => &[GroupKey::Reason],
            Self::Identity => &[GroupKey::Identity],
            Self::Place => &[GroupKey::Place, GroupKey::Reason],
            Self::Pod => &[GroupKey::Pod, GroupKey::Port, GroupKey::Protocol],
        }
    }
}

/// An event that is kept for those who ask what a group is made of.
#[derive(Clone, Debug)]
pub struct Event {
    pub flow: Flow,
    pub why: Option<Arc<Rendered>>,
}

/// One group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub count: Count,
    pub rate: Rate,
    /// The last one at the end.
    pub events: VecDeque<Event>,
}

impl Group {
    fn add(&mut self, flow: &Flow, why: Option<&Arc<Rendered>>) {
        self.tally(flow);
        let last = self.events.back().map_or(0, |event| event.flow.boot_time.0);
        let is_full = self.events.len() >= EVENTS;
        if is_full && flow.boot_time.0.saturating_sub(last) < KEEP_EVERY_NS {
            return;
        }
        if is_full {
            self.events.pop_front();
        }
        // The captured bytes are not shown.
        let flow = Flow { bytes: bytes::Bytes::new(), ..flow.clone() };
        self.events.push_back(Event { flow, why: why.cloned() });
    }

    fn tally(&mut self, flow: &Flow) {
        self.count.add(flow.time);
        self.rate.add(second(flow.boot_time));
    }
}

/// The second that a moment is in.
pub const fn second(time: BootTime) -> u64 {
    time.0 / 1_000_000_000
}

/// All counts of a run, or since they were set back.
#[derive(Clone, Debug)]
pub struct Board {
    node: Node,
    groupings: [Grouped<Group>; Grouping::ALL.len()],
    all: Group,
    since: BootTime,
}

/// What rows are ordered by; the largest or the latest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    #[default]
    Now,
    Minute,
    Total,
    Last,
    Name,
}

impl Sort {
    const ALL: [Self; 5] = [Self::Now, Self::Minute, Self::Total, Self::Last, Self::Name];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Minute => "1 min",
            Self::Total => "total",
            Self::Last => "last seen",
            Self::Name => "name",
        }
    }

    pub fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }
}

/// Which rows are wanted.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub grouping: Grouping,
    pub sort: Sort,
    /// Part of the row's text, in any case; "" for all.
    pub filter: String,
}

/// A row, ready to draw.
#[derive(Clone, Debug)]
pub struct Row {
    /// The group's values: names it to [`Board::events`]. `None`: all groups beyond the limit.
    pub values: Option<Box<[u8]>>,
    pub text: String,
    pub count: Count,
    /// Drops in the last second that is over, and in the last minute.
    pub now: u64,
    pub minute: u64,
    pub seconds: Vec<u32>,
}

impl Board {
    pub fn new(node: &Node, since: BootTime) -> Self {
        let groupings = Grouping::ALL.map(|grouping| Grouped::new(grouping.keys()));
        Self { node: node.clone(), groupings, all: Group::default(), since }
    }

    pub fn add(&mut self, flow: &Flow, why: Option<&Arc<Rendered>>) {
        self.all.tally(flow);
        for grouping in &mut self.groupings {
            grouping.add(flow, &self.node, |group| group.add(flow, why));
        }
    }

    /// The node may have another name now.
    pub fn set_node(&mut self, node: &Node) {
        self.node = node.clone();
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Forgets everything.
    pub fn reset(&mut self, now: BootTime) {
        self.groupings.iter_mut().for_each(Grouped::clear);
        (self.all, self.since) = (Group::default(), now);
    }

    /// Begins a new report: see [`Count::recent`].
    pub fn begin_report(&mut self) {
        self.all.count.recent = 0;
        self.groupings.iter_mut().for_each(|grouping| grouping.each(|group| group.count.recent = 0));
    }

    /// All drops as one row.
    pub fn all(&self, now: BootTime) -> Row {
        row(None, String::new(), &self.all, second(now))
    }

    /// Seconds that the rates of a minute are taken from: fewer while there has not been a minute.
    pub fn minute(&self, now: BootTime) -> u64 {
        let so_far = second(now).saturating_sub(second(self.since));
        so_far.clamp(1, super::rate::WINDOW)
    }

    /// Since when it counts.
    pub fn since(&self) -> BootTime {
        self.since
    }

    /// The rows of a grouping that the filter lets through, in order.
    pub fn rows(&self, query: &Query, now: BootTime) -> Vec<Row> {
        let groups = &self.groupings[query.grouping as usize];
        let wanted = query.filter.to_lowercase();
        let second = second(now);
        let named = groups.iter().map(|(values, group)| {
            let text = label::of_group(query.grouping, values, group.events.back(), &self.node);
            (Some(values), text, group)
        });
        let other = Some(groups.other()).filter(|other| other.count.total > 0);
        let other = other.map(|other| (None, "other groups: too many to tell apart".to_owned(), other));
        let mut rows: Vec<Row> = named
            .chain(other)
            .filter(|(_, text, _)| wanted.is_empty() || text.to_lowercase().contains(&wanted))
            .map(|(values, text, group)| row(values, text, group, second))
            .collect();
        rows.sort_unstable_by(|a, b| compare(query.sort, a, b));
        rows
    }

    /// How many groups there are, and the last events of one of them.
    pub fn events(&self, grouping: Grouping, values: &[u8]) -> Vec<Event> {
        let group = self.groupings[grouping as usize].get(values);
        group.map(|group| group.events.iter().cloned().collect()).unwrap_or_default()
    }
}

fn row(values: Option<&[u8]>, text: String, group: &Group, second: u64) -> Row {
    Row {
        values: values.map(Into::into),
        text,
        count: group.count,
        now: group.rate.now(second),
        minute: group.rate.minute(second),
        seconds: group.rate.seconds(second).collect(),
    }
}

/// What is equal goes by the other figures, so that rows stay where they are.
fn compare(sort: Sort, a: &Row, b: &Row) -> std::cmp::Ordering {
    let figures = |row: &Row| match sort {
        Sort::Now => [row.now, row.minute, row.count.total],
        Sort::Minute => [row.minute, row.now, row.count.total],
        Sort::Total => [row.count.total, row.minute, row.now],
        Sort::Last => [row.count.last.0.unsigned_abs(), row.count.total, 0],
        Sort::Name => [0; 3],
    };
    figures(b).cmp(&figures(a)).then_with(|| a.text.cmp(&b.text))
}
