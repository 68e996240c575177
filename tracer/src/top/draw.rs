//! The screen: from what is known and chosen to cells. Nothing here decides or remembers anything.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::board::Row;
use super::health::{Health, labelled, safe};
use super::paint::{Paint, rate};
use super::rate::cells;
use super::state::{Cover, State, Tab};
use crate::model::time::WallTime;
use crate::output::capacity::span;

/// What is drawn.
pub struct Picture<'a> {
    pub paint: Paint,
    pub state: &'a State,
    pub node: &'a str,
    pub clock: &'a str,
    pub now: WallTime,
    /// Seconds since counting began.
    pub elapsed: u64,
    pub all: &'a Row,
    /// Seconds that the rates of a minute are taken from.
    pub minute: u64,
    pub rows: &'a [Row],
    pub chosen: usize,
    pub health: &'a Health,
    /// What stands in the place of rows, if something does.
    pub page: &'a [Line<'static>],
}

/// Smaller than this there is nothing to be read.
const SMALLEST: (u16, u16) = (60, 14);
/// Lines above the rows: the head, the tabs, the heading.
const HEAD: u16 = 8;
/// From this height on, maps and counters have room below the rows.
const TALL: u16 = 40;
/// Lines of every counter, with the heading.
const COUNTERS: u16 = 26;
/// From this width on, side by side.
const WIDE: u16 = 158;

const KEYS: &str = "q quit  ? help  Tab group  Enter events  s sort  / filter  p pause  r reset";
const KEYS_COVERED: &str = "Esc back  arrows, PgUp, PgDn scroll  p pause  Ctrl-C quit";

/// Lines for rows, or for a page.
pub fn room(area: Rect, picture: &Picture<'_>) -> usize {
    usize::from(body(area, picture).height)
}

fn body(area: Rect, picture: &Picture<'_>) -> Rect {
    let foot = 1 + u16::from(!picture.health.warnings.is_empty()) + panel_height(area, picture.state);
    let height = area.height.saturating_sub(HEAD + foot);
    Rect { y: area.y + HEAD.min(area.height), height, ..area }
}

/// Maps and counters below the rows, with their heading.
fn panel_height(area: Rect, state: &State) -> u16 {
    let has_rows = matches!((state.tab, &state.cover), (Tab::Group(_), Cover::Nothing));
    match area.height {
        _ if !has_rows => 0,
        50.. => COUNTERS,
        TALL.. => (area.height - HEAD) / 2,
        _ => 0,
    }
}

pub fn draw(buffer: &mut Buffer, picture: &Picture<'_>) {
    let area = buffer.area;
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!("tracer top: {}x{} is too small, 80x24 is enough", area.width, area.height);
        put(buffer, area, 0, &Line::from(text));
        return;
    }
    title(buffer, area, picture);
    put(buffer, area, 1, &drops(picture, area.width));
    put(buffer, area, 2, &picture.health.seen(picture.paint));
    put(buffer, area, 3, &picture.health.hooks(picture.paint));
    put(buffer, area, 4, &picture.health.fill(picture.paint));
    put(buffer, area, 5, &picture.health.agent(picture.paint));
    tabs(buffer, area, picture);
    let body = body(area, picture);
    match picture.state.query() {
        Some(_) => rows(buffer, area, body, picture),
        None => page(buffer, area, body, picture),
    }
    panel(buffer, area, body, picture);
    foot(buffer, area, picture);
}

/// One line, cut at the edge.
fn put(buffer: &mut Buffer, area: Rect, line: u16, text: &Line<'_>) {
    if line < area.height {
        buffer.set_line(area.x, area.y + line, text, area.width);
        if text.style != Style::new() {
            buffer.set_style(Rect { y: area.y + line, height: 1, ..area }, text.style);
        }
    }
}

/// Two texts, one at each edge.
fn spread(left: &str, right: &str, width: u16) -> String {
    let free = usize::from(width).saturating_sub(left.chars().count() + right.chars().count());
    format!("{left}{}{right}", " ".repeat(free))
}

