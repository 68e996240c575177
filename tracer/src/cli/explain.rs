//! `tracer explain`: what a reason means, and what to do about it.

use clap::{Arg, ArgMatches, Command};

use super::{Plan, UsageError, listing};
use crate::explain::Group;
use crate::output::explain::COLUMNS;
use crate::output::listing::ListingOptions;

/// What `tracer explain` was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainPlan {
    /// Number or name; `None`: all of them.
    pub reason: Option<String>,
    /// Where to look.
    pub groups: Vec<Group>,
    pub listing: ListingOptions,
}

const CILIUM: [Group; 3] = [Group::Cilium, Group::CiliumCount, Group::ExtError];

pub(super) fn command() -> Command {
    Command::new("explain")
        .about("Explains a drop reason: meaning, usual causes, how to confirm, what to do")
        .arg(Arg::new("reason").value_name("REASON").num_args(0..).allow_negative_numbers(true).help(
            "Cilium's or the kernel's reason, by number or any of its names: 133, POLICY_DENIED, \
                     DROP_POLICY, policy denied, NO_SOCKET, SKB_DROP_REASON_NO_SOCKET; or an extended error: \
                     -12, ENOMEM. Without it: a list of all",
        ))
        .arg(listing::switch("cilium", "Only Cilium's reasons"))
        .arg(listing::switch("kernel", "Only the kernel's reasons; numbers are those of the running kernel"))
        .args(listing::args(COLUMNS, false))
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let words: Vec<&str> =
        matches.get_many::<String>("reason").unwrap_or_default().map(String::as_str).collect();
    let reason = (!words.is_empty()).then(|| words.join(" "));
    let (cilium, kernel) = (matches.get_flag("cilium"), matches.get_flag("kernel"));
    let mut groups = Vec::new();
    if cilium || !kernel {
        groups.extend(CILIUM);
    }
    if kernel || !cilium {
        groups.push(Group::Kernel);
    }
    let listing = listing::options(matches, COLUMNS)?;
    Ok(Plan::Explain(Box::new(ExplainPlan { reason, groups, listing })))
}
