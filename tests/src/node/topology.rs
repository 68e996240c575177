//! The wires: a veth pair and a namespace for each pod, one more for the world, and Cilium's own devices.
//! Neighbours are permanent and IPv6 is kept from talking by itself, so that the only packets are ours.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use anyhow::{Context, Result};

use super::cast::*;
use super::kernel::space::NetSpace;
use super::netlink::{Netlink, VethEnd};

/// Interface number of `eth0` in every pod and in the world.
const INSIDE: u32 = 2;
const LOOPBACK: u32 = 1;

/// The namespaces beside the node's own.
#[derive(Debug)]
pub struct Surroundings {
    /// In the order of [`PODS`].
    pub pods: [NetSpace; PODS.len()],
    pub world: NetSpace,
}

impl Surroundings {
    pub fn create() -> Result<Self> {
        let pods = [NetSpace::create()?, NetSpace::create()?, NetSpace::create()?, NetSpace::create()?];
        Ok(Self { pods, world: NetSpace::create()? })
    }
}

fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{name}");
    fs::write(&path, value).with_context(|| format!("cannot write `{path}`"))
}

/// For devices that come later: no link-local addresses, no router solicitations.
fn quiet_ipv6() -> Result<()> {
    for family in ["default", "all"] {
        for (key, value) in [
            ("accept_ra", "0"),
            ("addr_gen_mode", "1"),
            ("dad_transmits", "0"),
            ("router_solicitations", "0"),
        ] {
            sysctl(&format!("ipv6/conf/{family}/{key}"), value)?;
        }
    }
    Ok(())
}

/// In the node's network namespace: everything. The caller's thread is inside.
pub fn build(around: &Surroundings) -> Result<()> {
    quiet_ipv6()?;
    for space in around.pods.iter().chain([&around.world]) {
        space.run(quiet_ipv6)?;
    }
    let netlink = Netlink::open().context("cannot talk rtnetlink")?;
    node_devices(&netlink, around).context("cannot make the node's devices")?;
    for (pod, space) in PODS.iter().zip(&around.pods) {
        pod_devices(&netlink, pod, space).with_context(|| format!("cannot wire `{}`", pod.name))?;
    }
    routing()?;
    around.world.run(world_side).context("cannot set up the world")
}

fn node_devices(netlink: &Netlink, around: &Surroundings) -> Result<()> {
    netlink.set_up(LOOPBACK)?;
    let eth0 = VethEnd { name: "eth0", ifindex: ETH0_IFINDEX, mac: ETH0_MAC };
    let world = VethEnd { name: "eth0", ifindex: INSIDE, mac: WORLD_MAC };
    netlink.add_veth(&eth0, &world, Some(around.world.as_fd()))?;
    let host = VethEnd { name: "cilium_host", ifindex: CILIUM_HOST_IFINDEX, mac: CILIUM_HOST_MAC };
    let net = VethEnd { name: "cilium_net", ifindex: CILIUM_NET_IFINDEX, mac: CILIUM_NET_MAC };
    netlink.add_veth(&host, &net, None)?;
    for ifindex in [ETH0_IFINDEX, CILIUM_NET_IFINDEX, CILIUM_HOST_IFINDEX] {
        netlink.set_up(ifindex)?;
    }
    netlink.add_address(ETH0_IFINDEX, NODE_IPV4.into(), 24)?;
    netlink.add_address(ETH0_IFINDEX, NODE_IPV6.into(), 64)?;
    netlink.add_address(CILIUM_HOST_IFINDEX, ROUTER_IPV4.into(), 32)?;
    netlink.add_address(CILIUM_HOST_IFINDEX, ROUTER_IPV6.into(), 128)?;
    for gateway in [IpAddr::from(WORLD_IPV4), WORLD_IPV6.into()] {
        netlink.add_neighbour(ETH0_IFINDEX, gateway, WORLD_MAC)?;
        netlink.add_route(anywhere(gateway), Some(gateway), ETH0_IFINDEX)?;
    }
    Ok(())
}

fn anywhere(like: IpAddr) -> (IpAddr, u8) {
    match like {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), 0),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), 0),
    }
}

/// Runs in the node's namespace.
fn pod_devices(netlink: &Netlink, pod: &Pod, space: &NetSpace) -> Result<()> {
    let outside = VethEnd { name: pod.device, ifindex: pod.ifindex, mac: pod.node_mac };
    let inside = VethEnd { name: "eth0", ifindex: INSIDE, mac: pod.mac };
    netlink.add_veth(&outside, &inside, Some(space.as_fd()))?;
    netlink.set_up(pod.ifindex)?;
    for ip in [IpAddr::from(pod.ipv4), pod.ipv6.into()] {
        netlink.add_route((ip, if ip.is_ipv4() { 32 } else { 128 }), None, pod.ifindex)?;
        netlink.add_neighbour(pod.ifindex, ip, pod.mac)?;
    }
    space.run(|| pod_side(pod))
}

/// Runs in the pod's namespace.
fn pod_side(pod: &Pod) -> Result<()> {
    let netlink = Netlink::open()?;
    netlink.set_up(LOOPBACK)?;
    netlink.set_up(INSIDE)?;
    netlink.add_address(INSIDE, pod.ipv4.into(), 32)?;
    // On eth0 it would join a multicast group and report that, from an address that Cilium refuses.
    netlink.add_address(LOOPBACK, pod.ipv6.into(), 128)?;
    for gateway in [IpAddr::from(ROUTER_IPV4), ROUTER_IPV6.into()] {
        netlink.add_neighbour(INSIDE, gateway, pod.node_mac)?;
        netlink.add_route(anywhere(gateway), Some(gateway), INSIDE)?;
    }
    Ok(())
}

/// Runs in the world.
fn world_side() -> Result<()> {
    let netlink = Netlink::open()?;
    netlink.set_up(LOOPBACK)?;
    netlink.set_up(INSIDE)?;
    netlink.add_address(INSIDE, WORLD_IPV4.into(), 24)?;
    netlink.add_address(INSIDE, WORLD_IPV6.into(), 64)?;
    for ip in [IpAddr::from(FAR_IPV4), DENIED_IPV4.into(), FAR_IPV6.into(), DENIED_IPV6.into()] {
        netlink.add_address(LOOPBACK, ip, if ip.is_ipv4() { 32 } else { 128 })?;
    }
    let pods: [(IpAddr, (IpAddr, u8)); 2] = [
        (NODE_IPV4.into(), (POD_CIDR4.0.into(), POD_CIDR4.1)),
        (NODE_IPV6.into(), (POD_CIDR6.0.into(), POD_CIDR6.1)),
    ];
    for (node, network) in pods {
        netlink.add_neighbour(INSIDE, node, ETH0_MAC)?;
        netlink.add_route(network, Some(node), INSIDE)?;
    }
    Ok(())
}

/// The node forwards what the datapath leaves to the stack, whichever way it came.
fn routing() -> Result<()> {
    sysctl("ipv4/ip_forward", "1")?;
    sysctl("ipv6/conf/all/forwarding", "1")?;
    for device in ["all", "eth0", "cilium_host", "cilium_net"].into_iter().chain(PODS.map(|pod| pod.device)) {
        sysctl(&format!("ipv4/conf/{device}/rp_filter"), "0")?;
    }
    Ok(())
}
