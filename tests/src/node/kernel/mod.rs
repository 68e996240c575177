//! The only unsafe code of the pretend node: bpf(2), namespaces, signals.

pub mod bpf;
pub mod link;
pub mod process;
pub mod space;
