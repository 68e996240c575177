//! Options that every command has.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::UsageError;
use crate::output::color::ColorChoice;

/// What the options before the command mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Global {
    /// Where the BPF file system is mounted, if not where it is usually found.
    pub bpffs: Option<PathBuf>,
    /// The agent's state directory, if not where it is usually found.
    pub state_dir: Option<PathBuf>,
    /// Where the node's file system is seen, if not at `/`.
    pub host_root: Option<PathBuf>,
    /// A node that was saved, instead of this one.
    pub snapshot: Option<PathBuf>,
    pub color: ColorChoice,
    /// No banner, no warnings, no summary.
    pub quiet: bool,
    /// Diagnostics of tracer itself and of its eBPF programs on stderr.
    pub debug: bool,
}

const HEADING: &str = "Global options";

pub(super) fn args() -> [Arg; 7] {
    let directory = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("DIR").value_parser(value_parser!(PathBuf)).help(help)
    };
    [
        directory("bpffs", "BPF file system with Cilium's pinned maps [default: found by itself]"),
        directory("state-dir", "State directory of the Cilium agent [default: found by itself]"),
        directory(
            "host-root",
            "Where the node's root file system is mounted [default: /, then /host, then /proc/1/root]",
        ),
        Arg::new("snapshot")
            .long("snapshot")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Ask the node that `tracer snapshot` saved in FILE, instead of this one"),
        Arg::new("color")
            .long("color")
            .value_name("WHEN")
            .value_parser(PossibleValuesParser::new(["auto", "always", "never"]))
            .default_value("auto")
            .help("Colour the text output; auto: on a terminal, unless NO_COLOR is set"),
        Arg::new("quiet")
            .short('q')
            .long("quiet")
            .action(ArgAction::SetTrue)
            .help("Print no banner, no warnings and no closing summary"),
        Arg::new("debug")
            .short('D')
            .long("debug")
            .action(ArgAction::SetTrue)
            .help("Print diagnostics of tracer and its eBPF programs"),
    ]
    .map(|arg| arg.global(true).help_heading(HEADING))
}

impl Global {
    /// A saved node has its places in the file.
    pub(super) fn check(&self) -> Result<(), UsageError> {
        let place = [("bpffs", &self.bpffs), ("state-dir", &self.state_dir), ("host-root", &self.host_root)];
        match place.iter().find(|(_, place)| self.snapshot.is_some() && place.is_some()) {
            Some((name, _)) => Err(UsageError(format!("--snapshot and --{name}: only one of them"))),
            None => Ok(()),
        }
    }

    pub(super) fn from_matches(matches: &ArgMatches) -> Self {
        let directory = |name| matches.get_one::<PathBuf>(name).cloned();
        Self {
            bpffs: directory("bpffs"),
            state_dir: directory("state-dir"),
            host_root: directory("host-root"),
            snapshot: directory("snapshot"),
            color: match matches.get_one::<String>("color").map(String::as_str) {
                Some("always") => ColorChoice::Always,
                Some("never") => ColorChoice::Never,
                _ => ColorChoice::Auto,
            },
            quiet: matches.get_flag("quiet"),
            debug: matches.get_flag("debug"),
        }
    }
}
