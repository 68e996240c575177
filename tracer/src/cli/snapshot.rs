//! `tracer snapshot`: maps, state files and facts of this node into one file.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{Plan, UsageError};

/// What `tracer snapshot` was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPlan {
    /// `-`: stdout.
    pub output: PathBuf,
    pub redact: bool,
}

const ABOUT: &str = "\
Every pinned map of Cilium byte by byte, the agent's state files and facts about kernel and node go into one file, to be
asked later and elsewhere: tracer --snapshot FILE COMMAND.";

const EXAMPLES: &str = "\
Examples:
  tracer snapshot -o node-1.snap                    take this node home
  tracer snapshot --redact -o ticket.snap           without names, labels and DNS names
  kubectl exec POD -- tracer snapshot -o - > node-1.snap
  tracer --snapshot node-1.snap ct list --pod prod/shop
  tracer diff before.snap after.snap";

pub(super) fn command() -> Command {
    Command::new("snapshot")
        .about("Saves maps, state files and facts of this node in one file")
        .before_help(ABOUT)
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("File to write; - for stdout"),
        )
        .arg(
            Arg::new("redact").long("redact").action(ArgAction::SetTrue).help(
                "Replace names of nodes, pods and namespaces, label values and DNS names; addresses stay",
            ),
        )
        .after_help(EXAMPLES)
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let output = matches.get_one::<PathBuf>("output").cloned();
    let output = output.ok_or_else(|| UsageError("snapshot: no file given".to_owned()))?;
    Ok(Plan::Snapshot(Box::new(SnapshotPlan { output, redact: matches.get_flag("redact") })))
}
