//! The devices of the node and the programs on them. They are in the node's network namespace: ours, or that of
//! the node's first process if we may look there.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use tracer_common::id::IfIndex;

use super::node::Node;
use crate::doctor::Finding;
use crate::doctor::programs::{self, Device, Devices, Owner};
use crate::kernel::attached::{Point, programs_at};
use crate::kernel::bpf;
use crate::kernel::namespace;
use crate::kernel::netlink::{Direction, Link, Netlink};
use crate::kernel::sockets::{self, Listeners};

/// The node's network namespace when we are not in it.
const OF_INIT: &str = "/proc/1/ns/net";

/// What the node's network namespace holds.
pub(super) struct Network {
    pub devices: Devices,
    /// Who listens there.
    pub listeners: Result<Listeners, String>,
}

impl Network {
    /// Names of devices that only Cilium makes.
    pub fn cilium_devices(&self) -> Vec<String> {
        let devices = self.devices.iter().flatten();
        devices.filter(|device| is_cilium(&device.name)).map(|device| device.name.clone()).collect()
    }
}

fn is_cilium(name: &str) -> bool {
    name.starts_with("lxc") || name.starts_with("cilium_")
}

/// `wanted`: devices that matter besides those whose name tells.
pub(super) fn find(wanted: &[IfIndex]) -> Network {
    let own = match scan(wanted) {
        Ok(Some(network)) => return network,
        Ok(None) => "none in our network namespace".to_owned(),
        Err(error) => format!("ours cannot be asked: {error}"),
    };
    let path = Path::new(OF_INIT);
    let of_init = match namespace::is_own_network(path) {
        Ok(true) => "which is that of process 1".to_owned(),
        Ok(false) => match namespace::in_network(path, || scan(wanted)).and_then(|scanned| scanned) {
            Ok(Some(network)) => return network,
            Ok(None) => "none in that of process 1".to_owned(),
            Err(error) => format!("that of process 1 cannot be entered: {error}"),
        },
        Err(error) => format!("{OF_INIT}: {error}"),
    };
    let why = format!("no device of Cilium is seen: {own}, {of_init}");
    Network { devices: Err(why.clone()), listeners: Err(why) }
}

/// `None`: nothing of Cilium is in the namespace of the calling thread.
fn scan(wanted: &[IfIndex]) -> io::Result<Option<Network>> {
    let netlink = Netlink::open()?;
    let links = netlink.links()?;
    if !links.iter().any(|link| is_cilium(&link.name)) {
        return Ok(None);
    }
    let is_wanted = |link: &&Link| is_cilium(&link.name) || wanted.contains(&link.ifindex);
    let devices = links.iter().filter(is_wanted).map(|link| device(&netlink, link)).collect();
    let listeners = sockets::listeners().map_err(|error| error.to_string());
    Ok(Some(Network { devices: Ok(devices), listeners }))
}

fn device(netlink: &Netlink, link: &Link) -> Device {
    let is_netkit = link.kind == "netkit";
    let mut ids = Vec::new();
    let mut at = |direction, tcx, netkit| {
        let points: &[Point] = if is_netkit { &[tcx, netkit] } else { &[tcx] };
        programs(netlink, link.ifindex, direction, points, &mut ids)
    };
    Device {
        ifindex: link.ifindex,
        name: link.name.clone(),
        ingress: at(Direction::Ingress, Point::TcxIngress, Point::NetkitPeer),
        egress: at(Direction::Egress, Point::TcxEgress, Point::NetkitPrimary),
        programs: ids,
    }
}

/// Names of filters, and of programs that hang there otherwise. What was found counts more than what could not
/// be asked for.
fn programs(
    netlink: &Netlink,
    ifindex: IfIndex,
    direction: Direction,
    points: &[Point],
    ids: &mut Vec<u32>,
) -> Result<Vec<String>, String> {
    let filters = netlink.filters(ifindex, direction).map_err(|error| error.to_string())?;
    ids.extend(filters.iter().filter_map(|filter| filter.program));
    let mut names: Vec<String> = filters.into_iter().map(|filter| filter.name).collect();
    for point in points {
        match programs_at(ifindex, *point) {
            Ok(found) => {
                names.extend(found.iter().map(|id| program_name(*id)));
                ids.extend(found);
            }
            Err(error) if names.is_empty() => return Err(error.to_string()),
            Err(_) => {}
        }
    }
    Ok(names)
}

fn program_name(id: u32) -> String {
    let name = bpf::open_program(id).and_then(|program| bpf::program_info(program.as_fd()));
    name.map_or_else(|_| format!("#{id}"), |info| info.name)
}

pub(super) fn look(node: &Node) -> Vec<Finding> {
    let mut owners: Vec<Owner> = node
        .view
        .lxc_entries()
        .iter()
        .filter(|entry| !entry.is_host() && entry.ifindex != 0)
        .map(|entry| Owner { ifindex: IfIndex(entry.ifindex), name: node.endpoint_name(entry.id) })
        .collect();
    owners.sort_by_key(|owner| owner.ifindex);
    owners.dedup_by_key(|owner| owner.ifindex);
    let devices = &node.network.devices;
    vec![programs::endpoints(devices, &owners), programs::host(devices, &node.netdevs())]
}
