//! The whole file system of a test VM: busybox, modules, our programs, the files asked for, and the job.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cpio::Archive;
use super::modules::{self, Module};
use crate::process;

/// Where our programs lie in the VM; first in its PATH.
pub const PROGRAMS: &str = "/opt/tracer";

const DIRECTORIES: &[&str] = &[
    "/proc",
    "/sys",
    "/dev",
    "/tmp",
    "/run",
    "/root",
    "/var/lib",
    "/etc",
    "/usr/bin",
    "/usr/sbin",
    "/sbin",
    "/bin",
    "/modules",
];

/// A file of the host and its place in the VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    pub source: PathBuf,
    pub destination: String,
}

impl Payload {
    /// `PATH[:DESTINATION]`; without a destination, or with one that ends in a slash, the name stays.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (source, place) = text.rsplit_once(':').unwrap_or((text, "/opt/tracer/"));
        let source = PathBuf::from(source);
        let name = source
            .file_name()
            .ok_or_else(|| format!("`{text}` names no file"))?
            .to_string_lossy()
            .into_owned();
        if !place.starts_with('/') {
            return Err(format!("destination `{place}` must start with `/`"));
        }
        let destination = if place.ends_with('/') { format!("{place}{name}") } else { place.to_owned() };
        Ok(Self { source, destination })
    }
}

/// What the VM does after it has booted.
pub enum Job {
    /// A script for busybox's shell.
    Script(String),
    Shell,
}

/// Builds the archive.
pub fn build(modules_dir: &Path, payload: &[Payload], job: &Job) -> Result<Vec<u8>> {
    let mut tree = Tree { archive: Archive::new(), directories: BTreeSet::new() };
    for dir in DIRECTORIES {
        tree.directory(dir);
    }
    tree.archive.symlink("/var/run", "/run");
    // The kernel opens it for the first process, before devtmpfs is there.
    tree.archive.character_device("/dev/console", 5, 1);
    tree.host_file(&busybox()?, "/bin/busybox")?;
    tree.file("/init", 0o755, include_bytes!("init.sh"));
    tree.file(
        "/etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    );
    tree.file("/etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n");
    tree.file("/etc/profile", 0o644, b"PS1='vm# '\n");
    tree.modules(&modules::collect(modules_dir, modules::WANTED)?);
    tree.payload(payload)?;
    match job {
        Job::Script(script) => tree.file("/job", 0o755, script.as_bytes()),
        Job::Shell => tree.file("/shell", 0o644, b""),
    }
    Ok(tree.archive.finish())
}

fn busybox() -> Result<PathBuf> {
    let found = process::find_program("busybox").context("busybox is missing (package busybox-static)")?;
    if !process::is_static_elf(&found)? {
        bail!("{} is not static (package busybox-static)", found.display());
    }
    Ok(found)
}

struct Tree {
    archive: Archive,
    directories: BTreeSet<String>,
}

impl Tree {
    /// With all directories above it, each once: the kernel wants them before their entries.
    fn directory(&mut self, path: &str) {
        let ends =
            path.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            if self.directories.insert(path[..end].to_owned()) {
                self.archive.directory(&path[..end]);
            }
        }
    }

    fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        if let Some((dir, _)) = path.rsplit_once('/').filter(|(dir, _)| !dir.is_empty()) {
            self.directory(dir);
        }
        self.archive.file(path, permissions, content);
    }

    fn host_file(&mut self, source: &Path, destination: &str) -> Result<()> {
        let content = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        let mode = fs::metadata(source)
            .with_context(|| format!("cannot read {}", source.display()))?
            .permissions()
            .mode();
        self.file(destination, mode & 0o777, &content);
        Ok(())
    }

    fn modules(&mut self, modules: &[Module]) {
        for module in modules {
            self.file(&format!("/modules/{}.ko", module.name), 0o644, &module.content);
        }
        let order: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
        self.file("/modules/order", 0o644, order.join("\n").as_bytes());
    }

    /// Dynamic programs bring their libraries along, at the same paths.
    fn payload(&mut self, payload: &[Payload]) -> Result<()> {
        let mut libraries = BTreeSet::new();
        for file in payload {
            self.host_file(&file.source, &file.destination)?;
            if process::is_static_elf(&file.source).is_ok_and(|is_static| !is_static) {
                libraries.extend(libraries_of(&file.source)?);
            }
        }
        libraries.iter().try_for_each(|library| self.host_file(Path::new(library), library))
    }
}

/// The paths that `ldd` names.
fn libraries_of(program: &Path) -> Result<Vec<String>> {
    let text = process::output(Command::new("ldd").arg(program))?;
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(str::to_owned);
    Ok(text.lines().filter_map(path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(text: &str) -> Result<String, String> {
        Payload::parse(text).map(|payload| payload.destination)
    }

    #[test]
    fn a_payload_without_destination_lies_beside_our_programs() {
        assert_eq!(destination("dir/tool").as_deref(), Ok("/opt/tracer/tool"));
    }

    #[test]
    fn a_payload_goes_where_it_is_told() {
        assert_eq!(destination("dir/tool:/usr/bin/").as_deref(), Ok("/usr/bin/tool"));
        assert_eq!(destination("dir/tool:/etc/other").as_deref(), Ok("/etc/other"));
        assert!(destination("dir/tool:relative").is_err());
    }
}
