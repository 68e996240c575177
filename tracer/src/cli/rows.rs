//! What the commands that list maps have in common beyond their flags.

use clap::{ArgMatches, Command};

use super::{UsageError, listing};
use crate::output::listing::{Column, ListFormat, ListingOptions};

/// A command that is nothing without a second word.
pub(super) fn group(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
}

/// Options of a listing that has columns of cilium-dbg as well; those cannot be sorted by.
pub(super) fn vendor_options(matches: &ArgMatches, columns: &[Column]) -> Result<ListingOptions, UsageError> {
    let options = listing::options(matches, columns)?;
    if options.format == ListFormat::Cilium && options.sort.is_some() {
        return Err(UsageError("--sort: not with -o cilium, which has other columns".to_owned()));
    }
    Ok(options)
}
