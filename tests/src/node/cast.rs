//! The fixed cast: who lives on the pretend node and around it. Documented for readers in tests/README.md.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A local endpoint with a network namespace of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `namespace/name`, or the bare name of an endpoint that is not a pod.
    pub name: &'static str,
    pub endpoint: u16,
    pub identity: u32,
    pub ipv4: Ipv4Addr,
    pub ipv6: Ipv6Addr,
    /// Host side of its veth pair.
    pub device: &'static str,
    /// Its number: fixed, so that tests can name it.
    pub ifindex: u32,
    /// Of the device inside.
    pub mac: [u8; 6],
    /// Of the host side.
    pub node_mac: [u8; 6],
    /// (source, key, value); empty value: none.
    pub labels: &'static [(&'static str, &'static str, &'static str)],
    /// Pod labels that do not count for the identity.
    pub info_labels: &'static [(&'static str, &'static str, &'static str)],
    /// Bit 0: ingress policy enforced, bit 1: egress.
    pub enforced: u32,
}

pub const CLIENT: Pod = Pod {
    name: "default/client",
    endpoint: 1001,
    identity: 12345,
    ipv4: Ipv4Addr::new(10, 244, 1, 10),
    ipv6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, 0x10),
    device: "lxcc11e27a1b2c3",
    ifindex: 21,
    mac: [0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x0a],
    node_mac: [0x0a, 0x58, 0x01, 0x00, 0x01, 0x0a],
    labels: &[
        ("k8s", "app", "client"),
        ("k8s", "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name", "default"),
        ("k8s", "io.cilium.k8s.policy.cluster", "default"),
        ("k8s", "io.cilium.k8s.policy.serviceaccount", "client"),
        ("k8s", "io.kubernetes.pod.namespace", "default"),
        ("k8s", "tier", "frontend"),
    ],
    info_labels: &[("k8s", "pod-template-hash", "7c9d8b6f5d")],
    enforced: EGRESS,
};

pub const SERVER: Pod = Pod {
    name: "default/server",
    endpoint: 1002,
    identity: 23456,
    ipv4: Ipv4Addr::new(10, 244, 1, 20),
    ipv6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, 0x20),
    device: "lxc5e12e2a1b2c3",
    ifindex: 22,
    mac: [0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x14],
    node_mac: [0x0a, 0x58, 0x01, 0x00, 0x01, 0x14],
    labels: &[
        ("k8s", "app", "server"),
        ("k8s", "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name", "default"),
        ("k8s", "io.cilium.k8s.policy.cluster", "default"),
        ("k8s", "io.cilium.k8s.policy.serviceaccount", "server"),
        ("k8s", "io.kubernetes.pod.namespace", "default"),
        ("k8s", "tier", "backend"),
    ],
    info_labels: &[("k8s", "pod-template-hash", "5d6f7c8b9c")],
    enforced: INGRESS,
};

pub const DNS: Pod = Pod {
    name: "kube-system/dns",
    endpoint: 1003,
    identity: 34567,
    ipv4: Ipv4Addr::new(10, 244, 1, 53),
    ipv6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, 0x53),
    device: "lxcd50000a1b2c3",
    ifindex: 23,
    mac: [0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x35],
    node_mac: [0x0a, 0x58, 0x01, 0x00, 0x01, 0x35],
    labels: &[
        ("k8s", "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name", "kube-system"),
        ("k8s", "io.cilium.k8s.policy.cluster", "default"),
        ("k8s", "io.cilium.k8s.policy.serviceaccount", "dns"),
        ("k8s", "io.kubernetes.pod.namespace", "kube-system"),
        ("k8s", "k8s-app", "kube-dns"),
    ],
    info_labels: &[],
    enforced: 0,
};

pub const HEALTH: Pod = Pod {
    name: "health",
    endpoint: 1004,
    identity: 4,
    ipv4: Ipv4Addr::new(10, 244, 1, 4),
    ipv6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, 4),
    device: "lxc_health",
    ifindex: 24,
    mac: [0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x04],
    node_mac: [0x0a, 0x58, 0x01, 0x00, 0x01, 0x04],
    labels: &[("reserved", "health", "")],
    info_labels: &[],
    enforced: 0,
};

