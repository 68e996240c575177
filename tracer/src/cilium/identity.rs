//! Identities whose labels need no state file: the reserved ones, and the well-known ones of system pods.

use super::release::{Release, ReleaseRange};
use crate::model::endpoint::Labels;
use tracer_common::id::Identity;

/// Reserved identities and their labels without `reserved:`. The first label names the identity.
const RESERVED: [(u32, &[&str]); 11] = [
    (0, &["unknown"]),
    (1, &["host"]),
    (2, &["world"]),
    (3, &["unmanaged"]),
    (4, &["health"]),
    (5, &["init"]),
    (6, &["remote-node"]),
    (7, &["kube-apiserver", "remote-node"]),
    (8, &["ingress"]),
    (9, &["world-ipv4"]),
    (10, &["world-ipv6"]),
];

/// 11 changed its meaning; 12 and up came with it.
const OVERLAY_TO_ENCRYPT: (u32, &str) = (11, "overlay-to-encrypt");
const AGGREGATES: [(u32, &str); 4] = [
    (11, "aggregate-cluster"),
    (12, "aggregate-cluster-mesh"),
    (13, "aggregate-world"),
    (14, "aggregate-remote-node"),
];

/// The numbers that may have a fixed meaning: reserved and well-known.
pub fn fixed() -> impl Iterator<Item = Identity> {
    (1..128).map(Identity)
}

/// The name of a reserved identity without `reserved:`.
pub fn reserved_name(identity: Identity, releases: ReleaseRange) -> Option<&'static str> {
    reserved(identity).and_then(|labels| labels.first().copied()).or_else(|| recent(identity, releases))
}

/// The reserved identity with this name (`world`, `reserved:world`).
pub fn reserved_by_name(name: &str) -> Option<Identity> {
    let name = name.strip_prefix("reserved:").unwrap_or(name);
    RESERVED.iter().find(|row| row.1[0] == name).map(|row| Identity(row.0))
}

fn reserved(identity: Identity) -> Option<&'static [&'static str]> {
    RESERVED.iter().find(|row| row.0 == identity.0).map(|row| row.1)
}

/// Identities whose name needs the release.
fn recent(identity: Identity, releases: ReleaseRange) -> Option<&'static str> {
    let named = |rows: &[(u32, &'static str)]| rows.iter().find(|row| row.0 == identity.0).map(|row| row.1);
    if releases.lowest >= Release(20) {
        named(&AGGREGATES)
    } else if releases.lowest >= Release(16) && releases.highest <= Release(19) {
        named(&[OVERLAY_TO_ENCRYPT])
    } else {
        None
    }
}

/// A system pod with a fixed identity: the identity, the same with the namespace's name as a label (1.14
/// and newer), service account, and labels besides those that all have.
struct WellKnown {
    plain: u32,
    with_namespace: u32,
    service_account: &'static str,
    labels: &'static [&'static str],
}

const WELL_KNOWN: [WellKnown; 4] = [
    WellKnown {
        plain: 102,
        with_namespace: 110,
        service_account: "kube-dns",
        labels: &["k8s:k8s-app=kube-dns"],
    },
    WellKnown {
        plain: 103,
        with_namespace: 111,
        service_account: "kube-dns",
        labels: &["k8s:k8s-app=kube-dns", "k8s:eks.amazonaws.com/component=kube-dns"],
    },
    WellKnown {
        plain: 104,
        with_namespace: 112,
        service_account: "coredns",
        labels: &["k8s:k8s-app=kube-dns"],
    },
    WellKnown {
        plain: 106,
        with_namespace: 114,
        service_account: "coredns",
        labels: &["k8s:k8s-app=kube-dns", "k8s:eks.amazonaws.com/component=coredns"],
    },
];

