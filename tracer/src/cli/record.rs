//! `tracer record`: `drops` into a recording of bounded size.

use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::drops::Events;
use super::{Plan, UsageError, drops, duration, filters, size};
use crate::record::Limits;

/// Where to, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPlan {
    pub directory: PathBuf,
    pub limits: Limits,
    /// What cannot be written is counted and does not end the run.
    pub is_patient: bool,
}

const RECORDING: &str = "Recording";

const ABOUT: &str = "\
Keeps the drops that `tracer drops` would show, with their names and packet bytes, in a directory that never grows
beyond --max-size. Nothing is printed unless -o or --aggregate-by asks for it. `tracer replay` plays them back.";

const EXAMPLES: &str = "\
Examples:
  tracer record /var/tmp/drops                            until stopped, at most 256 MiB
  tracer record /var/tmp/drops --max-size 1GiB --max-age 24h
  tracer record /var/tmp/drops -n prod -o compact         one namespace, and show it too
  tracer record /var/tmp/flows --flows                    forwarded packets and policy verdicts, too
  tracer replay /var/tmp/drops --since 10m";

pub(super) fn command() -> Command {
    Command::new("record")
        .about("Keeps dropped packets with their names in files of bounded size")
        .before_help(ABOUT)
        .arg(
            Arg::new("directory")
                .value_name("DIR")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Directory for the recording; it is made if it is not there"),
        )
        .args(
            [
                Arg::new("max-size")
                    .long("max-size")
                    .value_name("SIZE")
                    .default_value("256MiB")
                    .value_parser(size::parse)
                    .help("Remove the oldest part before the recording grows beyond this (at least 1MiB)"),
                Arg::new("max-age")
                    .long("max-age")
                    .value_name("TIME")
                    .value_parser(duration::parse)
                    .help("Remove what is older than this, an eighth of it more or less"),
                Arg::new("flows")
                    .long("flows")
                    .action(ArgAction::SetTrue)
                    .help("Keep what `tracer flows` would show: trace and policy-verdict messages, too"),
            ]
            .map(|arg| arg.help_heading(RECORDING)),
        )
        .args(filters::live_args())
        .args(drops::stream_args(Events::Flows))
        .after_help(EXAMPLES)
}

/// Smaller recordings could not keep their promise.
pub(super) const MIN_BYTES: u64 = 1 << 20;

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let directory = matches.get_one::<PathBuf>("directory").cloned();
    let directory = directory.ok_or_else(|| UsageError("record: no directory given".to_owned()))?;
    let max_bytes = matches.get_one::<u64>("max-size").copied().unwrap_or(256 << 20);
    if max_bytes < MIN_BYTES {
        return Err(UsageError("--max-size: at least 1MiB".to_owned()));
    }
    let max_age = matches.get_one::<Duration>("max-age").copied();
    filters::check_live(matches)?;
    let events = if matches.get_flag("flows") { Events::Flows } else { Events::Drops };
    let mut types = matches.get_many::<String>("type").into_iter().flatten();
    if events == Events::Drops && types.any(|name| name != "drop") {
        return Err(UsageError("--type: other events than drops are kept with --flows".to_owned()));
    }
    let mut plan = drops::stream_plan(matches, events)?;
    plan.record = Some(RecordPlan { directory, limits: Limits { max_bytes, max_age }, is_patient: false });
    let is_asked = matches.value_source("output") == Some(ValueSource::CommandLine);
    plan.print &= is_asked || plan.report_groups.is_some();
    Ok(Plan::Drops(Box::new(plan)))
}
