//! `tracer drops`: its command line, and the [`DropsPlan`] that it means.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tracer_common::event::{DEFAULT_SNAPLEN, MAX_SNAPLEN};

use super::record::RecordPlan;
use super::{Plan, UsageError, aggregate, duration, filters, listing};
use crate::filter::FilterSet;
use crate::filter::end::EndFilter;
use crate::model::flow::Verdict;
use crate::output::options::{Format, OutputOptions};
use crate::output::time::TimeFormat;

/// What `tracer drops` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct DropsPlan {
    /// `--node-name` is not settled yet: see [`FilterSet::bind_node`].
    pub filter: FilterSet,
    /// Show what is folded into counted lines otherwise.
    pub all: bool,
    /// Trace and policy-verdict messages, too.
    pub flows: bool,
    /// Ask the policy behind each drop.
    pub why: bool,
    pub output: OutputOptions,
    /// Print the events.
    pub print: bool,
    /// Packet file for the shown events, `-` for stdout.
    pub write: Option<PathBuf>,
    /// Keep the shown events.
    pub record: Option<RecordPlan>,
    /// With [`OutputOptions::group_by`]: how often the groups are told.
    pub report_groups: Option<Duration>,
    pub stop: StopRule,
    /// Program and arguments to run meanwhile; tracing ends with it.
    pub command: Option<Vec<OsString>>,
    pub tap: TapChoice,
    /// End with [`super::exit::Exit::NoCilium`] when the node has no Cilium.
    pub require_cilium: bool,
    /// Packet bytes to capture, at most [`MAX_SNAPLEN`].
    pub snaplen: u32,
    /// Most events of one flow a second and CPU that the kernel side sends; 0: all.
    pub rate_limit: u32,
    /// Print the comparison with `cilium_metrics` that often, not only at the end.
    pub completeness: Option<Duration>,
    /// Create this file once everything is attached.
    pub ready_file: Option<PathBuf>,
    /// Remarks on the command line for the banner.
    pub notes: Vec<String>,
}

/// When to stop, beside SIGINT, SIGTERM, a closed pipe and the end of [`DropsPlan::command`]. Whatever comes
/// first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopRule {
    /// After that many shown drops.
    pub count: Option<NonZeroU64>,
    pub duration: Option<Duration>,
}

/// Which events a command shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    Drops,
    /// Drops, and what Cilium tells of other packets.
    Flows,
}

/// How to listen to Cilium's own messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TapChoice {
    /// The best that the kernel allows.
    #[default]
    Auto,
    Fentry,
    Kprobe,
    /// Not at all: only frees, with the note that Cilium leaves in the packet.
    Note,
}

const STOP: &str = "When to stop";
const OUTPUT: &str = "Output";
const TAPS: &str = "Taps";

pub(super) fn command() -> Command {
    Command::new("drops")
        .about("Shows every dropped packet as it happens")
        .before_help(ABOUT)
        .args(filters::live_args())
        .args(stream_args(Events::Drops))
        .after_help(EXAMPLES)
}

/// What every command that follows live events takes.
pub(super) fn stream_args(events: Events) -> Vec<Arg> {
    let own = stop_args().into_iter().chain(output_args()).chain(tap_args()).chain([why_arg(), follow()]);
    let kind = (events == Events::Drops).then(event_type);
    let grouping = aggregate::args().map(|arg| arg.help_heading(OUTPUT));
    filters::args(events).chain(kind).chain(own).chain(grouping).collect()
}

const ABOUT: &str = "\
Cilium's drops with its reason, and the kernel's drops that concern Cilium's endpoints, addresses and interfaces;
--all shows the rest too. Events go to stdout, everything else to stderr. Nothing of Cilium is changed.";

const EXAMPLES: &str = "\
Filters without from-/to- speak of one end: --pod db --port 5432 is port 5432 of db, in both directions.

