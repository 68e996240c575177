//! Byte layouts of Cilium's datapath: one file per map, one for the notifications. Generations of a
//! structure stand side by side in its file. Sources: Cilium's `bpf/lib/*.h` of the releases named there.

pub mod addr;
pub mod ct;
pub mod ipcache;
pub mod lb;
pub mod lxc;
pub mod metrics;
pub mod nat;
pub mod note;
pub mod notify;
pub mod policy;
pub mod tuple;

#[cfg(test)]
mod vectors;
