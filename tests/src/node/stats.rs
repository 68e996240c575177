//! What really happened, as JSON: packets sent, the datapath's own counters, what the agent read. A test
//! compares a tool's output with it.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

use super::agent::Read;
use super::kernel::bpf::Map;
use super::traffic::Sent;

/// One row of `cilium_metrics`, summed over CPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Metric {
    pub reason: u8,
    /// 1 ingress, 2 egress.
    pub direction: u8,
    /// 0 before 1.16.
    pub line: u16,
    pub file: u8,
    pub packets: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    pub generation: &'static str,
    pub sent: Vec<Sent>,
    pub metrics: Vec<Metric>,
    /// Drops by reason, from the metrics.
    pub drops: BTreeMap<u8, u64>,
    /// All drops of the metrics.
    pub dropped: u64,
    /// Nothing if there was no agent.
    pub agent: Option<Read>,
}

/// Reads `cilium_metrics`.
pub fn metrics(map: &Map) -> io::Result<Vec<Metric>> {
    let mut metrics = Vec::new();
    for key in map.keys()? {
        let Some(value) = map.lookup(&key)? else { continue };
        let sum = |offset: usize| {
            let word = |cpu: &[u8]| u64::from_ne_bytes(std::array::from_fn(|i| cpu[offset + i]));
            value.chunks_exact(16).map(word).sum()
        };
        metrics.push(Metric {
            reason: key[0],
            direction: key[1] & 3,
            line: u16::from_ne_bytes([key[2], key[3]]),
            file: key[4],
            packets: sum(0),
            bytes: sum(8),
        });
    }
    metrics.sort_by_key(|metric| (metric.reason, metric.direction, metric.file, metric.line));
    Ok(metrics)
}

impl Stats {
    pub fn new(generation: &'static str, sent: Vec<Sent>, metrics: Vec<Metric>, agent: Option<Read>) -> Self {
        let mut drops = BTreeMap::new();
        for metric in metrics.iter().filter(|metric| metric.reason >= 130) {
            *drops.entry(metric.reason).or_default() += metric.packets;
        }
        let dropped = drops.values().sum();
        Self { generation, sent, metrics, drops, dropped, agent }
    }
}
