//! Byte layouts of Cilium's datapath: one file per map, one for the notifications. Generations of a
//! structure stand side by side in its file. Sources: Cilium's `bpf/lib/*.h` of the releases named there.

pub mod addr;
pub mod auth;
pub mod ct;
pub mod egress;
pub mod fragments;
pub mod ipcache;
pub mod lb;
pub mod lxc;
pub mod metrics;
pub mod nat;
pub mod node;
pub mod note;
pub mod notify;
pub mod policy;
pub mod policystats;
pub mod rate;
pub mod reach;
pub mod tunnel;
pub mod tuple;

#[cfg(test)]
mod vectors;
