//! Running other programs: quietly with their output at hand, or visibly with stdout sent to stderr.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

/// How many last lines of a failed program's output are shown.
const TAIL_LINES: usize = 20;

/// The first file of that name in the PATH or in the system's directories for programs of root.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// The program's name and arguments as one would type them.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// `word` as a POSIX shell reads it back.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Runs to the end and returns stdout; a failure carries the last lines of the output.
pub fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{}`", shown(command)))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let said = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    bail!("`{}` failed ({})\n{}", shown(command), output.status, tail(&said, TAIL_LINES));
}

/// Runs to the end with all of its output on stderr.
pub fn visibly(command: &mut Command) -> Result<ExitStatus> {
    let stderr = io::stderr().as_fd().try_clone_to_owned().context("cannot duplicate stderr")?;
    command.stdout(stderr).status().with_context(|| format!("cannot run `{}`", shown(command)))
}

/// Like [`visibly`]; an exit code other than 0 is an error.
pub fn visibly_ok(command: &mut Command) -> Result<()> {
    let status = visibly(command)?;
    if status.success() { Ok(()) } else { bail!("`{}` failed ({status})", shown(command)) }
}

/// The last `count` lines, indented.
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(count)..];
    last.iter().map(|line| format!("  | {line}")).collect::<Vec<_>>().join("\n")
}

/// Whether we are root.
pub fn is_root() -> Result<bool> {
    Ok(output(Command::new("id").arg("-u"))?.trim() == "0")
}

/// Whether `sudo` works without a password.
pub fn can_sudo() -> bool {
    find_program("sudo").is_some() && output(Command::new("sudo").args(["-n", "true"])).is_ok()
}

/// The program as root: as it is, or through `sudo -n`.
pub fn as_root(program: &OsStr) -> Result<Command> {
    if is_root()? {
        return Ok(Command::new(program));
    }
    ensure!(
        can_sudo(),
        "`{}` needs root: run this as root, or allow `sudo` without a password",
        program.display()
    );
    let mut command = Command::new("sudo");
    command.args(["-n", "--"]).arg(program);
    Ok(command)
}

/// Whether somebody sits at the terminal.
pub fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Whether the ELF file needs no loader (no `PT_INTERP`), which is what "static" means here.
pub fn is_static_elf(file: &Path) -> Result<bool> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    has_interpreter(&bytes)
        .map(|found| !found)
        .with_context(|| format!("{}: not a 64-bit ELF file", file.display()))
}

/// `None`: no 64-bit little-endian ELF file, or a truncated one.
fn has_interpreter(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, size: usize| {
        let bytes = elf.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    (0..count)
        .map(|i| number(table + i * size, 4))
        .try_fold(false, |found, kind| Some(found || kind? == PT_INTERP as usize))
}

/// The program's name without its directory.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_else(|| OsStr::new("?")).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_leaves_plain_words_and_protects_the_rest() {
        assert_eq!(quoted("--file=/a/b.c"), "--file=/a/b.c");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn tail_keeps_the_last_lines_only() {
        assert_eq!(tail("a\nb\n\nc\n", 2), "  | b\n  | c");
    }

    #[test]
    fn text_is_not_an_elf_file() {
        assert_eq!(has_interpreter(b"#!/bin/sh\n"), None);
    }
}
