//! The program as a file: static, and at home in a file system that holds nothing else.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::programs;
use crate::runner::Outcome;

crate::tests![runs_in_an_empty_chroot];

fn runs_in_an_empty_chroot() -> Result<Outcome> {
    let root = std::env::temp_dir().join(format!("tracer-chroot-{}", std::process::id()));
    fs::create_dir(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let copied = fs::copy(programs::path("tracer")?, root.join("tracer")).context("cannot copy tracer");
    let output = copied.and_then(|_| {
        Command::new("chroot").arg(&root).args(["/tracer", "--version"]).output().context("cannot run chroot")
    });
    fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    let output = output?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(Outcome::Passed)
}
