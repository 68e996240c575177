//! Packets that the datapath cannot read or write.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        132,
        Text {
            meaning: "An endpoint sent a packet whose source address is not its own. Pods must not spoof addresses; the check comes before everything else.",
            causes: &[
                "IPv6 from an interface that comes up: router solicitations and multicast reports from a link-local or the unspecified address. These are everyday noise.",
                "A pod that routes for others: VPN, nested containers or virtual machines, a proxy that keeps its clients' addresses.",
                "A pod that kept an old address: restored checkpoint, address changed by hand.",
                "Real spoofing.",
            ],
            confirm: &[
                check("tracer endpoints get ENDPOINT", "the addresses that this endpoint may use"),
                check("tracer drops --drop-reason-desc INVALID_SOURCE_IP", "the source that it used instead"),
            ],
            action: &[
                "Link-local sources only: nothing.",
                "A pod that must forward for others: masquerade inside the pod, or (risky, for all pods of the node) switch source verification off in the agent.",
            ],
        },
    ),
    (
        134,
        Text {
            meaning: "The packet's headers do not fit into the packet, or could not be brought into memory that the program may read. Many places in the datapath say this; file and line tell which header it was.",
            causes: &[
                "Truncated, hand-made or corrupted packets.",
                "Header lengths that point behind the end of the packet.",
                "ARP or neighbour messages that are not well-formed.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc INVALID_PACKET_DROPPED --snaplen 256 -o json",
                "flow.file, and tracer.packet.length_bytes against what the headers promise",
            )],
            action: &[
                "Single ones from the outside: ignore them.",
                "Many from one pod or device: capture at the sender, look at offload settings (ethtool -k) and at what changes packets on the way.",
            ],
        },
    ),
    (
        139,
        Text {
            meaning: "The Ethernet type is not one that this program handles. For pods that is everything but IPv4, IPv6 and ARP, each as far as it is enabled.",
            causes: &[
                "IPv6 while enable-ipv6 is off, or the other way round.",
                "LLDP, spanning tree, pause frames, MPLS, PPPoE or other link protocols on the device.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc UNSUPPORTED_L3_PROTOCOL -o json --all",
                "flow.ethernet and, in tracer.packet, the ethertype",
            )],
            action: &[
                "IPv6 of pods without IPv6 in the cluster: nothing, or switch IPv6 off in the pods.",
                "Link protocols: nothing; tracer folds the usual ones as link-control.",
            ],
        },
    ),
    (
        142,
        Text {
            meaning: "The program needed ports to rewrite, and the protocol has none that it knows. It concerns translation (NAT, services, ICMP errors that quote such packets).",
            causes: &[
                "A protocol other than TCP, UDP, SCTP and ICMP on a path with NAT or services.",
                "An ICMP error that quotes a packet of such a protocol.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc UNKNOWN_L4_PROTOCOL -o json",
                "tracer.packet.protocol and flow.file",
            )],
            action: &[
                "Let such traffic bypass translation: native routing without masquerading for this destination, or the host network.",
            ],
        },
    ),
    (
        156,
        Text {
            meaning: "The IPv6 extension headers could not be followed to the transport header. Either one is not known, or there are more than the program may walk through.",
            causes: &[
                "Unusual extension headers: mobility, HIP, experimental ones.",
                "A crafted chain of many headers.",
                "An authentication header or fragments in an order that the program does not expect.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc INVALID_IPV6_EXTENSION_HEADER --snaplen 256 -o json",
                "who sends, and tracer.packet",
            )],
            action: &[
                "If the sender is legitimate, take the extension headers away there; policy cannot be decided without the ports.",
            ],
        },
    ),
    (
        166,
        Text {
            meaning: "The frame has no Ethernet type that the program can work with (802.3 length frames, or no Ethernet header where one is expected).",
            causes: &[
                "Old link protocols that use 802.3 frames: spanning tree, IPX, some LLC traffic.",
                "A device without Ethernet header that Cilium treats as one that has it.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc UNSUPPORTED_L2_PROTOCOL -o json --all",
                "flow.interface and flow.ethernet",
            )],
            action: &[
                "Link protocols: nothing. A tunnel device among Cilium's devices: take it out of the agent's list (devices).",
            ],
        },
    ),
    (
        182,
        Text {
            meaning: "A tagged frame of a VLAN that Cilium was not told to let through arrived at a device that it manages.",
            causes: &[
                "A VLAN interface on top of a managed device, whose VLAN is not in vlan-bpf-bypass.",
                "A trunk port that delivers VLANs which this node does not need.",
                "A pod that sends tagged frames.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc VLAN_FILTERED -o json",
                "flow.interface and flow.ethernet; the tag itself may be in the packet's metadata and not in the frame",
            )],
            action: &[
                "Let the VLAN through with vlan-bpf-bypass (Helm: bpf.vlanBypass), or take it off the switch port.",
            ],
        },
    ),
    (
        141,
        Text {
            meaning: "The program was not allowed to write into the packet. Making the packet's memory private or storing the new header failed.",
            causes: &[
                "No memory for a private copy of a shared packet.",
                "The packet is shorter than the header that is to be written.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc ERROR_WRITING_TO_PACKET -o json",
                "flow.file: which header; tracer.packet.length_bytes",
            )],
            action: &["Many of them: look for memory pressure on the node (dmesg, /proc/pressure/memory)."],
        },
    ),
    (
        153,
        Text {
            meaning: "Correcting the checksum of the IP header failed while the program rewrote addresses or the hop limit.",
            causes: &[
                "The packet is shorter than its header says.",
                "No memory to make the packet writable.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc ERROR_WHILE_CORRECTING_L3_CHECKSUM -o json",
                "flow.file and tracer.packet.length_bytes",
            )],
            action: &[
                "Single ones: broken packets, ignore them. Many: look for memory pressure on the node.",
            ],
        },
    ),
    (
        154,
        Text {
            meaning: "Correcting the checksum of the transport header failed while the program rewrote addresses or ports.",
            causes: &["The packet ends before the checksum field.", "No memory to make the packet writable."],
            confirm: &[check(
                "tracer drops --drop-reason-desc ERROR_WHILE_CORRECTING_L4_CHECKSUM -o json",
                "flow.file and tracer.packet.length_bytes",
            )],
            action: &[
                "Single ones: broken packets, ignore them. Many: look for memory pressure on the node.",
            ],
        },
    ),
];
