//! Open vSwitch's own reasons. It is rare beside Cilium.

use super::super::text::Text;

const FLOWS: &[&str] = &["ovs-dpctl dump-flows and ovs-appctl ofproto/trace for the packet."];

const fn ovs(meaning: &'static str, causes: &'static [&'static str]) -> Text {
    Text { meaning, causes, confirm: &[], action: FLOWS }
}

pub(super) const TEXTS: &[(&str, Text)] = &[
    (
        "OVS_DROP_LAST_ACTION",
        ovs(
            "The flow's list of actions ended without sending the packet anywhere.",
            &["A rule that drops on purpose, or no rule."],
        ),
    ),
    (
        "OVS_DROP_ACTION_ERROR",
        ovs("An action of the flow failed.", &["An action that does not fit to the packet.", "No memory."]),
    ),
    (
        "OVS_DROP_EXPLICIT",
        ovs("A flow dropped the packet by an explicit drop action.", &["A rule of the controller."]),
    ),
    (
        "OVS_DROP_EXPLICIT_WITH_ERROR",
        ovs(
            "A flow dropped the packet by an explicit drop action that carries an error.",
            &["The controller or vswitchd could not translate a rule."],
        ),
    ),
    ("OVS_DROP_METER", ovs("A meter of the flow was exceeded.", &["A rate limit."])),
    ("OVS_DROP_RECURSION_LIMIT", ovs("Too many nested actions.", &["Rules that lead back to themselves."])),
    (
        "OVS_DROP_DEFERRED_LIMIT",
        ovs("Too many actions were put off for this packet.", &["Very long lists of actions."]),
    ),
    (
        "OVS_DROP_FRAG_L2_TOO_LONG",
        ovs("A packet that had to be cut has too long a link header.", &["Many VLAN tags or MPLS labels."]),
    ),
    (
        "OVS_DROP_FRAG_INVALID_PROTO",
        ovs(
            "A packet that had to be cut is neither IPv4 nor IPv6.",
            &["A frame larger than the port's MTU."],
        ),
    ),
    (
        "OVS_DROP_CONNTRACK",
        ovs(
            "Connection tracking of the kernel failed for the packet.",
            &["A full conntrack table.", "A malformed packet."],
        ),
    ),
    ("OVS_DROP_IP_TTL", ovs("The time to live ran out.", &["A routing loop, or traceroute."])),
];
