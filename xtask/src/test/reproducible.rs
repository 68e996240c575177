//! The eBPF objects do not depend on where or when they are built: a clean build from a copy of the sources in another
//! directory gives the same bytes as the ordinary, possibly incremental one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};

use crate::workspace::{Output, root};
use crate::{build_ebpf, process, say, setup};

pub fn check() -> Result<()> {
    let tools = setup::toolchain()?;
    let ordinary = Output::locate()?.target.join("ebpf");
    let elsewhere = env::temp_dir().join(format!("tracer-sources-elsewhere-{}", std::process::id()));
    let result = copy_sources(&elsewhere).and_then(|()| {
        build_ebpf::PACKAGES.iter().try_for_each(|package| {
            let first = build_ebpf::build(&root(), package, &ordinary, &tools)?;
            let second = build_ebpf::build(&elsewhere, package, &elsewhere.join("objects"), &tools)?;
            compare(&first, &second)?;
            say::step(format!("test: {package} is the same from {}", elsewhere.display()));
            Ok(())
        })
    });
    let _ = fs::remove_dir_all(&elsewhere);
    result
}

/// What git tracks, and what it would track.
fn copy_sources(to: &Path) -> Result<()> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let names = process::output(Command::new("git").current_dir(root()).args(list))?;
    for name in names.split_terminator('\0') {
        let (source, destination) = (root().join(name), to.join(name));
        // A file removed but not yet committed.
        if source.is_file() {
            copy(&source, &destination)?;
        }
    }
    Ok(())
}

fn copy(source: &Path, destination: &Path) -> Result<()> {
    let what = || format!("cannot copy {} to {}", source.display(), destination.display());
    fs::create_dir_all(destination.parent().with_context(what)?).with_context(what)?;
    fs::copy(source, destination).map(drop).with_context(what)
}

fn compare(first: &PathBuf, second: &PathBuf) -> Result<()> {
    let read = |file: &PathBuf| fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    let (a, b) = (read(first)?, read(second)?);
    let differs = a.iter().zip(&b).position(|(x, y)| x != y).unwrap_or(a.len().min(b.len()));
    ensure!(
        a == b,
        "{} ({} bytes) and the same built elsewhere ({} bytes) differ from byte {differs} on",
        first.display(),
        a.len(),
        b.len(),
    );
    Ok(())
}
