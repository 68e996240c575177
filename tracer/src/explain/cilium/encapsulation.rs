//! Tunnels and encryption between nodes.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        147,
        Text {
            meaning: "The tunnel's metadata could not be read from a packet that came in by the tunnel device. Without it the sender's identity is not known.",
            causes: &[
                "A packet reached the tunnel device by another way than through the tunnel, for example by a route or a packet generator.",
                "The tunnel device was made by somebody else, without the mode in which metadata is collected.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc ERROR_RETRIEVING_TUNNEL_KEY -o json",
                "flow.interface, flow.file",
            )],
            action: &[
                "Look at the device (ip -d link show cilium_vxlan must say external); restart the agent, which makes it again.",
            ],
        },
    ),
    (
        160,
        Text {
            meaning: "The packet has to go to another node by the tunnel, and there is no node address for its destination.",
            causes: &[
                "The ipcache entry of the destination has no tunnel endpoint: the agent has not learned where the pod lives.",
                "An egress gateway policy whose gateway node has no usable address.",
                "Node and pod were removed, and traffic goes on.",
            ],
            confirm: &[
                check("tracer ipcache get IP", "tunnel_endpoint of the destination"),
                check("tracer nodes", "whether the node is known"),
            ],
            action: &[
                "Look at the agent of this node (is it alive, does it see the API server) and at the CiliumNode and CiliumEndpoint of the destination.",
            ],
        },
    ),
    (
        170,
        Text {
            meaning: "A pod sent UDP to the tunnel port. Pods must not make encapsulated packets themselves, because they could claim any identity.",
            causes: &[
                "A workload uses VXLAN or Geneve of its own on Cilium's port (8472 or 6081).",
                "An application happens to use that port.",
                "An attack.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc ENCAPSULATION_TRAFFIC_IS_PROHIBITED",
                "the pod and the port",
            )],
            action: &["Move the workload's tunnel to another port, or Cilium's (tunnel-port)."],
        },
    ),
    (
        183,
        Text {
            meaning: "A packet came in from a VXLAN tunnel endpoint outside of the cluster (VTEP integration) with a network identifier that is not the one configured for it.",
            causes: &[
                "The network identifier in the agent's VTEP configuration and in the device outside differ.",
                "Something else sends VXLAN to this node.",
            ],
            confirm: &[
                check("tracer maps dump cilium_vtep_map", "the configured endpoints"),
                check("tracer drops --drop-reason-desc INVALID_VNI -o json", "flow.tunnel: sender and vni"),
            ],
            action: &[
                "Make both sides use the same identifier (vtep-endpoint, vtep-cidr and the device's VNI).",
            ],
        },
    ),
    (
        195,
        Text {
            meaning: "Strict encryption is on, and this packet would leave, or came in, unencrypted.",
            causes: &[
                "The peer's address is in the strict CIDR, and the ipcache does not know yet that it can be encrypted: new pods and nodes.",
                "The WireGuard peer or the key of the other node is missing.",
                "A node without encryption sends tunnel traffic to this one.",
            ],
            confirm: &[
                check(
                    "tracer ipcache get IP",
                    "encrypt_key of the peer: 0 is not encrypted, 255 is WireGuard",
                ),
                check("tracer nodes", "whether the peer's node is known"),
            ],
            action: &[
                "A few for new pods: normal, the packets are sent again.",
                "Lasting: compare the peers (wg show cilium_wg0) with the nodes, look at the agents of both sides.",
            ],
        },
    ),
    (
        197,
        Text {
            meaning: "The datapath needs the number of the other node, for IPsec or for authentication, and the node map has none for its address.",
            causes: &[
                "The other node is new, and the agent has not allocated a number yet.",
                "The agent here is dead or cannot see the API server.",
                "The ipcache names another address of the node than the node map.",
            ],
            confirm: &[
                check("tracer ipcache get IP", "tunnel_endpoint: the node's address"),
                check("tracer nodes", "the row with that address, and its node_id"),
            ],
            action: &["Look at the agent of this node; a restart fills the node map again."],
        },
    ),
];
