//! Reads what Cilium leaves on a node, without its agent: pinned maps, opened read-only, and the agent's
//! state files, both generations of them. Nothing here writes anything, anywhere.
//!
//! `source` finds the node, `node` is its living view for naming, `metrics` the truth for counting;
//! `reason`, `file`, `ext_error`, `identity` and `release` are Cilium's numbers in words.

pub mod ext_error;
pub mod file;
pub mod identity;
pub mod reason;
pub mod release;
