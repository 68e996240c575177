//! The fill of the node's maps, read again and again in a thread of its own: nobody waits for it.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tracing::subscriber::{NoSubscriber, with_default};

use crate::cli::global::Global;
use crate::model::gauges::Gauges;
use crate::pipeline::RunError;
use crate::pipeline::maps::MapNode;
use crate::pipeline::maps::gauges::Watcher;

/// Reading every map costs the node something.
const EVERY: Duration = Duration::from_secs(10);

/// The figures whenever there are new ones, or why there are none. The thread ends with the process, or when nobody
/// listens any more.
pub fn watch(global: &Global) -> io::Result<UnboundedReceiver<Result<Gauges, String>>> {
    let (sender, receiver) = unbounded_channel();
    let global = global.clone();
    thread::Builder::new().name("maps".to_owned()).spawn(move || {
        let mut watcher = None;
        let mut has_complained = false;
        loop {
            let mut figures = || look(&global, &mut watcher).map_err(|error| error.one_line());
            // Complaints about maps are made once; the figures say the rest.
            let figures =
                if has_complained { with_default(NoSubscriber::default(), figures) } else { figures() };
            has_complained = true;
            if sender.send(figures).is_err() {
                return;
            }
            thread::sleep(EVERY);
        }
    })?;
    Ok(receiver)
}

fn look(global: &Global, watcher: &mut Option<Watcher>) -> Result<Gauges, RunError> {
    if watcher.is_none() {
        *watcher = Some(Watcher::new(MapNode::open(global, false)?));
    }
    let found = watcher.as_mut().map_or_else(|| Ok(Gauges::default()), Watcher::look);
    if found.is_err() {
        *watcher = None;
    }
    found
}
