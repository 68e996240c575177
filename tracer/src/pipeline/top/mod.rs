//! `tracer top`: the reader of `drops` with a board of counts as its sink, and the screen or the reports that show it.

mod fill;
mod terminal;
mod view;

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use self::terminal::{Input, Screen};
use self::view::{View, lock};
use super::RunError;
use super::drops::{attach, finish, reader, start};
use super::sinks::Sink;
use super::stop::Signals;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::top::{BatchPlan, TopPlan};
use crate::kernel::clock::{WallOffset, boot_now};
use crate::model::flow::Flow;
use crate::model::gauges::Gauges;
use crate::output::color::{self, ColorEnv};
use crate::output::lost::Lost;
use crate::output::summary::Summary;
use crate::output::time::{Clock, TimeFormat, local_zone};
use crate::output::why::brief::Rendered;
use crate::output::{Node, is_closed_pipe};
use crate::top::batch::Report;
use crate::top::board::Board;
use crate::top::health::Health;
use crate::top::paint::Paint;

/// Runs the command; the exit code is the caller's to return.
pub fn run(global: &Global, plan: TopPlan) -> Result<Exit, RunError> {
    super::live_only(global, "top")?;
    if let Some(why) = terminal::missing().filter(|_| plan.batch.is_none()) {
        return Err(RunError::Usage(format!(
            "top: {why}; `tracer top --batch` prints the figures as text or JSON"
        )));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(watch(global, plan))
}

/// What comes in while it runs.
struct News {
    signals: Signals,
    done: oneshot::Receiver<()>,
    summaries: UnboundedReceiver<Summary>,
    gauges: UnboundedReceiver<Result<Gauges, String>>,
    tick: Interval,
    end: Option<tokio::time::Instant>,
}

/// One of them.
enum Heard {
    /// A signal, the time being up, or the reader at its end.
    End,
    Tick,
    Nothing,
}

impl News {
    async fn next(&mut self, health: &mut Health) -> Heard {
        let end = self.end;
        let time_is_up = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.signals.any() => Heard::End,
            _ = &mut self.done => Heard::End,
            () = time_is_up => Heard::End,
            Some(summary) = self.summaries.recv() => {
                health.hear(summary);
                Heard::Nothing
            }
            Some(gauges) = self.gauges.recv() => {
                health.gauges = Some(gauges);
                Heard::Nothing
            }
            _ = self.tick.tick() => Heard::Tick,
        }
    }
}

