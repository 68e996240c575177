//! `tracer ipcache`: which identity the datapath gives an address.

use std::net::IpAddr;

use clap::{Arg, ArgMatches, Command, value_parser};
use tracer_common::id::Identity;

use super::{Plan, UsageError, listing, rows};
use crate::output::listing::ListingOptions;
use crate::output::rows::ipcache::COLUMNS;

/// What `tracer ipcache` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum IpcachePlan {
    List {
        /// Only prefixes that have one of these; empty: all.
        identities: Vec<Identity>,
        listing: ListingOptions,
    },
    /// Every prefix that covers the address.
    Get { ip: IpAddr, listing: ListingOptions },
}

pub(super) fn command() -> Command {
    rows::group("ipcache", "Shows which identity the datapath gives an address")
        .subcommand(
            Command::new("list")
                .about("Lists all prefixes")
                .arg(
                    Arg::new("identity")
                        .long("identity")
                        .value_name("ID")
                        .action(clap::ArgAction::Append)
                        .value_parser(value_parser!(u32))
                        .help("Only prefixes with this identity; may be repeated"),
                )
                .args(listing::args(COLUMNS, true)),
        )
        .subcommand(
            Command::new("get")
                .about("Shows the prefixes that cover an address, the one that counts first")
                .long_about(
                    "Shows the prefixes that cover an address, the one that counts first.\n\
                     Ends with code 7 when none does: the datapath takes the address for world then.",
                )
                .arg(
                    Arg::new("ip")
                        .value_name("IP")
                        .required(true)
                        .value_parser(value_parser!(IpAddr))
                        .help("The address"),
                )
                .args(listing::args(COLUMNS, true)),
        )
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let plan = match matches.subcommand() {
        Some(("list", matches)) => IpcachePlan::List {
            identities: matches.get_many("identity").into_iter().flatten().copied().map(Identity).collect(),
            listing: rows::vendor_options(matches, COLUMNS)?,
        },
        Some(("get", matches)) => IpcachePlan::Get {
            ip: *matches.get_one("ip").ok_or_else(|| UsageError("no address given".to_owned()))?,
            listing: rows::vendor_options(matches, COLUMNS)?,
        },
        _ => return Err(UsageError("ipcache: no command given".to_owned())),
    };
    Ok(Plan::Ipcache(Box::new(plan)))
}
