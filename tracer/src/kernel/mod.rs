//! The running kernel: bpf(2), type information, symbols, clocks. The only place with `unsafe` code.

pub mod bpf;
