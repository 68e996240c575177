//! What `cilium_metrics` counts below 130. None of these is a drop by itself.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        0,
        Text {
            meaning: "A packet was passed on. It is the count of success, by direction.",
            causes: &["Traffic."],
            confirm: &[check("tracer metrics --watch", "packets a second, to compare drops with")],
            action: &["Nothing."],
        },
    ),
    (
        2,
        Text {
            meaning: "A packet was counted as not valid, the old way. Newer releases count 134 instead.",
            causes: &["Truncated or unreadable headers."],
            confirm: &[check(
                "tracer drops --drop-reason-desc INVALID_PACKET_DROPPED",
                "whether the same is reported as a drop",
            )],
            action: &["See 134."],
        },
    ),
    (
        3,
        Text {
            meaning: "A packet went through a managed device unencrypted. It is a count of traffic.",
            causes: &["Traffic of the node's devices, while encryption is off or does not apply to it."],
            confirm: &[check(
                "tracer metrics --watch",
                "the share beside Interface Encrypting, where encryption is on",
            )],
            action: &["Nothing. Where everything should be encrypted, compare with 13."],
        },
    ),
    (
        4,
        Text {
            meaning: "A packet was seen after it had been decrypted. It is a count of traffic.",
            causes: &["Encrypted traffic from other nodes (IPsec or WireGuard)."],
            confirm: &[check("tracer metrics --watch", "that it grows while encrypted traffic comes in")],
            action: &["Nothing."],
        },
    ),
    (
        5,
        Text {
            meaning: "The socket load balancer found a service, but not the slot of the backend that it chose. The application's connect() or send() fails or goes untranslated, and no packet is dropped.",
            causes: &[
                "The service changed between two look-ups.",
                "The agent died in the middle of an update.",
                "The services map is full.",
            ],
            confirm: &[
                check("tracer lb check", "services whose count and slots disagree"),
                check("tracer capacity", "fill of cilium_lb4_services_v2"),
            ],
            action: &[
                "Growing all the time: look at the agent; raise bpf-lb-service-map-max if the map is full.",
            ],
        },
    ),
    (
        6,
        Text {
            meaning: "The socket load balancer found a slot that names a backend which does not exist. The application's connect() or send() fails or goes untranslated, and no packet is dropped.",
            causes: &[
                "A backend was removed between two look-ups.",
                "The agent died in the middle of an update.",
                "The backends map is full.",
            ],
            confirm: &[
                check("tracer lb check", "dangling backend ids"),
                check("tracer lb list --backends", "the backends that exist"),
            ],
            action: &[
                "Growing all the time: look at the agent; raise bpf-lb-service-backend-map-max if the map is full.",
            ],
        },
    ),
    (
        7,
        Text {
            meaning: "The socket load balancer could not note down the way back for a connected or sending socket. getpeername() and replies of UDP show the backend's address instead of the service's then.",
            causes: &[
                "The map of reverse translations of sockets is full or contended: very many UDP sockets, such as DNS clients.",
            ],
            confirm: &[
                check("tracer capacity", "fill of cilium_lb4_reverse_sk"),
                check("tracer lb list --sockets", "who has so many"),
            ],
            action: &["Raise bpf-sock-rev-map-max; let the application reuse its sockets."],
        },
    ),
    (
        8,
        Text {
            meaning: "A reverse translation of a socket named a service that is gone or has another number by now.",
            causes: &["The service was deleted while sockets still use it."],
            confirm: &[check("tracer lb list --sockets", "the entries of that client")],
            action: &["Nothing; the client has to connect again."],
        },
    ),
    (
        9,
        Text {
            meaning: "A fragment was seen. It is a count of traffic, not of drops.",
            causes: &["Datagrams larger than the MTU."],
            confirm: &[check(
                "tracer drops --drop-reason-desc FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND",
                "whether fragments are lost as well",
            )],
            action: &["Many of them cost speed: avoid fragments with a smaller datagram or a larger MTU."],
        },
    ),
    (
        10,
        Text {
            meaning: "The ports of a first fragment could not be remembered. Later fragments of the same datagram will be dropped with 175.",
            causes: &["The fragments map is full or contended."],
            confirm: &[check("tracer maps", "usage_percent of cilium_ipv4_frag_datagrams")],
            action: &["Raise bpf-fragments-map-max, or avoid fragments."],
        },
    ),
    (
        11,
        Text {
            meaning: "A custom program was to be called and is not there. The packet goes on without it.",
            causes: &["Custom calls are enabled and no program is loaded for this endpoint and hook."],
            confirm: &[check("tracer maps", "cilium_calls_custom_*: the slots")],
            action: &["Load the program again, or switch enable-custom-calls off."],
        },
    ),
    (
        12,
        Text {
            meaning: "A packet is on its way to be decrypted. It is a count of traffic.",
            causes: &["Encrypted traffic from other nodes."],
            confirm: &[check(
                "tracer metrics --watch",
                "that Interface Decrypted grows as well; if it does not, decryption fails",
            )],
            action: &[
                "Decrypting grows and Decrypted does not: compare keys of the nodes (IPsec) or peers (WireGuard).",
            ],
        },
    ),
    (
        13,
        Text {
            meaning: "A packet is on its way to be encrypted. It is a count of traffic.",
            causes: &["Traffic to other nodes, with encryption on."],
            confirm: &[check("tracer metrics --watch", "that it grows while traffic goes to other nodes")],
            action: &["Nothing."],
        },
    ),
    (
        14,
        Text {
            meaning: "The reverse translation of a closed socket was removed. It is a count of good housekeeping.",
            causes: &["Sockets that used a service and were closed."],
            confirm: &[check("tracer lb list --sockets", "what is left")],
            action: &["Nothing."],
        },
    ),
    (
        15,
        Text {
            meaning: "A packet was too large and the datapath told its sender so by an ICMP message.",
            causes: &[
                "Path MTU discovery at work: packets larger than the MTU of the tunnel or of the encrypted path.",
            ],
            confirm: &[check("tracer metrics --watch", "that it stops growing once senders have learned")],
            action: &[
                "Growing all the time: senders do not get or do not believe the message; look for filters of ICMP, and give pods a smaller MTU.",
            ],
        },
    ),
];
