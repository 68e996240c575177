//! What is known of the packet under way, in a per-CPU map instead of on the stack: the verifier forgets what
//! it knew of the values, and so does not follow every combination of decisions to the end.

use crate::conntrack::{Entry, Status};
use crate::maps::{SCRATCH, Wide};
use crate::policy::Decision;
use crate::report::{Drop, drop_for, reason};

#[repr(C)]
pub struct State {
    pub source: Wide,
    pub destination: Wide,
    /// 0 or 1.
    pub ipv6: u32,
    /// Of the whole packet.
    pub length: u32,
    /// Identity of the other end, for the policy.
    pub remote: u32,
    /// Network order; ICMP echo: the identifier on the asking side.
    pub source_port: u16,
    pub destination_port: u16,
    pub protocol: u8,
    /// The TCP flags byte, else 0.
    pub tcp_flags: u8,
    /// 1: an ICMP error about some connection.
    pub related: u8,
    /// 1 ingress, 2 egress.
    pub direction: u8,
    /// Type and code, else 0.
    pub icmp: [u8; 2],
    pub status: Status,
    pub pad: u8,
    pub decision: Decision,
    /// Key of a connection, either family.
    pub key: [u16; 20],
    pub entry: Entry,
}

/// This CPU's state; nobody else uses it until the program ends.
#[inline(always)]
pub fn state<'a>() -> Result<&'a mut State, Drop> {
    let state = SCRATCH.get_ptr_mut(0).ok_or(drop_for!(reason::INVALID))?;
    // SAFETY: the map's value is a `State`, valid for every bit pattern that is written to it; programs on
    // one CPU do not interrupt each other here.
    Ok(unsafe { &mut *state })
}

/// The same state, of which the compiler no longer knows anything either.
#[inline(always)]
pub fn forget(state: &mut State) -> &mut State {
    core::hint::black_box(state)
}

impl State {
    /// The port that the policy is asked for: the type of an ICMP message.
    #[inline(always)]
    pub fn policy_port(&self) -> u16 {
        match self.protocol {
            crate::packet::ICMP | crate::packet::ICMPV6 => u16::from(self.icmp[0]).to_be(),
            _ => self.destination_port,
        }
    }

    /// Allowed before the policy is asked: "fragmentation needed".
    #[inline(always)]
    pub fn is_always_allowed(&self) -> bool {
        self.protocol == crate::packet::ICMP && self.icmp[0] == 3 && self.icmp[1] == 4
    }

    #[inline(always)]
    pub fn is_tcp(&self) -> bool {
        self.protocol == crate::packet::TCP
    }
}
