//! What the screen shows and the keys change: the board, live or as it was when the picture was stopped.

use std::sync::{Arc, Mutex, PoisonError};

use ratatui::buffer::Buffer;
use ratatui::text::Line;

use crate::explain::Book;
use crate::kernel::clock::{WallOffset, boot_now};
use crate::model::time::BootTime;
use crate::output::time::{Clock, TimeFormat, local_zone};
use crate::pipeline::console;
use crate::pipeline::explain::running_kernel;
use crate::top::board::{Board, Query};
use crate::top::draw::{Picture, draw, room};
use crate::top::health::Health;
use crate::top::page;
use crate::top::paint::Paint;
use crate::top::state::{Cover, Drawn, Key, State, Tab, Wish};

/// A picture that was stopped.
struct Still {
    board: Board,
    now: BootTime,
}

pub struct View {
    board: Arc<Mutex<Board>>,
    pub health: Health,
    state: State,
    paint: Paint,
    drawn: Drawn,
    still: Option<Still>,
    book: Option<Book>,
    clock: Clock,
}

impl View {
    pub fn new(board: Arc<Mutex<Board>>, health: Health, paint: Paint) -> Self {
        let clock = Clock::new(TimeFormat::Rfc3339, local_zone());
        let (state, drawn) = (State::default(), Drawn::default());
        Self { board, health, state, paint, drawn, still: None, book: None, clock }
    }

    /// False: it is to end.
    pub fn press(&mut self, key: Key) -> bool {
        let wish = self.state.press(key, &self.drawn);
        match (self.state.paused, &self.still) {
            (true, None) => self.still = Some(Still { board: lock(&self.board).clone(), now: boot_now() }),
            (false, Some(_)) => self.still = None,
            _ => {}
        }
        if wish == Wish::Reset {
            lock(&self.board).reset(boot_now());
            (self.state.paused, self.still) = (false, None);
        }
        wish != Wish::Quit
    }

    pub fn draw(&mut self, buffer: &mut Buffer) {
        self.health.warnings = console::lines();
        let width = usize::from(buffer.area.width);
        let live = self.still.is_none().then(|| Arc::clone(&self.board));
        let live = live.as_deref().map(lock);
        let (board, now) = match (&live, &self.still) {
            (Some(board), _) => (&**board, boot_now()),
            (None, Some(still)) => (&still.board, still.now),
            (None, None) => return,
        };
        let query = self.state.query();
        let rows = query.as_ref().map(|query: &Query| board.rows(query, now)).unwrap_or_default();
        let (all, minute, since) = (board.all(now), board.minute(now), board.since());
        let node = board.node().clone();
        let events = match &self.state.cover {
            Cover::Events { grouping, values, .. } => board.events(*grouping, values),
            _ => Vec::new(),
        };
        // The reader goes on while the rest is drawn.
        drop(live);
        if !events.is_empty() && self.book.is_none() {
            self.book = Some(Book::new(running_kernel().ok().as_deref()));
        }
        let page: Vec<Line<'static>> = match (&self.state.cover, self.state.tab) {
            (Cover::Help, _) => page::help(),
            (Cover::Events { .. }, _) => page::events(&events, &node, self.book.as_ref(), width, self.paint),
            (Cover::Nothing, Tab::Maps) => self.health.maps(self.paint),
            (Cover::Nothing, Tab::Taps) => self.health.counters(self.paint),
            (Cover::Nothing, Tab::Group(_)) => Vec::new(),
        };
        let wall = WallOffset::now().wall(now);
        let mut clock = Vec::new();
        self.clock.write(&mut clock, wall);
        let clock = String::from_utf8_lossy(&clock).into_owned();
        let mut picture = Picture {
            paint: self.paint,
            state: &self.state.clone(),
            node: &node.name,
            clock: &clock,
            now: wall,
            elapsed: now.0.saturating_sub(since.0) / 1_000_000_000,
            all: &all,
            minute,
            rows: &rows,
            chosen: 0,
            health: &self.health,
            page: &page,
        };
        self.drawn = Drawn {
            rows: rows.iter().map(|row| (row.text.clone(), row.values.clone())).collect(),
            room: room(buffer.area, &picture),
            lines: page.len(),
        };
        picture.chosen = self.state.settle(&self.drawn);
        let state = self.state.clone();
        draw(buffer, &Picture { state: &state, ..picture });
    }
}

pub fn lock(board: &Mutex<Board>) -> std::sync::MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}
