//! `tracer maps`: every pinned map, known or not.

use clap::{Arg, ArgMatches, Command};

use super::{Plan, UsageError, listing};
use crate::output::listing::ListingOptions;
use crate::output::rows::{entry, pinned};

/// What `tracer maps` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum MapsPlan {
    List(ListingOptions),
    Dump {
        map: String,
        /// Bytes even where the meaning is known.
        raw: bool,
        listing: ListingOptions,
    },
}

pub(super) fn command() -> Command {
    Command::new("maps")
        .about("Lists every pinned map: kind, sizes, entries, memory, users")
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .args(listing::args(pinned::COLUMNS, false))
        .subcommand(
            Command::new("dump")
                .about("Shows the entries of any map, as bytes and, where known, as words")
                .arg(
                    Arg::new("map")
                        .value_name("MAP")
                        .required(true)
                        .value_parser(file_name)
                        .help("Name of the pin, as `tracer maps` lists it"),
                )
                .arg(listing::switch("raw", "Show bytes even where their meaning is known"))
                .args(listing::args(entry::COLUMNS, false)),
        )
}

fn file_name(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && !text.contains('/') && text != "." && text != "..";
    is_name.then(|| text.to_owned()).ok_or_else(|| "expected the name of a pin, not a path".to_owned())
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let plan = match matches.subcommand() {
        Some(("dump", matches)) => MapsPlan::Dump {
            map: matches.get_one::<String>("map").cloned().unwrap_or_default(),
            raw: matches.get_flag("raw"),
            listing: listing::options(matches, entry::COLUMNS)?,
        },
        _ => MapsPlan::List(listing::options(matches, pinned::COLUMNS)?),
    };
    Ok(Plan::Maps(Box::new(plan)))
}
