//! The agent's state directory: what it wrote about endpoints, local identities, other nodes and itself.
//! The agent may be dead, of another release, or in the middle of a write; a file that cannot be used is a
//! problem to report, and takes nothing else with it.

pub mod config;
pub mod directory;
pub mod endpoint;
pub mod file;
pub mod identities;
pub mod labels;
pub mod node_config;
pub mod nodes;
pub mod port_range;
