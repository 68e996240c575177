//! Segment routing.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        185,
        Text {
            meaning: "A segment routing policy covers the packet, and there is no segment identifier for its destination.",
            causes: &[
                "The VRF or egress policy names a segment that was not allocated yet.",
                "The agent has not received the route from the BGP peer.",
            ],
            confirm: &[check("tracer maps", "the cilium_srv6_* maps and their entries")],
            action: &["Look at the SRv6 policies and VRFs of the node, and at the agent's BGP sessions."],
        },
    ),
    (
        186,
        Text {
            meaning: "State of segment routing was lost between two parts of the program. Not returned since 1.16.",
            causes: &["An upgrade in progress, or a fault in an old release."],
            confirm: &[check("tracer maps", "the cilium_srv6_* maps and their entries")],
            action: &["Restart the agent; update Cilium if it stays."],
        },
    ),
];
