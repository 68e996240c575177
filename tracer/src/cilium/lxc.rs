//! The endpoint map `cilium_lxc`: which addresses belong to endpoints of this node, and which to the node.

use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;

use tracer_common::cilium::lxc::{EndpointInfo, EndpointKey};
use tracer_common::id::{EndpointId, Identity};
use zerocopy::FromBytes;

use super::pins::Opened;
use super::table::Walk;

/// One address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LxcEntry {
    pub ip: IpAddr,
    /// 0 for addresses of the node.
    pub id: EndpointId,
    /// Host side of the endpoint's device pair, 0 for addresses of the node.
    pub ifindex: u32,
    /// 0 for addresses of the node, and while the agent has not resolved it.
    pub identity: Identity,
    /// Bits as in [`tracer_common::cilium::lxc::flag`].
    pub flags: u32,
    pub mac: [u8; 6],
    pub node_mac: [u8; 6],
}

impl LxcEntry {
    /// The address is one of the node itself.
    pub const fn is_host(&self) -> bool {
        self.flags & tracer_common::cilium::lxc::flag::HOST != 0
    }
}

/// `None`: impossible bits, or not the sizes of this map.
pub fn decode(key: &[u8], value: &[u8]) -> Option<LxcEntry> {
    let ip = EndpointKey::read_from_bytes(key).ok()?.ip()?;
    let info = EndpointInfo::read_from_bytes(value).ok()?;
    Some(LxcEntry {
        ip,
        id: EndpointId(info.lxc_id),
        ifindex: info.ifindex,
        identity: Identity(info.sec_id),
        flags: info.flags,
        mac: info.mac.mac,
        node_mac: info.node_mac.mac,
    })
}

/// All entries, sorted by address, into `entries`; those that cannot be decoded are counted.
pub fn read_all(map: &Opened, entries: &mut Vec<LxcEntry>) -> io::Result<(Walk, u64)> {
    entries.clear();
    let mut undecoded = 0;
    let walk = map.table.for_each(&mut |key, value| {
        match decode(key, value) {
            Some(entry) => entries.push(entry),
            None => undecoded += 1,
        }
        ControlFlow::Continue(())
    })?;
    entries.sort_unstable();
    entries.dedup_by_key(|entry| entry.ip);
    Ok((walk, undecoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries of a running node (Cilium 1.17), in memory order.
    #[test]
    fn entries_of_a_real_node_decode_as_its_tool_lists_them() {
        let mut key = [0; 20];
        key[..4].copy_from_slice(&[10, 15, 0, 150]);
        key[16] = 1;
        let mut value = [0; 48];
        value[8] = 1;
        let host = decode(&key, &value).unwrap();
        assert!(host.is_host());
        assert_eq!((host.ip, host.id), ("10.15.0.150".parse().unwrap(), EndpointId(0)));

        key[..4].copy_from_slice(&[10, 15, 0, 12]);
        value = [0; 48];
        value[0] = 0x0b;
        value[6..8].copy_from_slice(&[0xb7, 0x0f]);
        value[16..22].copy_from_slice(&[0x0a, 0x58, 0, 0, 0x49, 2]);
        value[32..34].copy_from_slice(&[0x56, 0x4f]);
        let pod = decode(&key, &value).unwrap();
        assert_eq!((pod.id, pod.ifindex, pod.identity), (EndpointId(4023), 11, Identity(20310)));
        assert_eq!((pod.mac, pod.is_host()), ([0x0a, 0x58, 0, 0, 0x49, 2], false));
    }

    #[test]
    fn an_entry_of_another_size_or_family_is_not_decoded() {
        assert_eq!(decode(&[0; 20], &[0; 48]), None);
        assert_eq!(decode(&[1; 19], &[0; 48]), None);
        let mut key = [0; 20];
        key[16] = 1;
        assert_eq!(decode(&key, &[0; 40]), None);
    }
}
