//! `tracer top`: its command line, and the [`TopPlan`] that it means.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::drops::{self, DropsPlan, Events};
use super::{Plan, UsageError, duration, filters};

/// What `tracer top` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct TopPlan {
    /// What to watch.
    pub watch: DropsPlan,
    /// How often figures are drawn or printed.
    pub interval: Duration,
    /// `None`: on the screen.
    pub batch: Option<BatchPlan>,
}

/// For programs and files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPlan {
    pub json: bool,
    /// End after so many reports.
    pub count: Option<NonZeroU64>,
    /// Rows of each grouping.
    pub rows: NonZeroUsize,
}

const HEADING: &str = "Top";

pub(super) fn command() -> Command {
    Command::new("top")
        .about("Shows drops by reason, identities, place and pods with their rates, on one screen")
        .before_help(ABOUT)
        .args(filters::args(Events::Drops))
        .args(filters::live_args())
        .args(own_args())
        .args(drops::watch_args())
        .after_help(EXAMPLES)
}

const ABOUT: &str = "\
Counts drops instead of listing them, beside the fill of connection tracking and NAT, the taps and every loss.
Needs a terminal of 80x24; --batch prints the same figures for scripts. ? on the screen tells the keys.";

const EXAMPLES: &str = "\
Examples:
  tracer top                                       everything that goes wrong on this node
  tracer top -n prod --not --port 53               with the filters of `tracer drops`
  tracer top --batch --interval 10s >> top.log     as text, every ten seconds
  tracer top --batch -o json -c 1 --interval 30s   half a minute as one JSON object";

fn own_args() -> [Arg; 6] {
    [
        Arg::new("interval")
            .long("interval")
            .value_name("TIME")
            .default_value("1s")
            .value_parser(duration::parse)
            .help("Draw or print the figures that often"),
        Arg::new("batch")
            .long("batch")
            .short('b')
            .action(ArgAction::SetTrue)
            .help("Print instead of drawing"),
        Arg::new("output")
            .short('o')
            .long("output")
            .value_name("FORMAT")
            .requires("batch")
            .default_value("text")
            .value_parser(PossibleValuesParser::new(["text", "json"]))
            .help("Format of --batch; json: one object a line"),
        Arg::new("count")
            .short('c')
            .long("count")
            .value_name("N")
            .requires("batch")
            .value_parser(value_parser!(NonZeroU64))
            .help("With --batch: end after N reports"),
        Arg::new("rows")
            .long("rows")
            .value_name("N")
            .requires("batch")
            .default_value("20")
            .value_parser(value_parser!(NonZeroUsize))
            .help("With --batch: print at most N rows of each grouping; the others are counted"),
        Arg::new("duration")
            .long("duration")
            .value_name("TIME")
            .value_parser(duration::parse)
            .help("Stop after this time: 30s, 1m30s"),
    ]
    .map(|arg| arg.help_heading(HEADING))
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    filters::check_live(matches)?;
    let interval = matches.get_one("interval").copied().unwrap_or(Duration::from_secs(1));
    let batch = matches.get_flag("batch").then(|| BatchPlan {
        json: matches.get_one::<String>("output").is_some_and(|format| format == "json"),
        count: matches.get_one("count").copied(),
        rows: matches.get_one("rows").copied().unwrap_or(NonZeroUsize::MIN),
    });
    let mut watch = drops::filtered_watch_plan(matches)?;
    watch.why = batch.is_none();
    watch.stop.duration = matches.get_one::<Duration>("duration").copied();
    Ok(Plan::Top(Box::new(TopPlan { watch, interval, batch })))
}
