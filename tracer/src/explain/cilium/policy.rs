//! Decisions of policy, and what has to be there for one.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        133,
        Text {
            meaning: "No entry of the endpoint's policy map lets this packet in or out. The direction is enforced (some policy selects the endpoint), and neither the peer's identity nor \"any\" has an entry for this protocol and port. \
Egress is judged in the sender's map after service translation, ingress in the receiver's map; established connections are judged again packet by packet on egress and ingress, replies are not.",
            causes: &[
                "A CiliumNetworkPolicy or NetworkPolicy selects the endpoint and nothing in it allows this peer, port and protocol. Egress rules very often forget DNS: UDP and TCP 53 to kube-dns.",
                "The peer has another identity than the rule expects: a label is missing, the pod is in another namespace, or the packet was masqueraded on the way and comes from a node or from the world.",
                "The ipcache has no entry for the peer's address, so it counts as world: the agent has not learned of the pod yet, or is dead.",
                "A rule by DNS name, and the address was never seen in an answer of the DNS proxy (static address, cached answer, a resolver that bypasses the proxy).",
                "The rule names the port of the Service; policy sees the port of the pod, behind the translation.",
                "The policy map is full, so that entries are missing.",
                "A connection was open longer than its entry in connection tracking: its replies look new.",
            ],
            confirm: &[
                check(
                    "tracer why SOURCE DESTINATION",
                    "the same decision on the maps of this moment: the entry that is missing, near misses, a rule that would allow it; drops --why shows it beside each drop",
                ),
                check(
                    "tracer policy get ENDPOINT",
                    "entries of this direction whose identity is the peer's or 0 (any), and their ports; the missing one is what the policy lacks",
                ),
                check(
                    "tracer ipcache get IP",
                    "the identity of the peer's address; only a default route to world for a pod's address means that the ipcache is behind",
                ),
                check(
                    "tracer identity get ID",
                    "the labels of the peer, to compare with the rule's selectors",
                ),
                check(
                    "tracer ct get SOURCE DESTINATION",
                    "whether the connection is known; a reply without entry is judged as a new connection",
                ),
                check("tracer policy list", "usage_percent: a map at 100 lacks entries"),
            ],
            action: &[
                "Allow the peer in the policy of the side that dropped: traffic_direction INGRESS is the receiver's policy, EGRESS the sender's.",
                "Peer shown as world although it is a pod: look at the agent of this node and at the CiliumEndpoint of the pod, not at the policy.",
                "If it began when an agent died: the maps are as it left them; new pods and identities are not in them until it is back.",
            ],
        },
    ),
    (
        181,
        Text {
            meaning: "An entry of the policy map denies this packet explicitly. Deny wins over any allow, so that an additional allow rule does not help.",
            causes: &[
                "An ingressDeny or egressDeny rule, often a cluster-wide one, covers the peer: by CIDR, entity or labels.",
                "A CIDR in a deny rule is wider than meant and covers pods, nodes or the API server.",
            ],
            confirm: &[
                check("tracer why SOURCE DESTINATION", "the entry that denies"),
                check(
                    "tracer policy get ENDPOINT",
                    "rows with deny = true for the peer's identity, for 0 (any), for this port or port 0 (any)",
                ),
                check("tracer ipcache get IP", "the CIDR prefix that gave the peer its identity"),
            ],
            action: &[
                "Find the deny rule by identity and port, and narrow or remove it (kubectl get cnp,ccnp -A -o yaml, search ingressDeny and egressDeny).",
            ],
        },
    ),
    (
        189,
        Text {
            meaning: "Policy allows the packet only after mutual authentication, and there is no valid authentication of these two identities yet. The datapath asks the agent to authenticate and drops meanwhile: a few such drops at the beginning are normal, drops that last are not. ext_error is the kind of authentication.",
            causes: &[
                "First packets between two identities: the handshake is under way.",
                "The agent is dead or slow, so that nobody does the handshake or renews it before it expires.",
                "SPIRE is down, has no entry for the identity, or the agents cannot reach each other on the authentication port (4250).",
                "The policy asks for the type that always fails (ext_error 2), which is there for tests.",
            ],
            confirm: &[
                check("tracer policy get ENDPOINT", "auth_type of the entry that allows this peer"),
                check(
                    "tracer maps dump cilium_auth_map",
                    "an entry for both identities and the remote node, and when it expires",
                ),
            ],
            action: &[
                "Look at the agents of both nodes (logs with subsys=auth) and at the SPIRE server and agents.",
                "As a way out, take authentication.mode out of the rule.",
            ],
        },
    ),
    (
        165,
        Text {
            meaning: "The program had no configuration to decide policy with. No release that tracer knows returns it any more.",
            causes: &["A Cilium older than 1.14."],
            confirm: &[check("tracer policy list", "whether the endpoint has a policy map at all")],
            action: &["Restart the agent, so that it compiles and loads the endpoint's program again."],
        },
    ),
    (
        171,
        Text {
            meaning: "The identity that came with the packet is one that this path forbids. A packet from another node, by the tunnel's network identifier, must not claim to be this host (identity 1).",
            causes: &[
                "Something outside the cluster, or a test tool, sends encapsulated packets with a forged network identifier.",
                "Two clusters or two overlays share the tunnel port.",
                "Nodes with very different releases of Cilium in the middle of an upgrade.",
            ],
            confirm: &[
                check(
                    "tracer drops --drop-reason-desc INVALID_IDENTITY -o json",
                    "flow.tunnel: the outer addresses tell which node sent it, and vni what it claimed",
                ),
                check("tracer nodes", "whether the outer source is a node of this cluster"),
            ],
            action: &[
                "Sender is no node: block the tunnel port (8472 for VXLAN, 6081 for Geneve) from outside the node network.",
                "Sender is a node: compare the Cilium releases and restart the agent there.",
            ],
        },
    ),
];