/// All endpoints but the host's.
pub const PODS: [Pod; 4] = [CLIENT, SERVER, DNS, HEALTH];

pub const INGRESS: u32 = 1;
pub const EGRESS: u32 = 2;

/// Endpoint id of the host endpoint.
pub const HOST_ENDPOINT: u16 = 1000;

pub const NODE_NAME: &str = "node-1";
/// The node's own addresses on its `eth0`.
pub const NODE_IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
pub const NODE_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x10);
/// CiliumInternalIP, on `cilium_host`; the pods' gateway.
pub const ROUTER_IPV4: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
pub const ROUTER_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, 1);
pub const POD_CIDR4: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 244, 1, 0), 24);
pub const POD_CIDR6: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, 0), 112);
/// Interface numbers of the node's own devices.
pub const ETH0_IFINDEX: u32 = 11;
pub const CILIUM_HOST_IFINDEX: u32 = 12;
pub const CILIUM_NET_IFINDEX: u32 = 13;
pub const ETH0_MAC: [u8; 6] = [0x02, 0, 0, 0, 0x01, 0x01];
pub const CILIUM_HOST_MAC: [u8; 6] = [0x0a, 0x58, 0x01, 0, 0, 0x01];
pub const CILIUM_NET_MAC: [u8; 6] = [0x0a, 0x58, 0x01, 0, 0, 0x02];

/// A second node, known from maps and files alone.
pub const PEER_NAME: &str = "node-2";
pub const PEER_IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 20);
pub const PEER_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x20);
pub const PEER_ROUTER_IPV4: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 1);
pub const PEER_ROUTER_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 2, 1);
pub const PEER_POD_CIDR4: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 244, 2, 0), 24);
pub const PEER_POD_CIDR6: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 2, 0), 112);
/// A replica of default/server on the second node.
pub const PEER_SERVER_IPV4: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 20);
pub const PEER_SERVER_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 2, 0x20);
/// A pod of a workload that has no replica here: its labels are on no disk of this node.
pub const PEER_OTHER_IPV4: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 30);
pub const PEER_OTHER_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 2, 0x30);
pub const PEER_OTHER_IDENTITY: u32 = 45678;

/// The world: a namespace behind `eth0`.
pub const WORLD_IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const WORLD_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
pub const WORLD_MAC: [u8; 6] = [0x02, 0, 0, 0, 0x02, 0x01];
/// Inside the denied CIDR.
pub const DENIED_IPV4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
pub const DENIED_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 7);
pub const DENIED_CIDR4: (Ipv4Addr, u8) = (Ipv4Addr::new(203, 0, 113, 0), 24);
pub const DENIED_CIDR6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0), 48);
/// Anywhere else.
pub const FAR_IPV4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub const FAR_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 7);

/// Node-local identities of the denied CIDRs.
pub const DENIED_IDENTITY4: u32 = 16777217;
pub const DENIED_IDENTITY6: u32 = 16777218;
/// Node-local identity of an FQDN.
pub const FQDN_IDENTITY: u32 = 16777219;
pub const FQDN_NAME: &str = "api.example.test";
pub const FQDN_IPV4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 80);

/// Reserved identities.
pub mod reserved {
    pub const HOST: u32 = 1;
    pub const WORLD: u32 = 2;
    pub const HEALTH: u32 = 4;
    pub const REMOTE_NODE: u32 = 6;
    pub const KUBE_APISERVER: u32 = 7;
    pub const WORLD_IPV4: u32 = 9;
    pub const WORLD_IPV6: u32 = 10;
}

/// Where the Kubernetes API server is, outside.
pub const API_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

/// The port that server listens on and client may use.
pub const ALLOWED_PORT: u16 = 8080;
/// A port that server's policy does not allow.
pub const DENIED_PORT: u16 = 9090;

impl Pod {
    /// The cast member of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        PODS.into_iter().find(|pod| pod.name == name)
    }

    /// Namespace and name, for endpoints that are pods.
    pub fn kubernetes(&self) -> Option<(&'static str, &'static str)> {
        self.name.split_once('/')
    }
}
