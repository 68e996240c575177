//! Maps that hold something back: `cilium_throttle` (bandwidth manager), `cilium_ratelimit` and
//! `cilium_ratelimit_metrics` (messages and ICMPv6 of the datapath itself).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct edt_id` (bpf/lib/edt.h). Up to 1.17 the endpoint id has 64 bits, which reads as direction 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ThrottleKey {
    /// Endpoint, host order.
    pub id: u32,
    /// 0 egress, 1 ingress (1.18 and newer).
    pub direction: u8,
    pub pad: [u8; 3],
}

/// `struct edt_info` (bpf/lib/edt.h). Host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ThrottleValue {
    pub bytes_per_second: u64,
    /// Nanoseconds since boot.
    pub t_last: u64,
    /// Egress: the farthest departure time in nanoseconds. Ingress (1.18 and newer): tokens.
    pub horizon_or_tokens: u64,
    /// 1.18 and newer; padding before.
    pub priority: u32,
    pub pad: [u32; 7],
}

/// `struct ratelimit_key` (bpf/lib/ratelimit.h), 1.17 and newer; before, the interface index alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RatelimitKey {
    /// 1 ICMPv6, 2 messages to the agent.
    pub usage: u32,
    /// Interface index.
    pub ifindex: u32,
}

/// `struct ratelimit_value` (bpf/lib/ratelimit.h). Host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RatelimitValue {
    /// Nanoseconds since boot.
    pub last_topup: u64,
    pub tokens: u64,
}

const _: () = assert!(size_of::<ThrottleKey>() == 8);
const _: () = assert!(size_of::<ThrottleValue>() == 56);
const _: () = assert!(size_of::<RatelimitKey>() == 8);
const _: () = assert!(size_of::<RatelimitValue>() == 16);
