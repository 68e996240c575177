//! `tracer explain`: the book, with the reasons of the running kernel where they can be read.

use std::io::{self, Write as _};

use super::RunError;
use crate::cli::exit::Exit;
use crate::cli::explain::ExplainPlan;
use crate::cli::global::Global;
use crate::explain::{Book, Entry, Group, KernelReason};
use crate::kernel::btf::{Btf, BtfError};
use crate::kernel::drop_reason::DropReasons;
use crate::output::escape;
use crate::output::explain::{COLUMNS, WIDTH, page};
use crate::output::is_closed_pipe;
use crate::output::listing::{ListFormat, Listing};

pub fn run(_global: &Global, plan: &ExplainPlan) -> Result<Exit, RunError> {
    let running = running_kernel();
    let book = Book::new(running.as_deref().ok());
    let groups = &plan.groups;
    let entries: Vec<&Entry> = match &plan.reason {
        Some(word) => book.find(word, groups),
        None => book.entries().iter().filter(|entry| groups.contains(&entry.group)).collect(),
    };
    let is_about_the_kernel = entries.is_empty() || entries.iter().any(|entry| entry.group == Group::Kernel);
    if groups.contains(&Group::Kernel) && is_about_the_kernel {
        tell_about_the_kernel(&running);
    }
    match &plan.reason {
        Some(word) if entries.is_empty() => {
            return Err(RunError::UnknownReason(unknown(word, &book.nearest(word, groups))));
        }
        Some(_) if matches!(plan.listing.format, ListFormat::Table | ListFormat::Wide) => pages(&entries),
        _ => list(&entries, plan),
    }
    .map_err(RunError::Output)?;
    Ok(Exit::Done)
}

/// What the running kernel calls its reasons. Nothing before 5.17.
pub(super) fn running_kernel() -> Result<Vec<KernelReason>, BtfError> {
    let btf = Btf::vmlinux()?;
    let mut reasons = DropReasons::read(&btf)?;
    let subsystems = reasons.read_subsystems(&btf);
    let subsystem = |number: u32| {
        let known = subsystems.iter().find(|(subsystem, _)| *subsystem == number >> 16);
        known.map_or_else(|| "core".into(), |(_, name)| name.as_str().into())
    };
    let all = reasons.all().into_iter();
    Ok(all.map(|(number, name)| KernelReason { number, name, subsystem: subsystem(number) }).collect())
}

fn tell_about_the_kernel(running: &Result<Vec<KernelReason>, BtfError>) {
    match running {
        Ok(reasons) if reasons.is_empty() => {
            tracing::warn!(
                "this kernel gives no drop reasons (5.17 and newer do): the kernel's texts have no numbers"
            );
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!("the running kernel's reasons cannot be read, so they have no numbers: {error}");
        }
    }
}

fn pages(entries: &[&Entry]) -> io::Result<()> {
    let mut out = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\n\n");
        }
        page(&mut out, entry, WIDTH);
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_all(&out).and_then(|()| stdout.flush()) {
        Err(error) if !is_closed_pipe(&error) => Err(error),
        _ => Ok(()),
    }
}

fn list(entries: &[&Entry], plan: &ExplainPlan) -> io::Result<()> {
    let mut listing = Listing::new(io::stdout().lock(), &plan.listing, COLUMNS);
    for entry in entries {
        if listing.row(*entry).is_break() {
            break;
        }
    }
    listing.finish().map(drop)
}

fn unknown(word: &str, nearest: &[String]) -> String {
    let mut shown = Vec::new();
    escape::text(&mut shown, word);
    let shown = String::from_utf8_lossy(&shown);
    match nearest {
        [] => format!("no reason `{shown}`; `tracer explain` lists all"),
        names => format!("no reason `{shown}`; did you mean {}?", names.join(", ")),
    }
}
