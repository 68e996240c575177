//! Command lines as typed, and what they mean or how they are refused.

use std::num::NonZeroU64;
use std::time::Duration;

use super::drops::{DropsPlan, TapChoice};
use super::*;
use crate::output::color::ColorChoice;
use crate::output::options::Format;
use crate::output::time::TimeFormat;

fn try_parse(line: &str) -> Result<Invocation, Refusal> {
    parse(std::iter::once("tracer").chain(line.split_whitespace()).map(OsString::from))
}

fn drops(line: &str) -> DropsPlan {
    match try_parse(line).unwrap_or_else(|refusal| panic!("{line}: {refusal}")).plan {
        Plan::Drops(plan) => *plan,
        other => panic!("{line}: {other:?}"),
    }
}

/// The error text, which must be one line and go with exit code 2.
fn refused(line: &str) -> String {
    let refusal = try_parse(line).expect_err(line);
    assert_eq!((refusal.exit(), refusal.exit().code()), (Exit::Usage, 2), "{line}");
    assert!(refusal.is_error());
    refusal.to_string().trim_end().to_owned()
}

#[test]
fn bare_drops_means_everything_compact_until_stopped() {
    let plan = drops("drops");
    assert_eq!(plan.filter, Default::default());
    assert_eq!(plan.stop, Default::default());
    assert_eq!(
        (plan.output.format, plan.output.names, plan.output.time_format),
        (Format::Compact, true, TimeFormat::StampMilli)
    );
    assert_eq!((plan.tap, plan.snaplen, plan.all, plan.require_cilium), (TapChoice::Auto, 128, false, false));
    assert_eq!((plan.command, plan.completeness, plan.ready_file), (None, None, None));
}

#[test]
fn ct_filters_arrive_and_bad_ones_are_refused() {
    use super::ct::{CtPlan, Property};
    let ct = |line: &str| match try_parse(line).unwrap_or_else(|refusal| panic!("{line}: {refusal}")).plan {
        Plan::Ct(plan) => *plan,
        other => panic!("{line}: {other:?}"),
    };
    let CtPlan::List(plan) = ct(
        "ct ls --cidr 10.0.0.0/8 --ip fd00::1 --port 80 --protocol tcp --identity 12345 --pod prod/web --endpoint 7 \
         --state closing --kind service --map any4 --expired -o cilium --sort -remaining_seconds --limit 5",
    ) else {
        panic!("not a list")
    };
    let wanted = plan.wanted;
    assert_eq!((wanted.nets.len(), wanted.ports.len(), wanted.protocols), (2, 1, vec![6]));
    assert_eq!((wanted.identities[0].0, wanted.endpoints[0].0, wanted.pods.len()), (12345, 7, 1));
    assert_eq!((wanted.states.len(), wanted.kinds.len(), wanted.expired), (1, 1, true));
    assert!(plan.listing.sort.is_some_and(|sort| sort.descending) && plan.listing.limit.is_some());
    let CtPlan::Count(plan) = ct("ct count --by protocol,direction -o json") else { panic!("not a count") };
    assert_eq!(plan.by, [Property::Protocol, Property::Direction]);
    assert!(matches!(ct("bpf ct list global"), CtPlan::List(_)));
    for (line, word) in [
        ("ct list --ip 10.0.0.300", "10.0.0.300"),
        ("ct list --sort colour", "colour"),
        ("ct list --protocol tpc", "tpc"),
        ("ct get 10.0.0.1:80 [fd00::1]:80", "different IP versions"),
        ("ct get 10.0.0.1 10.0.0.2:80", "10.0.0.1"),
        ("capacity --max-usage 120%", "120%"),
    ] {
        assert!(refused(line).contains(word), "{line}");
    }
}

