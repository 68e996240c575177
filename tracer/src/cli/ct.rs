//! `tracer ct`: connection tracking. Its commands, and the [`CtPlan`] that they mean.

use clap::{ArgMatches, Command};

use super::{Plan, UsageError, listing};
use crate::output::listing::ListingOptions;
use crate::output::usage;

/// What `tracer ct` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum CtPlan {
    Count(CountPlan),
}

#[derive(Clone, Debug, PartialEq)]
pub struct CountPlan {
    pub listing: ListingOptions,
}

const COUNT: &str = "count";

pub(super) fn command() -> Command {
    Command::new("ct")
        .about("Shows connection tracking: entries, how many, whose")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(count_command())
}

fn count_command() -> Command {
    Command::new(COUNT)
        .about("Counts the entries of every connection tracking map")
        .args(listing::args(usage::COLUMNS, false))
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let plan = match matches.subcommand() {
        Some((COUNT, matches)) => {
            CtPlan::Count(CountPlan { listing: listing::options(matches, usage::COLUMNS)? })
        }
        _ => return Err(UsageError("ct: no command given".to_owned())),
    };
    Ok(Plan::Ct(Box::new(plan)))
}
