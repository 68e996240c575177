//! `tracer policy`: the realized policy of endpoints.

use clap::{Arg, ArgMatches, Command};

use super::endpoint::{self, EndpointName};
use super::{Plan, UsageError, listing, rows};
use crate::output::listing::ListingOptions;
use crate::output::rows::policy::{COLUMNS, MAP_COLUMNS};

/// What `tracer policy` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyPlan {
    List(ListingOptions),
    Get { endpoint: EndpointName, listing: ListingOptions },
}

pub(super) fn command() -> Command {
    rows::group("policy", "Shows what endpoints may talk to, as the datapath has it")
        .subcommand(
            Command::new("list")
                .about("Lists the policy maps and how full they are")
                .args(listing::args(MAP_COLUMNS, false)),
        )
        .subcommand(
            Command::new("get")
                .about("Shows the policy of an endpoint, entry by entry")
                .arg(endpoint_arg())
                .arg(listing::numeric().short('n'))
                .args(listing::args(COLUMNS, true)),
        )
}

/// The endpoint that a command is about.
pub(super) fn endpoint_arg() -> Arg {
    Arg::new("endpoint")
        .value_name("ENDPOINT")
        .required(true)
        .value_parser(endpoint::parse)
        .help("Endpoint id, IP address, NAMESPACE/POD or pod-name:NAMESPACE:POD")
}

pub(super) fn named_endpoint(matches: &ArgMatches) -> Result<EndpointName, UsageError> {
    let name = matches.get_one::<EndpointName>("endpoint").cloned();
    name.ok_or_else(|| UsageError("no endpoint given".to_owned()))
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let plan = match matches.subcommand() {
        Some(("list", matches)) => PolicyPlan::List(listing::options(matches, MAP_COLUMNS)?),
        Some(("get", matches)) => PolicyPlan::Get {
            endpoint: named_endpoint(matches)?,
            listing: rows::vendor_options(matches, COLUMNS)?,
        },
        _ => return Err(UsageError("policy: no command given".to_owned())),
    };
    Ok(Plan::Policy(Box::new(plan)))
}
