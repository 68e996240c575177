//! Clusters that share address ranges.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        190,
        Text {
            meaning: "There is no connection tracking map for the cluster that the packet belongs to. Each cluster with overlapping addresses has a map of its own.",
            causes: &[
                "The cluster was just connected or disconnected.",
                "The agent could not make the map (memory, limits).",
            ],
            confirm: &[check("tracer maps", "cilium_per_cluster_ct_*: the slots that are filled")],
            action: &["Look at the agent's log for the connection to that cluster; reconnect it."],
        },
    ),
    (
        191,
        Text {
            meaning: "There is no NAT map for the cluster that the packet belongs to. Each cluster with overlapping addresses has a map of its own.",
            causes: &[
                "The cluster was just connected or disconnected.",
                "The agent could not make the map (memory, limits).",
            ],
            confirm: &[check("tracer maps", "cilium_per_cluster_snat_*: the slots that are filled")],
            action: &["Look at the agent's log for the connection to that cluster; reconnect it."],
        },
    ),
    (
        192,
        Text {
            meaning: "The cluster number that came with the packet is impossible, or is this cluster's own where another's is needed.",
            causes: &[
                "Two clusters have the same cluster-id.",
                "Something sends forged identities through the tunnel.",
                "Different settings of max-connected-clusters in the clusters.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc INVALID_CLUSTER_ID -o json",
                "flow.tunnel: which node sent it",
            )],
            action: &["Give every cluster its own cluster-id, and all the same max-connected-clusters."],
        },
    ),
];
