//! Where a packet should go next.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        151,
        Text {
            meaning: "The packet is for a pod address of this node that no endpoint has, or for one that cannot be reached from here.",
            causes: &[
                "The pod is gone, and somebody still sends to it: clients with old DNS answers, connections without end, health checks of removed backends.",
                "The pod was just created, and its endpoint is not in the map yet.",
                "Other nodes have a stale ipcache entry or route for this address.",
            ],
            confirm: &[
                check("tracer endpoints get IP", "whether the address belongs to an endpoint of this node"),
                check("tracer ipcache get IP", "where this node believes that the address lives"),
                check("tracer ct list --ip IP", "connections that still use it"),
            ],
            action: &[
                "For a short time after a pod has ended: normal.",
                "Lasting: find the sender, and what tells it this address (service backends, DNS, its own configuration).",
            ],
        },
    ),
    (
        164,
        Text {
            meaning: "The packet is for this host, and the program has no way to deliver it there.",
            causes: &[
                "The endpoint's program was built without a way to the host interface (cilium_host).",
                "A fault in Cilium, or a very old release.",
            ],
            confirm: &[check("tracer endpoints list", "the rows with the flag host")],
            action: &["Restart the agent, so that devices and programs are made again."],
        },
    ),
    (
        169,
        Text {
            meaning: "The kernel's routing look-up gave no usable next hop. ext_error says why: a positive number is the answer of the look-up, a negative one the error of the redirect.",
            causes: &[
                "7, no neighbour: the next hop has not answered ARP or neighbour discovery yet, or is gone.",
                "1 to 3: a blackhole, unreachable or prohibit route covers the destination.",
                "4 or 5: no route, or forwarding is off on the device.",
                "8: larger than the MTU of the route.",
            ],
            confirm: &[
                check(
                    "tracer drops --drop-reason-desc FIB_LOOKUP_FAILED -o json",
                    "tracer.cilium.ext_error and its name; the destination, flow.interface",
                ),
                check("tracer nodes", "addresses of the node that the packet should go to"),
            ],
            action: &[
                "On the node: ip route get DESTINATION, ip neigh, and sysctl net.ipv4.conf.DEVICE.forwarding.",
                "No neighbour: is the next hop up, and is ARP let through on the way?",
            ],
        },
    ),
    (
        172,
        Text {
            meaning: "The sender of the packet is not known where it has to be. It is kept for paths where an unknown source must not pass.",
            causes: &[
                "The ipcache has no identity for the source address.",
                "An agent that is behind or dead.",
            ],
            confirm: &[check("tracer ipcache get IP", "the identity of the source address")],
            action: &[
                "Look at the agent of this node; report file and line to Cilium if the source is known.",
            ],
        },
    ),
    (
        196,
        Text {
            meaning: "The packet's time to live (hop limit) is used up at this hop. Senders of IPv6 are told by an ICMPv6 error.",
            causes: &[
                "traceroute and similar tools, which do this on purpose.",
                "A routing loop: the packet has come by here many times.",
                "A sender with a very small initial value, as some multicast and routing protocols have.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc TTL_EXCEEDED -o json",
                "tracer.packet.ttl; the same packet again and again is a loop",
            )],
            action: &[
                "Loop: compare the routes of the nodes for the destination (ip route get), and the ipcache entry of the address.",
            ],
        },
    ),
    (
        206,
        Text {
            meaning: "The program has no information about the device that it should send by (its hardware address).",
            causes: &[
                "A device came or went, and the agent has not updated the programs' table of devices.",
                "The agent is dead while devices change.",
            ],
            confirm: &[check("tracer drops --drop-reason-desc 206 -o json", "flow.interface, flow.file")],
            action: &["Restart the agent; look at its list of devices (devices, direct-routing-device)."],
        },
    ),
];
