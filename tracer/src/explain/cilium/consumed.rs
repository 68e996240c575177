//! Codes with which the datapath takes a packet over on purpose.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        199,
        Text {
            meaning: "An IGMP message was handled by the datapath and needs to go no further. It is no loss.",
            causes: &["A pod joins or leaves a multicast group, with multicast enabled."],
            confirm: &[check("tracer maps", "cilium_mcast_group_outer_v4_map: the groups")],
            action: &["Nothing."],
        },
    ),
    (
        200,
        Text {
            meaning: "An IGMP message made the sender a subscriber of a multicast group. It is no loss.",
            causes: &["A pod joins a multicast group, with multicast enabled."],
            confirm: &[check("tracer maps", "cilium_mcast_group_outer_v4_map: the groups")],
            action: &["Nothing."],
        },
    ),
    (
        201,
        Text {
            meaning: "A multicast packet was copied to all subscribers, and the original is done with. It is no loss.",
            causes: &["Multicast traffic to a group with subscribers, with multicast enabled."],
            confirm: &[check("tracer maps", "cilium_mcast_group_outer_v4_map: the groups")],
            action: &["Nothing."],
        },
    ),
    (
        205,
        Text {
            meaning: "The load balancer hands the packet to the layer 7 proxy. It is an internal answer and no loss.",
            causes: &[
                "A service whose traffic goes through the proxy (Ingress, Gateway API, layer 7 load balancing).",
            ],
            confirm: &[check("tracer lb list", "services with the flag of a layer 7 load balancer")],
            action: &["Nothing, unless clients of that service see errors: then look at cilium-envoy."],
        },
    ),
];
