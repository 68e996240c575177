//! Debian packages: which programs come from which, and installing them as root (or through `sudo -n`).

use std::path::Path;
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result, anyhow, bail};

use crate::{process, say};

/// A program or file that the machine must have, and the package that brings it.
pub struct Tool {
    need: Need,
    package: &'static str,
}

enum Need {
    Program(&'static str),
    StaticProgram(&'static str),
    File(&'static str),
}

pub const fn file(path: &'static str, package: &'static str) -> Tool {
    Tool { need: Need::File(path), package }
}

pub const fn program(name: &'static str, package: &'static str) -> Tool {
    Tool { need: Need::Program(name), package }
}

/// To boot Debian's kernels.
pub const VM_TOOLS: &[Tool] = &[
    program("qemu-system-x86_64", "qemu-system-x86"),
    Tool { need: Need::StaticProgram("busybox"), package: "busybox-static" },
    program("xz", "xz-utils"),
    Tool {
        need: Need::File("/usr/share/keyrings/debian-archive-keyring.gpg"),
        package: "debian-archive-keyring",
    },
];
/// The second opinion that end-to-end tests compare with.
pub const TEST_TOOLS: &[Tool] = &[
    program("bpftool", "bpftool"),
    program("ip", "iproute2"),
    program("tc", "iproute2"),
    program("strace", "strace"),
    program("tshark", "tshark"),
    program("zstd", "zstd"),
    program("openssl", "openssl"),
    program("promtool", "prometheus"),
];

impl Tool {
    fn is_there(&self) -> bool {
        match self.need {
            Need::Program(name) => process::find_program(name).is_some(),
            Need::StaticProgram(name) => {
                process::find_program(name).is_some_and(|file| process::is_static_elf(&file).unwrap_or(false))
            }
            Need::File(path) => Path::new(path).exists(),
        }
    }

    /// The packages to install for those that are not there, each once.
    pub fn missing(tools: &[Self]) -> Vec<&'static str> {
        let mut packages: Vec<&str> =
            tools.iter().filter(|tool| !tool.is_there()).map(|tool| tool.package).collect();
        packages.dedup();
        packages
    }
}

/// Options for all calls: wait for another apt, try again when the network stumbles, ask nothing.
const OPTIONS: &[&str] =
    &["-y", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3", "-o", "Dpkg::Use-Pty=0"];

/// Installs packages; none is fine.
pub fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let rights = Rights::find(packages)?;
    say::step(format!("setup: installing {} (apt)", packages.join(", ")));
    let start = Instant::now();
    let install =
        || process::output(rights.apt_get().args(["install", "--no-install-recommends"]).args(packages));
    // Lists may be absent (fresh container) or name files that the mirror no longer has.
    let mut result = if has_lists() { install() } else { Err(anyhow!("no package lists")) };
    if result.is_err() {
        say::step("setup: updating the package lists (apt)");
        process::output(rights.apt_get().arg("update")).context("cannot update the package lists")?;
        result = install();
    }
    result.map_err(|error| explained(error, packages))?;
    say::step(format!("setup: installed in {} s", start.elapsed().as_secs()));
    Ok(())
}

/// A package that this release of Debian does not have is one line; any other failure comes with what apt said.
fn explained(error: anyhow::Error, packages: &[&str]) -> anyhow::Error {
    match unknown_packages(&format!("{error:#}")).as_slice() {
        [] => error.context(format!("cannot install {}", packages.join(", "))),
        unknown => anyhow!(
            "this system's package sources have no {}: use Debian 12, or give what it brings \
             (for the eBPF build: `rustup toolchain install nightly --component rust-src` and `cargo install bpf-linker`)",
            unknown.join(", ")
        ),
    }
}

/// What apt says it cannot find.
fn unknown_packages(said: &str) -> Vec<&str> {
    said.lines().filter_map(unknown_package).collect()
}

fn unknown_package(line: &str) -> Option<&str> {
    let (_, problem) = line.split_once("E: ")?;
    let absent = problem.strip_prefix("Unable to locate package ");
    let withdrawn = || problem.strip_prefix("Package '")?.strip_suffix("' has no installation candidate");
    absent.or_else(withdrawn)
}

fn has_lists() -> bool {
    let entries = fs::read_dir("/var/lib/apt/lists");
    entries.is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("Packages"))
    })
}

fn by_hand(packages: &[&str]) -> String {
    format!("apt-get update && apt-get install --no-install-recommends {}", packages.join(" "))
}

/// How apt may be run.
enum Rights {
    Root,
    Sudo,
}

impl Rights {
    fn find(packages: &[&str]) -> Result<Self> {
        if process::find_program("apt-get").is_none() {
            bail!("this machine has no apt; install what Debian calls {}", packages.join(", "));
        }
        match (process::is_root()?, process::can_sudo()) {
            (true, _) => Ok(Self::Root),
            (false, true) => Ok(Self::Sudo),
            (false, false) => bail!("installing needs root; run as root: {}", by_hand(packages)),
        }
    }

    fn apt_get(&self) -> Command {
        let mut command = match self {
            Self::Root => Command::new("apt-get"),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.args([
                    "-n",
                    "--preserve-env=http_proxy,https_proxy,no_proxy",
                    "DEBIAN_FRONTEND=noninteractive",
                    "apt-get",
                ]);
                command
            }
        };
        command.args(OPTIONS).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
        if let Some(path) = env::var_os("PATH") {
            command.env("PATH", with_system_directories(&path.to_string_lossy()));
        }
        command
    }
}

/// dpkg refuses to work without the system directories in its PATH.
fn with_system_directories(path: &str) -> String {
    format!("{path}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_brings_two_missing_programs_is_installed_once() {
        let tools =
            [program("no-such-program-a", "one"), program("no-such-program-b", "one"), program("sh", "dash")];
        assert_eq!(Tool::missing(&tools), ["one"]);
    }

    #[test]
    fn packages_that_apt_does_not_know_are_named() {
        let said = "  | Reading package lists...\n  | E: Unable to locate package rustc-web\n  | E: Package 'llvm-22-dev' has no installation candidate";
        assert_eq!(unknown_packages(said), ["rustc-web", "llvm-22-dev"]);
        assert!(unknown_packages("E: Could not get lock").is_empty());
    }
}
