//! `tracer doctor`: its command line, and the [`DoctorPlan`] that it means.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Plan, UsageError, listing};
use crate::doctor::Group;
use crate::output::doctor::COLUMNS;
use crate::output::listing::ListingOptions;

#[derive(Clone, Debug, PartialEq)]
pub struct DoctorPlan {
    /// Attach nothing, count nothing.
    pub quick: bool,
    /// The groups of checks to make.
    pub groups: Vec<Group>,
    pub listing: ListingOptions,
}

pub(super) fn command() -> Command {
    Command::new("doctor")
        .about("Checks the node: kernel, taps, pins, programs, agent, endpoints, capacity; each with a fix")
        .long_about(ABOUT)
        .arg(listing::switch(
            "quick",
            "Only what takes no time: attach no taps, count no entries, look for no listeners",
        ))
        .arg(
            Arg::new("group")
                .long("group")
                .value_name("GROUP")
                .action(ArgAction::Append)
                .value_delimiter(',')
                .value_parser(PossibleValuesParser::new(Group::ALL.map(Group::name)))
                .help("Make only the checks of this group; may be repeated"),
        )
        .args(listing::args(COLUMNS, false))
}

const ABOUT: &str = "\
Checks what tracer and Cilium's datapath need on this node, and says what to do about what is wrong. Looks only:
reads maps and files, asks which programs hang on which devices, attaches its own taps for a moment.

Works without Cilium (the kernel's part), with the agent dead, and without rights, as far as it can. Ends with exit
code 7 if any check fails.";

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let named: Vec<Group> = matches
        .get_many::<String>("group")
        .into_iter()
        .flatten()
        .filter_map(|name| Group::by_name(name))
        .collect();
    Ok(Plan::Doctor(Box::new(DoctorPlan {
        quick: matches.get_flag("quick"),
        groups: if named.is_empty() { Group::ALL.to_vec() } else { named },
        listing: listing::options(matches, COLUMNS)?,
    })))
}
