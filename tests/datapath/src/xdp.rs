//! The XDP program: drops IPv4 TCP to a node service that has no backend, as NodePort acceleration does.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::config::config;
use crate::packet::TCP;
use crate::report::{self, Ends, drop_for, reason, zero};

/// Ethernet, IPv4 without options, and the two ports.
const HEADERS: usize = 14 + 20 + 4;

#[xdp]
#[inline(always)]
pub fn cil_xdp_entry(ctx: XdpContext) -> u32 {
    if destination_port(&ctx) != Some(config!(xdp_port) as u16) {
        return XDP_PASS;
    }
    let unknown = zero() as u32;
    let ends = Ends { source: unknown, destination: unknown, destination_endpoint: unknown };
    report::drop_xdp(&ctx, &drop_for!(reason::NO_SERVICE), &ends);
    XDP_DROP
}

/// Of an IPv4 TCP packet without options.
#[inline(always)]
fn destination_port(ctx: &XdpContext) -> Option<u16> {
    if ctx.data() + HEADERS > ctx.data_end() {
        return None;
    }
    let bytes = ctx.data() as *const u8;
    // SAFETY: the bytes up to HEADERS were just checked to be there.
    let at = |offset: usize| unsafe { *bytes.add(offset) };
    let plain = at(12) == 0x08 && at(13) == 0x00 && at(14) == 0x45 && at(23) == TCP;
    plain.then(|| u16::from_be_bytes([at(36), at(37)]))
}
