//! Who tracer is measured beside: small C programs built here, and other people's tools from the distribution.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;
use crate::setup::apt::{self, Tool, program};
use crate::workspace::root;

/// What the bench itself cannot do without.
const NEEDED: &[Tool] = &[
    program("cc", "gcc"),
    apt::file("/usr/include/stdio.h", "libc6-dev"),
    program("bpftool", "bpftool"),
    program("strace", "strace"),
    program("ip", "iproute2"),
    program("nsenter", "util-linux"),
];

/// The C programs.
pub struct Peers {
    pub measure: PathBuf,
    pub batch: PathBuf,
    pub next_key: PathBuf,
    pub flood: PathBuf,
}

impl Peers {
    pub fn build(scratch: &Path) -> Result<Self> {
        apt::install(&Tool::missing(NEEDED))?;
        let places = scratch.join("peers");
        fs::create_dir_all(&places).with_context(|| format!("cannot make {}", places.display()))?;
        let built = |name: &str| compile(name, &places);
        Ok(Self {
            measure: built("measure")?,
            batch: built("batch")?,
            next_key: built("next_key")?,
            flood: built("flood")?,
        })
    }
}

fn compile(name: &str, places: &Path) -> Result<PathBuf> {
    let source = root().join("xtask/src/bench/peers").join(format!("{name}.c"));
    let file = places.join(name);
    let flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-o"];
    process::output(Command::new("cc").args(flags).args([&file, &source]))?;
    Ok(file)
}

/// Another tracer: its program, and the package that brings it.
pub struct Foreign {
    pub program: &'static str,
    pub package: &'static str,
}

impl Foreign {
    /// Installs it if it is not there; why it cannot be had otherwise.
    pub fn find(&self) -> Result<PathBuf> {
        if let Some(file) = process::find_program(self.program) {
            return Ok(file);
        }
        apt::install(&[self.package])?;
        process::find_program(self.program)
            .with_context(|| format!("{} brings no {}", self.package, self.program))
    }

    /// Its version, as it tells.
    pub fn version(&self) -> String {
        let said = process::output(Command::new(self.program).arg("--version")).unwrap_or_default();
        said.lines().next().unwrap_or("").trim().to_owned()
    }
}
