//! Where and when it was measured.

use std::fs;
use std::process::Command;

use crate::process;

/// Facts about the machine, one line each.
pub fn lines() -> Vec<String> {
    let model = line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "processor not told".to_owned());
    let memory = line_of("/proc/meminfo", "MemTotal").and_then(|text| kib(&text));
    let memory =
        memory.map_or_else(|| "memory not told".to_owned(), |kib| format!("{:.1} GiB", kib / 1048576.0));
    vec![
        format!("machine: {} × {model}, {memory}", processors()),
        format!("kernel: {}", said("uname", &["-srm"])),
        format!("date: {}", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        format!("load when it began: {}", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim()),
    ]
}

/// Processors that we may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The processor for readers, as `taskset` wants it; the sender has 0.
pub fn reader_cpu() -> String {
    (processors() - 1).min(1).to_string()
}

fn line_of(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kib(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

fn said(program: &str, arguments: &[&str]) -> String {
    process::output(Command::new(program).args(arguments)).unwrap_or_default().trim().to_owned()
}
