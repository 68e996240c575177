//! One record's way from the ring to the output: joined, named, filtered, folded or printed. No thread and no
//! clock of its own; the reader drives it.

use std::io::Write;
use std::num::NonZeroU64;
use std::time::Instant;

use crate::cilium::node::NodeView;
use crate::correlate::join::{Join, Joined, Noticed};
use crate::correlate::name::{Knowledge, Named, Namer};
use crate::correlate::noise;
use crate::correlate::record::Record;
use crate::filter::FilterSet;
use crate::kernel::names::RunningKernel;
use crate::model::flow::Flow;
use crate::model::time::{BootTime, WallTime};
use crate::output::lost::Lost;
use crate::output::{Printer, is_closed_pipe};

use super::files::FileNames;
use super::sinks::Sinks;
use super::tally::{Fate, Tally};
use super::why::stream::Explainer;

/// What to show.
pub struct Selection {
    pub filter: FilterSet,
    /// Show what is folded otherwise.
    pub all: bool,
    /// Show no more than so many events.
    pub count: Option<NonZeroU64>,
    /// Print the shown events.
    pub print: bool,
    /// Trace and verdict messages were asked for.
    pub flows: bool,
}

/// Everything between the ring and the output.
pub struct Chain<W> {
    pub join: Join,
    pub stage: Stage<W>,
    /// Records that are none.
    pub malformed: u64,
}

/// The part behind the joining.
pub struct Stage<W> {
    pub namer: Namer,
    pub view: NodeView,
    pub kernel: RunningKernel,
    pub files: FileNames,
    pub selection: Selection,
    pub printer: Printer<W>,
    pub sinks: Sinks,
    /// Asks the policy behind each drop, if that is wanted.
    pub explainer: Option<Explainer>,
    pub tally: Tally,
    /// Set once nothing more can or need be printed.
    pub end: Option<End>,
}

/// Why the output ended by itself.
#[derive(Debug)]
pub enum End {
    /// The wanted number of events has been shown.
    Count,
    /// Nobody reads our output any more.
    ClosedPipe,
    Failed(std::io::Error),
}

impl<W: Write> Chain<W> {
    pub fn take(&mut self, record: &[u8]) {
        match Record::parse(record) {
            Ok(record) => {
                if let Some(noticed) = self.join.push(record, |joined| self.stage.take(&joined)) {
                    self.stage.notice(&noticed);
                }
            }
            Err(error) => {
                self.malformed += 1;
                tracing::debug!(%error, "record");
            }
        }
    }

    /// Lets go of messages that waited long enough for their free.
    pub fn expire(&mut self, now: BootTime) {
        self.join.expire(now, |joined| self.stage.take(&joined));
    }

    /// No record will come any more.
    pub fn finish(&mut self) {
        self.join.finish(|joined| self.stage.take(&joined));
        self.stage.flush();
        let finished = self.stage.sinks.each(|sink| sink.finish());
        self.stage.note_end(finished);
    }
}

impl<W: Write> Stage<W> {
    fn take(&mut self, joined: &Joined<'_>) {
        let mut know = Knowledge { names: &mut self.view, kernel: &mut self.kernel, files: &mut self.files };
        let Some(named) = self.namer.flow(joined, &mut know) else { return };
        let fate = self.settle(&named);
        self.tally.add(fate, named.flow.boot_time, named.flow.cilium.map(|drop| drop.reason));
        self.look_for_end();
    }

    fn notice(&mut self, noticed: &Noticed<'_>) {
        let mut know = Knowledge { names: &mut self.view, kernel: &mut self.kernel, files: &mut self.files };
        let named = self.namer.notice(noticed, &mut know);
        let fate = self.settle(&named);
        self.tally.add_notice(fate);
        self.look_for_end();
    }

    /// Decides what becomes of the event, and does it.
    fn settle(&mut self, named: &Named) -> Fate {
        let fate = self.fate(named);
        if fate == Fate::Shown {
            let shown = self.show(&named.flow, named.concerns);
            self.note_end(shown);
        }
        fate
    }

    fn look_for_end(&mut self) {
        if self.selection.count.is_some_and(|count| self.tally.all.shown >= count.get()) {
            self.end.get_or_insert(End::Count);
        }
    }

    fn show(&mut self, flow: &Flow, concerns: bool) -> std::io::Result<()> {
        let why = self.explainer.as_mut().and_then(|explainer| explainer.explain(flow, &self.view));
        if self.selection.print {
            self.printer.explained(flow, why.as_deref())?;
        }
        let concerns = concerns || !self.view.has_cilium();
        self.sinks.each(|sink| sink.flow(flow, concerns, why.as_ref()))
    }

    fn fate(&self, named: &Named) -> Fate {
        if !self.selection.filter.matches(&named.flow) {
            return Fate::Filtered;
        }
        let class = if self.selection.all { None } else { self.noise(named) };
        match class {
            Some(class) => Fate::Folded(class),
            None if self.end.is_some() => Fate::Beyond,
            None => Fate::Shown,
        }
    }

    /// On a node without Cilium every drop concerns the user.
    fn noise(&self, named: &Named) -> Option<noise::NoiseClass> {
        noise::classify(&named.flow, named.concerns || !self.view.has_cilium())
    }

    /// Prints a line about lost events, unless the output has ended.
    pub fn lost(&mut self, lost: &Lost) {
        if self.end.is_none() {
            let printed = if self.selection.print { self.printer.lost(lost) } else { Ok(()) };
            let printed = printed.and_then(|()| self.sinks.each(|sink| sink.lost(lost)));
            self.note_end(printed);
        }
    }

    /// Prints the groups of `--aggregate-by`, also when the wanted number of events has been counted.
    pub fn report_groups(&mut self, time: WallTime, last: bool) {
        if self.selection.print && matches!(self.end, None | Some(End::Count)) {
            let printed = self.printer.report_groups(time, last);
            self.note_end(printed);
        }
    }

    pub fn flush(&mut self) {
        if !self.printer.is_empty() {
            let flushed = self.printer.flush();
            self.note_end(flushed);
        }
        let now = Instant::now();
        let flushed = self.sinks.each(|sink| sink.flush(now));
        self.note_end(flushed);
    }

    pub fn note_end(&mut self, result: std::io::Result<()>) {
        if let Err(error) = result {
            match is_closed_pipe(&error) {
                true => drop(self.end.get_or_insert(End::ClosedPipe)),
                false => self.end = Some(End::Failed(error)),
            }
        }
    }
}
