//! All entries, with their names and numbers, and how they are found.

use std::borrow::Cow;
use std::sync::Arc;

use super::ext_error::{self, Qualifier};
use super::text::{Check, Text, check};
use super::{cilium, kernel, words};
use crate::cilium::ext_error::{MISSED_TAIL_CALL, Slot, slots};
use crate::cilium::reason::{self, FIRST_DROP};
use crate::model::reason::DropReason;

/// How many names are suggested for an unknown word.
const SUGGESTIONS: usize = 5;

/// Where a reason comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// A drop reason of Cilium's datapath, 130 and above.
    Cilium,
    /// A reason below 130: `cilium_metrics` counts something that is no drop.
    CiliumCount,
    /// What an extended error says about some of Cilium's reasons.
    ExtError,
    /// A drop reason of the kernel.
    Kernel,
}

impl Group {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cilium => "cilium",
            Self::CiliumCount => "cilium-count",
            Self::ExtError => "ext-error",
            Self::Kernel => "kernel",
        }
    }
}

/// A reason that the running kernel has, by the name without the common prefix.
#[derive(Clone, Debug)]
pub struct KernelReason {
    pub number: u32,
    pub name: Arc<str>,
    /// The part of the kernel that declares it: `core`, `openvswitch`.
    pub subsystem: Arc<str>,
}

/// What one value of an extended error says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtErrorValue {
    pub value: i16,
    pub name: &'static str,
    pub meaning: Cow<'static, str>,
}

/// One reason.
#[derive(Clone, Debug)]
pub struct Entry {
    pub group: Group,
    /// Code of Cilium, value of an extended error, or number in the running kernel. `None`: the running
    /// kernel has no such reason, or it is not known whether it has.
    pub number: Option<i64>,
    /// What the other commands call it.
    pub name: String,
    /// What else it is called, and found by.
    pub aliases: Vec<String>,
    /// Cilium's own words, as `cilium-dbg monitor` prints them.
    pub vendor: Option<&'static str>,
    /// File of the text: `policy`, `tcp`. For a kernel's reason without text its subsystem.
    pub theme: String,
    /// `None`: a kernel newer than these texts has it.
    pub text: Option<&'static Text>,
}

impl Entry {
    /// The check that all entries of the group have, unless the text has it with more flags; then those of the
    /// text.
    pub fn confirm(&self) -> Vec<(String, &'static str)> {
        let own = self.text.map_or(&[][..], |text| text.confirm);
        let has_own = |command: &str| own.iter().any(|check| check.command.starts_with(command));
        let common = self.common_check().filter(|(command, _)| !has_own(command));
        let own = own.iter().map(|Check { command, shows }| ((*command).to_owned(), *shows));
        common.into_iter().chain(own).collect()
    }

    fn common_check(&self) -> Option<(String, &'static str)> {
        let Check { command, shows } = match self.group {
            Group::Cilium if self.is_consumed() => {
                check("tracer drops --all --drop-reason-desc", "the packets that were taken over")
            }
            Group::Cilium => check(
                "tracer drops --drop-reason-desc",
                "who sends, who should receive; with -o json also file, line and ext_error",
            ),
            Group::Kernel => check(
                "tracer drops --all --kernel-reason",
                "the packets; SYMBOL+OFFSET behind `at` is the place in the kernel that gave up",
            ),
            Group::CiliumCount => return Some(("tracer metrics".to_owned(), "the row of this reason")),
            Group::ExtError => return None,
        };
        Some((format!("{command} {}", self.filter_word()), shows))
    }

    /// What `tracer drops` takes for this reason.
    fn filter_word(&self) -> String {
        match (self.group, self.number) {
            (Group::Cilium, Some(number)) if self.vendor.is_none() => number.to_string(),
            _ => self.name.clone(),
        }
    }

    fn is_consumed(&self) -> bool {
        let code = self.number.and_then(|number| u8::try_from(number).ok());
        self.group == Group::Cilium && code.is_some_and(|code| reason::is_consumed(DropReason(code)))
    }

    /// What the extended error of this reason can say.
    pub fn ext_errors(&self) -> Vec<ExtErrorValue> {
        let code = self.number.and_then(|number| u8::try_from(number).ok());
        match (self.group, code.map(DropReason)) {
            (Group::Cilium, Some(MISSED_TAIL_CALL)) => slots().map(ExtErrorValue::slot).collect(),
            (Group::Cilium, Some(reason)) => ext_error::of(reason).map(ExtErrorValue::of).collect(),
            _ => vec![],
        }
    }

    fn is_called(&self, bare: &str) -> bool {
        words::bare(&self.name) == bare || self.aliases.iter().any(|alias| words::bare(alias) == bare)
    }
}

impl ExtErrorValue {
    fn of(qualifier: &Qualifier) -> Self {
        Self { value: qualifier.value.into(), name: qualifier.name, meaning: qualifier.text.brief().into() }
    }

    fn slot(slot: Slot) -> Self {
        let meaning = format!("Cilium {} to {}.", slot.first, slot.last);
        Self { value: slot.number.into(), name: slot.program, meaning: meaning.into() }
    }
}

/// Everything that can be explained.
#[derive(Debug)]
pub struct Book {
    entries: Vec<Entry>,
}

