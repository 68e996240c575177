//! stderr, which waits while a screen is drawn over it: what is written meanwhile comes out when the screen is gone, and
//! can be shown on it.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lines that are kept; what is beyond is counted.
const KEPT: usize = 200;

/// `None`: nothing is held back.
static HELD: Mutex<Option<Held>> = Mutex::new(None);

#[derive(Default)]
struct Held {
    lines: VecDeque<String>,
    forgotten: usize,
    /// stderr is no terminal: nothing is drawn there.
    passes_on: bool,
}

fn held() -> MutexGuard<'static, Option<Held>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where diagnostics are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Console;

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *held() {
            None => io::stderr().write(bytes),
            Some(held) => {
                if held.passes_on {
                    io::stderr().write_all(bytes)?;
                }
                held.take(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl Held {
    fn take(&mut self, bytes: &[u8]) {
        self.lines.extend(String::from_utf8_lossy(bytes).lines().map(str::to_owned));
        while self.lines.len() > KEPT {
            self.lines.pop_front();
            self.forgotten += 1;
        }
    }
}

/// Holds back what is written from now on.
pub fn hold() {
    *held() = Some(Held { passes_on: !io::stderr().is_terminal(), ..Held::default() });
}

/// Writes what was held back, and everything at once from now on.
pub fn release() {
    let Some(held) = held().take().filter(|held| !held.passes_on) else { return };
    let mut stderr = io::stderr().lock();
    if held.forgotten > 0 {
        let _ = writeln!(stderr, "{} earlier lines are not shown", held.forgotten);
    }
    for line in &held.lines {
        // Nobody is left to tell.
        let _ = writeln!(stderr, "{line}");
    }
}

/// What is held back, without colours.
pub fn lines() -> Vec<String> {
    held().as_ref().map(|held| held.lines.iter().map(|line| plain(line)).collect()).unwrap_or_default()
}

/// Without the sequences that choose colours.
fn plain(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_off() {
        assert_eq!(plain("\x1b[33m WARN\x1b[0m cilium_lxc: gone"), "WARN cilium_lxc: gone");
        assert_eq!(plain("as it is"), "as it is");
    }

    #[test]
    fn the_oldest_lines_go_first_and_are_counted() {
        let mut held = Held::default();
        for number in 0..KEPT + 3 {
            held.take(format!("line {number}\n").as_bytes());
        }
        assert_eq!((held.lines.len(), held.forgotten, held.lines[0].as_str()), (KEPT, 3, "line 3"));
    }
}
