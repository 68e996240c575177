//! What Cilium tells of packets beside its drops: where they pass (trace messages) and what a policy decided
//! (verdict messages).

use std::net::IpAddr;

use tracer_common::id::EndpointId;

use super::reason::DropReason;

/// A message that is an event by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    Trace(Trace),
    Verdict(PolicyVerdict),
}

/// A packet that passes one of Cilium's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub point: TracePoint,
    pub reason: TraceReason,
    /// The packet was encrypted.
    pub encrypted: bool,
    /// On its way to the proxy: the proxy's port, else 0.
    pub proxy_port: u16,
    /// The source address in the packet, where SNAT had changed it: the event has the one before.
    pub source_xlated: Option<IpAddr>,
    /// Endpoint whose program told; 0 for host, overlay and XDP programs.
    pub emitter: EndpointId,
    /// 0 for none.
    pub ip_trace_id: u64,
}

/// Number of an observation point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TracePoint(pub u8);

/// Number of a trace reason: what connection tracking made of the packet, or what was done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceReason(pub u8);

impl TraceReason {
    const REPLY: Self = Self(2);
    const UNKNOWN: Self = Self(5);
    const SRV6_ENCAP: Self = Self(6);
    const SRV6_DECAP: Self = Self(7);
    pub const ENCRYPT_OVERLAY: Self = Self(8);

    /// Whether Cilium knew, and the number has a meaning in a known release.
    pub fn is_known(self) -> bool {
        self != Self::UNKNOWN && self.0 <= Self::ENCRYPT_OVERLAY.0
    }

    /// Whether the packet answers; `None`: that is not told.
    pub fn is_reply(self) -> Option<bool> {
        let told = self.is_known() && self != Self::SRV6_ENCAP && self != Self::SRV6_DECAP;
        told.then_some(self == Self::REPLY)
    }
}

/// What a policy decided about the first packet of a connection, or about a packet that it forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyVerdict {
    pub action: PolicyAction,
    pub match_type: MatchType,
    pub auth_type: AuthType,
    /// Endpoint whose policy decided.
    pub emitter: EndpointId,
    /// Leads to the log string of the rule (1.19 and later), 0 for none.
    pub cookie: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyAction {
    Allowed,
    /// Allowed only because the endpoint's policy is in audit mode.
    Audited,
    Denied(DropReason),
    /// To the proxy at this port.
    Redirected(u16),
    /// A number without a meaning in any known release; below 0 the packet was dropped, above redirected.
    Unknown(i32),
}

impl PolicyAction {
    /// Verdicts that let a packet pass are sent for the first one of a connection only.
    pub const fn is_reply(self) -> Option<bool> {
        match self {
            Self::Denied(_) | Self::Unknown(..0) => None,
            _ => Some(false),
        }
    }
}

/// Number of how specific the policy entry was that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MatchType(pub u8);

/// Number of the authentication that the entry asks for; 0: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AuthType(pub u8);
