//! Traffic of the cast: real connections between real sockets, and some handmade frames. Bounded: a round is
//! a few dozen packets, rounds have a pause, a flood has a number.

mod cases;
mod frames;
mod services;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

pub use cases::{CASES, Case};
pub use frames::{Frame, checksum, tcp_syn4, udp4};
pub use services::Services;

use super::kernel::space::NetSpace;

/// Which packets to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    None,
    /// All cases, round after round.
    Default,
    /// One case, round after round.
    Case(&'static Case),
    /// Denied UDP datagrams, once.
    Flood(Flood),
}

/// So many packets, as fast as possible or so many a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    pub packets: u64,
    pub rate: Option<u64>,
}

impl Plan {
    /// So many packets as fast as possible.
    pub fn flood(packets: u64) -> Self {
        Self::Flood(Flood { packets, rate: None })
    }
}

impl FromStr for Flood {
    type Err = String;

    /// `N` or `N@RATE`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (packets, rate) = text.split_once('@').map_or((text, None), |(n, rate)| (n, Some(rate)));
        let number = |text: &str| match text.parse::<u64>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("`{text}` is not a number of packets")),
        };
        Ok(Self { packets: number(packets)?, rate: rate.map(number).transpose()? })
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            None if text == "default" => Ok(Self::Default),
            Some(("case", name)) => {
                let case = CASES.iter().find(|case| case.name == name);
                let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
                case.map(Self::Case)
                    .ok_or_else(|| format!("no case `{name}`: expected one of {}", names.join(", ")))
            }
            Some(("flood", flood)) => flood.parse().map(Self::Flood),
            _ => Err(format!(
                "unknown traffic `{text}`: expected none, default, case:NAME, flood:N or flood:N@RATE"
            )),
        }
    }
}

/// When to start, how fast, how long.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub plan: Plan,
    /// Wait until this file exists.
    pub ready: Option<PathBuf>,
    pub pause: Duration,
    /// Stop by itself after so many rounds.
    pub rounds: Option<u64>,
    /// Send the XDP case too.
    pub xdp: bool,
}

/// What was sent for one case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sent {
    pub case: &'static str,
    pub rounds: u64,
    /// Packets that the case exists for, as really sent.
    pub packets: u64,
    /// The Cilium drop reason that each of them should meet; none: they pass Cilium.
    pub reason: Option<u8>,
    /// Errors of the sending side (a connection that should work did not).
    pub failed: u64,
    /// Time that the sending took.
    pub elapsed_ns: u64,
}

/// Traffic in a thread of its own.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<Sent>>>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// The namespaces that packets start in.
#[derive(Debug)]
pub struct Places {
    pub client: NetSpace,
    pub world: NetSpace,
}

impl Traffic {
    pub fn start(places: Places, schedule: Schedule) -> Result<Self> {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let run = Run { places, schedule, stop: Arc::clone(&stop), sent: Arc::clone(&sent) };
        let finished = Arc::clone(&done);
        let thread = std::thread::Builder::new().name("traffic".to_owned()).spawn(move || {
            let result = run.all();
            finished.store(true, Ordering::Release);
            result
        })?;
        Ok(Self { stop, done, sent, thread: Some(thread) })
    }

    /// All that was planned has been sent.
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Has it end soon, without waiting.
    pub fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Ends after the packet under way; what was sent in all.
    pub fn stop(&mut self) -> Result<Vec<Sent>> {
        self.ask_to_stop();
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow!("the traffic thread panicked"))??;
        }
        Ok(self.sent.lock().map_err(|_| anyhow!("the traffic thread panicked"))?.clone())
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// The thread's side.
struct Run {
    places: Places,
    schedule: Schedule,
    stop: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Run {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn all(&self) -> Result<()> {
        self.wait_for_ready();
        match self.schedule.plan {
            Plan::None => Ok(()),
            Plan::Flood(flood) => self.flood(flood),
            Plan::Case(case) => self.rounds(&[case]),
            Plan::Default => {
                let cases: Vec<&Case> =
                    CASES.iter().filter(|case| self.schedule.xdp || !case.needs_xdp).collect();
                self.rounds(&cases)
            }
        }
    }

    fn wait_for_ready(&self) {
        while let Some(file) = &self.schedule.ready {
            if file.exists() || self.stopped() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn rounds(&self, cases: &[&Case]) -> Result<()> {
        let mut round = 0;
        while !self.stopped() && self.schedule.rounds.is_none_or(|rounds| round < rounds) {
            let next = Instant::now() + self.schedule.pause;
            for case in cases {
                if self.stopped() {
                    return Ok(());
                }
                self.one(case, round)?;
            }
            round += 1;
            while !self.stopped() && Instant::now() < next {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }

    fn one(&self, case: &Case, round: u64) -> Result<()> {
        let place = if case.from_world { &self.places.world } else { &self.places.client };
        place.enter().context("cannot enter a namespace of the cast")?;
        let start = Instant::now();
        let result = (case.send)(round);
        self.note(case.name, case.reason, &result.map_err(drop), start.elapsed());
        Ok(())
    }

    fn note(&self, name: &'static str, reason: Option<u8>, result: &Result<u64, ()>, elapsed: Duration) {
        let Ok(mut sent) = self.sent.lock() else { return };
        let index = sent.iter().position(|sent| sent.case == name).unwrap_or_else(|| {
            sent.push(Sent { case: name, rounds: 0, packets: 0, reason, failed: 0, elapsed_ns: 0 });
            sent.len() - 1
        });
        sent[index].rounds += 1;
        sent[index].elapsed_ns += elapsed.as_nanos() as u64;
        match result {
            Ok(packets) => sent[index].packets += packets,
            Err(()) => sent[index].failed += 1,
        }
    }

    fn flood(&self, flood: Flood) -> Result<()> {
        self.places.client.enter().context("cannot enter a namespace of the cast")?;
        let start = Instant::now();
        let result = cases::flood(flood, &self.stop);
        let sent = result.as_ref().map(|sent| *sent).map_err(drop);
        self.note("flood", Some(cases::POLICY), &sent, start.elapsed());
        result.map(drop).context("cannot flood")
    }
}
