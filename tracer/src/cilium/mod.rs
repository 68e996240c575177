//! Reads what Cilium leaves on a node, without its agent: pinned maps, opened read-only, and the agent's
//! state files, both generations of them. Nothing here writes anything, anywhere.
//!
//! `source` finds the node, `node` is its living view for naming, `metrics` the truth for counting; `pins`
//! and `table` open and walk maps for them, `maps` for everybody who lists, `ipcache` and `lxc` decode; `state` reads the agent's files.
//! `reason`, `notice`, `file`, `ext_error`, `identity` and `release` are Cilium's numbers in words.

pub mod catalogue;
pub mod ct;
pub mod endpoints;
pub mod ext_error;
pub mod file;
pub mod heartbeat;
#[cfg(test)]
mod hex;
pub mod identity;
pub mod ipcache;
pub mod lb;
pub mod lxc;
pub mod map_type;
pub mod maps;
pub mod metrics;
pub mod nat;
pub mod node;
pub mod node_map;
pub mod notice;
pub mod pins;
pub mod policy;
pub mod policystats;
pub mod reason;
pub mod release;
pub mod source;
pub mod state;
pub mod table;
pub mod trusted;
pub mod when;
pub mod world;
