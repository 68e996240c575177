//! The running kernel: bpf(2), type information, symbols, drop reasons, clocks, rights. The only place with
//! `unsafe` code.

pub mod bpf;
pub mod btf;
pub mod clock;
pub mod drop_reason;
pub mod kallsyms;
pub mod layout;
