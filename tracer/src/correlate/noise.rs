//! Drops that nobody needs to see one by one: folded by default, counted by class, shown with `--all`. A class
//! is for what is dropped on purpose or by the rules of a protocol; when in doubt a drop is no noise.

use tracer_common::packet::ethertype;

use crate::model::flow::{Flow, Source};
use crate::model::packet::{Ethernet, Transport};

/// Why a drop is folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoiseClass {
    Elsewhere,
    NotAPacket,
    SocketTeardown,
    OtherHost,
    DuplicateData,
    LinkControl,
    Ipv6Autoconfiguration,
    ConsumedByCilium,
}

impl NoiseClass {
    pub const ALL: [Self; 8] = [
        Self::Elsewhere,
        Self::NotAPacket,
        Self::SocketTeardown,
        Self::OtherHost,
        Self::DuplicateData,
        Self::LinkControl,
        Self::Ipv6Autoconfiguration,
        Self::ConsumedByCilium,
    ];

    /// Stable name, for the summary and its JSON twin.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Elsewhere => "elsewhere",
            Self::NotAPacket => "not-a-packet",
            Self::SocketTeardown => "socket-teardown",
            Self::OtherHost => "other-host",
            Self::DuplicateData => "duplicate-data",
            Self::LinkControl => "link-control",
            Self::Ipv6Autoconfiguration => "ipv6-autoconfiguration",
            Self::ConsumedByCilium => "consumed-by-cilium",
        }
    }

    /// One line for the user.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Elsewhere => {
                "kernel drops with no Cilium endpoint, node address or Cilium interface in them"
            }
            Self::NotAPacket => "buffers of netlink and unix sockets: no network packet at all",
            Self::SocketTeardown => "data left in the queues of a socket when it was closed",
            Self::OtherHost => "frames for another machine that a switch or bridge flooded to us",
            Self::DuplicateData => "TCP segments that had arrived before",
            Self::LinkControl => "LLDP, LACP, spanning tree and pause frames: for the link, not for IP",
            Self::Ipv6Autoconfiguration => {
                "router solicitations, multicast reports and address probes of interfaces that come up"
            }
            Self::ConsumedByCilium => "packets that Cilium took over on purpose and reports by a drop code",
        }
    }
}

/// Cilium's codes that are no drops: NAT_NOT_NEEDED, IGMP_HANDLED, IGMP_SUBSCRIBED, MULTICAST_HANDLED, PUNT_PROXY.
const CONSUMED: [u8; 5] = [173, 199, 200, 201, 205];
/// INVALID_SIP, with which an endpoint's first IPv6 packets are met: their source is not its address yet.
const INVALID_SOURCE_IP: u8 = 132;
/// UNKNOWN_L3 and UNSUPPORTED_L2.
const UNSUPPORTED_PROTOCOL: [u8; 2] = [139, 166];

/// The class of a drop, or `None` if it is to be shown. `concerns`: as in [`Named`](super::name::Named).
pub fn classify(flow: &Flow, concerns: bool) -> Option<NoiseClass> {
    if flow.notice.is_some() {
        return None;
    }
    match &flow.cilium {
        Some(drop) => cilium_noise(flow, drop.reason.0),
        None => kernel_noise(flow, concerns),
    }
}

fn cilium_noise(flow: &Flow, reason: u8) -> Option<NoiseClass> {
    if CONSUMED.contains(&reason) {
        return Some(NoiseClass::ConsumedByCilium);
    }
    if reason == INVALID_SOURCE_IP && is_autoconfiguration(flow) {
        return Some(NoiseClass::Ipv6Autoconfiguration);
    }
    (UNSUPPORTED_PROTOCOL.contains(&reason) && is_link_control(flow)).then_some(NoiseClass::LinkControl)
}

fn kernel_noise(flow: &Flow, concerns: bool) -> Option<NoiseClass> {
    debug_assert_eq!(flow.source, Source::Kernel);
    let reason = flow.kernel.as_ref().and_then(|kernel| kernel.reason_name.as_deref()).unwrap_or("");
    // A tc program dropped it and left no word: just what a user of Cilium wants to see.
    if concerns && matches!(reason, "TC_INGRESS" | "TC_EGRESS") {
        return None;
    }
    let has_packet = flow.packet.ip.is_some() || flow.packet.ethernet.is_some();
    match reason {
        _ if !has_packet && flow.interface.is_none() && !flow.packet.truncated => {
            Some(NoiseClass::NotAPacket)
        }
        _ if !concerns => Some(NoiseClass::Elsewhere),
        "SOCKET_CLOSE" | "QUEUE_PURGE" | "CONSUMED" => Some(NoiseClass::SocketTeardown),
        "NOT_SPECIFIED" if flow.interface.is_none() => Some(NoiseClass::SocketTeardown),
        "OTHERHOST" => Some(NoiseClass::OtherHost),
        "TCP_OFOMERGE" | "TCP_OLD_DATA" => Some(NoiseClass::DuplicateData),
        _ if is_link_control(flow) => Some(NoiseClass::LinkControl),
        _ if is_autoconfiguration(flow) => Some(NoiseClass::Ipv6Autoconfiguration),
        _ => None,
    }
}

/// Frames between neighbours on a link, by type or by the group address of IEEE 802.1D.
fn is_link_control(flow: &Flow) -> bool {
    const TYPES: [u16; 3] = [ethertype::MAC_CONTROL, ethertype::SLOW, ethertype::LLDP];
    let between_bridges = |ethernet: &Ethernet| {
        let group = [0x01, 0x80, 0xc2, 0x00, 0x00];
        ethernet.ethertype < ethertype::FIRST
            && ethernet.destination[..5] == group
            && ethernet.destination[5] < 0x10
    };
    let ethernet = flow.packet.ethernet.as_ref();
    flow.packet.ip.is_none() && ethernet.is_some_and(|e| TYPES.contains(&e.ethertype) || between_bridges(e))
}

/// What an IPv6 interface says to the link before it has a global address: router solicitation (133),
/// multicast listener report (131, 143) and done (132), neighbour solicitation for its own address (135 from ::).
fn is_autoconfiguration(flow: &Flow) -> bool {
    let Some(ip) = &flow.packet.ip else { return false };
    let source_is_unset = ip.source.is_unspecified();
    let link_local = matches!(ip.source, std::net::IpAddr::V6(source) if source.is_unicast_link_local());
    match ip.transport {
        Transport::Icmpv6 { kind: 131 | 132 | 133 | 143, .. } => source_is_unset || link_local,
        Transport::Icmpv6 { kind: 135, .. } => source_is_unset,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
