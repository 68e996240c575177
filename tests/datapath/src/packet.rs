//! From an skb to addresses, protocol and ports. `N` is the length of an address.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::programs::TcContext;

use crate::maps::{FRAGMENTS4, FragmentKey};
use crate::report::{Drop, drop_for, reason};

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const SCTP: u8 = 132;
pub const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;

const L3: usize = 14;
/// IPv6 extension headers that are stepped over; Cilium's own limit.
const MAX_EXTENSIONS: usize = 4;

/// One packet, as connection tracking and policy see it.
pub struct Packet<const N: usize> {
    pub source: [u8; N],
    pub destination: [u8; N],
    pub protocol: u8,
    /// Network order; ICMP echo: the identifier on the asking side.
    pub source_port: [u8; 2],
    pub destination_port: [u8; 2],
    /// An ICMP error about some connection.
    pub related: bool,
    /// Type and code, else 0.
    pub icmp: [u8; 2],
    /// The TCP flags byte, else 0.
    pub tcp_flags: u8,
}

impl<const N: usize> Packet<N> {
    /// The port that the policy is asked for: the type of an ICMP message.
    pub fn policy_port(&self) -> [u8; 2] {
        match self.protocol {
            ICMP | ICMPV6 => [0, self.icmp[0]],
            _ => self.destination_port,
        }
    }

    /// Allowed before the policy is asked: "fragmentation needed".
    pub fn is_always_allowed(&self) -> bool {
        self.protocol == ICMP && self.icmp[0] == 3 && self.icmp[1] == 4
    }
}

fn load<T>(ctx: &TcContext, offset: usize) -> Result<T, Drop> {
    ctx.load(offset).map_err(|_| drop_for!(reason::INVALID))
}

#[inline(always)]
pub fn read4(ctx: &TcContext) -> Result<Packet<4>, Drop> {
    let first: u8 = load(ctx, L3)?;
    let fragment: [u8; 2] = load(ctx, L3 + 6)?;
    let mut packet = Packet {
        source: load(ctx, L3 + 12)?,
        destination: load(ctx, L3 + 16)?,
        protocol: load(ctx, L3 + 9)?,
        source_port: [0; 2],
        destination_port: [0; 2],
        related: false,
        icmp: [0; 2],
        tcp_flags: 0,
    };
    let transport = L3 + usize::from(first & 0x0f) * 4;
    let fragment = u16::from_be_bytes(fragment);
    let offset = fragment & 0x1fff;
    if offset != 0 {
        return later_fragment(ctx, packet);
    }
    read_transport(ctx, &mut packet, transport)?;
    if fragment & 0x2000 != 0 {
        let ports = [packet.source_port, packet.destination_port];
        let _ = FRAGMENTS4.insert(&fragment_key(ctx, &packet)?, &ports, BPF_ANY.into());
    }
    Ok(packet)
}

fn fragment_key(ctx: &TcContext, packet: &Packet<4>) -> Result<FragmentKey, Drop> {
    Ok(FragmentKey {
        daddr: packet.destination,
        saddr: packet.source,
        id: load(ctx, L3 + 4)?,
        protocol: packet.protocol,
        zero: 0,
    })
}

/// A fragment without a transport header: the first one has left its ports.
#[inline(always)]
fn later_fragment(ctx: &TcContext, packet: Packet<4>) -> Result<Packet<4>, Drop> {
    let key = fragment_key(ctx, &packet)?;
    // SAFETY: the value is copied at once; a concurrent update replaces it as a whole.
    match unsafe { FRAGMENTS4.get(&key) } {
        Some(ports) => Ok(Packet { source_port: ports[0], destination_port: ports[1], ..packet }),
        None => Err(drop_for!(reason::FRAG_NOT_FOUND)),
    }
}

#[inline(always)]
pub fn read6(ctx: &TcContext) -> Result<Packet<16>, Drop> {
    let mut packet = Packet {
        source: load(ctx, L3 + 8)?,
        destination: load(ctx, L3 + 24)?,
        protocol: load(ctx, L3 + 6)?,
        source_port: [0; 2],
        destination_port: [0; 2],
        related: false,
        icmp: [0; 2],
        tcp_flags: 0,
    };
    let mut transport = L3 + 40;
    for _ in 0..MAX_EXTENSIONS {
        match packet.protocol {
            0 | 43 | 60 => {
                let header: [u8; 2] = load(ctx, transport)?;
                packet.protocol = header[0];
                transport += (usize::from(header[1]) + 1) * 8;
            }
            44 => return Err(drop_for!(reason::FRAG_NOSUPPORT)),
            59 => return Err(drop_for!(reason::INVALID_EXTHDR)),
            _ => break,
        }
    }
    read_transport(ctx, &mut packet, transport)?;
    Ok(packet)
}

/// Ports, or what stands for them.
#[inline(always)]
fn read_transport<const N: usize>(
    ctx: &TcContext,
    packet: &mut Packet<N>,
    offset: usize,
) -> Result<(), Drop> {
    match packet.protocol {
        TCP | UDP | SCTP => {
            let ports: [[u8; 2]; 2] = ctx.load(offset).map_err(|_| drop_for!(reason::CT_INVALID_HDR))?;
            packet.source_port = ports[0];
            packet.destination_port = ports[1];
            if packet.protocol == TCP {
                packet.tcp_flags = ctx.load(offset + 13).map_err(|_| drop_for!(reason::CT_INVALID_HDR))?;
            }
        }
        ICMP | ICMPV6 => {
            packet.icmp = ctx.load(offset).map_err(|_| drop_for!(reason::CT_INVALID_HDR))?;
            let id: [u8; 2] = ctx.load(offset + 4).map_err(|_| drop_for!(reason::CT_INVALID_HDR))?;
            match (packet.protocol, packet.icmp[0]) {
                (ICMP, 8) | (ICMPV6, 128) => packet.source_port = id,
                (ICMP, 0) | (ICMPV6, 129) => packet.destination_port = id,
                (ICMP, 3 | 11 | 12) | (ICMPV6, 1..=4) => packet.related = true,
                _ => {}
            }
        }
        _ => return Err(drop_for!(reason::CT_UNKNOWN_PROTO)),
    }
    Ok(())
}
