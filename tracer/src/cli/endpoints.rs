//! `tracer endpoints`: the endpoints of this node.

use clap::{ArgMatches, Command};

use super::endpoint::EndpointName;
use super::policy::{endpoint_arg, named_endpoint};
use super::{Plan, UsageError, listing, rows};
use crate::output::listing::ListingOptions;
use crate::output::rows::endpoint::COLUMNS;

/// What `tracer endpoints` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointsPlan {
    /// `None`: all.
    pub endpoint: Option<EndpointName>,
    pub listing: ListingOptions,
}

pub(super) fn command() -> Command {
    rows::group("endpoints", "Shows the endpoints of this node, by address")
        .subcommand(Command::new("list").about("Lists all endpoints").args(listing::args(COLUMNS, true)))
        .subcommand(
            Command::new("get")
                .about("Shows the addresses of one endpoint")
                .arg(endpoint_arg())
                .args(listing::args(COLUMNS, true)),
        )
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let (endpoint, matches) = match matches.subcommand() {
        Some(("list", matches)) => (None, matches),
        Some(("get", matches)) => (Some(named_endpoint(matches)?), matches),
        _ => return Err(UsageError("endpoints: no command given".to_owned())),
    };
    let listing = rows::vendor_options(matches, COLUMNS)?;
    Ok(Plan::Endpoints(Box::new(EndpointsPlan { endpoint, listing })))
}
