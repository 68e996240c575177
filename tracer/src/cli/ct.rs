//! `tracer ct`: connection tracking. Its commands, and the [`CtPlan`] that they mean.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::str::FromStr;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tracer_common::id::{EndpointId, Identity};

use super::{Plan, UsageError, listing};
use crate::cilium::ct::{Kind, State};
use crate::filter::build::parse_protocol;
use crate::filter::pattern::{Net, PodPattern, PortRange};
use crate::output::listing::ListingOptions;
use crate::output::{counted, ct, usage};

/// What `tracer ct` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum CtPlan {
    List(ListPlan),
    Count(CountPlan),
    Top(TopPlan),
    Get(GetPlan),
}

#[derive(Clone, Debug, PartialEq)]
pub struct ListPlan {
    pub wanted: CtWanted,
    /// With `-o cilium`: the rest of life as cilium-dbg prints it when asked to.
    pub time_diff: bool,
    pub listing: ListingOptions,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CountPlan {
    pub wanted: CtWanted,
    /// Empty: entries of each map, without looking at them.
    pub by: Vec<Property>,
    pub listing: ListingOptions,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TopPlan {
    pub wanted: CtWanted,
    pub by: Property,
    pub count: usize,
    pub listing: ListingOptions,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GetPlan {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// Empty: any of those with ports.
    pub protocols: Vec<u8>,
    pub listing: ListingOptions,
}

/// Which entries are wanted: all conditions must hold, of each list one; an empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CtWanted {
    /// Either end.
    pub nets: Vec<Net>,
    /// Either end.
    pub ports: Vec<PortRange>,
    pub protocols: Vec<u8>,
    /// The originator's, or that of an endpoint of this node at either end.
    pub identities: Vec<Identity>,
    /// Either end.
    pub pods: Vec<PodPattern>,
    /// Either end.
    pub endpoints: Vec<EndpointId>,
    pub states: Vec<State>,
    pub kinds: Vec<Kind>,
    /// Part of the map's name.
    pub map: Option<String>,
    /// Only entries whose time is up.
    pub expired: bool,
}

/// What entries are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    Map,
    Protocol,
    Direction,
    Kind,
    State,
    Identity,
    Pod,
    Source,
    Destination,
    Port,
}

impl Property {
    const ALL: [Self; 10] = [
        Self::Map,
        Self::Protocol,
        Self::Direction,
        Self::Kind,
        Self::State,
        Self::Identity,
        Self::Pod,
        Self::Source,
        Self::Destination,
        Self::Port,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Protocol => "protocol",
            Self::Direction => "direction",
            Self::Kind => "kind",
            Self::State => "state",
            Self::Identity => "source_identity",
            Self::Pod => "pod",
            Self::Source => "source_ip",
            Self::Destination => "destination_ip",
            Self::Port => "destination_port",
        }
    }

    const fn flag(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Port => "port",
            other => other.name(),
        }
    }

    fn by_name(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|property| property.flag() == text)
    }
}

const LIST: &str = "list";
const COUNT: &str = "count";
const TOP: &str = "top";
const GET: &str = "get";
const FILTERS: &str = "Filters (different ones: all must hold; the same again: one of them)";

pub(super) fn command() -> Command {
    Command::new("ct")
        .about("Shows connection tracking: entries, how many, whose")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommands([list_command(), count_command(), top_command(), get_command()])
}

pub(super) fn list_command() -> Command {
    Command::new(LIST)
        .visible_alias("ls")
        .about("Lists entries: both ends, what becomes of them, when they end")
        .long_about(LIST_ABOUT)
        .args(filters())
        .args(listing::args(ct::COLUMNS, true))
        .arg(listing::numeric())
        .arg(
            listing::switch("time-diff", "With -o cilium: print the rest of life too").help_heading("Output"),
        )
}

const LIST_ABOUT: &str = "\
Lists the entries of the connection tracking maps. The source is who sent the first packet, whatever way the
map stores it. Kinds: out (made where the first packet left), in (where it arrived), service (a client's
choice of backend), related (recognizes ICMP errors). A negative rest of life: expired, not yet removed.";

fn count_command() -> Command {
    let by =
        Arg::new("by").long("by").value_name("PROPERTIES").value_delimiter(',').action(ArgAction::Append);
    Command::new(COUNT)
        .about("Counts the entries of every connection tracking map")
        .arg(
            by.value_parser(PossibleValuesParser::new(Property::ALL.map(Property::flag)))
                .help("Count by these properties, e.g. protocol,direction; filters apply"),
        )
        .args(filters())
        .args(listing::args(usage::COLUMNS, false))
}

fn top_command() -> Command {
    Command::new(TOP)
        .about("Shows who has the most entries")
        .arg(
            Arg::new("by")
                .long("by")
                .value_name("PROPERTY")
                .default_value("pod")
                .value_parser(PossibleValuesParser::new(Property::ALL.map(Property::flag)))
                .help("What to count by"),
        )
        .arg(
            Arg::new("count")
                .short('n')
                .long("count")
                .value_name("N")
                .default_value("10")
                .value_parser(value_parser!(NonZeroUsize))
                .help("Show that many"),
        )
        .args(filters())
        .args(listing::args(counted::COLUMNS, false))
}

