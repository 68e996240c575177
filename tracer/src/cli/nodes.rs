//! `tracer nodes`: the nodes of the cluster, as the datapath numbers and reaches them.

use clap::{ArgMatches, Command};

use super::{Plan, UsageError, listing};
use crate::output::listing::ListingOptions;
use crate::output::rows::node::COLUMNS;

pub(super) fn command() -> Command {
    Command::new("nodes")
        .about("Lists the nodes of the cluster: number, addresses, pod networks")
        .args(listing::args(COLUMNS, false))
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let options: ListingOptions = listing::options(matches, COLUMNS)?;
    Ok(Plan::Nodes(Box::new(options)))
}
