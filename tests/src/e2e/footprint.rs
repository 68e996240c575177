//! What tracer costs a node on which nothing happens.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::support::Scene;
use crate::node::Node;
use crate::runner::Outcome;

crate::tests![idle_it_sleeps_and_is_small];

const WATCHED_SECONDS: u64 = 5;
/// Beside the ring.
const OWN_KIB: u64 = 24 * 1024;
/// The ring buffer of 8 MiB is mapped twice in a row, so that no record wraps: its pages count twice.
const RING_KIB: u64 = 2 * 8 * 1024;

/// A number of /proc/…/status.
fn status(path: &Path, key: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("no `{key}` in `{}`", path.display()))
}

/// How often the threads of a process went to sleep of their own will.
fn sleeps(tasks: &Path) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(tasks)? {
        sum += status(&task?.path().join("status"), "voluntary_ctxt_switches")?;
    }
    Ok(sum)
}

fn idle_it_sleeps_and_is_small() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    // What the rest of the machine drops meanwhile is not to wake it.
    let mut tracer = scene.start(&["-o", "json", "--ip", "10.244.1.0/24"])?;
    // It has come to rest, and names have been used.
    scene.send_case("denied-udp", 1)?;
    thread::sleep(Duration::from_secs(1));
    let tasks = tracer.proc("task")?;
    // Anything else on the machine may free packets meanwhile: the calmest of three windows counts.
    let mut woken = u64::MAX;
    for _ in 0..3 {
        let before = sleeps(&tasks)?;
        thread::sleep(Duration::from_secs(WATCHED_SECONDS));
        woken = woken.min(sleeps(&tasks)? - before);
        // One a second; both ends of the time can catch one.
        if woken <= WATCHED_SECONDS + 1 {
            break;
        }
    }
    ensure!(woken <= WATCHED_SECONDS + 1, "{woken} wake-ups in {WATCHED_SECONDS} s");
    let path = tracer.proc("status")?;
    // The file of a debug build is many times that of a release build; its pages are the page cache's anyway.
    let program = if cfg!(debug_assertions) { status(&path, "RssFile")? } else { 0 };
    let resident = status(&path, "VmRSS")? - program;
    ensure!(resident < OWN_KIB + RING_KIB, "{resident} KiB resident");
    tracer.stop()?.expect_code(0)?;
    Ok(Outcome::Passed)
}
