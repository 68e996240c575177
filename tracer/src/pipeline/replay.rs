//! `tracer replay`: recorded events through filter, folding and printing, as the live stream has them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd as _;

use tracer_common::event::MAX_SNAPLEN;

use super::RunError;
use super::sinks::Sinks;
use super::tally::Fates;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::replay::{Pick, ReplayPlan};
use crate::correlate::noise;
use crate::filter::FilterSet;
use crate::kernel::clock::{WallOffset, boot_now};
use crate::model::flow::Flow;
use crate::model::time::WallTime;
use crate::output::color::{self, ColorEnv};
use crate::output::lost::Lost;
use crate::output::{Node, Printer, is_closed_pipe};
use crate::pipeline::tally::Fate;
use crate::record::reader::{RecordingError, SegmentEnd, SegmentReader};
use crate::record::{Item, Recording};

pub fn run(global: &Global, plan: ReplayPlan) -> Result<Exit, RunError> {
    super::live_only(global, "replay")?;
    let recording = Recording::open(&plan.path).map_err(RunError::Recording)?;
    let now = WallOffset::now().wall(boot_now());
    let (since, until) = (plan.since.map(|at| at.settle(now)), plan.until.map(|at| at.settle(now)));
    let color = color::decide(global.color, &ColorEnv::from_process(), io::stdout().is_terminal());
    let mut plan = plan;
    plan.output.color = color;
    let mut player = Player { since, until, ..Player::new(plan) };
    let mut is_damaged = false;
    for path in recording.segments() {
        match play(path, &mut player) {
            Ok(Played::Segment(end)) => is_damaged |= tell(path, end),
            Ok(Played::Enough) => break,
            Err(Stopped::ClosedPipe) => return Ok(Exit::Done),
            Err(Stopped::Failed(error)) => return Err(error),
        }
    }
    match player.finish() {
        Ok(()) => {}
        Err(error) if is_closed_pipe(&error) => return Ok(Exit::Done),
        Err(error) => return Err(RunError::Output(error)),
    }
    if !global.quiet {
        eprintln!("{}", player.summary());
    }
    Ok(if is_damaged || player.lost > 0 { Exit::Incomplete } else { Exit::Done })
}

/// Why the playing ended early.
enum Stopped {
    ClosedPipe,
    Failed(RunError),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        if is_closed_pipe(&error) { Self::ClosedPipe } else { Self::Failed(RunError::Output(error)) }
    }
}

enum Played {
    Segment(SegmentEnd),
    /// All that was asked for has been shown.
    Enough,
}

fn play(path: &std::path::Path, player: &mut Player) -> Result<Played, Stopped> {
    let broken = |error| Stopped::Failed(RunError::Recording(error));
    let mut reader = match SegmentReader::open(path) {
        Ok(reader) => reader,
        // The recorder made room meanwhile.
        Err(RecordingError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(Played::Segment(SegmentEnd::Whole));
        }
        Err(error) => return Err(broken(error)),
    };
    let played = reader.for_each(|item| match player.item(item) {
        Ok(ControlFlow::Continue(())) => Ok(()),
        Ok(ControlFlow::Break(())) => Err(None),
        Err(stopped) => Err(Some(stopped)),
    });
    match played {
        Ok(Ok(end)) => Ok(Played::Segment(end)),
        Ok(Err(error)) => Err(broken(error)),
        Err(None) => Ok(Played::Enough),
        Err(Some(stopped)) => Err(stopped),
    }
}

/// Says what is missing; true if something is.
fn tell(path: &std::path::Path, end: SegmentEnd) -> bool {
    let path = path.display();
    match end {
        SegmentEnd::Whole => return false,
        SegmentEnd::Cut => tracing::warn!(
            "`{path}` ends within a block: its recorder was killed or is writing; at most a second is missing"
        ),
        SegmentEnd::Damaged => {
            tracing::warn!("`{path}` is damaged: what it holds behind the damage is not shown");
        }
    }
    true
}

/// Something that is to be shown.
enum Shown {
    Flow { flow: Box<Flow>, concerns: bool },
    Lost(Lost),
}

struct Player {
    plan: ReplayPlan,
    filter: FilterSet,
    since: Option<WallTime>,
    until: Option<WallTime>,
    /// Made when the node is known.
    out: Option<Out>,
    node: Option<Node>,
    fates: Fates,
    /// Of the last event that was printed.
    newest: WallTime,
    /// Events that the recorder lost, in all.
    lost: u64,
    /// With `--last`: what may be shown at the end, and how many flows of it there are.
    kept: VecDeque<Shown>,
    kept_flows: usize,
}

struct Out {
    printer: Printer<File>,
    sinks: Sinks,
}

