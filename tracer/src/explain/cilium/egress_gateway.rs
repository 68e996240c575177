//! The egress gateway.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        194,
        Text {
            meaning: "An egress gateway policy covers this packet, and no node is its gateway at the moment. The datapath drops rather than let it out with another address.",
            causes: &[
                "The policy's node selector matches no node, or the node that it matched is gone.",
                "The gateway's address is not known to this node yet.",
            ],
            confirm: &[
                check(
                    "tracer maps dump cilium_egress_gw_policy_v4",
                    "the policy's entry: gateway 0.0.0.0 means that there is none",
                ),
                check("tracer nodes", "whether the gateway is known"),
            ],
            action: &[
                "Label a living node for the policy's nodeSelector (kubectl get ciliumegressgatewaypolicies), or remove the policy.",
            ],
        },
    ),
    (
        204,
        Text {
            meaning: "This node is the egress gateway for the packet, and has no address to send it from.",
            causes: &[
                "The policy's egressIP is on no interface of this node.",
                "The interface that the policy names has no address of this family.",
                "The address was moved to another node.",
            ],
            confirm: &[check(
                "tracer maps dump cilium_egress_gw_policy_v4",
                "the policy's entry: egress address 0.0.0.0 means that there is none",
            )],
            action: &[
                "Put the address on the gateway's interface (ip addr), or correct egressIP or interface in the policy.",
            ],
        },
    ),
];
