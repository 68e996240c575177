//! What the agent does while it lives, as far as others can see it: it reads `cilium_events` through one
//! perf ring per CPU, and rewrites its heartbeat every second.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use aya::maps::perf::{PerfEvent, PerfEventArrayBuffer};
use aya::maps::{Map as AyaMap, MapData, PerfEventArray};
use aya::util::online_cpus;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::clock;
use super::kernel::bpf::Map;

/// Pages of one ring, as the agent has it.
const PAGES: usize = 64;
const HEARTBEAT: Duration = Duration::from_secs(1);
const POLL: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// What the agent has read from the rings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Read {
    /// Records by message type (1 drop, 4 trace, 5 policy verdict).
    pub by_type: BTreeMap<u8, u64>,
    /// Drop messages by reason.
    pub drops_by_reason: BTreeMap<u8, u64>,
    /// Records that the kernel could not put into a full ring.
    pub lost: u64,
}

impl Read {
    fn take(&mut self, event: PerfEvent<'_>) {
        match event {
            PerfEvent::Lost { count } => self.lost += count,
            PerfEvent::Sample { head, tail } => {
                let mut bytes = head.iter().chain(tail);
                let (Some(kind), Some(subtype)) = (bytes.next(), bytes.next()) else { return };
                *self.by_type.entry(*kind).or_default() += 1;
                if *kind == 1 {
                    *self.drops_by_reason.entry(*subtype).or_default() += 1;
                }
            }
        }
    }
}

/// The living agent; dies when dropped.
#[derive(Debug)]
pub struct Agent {
    /// Of the API. Nobody answers, but connections are taken.
    _socket: UnixListener,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Read>>,
}

fn rings(events: &Map) -> Result<Vec<PerfEventArrayBuffer<MapData>>> {
    let data = MapData::from_fd(events.as_fd().try_clone_to_owned()?)?;
    let mut array = PerfEventArray::try_from(AyaMap::PerfEventArray(data))?;
    let cpus = online_cpus().map_err(|(path, error)| anyhow!("cannot read `{path}`: {error}"))?;
    cpus.into_iter().map(|cpu| Ok(array.open(cpu, Some(PAGES))?)).collect()
}

impl Agent {
    /// Installs the rings and starts to read and beat.
    pub fn start(socket: UnixListener, events: &Map, runtime: &Map) -> Result<Self> {
        let rings = rings(events).context("cannot open the rings of `cilium_events`")?;
        let heart = Heart { runtime: runtime.try_clone()?, next: Instant::now() };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("agent".to_owned())
            .spawn(move || live(rings, heart, &stopped))?;
        Ok(Self { _socket: socket, stop, thread: Some(thread) })
    }

    /// Reads what is left and ends.
    pub fn stop(mut self) -> Read {
        self.end()
    }

    fn end(&mut self) -> Read {
        self.stop.store(true, Ordering::Release);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.end();
    }
}

struct Heart {
    runtime: Map,
    next: Instant,
}

impl Heart {
    fn beat(&mut self) {
        if Instant::now() < self.next {
            return;
        }
        self.next += HEARTBEAT;
        // A missed beat shows by itself: readers compare the time.
        let _ = self.runtime.update(&1u32.to_ne_bytes(), &clock::monotonic_ns().to_ne_bytes());
    }
}

fn live(mut rings: Vec<PerfEventArrayBuffer<MapData>>, mut heart: Heart, stopped: &AtomicBool) -> Read {
    let mut read = Read::default();
    loop {
        let last = stopped.load(Ordering::Acquire);
        heart.beat();
        for ring in &mut rings {
            ring.for_each(|event| read.take(event));
        }
        if last {
            return read;
        }
        let mut fds: Vec<PollFd<'_>> =
            rings.iter().map(|ring| PollFd::from_borrowed_fd(ring.as_fd(), PollFlags::IN)).collect();
        let _ = poll(&mut fds, Some(&POLL));
    }
}
