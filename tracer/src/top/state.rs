//! What the person in front of the screen has chosen: which figures, in what order, which row. Keys change it;
//! nothing here draws or reads a key.

use super::board::{Grouping, Query, Sort};

/// A key that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Tab,
    BackTab,
    Left,
    Right,
    Backspace,
    /// Ctrl-C.
    Interrupt,
}

/// What is shown in the middle of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Group(Grouping),
    Maps,
    Taps,
}

impl Tab {
    pub const ALL: [Self; 6] = [
        Self::Group(Grouping::Reason),
        Self::Group(Grouping::Identity),
        Self::Group(Grouping::Place),
        Self::Group(Grouping::Pod),
        Self::Maps,
        Self::Taps,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Group(grouping) => grouping.name(),
            Self::Maps => "maps",
            Self::Taps => "taps, losses",
        }
    }

    fn at(self) -> usize {
        Self::ALL.iter().position(|tab| *tab == self).unwrap_or_default()
    }

    fn step(self, by: usize) -> Self {
        Self::ALL[(self.at() + by) % Self::ALL.len()]
    }
}

/// What covers the middle of the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cover {
    #[default]
    Nothing,
    Help,
    /// The last events of a group; what it is called, and its values.
    Events {
        title: String,
        grouping: Grouping,
        values: Box<[u8]>,
    },
}

/// What a key asks of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Nothing,
    Quit,
    /// Set all counts back.
    Reset,
}

/// The rows as they were drawn last: what keys speak of.
#[derive(Clone, Debug, Default)]
pub struct Drawn {
    /// Text and values of each row, all of them.
    pub rows: Vec<(String, Option<Box<[u8]>>)>,
    /// Rows that have room.
    pub room: usize,
    /// Lines of the page, if there is a page instead of rows.
    pub lines: usize,
}

#[derive(Clone, Debug)]
pub struct State {
    pub tab: Tab,
    pub sort: Sort,
    pub filter: String,
    /// The filter as it is being typed.
    pub typing: Option<String>,
    pub paused: bool,
    pub cover: Cover,
    /// First line of a page that is drawn.
    pub scroll: usize,
    /// Values of the chosen row: it stays chosen wherever it moves. `None`: whatever is at `cursor`.
    pub(super) selected: Option<Box<[u8]>>,
    pub(super) cursor: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            tab: Tab::ALL[0],
            sort: Sort::default(),
            filter: String::new(),
            typing: None,
            paused: false,
            cover: Cover::Nothing,
            scroll: 0,
            selected: None,
            cursor: 0,
        }
    }
}

impl State {
    /// The rows that are wanted; `None` on a page.
    pub fn query(&self) -> Option<Query> {
        match (self.tab, &self.cover) {
            (Tab::Group(grouping), Cover::Nothing) => {
                let filter = self.typing.as_ref().unwrap_or(&self.filter).clone();
                Some(Query { grouping, sort: self.sort, filter })
            }
            _ => None,
        }
    }

    /// Which of the rows is chosen now. Before anything was chosen it is the first one, whichever that is.
    pub fn settle(&mut self, drawn: &Drawn) -> usize {
        let chosen = self
            .selected
            .as_ref()
            .and_then(|values| drawn.rows.iter().position(|(_, row)| row.as_ref() == Some(values)));
        self.cursor = chosen.unwrap_or(self.cursor).min(drawn.rows.len().saturating_sub(1));
        self.scroll = self.scroll.min(drawn.lines.saturating_sub(drawn.room));
        self.cursor
    }

    pub fn press(&mut self, key: Key, drawn: &Drawn) -> Wish {
        if key == Key::Interrupt {
            return Wish::Quit;
        }
        if self.typing.is_some() {
            self.type_filter(key);
            return Wish::Nothing;
        }
        if self.cover != Cover::Nothing {
            return self.press_covered(key, drawn);
        }
        match key {
            Key::Char('q') => return Wish::Quit,
            // What was narrowed is widened first.
            Key::Escape if !self.filter.is_empty() => self.filter.clear(),
            Key::Escape => return Wish::Quit,
            Key::Char('r') => {
                self.first_row();
                return Wish::Reset;
            }
            Key::Char('p' | ' ') => self.paused = !self.paused,
            Key::Char('s') => self.sort = self.sort.next(),
            Key::Char('/') if matches!(self.tab, Tab::Group(_)) => self.typing = Some(self.filter.clone()),
            Key::Char('?' | 'h') => self.cover(Cover::Help),
            Key::Tab | Key::Right => self.show(self.tab.step(1)),
            Key::BackTab | Key::Left => self.show(self.tab.step(Tab::ALL.len() - 1)),
            Key::Char(digit @ '1'..='6') => self.show(Tab::ALL[digit as usize - '1' as usize]),
            Key::Enter => self.open(drawn),
            key => self.walk(key, drawn),
        }
        Wish::Nothing
    }