impl Player {
    fn new(plan: ReplayPlan) -> Self {
        Self {
            filter: plan.filter.clone(),
            plan,
            since: None,
            until: None,
            out: None,
            node: None,
            fates: Fates::default(),
            newest: WallTime::default(),
            lost: 0,
            kept: VecDeque::new(),
            kept_flows: 0,
        }
    }

    fn item(&mut self, item: Item) -> Result<ControlFlow<()>, Stopped> {
        match item {
            Item::Node(node) => self.on_node(node)?,
            Item::Flow { flow, concerns } => return self.flow(flow, concerns),
            Item::Lost(lost) if self.is_wanted(lost.time) => {
                self.lost += lost.count;
                self.show(Shown::Lost(lost))?;
            }
            Item::Lost(_) | Item::End => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn is_wanted(&self, time: WallTime) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
    }

    /// One stream has one node; its agent may have been upgraded.
    fn on_node(&mut self, node: Node) -> Result<(), Stopped> {
        match &self.node {
            Some(known) if known.name != node.name => {
                let (one, other) = (&known.name, &node.name);
                let text = format!("events of two nodes, `{one}` and `{other}`: replay them one by one");
                return Err(Stopped::Failed(RunError::Usage(text)));
            }
            Some(known) if known.releases == node.releases => return Ok(()),
            Some(_) => {
                // What waits belongs to the node as it was.
                self.show_kept()?;
                if let Some(out) = &mut self.out {
                    out.printer.set_releases(node.releases);
                    out.sinks.each(|sink| sink.node(&node))?;
                }
            }
            None => {
                self.filter.bind_node(&node.name);
                self.out = Some(self.open(&node)?);
            }
        }
        self.node = Some(node);
        Ok(())
    }

    fn open(&self, node: &Node) -> io::Result<Out> {
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let printer = Printer::new(stdout, &self.plan.output, node.clone());
        let sinks = Sinks::open(None, self.plan.write.as_deref(), node, MAX_SNAPLEN as u32)?;
        Ok(Out { printer, sinks })
    }

    fn flow(&mut self, flow: Box<Flow>, concerns: bool) -> Result<ControlFlow<()>, Stopped> {
        let fate = self.fate(&flow, concerns);
        self.fates.add(fate);
        if fate == Fate::Shown {
            self.show(Shown::Flow { flow, concerns })?;
        }
        let enough = matches!(self.plan.pick, Pick::First(count) if self.fates.shown >= count.get() as u64);
        Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn fate(&self, flow: &Flow, concerns: bool) -> Fate {
        if !self.is_wanted(flow.time) || !self.filter.matches(flow) {
            return Fate::Filtered;
        }
        let class = if self.plan.all { None } else { noise::classify(flow, concerns) };
        class.map_or(Fate::Shown, Fate::Folded)
    }

    fn show(&mut self, shown: Shown) -> io::Result<()> {
        let Pick::Last(count) = self.plan.pick else { return self.print(&shown) };
        self.kept_flows += usize::from(matches!(shown, Shown::Flow { .. }));
        self.kept.push_back(shown);
        while self.kept_flows > count.get() {
            let oldest = self.kept.pop_front();
            self.kept_flows -= usize::from(matches!(oldest, Some(Shown::Flow { .. })));
        }
        Ok(())
    }

    fn print(&mut self, shown: &Shown) -> io::Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        match shown {
            Shown::Flow { flow, concerns } => {
                self.newest = flow.time;
                if self.plan.print {
                    out.printer.flow(flow)?;
                }
                out.sinks.each(|sink| sink.flow(flow, *concerns, None))
            }
            Shown::Lost(lost) => {
                if self.plan.print {
                    out.printer.lost(lost)?;
                }
                out.sinks.each(|sink| sink.lost(lost))
            }
        }
    }

    fn show_kept(&mut self) -> io::Result<()> {
        std::mem::take(&mut self.kept).iter().try_for_each(|shown| self.print(shown))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.show_kept()?;
        let Some(out) = &mut self.out else { return Ok(()) };
        if self.plan.print {
            out.printer.report_groups(self.newest, true)?;
            out.printer.flush()?;
        }
        out.sinks.each(|sink| sink.finish())?;
        io::stdout().flush()
    }

    fn summary(&self) -> String {
        let shown = match self.plan.pick {
            Pick::Last(count) => self.fates.shown.min(count.get() as u64),
            Pick::All | Pick::First(_) => self.fates.shown,
        };
        let mut text =
            format!("replayed: {shown} shown, {} filtered", self.fates.filtered + self.fates.shown - shown);
        let folded = self.fates.folded_total();
        if folded > 0 {
            text += &format!(", {folded} folded (--all shows them)");
        }
        if self.lost > 0 {
            text += &format!("; {} were lost before they could be recorded", self.lost);
        }
        text
    }
}
