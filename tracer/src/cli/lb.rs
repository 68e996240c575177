//! `tracer lb`: the load balancer. Its commands, and the [`LbPlan`] that they mean.

use std::net::{IpAddr, SocketAddr};

use clap::{Arg, ArgGroup, ArgMatches, Command};

use super::rows::vendor_options;
use super::{Plan, UsageError, listing};
use crate::filter::build::parse_protocol;
use crate::output::lb as rows;
use crate::output::listing::{Column, ListingOptions};

/// What `tracer lb` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum LbPlan {
    List(ListPlan),
    Get(GetPlan),
    Check(ListingOptions),
}

#[derive(Clone, Debug, PartialEq)]
pub struct ListPlan {
    pub listing: ListingOptions,
    pub view: View,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GetPlan {
    pub listing: ListingOptions,
    pub address: SocketAddr,
    /// `None`: all of them.
    pub protocol: Option<u8>,
}

/// Which map `lb list` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Frontends with their backends.
    Services,
    /// Every entry of the services maps as it is.
    Slots,
    Backends,
    ReverseNat,
    SourceRanges,
    Affinity,
    Sockets,
    Health,
    Skip,
    Maglev,
}

/// Flag, view, help.
const VIEWS: [(&str, View, &str); 9] = [
    ("frontends", View::Slots, "Every entry of the services maps as it is"),
    ("backends", View::Backends, "Backends with their state"),
    ("revnat", View::ReverseNat, "Frontends by service id: what replies are translated to"),
    ("source-ranges", View::SourceRanges, "Clients that a service lets in, or keeps out"),
    ("affinity", View::Affinity, "Clients that stay with a backend"),
    ("sockets", View::Sockets, "Sockets that were connected to a backend in place of a frontend"),
    ("health", View::Health, "Sockets that check the health of a backend"),
    ("skip", View::Skip, "Frontends that are not balanced for a network namespace"),
    ("maglev", View::Maglev, "Share of each backend in the Maglev tables (needs CAP_SYS_ADMIN)"),
];

impl View {
    pub const fn columns(self) -> &'static [Column] {
        match self {
            Self::Services => rows::LIST_COLUMNS,
            Self::Slots => rows::SLOT_COLUMNS,
            Self::Backends => rows::BACKEND_COLUMNS,
            Self::ReverseNat => rows::REVERSE_NAT_COLUMNS,
            Self::SourceRanges => rows::SOURCE_RANGE_COLUMNS,
            Self::Affinity => rows::AFFINITY_COLUMNS,
            Self::Sockets => rows::SOCKET_COLUMNS,
            Self::Health => rows::HEALTH_COLUMNS,
            Self::Skip => rows::SKIP_COLUMNS,
            Self::Maglev => rows::MAGLEV_COLUMNS,
        }
    }
}

impl View {
    /// The columns that cilium-dbg has for it, or else ours.
    pub const fn vendor_columns(self) -> &'static [Column] {
        match self {
            Self::Services => rows::VENDOR_COLUMNS,
            Self::Slots => rows::VENDOR_SLOT_COLUMNS,
            Self::Backends | Self::ReverseNat => rows::VENDOR_ID_COLUMNS,
            Self::SourceRanges => rows::VENDOR_SOURCE_RANGE_COLUMNS,
            other => other.columns(),
        }
    }
}

const LIST: &str = "list";
const GET: &str = "get";
const CHECK: &str = "check";

