//! Which module files a VM gets, in the order in which they must be loaded. Debian's packages carry no
//! `modules.dep` (depmod makes it at installation), so the dependencies are read from the modules themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// What the pretend node and the tests use; built into some kernels, missing on a few (then left out: the tests say
/// what they miss).
pub const WANTED: &[&str] = &[
    "veth",
    "dummy",
    "sch_ingress",
    "sch_fq",
    "cls_bpf",
    "act_bpf",
    "act_gact",
    "act_mirred",
    "vxlan",
    "geneve",
    "8021q",
    "sctp",
    "netkit",
    "bridge",
    "tun",
    "crc32c_generic",
    "nf_tables",
    "nft_ct",
    "nft_reject_inet",
    "nft_counter",
];

/// A module as it goes into the initramfs.
pub struct Module {
    pub name: String,
    pub content: Vec<u8>,
}

/// The wanted modules that this kernel has as files, each after the ones that it needs.
pub fn collect(dir: &Path, wanted: &[&str]) -> Result<Vec<Module>> {
    let files = index(dir)?;
    let mut loader = Loader { files: &files, seen: BTreeSet::new(), order: Vec::new() };
    for name in wanted {
        loader.add(name)?;
    }
    Ok(loader.order)
}

struct Loader<'a> {
    files: &'a BTreeMap<String, PathBuf>,
    seen: BTreeSet<String>,
    order: Vec<Module>,
}

impl Loader<'_> {
    /// Depth first; a name without a file is built in.
    fn add(&mut self, name: &str) -> Result<()> {
        if !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(file) = self.files.get(name) else { return Ok(()) };
        let content = read(file)?;
        for needed in depends(&content) {
            self.add(&needed)?;
        }
        self.order.push(Module { name: name.to_owned(), content });
        Ok(())
    }
}

/// Module name (with underscores, as the kernel says it) to file.
fn index(dir: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut open = vec![dir.join("kernel")];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else if let Some(name) = module_name(&entry.file_name().to_string_lossy()) {
                files.insert(name, entry.path());
            }
        }
    }
    Ok(files)
}

fn module_name(file: &str) -> Option<String> {
    let stem = file.strip_suffix(".xz").unwrap_or(file).strip_suffix(".ko")?;
    Some(stem.replace('-', "_"))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    }
    let output = Command::new("xz").arg("-dc").arg(file).output().context("cannot run `xz`")?;
    if !output.status.success() {
        bail!(
            "cannot decompress {}\n{}",
            file.display(),
            process::tail(&String::from_utf8_lossy(&output.stderr), 3)
        );
    }
    Ok(output.stdout)
}

/// The value of the module's `depends` information: names separated by commas.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_module_has_the_same_name() {
        assert_eq!(module_name("crc32c-intel.ko.xz").as_deref(), Some("crc32c_intel"));
        assert_eq!(module_name("veth.ko").as_deref(), Some("veth"));
        assert_eq!(module_name("modules.builtin"), None);
    }

    #[test]
    fn depends_lists_the_modules_needed_first() {
        assert_eq!(
            depends(b"\0alias=x\0depends=udp_tunnel,ip6-udp-tunnel\0name=vxlan\0"),
            ["udp_tunnel", "ip6_udp_tunnel"]
        );
        assert!(depends(b"\0depends=\0").is_empty());
        assert!(depends(b"no such key").is_empty());
    }
}
