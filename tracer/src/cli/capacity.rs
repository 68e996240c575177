//! `tracer capacity`: its command line, and the [`CapacityPlan`] that it means.

use std::time::Duration;

use clap::{Arg, ArgMatches, Command};

use super::{Plan, UsageError, duration, listing};
use crate::output::capacity;
use crate::output::listing::ListingOptions;

#[derive(Clone, Debug, PartialEq)]
pub struct CapacityPlan {
    /// Between the two counts that growth is taken from.
    pub window: Duration,
    /// Hundredths of a per cent; a map as full as that does not meet the condition.
    pub max_usage: Option<u64>,
    /// Look again that often.
    pub watch: Option<Duration>,
    /// Also maps without any entry.
    pub all: bool,
    pub listing: ListingOptions,
}

pub(super) fn command() -> Command {
    Command::new("capacity")
        .about(
            "Shows how full the maps are, how fast they fill, who fills them, and whether anybody cleans up",
        )
        .long_about(ABOUT)
        .arg(
            Arg::new("window")
                .long("window")
                .value_name("DURATION")
                .default_value("1s")
                .value_parser(duration::parse)
                .help("Time between the two counts that growth is taken from"),
        )
        .arg(
            Arg::new("max-usage")
                .long("max-usage")
                .value_name("N%")
                .value_parser(percent)
                .help("End with exit code 7 if a map is as full as that, or fuller"),
        )
        .arg(
            Arg::new("watch")
                .long("watch")
                .value_name("INTERVAL")
                .num_args(0..=1)
                .default_missing_value("2s")
                .value_parser(duration::parse)
                .help("Look again and again until stopped [default: every 2s]"),
        )
        .arg(listing::switch("all", "Show maps without entries too"))
        .args(listing::args(capacity::COLUMNS, false))
}

const ABOUT: &str = "\
Counts the entries of every pinned map that fills up, twice, and tells from the difference how fast each grows
and when it is full. For connection tracking: how many entries are past their time and still there, and which
pods of this node have the most. A map that evicts on its own (LRU) never gets full: it loses the oldest entries.";

fn percent(text: &str) -> Result<u64, &'static str> {
    const WANTED: &str = "expected a share such as 80% or 99.5%";
    let number: f64 = text.trim_end_matches('%').parse().map_err(|_| WANTED)?;
    if (0.0..=100.0).contains(&number) { Ok((number * 100.0).round() as u64) } else { Err(WANTED) }
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    Ok(Plan::Capacity(Box::new(CapacityPlan {
        window: matches.get_one("window").copied().unwrap_or(Duration::from_secs(1)),
        max_usage: matches.get_one("max-usage").copied(),
        watch: matches.get_one("watch").copied(),
        all: matches.get_flag("all"),
        listing: listing::options(matches, capacity::COLUMNS)?,
    })))
}
