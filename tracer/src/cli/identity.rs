//! `tracer identity`: the identities that this node knows.

use clap::{Arg, ArgMatches, Command};
use tracer_common::id::Identity;

use super::{Plan, UsageError, listing, rows};
use crate::output::listing::ListingOptions;
use crate::output::rows::identity::COLUMNS;

/// What `tracer identity` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityPlan {
    /// `None`: all.
    pub wanted: Option<WantedIdentity>,
    pub listing: ListingOptions,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedIdentity {
    Id(Identity),
    /// `source:key=value`, or without its source.
    Label(String),
}

pub(super) fn command() -> Command {
    rows::group("identity", "Shows the identities that this node knows, and their addresses")
        .subcommand(Command::new("list").about("Lists all identities").args(listing::args(COLUMNS, false)))
        .subcommand(
            Command::new("get")
                .about("Shows the identity with a number, or those with a label")
                .arg(
                    Arg::new("identity")
                        .value_name("ID|LABEL")
                        .required(true)
                        .value_parser(wanted)
                        .help("Number, or label such as k8s:app=shop, app=shop or reserved:host"),
                )
                .args(listing::args(COLUMNS, false)),
        )
}

fn wanted(text: &str) -> Result<WantedIdentity, String> {
    if text.is_empty() {
        return Err("expected a number or a label".to_owned());
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(WantedIdentity::Label(text.to_owned()));
    }
    text.parse().map(|id| WantedIdentity::Id(Identity(id))).map_err(|_| "identities have 32 bits".to_owned())
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let (wanted, matches) = match matches.subcommand() {
        Some(("list", matches)) => (None, matches),
        Some(("get", matches)) => (matches.get_one::<WantedIdentity>("identity").cloned(), matches),
        _ => return Err(UsageError("identity: no command given".to_owned())),
    };
    let listing = listing::options(matches, COLUMNS)?;
    Ok(Plan::Identity(Box::new(IdentityPlan { wanted, listing })))
}
