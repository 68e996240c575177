//! What one run of a program cost, by `peers/measure.c`: a small parent, so that the peak of resident memory is the
//! program's own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Bench;
use crate::process;

/// Where the program's stdout goes.
#[derive(Clone, Copy)]
pub enum Stdout {
    /// Read and counted.
    Counted,
    /// `/dev/null`.
    Discarded,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Cost {
    pub wall: Duration,
    /// Until the first byte on stdout.
    pub first: Option<Duration>,
    /// User and system.
    pub cpu: Duration,
    pub resident_kib: u64,
    pub lines: u64,
    pub code: u64,
}

/// A command line.
pub type Words = Vec<OsString>;

/// `words` as a command line.
pub fn words<T: Into<OsString>>(words: impl IntoIterator<Item = T>) -> Words {
    words.into_iter().map(Into::into).collect()
}

/// The command line that runs `command` and writes its cost to `file`.
pub fn measured(bench: &Bench, file: &Path, stdout: Stdout, command: Words) -> Words {
    let mode = match stdout {
        Stdout::Counted => "pipe",
        Stdout::Discarded => "null",
    };
    let mut line = words([bench.peers.measure.as_os_str(), file.as_os_str()]);
    line.push(mode.into());
    line.extend(command);
    line
}

/// The program of a command line with its arguments.
pub fn command(line: &Words) -> Command {
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]);
    command
}

/// Runs a command, found inside `around` (a prefix such as `nsenter …`), to its end.
pub fn run(bench: &Bench, around: &Words, stdout: Stdout, line: Words) -> Result<Cost> {
    let file = cost_file(bench);
    let mut whole = around.clone();
    whole.extend(measured(bench, &file, stdout, line));
    process::output(&mut command(&whole))?;
    let cost = Cost::read(&file)?;
    ensure!(cost.code == 0, "`{}` ended with {}", process::shown(&command(&whole)), cost.code);
    Ok(cost)
}

/// Where the next cost is written.
pub fn cost_file(bench: &Bench) -> PathBuf {
    let file = bench.scratch.join("cost");
    let _ = fs::remove_file(&file);
    file
}

impl Cost {
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("{}: `{}`", file.display(), text.trim()))
    }

    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |name: &str| -> Option<i64> {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.parse().ok()
        };
        let duration = |name| Some(Duration::from_nanos(u64::try_from(number(name)?).ok()?));
        Some(Self {
            wall: duration("wall_ns")?,
            first: duration("first_ns"),
            cpu: duration("user_ns")? + duration("system_ns")?,
            resident_kib: number("resident_kib")?.try_into().ok()?,
            lines: number("lines")?.try_into().ok()?,
            code: number("code")?.try_into().ok()?,
        })
    }

    pub fn resident_mib(&self) -> f64 {
        self.resident_kib as f64 / 1024.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_read_by_its_names() {
        let text = "wall_ns 5 first_ns -1 user_ns 2 system_ns 1 resident_kib 2048 bytes 9 lines 3 code 0\n";
        let cost = Cost::parse(text).unwrap();
        assert_eq!((cost.wall.as_nanos(), cost.first, cost.cpu.as_nanos()), (5, None, 3));
        assert_eq!((cost.resident_mib(), cost.lines), (2.0, 3));
        assert!(Cost::parse("wall_ns 5").is_none());
    }
}
