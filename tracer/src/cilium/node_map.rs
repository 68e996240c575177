//! The node map: the number of a node by its address, and the tunnel map: the node behind a pod network. What
//! they say is joined with the agent's names by the command that lists nodes.

use std::net::IpAddr;

use tracer_common::cilium::node::{NodeKey, NodeValue};
use tracer_common::cilium::tunnel::{TunnelKey, TunnelValue};
use zerocopy::FromBytes;

use super::pins::Layout;

pub const NODE_MAP: [Layout; 2] = [
    Layout { name: "cilium_node_map_v2", map_type: 1, key_size: 20, value_size: 4, releases: "Cilium 1.16+" },
    Layout { name: "cilium_node_map", map_type: 1, key_size: 20, value_size: 2, releases: "all releases" },
];
pub const TUNNEL_MAP: [Layout; 1] = [Layout {
    name: "cilium_tunnel_map",
    map_type: 1,
    key_size: 20,
    value_size: 20,
    releases: "Cilium up to 1.17",
}];

/// One address of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    pub ip: IpAddr,
    /// 0: the local node, in releases that number it so.
    pub node_id: u16,
    /// IPsec key index; `None`: the map has none.
    pub spi: Option<u8>,
}

/// One pod network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Network address; nobody tells the length.
    pub prefix: IpAddr,
    pub cluster_id: u16,
    pub node: IpAddr,
    /// IPsec key index, 255 for WireGuard, 0 for none.
    pub encrypt_key: u8,
}

/// Decodes an entry of either generation, told apart by the value's size. `None`: impossible bits.
pub fn decode(key: &[u8], value: &[u8]) -> Option<NodeAddress> {
    let ip = NodeKey::read_from_bytes(key).ok()?.ip()?;
    if let Ok(node_id) = <[u8; 2]>::try_from(value) {
        return Some(NodeAddress { ip, node_id: u16::from_ne_bytes(node_id), spi: None });
    }
    let value = NodeValue::read_from_bytes(value).ok()?;
    Some(NodeAddress { ip, node_id: value.id, spi: Some(value.spi) })
}

/// `None`: impossible bits.
pub fn decode_tunnel(key: &[u8], value: &[u8]) -> Option<Tunnel> {
    let key = TunnelKey::read_from_bytes(key).ok()?;
    let value = TunnelValue::read_from_bytes(value).ok()?;
    Some(Tunnel {
        prefix: key.prefix()?,
        cluster_id: key.cluster_id(),
        node: value.node()?,
        encrypt_key: value.key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cilium::hex::bytes;

    /// Entries of a running node (Cilium 1.17), as its tool lists them.
    #[test]
    fn node_addresses_of_both_generations() {
        let key = bytes("00000001 ac1e0003 00000000 00000000 00000000");
        let old = decode(&key, &bytes("7411")).unwrap();
        assert_eq!(old, NodeAddress { ip: "172.30.0.3".parse().unwrap(), node_id: 0x1174, spi: None });
        assert_eq!(decode(&key, &bytes("74110300")), Some(NodeAddress { spi: Some(3), ..old }));
        let key = bytes("00000002 fd000015 00000000 00000000 00008fdd");
        assert_eq!(decode(&key, &bytes("5c0d")).unwrap().ip, "fd00:15::8fdd".parse::<IpAddr>().unwrap());
        assert_eq!(decode(&bytes("00000003 ac1e0003 00000000 00000000 00000000"), &[0; 2]), None);
    }

    #[test]
    fn tunnels_lead_from_a_pod_network_to_a_node() {
        let found = decode_tunnel(
            &bytes("fd000016 00000000 00000000 00000000 02000000"),
            &bytes("ac1e0003 00000000 00000000 00000000 01000000"),
        );
        let expected = Tunnel {
            prefix: "fd00:16::".parse().unwrap(),
            cluster_id: 0,
            node: "172.30.0.3".parse().unwrap(),
            encrypt_key: 0,
        };
        assert_eq!(found, Some(expected));
    }
}
