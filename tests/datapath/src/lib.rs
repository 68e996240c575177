//! What the loader tells the datapath: one read-only global per load. The verifier knows its values, so
//! branches of other generations are dead code.
#![no_std]

use zerocopy::{Immutable, IntoBytes};

/// Values of [`Config::policy_form`].
pub mod policy_form {
    /// First match of a fixed order, 24-byte values with wildcard bits.
    pub const WILDCARD_BITS: u32 = 0;
    /// Deny first, then proxy priority, then the longer prefix; 24-byte values with counters.
    pub const PREFIX_LENGTH: u32 = 1;
    /// The same order, 8-byte values, counters in `cilium_policystats`.
    pub const PREFIX_LENGTH_SHORT: u32 = 2;
    /// The larger precedence, 12-byte values.
    pub const PRECEDENCE: u32 = 3;
}

/// Bits of [`Config::options`].
pub mod option {
    /// Policy is enforced on the way in, on the way out: the numbers of the directions.
    pub const INGRESS: u32 = 1;
    pub const EGRESS: u32 = 2;
    /// A trace message for every packet that passes, as without monitor aggregation; else for new connections.
    pub const TRACE_ALL: u32 = 4;
}

/// Everything that differs between loads.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub struct Config {
    /// One of [`policy_form`].
    pub policy_form: u32,
    /// Bytes of the drop message: 36, 40, 48.
    pub drop_message: u32,
    /// Bytes of the trace message: 48, 56.
    pub trace_message: u32,
    /// Bytes of the policy verdict message: 32, 40.
    pub verdict_message: u32,
    /// 1: metrics keys carry line and file.
    pub metrics_place: u32,
    /// 1: connection tracking counts, in both directions apart (1.15 and older).
    pub ct_two_counters: u32,
    /// Identities of what the ipcache does not know.
    pub world4: u32,
    pub world6: u32,
    /// The endpoint this load is for; 0 for the network device.
    pub endpoint: u32,
    pub identity: u32,
    /// Bits of [`option`].
    pub options: u32,
    /// Host side of its veth pair.
    pub ifindex: u32,
    /// Addresses in network order.
    pub ipv4: u32,
    pub ipv6: [u32; 4],
    /// Of the device inside; two bytes of padding.
    pub mac: [u8; 8],
    /// Of the host side; two bytes of padding.
    pub node_mac: [u8; 8],
    /// Port of the node service without backends that the XDP program drops, host order.
    pub xdp_port: u32,
}
