//! Services and their backends.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        158,
        Text {
            meaning: "The destination is a service, and there is no backend to send the packet to. Where the socket load balancer handles connect(), the application gets an error instead and no packet is dropped.",
            causes: &[
                "No pod behind the service is ready: crash loops, failing readiness probes, a selector that matches nothing.",
                "externalTrafficPolicy or internalTrafficPolicy is Local, and no backend is on this node.",
                "All backends are terminating or quarantined.",
                "The agent is dead: backends have moved, and the maps were not told.",
                "The service's slot points to a backend that is gone.",
            ],
            confirm: &[
                check("tracer lb get IP:PORT", "the backends of this frontend and their states"),
                check("tracer lb check", "frontends without active backend, and slots that point to nothing"),
                check("tracer ct list --kind service --ip IP", "connections that are tied to a backend"),
            ],
            action: &[
                "Compare with kubectl get endpointslices of the service. Empty there: mend the workload. Filled there: mend the agent of this node.",
                "Traffic policy Local: send clients only to nodes with a backend, which is what the health check node port is for.",
            ],
        },
    ),
    (
        159,
        Text {
            meaning: "The packet's protocol can never be that of a service. It is an internal answer of the service look-up, and normally the packet goes on without translation.",
            causes: &["Protocols without ports on a path that only looks for services."],
            confirm: &[check("tracer lb list", "protocols of the services")],
            action: &["Normally nothing. If it is counted as a drop, report file and line to Cilium."],
        },
    ),
    (
        174,
        Text {
            meaning: "Somebody outside of the cluster sends to the ClusterIP of a service. That address is meant for clients inside, and outside access to it is off.",
            causes: &[
                "A route outside of the cluster leads the service network to this node.",
                "A client outside uses an address from a cluster-internal DNS answer.",
            ],
            confirm: &[
                check("tracer lb get IP:PORT", "flags of the frontend"),
                check("tracer drops --drop-reason-desc IS_A_CLUSTERIP", "who sends"),
            ],
            action: &[
                "Use a LoadBalancer or NodePort service for clients outside.",
                "If it is wanted, set bpf-lb-external-clusterip (Helm: bpf.lbExternalClusterIP).",
            ],
        },
    ),
    (
        177,
        Text {
            meaning: "The client's address is not in the source ranges of this LoadBalancer service (or is in them, where they are a deny list).",
            causes: &[
                "loadBalancerSourceRanges of the service does not name the client's network.",
                "The client is behind NAT, or another load balancer replaced its address.",
            ],
            confirm: &[
                check("tracer lb list --source-ranges", "the ranges as the datapath has them"),
                check(
                    "tracer drops --drop-reason-desc DENIED_BY_LB_SRC_RANGE_CHECK",
                    "the address that the client arrives with",
                ),
            ],
            action: &[
                "Add the client's network to loadBalancerSourceRanges, or keep the client's address on the way (direct server return, traffic policy Local).",
            ],
        },
    ),
    (
        136,
        Text {
            meaning: "The packet would be larger than the MTU after the load balancer has added what it has to add, and it must not be fragmented. The sender is told by an ICMP error where that is enabled. Hubble still shows the historic name CT_MISSING_TCP_ACK_FLAG for this number.",
            causes: &[
                "Direct server return: the option or the encapsulation that carries the service's address makes full-size packets too large.",
                "An MTU on the path that is smaller than the one that Cilium found, or a wrong MTU setting of the agent.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc CT_MISSING_TCP_ACK_FLAG -o json",
                "tracer.packet.length_bytes against the MTU of the device",
            )],
            action: &[
                "Make room: a larger MTU between the nodes, or a smaller one for clients and pods.",
                "Let ICMP \"fragmentation needed\" and \"packet too big\" through, so that path MTU discovery works.",
            ],
        },
    ),
    (
        193,
        Text {
            meaning: "Direct server return by encapsulation was chosen, and this packet's protocol cannot be carried so.",
            causes: &[
                "A service in DSR mode, and a protocol for which the chosen kind of DSR has no way to carry the service's address.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc UNSUPPORTED_PROTOCOL_FOR_DSR_ENCAP -o json",
                "flow.l4 and tracer.packet.protocol",
            )],
            action: &["Use SNAT or hybrid mode for such services (bpf-lb-mode)."],
        },
    ),
];
