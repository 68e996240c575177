//! `tracer nat`: source NAT. Its commands, and the [`NatPlan`] that they mean.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Plan, UsageError, listing};
use crate::cilium::nat::Direction;
use crate::filter::build::parse_protocol;
use crate::filter::pattern::{Net, PodPattern, PortRange};
use crate::output::listing::ListingOptions;
use crate::output::nat::{LIST_COLUMNS, ORPHAN_COLUMNS, PORTS_COLUMNS};

/// What `tracer nat` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum NatPlan {
    List(ListPlan),
    Ports(PortsPlan),
    Orphans(ListPlan),
}

/// Which entries are wanted: different conditions must all hold, of several values of one any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NatFilter {
    pub nets: Vec<Net>,
    pub ports: Vec<PortRange>,
    pub protocols: Vec<u8>,
    pub pods: Vec<PodPattern>,
    pub direction: Option<Direction>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ListPlan {
    pub listing: ListingOptions,
    pub filter: NatFilter,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PortsPlan {
    pub listing: ListingOptions,
    pub filter: NatFilter,
    /// Per cent; more makes the exit code 7.
    pub max_failure: Option<f64>,
}

const LIST: &str = "list";
const PORTS: &str = "ports";
const ORPHANS: &str = "orphans";

pub(super) fn command() -> Command {
    Command::new("nat")
        .about("Shows source NAT: translations, ports in use, halves without partner")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommands([list_command(), ports_command(), orphans_command()])
}

fn list_command() -> Command {
    Command::new(LIST)
        .about("Lists translations")
        .args(listing::args(LIST_COLUMNS, true))
        .args(filters())
        .arg(listing::numeric())
        .arg(direction())
}

fn ports_command() -> Command {
    let help =
        "Exit with 7 when the next connection to any destination fails with a higher chance, in per cent";
    Command::new(PORTS)
        .about("Shows, per egress address and destination, the ports in use and how likely the next connection fails")
        .args(listing::args(PORTS_COLUMNS, false))
        .args(filters())
        .arg(listing::numeric())
        .arg(Arg::new("max-failure").long("max-failure").value_name("P%").help(help))
}

fn orphans_command() -> Command {
    Command::new(ORPHANS)
        .about("Lists halves of translations without the other half, and translations without connection")
        .args(listing::args(ORPHAN_COLUMNS, true))
        .args(filters())
        .arg(listing::numeric())
        .arg(direction())
}

fn filters() -> [Arg; 4] {
    let many = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .action(ArgAction::Append)
            .help(help)
            .help_heading("Filters (repeat: any; different ones: all)")
    };
    [
        many("ip", "IP|CIDR", "Source, destination or translated address"),
        many("port", "PORT", "Source, destination or translated port, or a range"),
        many("protocol", "PROTO", "tcp, udp, sctp, icmp, icmpv4, icmpv6 or an IP protocol number"),
        many("pod", "[NS/]NAME", "Pod of this node whose connection it is, by the start of its name"),
    ]
}

fn direction() -> Arg {
    Arg::new("direction")
        .long("direction")
        .value_name("DIRECTION")
        .value_parser(PossibleValuesParser::new(["out", "in"]))
        .help("Only halves for packets that leave (out) or come back (in)")
        .help_heading("Filters (repeat: any; different ones: all)")
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let plan = match matches.subcommand() {
        Some((LIST, matches)) => NatPlan::List(list_plan(matches, LIST_COLUMNS)?),
        Some((ORPHANS, matches)) => NatPlan::Orphans(list_plan(matches, ORPHAN_COLUMNS)?),
        Some((PORTS, matches)) => NatPlan::Ports(PortsPlan {
            listing: listing::options(matches, PORTS_COLUMNS)?,
            filter: filter(matches)?,
            max_failure: matches.get_one::<String>("max-failure").map(|text| percent(text)).transpose()?,
        }),
        _ => return Err(UsageError("nat: no command given".to_owned())),
    };
    Ok(Plan::Nat(Box::new(plan)))
}

fn list_plan(
    matches: &ArgMatches,
    columns: &[crate::output::listing::Column],
) -> Result<ListPlan, UsageError> {
    Ok(ListPlan { listing: listing::options(matches, columns)?, filter: filter(matches)? })
}

fn filter(matches: &ArgMatches) -> Result<NatFilter, UsageError> {
    let mut protocols = Vec::new();
    for text in texts(matches, "protocol") {
        protocols.extend(parse_protocol(text).map_err(|why| wrong("protocol", text, &why))?);
    }
    let direction = matches.try_get_one::<String>("direction").ok().flatten();
    Ok(NatFilter {
        nets: parsed(matches, "ip")?,
        ports: parsed(matches, "port")?,
        protocols,
        pods: texts(matches, "pod").map(PodPattern::new).collect(),
        direction: direction.map(|text| if text == "in" { Direction::In } else { Direction::Out }),
    })
}

fn texts<'a>(matches: &'a ArgMatches, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    matches.get_many::<String>(name).into_iter().flatten().map(String::as_str)
}

fn parsed<T: std::str::FromStr<Err = &'static str>>(
    matches: &ArgMatches,
    name: &str,
) -> Result<Vec<T>, UsageError> {
    texts(matches, name).map(|text| text.parse().map_err(|why| wrong(name, text, why))).collect()
}

fn wrong(flag: &str, text: &str, why: &str) -> UsageError {
    UsageError(format!("--{flag} `{text}`: {why}"))
}

fn percent(text: &str) -> Result<f64, UsageError> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>().ok();
    number
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| wrong("max-failure", text, "expected per cent, 0 to 100, such as 5%"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse;

    fn plan(line: &str) -> Result<NatPlan, String> {
        let args = std::iter::once("tracer").chain(line.split_whitespace()).map(Into::into);
        match parse(args) {
            Ok(invocation) => match invocation.plan {
                Plan::Nat(plan) => Ok(*plan),
                other => Err(format!("{other:?}")),
            },
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    #[test]
    fn filters_are_understood_before_any_work_starts() {
        let Ok(NatPlan::List(plan)) =
            plan("nat list --ip 10.0.0.0/8 --port 443 --protocol tcp --pod prod/shop --direction in")
        else {
            panic!("not understood");
        };
        assert_eq!(plan.filter.nets, ["10.0.0.0/8".parse::<Net>().unwrap()]);
        assert_eq!(plan.filter.protocols, [6]);
        assert_eq!(plan.filter.direction, Some(Direction::In));
        assert_eq!(plan.filter.pods, [PodPattern::new("prod/shop")]);
    }

    #[test]
    fn what_is_no_address_port_or_share_is_one_line() {
        for (line, expected) in [
            ("nat list --ip nonsense", "--ip `nonsense`: expected an IP address or a CIDR"),
            ("nat list --port 70000", "--port `70000`: expected a port"),
            ("nat ports --max-failure 101", "--max-failure `101`: expected per cent"),
            ("nat list --sort nothing", "--sort: no column `nothing`"),
        ] {
            let error = plan(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
        let Ok(NatPlan::Ports(plan)) = plan("nat ports --max-failure 2.5%") else { panic!() };
        assert_eq!(plan.max_failure, Some(2.5));
    }
}