#[test]
fn every_option_arrives() {
    let plan = drops(
        "drops --all -c 5 --duration 1m30s -o jsonpb --time-format rfc3339nano --utc --numeric --print-node-name \
         --ready-file /tmp/ready --tap kprobe --require-cilium --snaplen 256 --completeness 3s -- curl -m 3 x",
    );
    assert!(
        plan.all && plan.output.utc && plan.output.node_name && plan.require_cilium && !plan.output.names
    );
    assert_eq!(plan.stop.count, NonZeroU64::new(5));
    assert_eq!(plan.stop.duration, Some(Duration::from_secs(90)));
    assert_eq!((plan.output.format, plan.output.time_format), (Format::Jsonpb, TimeFormat::Rfc3339Nano));
    assert_eq!((plan.tap, plan.snaplen), (TapChoice::Kprobe, 256));
    assert_eq!(plan.completeness, Some(Duration::from_secs(3)));
    assert_eq!(plan.ready_file, Some("/tmp/ready".into()));
    assert_eq!(plan.command, Some(["curl", "-m", "3", "x"].map(OsString::from).to_vec()));
}

#[test]
fn spellings_of_hubble_are_understood() {
    assert_eq!(drops("drops -o JSON").output.format, Format::Json);
    assert_eq!(drops("drops -o tab").output.format, Format::Table);
    assert!(!drops("drops --ip-translation=false").output.names);
    assert!(drops("drops --ip-translation").output.names);
    assert_eq!(drops("drops -f -t drop").filter, Default::default());
    assert_eq!(drops("drops --completeness").completeness, Some(Duration::from_secs(10)));
}

#[test]
fn global_options_work_before_and_after_the_command() {
    for line in ["--bpffs /x --color never -q -D drops", "drops -D -q --color never --bpffs /x"] {
        let global = try_parse(line).unwrap().global;
        assert_eq!((global.bpffs, global.color), (Some("/x".into()), ColorChoice::Never), "{line}");
        assert!(global.quiet && global.debug, "{line}");
    }
}

#[test]
fn short_filter_flags() {
    assert_eq!(drops("drops -n prod -l app=x").filter, drops("drops --namespace prod --label app=x").filter);
    assert_eq!(drops("drops -A -4 -6").filter, drops("drops --all-namespaces --ipv4 --ipv6").filter);
    assert_eq!(drops("drops --related-to 7").filter, drops("drops --endpoint 7").filter);
    assert_eq!(
        drops("drops --from 7 --to 8").filter,
        drops("drops --from-endpoint 7 --to-endpoint 8").filter
    );
}

#[test]
fn not_negates_exactly_the_next_filter_whatever_stands_between() {
    let filter = drops("drops --not --port 80 --port 443").filter;
    assert_eq!(
        (filter.allow, filter.deny),
        (drops("drops --port 443").filter.allow, drops("drops --port 80").filter.allow)
    );
    let filter = drops("drops --not -A --protocol tcp").filter;
    assert_eq!(filter.deny, drops("drops -A").filter.allow);
    let filter = drops("drops --port 80 --not -o json --port 81 --not -4").filter;
    assert_eq!(filter.allow, drops("drops --port 80").filter.allow);
    assert_eq!(filter.deny, drops("drops --port 81 -4").filter.allow);
    assert_eq!(drops("drops -4 --not -4 -4").filter.allow, drops("drops -4 -4").filter.allow);
}

#[test]
fn wrong_filters_are_refused_in_one_line() {
    for (line, expected) in [
        ("drops --from-pod a --namespace b", "error: filters --from-pod and --namespace cannot be combined"),
        ("drops --port 1 --not", "error: trailing --not found in the arguments"),
        ("drops --not --not --port 1", "error: consecutive --not statements"),
        (
            "drops --port x",
            "error: invalid --port value `x`: expected a port (0 to 65535) or a range such as 8000-8010",
        ),
        ("drops -t l7", "error: `drops` shows events of type `drop` only, not `l7`"),
    ] {
        assert_eq!(refused(line), expected);
    }
}

