//! IP fragments.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        157,
        Text {
            meaning: "The packet is a fragment, and the datapath cannot find out its ports. Policy by port and services need them, and only the first fragment has them.",
            causes: &[
                "IPv6 fragments, in releases that do not track them.",
                "Fragment tracking for IPv4 is off (enable-ipv4-fragment-tracking).",
                "Large UDP datagrams: DNS with big answers, RADIUS, NFS, tunnels inside pods.",
            ],
            confirm: &[
                check(
                    "tracer drops --drop-reason-desc IP_FRAGMENTATION_NOT_SUPPORTED -o json",
                    "who fragments, and flow.traffic_direction: with ingress an entry for any port would let it in",
                ),
                check("tracer metrics", "the rows about fragments beside it"),
            ],
            action: &[
                "Avoid fragments: smaller datagrams (EDNS buffer size), a larger MTU, TCP.",
                "Turn fragment tracking on.",
            ],
        },
    ),
    (
        175,
        Text {
            meaning: "A later fragment arrived, and the first one of its datagram was never seen here. The datapath learns the ports from the first fragment and remembers them in a small map; without them it cannot judge the others.",
            causes: &[
                "Fragments were reordered on the way, so that a later one overtook the first.",
                "The first fragment was lost or dropped: look for another drop with the same addresses just before.",
                "The fragments map is full (bpf-fragments-map-max), so that the entry was pushed out.",
                "Fragments of one datagram take different paths or arrive on different nodes.",
            ],
            confirm: &[
                check("tracer maps", "usage_percent of cilium_ipv4_frag_datagrams"),
                check("tracer drops --from-ip IP", "another drop of the same sender just before it"),
            ],
            action: &[
                "Avoid fragments: smaller datagrams, a larger MTU.",
                "Raise bpf-fragments-map-max if the map is full.",
            ],
        },
    ),
    (
        207,
        Text {
            meaning: "A later fragment from outside of the cluster arrived, and the first one of its datagram was never seen here. It is 175 told apart by where the sender is, from 1.20 on.",
            causes: &[
                "Reordered or lost fragments on the way through the internet.",
                "Fragments of one datagram arrive on different nodes, because a load balancer in front hashes over ports.",
            ],
            confirm: &[check("tracer maps", "usage_percent of cilium_ipv4_frag_datagrams")],
            action: &[
                "Let what is in front of the nodes spread by addresses only, or keep clients from fragmenting (smaller MTU, EDNS buffer size).",
            ],
        },
    ),
];
