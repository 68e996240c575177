//! `tracer why`: its command line, and the [`WhyPlan`] that it means.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::end::{self, TypedEnd};
use super::{Plan, UsageError};

/// What `tracer why` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct WhyPlan {
    pub about: About,
    pub directions: Directions,
    /// Address family for ends that have both.
    pub family: Family,
    pub form: Form,
    /// Numbers instead of names.
    pub numeric: bool,
}

/// The packet in question.
#[derive(Clone, Debug, PartialEq)]
pub enum About {
    Ends {
        source: TypedEnd,
        destination: TypedEnd,
    },
    /// That of an event of `drops -o json`, in a file or on stdin.
    Event(EventFrom),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventFrom {
    Stdin,
    File(PathBuf),
}

/// Which policies are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Directions {
    #[default]
    Both,
    Egress,
    Ingress,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// IPv4 where there is a choice.
    #[default]
    Any,
    V4,
    V6,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    Text,
    Json,
    /// Nothing but the policy that would allow it, as YAML.
    Suggestion,
}

pub(super) fn command() -> Command {
    Command::new("why")
        .about("Says whether a packet would pass Cilium's policy here and now, and which entry decides")
        .before_help(ABOUT)
        .args([source(), destination(), packet(), direction()])
        .args(families())
        .args(output())
        .after_help(EXAMPLES)
}

const ABOUT: &str = "\
Asks the maps that the datapath asks, in its order: ipcache, services, connection tracking, policy of the source,
policy of the destination. Prints each step, the entry that decided or the one that is missing, what comes close,
and the narrowest policy that would allow it. Works without the agent. Nothing is sent and nothing is changed.";

const EXAMPLES: &str = "\
An end is NAMESPACE/POD, a pod's name alone if there is only one, an address, an identity (12345, world, host,
remote-node, kube-apiserver, ...), identity:N, endpoint:N, or the address of a service. A port without a protocol
means TCP; for ICMP the port is the type, echo request if none is given.

Examples:
  tracer why default/client default/server:9090/tcp
  tracer why default/client 203.0.113.7:53/udp
  tracer why default/client [fd00::1:20]:8080/tcp
  tracer why world default/server:443            from anywhere outside
  tracer why default/client 10.96.0.20:80        through a service, for each of its backends
  tracer why default/client default/dns/icmp     echo request
  tracer drops -c 1 -o json | tracer why --packet
  tracer why --suggest default/client default/server:9090 > allow.yaml

Exit code: 0 allowed or redirected to a proxy, 7 denied, 6 not known.";

fn end_arg(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .value_name(value)
        .value_parser(end::parse)
        .required_unless_present("packet")
        .conflicts_with("packet")
        .help(help)
}

fn source() -> Arg {
    end_arg(
        "source",
        "SOURCE",
        "Who sends: pod, address, identity, endpoint; with :PORT to look at one connection",
    )
}

fn destination() -> Arg {
    end_arg(
        "destination",
        "DESTINATION",
        "Who is to receive: the same, or a service; with :PORT and /PROTOCOL",
    )
}

fn packet() -> Arg {
    Arg::new("packet")
        .long("packet")
        .value_name("FILE")
        .num_args(0..=1)
        .default_missing_value("-")
        .value_parser(clap::value_parser!(PathBuf))
        .help("Take the packet from an event of `drops -o json` or jsonpb, in FILE or on stdin")
}

fn direction() -> Arg {
    Arg::new("direction")
        .long("direction")
        .value_name("DIRECTION")
        .value_parser(PossibleValuesParser::new(["both", "egress", "ingress"]))
        .default_value("both")
        .help("Ask the policy of the source only (egress) or of the destination only (ingress)")
}

fn families() -> [Arg; 2] {
    let family = |name: &'static str, short, help| {
        Arg::new(name).long(name).short(short).action(ArgAction::SetTrue).help(help)
    };
    [
        family("ipv4", '4', "Use IPv4 where ends have both [default]").conflicts_with("ipv6"),
        family("ipv6", '6', "Use IPv6 where ends have both"),
    ]
}

fn output() -> [Arg; 3] {
    [
        Arg::new("output")
            .short('o')
            .long("output")
            .value_name("FORMAT")
            .value_parser(PossibleValuesParser::new(["table", "json"]))
            .default_value("table")
            .help("table: text for people; json: one object with everything"),
        super::listing::switch(
            "suggest",
            "Print only the policy that would allow it, as YAML for kubectl apply",
        )
        .conflicts_with("output"),
        super::listing::switch("numeric", "Print numbers instead of names"),
    ]
    .map(|arg| arg.help_heading("Output"))
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    Ok(Plan::Why(Box::new(WhyPlan {
        about: about(matches)?,
        directions: match matches.get_one::<String>("direction").map(String::as_str) {
            Some("egress") => Directions::Egress,
            Some("ingress") => Directions::Ingress,
            _ => Directions::Both,
        },
        family: match (matches.get_flag("ipv4"), matches.get_flag("ipv6")) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ => Family::Any,
        },
        form: match matches.get_one::<String>("output").map(String::as_str) {
            _ if matches.get_flag("suggest") => Form::Suggestion,
            Some("json") => Form::Json,
            _ => Form::Text,
        },
        numeric: matches.get_flag("numeric"),
    })))
}

fn about(matches: &ArgMatches) -> Result<About, UsageError> {
    if let Some(file) = matches.get_one::<PathBuf>("packet") {
        let from = if file.as_os_str() == "-" { EventFrom::Stdin } else { EventFrom::File(file.clone()) };
        return Ok(About::Event(from));
    }
    let typed = |name| matches.get_one::<TypedEnd>(name).cloned();
    let (Some(source), Some(destination)) = (typed("source"), typed("destination")) else {
        return Err(UsageError("why: two ends are needed".to_owned()));
    };
    if let (Some(a), Some(b)) = (source.protocol, destination.protocol)
        && a != b
    {
        return Err(UsageError("the two ends name different protocols".to_owned()));
    }
    Ok(About::Ends { source, destination })
}
