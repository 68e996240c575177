//! Names of the kernel's drop reasons, from the running kernel's type information: the numbers move with
//! every release, so no table is carried.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::btf::{Base, Btf, BtfError};

/// What all names of the core's own reasons start with.
const PREFIX: &str = "SKB_DROP_REASON_";
const BTF_DIR: &str = "/sys/kernel/btf";

/// Reason numbers and their names without the common prefix.
#[derive(Debug, Default)]
pub struct DropReasons {
    names: HashMap<u32, Arc<str>>,
    base: Base,
    /// Subsystems (upper 16 bits) that were looked for already.
    asked: Vec<u32>,
}

impl DropReasons {
    /// Reads the core's reasons. Kernels before 5.17 have none: an empty table.
    pub fn read(btf: &Btf) -> Result<Self, BtfError> {
        let mut reasons = Self { base: btf.as_base(), ..Self::default() };
        match btf.enumerators("skb_drop_reason") {
            Ok(list) => reasons.add(list),
            Err(BtfError::NoType { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(reasons)
    }

    fn add(&mut self, list: Vec<(String, u32)>) {
        let named = list.into_iter().filter_map(|(name, value)| {
            let short = name.strip_prefix(PREFIX).unwrap_or(&name);
            let internal = short == "SUBSYS_MASK" || name.starts_with("__") || is_end(short);
            (!internal).then(|| (value, Arc::from(short)))
        });
        self.names.extend(named);
    }

    /// The reasons of one subsystem. The first is a marker; mac80211 has underscores in front of all names, and
    /// values among them that are no reasons.
    fn add_subsystem(&mut self, marker: u32) {
        let list = subsystem_reasons(marker, self.base).into_iter();
        let own =
            list.filter(|(name, value)| value >> 16 == marker >> 16 && *value != marker && !is_end(name));
        self.names.extend(own.map(|(name, value)| (value, Arc::from(name.trim_start_matches('_')))));
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Number of a reason by its name, with or without the common prefix.
    pub fn number(&self, name: &str) -> Option<u32> {
        let wanted = name.strip_prefix(PREFIX).unwrap_or(name);
        self.names.iter().find(|(_, known)| known.eq_ignore_ascii_case(wanted)).map(|(number, _)| *number)
    }

    /// All reasons known so far, by number.
    pub fn all(&self) -> Vec<(u32, Arc<str>)> {
        let mut all: Vec<_> = self.names.iter().map(|(number, name)| (*number, Arc::clone(name))).collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all
    }

    /// Looks for the reasons of all subsystems that this kernel declares, and names those: number (upper 16
    /// bits of their reasons) and name in lower case, `core` among them. Modules that are not loaded have no
    /// type information, and their reasons stay unknown.
    pub fn read_subsystems(&mut self, btf: &Btf) -> Vec<(u32, String)> {
        let declared = btf.enumerators("skb_drop_reason_subsys").unwrap_or_default();
        let named = declared.into_iter().filter_map(|(name, number)| {
            let short = name.strip_prefix(PREFIX)?.strip_prefix("SUBSYS_")?;
            (short != "NUM").then(|| (number, short.to_ascii_lowercase()))
        });
        let subsystems: Vec<_> = named.collect();
        for (number, _) in &subsystems {
            self.name(number << 16);
        }
        subsystems
    }

    /// Name of a reason. An unknown subsystem is looked for once in the type information of the kernel and of
    /// its modules.
    pub fn name(&mut self, number: u32) -> Option<Arc<str>> {
        let subsystem = number >> 16;
        if subsystem != 0 && !self.names.contains_key(&number) && !self.asked.contains(&subsystem) {
            self.asked.push(subsystem);
            self.add_subsystem(subsystem << 16);
        }
        self.names.get(&number).cloned()
    }
}

/// The count behind the last reason.
fn is_end(name: &str) -> bool {
    name == "MAX" || name.ends_with("_MAX")
}

/// Looks through every file of type information; one that cannot be read is passed over.
fn subsystem_reasons(marker: u32, base: Base) -> Vec<(String, u32)> {
    let list = |path: PathBuf, base| Btf::from_file(&path, base).ok()?.enumerators_with_marker(marker);
    let modules = std::fs::read_dir(BTF_DIR).into_iter().flatten().flatten().map(|entry| entry.path());
    let vmlinux = Path::new(BTF_DIR).join("vmlinux");
    list(vmlinux.clone(), None)
        .or_else(|| modules.filter(|path| *path != vmlinux).find_map(|path| list(path, Some(base))))
        .unwrap_or_default()
}
