//! Connection tracking.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        135,
        Text {
            meaning: "Connection tracking could not read the transport header. The packet ends before the ports, the flags or the ICMP header do.",
            causes: &[
                "A truncated or hand-made packet (port scanners, fuzzers).",
                "An IP header whose lengths are wrong, so that the transport header is looked for in the wrong place.",
                "A fragment so small that the transport header is split.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc CT_TRUNCATED_OR_INVALID_HEADER --snaplen 256 -o json",
                "tracer.packet: length_bytes against what the headers promise",
            )],
            action: &[
                "Find the sender by the source address; if it is not an attack or a scan, capture at the sender's interface and compare.",
            ],
        },
    ),
    (
        137,
        Text {
            meaning: "Connection tracking does not know this IP protocol. It follows TCP, UDP, ICMP and ICMPv6, and SCTP where that is enabled; everything else cannot pass where tracking is required.",
            causes: &[
                "GRE, ESP, AH, IP-in-IP, OSPF or VRRP to or from a pod.",
                "SCTP, with enable-sctp off.",
                "IGMP from a pod, with multicast off.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc CT_UNKNOWN_L4_PROTOCOL -o json",
                "tracer.packet.protocol: 47 GRE, 50 ESP, 4 IP-in-IP, 132 SCTP, 2 IGMP",
            )],
            action: &[
                "SCTP: enable it in the agent (sctp.enabled in Helm).",
                "Other protocols: let the workload use the host network, or carry it over UDP.",
            ],
        },
    ),
    (
        155,
        Text {
            meaning: "A new connection could not be entered into the connection tracking map, so its first packet is dropped. ext_error is the negative error number of the map update. The map replaces its oldest entries when it is full; an update still fails if the CPU can find nothing to replace at once.",
            causes: &[
                "The map is full and many new connections arrive together: load tests, scans, floods, SYN retries.",
                "The agent is dead, so that nobody removes expired entries and the map runs full.",
                "Very high connection rates on many CPUs, which compete for the same part of the map (ext_error -16, EBUSY).",
            ],
            confirm: &[
                check("tracer ct count", "entries against max_entries"),
                check(
                    "tracer capacity",
                    "how fast the map grows, whether expired entries are being removed, and who owns most",
                ),
                check("tracer ct top", "the endpoints and peers with most connections"),
                check(
                    "tracer ct count --expired",
                    "expired entries that nobody has removed: many mean that garbage collection does not run",
                ),
            ],
            action: &[
                "Get the agent running again: garbage collection is its job.",
                "Stop or slow down the workload that opens the connections, or let it keep connections open.",
                "Make the map larger: bpf-ct-global-tcp-max and bpf-ct-global-any-max, or bpf-map-dynamic-size-ratio. The agent makes a new map then, and running connections are forgotten.",
            ],
        },
    ),
    (
        163,
        Text {
            meaning: "Connection tracking answered with a state that the program has no branch for. This should not happen.",
            causes: &[
                "Programs of different releases work on the same map, in the middle of an upgrade or a downgrade.",
                "A fault in Cilium.",
            ],
            confirm: &[
                check(
                    "tracer drops --drop-reason-desc UNKNOWN_CONNECTION_TRACKING_STATE -o json",
                    "flow.file: the line that gave up",
                ),
                check(
                    "tracer maps",
                    "maps whose in_use is false or whose layout is unknown: left-overs of another release",
                ),
            ],
            action: &[
                "Restart the agent, so that all programs are loaded again; if it stays, report it to Cilium with file and line.",
            ],
        },
    ),
];
