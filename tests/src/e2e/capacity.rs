//! `tracer capacity` and `tracer metrics --watch`: growth against writers whose rate is known, the agent's
//! heartbeat, and what becomes of expired entries.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::changing_maps::{CT4, ct_key, ct_value, make, spec};
use super::maps::{stderr, stdout, tracer};
use crate::node::clock::{monotonic_ns, monotonic_seconds};
use crate::node::kernel::bpf::{Map, MapType, possible_cpus};
use crate::node::kernel::process::into_space;
use crate::node::kernel::space::NodeSpace;
use crate::programs;
use crate::runner::Outcome;

crate::tests![
    growth_and_time_to_full_are_those_of_a_known_writer: 120,
    the_heartbeat_tells_whether_anybody_cleans_up: 120,
    watching_goes_on_until_it_is_stopped: 120,
    rates_of_metrics_are_those_of_a_known_writer: 120,
];

/// Writes `at_once` entries every 10 ms while `work` is done; the second value is how many a second that was.
fn beside_a_writer<T>(
    at_once: u64,
    mut write: impl FnMut(u64) -> Result<()> + Send,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, f64)> {
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<f64> {
            let begun = Instant::now();
            let mut due = begun;
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..at_once {
                    write(written.fetch_add(1, Ordering::Relaxed))?;
                }
                due += Duration::from_millis(10);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            Ok(written.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
        });
        let done = work();
        stop.store(true, Ordering::Relaxed);
        let rate = writer.join().ok().context("the writer panicked")??;
        Ok((done?, rate))
    })
}

fn close(found: f64, expected: f64, per_cent: f64) -> bool {
    (found - expected).abs() <= expected * per_cent / 100.0
}

fn json(space: &NodeSpace, line: &str) -> Result<Value> {
    let output = tracer(space, &format!("{line} -o json"))?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("tracer {line}: {}", stderr(&output)))
}

fn growth_and_time_to_full_are_those_of_a_known_writer() -> Result<Outcome> {
    const MAX: u32 = 60_000;
    let space = NodeSpace::create()?;
    let map = space.run(|| make(spec(CT4, MapType::LruHash, 14, 56, MAX), None))?;
    let value = ct_value();
    let insert = |n: u64| Ok(map.update(&ct_key((n / 60_000) as u8, (n % 60_000) as u16), &value)?);
    let (found, rate) = beside_a_writer(10, insert, || json(&space, "capacity --window 3s"))?;
    let row = found["maps"].as_array().and_then(|maps| maps.iter().find(|row| row["map"] == CT4));
    let row = row.context("not listed")?;
    let growth = row["growth_per_second"].as_f64().context("no growth")?;
    ensure!(close(growth, rate, 15.0), "{growth} a second, {rate} were written");
    let entries = row["entries"].as_f64().context("no entries")?;
    let left = (f64::from(MAX) - entries) / growth;
    let told = row["seconds_to_full"].as_f64().context("no time to full")?;
    ensure!((told - left).abs() <= 1.0, "{told} s to full, {left} expected: {row}");
    Ok(Outcome::Passed)
}

/// A node with an agent that was alive so many seconds ago, and 100 entries that ended a minute ago.
fn with_heartbeat(space: &NodeSpace, ago: u64) -> Result<Map> {
    space.run(|| {
        let config = make(spec("cilium_runtime_config", MapType::Array, 4, 8, 256), None)?;
        let beat = monotonic_ns() - ago * 1_000_000_000;
        config.update(&1u32.to_ne_bytes(), &beat.to_ne_bytes())?;
        let map = make(spec(CT4, MapType::LruHash, 14, 56, 1000), None)?;
        let mut value = ct_value();
        value[32..36].copy_from_slice(&(monotonic_seconds() - 60).to_le_bytes());
        (0..100).try_for_each(|port| map.update(&ct_key(1, port), &value))?;
        map.update(&ct_key(1, 1000), &ct_value())?;
        Ok(map)
    })
}

