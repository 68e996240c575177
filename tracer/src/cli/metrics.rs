//! `tracer metrics`: the datapath's own counters.

use std::time::Duration;

use clap::{Arg, ArgMatches, Command};

use super::{Plan, UsageError, duration, listing, rows};
use crate::output::listing::{ListFormat, ListingOptions};
use crate::output::rows::metrics::{COLUMNS, RATE_COLUMNS};

/// What `tracer metrics` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsPlan {
    /// Print what changed, again and again.
    pub watch: Option<Duration>,
    pub listing: ListingOptions,
}

pub(super) fn command() -> Command {
    Command::new("metrics")
        .about("Shows packets and bytes by reason and direction, summed over CPUs")
        .arg(
            Arg::new("watch")
                .long("watch")
                .value_name("INTERVAL")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("2s")
                .value_parser(duration::parse)
                .help(
                    "Print the counters that changed, with rates, every INTERVAL [default: 2s] until stopped",
                ),
        )
        .arg(listing::numeric())
        .args(listing::args(COLUMNS, true))
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let watch = matches.get_one::<Duration>("watch").copied();
    if watch.is_none() {
        let listing = rows::vendor_options(matches, COLUMNS)?;
        return Ok(Plan::Metrics(Box::new(MetricsPlan { watch, listing })));
    }
    let listing = listing::options(matches, RATE_COLUMNS)?;
    if matches!(listing.format, ListFormat::Json | ListFormat::Yaml | ListFormat::Cilium) {
        return Err(UsageError("--watch: needs -o table, wide, csv or jsonl, which have no end".to_owned()));
    }
    Ok(Plan::Metrics(Box::new(MetricsPlan { watch, listing })))
}
