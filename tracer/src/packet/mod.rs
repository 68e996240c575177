//! Captured bytes → [`crate::model::packet::Packet`]: link layer, IP, transport, and one layer of VXLAN or
//! Geneve. Reads no further than the capture reaches, allocates nothing, and never fails: what cannot be
//! read is absent, and the packet says `truncated`. It does not reassemble, and checks no checksum.

pub mod decode;
pub mod start;

mod link;
mod network;
mod transport;
mod tunnel;

#[cfg(test)]
mod tests;