fn the_heartbeat_tells_whether_anybody_cleans_up() -> Result<Outcome> {
    let space = NodeSpace::create()?;
    for (ago, alive, words) in
        [(2, true, "waiting for the agent's next round"), (60, false, "not being removed")]
    {
        let _map = with_heartbeat(&space, ago)?;
        let found = json(&space, "capacity --window 50ms")?;
        let age = found["agent"]["heartbeat_age_seconds"].as_u64().context("no age")?;
        ensure!((ago..ago + 5).contains(&age), "{age} s instead of {ago}");
        assert_eq!(found["agent"]["alive"], alive);
        assert_eq!(found["connection_tracking"]["expired"], 100);
        let oldest = found["connection_tracking"]["longest_expired_seconds"].as_u64();
        ensure!(oldest.is_some_and(|age| (60..65).contains(&age)), "{oldest:?}");
        let text = stdout(&tracer(&space, "capacity --window 50ms")?);
        let line = text
            .lines()
            .find(|line| line.starts_with("connection tracking: 100 "))
            .context("no such line")?;
        ensure!(
            line.starts_with("connection tracking: 100 expired entries") && line.ends_with(words),
            "{line}"
        );
    }
    let map = with_heartbeat(&space, 1)?;
    let remove = |n: u64| if n < 100 { Ok(map.delete(&ct_key(1, n as u16))?) } else { Ok(()) };
    let (output, _) = beside_a_writer(1, remove, || tracer(&space, "capacity --window 300ms"))?;
    ensure!(stdout(&output).contains("being removed"), "{}", stdout(&output));
    Ok(Outcome::Passed)
}

/// Starts tracer, gives its lines of output to `is_enough` until that is true, stops it, and returns its exit code.
fn watched(space: &NodeSpace, line: &str, mut is_enough: impl FnMut(&str) -> bool) -> Result<Option<i32>> {
    let mut command = Command::new(programs::path("tracer")?);
    command.args(line.split(' ')).stdout(Stdio::piped());
    let mut child = into_space(&mut command, space)?.spawn().context("cannot start tracer")?;
    let mut lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
    for line in &mut lines {
        if is_enough(&line?) {
            break;
        }
    }
    kill_process(Pid::from_child(&child), Signal::INT)?;
    lines.try_for_each(|line| line.map(drop))?;
    Ok(child.wait()?.code())
}

fn watching_goes_on_until_it_is_stopped() -> Result<Outcome> {
    let space = NodeSpace::create()?;
    let map = with_heartbeat(&space, 1)?;
    let mut entries = Vec::new();
    let code = watched(&space, "capacity --window 50ms --watch=100ms -o jsonl", |line| {
        let row: Value = serde_json::from_str(line).unwrap_or_default();
        if row["map"] == CT4 {
            entries.push(row["entries"].as_u64());
            // What changes is seen in the round that follows.
            let _ = map.delete(&ct_key(1, entries.len() as u16));
        }
        entries.len() == 5
    })?;
    assert_eq!(code, Some(0));
    assert!(entries.first() == Some(&Some(101)) && entries.is_sorted_by(|a, b| a >= b), "{entries:?}");
    assert!(entries[4] < entries[0], "{entries:?}");
    Ok(Outcome::Passed)
}

/// `Policy denied  ingress  2000  120000  200  12000  2101  bpf_lxc.c`
fn rates_of_metrics_are_those_of_a_known_writer() -> Result<Outcome> {
    let space = NodeSpace::create()?;
    let map = space.run(|| make(spec("cilium_metrics", MapType::PercpuHash, 8, 16, 1024), None))?;
    let count = |packets: u64| {
        let mut value = vec![0; map.value_len()];
        // All of it on the last CPU.
        let at = (possible_cpus() - 1) * 16;
        value[at..at + 8].copy_from_slice(&packets.to_ne_bytes());
        value[at + 8..at + 16].copy_from_slice(&(60 * packets).to_ne_bytes());
        Ok(map.update(&[133, 1, 0x35, 0x08, 2, 0, 0, 0], &value)?)
    };
    let mut found = Vec::new();
    let (code, rate) = beside_a_writer(5, count, || {
        watched(&space, "metrics --watch=1s --no-headers", |line| {
            if let Some(numbers) = line.strip_prefix("Policy denied") {
                found.push(numbers.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
            }
            found.len() == 2
        })
    })?;
    assert_eq!(code, Some(0));
    let row = found.last().context("nothing was counted")?;
    let rates: Vec<f64> = row.iter().filter_map(|word| word.parse().ok()).collect();
    ensure!(rates.iter().any(|found| close(*found, rate, 15.0)), "{rate} packets a second: {row:?}");
    ensure!(rates.iter().any(|found| close(*found, 60.0 * rate, 15.0)), "60 bytes each: {row:?}");
    ensure!(row.contains(&"2101".to_owned()) && row.contains(&"bpf_lxc.c".to_owned()), "{row:?}");
    Ok(Outcome::Passed)
}