Examples:
  tracer drops                                       everything that goes wrong on this node
  tracer drops -n prod -l app=shop                   what happens to one application
  tracer drops --identity 12345 -o json | jq .flow   as JSON lines, in Hubble's shape
  tracer drops --drop-reason-desc POLICY_DENIED --to-port 8080
  tracer drops --not --port 53 --not --port 123      without DNS and NTP
  tracer drops -n prod --write prod.pcapng           as a packet file, for tshark
  tracer drops --duration 30s -c 100                 at most 30 seconds and 100 drops
  tracer drops -- curl -m 3 http://10.96.0.10        only while a command runs";

fn stop_args() -> [Arg; 3] {
    [
        Arg::new("count")
            .short('c')
            .long("count")
            .value_name("N")
            .value_parser(value_parser!(NonZeroU64))
            .help("Stop after N shown events"),
        Arg::new("duration")
            .long("duration")
            .value_name("TIME")
            .value_parser(duration::parse)
            .help("Stop after this time: 30s, 1m30s"),
        Arg::new("command")
            .value_name("COMMAND")
            .value_parser(value_parser!(OsString))
            .num_args(1..)
            .last(true)
            .help("Run this command and stop when it ends"),
    ]
    .map(|arg| arg.help_heading(STOP))
}

pub(super) fn output_args() -> [Arg; 9] {
    let yes = |name: &'static str, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    [
        Arg::new("output")
            .short('o')
            .long("output")
            .value_name("FORMAT")
            .value_parser(PossibleValuesParser::new(Format::NAMES))
            .hide_possible_values(true)
            .default_value("compact")
            .help("compact, dict, table, json (Hubble's lines plus the key \"tracer\") or jsonpb (Hubble's lines)"),
        yes("all", "Show known-harmless drops too, instead of counting them"),
        Arg::new("time-format")
            .long("time-format")
            .value_name("FORMAT")
            .value_parser(TimeFormat::parse)
            .default_value("StampMilli")
            .help("Time in text output: StampMilli, RFC3339, RFC3339Milli, RFC3339Micro, RFC3339Nano, RFC1123Z, ..."),
        yes("utc", "Print times in UTC instead of the local time zone"),
        yes("numeric", "Print addresses instead of names"),
        Arg::new("ip-translation")
            .long("ip-translation")
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_value("true")
            .default_missing_value("true")
            .value_parser(value_parser!(bool))
            .help("Print pod and DNS names instead of addresses"),
        yes("print-node-name", "Print the node's name in text output"),
        Arg::new("write")
            .long("write")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Write the packets of the shown drops as pcapng, each with a comment; - for stdout, and no text there"),
        Arg::new("ready-file")
            .long("ready-file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Create FILE once everything is attached"),
    ]
    .map(|arg| arg.help_heading(OUTPUT))
}

fn tap_args() -> [Arg; 5] {
    [
        Arg::new("tap")
            .long("tap")
            .value_name("TAP")
            .value_parser(PossibleValuesParser::new(["auto", "fentry", "kprobe", "note"]))
            .default_value("auto")
            .help("How to listen to Cilium's messages; note: not at all, use the note in the packet"),
        Arg::new("require-cilium")
            .long("require-cilium")
            .action(ArgAction::SetTrue)
            .help("Fail with exit code 4 when this node has no Cilium"),
        Arg::new("snaplen")
            .long("snaplen")
            .value_name("BYTES")
            .value_parser(value_parser!(u32).range(14..=MAX_SNAPLEN as i64))
            .help(format!("Packet bytes to capture, 14 to {MAX_SNAPLEN} [default: {DEFAULT_SNAPLEN}]")),
        Arg::new("rate-limit")
            .long("rate-limit")
            .value_name("N")
            .value_parser(value_parser!(u32).range(1..))
            .help("At most N drops a second of one flow (ends, port, protocol, reason) and CPU; the next says +N similar"),
        Arg::new("completeness")
            .long("completeness")
            .value_name("INTERVAL")
            .num_args(0..=1)
            .default_missing_value("10s")
            .value_parser(duration::parse)
            .help("Compare with Cilium's own drop counters at an interval (10s), not only at the end"),
    ]
    .map(|arg| arg.help_heading(TAPS))
}

