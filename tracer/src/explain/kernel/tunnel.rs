//! Tunnel devices.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(&str, Text)] = &[
    (
        "VXLAN_INVALID_HDR",
        Text {
            meaning: "The VXLAN header is not acceptable: its flags are wrong, or reserved bits are set.",
            causes: &[
                "Something that is not VXLAN came to port 8472 or 4789.",
                "A peer that uses an extension (GBP, GPE) which this device does not.",
            ],
            confirm: &[check(
                "tracer drops --all --kernel-reason VXLAN_INVALID_HDR -o json",
                "the outer sender",
            )],
            action: &["Block the tunnel port from outside the nodes' network; compare the peer's settings."],
        },
    ),
    (
        "VXLAN_VNI_NOT_FOUND",
        Text {
            meaning: "No VXLAN device of this node has the network identifier of the packet.",
            causes: &[
                "Another overlay uses the same port.",
                "Cilium's device (cilium_vxlan) is missing or was made again without metadata mode.",
            ],
            confirm: &[check(
                "tracer drops --all --kernel-reason VXLAN_VNI_NOT_FOUND -o json",
                "flow.tunnel: sender and vni",
            )],
            action: &["ip -d link show type vxlan; restart the agent if cilium_vxlan is missing."],
        },
    ),
    (
        "VXLAN_ENTRY_EXISTS",
        Text {
            meaning: "A VXLAN device does not learn that the hardware address has moved, because its entry is fixed.",
            causes: &[
                "Two machines with the same hardware address.",
                "A static entry of a peer that has moved.",
            ],
            confirm: &[],
            action: &["bridge fdb show dev DEVICE; remove the stale entry."],
        },
    ),
    (
        "IP_TUNNEL_ECN",
        Text {
            meaning: "The congestion marks of the outer and the inner packet contradict each other in a way that must not be passed on.",
            causes: &["A router marks packets of a flow that does not take part in ECN."],
            confirm: &[],
            action: &["Find the router that marks; single ones do no harm."],
        },
    ),
    (
        "TUNNEL_TXINFO",
        Text {
            meaning: "A tunnel device in metadata mode got a packet without metadata, so it does not know where to send it.",
            causes: &[
                "A route or a bridge sends packets to cilium_vxlan or cilium_geneve directly, past Cilium's programs.",
                "Cilium's programs are not attached, so that nobody sets the metadata.",
                "Multicast and neighbour discovery that the host sends by every device.",
            ],
            confirm: &[check(
                "tracer drops --all --kernel-reason TUNNEL_TXINFO -o json",
                "destination and flow.interface",
            )],
            action: &[
                "Single multicast packets: nothing. Else ip route get DESTINATION, and bpftool net show: are the cil_* programs on the devices?",
            ],
        },
    ),
];
