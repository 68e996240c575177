//! Flows for other programs: Hubble's services over gRPC, figures for Prometheus over HTTP. Knows flows and
//! figures, but no tap, no map and no ring of the kernel; [`crate::pipeline`] brings them together.
//!
//! The thread that reads the kernel's ring puts every flow, encoded, into [`ring::FlowRing`] ([`sink`]). Each
//! client follows that ring at its own pace ([`cursor`]); one that is too slow is told what it missed. So no
//! client can hold up the reading, and memory is bounded by the ring whatever clients do.

pub mod cursor;
pub mod drops;
pub mod error;
pub mod http;
pub mod listen;
pub mod mask;
pub mod metrics;
pub mod observer;
pub mod peer;
pub mod proto;
pub mod ring;
pub mod router;
pub mod selection;
pub mod sink;
pub mod tls;
pub mod wire;

#[cfg(test)]
mod tests;
