//! IPv4 and what both families share: headers, addresses, routes.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(&str, Text)] = &[
    (
        "PKT_TOO_SMALL",
        Text {
            meaning: "The packet is shorter than its header says, or too short for any header.",
            causes: &["Truncated or crafted packets.", "A faulty device or program that cuts packets."],
            confirm: &[],
            action: &["Single ones: nothing. Many: capture at the sender and compare lengths."],
        },
    ),
    (
        "PKT_TOO_BIG",
        Text {
            meaning: "The packet is larger than the MTU of the way that it should take, and must not be cut. The sender gets an ICMP error, if that comes through.",
            causes: &[
                "A smaller MTU behind this node: tunnel, VPN, cloud network.",
                "Pods with a larger MTU than the network.",
            ],
            confirm: &[check(
                "tracer drops --kernel-reason PKT_TOO_BIG -o json",
                "tracer.packet.length_bytes, flow.interface",
            )],
            action: &[
                "Make MTUs agree (agent's mtu); let ICMP \"fragmentation needed\" and \"packet too big\" through.",
            ],
        },
    ),
    (
        "UDP_CSUM",
        Text {
            meaning: "The UDP checksum is wrong.",
            causes: &[
                "Broken hardware, or a faulty offload of the network card.",
                "A device that rewrote the packet and not the checksum.",
                "Tunnel traffic whose outer checksum the card computes wrongly.",
            ],
            confirm: &[check("tracer drops --kernel-reason UDP_CSUM", "always one sender or one node?")],
            action: &[
                "Switch checksum offload off at the sender for a test (ethtool -K DEVICE tx off); nstat UdpInCsumErrors.",
            ],
        },
    ),
    (
        "NETFILTER_DROP",
        Text {
            meaning: "A rule of iptables or nftables dropped the packet.",
            causes: &[
                "A firewall of the host: firewalld, ufw, rules of a hardening script. FORWARD with policy DROP is the classic.",
                "kube-proxy drops packets in state INVALID, and those for services with traffic policy Local that have no endpoint on this node.",
                "Rules of another network plugin that was there before.",
            ],
            confirm: &[check(
                "tracer drops --kernel-reason NETFILTER_DROP",
                "addresses, ports and interface: search rules that match them",
            )],
            action: &[
                "nft list ruleset, or iptables-save -c and ip6tables-save -c: look for growing counters at DROP rules and policies.",
            ],
        },
    ),
    (
        "OTHERHOST",
        Text {
            meaning: "The frame was for another machine's hardware address. A switch or bridge flooded it, or the device is in promiscuous mode.",
            causes: &[
                "A capture tool has switched the device to promiscuous mode.",
                "Flooding by a bridge or a virtual switch that does not know the address.",
                "A stale neighbour entry at the sender: frames for a machine that had this address before.",
            ],
            confirm: &[check(
                "tracer drops --all --kernel-reason OTHERHOST -o json",
                "flow.ethernet.destination against the device's own address",
            )],
            action: &[
                "Usually nothing; tracer folds it as other-host. If the packets were for this node: find the sender with the stale neighbour entry.",
            ],
        },
    ),
    (
        "IP_CSUM",
        Text {
            meaning: "The checksum of the IPv4 header is wrong.",
            causes: &[
                "Broken hardware or memory on the way.",
                "A program that changed the header and not the checksum.",
            ],
            confirm: &[],
            action: &["Find the sender or the last device before this node; nstat IpExtInCsumErrors."],
        },
    ),
    (
        "IP_INHDR",
        Text {
            meaning: "The IP header is not acceptable: version, length or options are wrong, or the time to live ran out while forwarding.",
            causes: &[
                "Crafted or corrupted packets.",
                "Source routing or other options that are switched off.",
                "A routing loop or traceroute.",
            ],
            confirm: &[check(
                "tracer drops --kernel-reason IP_INHDR --snaplen 256 -o json",
                "tracer.packet, ttl among it",
            )],
            action: &[
                "Find the sender. ttl 1 again and again is a routing loop: compare routes of the nodes.",
            ],
        },
    ),
    (
        "IP_RPFILTER",
        Text {
            meaning: "Reverse path filtering: an answer to this source address would leave by another device than the packet came in by.",
            causes: &[
                "rp_filter is 1 (strict) on a device of the node or of Cilium; systemd and distributions set it at boot.",
                "Asymmetric routing: several network cards, egress gateway, policy routing.",
            ],
            confirm: &[check(
                "tracer drops --kernel-reason IP_RPFILTER -o json",
                "flow.interface: the device whose rp_filter counts (the larger of all and the device's own)",
            )],
            action: &[
                "sysctl -w net.ipv4.conf.DEVICE.rp_filter=0 (2 is loose), and the same in /etc/sysctl.d behind the distribution's file, also for lxc* and cilium_*.",
            ],
        },
    ),
    (
        "UNICAST_IN_L2_MULTICAST",
        Text {
            meaning: "A packet for one machine came in a frame for many.",
            causes: &[
                "A network card or a cluster that shares a multicast hardware address (some load balancers).",
                "An attack from the local network.",
            ],
            confirm: &[],
            action: &[
                "Is drop_unicast_in_l2_multicast set on purpose? Find the sender by its hardware address.",
            ],
        },
    ),
    (
        "XFRM_POLICY",
        Text {
            meaning: "IPsec policy of this node demands encryption that the packet did not have, or forbids it.",
            causes: &[
                "Keys of the nodes differ, so that packets come in undecrypted.",
                "States or policies are missing after a restart or a key rotation.",
                "Another IPsec daemon on the node.",
            ],
            confirm: &[
                check("tracer drops --kernel-reason XFRM_POLICY -o json", "between which nodes or pods"),
                check("tracer nodes", "spi: the key that each node uses"),
            ],
            action: &[
                "ip -s xfrm state, ip -s xfrm policy, cat /proc/net/xfrm_stat; compare cilium-ipsec-keys of the nodes.",
            ],
        },
    ),
    (
        "IP_NOPROTO",
        Text {
            meaning: "Nobody on this host handles the IP protocol of the packet. The sender gets \"protocol unreachable\".",
            causes: &[
                "SCTP, GRE, IP-in-IP or another protocol whose module is not loaded.",
                "A packet that should have gone into a pod or a tunnel was delivered to the host.",
            ],
            confirm: &[check("tracer drops --kernel-reason IP_NOPROTO -o json", "tracer.packet.protocol")],
            action: &[
                "Load the module (modprobe sctp, ip_gre), or find out why the packet came to the host.",
            ],
        },
    ),
    (
        "IP_OUTNOROUTES",
        Text {
            meaning: "The host wanted to send or forward the packet, and there is no route.",
            causes: &[
                "No default route.",
                "The routes to other nodes' pods are missing (native routing without auto-direct-node-routes).",
            ],
            confirm: &[check("tracer ipcache get IP", "where Cilium believes that the address lives")],
            action: &["ip route get DESTINATION; put the missing route back, or let the agent do it."],
        },
    ),
    (
        "IP_INNOROUTES",
        Text {
            meaning: "A packet came in, and there is no route to forward it by.",
            causes: &[
                "A packet for an address that nobody has here.",
                "A missing default route, or a route of the type unreachable.",
            ],
            confirm: &[check("tracer ipcache get IP", "whether the destination belongs to the cluster")],
            action: &["ip route get DESTINATION from SOURCE iif DEVICE on the node."],
        },
    ),
    (
        "IP_INADDRERRORS",
        Text {
            meaning: "The destination cannot be reached from here: the address is not this host's, and forwarding is off or forbidden.",
            causes: &[
                "Forwarding is off on the device (net.ipv4.conf.DEVICE.forwarding, net.ipv6.conf.all.forwarding).",
                "A packet for an address that this host had before.",
            ],
            confirm: &[check(
                "tracer drops --kernel-reason IP_INADDRERRORS -o json",
                "destination and flow.interface",
            )],
            action: &[
                "Switch forwarding on, and find who switches it off (hardening scripts, NetworkManager).",
            ],
        },
    ),
    (
        "IP_LOCAL_SOURCE",
        Text {
            meaning: "A packet came in from outside with a source address that belongs to this host.",
            causes: &[
                "Two machines have the same address.",
                "A packet of this host that was sent round in a loop and came back.",
                "Spoofing.",
            ],
            confirm: &[check(
                "tracer drops --kernel-reason IP_LOCAL_SOURCE -o json",
                "flow.interface and flow.ethernet.source: who sent it",
            )],
            action: &[
                "Find the sender by its hardware address. If a packet of the node's own comes back by design: net.ipv4.conf.DEVICE.accept_local.",
            ],
        },
    ),
    (
        "IP_INVALID_SOURCE",
        Text {
            meaning: "The source address can never be a sender: multicast, broadcast or zero.",
            causes: &["Crafted packets, faulty stacks."],
            confirm: &[],
            action: &["Find the sender by its hardware address."],
        },
    ),
    (
        "IP_LOCALNET",
        Text {
            meaning: "A packet with an address of 127.0.0.0/8 came from or would go out to the network.",
            causes: &[
                "A NAT rule that leads outside traffic to 127.0.0.1.",
                "kube-proxy's node ports on localhost with route_localnet off.",
            ],
            confirm: &[check("tracer drops --kernel-reason IP_LOCALNET", "addresses and interface")],
            action: &[
                "Let the service listen at another address, or set net.ipv4.conf.DEVICE.route_localnet knowing what it opens.",
            ],
        },
    ),
    (
        "IP_INVALID_DEST",
        Text {
            meaning: "The destination address can never be one: zero, or forbidden for this route.",
            causes: &["Crafted packets, faulty stacks.", "An application that sends to 0.0.0.0."],
            confirm: &[],
            action: &["Find the sender."],
        },
    ),
    (
        "INVALID_PROTO",
        Text {
            meaning: "The packet breaks a rule of its protocol, for example an ICMP request to a broadcast address.",
            causes: &["Scanners, smurf attacks, faulty stacks."],
            confirm: &[],
            action: &["Usually nothing."],
        },
    ),
    (
        "ICMP_CSUM",
        Text {
            meaning: "The ICMP checksum is wrong.",
            causes: &["Corruption on the way.", "A translation that did not correct the checksum."],
            confirm: &[],
            action: &["Find the sender, or what translates between it and this node."],
        },
    ),
    (
        "UNHANDLED_PROTO",
        Text {
            meaning: "Nobody on this host handles the frame's Ethernet type.",
            causes: &[
                "LLDP, spanning tree, IPX or another link protocol without a listener.",
                "IPv6 on a host that has none.",
                "Tagged frames of a VLAN without interface.",
            ],
            confirm: &[check("tracer drops --all --kernel-reason UNHANDLED_PROTO -o json", "flow.ethernet")],
            action: &["Usually nothing; tracer folds the usual ones as link-control."],
        },
    ),
    (
        "PTYPE_ABSENT",
        Text {
            meaning: "Nobody on this host handles the frame's Ethernet type. It is an early name of UNHANDLED_PROTO.",
            causes: &["LLDP, spanning tree or another link protocol without a listener."],
            confirm: &[],
            action: &["Usually nothing."],
        },
    ),
];
