//! Commands that print a document and touch nothing: `schema`, `completion`, `man`, `manifest`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::{Plan, UsageError, listing};
use crate::manifest::{Kind, Settings};
use crate::schema;

/// What to print.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// The schema of one output, or of all.
    Schema(Option<String>),
    Completion(Shell),
    /// The page of `tracer`, or all pages as files of a directory.
    Man(Option<PathBuf>),
    Manifest(Kind, Settings),
}

pub(super) fn schema_command() -> Command {
    Command::new("schema").about("Prints the JSON Schema of tracer's JSON output").arg(
        Arg::new("output")
            .value_name("OUTPUT")
            .value_parser(PossibleValuesParser::new(schema::OUTPUTS))
            .help("One kind of output, by its command; without it: a document with all definitions"),
    )
}

pub(super) fn schema_plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    Ok(document(Document::Schema(matches.get_one::<String>("output").cloned())))
}

pub(super) fn completion_command() -> Command {
    Command::new("completion")
        .about("Prints a shell's completion script")
        .arg(Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell)))
}

pub(super) fn completion_plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let shell = matches.get_one::<Shell>("shell").copied();
    let shell = shell.ok_or_else(|| UsageError("completion: which shell?".to_owned()))?;
    Ok(document(Document::Completion(shell)))
}

pub(super) fn man_command() -> Command {
    Command::new("man").about("Prints the manual page").arg(
        Arg::new("dir")
            .long("dir")
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .help("Write a page for every command into DIR instead"),
    )
}

pub(super) fn man_plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    Ok(document(Document::Man(matches.get_one::<PathBuf>("dir").cloned())))
}

pub(super) fn manifest_command() -> Command {
    let text = |name: &'static str, value: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).default_value(default).help(help)
    };
    Command::new("manifest")
        .about("Prints Kubernetes YAML that runs tracer with the least rights")
        .arg(
            Arg::new("kind")
                .value_name("KIND")
                .value_parser(PossibleValuesParser::new(Kind::NAMES))
                .default_value("daemonset")
                .help(
                    "pod: on one node; daemonset: on every node; debug-profile: for kubectl debug --custom",
                ),
        )
        .arg(text("image", "IMAGE", "tracer:latest", "Image to run"))
        .arg(text("name", "NAME", "tracer", "Name of the object"))
        .arg(text("namespace", "NS", "kube-system", "Namespace of the object"))
        .arg(
            Arg::new("node")
                .long("node")
                .value_name("NODE")
                .help("Node of the pod (pod only, and needed there)"),
        )
        .arg(listing::switch(
            "symbols",
            "Add the capability SYSLOG: symbols of the kernel instead of addresses",
        ))
        .arg(listing::switch("selinux", "Run as spc_t, which nodes that enforce SELinux need"))
        .arg(
            Arg::new("args")
                .value_name("ARGS")
                .last(true)
                .num_args(1..)
                .help("What tracer is to do [default: drops -o json]"),
        )
}

pub(super) fn manifest_plan(matches: &ArgMatches) -> Result<Plan, UsageError> {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let kind = Kind::by_name(&text("kind")).ok_or_else(|| UsageError("manifest: which kind?".to_owned()))?;
    let args: Vec<String> = matches.get_many::<String>("args").unwrap_or_default().cloned().collect();
    let settings = Settings {
        name: label("--name", text("name"))?,
        namespace: label("--namespace", text("namespace"))?,
        image: text("image"),
        node: matches.get_one::<String>("node").cloned(),
        symbols: matches.get_flag("symbols"),
        selinux: matches.get_flag("selinux"),
        args: if args.is_empty() { crate::manifest::default_args() } else { args },
    };
    match (kind, &settings.node) {
        (Kind::Pod, None) => Err(UsageError("manifest pod: which node? --node NODE".to_owned())),
        (Kind::Daemonset | Kind::DebugProfile, Some(_)) => {
            Err(UsageError("--node: only a pod runs on one node".to_owned()))
        }
        _ => Ok(document(Document::Manifest(kind, settings))),
    }
}

/// A name as Kubernetes wants it: lower-case letters, digits and `-`, at most 63, no `-` at the ends.
fn label(flag: &str, text: String) -> Result<String, UsageError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_label = !text.is_empty() && text.len() <= 63 && text.chars().all(allowed);
    match is_label && !text.starts_with('-') && !text.ends_with('-') {
        true => Ok(text),
        false => Err(UsageError(format!(
            "{flag}: expected lower-case letters, digits and `-` (at most 63), found {text:?}"
        ))),
    }
}

fn document(document: Document) -> Plan {
    Plan::Document(Box::new(document))
}