const OPERATOR: (u32, u32) = (105, 113);
const OPERATOR_LABELS: [&str; 5] = [
    "k8s:app.kubernetes.io/name=cilium-operator",
    "k8s:app.kubernetes.io/part-of=cilium",
    "k8s:io.cilium.k8s.policy.serviceaccount=cilium-operator",
    "k8s:io.cilium/app=operator",
    "k8s:name=cilium-operator",
];

/// Labels of a reserved or well-known identity. `cluster` is the cluster's name, if the node tells: pods
/// carry it as a label. The identities of etcd helpers, given up long ago, are not here.
pub fn labels(identity: Identity, releases: ReleaseRange, cluster: Option<&str>) -> Option<Labels> {
    if let Some(names) = reserved(identity) {
        return Some(Labels::new(names.iter().map(|name| format!("reserved:{name}"))));
    }
    if let Some(name) = recent(identity, releases) {
        return Some(Labels::new([format!("reserved:{name}")]));
    }
    well_known(identity).map(|own| {
        Labels::new(
            own.into_iter().chain(cluster.map(|name| format!("k8s:io.cilium.k8s.policy.cluster={name}"))),
        )
    })
}

fn well_known(identity: Identity) -> Option<Vec<String>> {
    let id = identity.0;
    if id == OPERATOR.0 || id == OPERATOR.1 {
        return Some(OPERATOR_LABELS.map(str::to_owned).to_vec());
    }
    let pod = WELL_KNOWN.iter().find(|pod| pod.plain == id || pod.with_namespace == id)?;
    let mut labels: Vec<String> = pod.labels.iter().map(|label| (*label).to_owned()).collect();
    labels.push("k8s:io.kubernetes.pod.namespace=kube-system".to_owned());
    labels.push(format!("k8s:io.cilium.k8s.policy.serviceaccount={}", pod.service_account));
    if pod.with_namespace == id {
        labels.push("k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=kube-system".to_owned());
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: ReleaseRange = ReleaseRange { lowest: Release(14), highest: Release(15) };

    /// Section 6.2 of the ABI notes: 0 to 10 in every release.
    #[test]
    fn eleven_reserved_identities_have_a_name_everywhere() {
        let named = (0..100).filter(|id| reserved_name(Identity(*id), ReleaseRange::ANY).is_some());
        assert_eq!(named.collect::<Vec<_>>(), (0..=10).collect::<Vec<_>>());
        assert_eq!(reserved_name(Identity(6), OLD), Some("remote-node"));
        assert_eq!(reserved_by_name("reserved:world"), Some(Identity::WORLD));
        assert_eq!(reserved_by_name("nobody"), None);
    }

    #[test]
    fn identity_11_is_named_only_when_the_release_is_known() {
        let name = |range| reserved_name(Identity(11), range);
        assert_eq!(name(ReleaseRange::ANY), None);
        assert_eq!(name(OLD), None);
        assert_eq!(name(ReleaseRange::exactly(Release(17))), Some("overlay-to-encrypt"));
        assert_eq!(name(ReleaseRange::exactly(Release(20))), Some("aggregate-cluster"));
        assert_eq!(reserved_name(Identity(14), ReleaseRange::exactly(Release(19))), None);
    }

    #[test]
    fn the_api_server_is_a_remote_node_too() {
        let found = labels(Identity(7), OLD, None).unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), ["reserved:kube-apiserver", "reserved:remote-node"]);
    }

    /// As an agent of 1.17 lists them.
    #[test]
    fn well_known_identities_have_the_labels_that_an_agent_lists() {
        let found = labels(Identity(112), OLD, Some("default")).unwrap();
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            [
                "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=kube-system",
                "k8s:io.cilium.k8s.policy.cluster=default",
                "k8s:io.cilium.k8s.policy.serviceaccount=coredns",
                "k8s:io.kubernetes.pod.namespace=kube-system",
                "k8s:k8s-app=kube-dns",
            ]
        );
        assert_eq!(labels(Identity(12345), OLD, None), None);
    }
}
