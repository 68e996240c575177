//! The command line: what was typed becomes what is meant ([`Invocation`]), or one clear line about what is
//! wrong with it. A file here holds one command; [`filters`] holds the flags that event commands share.
//! Nothing here touches the system.

mod aggregate;
mod bpf_alias;
pub mod capacity;
pub mod ct;
pub mod diff;
pub mod doctor;
pub mod documents;
pub mod drops;
pub mod duration;
pub mod end;
pub mod endpoint;
pub mod endpoints;
pub mod exit;
pub mod explain;
pub mod filters;
mod flows;
pub mod global;
pub mod identity;
pub mod ipcache;
pub mod lb;
pub mod listing;
pub mod maps;
pub mod metrics;
pub mod moment;
pub mod nat;
mod nodes;
pub mod policy;
pub mod record;
pub mod replay;
mod rows;
pub mod serve;
pub mod size;
pub mod snapshot;
pub mod top;
pub mod why;

use std::ffi::OsString;
use std::fmt;

use clap::{ArgMatches, Command};

use capacity::CapacityPlan;
use ct::CtPlan;
use diff::DiffPlan;
use doctor::DoctorPlan;
use documents::Document;
use drops::DropsPlan;
use endpoints::EndpointsPlan;
use exit::Exit;
use explain::ExplainPlan;
use global::Global;
use identity::IdentityPlan;
use ipcache::IpcachePlan;
use maps::MapsPlan;
use metrics::MetricsPlan;
use policy::PolicyPlan;
use replay::ReplayPlan;
use serve::ServePlan;
use snapshot::SnapshotPlan;
use top::TopPlan;

use crate::output::listing::ListingOptions;
use lb::LbPlan;
use nat::NatPlan;
use why::WhyPlan;

/// A command line, understood.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub global: Global,
    pub plan: Plan,
}

/// The command and everything it was told.
#[derive(Clone, Debug)]
pub enum Plan {
    Drops(Box<DropsPlan>),
    Ct(Box<CtPlan>),
    Policy(Box<PolicyPlan>),
    Ipcache(Box<IpcachePlan>),
    Endpoints(Box<EndpointsPlan>),
    Identity(Box<IdentityPlan>),
    Nodes(Box<ListingOptions>),
    Metrics(Box<MetricsPlan>),
    Maps(Box<MapsPlan>),
    Nat(Box<NatPlan>),
    Lb(Box<LbPlan>),
    Capacity(Box<CapacityPlan>),
    Snapshot(Box<SnapshotPlan>),
    Replay(Box<ReplayPlan>),
    Diff(Box<DiffPlan>),
    Explain(Box<ExplainPlan>),
    Doctor(Box<DoctorPlan>),
    Document(Box<Document>),
    Why(Box<WhyPlan>),
    Serve(Box<ServePlan>),
    Top(Box<TopPlan>),
}

/// A command: its name, its arguments, and how to read them.
struct Entry {
    command: fn() -> Command,
    plan: fn(&ArgMatches) -> Result<Plan, UsageError>,
}

/// All commands, in the order of `--help`: what is asked first comes first.
const COMMANDS: &[Entry] = &[
    Entry { command: drops::command, plan: drops::plan },
    Entry { command: flows::command, plan: flows::plan },
    Entry { command: top::command, plan: top::plan },
    Entry { command: why::command, plan: why::plan },
    Entry { command: doctor::command, plan: doctor::plan },
    Entry { command: explain::command, plan: explain::plan },
    Entry { command: ct::command, plan: ct::plan },
    Entry { command: nat::command, plan: nat::plan },
    Entry { command: lb::command, plan: lb::plan },
    Entry { command: policy::command, plan: policy::plan },
    Entry { command: ipcache::command, plan: ipcache::plan },
    Entry { command: endpoints::command, plan: endpoints::plan },
    Entry { command: identity::command, plan: identity::plan },
    Entry { command: nodes::command, plan: nodes::plan },
    Entry { command: metrics::command, plan: metrics::plan },
    Entry { command: maps::command, plan: maps::plan },
    Entry { command: capacity::command, plan: capacity::plan },
    Entry { command: snapshot::command, plan: snapshot::plan },
    Entry { command: diff::command, plan: diff::plan },
    Entry { command: record::command, plan: record::plan },
    Entry { command: replay::command, plan: replay::plan },
    Entry { command: serve::command, plan: serve::plan },
    Entry { command: documents::manifest_command, plan: documents::manifest_plan },
    Entry { command: documents::schema_command, plan: documents::schema_plan },
    Entry { command: documents::completion_command, plan: documents::completion_plan },
    Entry { command: documents::man_command, plan: documents::man_plan },
    Entry { command: bpf_alias::command, plan: bpf_alias::plan },
];

/// The arguments mean nothing that can be done; the text is complete but for the leading `error: `.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Why there is no [`Invocation`]: a wrong command line, or a request for help or the version.
#[derive(Debug)]
pub struct Refusal {
    text: String,
    exit: Exit,
}

impl Refusal {
    /// [`Exit::Done`] for help and version, else [`Exit::Usage`].
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Help and version belong on stdout, errors on stderr.
    pub fn is_error(&self) -> bool {
        self.exit != Exit::Done
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads a whole command line, the program's name first.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, Refusal> {
    let matches = command().try_get_matches_from(args)?;
    let global = Global::from_matches(&matches);
    global.check()?;
    let plan = plan(&matches)?;
    Ok(Invocation { global, plan })
}

/// The whole command line as clap knows it: for help, completions and man pages.
pub fn command() -> Command {
    Command::new("tracer")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Shows what a Cilium node drops, who was on both ends, and why; with or without a live agent")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .args(global::args())
        .subcommands(COMMANDS.iter().map(|entry| (entry.command)()))
        .after_help(EXIT_CODES)
}

const EXIT_CODES: &str = "\
Exit codes:
  0 done   1 failed   2 wrong command line   3 not permitted   4 no Cilium found
  5 kernel feature missing   6 finished but incomplete   7 condition not met";

fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let Some((name, matches)) = matches.subcommand() else {
        return Err(UsageError("no command given".to_owned()));
    };
    let entry = COMMANDS.iter().find(|entry| (entry.command)().get_name() == name);
    let entry = entry.ok_or_else(|| UsageError(format!("unknown command `{name}`")))?;
    (entry.plan)(matches)
}

impl From<UsageError> for Refusal {
    fn from(error: UsageError) -> Self {
        Self { text: format!("error: {error}\n"), exit: Exit::Usage }
    }
}

impl From<clap::Error> for Refusal {
    /// Errors without the usage summary: what is wrong, and the tip if there is one.
    fn from(error: clap::Error) -> Self {
        let text = error.render().to_string();
        if !error.use_stderr() {
            return Self { text, exit: Exit::Done };
        }
        let end = text.find("\nUsage:").or_else(|| text.find("\nFor more information")).unwrap_or(text.len());
        let text = if text.starts_with("error") { text[..end].trim_end() } else { text.trim_end() };
        Self { text: format!("{text}\n"), exit: Exit::Usage }
    }
}

#[cfg(test)]
mod tests;
