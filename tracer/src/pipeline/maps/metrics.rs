//! `tracer metrics`, once and again and again.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::MapNode;
use super::newest::Newest;
use crate::cilium::metrics::{self, Count, MetricsRow, MetricsSnapshot};
use crate::cilium::pins;
use crate::cilium::release::ReleaseRange;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::metrics::MetricsPlan;
use crate::output::listing::{ListFormat, Listing, ListingOptions, RawEntry};
use crate::output::rows::metrics::{COLUMNS, CounterRow, RATE_COLUMNS};
use crate::pipeline::stop::Signals;
use crate::pipeline::{RunError, live_only};

pub fn run(global: &Global, plan: &MetricsPlan) -> Result<Exit, RunError> {
    match plan.watch {
        Some(interval) => {
            live_only(global, "metrics --watch")?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(watch(global, interval, &plan.listing))
        }
        None => once(global, &plan.listing),
    }
}

fn once(global: &Global, options: &ListingOptions) -> Result<Exit, RunError> {
    let MapNode { view, mut maps } = MapNode::open(global, options.progress)?;
    let releases = view.releases().releases();
    let columns = if options.format == ListFormat::Cilium { &COLUMNS[..6] } else { COLUMNS };
    let mut listing = Listing::new(io::stdout().lock(), options, columns);
    let snapshot = match maps.required(&pins::METRICS)? {
        Newest::None => return Ok(maps.exit()),
        Newest::Foreign(open) => {
            maps.raw(&open, &mut listing);
            MetricsSnapshot::default()
        }
        Newest::Known(open) => {
            let (mut snapshot, mut undecoded) = (MetricsSnapshot::default(), 0);
            maps.walk(&open, &mut |key, value| {
                if metrics::is_sound(key) {
                    snapshot.add(key, value);
                    return std::ops::ControlFlow::Continue(());
                }
                undecoded += 1;
                listing.raw(&RawEntry { map: &open.name, key, value })
            });
            maps.report.undecoded(&open.name, undecoded);
            snapshot
        }
    };
    for (row, count) in snapshot.rows() {
        if listing.row(&counter(row, *count, None, releases, options)).is_break() {
            break;
        }
    }
    listing.finish().map_err(RunError::Output)?;
    Ok(maps.exit())
}

fn counter<'a>(
    row: &'a MetricsRow,
    count: Count,
    since: Option<(Count, Duration)>,
    releases: ReleaseRange,
    options: &ListingOptions,
) -> CounterRow<'a> {
    CounterRow { row, count, since, releases, numeric: options.numeric }
}

/// Prints what changed in every interval until a signal comes or nobody reads on.
async fn watch(global: &Global, interval: Duration, options: &ListingOptions) -> Result<Exit, RunError> {
    let mut signals = Signals::new()?;
    let MapNode { mut view, mut maps } = MapNode::open(global, false)?;
    // Says what is wrong with the map, if something is.
    if !matches!(maps.required(&pins::METRICS)?, Newest::Known(_)) {
        return Ok(maps.exit());
    }
    let mut options = options.clone();
    let (mut before, mut read_at) = (MetricsSnapshot::default(), None);
    loop {
        let now = Instant::now();
        view.refresh(now);
        view.take_notices().iter().for_each(|notice| tracing::warn!("{notice}"));
        let snapshot = match view.metrics_snapshot() {
            Some(Ok(snapshot)) => snapshot,
            Some(Err(error)) => {
                tracing::warn!("{error}");
                before.clone()
            }
            None => before.clone(),
        };
        if let Some(read_at) = read_at {
            let time = now.duration_since(read_at);
            if !print(&snapshot, &before, time, view.releases().releases(), &options)? {
                return Ok(Exit::Done);
            }
            options.no_headers |= options.format == ListFormat::Csv;
        }
        (before, read_at) = (snapshot, Some(now));
        tokio::select! {
            () = signals.any() => return Ok(maps.exit()),
            () = tokio::time::sleep(interval) => {}
        }
    }
}

/// False: nobody reads any more.
fn print(
    now: &MetricsSnapshot,
    before: &MetricsSnapshot,
    time: Duration,
    releases: ReleaseRange,
    options: &ListingOptions,
) -> Result<bool, RunError> {
    let delta = now.delta(before);
    let mut listing = Listing::new(io::stdout().lock(), options, RATE_COLUMNS);
    for (row, since) in delta.rows() {
        let total = now.count(row);
        if listing.row(&counter(row, total, Some((*since, time)), releases, options)).is_break() {
            break;
        }
    }
    let footer = if delta.rows().next().is_none() { "nothing was counted\n\n" } else { "\n" };
    listing.finish_with(footer, |_| {}).map_err(RunError::Output)?;
    Ok(!reader_is_gone())
}

/// Whether stdout is a pipe that nobody reads from.
fn reader_is_gone() -> bool {
    let stdout = io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::ERR)
}
