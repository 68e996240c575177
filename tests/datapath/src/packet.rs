//! From an skb to addresses, protocol and ports.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::programs::TcContext;

use crate::maps::{FRAGMENTS4, FragmentKey};
use crate::report::{Drop, drop_for, reason, zero};
use crate::state::State;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const SCTP: u8 = 132;
pub const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;

const L3: usize = 14;
/// IPv6 extension headers that are stepped over; Cilium's own limit.
const MAX_EXTENSIONS: usize = 4;

#[inline(always)]
fn load<T>(ctx: &TcContext, offset: usize) -> Result<T, Drop> {
    ctx.load(offset).map_err(|_| drop_for!(reason::INVALID))
}

#[inline(always)]
fn clear_transport(state: &mut State) {
    state.source_port = zero() as u16;
    state.destination_port = zero() as u16;
    state.icmp[0] = zero() as u8;
    state.icmp[1] = zero() as u8;
    state.related = zero() as u8;
    state.tcp_flags = zero() as u8;
}

#[inline(always)]
pub fn read4(ctx: &TcContext, state: &mut State) -> Result<(), Drop> {
    clear_transport(state);
    let first: u8 = load(ctx, L3)?;
    let fragment: u16 = load(ctx, L3 + 6)?;
    state.ipv6 = 0;
    state.source = [load(ctx, L3 + 12)?, zero() as u32, zero() as u32, zero() as u32];
    state.destination = [load(ctx, L3 + 16)?, zero() as u32, zero() as u32, zero() as u32];
    state.protocol = load(ctx, L3 + 9)?;
    let fragment = u16::from_be(fragment);
    if fragment & 0x1fff != 0 {
        return later_fragment(ctx, state);
    }
    read_transport(ctx, state, L3 + usize::from(first & 0x0f) * 4)?;
    if fragment & 0x2000 != 0 {
        let ports = [state.source_port, state.destination_port];
        let _ = FRAGMENTS4.insert(&fragment_key(ctx, state)?, &ports, BPF_ANY.into());
    }
    Ok(())
}

#[inline(always)]
fn fragment_key(ctx: &TcContext, state: &State) -> Result<FragmentKey, Drop> {
    Ok(FragmentKey {
        daddr: state.destination[0],
        saddr: state.source[0],
        id: load(ctx, L3 + 4)?,
        protocol: state.protocol.into(),
    })
}

/// A fragment without a transport header: the first one has left its ports.
#[inline(always)]
fn later_fragment(ctx: &TcContext, state: &mut State) -> Result<(), Drop> {
    let key = fragment_key(ctx, state)?;
    // SAFETY: the value is copied at once; a concurrent update replaces it as a whole.
    let ports = unsafe { FRAGMENTS4.get(&key) }.ok_or(drop_for!(reason::FRAG_NOT_FOUND))?;
    state.source_port = ports[0];
    state.destination_port = ports[1];
    Ok(())
}

#[inline(always)]
pub fn read6(ctx: &TcContext, state: &mut State) -> Result<(), Drop> {
    clear_transport(state);
    state.ipv6 = 1;
    state.source = load(ctx, L3 + 8)?;
    state.destination = load(ctx, L3 + 24)?;
    let mut protocol: u8 = load(ctx, L3 + 6)?;
    let mut transport = L3 + 40;
    for _ in 0..MAX_EXTENSIONS {
        match protocol {
            0 | 43 | 60 => {
                let header: [u8; 2] = load(ctx, transport)?;
                protocol = header[0];
                transport += (usize::from(header[1]) + 1) * 8;
            }
            44 => return Err(drop_for!(reason::FRAG_NOSUPPORT)),
            59 => return Err(drop_for!(reason::INVALID_EXTHDR)),
            _ => break,
        }
    }
    state.protocol = protocol;
    read_transport(ctx, state, transport)
}

/// Ports, or what stands for them.
#[inline(always)]
fn read_transport(ctx: &TcContext, state: &mut State, offset: usize) -> Result<(), Drop> {
    match state.protocol {
        TCP | UDP | SCTP => {
            let ports: [u16; 2] = ctx.load(offset).map_err(|_| drop_for!(reason::CT_INVALID_HDR))?;
            state.source_port = ports[0];
            state.destination_port = ports[1];
            if state.is_tcp() {
                state.tcp_flags = ctx.load(offset + 13).map_err(|_| drop_for!(reason::CT_INVALID_HDR))?;
            }
        }
        ICMP | ICMPV6 => {
            state.icmp = ctx.load(offset).map_err(|_| drop_for!(reason::CT_INVALID_HDR))?;
            let id: u16 = ctx.load(offset + 4).map_err(|_| drop_for!(reason::CT_INVALID_HDR))?;
            match (state.protocol, state.icmp[0]) {
                (ICMP, 8) | (ICMPV6, 128) => state.source_port = id,
                (ICMP, 0) | (ICMPV6, 129) => state.destination_port = id,
                (ICMP, 3 | 11 | 12) | (ICMPV6, 1..=4) => state.related = 1,
                _ => {}
            }
        }
        _ => return Err(drop_for!(reason::CT_UNKNOWN_PROTO)),
    }
    Ok(())
}