    /// Events and help: everything that leads back leads back.
    fn press_covered(&mut self, key: Key, drawn: &Drawn) -> Wish {
        match key {
            Key::Char('q' | '?' | 'h') | Key::Escape | Key::Enter | Key::Backspace | Key::Left => {
                self.cover(Cover::Nothing);
            }
            Key::Char('p' | ' ') => self.paused = !self.paused,
            key => self.walk(key, drawn),
        }
        Wish::Nothing
    }

    fn type_filter(&mut self, key: Key) {
        let Some(text) = &mut self.typing else { return };
        match key {
            Key::Char(c) => text.push(c),
            Key::Backspace => drop(text.pop()),
            Key::Enter => {
                self.filter = std::mem::take(text);
                self.typing = None;
                self.first_row();
            }
            Key::Escape => self.typing = None,
            _ => {}
        }
    }

    fn cover(&mut self, cover: Cover) {
        (self.cover, self.scroll) = (cover, 0);
    }

    fn show(&mut self, tab: Tab) {
        if self.tab != tab {
            (self.tab, self.scroll) = (tab, 0);
            self.first_row();
        }
    }

    fn first_row(&mut self) {
        (self.selected, self.cursor) = (None, 0);
    }

    /// The chosen row's events. All groups beyond the limit together have none.
    fn open(&mut self, drawn: &Drawn) {
        let (Tab::Group(grouping), Some((text, Some(values)))) = (self.tab, drawn.rows.get(self.cursor))
        else {
            return;
        };
        let (title, values) = (text.clone(), values.clone());
        self.selected = Some(values.clone());
        self.cover(Cover::Events { title, grouping, values });
    }

