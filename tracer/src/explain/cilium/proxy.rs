//! The way to the layer 7 proxy.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        178,
        Text {
            meaning: "The packet has to go to the layer 7 proxy, and no socket listens at the proxy's port.",
            causes: &[
                "The proxy (cilium-envoy, or the DNS proxy in the agent) is not running: layer 7 and DNS policy need a living agent.",
                "The policy entry names a port from before a restart of the agent.",
            ],
            confirm: &[
                check("tracer doctor --group proxy", "proxy ports of policy maps that nobody listens at"),
                check("tracer policy get ENDPOINT", "proxy_port of the entry that redirects"),
                check(
                    "tracer ct list --endpoint ENDPOINT_ID -o wide",
                    "connections with the flag of a proxy redirect",
                ),
            ],
            action: &[
                "On the node: ss -lnp, is there a listener at that port? If not, restart cilium-envoy or the agent.",
                "DNS fails for pods with DNS rules while the agent is down: that is this.",
            ],
        },
    ),
    (
        179,
        Text {
            meaning: "The proxy's socket was found, but the kernel refused to hand the packet to it. ext_error, if there is one, is the kernel's error.",
            causes: &[
                "The socket is in another network namespace, or of a kind that cannot be assigned.",
                "The packet already belongs to another socket.",
                "A kernel without the needed helper, or xt_TPROXY rules that disagree.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc SOCKET_ASSIGN_FAILED -o json",
                "tracer.cilium.ext_error, flow.interface",
            )],
            action: &[
                "Restart the proxy, then the agent; with the same kernel and a lasting fault, switch enable-bpf-tproxy off.",
            ],
        },
    ),
    (
        180,
        Text {
            meaning: "A policy entry sends this packet to the layer 7 proxy, and its protocol cannot be proxied. Only TCP and UDP can.",
            causes: &[
                "A layer 7 or DNS rule together with a rule for any protocol.",
                "SCTP or ICMP that matches the entry of a layer 7 rule.",
            ],
            confirm: &[check(
                "tracer policy get ENDPOINT",
                "the entry with a proxy_port whose protocol is ANY",
            )],
            action: &["Name the protocol (TCP or UDP) in the rule that has the layer 7 part."],
        },
    ),
];
