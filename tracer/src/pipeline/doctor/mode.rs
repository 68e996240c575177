//! What tells how the node forwards.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::node::Node;
use super::pins::Loaded;
use crate::cilium::lb;
use crate::doctor::Finding;
use crate::doctor::mode::{self, Routing, Services};

const OVERLAYS: [&str; 2] = ["cilium_vxlan", "cilium_geneve"];
const CLUSTER_IP: &str = "ClusterIP";

pub(super) fn routing(node: &Node) -> Finding {
    let names = node.network.cilium_devices();
    mode::routing(&Routing {
        setting: node.view.config().and_then(|config| config.routing_mode.clone()),
        device: names.into_iter().find(|name| OVERLAYS.contains(&name.as_str())),
        devices_seen: node.network.devices.is_ok(),
        overlay_pin: node.pin("cilium_calls_overlay_2").is_some(),
        tunnel_map: node.pin("cilium_tunnel_map").is_some(),
    })
}

pub(super) fn kube_proxy(node: &Node, loaded: &Loaded) -> Finding {
    mode::kube_proxy(&services(node, loaded))
}

fn services(node: &Node, loaded: &Loaded) -> Result<Services, String> {
    let mut kinds: BTreeMap<&'static str, usize> = BTreeMap::new();
    for layouts in &lb::SERVICES {
        let name = layouts[0].name;
        let Some(pin) = node.pin(name) else { continue };
        let failed = |error: &dyn std::fmt::Display| format!("map `{name}`: {error}");
        let map = pin.opened.as_ref().map_err(|error| failed(error))?;
        map.for_each(&mut |key, value| {
            if let Some((_, slot)) = lb::slot(key, value).filter(|(key, _)| key.slot == 0) {
                *kinds.entry(slot.kind()).or_default() += 1;
            }
            ControlFlow::Continue(())
        })
        .map_err(|error| failed(&error))?;
    }
    let pair = |family: u8| {
        let suffix = if family == 4 { "4" } else { "6" };
        node.pin(&format!("cilium_snat_v{suffix}_external")).is_some()
            && node.pin(&format!("cilium_nodeport_neigh{suffix}")).is_some()
    };
    let is_socket_program = |program: &crate::kernel::bpf::ProgramInfo| program.name.starts_with("cil_sock");
    Ok(Services {
        cluster_ip: kinds.remove(CLUSTER_IP).unwrap_or_default(),
        others: kinds.into_iter().collect(),
        nodeport_maps: pair(4) || pair(6),
        socket_programs: loaded.0.as_ref().ok().map(|programs| programs.values().any(is_socket_program)),
    })
}
