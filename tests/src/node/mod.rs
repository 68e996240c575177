//! What Cilium leaves on a node, made in private namespaces: pinned maps, state files, devices, a small real
//! datapath, an agent that reads events, and traffic. Start at [`Node::builder`]; the cast is in [`cast`].
//!
//! Encoders and layouts here are independent of the tracer's decoders on purpose. Needs root.

pub mod agent;
pub mod bytes;
pub mod cast;
pub mod catalogue;
pub mod clock;
pub mod contents;
pub mod datapath;
pub mod encode;
pub mod generation;
pub mod kernel;
mod netlink;
mod pretend;
mod state;
pub mod stats;
mod topology;
pub mod traffic;

pub use datapath::Attach;
pub use generation::Generation;
pub use pretend::{Builder, Node};