impl Book {
    /// `running`: the reasons of the running kernel; `None` if they cannot be read.
    pub fn new(running: Option<&[KernelReason]>) -> Self {
        let mut entries: Vec<Entry> = (FIRST_DROP..=u8::MAX).filter_map(cilium_entry).collect();
        entries.extend((0..FIRST_DROP).filter_map(count_entry));
        entries.extend(ext_error::ALL.iter().flat_map(|qualifiers| qualifiers.iter()).map(error_entry));
        entries.extend(kernel_entries(running.unwrap_or_default()));
        Self { entries }
    }

    /// In the order of groups, then numbers; reasons that the running kernel does not have last.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What `word` means: a number, or any of the names. More than one where both sides use it.
    pub fn find(&self, word: &str, groups: &[Group]) -> Vec<&Entry> {
        let number = number(word);
        let bare = words::bare(word);
        let means = |entry: &&Entry| match number {
            Some(_) if entry.group == Group::ExtError => entry.number == number && number < Some(0),
            Some(number) if matches!(entry.group, Group::Cilium) => {
                entry.number == Some(number) || entry.number == Some(-number)
            }
            Some(_) => entry.number == number,
            None => !bare.is_empty() && entry.is_called(&bare),
        };
        self.entries.iter().filter(|entry| groups.contains(&entry.group)).filter(means).collect()
    }

    /// Names that look like `word`, the nearest first.
    pub fn nearest(&self, word: &str, groups: &[Group]) -> Vec<String> {
        let bare = words::bare(word);
        let mut near: Vec<(usize, String)> = Vec::new();
        for entry in self.entries.iter().filter(|entry| groups.contains(&entry.group)) {
            let names = std::iter::once(&entry.name).chain(&entry.aliases);
            let best = names.filter_map(|name| Some((likeness(&bare, &words::bare(name))?, name))).min();
            if let Some((distance, _)) = best
                && near.iter().all(|(_, known)| *known != entry.name)
            {
                near.push((distance, entry.name.clone()));
            }
        }
        near.sort();
        near.into_iter().take(SUGGESTIONS).map(|(_, name)| name).collect()
    }
}

/// Decimal with or without sign, or hexadecimal with `0x`.
fn number(word: &str) -> Option<i64> {
    let word = word.trim();
    match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(digits) => i64::from(u32::from_str_radix(digits, 16).ok()?).into(),
        None => word.parse().ok(),
    }
}

/// Smaller is nearer; `None`: not alike. A word that is part of the name beats a misspelling.
fn likeness(typed: &str, name: &str) -> Option<usize> {
    if typed.is_empty() {
        return None;
    }
    if typed.len() >= 3 && name.contains(typed) {
        return Some(0);
    }
    let allowed = (typed.len() / 3).max(1);
    Some(words::distance(typed, name)).filter(|distance| *distance <= allowed)
}

fn cilium_entry(code: u8) -> Option<Entry> {
    let reason = DropReason(code);
    let (theme, text) = cilium::of(code)?;
    let constant = reason::constant(reason).map(|name| format!("DROP_{name}"));
    let vendor = reason::text(reason);
    let name = reason::hubble(reason).map(str::to_owned).or_else(|| constant.clone())?;
    let aliases = constant.into_iter().chain(vendor.map(str::to_owned)).filter(|alias| *alias != name);
    let number = Some(i64::from(code));
    Some(Entry {
        group: Group::Cilium,
        number,
        aliases: aliases.collect(),
        name,
        vendor,
        theme: theme.to_owned(),
        text: Some(text),
    })
}

fn count_entry(code: u8) -> Option<Entry> {
    let vendor = reason::metrics_text(code)?;
    let (theme, text) = cilium::of(code)?;
    let number = Some(i64::from(code));
    let name = vendor.to_owned();
    let group = Group::CiliumCount;
    Some(Entry {
        group,
        number,
        name,
        aliases: vec![],
        vendor: Some(vendor),
        theme: theme.to_owned(),
        text: Some(text),
    })
}

fn error_entry(qualifier: &'static Qualifier) -> Entry {
    Entry {
        group: Group::ExtError,
        number: Some(qualifier.value.into()),
        name: qualifier.name.to_owned(),
        aliases: vec![],
        vendor: None,
        theme: qualifier.theme.to_owned(),
        text: Some(&qualifier.text),
    }
}

/// The running kernel's reasons by number, then those that only the texts know.
fn kernel_entries(running: &[KernelReason]) -> impl Iterator<Item = Entry> {
    let mut running: Vec<Entry> = running.iter().map(running_entry).collect();
    running.sort_by_key(|entry| entry.number);
    let absent: Vec<Entry> = kernel::names()
        .filter(|(name, ..)| running.iter().all(|entry| words::bare(&entry.name) != words::bare(name)))
        .map(|(name, theme, text)| Entry {
            group: Group::Kernel,
            number: None,
            name: name.to_owned(),
            aliases: vec![],
            vendor: None,
            theme: theme.to_owned(),
            text: Some(text),
        })
        .collect();
    running.into_iter().chain(absent)
}

fn running_entry(reason: &KernelReason) -> Entry {
    let known = kernel::of(&reason.name);
    Entry {
        group: Group::Kernel,
        number: Some(reason.number.into()),
        name: reason.name.to_string(),
        aliases: vec![],
        vendor: None,
        theme: known.map_or_else(|| reason.subsystem.to_string(), |(theme, _)| theme.to_owned()),
        text: known.map(|(_, text)| text),
    }
}

#[cfg(test)]
mod tests;
