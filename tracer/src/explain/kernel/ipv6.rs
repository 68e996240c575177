//! IPv6 and neighbour discovery.

use super::super::text::{Text, check};

const FAULTY: &[&str] = &["A faulty or hostile stack on the local network."];
const FIND: &[&str] = &["Find the sender by its hardware address."];

pub(super) const TEXTS: &[(&str, Text)] = &[
    (
        "IPV6DISABLED",
        Text {
            meaning: "IPv6 is switched off on this device, and an IPv6 packet came in.",
            causes: &[
                "net.ipv6.conf.DEVICE.disable_ipv6 is 1: on the node, or in a pod's namespace.",
                "Neighbours on the link that speak IPv6: router advertisements, multicast.",
            ],
            confirm: &[check(
                "tracer drops --all --kernel-reason IPV6DISABLED",
                "which device, and whether it is more than link chatter",
            )],
            action: &[
                "Nothing, if the cluster has no IPv6. Else switch it on: sysctl -w net.ipv6.conf.DEVICE.disable_ipv6=0.",
            ],
        },
    ),
    (
        "IPV6_BAD_EXTHDR",
        Text {
            meaning: "An IPv6 extension header is malformed or not acceptable.",
            causes: &["Crafted packets.", "Routing headers or options that the host refuses."],
            confirm: &[],
            action: FIND,
        },
    ),
    (
        "IPV6_NDISC_FRAG",
        Text {
            meaning: "A neighbour discovery message came in fragments, which is forbidden (suppress_frag_ndisc).",
            causes: FAULTY,
            confirm: &[],
            action: FIND,
        },
    ),
    (
        "IPV6_NDISC_HOP_LIMIT",
        Text {
            meaning: "A neighbour discovery message does not have hop limit 255, so that it may come from beyond the link.",
            causes: &[
                "A program or device that forwards such messages and counts the hop limit down.",
                "An attack from outside of the link.",
            ],
            confirm: &[check(
                "tracer drops --kernel-reason IPV6_NDISC_HOP_LIMIT -o json",
                "tracer.packet.ttl and flow.ethernet.source",
            )],
            action: FIND,
        },
    ),
    (
        "IPV6_NDISC_BAD_CODE",
        Text {
            meaning: "A neighbour discovery message has a code other than 0.",
            causes: FAULTY,
            confirm: &[],
            action: FIND,
        },
    ),
    (
        "IPV6_NDISC_BAD_OPTIONS",
        Text {
            meaning: "The options of a neighbour discovery message are malformed.",
            causes: FAULTY,
            confirm: &[],
            action: FIND,
        },
    ),
    (
        "IPV6_NDISC_NS_OTHERHOST",
        Text {
            meaning: "A neighbour solicitation asks for an address of another host.",
            causes: &["Multicast that the device does not filter exactly, or promiscuous mode."],
            confirm: &[],
            action: &["Usually nothing."],
        },
    ),
];
