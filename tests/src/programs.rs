//! The programs under test: they lie beside this one, in cargo's output directory as well as in a test VM.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// The file of a program of the workspace, such as `tracer` or `pretend-node`.
pub fn path(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where this program lies")?;
    let path = own.with_file_name(name);
    ensure!(path.is_file(), "`{}` is missing; `cargo xtask build` makes it", path.display());
    Ok(path)
}
