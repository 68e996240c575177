//! When to stop: a signal, the time being up, the command having ended, or the reader itself (enough events,
//! nobody reads our output).

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Why the stream ended.
#[derive(Debug)]
pub enum Cause {
    Signal,
    Duration,
    Command(io::Result<ExitStatus>),
    Reader,
}

/// The reader's bell: readable once it is to stop.
pub struct Bell(OwnedFd);

impl Bell {
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub fn listener(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    pub fn ring(&self) {
        if let Err(error) = rustix::io::write(&self.0, &1u64.to_ne_bytes()) {
            tracing::error!(%error, "cannot stop the reader");
        }
    }
}

/// Signals that end the stream. Made before anything is attached, so that none is missed.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one of them.
    pub async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Starts the command to watch. Its output goes to stderr: stdout is the events' alone.
pub fn start_command(words: &[OsString]) -> io::Result<Option<Child>> {
    let Some((program, arguments)) = words.split_first() else { return Ok(None) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(io::stderr()).kill_on_drop(true);
    command.spawn().map(Some)
}

/// Waits for the first cause to stop.
pub async fn first_cause(
    mut signals: Signals,
    duration: Option<Duration>,
    command: Option<Child>,
    reader: oneshot::Receiver<()>,
) -> Cause {
    let time_is_up = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let command_ended = async {
        match command {
            Some(mut child) => child.wait().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = signals.any() => Cause::Signal,
        () = time_is_up => Cause::Duration,
        status = command_ended => Cause::Command(status),
        _ = reader => Cause::Reader,
    }
}