fn why_arg() -> Arg {
    listing::switch("why", "Add the policy entry that dropped it, or the missing one (compact, dict, json)")
        .help_heading(OUTPUT)
}

/// What commands have that watch without printing.
pub(super) fn watch_args() -> impl Iterator<Item = Arg> {
    let wanted = ["all", "ready-file", "tap", "require-cilium"];
    output_args().into_iter().chain(tap_args()).filter(move |arg| wanted.contains(&arg.get_id().as_str()))
}

/// The plan of [`watch_args`]: everything, until stopped.
pub(super) fn watch_plan(matches: &ArgMatches) -> DropsPlan {
    DropsPlan {
        filter: FilterSet::default(),
        all: matches.get_flag("all"),
        flows: false,
        why: false,
        output: OutputOptions::default(),
        print: false,
        write: None,
        record: None,
        report_groups: None,
        stop: StopRule::default(),
        command: None,
        tap: tap_choice(matches),
        require_cilium: matches.get_flag("require-cilium"),
        snaplen: DEFAULT_SNAPLEN,
        rate_limit: 0,
        completeness: None,
        ready_file: matches.get_one::<PathBuf>("ready-file").cloned(),
        notes: Vec::new(),
    }
}

/// The plan of [`watch_args`] with filters.
pub(super) fn filtered_watch_plan(matches: &ArgMatches) -> Result<DropsPlan, UsageError> {
    let filter = filters::filter_set(matches, Events::Drops)?;
    let notes = notes(&filter, Events::Drops);
    Ok(DropsPlan { filter, notes, ..watch_plan(matches) })
}

/// `drops` always follows; scripts made for Hubble say so.
fn follow() -> Arg {
    Arg::new("follow").short('f').long("follow").action(ArgAction::SetTrue).hide(true)
}

fn event_type() -> Arg {
    Arg::new("type").short('t').long("type").action(ArgAction::Append).hide(true)
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    filters::check_live(matches)?;
    Ok(Plan::Drops(Box::new(stream_plan(matches, Events::Drops)?)))
}

/// Whether events are printed: packets on stdout leave no room for them.
pub(super) fn prints(matches: &ArgMatches, write: Option<&Path>) -> Result<bool, UsageError> {
    let asked = matches.value_source("output") == Some(ValueSource::CommandLine);
    match write == Some(Path::new("-")) {
        true if asked => Err(UsageError("--write - and -o: only one of them can have stdout".to_owned())),
        is_stdout => Ok(!is_stdout),
    }
}

/// What the arguments of [`stream_args`] mean.
pub(super) fn stream_plan(matches: &ArgMatches, events: Events) -> Result<DropsPlan, UsageError> {
    if events == Events::Drops {
        check_type(matches)?;
    }
    let write = matches.get_one::<PathBuf>("write").cloned();
    let grouping = aggregate::grouping(matches)?;
    let mut output = output_options(matches);
    output.group_by = grouping.as_ref().map(|grouping| grouping.keys.clone()).unwrap_or_default();
    output.flows = events == Events::Flows;
    let why = why(matches, output.format)?;
    let filter = filters::filter_set(matches, events)?;
    let notes = notes(&filter, events);
    Ok(DropsPlan {
        print: prints(matches, write.as_deref())?,
        write,
        record: None,
        filter,
        notes,
        all: matches.get_flag("all"),
        flows: events == Events::Flows,
        why,
        output,
        report_groups: grouping.map(|grouping| grouping.interval),
        stop: StopRule {
            count: matches.get_one::<NonZeroU64>("count").copied(),
            duration: matches.get_one::<Duration>("duration").copied(),
        },
        command: matches.get_many::<OsString>("command").map(|words| words.cloned().collect()),
        tap: tap_choice(matches),
        require_cilium: matches.get_flag("require-cilium"),
        snaplen: matches.get_one::<u32>("snaplen").copied().unwrap_or(DEFAULT_SNAPLEN),
        rate_limit: matches.get_one::<u32>("rate-limit").copied().unwrap_or(0),
        completeness: matches.get_one::<Duration>("completeness").copied(),
        ready_file: matches.get_one::<PathBuf>("ready-file").cloned(),
    })
}

