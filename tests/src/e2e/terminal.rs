//! A terminal for programs that draw: a pseudo terminal, and the screen that the other side would see. It understands
//! what moves the cursor and clears; the rest of the sequences changes only how cells look.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// What has been drawn.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    cells: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// On the second screen.
    pub is_alternate: bool,
    pub is_cursor_hidden: bool,
    /// The beginning of a sequence, or of a character.
    rest: Vec<u8>,
}

impl Screen {
    fn new(columns: u16, rows: u16) -> Self {
        Self { cells: vec![vec![' '; columns.into()]; rows.into()], ..Self::default() }
    }

    /// All lines, without the blanks at their ends.
    pub fn text(&self) -> String {
        let line = |cells: &Vec<char>| cells.iter().collect::<String>().trim_end().to_owned();
        self.cells.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.rest);
        let mut at = 0;
        while at < bytes.len() {
            match self.step(&bytes[at..]) {
                Some(length) => at += length,
                None => break,
            }
        }
        self.rest = bytes[at..].to_vec();
    }

    /// How many bytes were understood; `None`: more are needed.
    fn step(&mut self, bytes: &[u8]) -> Option<usize> {
        match bytes[0] {
            0x1b if bytes.get(1)? == &b'[' => {
                let end = bytes.iter().skip(2).position(|byte| (0x40..0x7f).contains(byte))? + 2;
                self.control(&String::from_utf8_lossy(&bytes[2..end]), bytes[end]);
                Some(end + 1)
            }
            0x1b => Some(2),
            b'\r' => {
                self.column = 0;
                Some(1)
            }
            b'\n' => {
                self.row += 1;
                Some(1)
            }
            byte => {
                let length = match byte {
                    0..0x80 => 1,
                    0x80..0xe0 => 2,
                    0xe0..0xf0 => 3,
                    _ => 4,
                };
                let text = String::from_utf8_lossy(bytes.get(..length)?).into_owned();
                text.chars().for_each(|c| self.put(c));
                Some(length)
            }
        }
    }

    fn put(&mut self, c: char) {
        if let Some(cell) = self.cells.get_mut(self.row).and_then(|row| row.get_mut(self.column)) {
            *cell = c;
        }
        self.column += 1;
    }

    fn control(&mut self, parameters: &str, letter: u8) {
        let number = |at: usize| parameters.split(';').nth(at).and_then(|text| text.parse::<usize>().ok());
        match (letter, parameters) {
            (b'H', _) => {
                self.row = number(0).unwrap_or(1).saturating_sub(1);
                self.column = number(1).unwrap_or(1).saturating_sub(1);
            }
            (b'J', _) => self.cells.iter_mut().flatten().for_each(|cell| *cell = ' '),
            (b'h' | b'l', "?1049") => self.is_alternate = letter == b'h',
            (b'h' | b'l', "?25") => self.is_cursor_hidden = letter == b'l',
            _ => {}
        }
    }
}

/// A pseudo terminal with somebody looking at it.
pub struct Terminal {
    keyboard: File,
    /// Kept open, so that what is set of it can be read when the program has ended.
    slave: OwnedFd,
    screen: Arc<Mutex<Screen>>,
}

impl Terminal {
    pub fn new(columns: u16, rows: u16) -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("no pseudo terminal")?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        tcsetwinsize(&slave, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
        let mut output = File::from(master.try_clone()?);
        let screen = Arc::new(Mutex::new(Screen::new(columns, rows)));
        let drawn = Arc::clone(&screen);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                drawn.lock().unwrap_or_else(PoisonError::into_inner).feed(&buffer[..length]);
            }
        });
        Ok(Self { keyboard: File::from(master), slave, screen })
    }

    /// For a program's stdin, stdout or stderr.
    pub fn stdio(&self) -> Result<Stdio> {
        Ok(Stdio::from(self.slave.as_fd().try_clone_to_owned()?))
    }

    pub fn press(&mut self, keys: &str) -> Result<()> {
        self.keyboard.write_all(keys.as_bytes()).context("the keyboard is gone")
    }

    pub fn screen(&self) -> Screen {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the terminal shows what is typed and takes Ctrl-C for a signal, as terminals do.
    pub fn is_cooked(&self) -> Result<bool> {
        let modes = tcgetattr(&self.slave)?.local_modes;
        Ok(modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG))
    }
}
