//! The kernel half of tracer: programs that watch packets being freed (`free`) and Cilium sending its
//! notifications (`message`), filter, and report through one ring buffer. They attach to nothing of
//! Cilium's and write to no map but their own.
//!
//! The crate also compiles for the host (as an empty program), so that ordinary tools can check it.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(not(target_arch = "bpf"), allow(dead_code, reason = "the programs are entered by the kernel"))]

mod capture;
mod counters;
mod device;
mod emit;
mod filter;
mod free;
mod maps;
mod members;
mod message;
mod packet;
mod settings;
mod similar;
mod skb;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers used are open to GPL-compatible programs only; the source is Apache-2.0 or GPL-2.0.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
