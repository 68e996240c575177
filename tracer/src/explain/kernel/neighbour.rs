//! Next hops: ARP and neighbour discovery.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(&str, Text)] = &[
    (
        "NEIGH_CREATEFAIL",
        Text {
            meaning: "No entry for the next hop could be made in the neighbour table.",
            causes: &[
                "The table is full: net.ipv4.neigh.default.gc_thresh3 (and ipv6) is too small for the cluster. The kernel logs \"neighbour table overflow\".",
                "No memory.",
            ],
            confirm: &[check("tracer nodes", "how many nodes there are to talk to")],
            action: &["Raise gc_thresh1 to 3 of net.ipv4.neigh.default and net.ipv6.neigh.default."],
        },
    ),
    (
        "NEIGH_FAILED",
        Text {
            meaning: "The next hop did not answer the question for its hardware address, so what waited for it is given up.",
            causes: &[
                "The next hop is down, or has another address by now.",
                "ARP or neighbour solicitations are filtered on the way.",
                "The destination is believed to be on the link, and is not: a wrong prefix length or route.",
                "The pod is gone, and somebody still sends to it.",
            ],
            confirm: &[
                check("tracer drops --kernel-reason NEIGH_FAILED", "destination and interface"),
                check("tracer endpoints get IP", "whether a pod of this node has the address"),
            ],
            action: &["ip neigh show, ip route get DESTINATION; is the machine up, and in this network?"],
        },
    ),
    (
        "NEIGH_QUEUEFULL",
        Text {
            meaning: "Too many packets wait for the next hop's hardware address.",
            causes: &["A burst to a machine that has not answered yet, or that is down."],
            confirm: &[check("tracer drops --kernel-reason NEIGH_QUEUEFULL", "which destination")],
            action: &[
                "See NEIGH_FAILED: usually the next hop does not answer. net.ipv4.neigh.DEVICE.unres_qlen_bytes is the room for waiting packets.",
            ],
        },
    ),
    (
        "NEIGH_DEAD",
        Text {
            meaning: "The neighbour entry was being removed while the packet wanted to use it.",
            causes: &["A device that goes down, or an entry that is deleted at this moment."],
            confirm: &[],
            action: &["Single ones: nothing."],
        },
    ),
    (
        "NEIGH_HH_FILLFAIL",
        Text {
            meaning: "The link header could not be put in front of the packet from the neighbour entry.",
            causes: &[
                "A device whose header is longer than the room in the packet.",
                "A device that was changed while the packet was on its way.",
            ],
            confirm: &[],
            action: &["Look at the device (type, encapsulation) behind `at` and flow.interface."],
        },
    ),
    (
        "ARP_PVLAN_DISABLE",
        Text {
            meaning: "An ARP message that could only be answered for a private VLAN (proxy_arp_pvlan), which is not on.",
            causes: &["A machine asks on the link for an address that lies behind the same device."],
            confirm: &[],
            action: &["Usually nothing: the right machine answers by itself."],
        },
    ),
];
