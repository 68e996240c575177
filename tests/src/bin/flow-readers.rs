//! Starts `tracer serve`, reads all of its flows many times over until SIGINT, and writes what came of it as JSON.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tracer_tests::proto::observer::observer_client::ObserverClient;
use tracer_tests::readers::{Readers, connect, seen};

/// Reads the flows of a Hubble server with many readers at once.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Socket of the server.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    #[arg(long, value_name = "N", default_value_t = 100)]
    readers: usize,
    /// Create FILE once all readers read.
    #[arg(long, value_name = "FILE")]
    ready_file: PathBuf,
    /// Write the figures to FILE.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The server's command line.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    server: Vec<OsString>,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.context("no runtime").and_then(|runtime| runtime.block_on(run(&Arguments::parse())));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let mut stop = signal(SignalKind::interrupt())?;
    let (program, rest) = arguments.server.split_first().context("no server")?;
    let mut server = Command::new(program).args(rest).spawn().context("cannot start the server")?;
    let result = measure(arguments, &mut server, &mut stop).await;
    let _ = Command::new("kill").arg(server.id().to_string()).status();
    let status = server.wait()?;
    result?;
    ensure!(status.success(), "the server ended with {status}");
    Ok(())
}

async fn measure(
    arguments: &Arguments,
    server: &mut Child,
    stop: &mut tokio::signal::unix::Signal,
) -> Result<()> {
    wait_for(&arguments.socket, server).await?;
    let mut client = ObserverClient::new(connect(&arguments.socket).await?);
    let before = seen(&mut client).await?;
    let readers = Readers::start(&arguments.socket, arguments.readers).await?;
    let idle_kib = status_kib(server.id(), "RssAnon:")?;
    fs::write(&arguments.ready_file, "")?;
    stop.recv().await;
    let mut last = seen(&mut client).await?;
    loop {
        sleep(Duration::from_millis(500)).await;
        let now = seen(&mut client).await?;
        if now == last {
            break;
        }
        last = now;
    }
    let got = readers.finish(last - before).await?;
    let (flows, lost) = got.iter().fold((0, 0), |(flows, lost), got| (flows + got.flows, lost + got.lost));
    let figures = json!({
        "readers": got.len(),
        "seen": last - before,
        "flows": flows,
        "lost": lost,
        "idle_kib": idle_kib,
        "after_kib": status_kib(server.id(), "RssAnon:")?,
        "peak_kib": status_kib(server.id(), "VmHWM:")?,
    });
    fs::write(&arguments.out, figures.to_string()).context("cannot write the figures")
}

async fn wait_for(socket: &Path, server: &mut Child) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    while !socket.exists() {
        ensure!(server.try_wait()?.is_none(), "the server ended");
        ensure!(Instant::now() < end, "{} did not appear", socket.display());
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn status_kib(process: u32, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let value =
        text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(value.trim().trim_end_matches(" kB").parse()?)
}