async fn watch(global: &Global, mut plan: TopPlan) -> Result<Exit, RunError> {
    let signals = Signals::new()?;
    let attached = attach(global, &mut plan.watch)?;
    let health = Health::new(attached.taps());
    let board = Arc::new(Mutex::new(Board::new(&attached.node(), boot_now())));
    let ready_file = plan.watch.ready_file.take();
    let duration = plan.watch.stop.duration;
    let mut reader = reader(attached, plan.watch, global)?;
    reader.chain.stage.sinks.add("the board".into(), Box::new(BoardSink(Arc::clone(&board))));
    reader.stdout = None;
    let (told, summaries) = unbounded_channel();
    // Who does not listen any more has stopped the reader.
    reader.report_to = Some(Box::new(move |summary| drop(told.send(summary))));
    let (handle, done) = start(reader, ready_file)?;
    let mut tick = interval_at(tokio::time::Instant::now() + plan.interval, plan.interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let end = duration.map(|duration| tokio::time::Instant::now() + duration);
    let news = News { signals, done, summaries, gauges: fill::watch(global)?, tick, end };
    let is_json = plan.batch.as_ref().is_some_and(|batch| batch.json);
    match plan.batch {
        None => {
            let shown = on_screen(global, news, health, board).await;
            let reader = handle.stop()?;
            shown.map_err(RunError::Output)?;
            finish(reader, global, is_json)
        }
        Some(batch) => {
            let mut printed = Reports::new(batch, health, board);
            let result = printed.until_end(news).await;
            let reader = handle.stop()?;
            let result = result.and_then(|()| printed.last(reader.summary()));
            match result {
                Err(error) if !is_closed_pipe(&error) => Err(RunError::Output(error)),
                _ => finish(reader, global, is_json),
            }
        }
    }
}

async fn on_screen(
    global: &Global,
    mut news: News,
    health: Health,
    board: Arc<Mutex<Board>>,
) -> io::Result<()> {
    let paint = Paint {
        color: color::decide(global.color, &ColorEnv::from_process(), true),
        ascii: terminal::is_ascii_only(),
    };
    let mut view = View::new(board, health, paint);
    let mut screen = Screen::open()?;
    let mut keys = terminal::keys()?;
    loop {
        screen.draw(|buffer| view.draw(buffer))?;
        tokio::select! {
            heard = news.next(&mut view.health) => if matches!(heard, Heard::End) { return Ok(()) },
            input = keys.recv() => match input {
                Some(Input::Key(key)) if !view.press(key) => return Ok(()),
                Some(Input::Redraw) => screen.clear()?,
                Some(Input::Key(_) | Input::Resized) => {}
                // The terminal is gone.
                None => return Ok(()),
            },
        }
    }
}

/// `--batch`.
struct Reports {
    plan: BatchPlan,
    health: Health,
    board: Arc<Mutex<Board>>,
    clock: Clock,
    out: Vec<u8>,
    printed: u64,
    since: Instant,
}

impl Reports {
    fn new(plan: BatchPlan, health: Health, board: Arc<Mutex<Board>>) -> Self {
        let clock = match plan.json {
            true => Clock::json(),
            false => Clock::new(TimeFormat::Rfc3339, local_zone()),
        };
        Self { plan, health, board, clock, out: Vec::new(), printed: 0, since: Instant::now() }
    }

    /// All reports but the last.
    async fn until_end(&mut self, mut news: News) -> io::Result<()> {
        loop {
            match news.next(&mut self.health).await {
                Heard::End => return Ok(()),
                Heard::Nothing => {}
                Heard::Tick if self.plan.count.is_some_and(|count| self.printed + 1 >= count.get()) => {
                    return Ok(());
                }
                Heard::Tick => self.print(false)?,
            }
        }
    }

    /// Everything that was read is in it.
    fn last(&mut self, summary: Summary) -> io::Result<()> {
        self.health.hear(summary);
        self.print(true)
    }

    fn print(&mut self, is_final: bool) -> io::Result<()> {
        let mut board = lock(&self.board);
        let now = boot_now();
        let report = Report {
            board: &board,
            health: &self.health,
            time: WallOffset::now().wall(now),
            now,
            interval: self.since.elapsed().max(Duration::from_millis(1)),
            is_final,
            rows: self.plan.rows.get(),
        };
        match self.plan.json {
            true => report.json(&mut self.out, &mut self.clock),
            false => report.text(&mut self.out, &mut self.clock),
        }
        board.begin_report();
        drop(board);
        (self.since, self.printed) = (Instant::now(), self.printed + 1);
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(&self.out).and_then(|()| stdout.flush());
        self.out.clear();
        written
    }
}

/// Counts every event that is shown.
struct BoardSink(Arc<Mutex<Board>>);

impl Sink for BoardSink {
    fn flow(&mut self, flow: &Flow, _concerns: bool, why: Option<&Arc<Rendered>>) -> io::Result<()> {
        lock(&self.0).add(flow, why);
        Ok(())
    }

    /// The books have them.
    fn lost(&mut self, _lost: &Lost) -> io::Result<()> {
        Ok(())
    }

    fn node(&mut self, node: &Node) -> io::Result<()> {
        lock(&self.0).set_node(node);
        Ok(())
    }

    fn flush(&mut self, _now: Instant) -> io::Result<()> {
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}
