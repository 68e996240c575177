//! Source NAT, and translation between IPv4 and IPv6.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        167,
        Text {
            meaning: "Source NAT found no mapping for the packet: for a packet that leaves no free source port towards this destination, for a packet that comes back no entry that says whom it is for. The datapath tries a limited number of ports for each new connection, so that it can fail long before all ports are used.",
            causes: &[
                "Many connections from this node to one destination address and port, so that its source ports run out.",
                "The NAT map is full and drops the oldest entries, so that replies lose their mapping.",
                "A reply that arrives after its mapping has expired or was removed.",
                "The mapping's other half is gone: agent restart with another map size, or maps that were deleted by hand.",
            ],
            confirm: &[
                check(
                    "tracer nat ports",
                    "the destination with the highest failure_percent, and which pods use it",
                ),
                check("tracer nat orphans", "halves of mappings without partner"),
                check(
                    "tracer nat list --ip IP",
                    "the mappings of this destination or pod; direction in is what replies need",
                ),
                check("tracer capacity", "fill of cilium_snat_v4_external"),
            ],
            action: &[
                "Reuse connections (keep-alive, pools) towards the busy destination, or give it more addresses.",
                "Let the traffic leave by more addresses: egress gateway, or no masquerading where the network can route pod addresses.",
                "Map full: raise bpf-nat-global-max; it should not be smaller than the TCP connection tracking map.",
            ],
        },
    ),
    (
        168,
        Text {
            meaning: "The packet needs source NAT, and its protocol or ICMP type cannot be translated. TCP, UDP, ICMP echo and the usual ICMP errors can, and SCTP only in parts.",
            causes: &[
                "GRE, ESP, IP-in-IP or another protocol without ports from a pod to outside of the cluster.",
                "SCTP to outside: ports of SCTP are not rewritten.",
                "An ICMP type other than echo and errors, for example timestamp requests.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE -o json",
                "tracer.packet.protocol and the destination",
            )],
            action: &[
                "Exclude the destination from masquerading (ip-masq-agent's nonMasqueradeCIDRs, or ipv4-native-routing-cidr), if it can route back to pods.",
                "Let the workload use the host network.",
            ],
        },
    ),
    (
        161,
        Text {
            meaning: "The packet would have to be translated between IPv4 and IPv6, and that is not enabled. Hubble still shows the historic name FAILED_TO_INSERT_INTO_PROXYMAP for this number.",
            causes: &[
                "A service has a frontend of one family and a backend of the other.",
                "A client uses the NAT64 prefix, and enable-nat46x64-gateway is off.",
            ],
            confirm: &[check("tracer lb get IP:PORT", "the families of the frontend and of its backends")],
            action: &[
                "Give the service backends of the family of its frontend (ipFamilies), or enable the NAT 46/64 gateway.",
            ],
        },
    ),
    (
        173,
        Text {
            meaning: "NAT had nothing to do for this packet, and it goes on to the kernel's stack. It is an internal answer and no loss.",
            causes: &["Traffic that needs no masquerading."],
            confirm: &[check("tracer metrics", "whether it is counted at all")],
            action: &["Nothing, unless something else shows that packets are missing."],
        },
    ),
    (
        187,
        Text {
            meaning: "Rewriting an IPv4 packet as IPv6 failed. The kernel's helper refused to change the protocol, or a header could not be written.",
            causes: &[
                "IPv4 options or fragments, which the translation does not carry over.",
                "No memory to make room for the longer header.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc NAT46 -o json",
                "tracer.cilium.ext_error, and flow.file for the step that failed",
            )],
            action: &[
                "Avoid the translation: give client and backend a common family.",
                "Fragments: lower the MTU of the sender.",
            ],
        },
    ),
    (
        188,
        Text {
            meaning: "Rewriting an IPv6 packet as IPv4 failed. The kernel's helper refused to change the protocol, or a header could not be written.",
            causes: &[
                "IPv6 extension headers or fragments, which the translation does not carry over.",
                "An ICMPv6 message that has no counterpart in IPv4.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc NAT64 -o json",
                "tracer.cilium.ext_error, and flow.file for the step that failed",
            )],
            action: &[
                "Avoid the translation: give client and backend a common family.",
                "Fragments: lower the MTU of the sender.",
            ],
        },
    ),
];
