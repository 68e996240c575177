//! `tracer serve`: its command line, and the [`ServePlan`] that it means.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::drops::{self, DropsPlan};
use super::record::{self, RecordPlan};
use super::{Plan, UsageError, size};
use crate::record::Limits;
use crate::serve::tls::TlsFiles;

/// Where the socket is if nobody says otherwise.
pub const SOCKET: &str = "/run/tracer/hubble.sock";
/// Flows that are kept, as many as Hubble keeps.
const MAX_FLOWS: &str = "4095";

/// What `tracer serve` was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct ServePlan {
    /// What to watch.
    pub watch: DropsPlan,
    pub socket: PathBuf,
    /// Name or number of a group that may connect, too.
    pub group: Option<String>,
    pub tcp: Option<TcpPlan>,
    /// Where Prometheus asks.
    pub metrics: Option<SocketAddr>,
    pub max_flows: NonZeroU32,
}

/// The TCP listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpPlan {
    pub address: SocketAddr,
    /// `None`: in the clear.
    pub tls: Option<TlsFiles>,
}

const LISTEN: &str = "Where to listen";

pub(super) fn command() -> Command {
    Command::new("serve")
        .about("Serves drops to the hubble CLI, hubble-relay and Prometheus")
        .before_help(ABOUT)
        .args(listen_args())
        .arg(
            Arg::new("flows")
                .long("flows")
                .action(ArgAction::SetTrue)
                .help("Serve trace and policy-verdict messages, too, not only drops"),
        )
        .args(record_args())
        .args(drops::watch_args())
        .after_help(EXAMPLES)
}

const ABOUT: &str = "\
Keeps the last drops and answers Hubble's Observer service on a unix socket, with or without a live agent.
SIGHUP reads the certificates again; SIGINT and SIGTERM end it.";

const EXAMPLES: &str = "\
Examples:
  tracer serve                                     on /run/tracer/hubble.sock, for root only
  hubble --server unix:///run/tracer/hubble.sock observe --follow
  tracer serve --metrics 0.0.0.0:9977              figures for Prometheus at /metrics
  tracer serve --listen 0.0.0.0:4244 --tls-cert tls.crt --tls-key tls.key --tls-client-ca ca.crt";

fn record_args() -> [Arg; 2] {
    [
        Arg::new("record")
            .long("record")
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .help("Keep the drops in this directory, too, for `tracer replay`"),
        Arg::new("record-max-size")
            .long("record-max-size")
            .value_name("SIZE")
            .requires("record")
            .default_value("256MiB")
            .value_parser(size::parse)
            .help("Remove the oldest part before the recording grows beyond this (at least 1MiB)"),
    ]
    .map(|arg| arg.help_heading("Recording"))
}

fn listen_args() -> [Arg; 9] {
    let address = |name: &'static str| {
        Arg::new(name).long(name).value_name("ADDR:PORT").value_parser(value_parser!(SocketAddr))
    };
    let file = |name: &'static str| {
        Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).requires("listen")
    };
    [
        Arg::new("socket")
            .long("socket")
            .value_name("PATH")
            .default_value(SOCKET)
            .value_parser(value_parser!(PathBuf))
            .help("Unix socket of the Hubble services"),
        Arg::new("group").long("group").value_name("GROUP").help("Let this group use the socket, too"),
        address("listen").help("Serve Hubble on TCP, too; with TLS unless --plaintext"),
        file("tls-cert").requires("tls-key").help("Certificate chain in PEM form"),
        file("tls-key").requires("tls-cert").help("Private key in PEM form"),
        file("tls-client-ca").requires("tls-cert").help("Accept clients with a certificate of this CA only"),
        Arg::new("plaintext")
            .long("plaintext")
            .action(ArgAction::SetTrue)
            .requires("listen")
            .conflicts_with("tls-cert")
            .help("Serve on TCP without TLS: everybody who gets there can read and change what is sent"),
        address("metrics").help("Serve /metrics, /healthz and /readyz over HTTP"),
        Arg::new("max-flows")
            .long("max-flows")
            .value_name("N")
            .default_value(MAX_FLOWS)
            .value_parser(value_parser!(NonZeroU32))
            .help("Flows to keep"),
    ]
    .map(|arg| arg.help_heading(LISTEN))
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    Ok(Plan::Serve(Box::new(ServePlan {
        watch: DropsPlan {
            record: record(matches)?,
            flows: matches.get_flag("flows"),
            ..drops::watch_plan(matches)
        },
        socket: matches.get_one::<PathBuf>("socket").cloned().unwrap_or_else(|| SOCKET.into()),
        group: matches.get_one::<String>("group").cloned(),
        tcp: tcp(matches)?,
        metrics: matches.get_one::<SocketAddr>("metrics").copied(),
        max_flows: matches.get_one::<NonZeroU32>("max-flows").copied().unwrap_or(NonZeroU32::MIN),
    })))
}

fn record(matches: &ArgMatches) -> Result<Option<RecordPlan>, UsageError> {
    let Some(directory) = matches.get_one::<PathBuf>("record").cloned() else { return Ok(None) };
    let max_bytes = matches.get_one::<u64>("record-max-size").copied().unwrap_or(record::MIN_BYTES);
    if max_bytes < record::MIN_BYTES {
        return Err(UsageError("--record-max-size: at least 1MiB".to_owned()));
    }
    Ok(Some(RecordPlan { directory, limits: Limits { max_bytes, max_age: None }, is_patient: true }))
}

fn tcp(matches: &ArgMatches) -> Result<Option<TcpPlan>, UsageError> {
    let Some(address) = matches.get_one::<SocketAddr>("listen").copied() else { return Ok(None) };
    let file = |name| matches.get_one::<PathBuf>(name).cloned();
    let tls = match (file("tls-cert"), file("tls-key")) {
        (Some(certificate), Some(key)) => {
            Some(TlsFiles { certificate, key, client_ca: file("tls-client-ca") })
        }
        _ if matches.get_flag("plaintext") => None,
        _ => return Err(UsageError("--listen needs --tls-cert and --tls-key, or --plaintext".to_owned())),
    };
    Ok(Some(TcpPlan { address, tls }))
}
