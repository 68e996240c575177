//! Every byte layout that crosses the kernel border: the records and settings that tracer's own eBPF
//! programs exchange with user space ([`event`], [`config`]), packet headers ([`packet`]), and the keys,
//! values and messages of Cilium's datapath ([`cilium`]).
//!
//! No `std`, no allocation, no unsafe code, no I/O. Both sides of the border compile this crate, so a
//! layout is written down once.
#![no_std]
#![forbid(unsafe_code)]

pub mod cilium;
pub mod config;
pub mod event;
pub mod id;
pub mod packet;
