//! Flags that all listings of maps share.

use std::num::NonZeroUsize;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::UsageError;
use crate::output::listing::{Column, ListFormat, ListingOptions, Sort};

const OUTPUT: &str = "Output";

/// `columns` are those that can be sorted by. `vendor`: cilium-dbg has a format of its own for these rows.
pub(super) fn args(columns: &'static [Column], vendor: bool) -> Vec<Arg> {
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let sort = format!(
        "Sort by a column, by -COL in descending order; keeps the rows until the end. Columns: {}",
        names.join(", ")
    );
    let mut args = vec![format(vendor)];
    args.push(Arg::new("sort").long("sort").value_name("COL").allow_hyphen_values(true).help(sort));
    args.push(limit());
    args.push(switch("no-headers", "Print no line of headings (table, wide, csv)"));
    args.push(switch("no-progress", "Do not show on stderr how far a long listing got"));
    args.into_iter().map(|arg| arg.help_heading(OUTPUT)).collect()
}

/// For listings that have both names and numbers.
pub(super) fn numeric() -> Arg {
    switch("numeric", "Print numbers instead of names").help_heading(OUTPUT)
}

pub(super) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn format(vendor: bool) -> Arg {
    let known = ListFormat::NAMES.into_iter().filter(|name| vendor || *name != "cilium");
    let help = if vendor {
        "Output format; wide: all columns, jsonl: one object a line, cilium: the lines of cilium-dbg"
    } else {
        "Output format; wide: all columns, jsonl: one object a line"
    };
    Arg::new("output")
        .short('o')
        .long("output")
        .value_name("FORMAT")
        .value_parser(PossibleValuesParser::new(known))
        .default_value("table")
        .help(help)
}

fn limit() -> Arg {
    Arg::new("limit")
        .long("limit")
        .value_name("N")
        .value_parser(value_parser!(NonZeroUsize))
        .help("End after N rows")
}

/// What the flags mean for rows with these columns.
pub(super) fn options(matches: &ArgMatches, columns: &[Column]) -> Result<ListingOptions, UsageError> {
    let format = matches.get_one::<String>("output").and_then(|name| ListFormat::by_name(name));
    let sort = matches.get_one::<String>("sort").map(|text| sort(text, columns)).transpose()?;
    let is_set = |name| matches.try_get_one::<bool>(name).ok().flatten().is_some_and(|set| *set);
    Ok(ListingOptions {
        format: format.unwrap_or_default(),
        no_headers: is_set("no-headers"),
        numeric: is_set("numeric"),
        sort,
        limit: matches.get_one::<NonZeroUsize>("limit").copied(),
        progress: !is_set("no-progress") && !is_set("quiet"),
    })
}

fn sort(text: &str, columns: &[Column]) -> Result<Sort, UsageError> {
    Sort::by_name(text, columns).ok_or_else(|| {
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        UsageError(format!("--sort: no column `{text}`; there are {}", names.join(", ")))
    })
}
