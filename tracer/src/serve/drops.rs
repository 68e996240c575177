//! Drops by reason and protocol, as Hubble counts them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::metrics::Family;
use crate::cilium::reason;
use crate::model::flow::{Flow, Verdict};
use crate::model::packet::Transport;
use crate::model::reason::DropReason;

/// Counts of drops. One thread counts, any other may read.
#[derive(Debug, Default)]
pub struct DropCounts(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    cilium: HashMap<(DropReason, &'static str), u64>,
    /// Drops that only the kernel saw. The reason is `None` where the kernel gives none.
    kernel: HashMap<(Option<Arc<str>>, &'static str), u64>,
}

impl DropCounts {
    pub fn add(&self, flow: &Flow) {
        // A verdict that denies goes with a drop of its own.
        if flow.verdict != Verdict::Dropped || flow.notice.is_some() {
            return;
        }
        let protocol = protocol(flow.packet.transport());
        let mut counts = self.lock();
        match &flow.cilium {
            Some(drop) => *counts.cilium.entry((drop.reason, protocol)).or_default() += 1,
            None => {
                let reason = flow.kernel.as_ref().and_then(|kernel| kernel.reason_name.clone());
                *counts.kernel.entry((reason, protocol)).or_default() += 1;
            }
        }
    }

    /// `hubble_drop_total`, and the same for the kernel's own drops.
    pub fn families(&self) -> [Family; 2] {
        let mut cilium =
            Family::counter("hubble_drop_total", "Packets dropped by Cilium, as far as they were seen");
        let mut kernel =
            Family::counter("tracer_kernel_drops_total", "Packets dropped by the kernel that concern Cilium");
        let counts = self.lock();
        for ((reason, protocol), count) in &counts.cilium {
            cilium.add([("reason", &reason_name(*reason)), ("protocol", protocol)], *count as f64);
        }
        for ((reason, protocol), count) in &counts.kernel {
            let reason = reason.as_deref().unwrap_or("unknown");
            kernel.add([("reason", reason), ("protocol", protocol)], *count as f64);
        }
        [cilium, kernel]
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hubble's name, or the number.
pub fn reason_name(reason: DropReason) -> String {
    reason::hubble(reason).map_or_else(|| reason.0.to_string(), str::to_owned)
}

/// Hubble's name of the protocol.
const fn protocol(transport: Option<&Transport>) -> &'static str {
    match transport {
        Some(Transport::Tcp { .. }) => "TCP",
        Some(Transport::Udp { .. }) => "UDP",
        Some(Transport::Sctp { .. }) => "SCTP",
        Some(Transport::Icmpv4 { .. }) => "ICMPv4",
        Some(Transport::Icmpv6 { .. }) => "ICMPv6",
        _ => "Unknown",
    }
}