pub(super) fn command() -> Command {
    Command::new("lb")
        .about("Shows the load balancer: frontends, backends, what is wrong with them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommands([list_command(), get_command(), check_command()])
}

fn list_command() -> Command {
    Command::new(LIST)
        .about("Lists frontends with their backends, or one of the other maps")
        .args(listing::args(rows::LIST_COLUMNS, true))
        .arg(listing::numeric())
        .args(VIEWS.map(|(name, _, help)| listing::switch(name, help).help_heading("Other maps")))
        .group(ArgGroup::new("view").args(VIEWS.map(|(name, ..)| name)).multiple(false))
}

fn get_command() -> Command {
    Command::new(GET)
        .about("Shows one frontend")
        .arg(
            Arg::new("frontend")
                .value_name("IP:PORT[/PROTO]")
                .required(true)
                .help("Frontend, such as 10.96.0.10:53/udp or [fd00::10]:80"),
        )
        .args(listing::args(rows::LIST_COLUMNS, true))
        .arg(listing::numeric())
}

fn check_command() -> Command {
    Command::new(CHECK)
        .about("Looks for what is wrong with frontends and backends; exit code 7 if there is an error")
        .args(listing::args(rows::CHECK_COLUMNS, false))
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let plan = match matches.subcommand() {
        Some((LIST, matches)) => {
            let view = VIEWS.iter().find(|(name, ..)| matches.get_flag(name));
            let view = view.map_or(View::Services, |(_, view, _)| *view);
            LbPlan::List(ListPlan { listing: vendor_options(matches, view.columns())?, view })
        }
        Some((GET, matches)) => {
            let text = matches.get_one::<String>("frontend").map_or("", String::as_str);
            let (address, protocol) = frontend(text)?;
            LbPlan::Get(GetPlan { listing: vendor_options(matches, rows::LIST_COLUMNS)?, address, protocol })
        }
        Some((CHECK, matches)) => LbPlan::Check(listing::options(matches, rows::CHECK_COLUMNS)?),
        _ => return Err(UsageError("lb: no command given".to_owned())),
    };
    Ok(Plan::Lb(Box::new(plan)))
}

/// `IP:PORT[/PROTO]`.
fn frontend(text: &str) -> Result<(SocketAddr, Option<u8>), UsageError> {
    let wrong = |why: &str| UsageError(format!("`{text}`: {why}"));
    let (address, protocol) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
    let protocol = match protocol {
        None => None,
        Some(name) if name.eq_ignore_ascii_case("any") => Some(0),
        Some(name) => parse_protocol(name).map_err(|why| wrong(&why))?.first().copied(),
    };
    match address.parse::<SocketAddr>() {
        Ok(address) => Ok((address, protocol)),
        Err(_) if address.parse::<IpAddr>().is_ok() => {
            Err(wrong("the port is missing: expected IP:PORT[/PROTO]"))
        }
        Err(_) => Err(wrong("expected IP:PORT[/PROTO], IPv6 in brackets")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse;

    fn plan(line: &str) -> Result<LbPlan, String> {
        let args = std::iter::once("tracer").chain(line.split_whitespace()).map(Into::into);
        match parse(args) {
            Ok(invocation) => match invocation.plan {
                Plan::Lb(plan) => Ok(*plan),
                other => Err(format!("{other:?}")),
            },
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    #[test]
    fn each_view_has_its_own_columns_to_sort_by() {
        let Ok(LbPlan::List(found)) = plan("lb list --backends --sort state") else { panic!() };
        assert_eq!(found.view, View::Backends);
        assert!(plan("lb list --sort state").unwrap_err().contains("--sort: no column `state`"));
        assert!(plan("lb list --backends --revnat").unwrap_err().contains("cannot be used with"));
    }

    #[test]
    fn a_frontend_is_address_port_and_protocol() {
        for (text, address, protocol) in [
            ("10.96.0.10:53/udp", "10.96.0.10:53", Some(17)),
            ("10.96.0.10:53", "10.96.0.10:53", None),
            ("[fd00::10]:80/any", "[fd00::10]:80", Some(0)),
        ] {
            assert_eq!(frontend(text), Ok((address.parse().unwrap(), protocol)));
        }
        assert!(frontend("10.96.0.10").unwrap_err().0.contains("the port is missing"));
        assert!(frontend("web:80").unwrap_err().0.contains("expected IP:PORT[/PROTO]"));
        assert!(frontend("10.0.0.1:80/xyz").is_err());
    }
}
