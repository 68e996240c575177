//! `tracer replay`: a recording through the filters and outputs of `drops`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::drops::Events;
use super::moment::{self, Moment};
use super::{Plan, UsageError, aggregate, drops, filters};
use crate::filter::FilterSet;
use crate::output::options::OutputOptions;

/// What `tracer replay` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayPlan {
    /// A directory, or one segment of it.
    pub path: PathBuf,
    /// `--node-name` is not settled yet: see [`FilterSet::bind_node`].
    pub filter: FilterSet,
    /// Show what is folded otherwise, if it was recorded.
    pub all: bool,
    pub output: OutputOptions,
    pub print: bool,
    pub since: Option<Moment>,
    pub until: Option<Moment>,
    pub pick: Pick,
    /// Packet file for the shown events.
    pub write: Option<PathBuf>,
}

/// Which of the matching events to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pick {
    #[default]
    All,
    First(NonZeroUsize),
    Last(NonZeroUsize),
}

const SELECTORS: &str = "Selectors";

const ABOUT: &str = "\
Plays back what `tracer record` keeps: the same filters, formats and names as the live stream, also while the
recorder is running, and on any machine.";

const EXAMPLES: &str = "\
Examples:
  tracer replay /var/tmp/drops                              everything that is there
  tracer replay /var/tmp/drops --last 20                    the newest 20
  tracer replay /var/tmp/drops --since 10m -n prod          of the last ten minutes
  tracer replay /var/tmp/drops --since 2026-02-03T12:00:00Z --until 2026-02-03T12:05:00Z -o json
  tracer replay /var/tmp/drops --pod db --write db.pcapng   as a packet file";

pub(super) fn command() -> Command {
    Command::new("replay")
        .about("Plays a recording back through the filters and outputs of `drops`")
        .before_help(ABOUT)
        .arg(
            Arg::new("path")
                .value_name("DIR|FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Directory of a recording, or one file of it"),
        )
        .args(selectors())
        .args(filters::args(Events::Flows))
        .args(drops::output_args().into_iter().filter(|arg| arg.get_id() != "ready-file"))
        .args(aggregate::args())
        .after_help(EXAMPLES)
}

pub(super) fn selectors() -> [Arg; 4] {
    let time = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("TIME").value_parser(moment::parse).help(help)
    };
    let number = |name: &'static str, other: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .value_parser(value_parser!(NonZeroUsize))
            .conflicts_with(other)
            .help(help)
    };
    [
        time("since", "Only events since then: how long ago (10m), or a time (2026-02-03T12:31:12Z)"),
        time("until", "Only events until then"),
        number("first", "last", "Only the first N matching events"),
        number("last", "first", "Only the last N matching events"),
    ]
    .map(|arg| arg.help_heading(SELECTORS))
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let path = matches.get_one::<PathBuf>("path").cloned();
    let path = path.ok_or_else(|| UsageError("replay: no recording given".to_owned()))?;
    Ok(Plan::Replay(Box::new(replay_plan(matches, path)?)))
}

/// What the arguments mean for the recording at `path`.
pub(super) fn replay_plan(matches: &ArgMatches, path: PathBuf) -> Result<ReplayPlan, UsageError> {
    let number = |name| matches.get_one::<NonZeroUsize>(name).copied();
    let write = matches.get_one::<PathBuf>("write").cloned();
    let grouping = aggregate::grouping(matches)?;
    if matches.contains_id("interval") {
        return Err(UsageError("--interval: a recording is counted as a whole".to_owned()));
    }
    let mut output = drops::output_options(matches);
    output.group_by = grouping.map(|grouping| grouping.keys).unwrap_or_default();
    Ok(ReplayPlan {
        path,
        filter: filters::filter_set(matches, Events::Flows)?,
        all: matches.get_flag("all"),
        output,
        print: drops::prints(matches, write.as_deref())?,
        since: matches.get_one::<Moment>("since").copied(),
        until: matches.get_one::<Moment>("until").copied(),
        pick: match (number("first"), number("last")) {
            (Some(first), _) => Pick::First(first),
            (None, Some(last)) => Pick::Last(last),
            (None, None) => Pick::All,
        },
        write,
    })
}