fn check_type(matches: &ArgMatches) -> Result<(), UsageError> {
    let mut types = matches.get_many::<String>("type").into_iter().flatten();
    match types.find(|name| *name != "drop") {
        Some(other) => Err(UsageError(format!("`drops` shows events of type `drop` only, not `{other}`"))),
        None => Ok(()),
    }
}

/// The other formats have no place for it.
fn why(matches: &ArgMatches, format: Format) -> Result<bool, UsageError> {
    match (matches.get_flag("why"), format) {
        (true, Format::Table | Format::Jsonpb) => Err(UsageError(
            "--why: only with -o compact, dict or json; the others have no place for it".to_owned(),
        )),
        (wanted, _) => Ok(wanted),
    }
}

pub(super) fn output_options(matches: &ArgMatches) -> OutputOptions {
    let numeric = matches.get_flag("numeric");
    OutputOptions {
        format: matches
            .get_one::<String>("output")
            .and_then(|name| Format::by_name(name))
            .unwrap_or_default(),
        time_format: matches.get_one::<TimeFormat>("time-format").copied().unwrap_or_default(),
        utc: matches.get_flag("utc"),
        names: !numeric && matches.get_one::<bool>("ip-translation").copied().unwrap_or(true),
        node_name: matches.get_flag("print-node-name"),
        color: false,
        group_by: Vec::new(),
        flows: false,
    }
}

fn tap_choice(matches: &ArgMatches) -> TapChoice {
    match matches.get_one::<String>("tap").map(String::as_str) {
        Some("fentry") => TapChoice::Fentry,
        Some("kprobe") => TapChoice::Kprobe,
        Some("note") => TapChoice::Note,
        _ => TapChoice::Auto,
    }
}

/// Remarks on filters that mean something else than they seem to.
fn notes(filter: &FilterSet, events: Events) -> Vec<String> {
    let never = match events {
        Events::Drops => never_dropped(filter),
        Events::Flows => never_told(filter),
    };
    [far_port(filter), never].into_iter().flatten().map(str::to_owned).collect()
}

/// `--identity 12345 --port 80` reads like "12345 talks to port 80" and is not.
fn far_port(filter: &FilterSet) -> Option<&'static str> {
    let who_and_port = |end: &EndFilter| {
        !end.ports.is_empty() && *end != EndFilter { ports: end.ports.clone(), ..Default::default() }
    };
    let [left, right] = &filter.allow[..] else { return None };
    (who_and_port(&left.source) && who_and_port(&right.destination)).then_some(
        "--port speaks of the same end as the other filters; for the far end use --to-port or --from-port",
    )
}

fn never_dropped(filter: &FilterSet) -> Option<&'static str> {
    asks_only_for(filter, |verdict| verdict != Verdict::Dropped)
        .then_some("every drop has the verdict DROPPED: no drop matches --verdict")
}

/// Verdicts that only Cilium's proxy and socket programs give.
fn never_told(filter: &FilterSet) -> Option<&'static str> {
    asks_only_for(filter, |verdict| {
        matches!(verdict, Verdict::Error | Verdict::Traced | Verdict::Translated)
    })
    .then_some(
        "ERROR, TRACED and TRANSLATED are told by the agent and by socket programs only: nothing matches --verdict",
    )
}

fn asks_only_for(filter: &FilterSet, of: impl Fn(Verdict) -> bool) -> bool {
    let only = |verdicts: &[Verdict]| !verdicts.is_empty() && verdicts.iter().all(|verdict| of(*verdict));
    !filter.allow.is_empty() && filter.allow.iter().all(|allow| only(&allow.verdicts))
}