#[test]
fn flags_of_hubble_that_cannot_work_are_refused_with_the_reason() {
    let layer7 = "layer 7 is seen by the agent's proxy only, not by the datapath";
    assert_eq!(
        refused("drops --http-status 404"),
        format!("error: --http-status cannot work here: {layer7}")
    );
    for flag in [
        "http-method get",
        "trace-id x",
        "uuid x",
        "service a",
        "last 5",
        "since 3m",
        "server x",
        "node-label a=b",
        "workload shop",
    ] {
        let (name, _) = flag.split_once(' ').unwrap();
        let text = refused(&format!("drops --{flag}"));
        assert!(text.starts_with(&format!("error: --{name} cannot work here: ")), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn wrong_options_are_refused_without_a_usage_dump() {
    for line in [
        "drops --no-such-flag",
        "drops -c 0",
        "drops -c x",
        "drops --duration 8",
        "drops --snaplen 257",
        "drops -o xml",
        "drops --time-format Kitchen",
        "drops --tap xdp",
        "drops stray",
        "frobnicate",
        "--color sometimes drops",
    ] {
        let text = refused(line);
        assert!(text.starts_with("error: ") && !text.contains("Usage:"), "{line}: {text}");
    }
    assert!(refused("drops --duration 8").contains("a unit is missing after 8, as in 8s"));
    assert!(refused("drops --protcol tcp").contains("--protocol"), "a typo gets a tip");
}

#[test]
fn help_and_version_go_to_stdout() {
    for (line, expected) in
        [("--help", "drops"), ("drops --help", "--drop-reason-desc"), ("--version", "tracer ")]
    {
        let refusal = try_parse(line).expect_err(line);
        assert_eq!(refusal.exit(), Exit::Done, "{line}");
        assert!(!refusal.is_error() && refusal.to_string().contains(expected), "{line}");
    }
    let help = try_parse("drops --help").unwrap_err().to_string();
    assert!(!help.contains("--http-status"), "refused flags are not advertised");
    assert!(help.contains("Exit codes") || command().render_help().to_string().contains("Exit codes"));
}

#[test]
fn nothing_typed_is_a_usage_error_with_help() {
    let refusal = try_parse("").unwrap_err();
    assert_eq!(refusal.exit(), Exit::Usage);
    assert!(refusal.to_string().contains("drops"));
}

#[test]
fn a_port_beside_a_name_gets_a_remark() {
    assert_eq!(drops("drops --identity 1 --port 80").notes.len(), 1);
    for line in
        ["drops --identity 1 --to-port 80", "drops --from-identity 1 --port 80", "drops --port 80", "drops"]
    {
        assert!(drops(line).notes.is_empty(), "{line}");
    }
}

#[test]
fn a_verdict_that_no_drop_has_gets_a_remark() {
    for (line, count) in [
        ("drops --verdict FORWARDED", 1),
        ("drops --verdict AUDIT --identity 1", 1),
        ("drops --verdict AUDIT --verdict DROPPED", 0),
        ("drops --not --verdict FORWARDED", 0),
    ] {
        assert_eq!(drops(line).notes.len(), count, "{line}");
    }
}

#[test]
fn the_command_definition_is_sound() {
    command().debug_assert();
}

#[test]
fn exit_codes_are_the_documented_ones() {
    let all = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::NotPermitted,
        Exit::NoCilium,
        Exit::NoKernelFeature,
        Exit::Incomplete,
        Exit::ConditionNotMet,
    ];
    assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5, 6, 7]);
}

fn plan_of(line: &str) -> Plan {
    try_parse(line).unwrap_or_else(|refusal| panic!("{line}: {refusal}")).plan
}

#[test]
fn record_is_drops_into_a_directory_and_prints_only_what_it_is_told_to() {
    let Plan::Drops(plan) = plan_of("record /tmp/r --max-size 2MiB --max-age 1h -n prod") else { panic!() };
    let record = plan.record.unwrap();
    assert_eq!((record.directory.to_str(), record.limits.max_bytes), (Some("/tmp/r"), 2 << 20));
    assert_eq!((record.limits.max_age, plan.print), (Some(Duration::from_secs(3600)), false));
    let Plan::Drops(plan) = plan_of("record /tmp/r -o json") else { panic!() };
    assert!(plan.print);
    assert!(refused("record /tmp/r --max-size 1k").contains("at least 1MiB"));
    assert!(refused("record").contains("DIR"));
}

