//! `tracer flows`: trace and policy-verdict messages beside drops; live, or out of a recording.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, value_parser};

use super::drops::{self, Events};
use super::{Plan, UsageError, replay};

const ABOUT: &str = "\
Where packets pass Cilium's programs (trace messages), what policy decides (verdict messages), and drops, as
`tracer drops` shows them. How much Cilium tells is its own setting (monitor aggregation). Where the kernel allows no
message tap, a note says so and only drops are shown.";

const EXAMPLES: &str = "\
Examples:
  tracer flows                                            everything, as it happens
  tracer flows --verdict FORWARDED --to-pod default/db    what reaches one pod
  tracer flows -t policy-verdict --verdict AUDIT          what audit mode would drop
  tracer flows -t trace:to-endpoint -t drop --port 8080   deliveries and drops of one port
  tracer record /var/tmp/flows --flows                    keep them
  tracer flows --input /var/tmp/flows --last 20           look back";

const PAST: &str = "Past (with --input)";
/// Flags that choose from a recording.
const SELECTORS: [&str; 4] = ["last", "first", "since", "until"];
/// Flags that mean nothing to a recording.
const LIVE: [&str; 11] = [
    "follow",
    "count",
    "duration",
    "command",
    "tap",
    "require-cilium",
    "snaplen",
    "rate-limit",
    "completeness",
    "ready-file",
    "why",
];

pub(super) fn command() -> Command {
    let input = Arg::new("input")
        .long("input")
        .value_name("DIR|FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Play back what `tracer record --flows` keeps, instead of following this node");
    Command::new("flows")
        .visible_alias("observe")
        .about("Shows forwarded packets and policy verdicts beside drops")
        .before_help(ABOUT)
        .args([input].into_iter().chain(replay::selectors()).map(|arg| arg.help_heading(PAST)))
        .args(drops::stream_args(Events::Flows))
        .after_help(EXAMPLES)
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let typed = |names: &[&'static str]| names.iter().find(|name| is_typed(matches, name)).copied();
    match matches.get_one::<PathBuf>("input") {
        Some(path) => match typed(&LIVE) {
            Some(name) => Err(UsageError(format!(
                "--{name} cannot work with --input: a recording is played to its end"
            ))),
            None => {
                let mut plan = replay::replay_plan(matches, path.clone())?;
                plan.output.flows = true;
                Ok(Plan::Replay(Box::new(plan)))
            }
        },
        None => match typed(&SELECTORS) {
            Some(name) => Err(UsageError(format!(
                "--{name} needs --input: there is no past to look at, flows are shown as they happen; \
                 `tracer record --flows` keeps them"
            ))),
            None => Ok(Plan::Drops(Box::new(drops::stream_plan(matches, Events::Flows)?))),
        },
    }
}

/// Defaults do not count.
fn is_typed(matches: &ArgMatches, name: &str) -> bool {
    matches.value_source(name) == Some(ValueSource::CommandLine)
}