fn get_command() -> Command {
    let end = |name: &'static str, label: &'static str, help: &'static str| {
        Arg::new(name).value_name(label).required(true).value_parser(SocketAddr::from_str).help(help)
    };
    Command::new(GET)
        .about("Looks up the entries of one connection, of all kinds and in both directions")
        .after_help("Example: tracer ct get 10.0.1.5:43210 10.0.2.9:8080 tcp")
        .arg(end(
            "source",
            "SOURCE",
            "Address and port of one end: 10.0.1.5:43210, [fd00::5]:43210; ICMP: the identifier",
        ))
        .arg(end("destination", "DESTINATION", "Address and port of the other end; ICMP: port 0"))
        .arg(
            Arg::new("protocol")
                .value_name("PROTOCOL")
                .value_parser(parse_protocol)
                .help("tcp, udp, sctp, icmp, icmpv6 or a number [default: all with ports]"),
        )
        .args(listing::args(ct::COLUMNS, true))
        .arg(listing::numeric())
}

fn filters() -> Vec<Arg> {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).action(ArgAction::Append).help(help)
    };
    let states = PossibleValuesParser::new(State::ALL.map(State::name));
    let kinds = PossibleValuesParser::new(Kind::ALL.map(Kind::name));
    let args = vec![
        flag("ip", "IP|CIDR", "Address or network of either end").alias("cidr").value_parser(Net::from_str),
        flag("port", "PORT[-PORT]", "Port of either end").value_parser(PortRange::from_str),
        flag("protocol", "PROTOCOL", "tcp, udp, sctp, icmp (both versions), icmpv4, icmpv6 or a number")
            .value_parser(parse_protocol),
        flag("identity", "ID", "Identity of the originator, or of an endpoint of this node at either end")
            .value_parser(value_parser!(u32)),
        flag("pod", "[NS/]PREFIX", "Pod of this node at either end; without NS/, namespace default"),
        flag("endpoint", "ID", "Endpoint of this node at either end").value_parser(value_parser!(u16)),
        flag("state", "STATE", "Where the connection stands").value_parser(states),
        flag("kind", "KIND", "What the entry is for").value_parser(kinds),
        Arg::new("map").long("map").value_name("NAME").help("Only maps with this in their name: any4, ct6"),
        listing::switch("expired", "Only entries whose time is up and that nobody has removed"),
    ];
    args.into_iter().map(|arg| arg.help_heading(FILTERS)).collect()
}

fn wanted(matches: &ArgMatches) -> CtWanted {
    let texts = |name| matches.get_many::<String>(name).into_iter().flatten();
    let state = |text: &String| State::ALL.into_iter().find(|state| state.name() == text);
    let kind = |text: &String| Kind::ALL.into_iter().find(|kind| kind.name() == text);
    CtWanted {
        nets: many(matches, "ip"),
        ports: many(matches, "port"),
        protocols: many::<Vec<u8>>(matches, "protocol").concat(),
        identities: many::<u32>(matches, "identity").into_iter().map(Identity).collect(),
        pods: texts("pod").map(|text| PodPattern::new(text)).collect(),
        endpoints: many::<u16>(matches, "endpoint").into_iter().map(EndpointId).collect(),
        states: texts("state").filter_map(state).collect(),
        kinds: texts("kind").filter_map(kind).collect(),
        map: matches.get_one::<String>("map").cloned(),
        expired: matches.get_flag("expired"),
    }
}

fn many<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Vec<T> {
    matches.get_many::<T>(name).into_iter().flatten().cloned().collect()
}

fn properties(matches: &ArgMatches) -> Vec<Property> {
    matches
        .get_many::<String>("by")
        .into_iter()
        .flatten()
        .filter_map(|text| Property::by_name(text))
        .collect()
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let plan = match matches.subcommand() {
        Some((LIST, matches)) => CtPlan::List(list_plan(matches)?),
        Some((COUNT, matches)) => CtPlan::Count(CountPlan {
            wanted: wanted(matches),
            by: properties(matches),
            listing: listing::options(matches, usage::COLUMNS)?,
        }),
        Some((TOP, matches)) => CtPlan::Top(TopPlan {
            wanted: wanted(matches),
            by: properties(matches).first().copied().unwrap_or(Property::Pod),
            count: matches.get_one("count").map_or(10, |count: &NonZeroUsize| count.get()),
            listing: listing::options(matches, counted::COLUMNS)?,
        }),
        Some((GET, matches)) => CtPlan::Get(get_plan(matches)?),
        _ => return Err(UsageError("ct: no command given".to_owned())),
    };
    Ok(Plan::Ct(Box::new(plan)))
}

pub(super) fn list_plan(matches: &ArgMatches) -> Result<ListPlan, UsageError> {
    Ok(ListPlan {
        wanted: wanted(matches),
        time_diff: matches.get_flag("time-diff"),
        listing: listing::options(matches, ct::COLUMNS)?,
    })
}

fn get_plan(matches: &ArgMatches) -> Result<GetPlan, UsageError> {
    let end = |name: &str| {
        matches.get_one(name).copied().ok_or_else(|| UsageError(format!("ct get: no {name} given")))
    };
    let (source, destination): (SocketAddr, SocketAddr) = (end("source")?, end("destination")?);
    if matches!(
        (source.ip(), destination.ip()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_))
    ) {
        return Err(UsageError(format!(
            "ct get: `{source}` and `{destination}` are of different IP versions"
        )));
    }
    Ok(GetPlan {
        source,
        destination,
        protocols: many::<Vec<u8>>(matches, "protocol").concat(),
        listing: listing::options(matches, ct::COLUMNS)?,
    })
}
