//! `tracer diff`: what is different between two snapshots.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{Plan, UsageError, listing};
use crate::output::listing::ListingOptions;
use crate::output::rows::diff::{CHANGE_COLUMNS, SUMMARY_COLUMNS};

/// What `tracer diff` was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffPlan {
    pub before: PathBuf,
    pub after: PathBuf,
    /// Show each difference, not only how many there are.
    pub rows: bool,
    /// Only what has one of these in its name.
    pub only: Vec<String>,
    /// Also what is the same.
    pub all: bool,
    pub listing: ListingOptions,
}

const EXAMPLES: &str = "\
Examples:
  tracer diff before.snap after.snap                        how much of what is different
  tracer diff before.snap after.snap --rows --only policy   which policy entries
  tracer diff before.snap after.snap --rows -o jsonl        everything, for machines";

pub(super) fn command() -> Command {
    let file = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .value_name(if name == "before" { "A" } else { "B" })
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help(help)
    };
    Command::new("diff")
        .about("Compares two snapshots: maps entry by entry, endpoints, identities, interfaces, kernel")
        .arg(file("before", "The earlier snapshot"))
        .arg(file("after", "The later one"))
        .arg(listing::switch("rows", "Show each difference in words, not only how many there are"))
        .arg(
            Arg::new("only")
                .long("only")
                .value_name("NAME")
                .action(ArgAction::Append)
                .help("Only what has NAME in its name: ct4, policy, endpoints"),
        )
        .arg(listing::switch("all", "Also what is the same"))
        .args(listing::args(SUMMARY_COLUMNS, false))
        .after_help(EXAMPLES)
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let file = |name: &str| {
        let file = matches.get_one::<PathBuf>(name).cloned();
        file.ok_or_else(|| UsageError("diff: two snapshots are needed".to_owned()))
    };
    let rows = matches.get_flag("rows");
    let columns = if rows { CHANGE_COLUMNS } else { SUMMARY_COLUMNS };
    Ok(Plan::Diff(Box::new(DiffPlan {
        before: file("before")?,
        after: file("after")?,
        rows,
        only: matches.get_many::<String>("only").into_iter().flatten().cloned().collect(),
        all: matches.get_flag("all"),
        listing: listing::options(matches, columns)?,
    })))
}