fn title(buffer: &mut Buffer, area: Rect, picture: &Picture<'_>) {
    let paused = if picture.state.paused { "  PAUSED, counting goes on" } else { "" };
    let left = format!(" tracer top  {}  for {}{paused}", safe(picture.node), spoken(picture.elapsed));
    let text = spread(&left, &format!("{} ", picture.clock), area.width);
    put(buffer, area, 0, &Line::from(text).style(picture.paint.reversed().patch(picture.paint.bold())));
}

fn drops(picture: &Picture<'_>, width: u16) -> Line<'static> {
    let Picture { paint, all, minute, .. } = picture;
    let figures = format!(
        "{}/s now, {}/s over the last {}, {} in all ",
        rate(all.now, 1),
        rate(all.minute, *minute),
        if *minute < super::rate::WINDOW { format!("{minute} s") } else { "minute".to_owned() },
        all.count.total
    );
    let style = if all.now > 0 { paint.bad() } else { paint.bold() };
    let used = 7 + figures.chars().count();
    let mut line = labelled(*paint, "drops", &figures, style);
    let width = usize::from(width).saturating_sub(used + 1).min(super::rate::WINDOW as usize);
    if width >= 8 {
        line.push_span(Span::styled(paint.bars(&cells(&all.seconds, width)), paint.label()));
    }
    line
}

fn tabs(buffer: &mut Buffer, area: Rect, picture: &Picture<'_>) {
    let Picture { paint, state, .. } = picture;
    let mut line = Line::default();
    for (at, tab) in Tab::ALL.into_iter().enumerate() {
        let text = format!(" {} {} ", at + 1, tab.name());
        let style = if tab == state.tab { paint.reversed() } else { Style::new() };
        line.push_span(Span::styled(text, style));
    }
    if state.query().is_some() {
        line.push_span(format!("  sort: {}", state.sort.name()));
    }
    put(buffer, area, 6, &line);
}

/// Which columns there is room for.
struct Columns {
    bars: usize,
    ago: bool,
}

impl Columns {
    fn of(width: u16) -> Self {
        let bars = match width {
            ..100 => 12,
            100..140 => 20,
            140..200 => 30,
            200.. => 60,
        };
        Self { bars, ago: width >= 100 }
    }

    fn heading(&self, text: &str) -> String {
        let ago = if self.ago { format!("{:>7}", "LAST") } else { String::new() };
        let bars = self.bars;
        format!("{:>6} {:>7} {:>9}{ago}  {:<bars$}  {text}", "NOW/S", "1MIN/S", "TOTAL", "LAST MINUTE")
    }
}

fn rows(buffer: &mut Buffer, area: Rect, body: Rect, picture: &Picture<'_>) {
    let Picture { paint, state, .. } = picture;
    let Tab::Group(grouping) = state.tab else { return };
    let columns = Columns::of(area.width);
    put(buffer, area, HEAD - 1, &Line::from(columns.heading(grouping.heading())).style(paint.label()));
    if picture.rows.is_empty() {
        let filter = state.query().map(|query| query.filter).unwrap_or_default();
        let text = match (filter.is_empty(), picture.all.count.total) {
            (false, 1..) => format!("  no row with `{}`; Esc takes the filter back", safe(&filter)),
            _ => "  no drops so far".to_owned(),
        };
        return put(buffer, body, 0, &Line::from(text));
    }
    let room = usize::from(body.height);
    let first = (picture.chosen + 1).saturating_sub(room);
    for (line, (at, row)) in picture.rows.iter().enumerate().skip(first).take(room).enumerate() {
        let text = row_line(row, &columns, picture);
        let text = if at == picture.chosen { text.style(paint.reversed()) } else { text };
        put(buffer, body, line as u16, &text);
    }
}

fn row_line(row: &Row, columns: &Columns, picture: &Picture<'_>) -> Line<'static> {
    let Picture { paint, minute, .. } = picture;
    let now = if row.now > 0 { paint.bold() } else { Style::new() };
    let ago = if columns.ago { format!("{:>7}", ago(picture.now, row.count.last)) } else { String::new() };
    Line::from(vec![
        Span::styled(format!("{:>6}", rate(row.now, 1)), now),
        Span::raw(format!(" {:>7} {:>9}{ago}  ", rate(row.minute, *minute), row.count.total)),
        Span::styled(paint.bars(&cells(&row.seconds, columns.bars)), paint.label()),
        Span::raw("  "),
        Span::styled(row.text.clone(), now),
    ])
}

fn ago(now: WallTime, then: WallTime) -> String {
    spoken((now.0.saturating_sub(then.0) / 1_000_000_000).max(0).unsigned_abs())
}

fn spoken(seconds: u64) -> String {
    let mut out = Vec::new();
    span(&mut out, seconds);
    String::from_utf8_lossy(&out).into_owned()
}

fn page(buffer: &mut Buffer, area: Rect, body: Rect, picture: &Picture<'_>) {
    let Picture { paint, state, page, .. } = picture;
    let heading = match &state.cover {
        Cover::Help => "help".to_owned(),
        Cover::Events { title, .. } => title.clone(),
        Cover::Nothing => String::new(),
    };
    let room = usize::from(body.height);
    let below = page.len().saturating_sub(state.scroll + room);
    let more = if below > 0 { format!("{below} more lines below ") } else { String::new() };
    let width = usize::from(area.width).saturating_sub(more.len() + 1);
    let heading: String = heading.chars().take(width).collect();
    put(buffer, area, HEAD - 1, &Line::from(spread(&heading, &more, area.width)).style(paint.bold()));
    for (at, line) in page.iter().skip(state.scroll).take(room).enumerate() {
        put(buffer, body, at as u16, line);
    }
}

fn panel(buffer: &mut Buffer, area: Rect, body: Rect, picture: &Picture<'_>) {
    let height = panel_height(area, picture.state);
    if height == 0 {
        return;
    }
    let Picture { paint, health, .. } = picture;
    let below = Rect { y: body.y + body.height, height, ..area };
    let is_wide = area.width >= WIDE;
    let half = if is_wide { area.width / 2 } else { area.width };
    let left = Rect { width: half - u16::from(is_wide), ..below };
    let right = Rect { x: below.x + half, width: area.width - half, ..below };
    let mut put_all = |area: Rect, title: &str, lines: Vec<Line<'static>>| {
        put(buffer, area, 0, &Line::from(spread(title, "", area.width)).style(paint.reversed()));
        for (at, line) in (1..area.height).zip(lines) {
            put(buffer, area, at, &line);
        }
    };
    put_all(left, " maps (5)", health.maps(*paint));
    if is_wide {
        put_all(right, " taps, losses (6)", health.counters(*paint));
    }
}

fn foot(buffer: &mut Buffer, area: Rect, picture: &Picture<'_>) {
    let Picture { paint, state, health, .. } = picture;
    if let Some(last) = health.warnings.last() {
        let count = health.warnings.len();
        let text = format!("{count} warnings, the last: {last}");
        put(buffer, area, area.height - 2, &labelled(*paint, "warn", &text, paint.warn()));
    }
    let keys = match (&state.typing, &state.cover) {
        (Some(text), _) => {
            let text = format!("/{}_  Enter keeps it, Esc takes it back", safe(text));
            Line::from(text).style(paint.bold())
        }
        (None, Cover::Nothing) if state.query().is_some() && !state.filter.is_empty() => {
            let text = format!("filter: {}  Esc shows all  / another  ? help", safe(&state.filter));
            Line::from(text).style(paint.warn())
        }
        (None, Cover::Nothing) => Line::from(KEYS).style(paint.label()),
        (None, _) => Line::from(KEYS_COVERED).style(paint.label()),
    };
    put(buffer, area, area.height - 1, &keys);
}
