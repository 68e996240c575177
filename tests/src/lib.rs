//! The pretend Cilium node, and the end-to-end tests that run on it.

pub mod e2e;
pub mod node;
pub mod programs;
pub mod proto;
pub mod readers;
pub mod runner;
