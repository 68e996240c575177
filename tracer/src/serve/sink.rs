//! The way of a flow into the ring: encoded once, whoever reads it.

use std::sync::Arc;

use bytes::Bytes;

use super::drops::DropCounts;
use super::ring::FlowRing;
use crate::model::flow::Flow;
use crate::output::Node;
use crate::output::flow_proto::Encoder;
use crate::output::lost::Lost;

/// Puts flows into a ring.
pub struct RingSink {
    ring: Arc<FlowRing>,
    drops: Arc<DropCounts>,
    encoder: Encoder,
    buffer: Vec<u8>,
    /// Entries that nobody was woken for yet.
    waiting: bool,
}

impl RingSink {
    pub fn new(ring: Arc<FlowRing>, drops: Arc<DropCounts>, node: &Node) -> Self {
        Self { ring, drops, encoder: Encoder::new(node), buffer: Vec::new(), waiting: false }
    }

    fn encoded(&mut self) -> Bytes {
        self.waiting = true;
        Bytes::copy_from_slice(&self.buffer)
    }

    pub fn flow(&mut self, flow: &Flow) {
        self.drops.add(flow);
        self.buffer.clear();
        self.encoder.flow(&mut self.buffer, flow);
        let encoded = self.encoded();
        // The captured bytes are not part of what is sent.
        let kept = Flow { bytes: Bytes::new(), ..flow.clone() };
        self.ring.push(flow.time, Some(kept), encoded);
    }

    /// Events that were lost before they came here.
    pub fn lost(&mut self, lost: &Lost) {
        self.buffer.clear();
        self.encoder.lost(&mut self.buffer, lost);
        let encoded = self.encoded();
        self.ring.push(lost.time, None, encoded);
    }

    /// The node may have another name now.
    pub fn set_node(&mut self, node: &Node) {
        self.encoder.set_node(node);
    }

    /// Wakes those who wait for flows.
    pub fn flush(&mut self) {
        if std::mem::take(&mut self.waiting) {
            self.ring.announce();
        }
    }
}