#[test]
fn packets_on_stdout_leave_no_room_for_text() {
    let plan = drops("drops --write a.pcapng");
    assert_eq!((plan.print, plan.write.as_deref().and_then(|path| path.to_str())), (true, Some("a.pcapng")));
    assert!(!drops("drops --write -").print);
    assert!(refused("drops --write - -o json").contains("stdout"));
}

#[test]
fn replay_selects_from_the_past_and_drops_has_none() {
    use super::replay::Pick;
    let Plan::Replay(plan) = plan_of("replay /tmp/r --since 10m --last 5 --pod db --not --port 53") else {
        panic!()
    };
    assert_eq!(plan.since, Some(moment::Moment::Ago(Duration::from_secs(600))));
    assert!(matches!(plan.pick, Pick::Last(count) if count.get() == 5));
    assert!(refused("drops --since 10m").contains("tracer replay"));
    assert!(refused("replay /tmp/r --first 1 --last 1").contains("--last"));
    assert!(refused("replay /tmp/r --http-status 200").contains("layer 7"));
    assert!(refused("replay").contains("DIR|FILE"));
}

#[test]
fn a_snapshot_stands_for_the_node_and_all_its_places() {
    let global = try_parse("ct list --snapshot a.snap").unwrap().global;
    assert_eq!(global.snapshot.as_deref().and_then(|path| path.to_str()), Some("a.snap"));
    assert!(refused("--snapshot a.snap --bpffs /b ct list").contains("--bpffs"));
    assert!(refused("snapshot").contains("--output"));
}

fn replayed(line: &str) -> ReplayPlan {
    match try_parse(line).unwrap_or_else(|refusal| panic!("{line}: {refusal}")).plan {
        Plan::Replay(plan) => *plan,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn flows_are_drops_and_more() {
    for line in ["flows", "observe", "flows -f"] {
        let plan = drops(line);
        assert_eq!((plan.flows, plan.filter, plan.print), (true, Default::default(), true), "{line}");
    }
    assert!(!drops("drops").flows && !drops("record /tmp/r").flows && drops("record /tmp/r --flows").flows);
    let plan = drops("flows -t trace:to-endpoint --not -t drop --verdict FORWARDED --pod a -c 3");
    assert_eq!((plan.filter.allow.len(), plan.filter.deny.len(), plan.notes.len()), (2, 1, 0));
    assert_eq!(plan.stop.count, NonZeroU64::new(3));
    assert_eq!(drops("flows --verdict TRANSLATED").notes.len(), 1, "nobody tells it here");
}

#[test]
fn the_past_is_that_of_a_recording() {
    let plan = replayed("flows --input /tmp/r --last 20 --since 3m -t trace -o json");
    assert_eq!((plan.path.to_str(), plan.pick), (Some("/tmp/r"), replay::Pick::Last(20.try_into().unwrap())));
    assert!(plan.since.is_some() && !plan.filter.allow.is_empty());
    assert_eq!(replayed("replay /tmp/r -t trace").filter, replayed("flows --input /tmp/r -t trace").filter);
    for selector in ["last 5", "first 5", "since 3m", "until 3m"] {
        let text = refused(&format!("flows --{selector}"));
        let (name, _) = selector.split_once(' ').unwrap();
        assert!(text.starts_with(&format!("error: --{name} needs --input: ")), "{text}");
    }
    for flag in ["follow", "duration 3s", "tap note", "why", "count 3"] {
        let text = refused(&format!("flows --input /tmp/r --{flag}"));
        let name = flag.split(' ').next().unwrap();
        assert_eq!(
            text,
            format!("error: --{name} cannot work with --input: a recording is played to its end")
        );
    }
}

#[test]
fn other_types_than_drops_are_for_flows() {
    assert_eq!(
        refused("record /tmp/r -t trace"),
        "error: --type: other events than drops are kept with --flows"
    );
    assert!(!drops("record /tmp/r --flows -t trace").filter.allow.is_empty());
    assert!(refused("flows -t l7").contains("layer 7 is seen by the agent's proxy only"));
}
