//! ICMP and ICMPv6 messages, as NAT and neighbour discovery need them.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        143,
        Text {
            meaning: "Translation met an ICMP message with a code that it does not know. The type is one that it handles.",
            causes: &[
                "An unusual \"destination unreachable\" or \"time exceeded\" code on a path with NAT, or between IPv4 and IPv6.",
                "A crafted message.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc UNKNOWN_ICMPV4_CODE",
                "type and code behind ICMPv4, and the sender",
            )],
            action: &["Usually nothing; if path MTU discovery suffers, find the router that sends it."],
        },
    ),
    (
        144,
        Text {
            meaning: "Translation met an ICMP message of a type that it cannot translate.",
            causes: &[
                "Timestamp, address mask or router messages on a path that translates between IPv4 and IPv6.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc UNKNOWN_ICMPV4_TYPE",
                "type and code behind ICMPv4, and the sender",
            )],
            action: &["Usually nothing: such messages have no meaning behind NAT."],
        },
    ),
    (
        145,
        Text {
            meaning: "Translation met an ICMPv6 message with a code that it does not know. The type is one that it handles.",
            causes: &[
                "An unusual \"destination unreachable\" code on a path with NAT, or between IPv6 and IPv4.",
                "A crafted message.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc UNKNOWN_ICMPV6_CODE",
                "type and code behind ICMPv6, and the sender",
            )],
            action: &["Usually nothing; if path MTU discovery suffers, find the router that sends it."],
        },
    ),
    (
        146,
        Text {
            meaning: "Translation met an ICMPv6 message of a type that it cannot translate.",
            causes: &[
                "Neighbour discovery, multicast listener or router messages on a path that translates between IPv6 and IPv4.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc UNKNOWN_ICMPV6_TYPE",
                "type and code behind ICMPv6, and the sender",
            )],
            action: &["Usually nothing: such messages stay on their link."],
        },
    ),
    (
        150,
        Text {
            meaning: "A neighbour solicitation asks for an IPv6 address that Cilium does not answer for. The datapath answers itself for the router address and for its endpoints.",
            causes: &[
                "The address belonged to a pod that is gone.",
                "A pod or a machine on the link looks for an address that is not in the cluster.",
            ],
            confirm: &[
                check("tracer endpoints list", "whether the address asked for is one of them"),
                check(
                    "tracer drops --drop-reason-desc UNKNOWN_L3_TARGET_ADDRESS --snaplen 256 -o json",
                    "who asks",
                ),
            ],
            action: &[
                "Address of a deleted pod: the asking side has a stale neighbour or route. Address of a living pod: look at the agent.",
            ],
        },
    ),
    (
        176,
        Text {
            meaning: "The host firewall does not let this ICMPv6 message pass at a managed device. It has a fixed list of types that it lets through, passes on to policy, or drops.",
            causes: &[
                "Multicast router, inverse neighbour discovery, experimental or unassigned ICMPv6 types.",
                "A crafted message.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc FORBIDDEN_ICMPV6_MESSAGE",
                "type and code behind ICMPv6, and the sender",
            )],
            action: &[
                "Usually nothing. If a routing daemon on the node needs the message, the host firewall cannot be used with it.",
            ],
        },
    ),
];
