//! The network namespace that Cilium's devices are in. It is ours on the host and in a pod with `hostNetwork`,
//! but that has to be seen: elsewhere interface numbers mean something else, and several nodes can share a kernel.

use rustix::net::{AddressFamily, SocketType, netdevice, socket};

use crate::cilium::lxc::LxcEntry;
use crate::cilium::node::is_endpoint_device;
use crate::kernel::rights;

/// Cilium's own device, there on each of its nodes.
const CILIUM_HOST: &str = "cilium_host";

/// Inode of our network namespace if Cilium's devices are in it, else 0: not known.
pub fn network_namespace(endpoints: &[LxcEntry]) -> u32 {
    let Ok(socket) = socket(AddressFamily::UNIX, SocketType::DGRAM, None) else { return 0 };
    let has_cilium = netdevice::name_to_index(&socket, CILIUM_HOST).is_ok();
    let name = |ifindex| netdevice::index_to_name(&socket, ifindex).ok();
    if has_cilium || is_home(endpoints, name) { rights::own_network_namespace() } else { 0 }
}

/// Whether an endpoint's device is where its map entry says.
fn is_home(endpoints: &[LxcEntry], name: impl Fn(u32) -> Option<String>) -> bool {
    let numbers = endpoints.iter().map(|entry| entry.ifindex).filter(|ifindex| *ifindex != 0);
    numbers.filter_map(name).any(|name| is_endpoint_device(&name))
}

#[cfg(test)]
mod tests {
    use tracer_common::id::{EndpointId, Identity};

    use super::*;

    fn endpoint(ifindex: u32) -> LxcEntry {
        LxcEntry {
            ip: [10, 0, 0, 1].into(),
            id: EndpointId(7),
            ifindex,
            identity: Identity(7),
            flags: 0,
            mac: [0; 6],
            node_mac: [0; 6],
        }
    }

    #[test]
    fn a_device_of_an_endpoint_in_its_place_tells() {
        let name = |ifindex| [(12, "lxc12ab"), (13, "eth0")].iter().find(|(n, _)| *n == ifindex);
        let found = |ifindex| is_home(&[endpoint(0), endpoint(ifindex)], |n| Some(name(n)?.1.to_owned()));
        assert!(found(12));
        assert!(!found(13));
        assert!(!found(14));
        assert!(!found(0));
    }
}
