//! `tracer bpf …`: the spellings of `cilium-dbg bpf`, hidden. Each becomes the command line of tracer's own
//! command for the same thing, in cilium-dbg's text columns unless another format is asked for.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Plan, Refusal, UsageError, plan as native_plan};

/// One spelling: the words behind `bpf`, those of our own command, and what else may follow.
struct Alias {
    words: &'static [&'static str],
    native: &'static [&'static str],
    arguments: &'static [Argument],
}

enum Argument {
    /// Handed on as it is.
    Value { name: &'static str, required: bool },
    /// Must be this word, which says what our own command does anyway.
    Word { name: &'static str, known: &'static str },
    /// A switch, and the words it stands for.
    Switch { long: &'static str, short: Option<char>, native: &'static [&'static str] },
}

/// A switch that our own command calls the same.
const fn same(long: &'static str, native: &'static [&'static str]) -> Argument {
    Argument::Switch { long, short: None, native }
}

const ALIASES: &[Alias] = &[
    Alias {
        words: &["policy", "get"],
        native: &["policy", "get"],
        arguments: &[
            Argument::Value { name: "ENDPOINT", required: true },
            Argument::Switch { long: "numeric", short: Some('n'), native: &["--numeric"] },
        ],
    },
    Alias { words: &["ipcache", "list"], native: &["ipcache", "list"], arguments: &[] },
    Alias {
        words: &["ipcache", "get"],
        native: &["ipcache", "get"],
        arguments: &[Argument::Value { name: "IP", required: true }],
    },
    Alias { words: &["endpoint", "list"], native: &["endpoints", "list"], arguments: &[] },
    Alias { words: &["metrics", "list"], native: &["metrics"], arguments: &[] },
    Alias {
        words: &["ct", "list"],
        native: &["ct", "list"],
        arguments: &[
            Argument::Word { name: "SCOPE", known: "global" },
            Argument::Switch { long: "time-diff", short: Some('d'), native: &["--time-diff"] },
        ],
    },
    Alias { words: &["nat", "list"], native: &["nat", "list"], arguments: &[] },
    Alias {
        words: &["lb", "list"],
        native: &["lb", "list"],
        arguments: &[
            same("revnat", &["--revnat"]),
            same("frontends", &["--frontends"]),
            same("backends", &["--backends"]),
            same("source-ranges", &["--source-ranges"]),
        ],
    },
    Alias { words: &["lb", "maglev", "list"], native: &["lb", "list", "--maglev"], arguments: &[] },
];

pub(super) fn command() -> Command {
    let about = "The spellings of cilium-dbg";
    bare("bpf").about(about).hide(true).subcommands(branches(&ALIASES.iter().collect::<Vec<_>>(), 0))
}

/// The commands behind the first `depth` words, which these aliases share.
fn branches(aliases: &[&'static Alias], depth: usize) -> Vec<Command> {
    let mut names: Vec<&'static str> = aliases.iter().map(|alias| alias.words[depth]).collect();
    names.dedup();
    let branch = |name: &'static str| {
        let members: Vec<_> = aliases.iter().copied().filter(|alias| alias.words[depth] == name).collect();
        match members.as_slice() {
            [alias] if alias.words.len() == depth + 1 => alias.command(name),
            _ => bare(name).subcommands(branches(&members, depth + 1)),
        }
    };
    names.into_iter().map(branch).collect()
}

fn bare(name: &'static str) -> Command {
    Command::new(name).subcommand_required(true).arg_required_else_help(true).disable_help_subcommand(true)
}

impl Alias {
    fn command(&self, name: &'static str) -> Command {
        let output = Arg::new("output").short('o').long("output").value_name("FORMAT");
        let command = Command::new(name).arg(output.help("json, yaml, or another of our formats"));
        let command = if name == "list" { command.alias("ls") } else { command };
        command.args(self.arguments.iter().map(Argument::arg))
    }

    /// The words of our own command.
    fn line(&self, matches: &ArgMatches) -> Vec<OsString> {
        let format = matches.get_one::<String>("output").map_or("cilium", String::as_str);
        let mut words: Vec<OsString> = ["tracer"].iter().chain(self.native).map(OsString::from).collect();
        words.extend(["-o", format].map(OsString::from));
        self.arguments.iter().for_each(|argument| argument.line(matches, &mut words));
        words
    }
}

impl Argument {
    fn arg(&self) -> Arg {
        match self {
            Self::Value { name, required } => Arg::new(*name).value_name(*name).required(*required),
            Self::Word { name, known } => {
                Arg::new(*name).value_name(*name).required(true).value_parser([*known])
            }
            Self::Switch { long, short, .. } => {
                let arg = Arg::new(*long).long(*long).action(ArgAction::SetTrue);
                match short {
                    Some(short) => arg.short(*short),
                    None => arg,
                }
            }
        }
    }

    fn line(&self, matches: &ArgMatches, words: &mut Vec<OsString>) {
        match self {
            Self::Value { name, .. } => words.extend(matches.get_one::<String>(name).map(OsString::from)),
            Self::Switch { long, native, .. } if matches.get_flag(long) => {
                words.extend(native.iter().map(OsString::from));
            }
            Self::Switch { .. } | Self::Word { .. } => {}
        }
    }
}

pub(super) fn plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let (mut words, mut matches) = (Vec::new(), matches);
    while let Some((word, rest)) = matches.subcommand() {
        words.push(word);
        matches = rest;
    }
    let alias = ALIASES.iter().find(|alias| alias.words == words.as_slice());
    let alias = alias.ok_or_else(|| UsageError("bpf: no command given".to_owned()))?;
    let native = super::command().try_get_matches_from(alias.line(matches)).map_err(refused)?;
    native_plan(&native)
}

fn refused(error: clap::Error) -> UsageError {
    let text = Refusal::from(error).to_string();
    UsageError(text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::endpoint::EndpointName;
    use super::super::lb::{LbPlan, View};
    use super::super::parse;
    use super::super::policy::PolicyPlan;
    use super::*;
    use crate::output::listing::ListFormat;

    fn plan(line: &str) -> Result<Plan, String> {
        let words = line.split(' ').map(OsString::from);
        parse(words).map(|invocation| invocation.plan).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn spellings_of_cilium_dbg_mean_our_own_commands() {
        let Ok(Plan::Policy(found)) = plan("tracer bpf policy get 260 -n") else { panic!("no policy plan") };
        let PolicyPlan::Get { endpoint, listing } = *found else { panic!("not get") };
        assert_eq!(endpoint, EndpointName::Id(tracer_common::id::EndpointId(260)));
        assert_eq!((listing.numeric, listing.format), (true, ListFormat::Cilium));
        for line in [
            "tracer bpf ipcache list",
            "tracer bpf ipcache ls -o json",
            "tracer bpf ipcache get 10.0.0.1",
            "tracer bpf endpoint list",
            "tracer bpf metrics list -o json",
            "tracer bpf nat list",
            "tracer bpf lb list",
            "tracer bpf lb ls --source-ranges",
            "tracer bpf lb maglev list -o json",
        ] {
            assert!(plan(line).is_ok(), "{line}: {:?}", plan(line));
        }
    }

    #[test]
    fn a_switch_of_cilium_dbg_chooses_the_map() {
        for (line, view) in [
            ("tracer bpf lb list", View::Services),
            ("tracer bpf lb list --frontends", View::Slots),
            ("tracer bpf lb list --backends", View::Backends),
            ("tracer bpf lb list --revnat", View::ReverseNat),
            ("tracer bpf lb maglev list", View::Maglev),
        ] {
            let Ok(Plan::Lb(found)) = plan(line) else { panic!("{line}: no lb plan") };
            let LbPlan::List(found) = *found else { panic!("{line}: not list") };
            assert_eq!((found.view, found.listing.format), (view, ListFormat::Cilium), "{line}");
        }
    }

    #[test]
    fn wrong_arguments_are_told_as_by_our_own_commands() {
        let text = plan("tracer bpf ipcache get nobody").unwrap_err();
        assert!(text.starts_with("error: invalid value 'nobody' for '<IP>'"), "{text}");
        assert!(plan("tracer bpf policy get").is_err());
    }
}