    fn walk(&mut self, key: Key, drawn: &Drawn) {
        let page = drawn.room.max(1);
        let is_page = self.query().is_none();
        let (at, end) = match is_page {
            true => (self.scroll, drawn.lines.saturating_sub(drawn.room)),
            false => (self.cursor, drawn.rows.len().saturating_sub(1)),
        };
        let to = match key {
            Key::Up | Key::Char('k') => at.saturating_sub(1),
            Key::Down | Key::Char('j') => at + 1,
            Key::PageUp => at.saturating_sub(page),
            Key::PageDown => at + page,
            Key::Home | Key::Char('g') => 0,
            Key::End | Key::Char('G') => end,
            _ => return,
        };
        let to = to.min(end);
        if is_page {
            self.scroll = to;
        } else {
            self.cursor = to;
            self.selected = drawn.rows.get(to).and_then(|(_, values)| values.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(names: &[&str]) -> Drawn {
        let row = |name: &&str| ((*name).to_owned(), Some(name.as_bytes().into()));
        Drawn { rows: names.iter().map(row).collect(), room: 2, lines: 0 }
    }

    fn press(state: &mut State, keys: &str, drawn: &Drawn) -> Wish {
        keys.chars().fold(Wish::Nothing, |_, c| state.press(Key::Char(c), drawn))
    }

    #[test]
    fn the_chosen_row_stays_chosen_wherever_it_moves() {
        let mut state = State::default();
        let before = drawn(&["a", "b", "c"]);
        assert_eq!(state.settle(&before), 0);
        press(&mut state, "j", &before);
        assert_eq!(state.settle(&before), 1);
        assert_eq!(state.settle(&drawn(&["b", "a", "c"])), 0);
        assert_eq!(state.settle(&drawn(&["c", "a", "b"])), 2);
        // It is gone: the one in its place, or the last.
        assert_eq!(state.settle(&drawn(&["c", "a"])), 1);
        assert_eq!(state.settle(&drawn(&[])), 0);
    }

    #[test]
    fn nobody_chose_so_it_is_the_first_row() {
        let mut state = State::default();
        assert_eq!(state.settle(&drawn(&["a", "b"])), 0);
        assert_eq!(state.settle(&drawn(&["b", "a"])), 0);
    }

    #[test]
    fn walking_ends_at_the_ends() {
        let (mut state, rows) = (State::default(), drawn(&["a", "b", "c"]));
        press(&mut state, "k", &rows);
        assert_eq!(state.settle(&rows), 0);
        press(&mut state, "jjjj", &rows);
        assert_eq!(state.settle(&rows), 2);
        press(&mut state, "g", &rows);
        assert_eq!(state.settle(&rows), 0);
        state.press(Key::PageDown, &rows);
        assert_eq!(state.settle(&rows), 2);
        state.press(Key::Home, &drawn(&[]));
        assert_eq!(state.press(Key::End, &drawn(&[])), Wish::Nothing);
    }

    #[test]
    fn tabs_go_round_and_have_numbers() {
        let (mut state, rows) = (State::default(), drawn(&[]));
        state.press(Key::BackTab, &rows);
        assert_eq!(state.tab, Tab::Taps);
        state.press(Key::Tab, &rows);
        assert_eq!(state.tab, Tab::Group(Grouping::Reason));
        for (digit, tab) in "123456".chars().zip(Tab::ALL) {
            state.press(Key::Char(digit), &rows);
            assert_eq!(state.tab, tab);
        }
    }

    #[test]
    fn a_filter_holds_while_it_is_typed_and_escape_takes_it_back() {
        let (mut state, rows) = (State::default(), drawn(&["a"]));
        press(&mut state, "/qp", &rows);
        assert_eq!(state.query().unwrap().filter, "qp", "letters are text now");
        state.press(Key::Backspace, &rows);
        state.press(Key::Enter, &rows);
        assert_eq!((state.filter.as_str(), state.typing.as_deref()), ("q", None));
        press(&mut state, "/x", &rows);
        state.press(Key::Escape, &rows);
        assert_eq!(state.query().unwrap().filter, "q");
        assert_eq!(state.press(Key::Escape, &rows), Wish::Nothing);
        assert_eq!(state.query().unwrap().filter, "");
        assert_eq!(state.press(Key::Escape, &rows), Wish::Quit);
    }

    #[test]
    fn the_ways_out() {
        let rows = drawn(&["a"]);
        assert_eq!(State::default().press(Key::Char('q'), &rows), Wish::Quit);
        assert_eq!(State::default().press(Key::Interrupt, &rows), Wish::Quit);
        // From what covers the screen back to it; Ctrl-C ends it from everywhere.
        let mut state = State::default();
        state.press(Key::Enter, &rows);
        let events =
            Cover::Events { title: "a".into(), grouping: Grouping::Reason, values: b"a".as_slice().into() };
        assert_eq!(state.cover, events);
        assert_eq!(state.press(Key::Char('q'), &rows), Wish::Nothing);
        assert_eq!(state.cover, Cover::Nothing);
        state.press(Key::Char('?'), &rows);
        assert_eq!((state.cover.clone(), state.query().is_none()), (Cover::Help, true));
        assert_eq!(state.press(Key::Interrupt, &rows), Wish::Quit);
        press(&mut state, "q/", &rows);
        assert_eq!(state.press(Key::Interrupt, &rows), Wish::Quit);
    }

    #[test]
    fn sorting_pausing_and_setting_back() {
        let (mut state, rows) = (State::default(), drawn(&["a", "b"]));
        let mut sorts = Vec::new();
        for _ in 0..5 {
            sorts.push(state.sort);
            press(&mut state, "s", &rows);
        }
        assert_eq!(sorts, [Sort::Now, Sort::Minute, Sort::Total, Sort::Last, Sort::Name]);
        assert_eq!(state.sort, Sort::Now);
        press(&mut state, "p", &rows);
        assert!(state.paused);
        press(&mut state, " ", &rows);
        assert!(!state.paused);
        press(&mut state, "j", &rows);
        assert_eq!(press(&mut state, "r", &rows), Wish::Reset);
        assert_eq!(state.settle(&rows), 0);
    }

    #[test]
    fn pages_scroll_no_further_than_their_last_line() {
        let mut state = State { tab: Tab::Taps, ..State::default() };
        let page = Drawn { rows: Vec::new(), room: 10, lines: 13 };
        press(&mut state, "jjjjj", &page);
        assert_eq!(state.scroll, 3);
        state.settle(&Drawn { room: 12, ..page.clone() });
        assert_eq!(state.scroll, 1, "the screen has grown");
        state.press(Key::Home, &page);
        assert_eq!(state.scroll, 0);
    }
}
