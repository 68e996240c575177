//! The terminal while `top` has it: raw, on its second screen, without cursor. However the program ends, by an error, a
//! panic or a signal, it gets back what it was.

use std::io::{self, IsTerminal as _, Stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::pipeline::console;
use crate::top::state::Key;

/// Whether the screen is ours.
static OPEN: AtomicBool = AtomicBool::new(false);

/// The screen; gone with the value.
pub struct Screen(Terminal<CrosstermBackend<Stdout>>);

impl Screen {
    pub fn open() -> io::Result<Self> {
        restore_on_panic();
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        console::hold();
        OPEN.store(true, Ordering::SeqCst);
        // From here on dropping it restores everything.
        let screen = Self(terminal);
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    pub fn draw(&mut self, draw: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        // A thread that panicked has given the terminal back.
        if OPEN.load(Ordering::SeqCst) {
            self.0.draw(|frame| draw(frame.buffer_mut()))?;
        }
        Ok(())
    }

    /// The next drawing draws every cell.
    pub fn clear(&mut self) -> io::Result<()> {
        self.0.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if OPEN.swap(false, Ordering::SeqCst) {
        // Nothing can be done about a terminal that is gone.
        let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
        console::release();
    }
}

/// The message of a panic belongs on the first screen.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
    });
}

/// Why there can be no screen here; `None`: there can.
pub fn missing() -> Option<&'static str> {
    if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        return Some("TERM names no terminal that can be drawn on");
    }
    match (io::stdin().is_terminal(), io::stdout().is_terminal()) {
        (true, true) => None,
        (_, false) => Some("stdout is no terminal"),
        (false, true) => Some("stdin is no terminal"),
    }
}

/// Whether blocks and the like can be drawn. Nothing said is UTF-8 in all probability: containers set no locale.
pub fn is_ascii_only() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    let is_utf8 = |locale: &str| {
        let locale = locale.to_ascii_uppercase();
        locale.contains("UTF-8") || locale.contains("UTF8")
    };
    set("TERM").is_some_and(|term| term == "linux") || locale.is_some_and(|locale| !is_utf8(&locale))
}

/// What comes from the keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    Key(Key),
    /// The window has another size now.
    Resized,
    /// Ctrl-L: somebody has written over the screen.
    Redraw,
}

/// Reads keys in a thread of its own, which ends with the process.
pub fn keys() -> io::Result<UnboundedReceiver<Input>> {
    let (sender, receiver) = unbounded_channel();
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        while let Ok(event) = event::read() {
            let input = match event {
                Event::Key(pressed) => input(pressed),
                Event::Resize(..) => Some(Input::Resized),
                _ => None,
            };
            if input.is_some_and(|input| sender.send(input).is_err()) {
                return;
            }
        }
    })?;
    Ok(receiver)
}

fn input(pressed: KeyEvent) -> Option<Input> {
    let control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    match pressed.code {
        _ if pressed.kind == KeyEventKind::Release => None,
        KeyCode::Char('c' | 'C') if control => Some(Input::Key(Key::Interrupt)),
        KeyCode::Char('l' | 'L') if control => Some(Input::Redraw),
        KeyCode::Char(_) if control => None,
        code => key(code).map(Input::Key),
    }
}

fn key(code: KeyCode) -> Option<Key> {
    Some(match code {
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}
