//! How this node forwards, as far as maps, devices and programs tell. Evidence is told, and what contradicts
//! itself is no mode.

use super::{Check, Finding, Group, joined};

const ROUTING: Check = Check::new("mode.routing", Group::Mode, "Routing mode");
const KUBE_PROXY: Check = Check::new("mode.kube-proxy", Group::Mode, "Kube-proxy replacement");

/// What tells the routing mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// `tunnel` or `native` in the agent's settings.
    pub setting: Option<String>,
    /// `cilium_vxlan` or `cilium_geneve`; `None`: neither, or devices cannot be seen.
    pub device: Option<String>,
    pub devices_seen: bool,
    /// Program map of the overlay device is pinned.
    pub overlay_pin: bool,
    /// `cilium_tunnel_map` is pinned.
    pub tunnel_map: bool,
}

pub fn routing(facts: &Routing) -> Finding {
    let mut evidence = Vec::new();
    if let Some(setting) = &facts.setting {
        evidence.push(format!("the agent's settings say {setting}"));
    }
    match (&facts.device, facts.devices_seen) {
        (Some(device), _) => evidence.push(format!("device {device}")),
        (None, true) => evidence.push("no overlay device".to_owned()),
        (None, false) => {}
    }
    if facts.overlay_pin {
        evidence.push("cilium_calls_overlay_2 is pinned".to_owned());
    }
    if facts.tunnel_map {
        evidence.push("cilium_tunnel_map is pinned (all nodes up to 1.16, else tunnel)".to_owned());
    }
    let evidence = evidence.join(", ");
    let has_overlay = facts.device.is_some() || facts.overlay_pin;
    let protocol = facts.device.as_deref().and_then(|device| device.strip_prefix("cilium_"));
    match (facts.setting.as_deref(), has_overlay) {
        (Some("tunnel"), false) if facts.devices_seen => ROUTING.fail(
            format!("tunnel mode without an overlay device: {evidence}"),
            "pods of other nodes cannot be reached: restart the agent, which makes the device",
        ),
        (Some("tunnel"), _) | (None, true) => ROUTING
            .ok(format!("tunnel{}: {evidence}", protocol.map(|p| format!(" ({p})")).unwrap_or_default())),
        // DSR by Geneve and egress gateways have overlay devices too.
        (Some(mode), _) => ROUTING.ok(format!("{mode}: {evidence}")),
        (None, false) if facts.devices_seen => ROUTING.ok(format!("native: {evidence}")),
        (None, false) => ROUTING.unknown(
            if evidence.is_empty() {
                "neither settings nor devices can be seen".to_owned()
            } else {
                evidence
            },
            "--state-dir DIR, or run in the node's network namespace",
        ),
    }
}

/// What tells who balances services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    /// Frontends by their kind in Kubernetes' words.
    pub cluster_ip: usize,
    /// NodePort, LoadBalancer, ExternalIPs, HostPort, LocalRedirect.
    pub others: Vec<(&'static str, usize)>,
    /// SNAT and neighbour maps, which nodeports need.
    pub nodeport_maps: bool,
    /// Programs for sockets are loaded; `None`: not known.
    pub socket_programs: Option<bool>,
}

/// The error is why the services cannot be read.
pub fn kube_proxy(facts: &Result<Services, String>) -> Finding {
    let facts = match facts {
        Ok(facts) => facts,
        Err(why) => return KUBE_PROXY.unknown(why.as_str(), ""),
    };
    let count = |kind: &str, number: usize| format!("{number} {kind}");
    let kinds: Vec<String> = std::iter::once(count("ClusterIP", facts.cluster_ip))
        .chain(facts.others.iter().map(|(kind, number)| count(kind, *number)))
        .collect();
    let outside = facts.others.iter().any(|(_, number)| *number > 0);
    let sockets = match facts.socket_programs {
        Some(true) => "socket programs are loaded",
        Some(false) => "no socket programs",
        None => "whether socket programs are loaded is not known",
    };
    let nodeport = if facts.nodeport_maps { "nodeport maps are pinned" } else { "no nodeport maps" };
    let mode = match (outside && facts.nodeport_maps, facts.cluster_ip > 0 || outside) {
        (true, _) => "on: Cilium balances services from outside too",
        (false, true) => "partly: ClusterIP services only",
        (false, false) => "off, or there are no services",
    };
    KUBE_PROXY.ok(format!("{mode}; frontends: {}; {nodeport}; {sockets}", joined(&kinds)))
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn routing_by_what_is_there() {
        let tunnel = Routing {
            setting: Some("tunnel".to_owned()),
            device: Some("cilium_vxlan".to_owned()),
            devices_seen: true,
            ..Routing::default()
        };
        assert!(routing(&tunnel).evidence.starts_with("tunnel (vxlan): "));
        let broken = Routing { device: None, ..tunnel.clone() };
        assert_eq!(routing(&broken).status, Status::Fail);
        let silent = Routing { setting: None, ..tunnel };
        assert!(routing(&silent).evidence.starts_with("tunnel (vxlan): "));
        let native = Routing { devices_seen: true, ..Routing::default() };
        assert!(routing(&native).evidence.starts_with("native: "));
        assert_eq!(routing(&Routing::default()).status, Status::Unknown);
    }

    #[test]
    fn services_from_outside_need_nodeport_maps() {
        let mode = |others, nodeport_maps| {
            let facts = Services { cluster_ip: 2, others, nodeport_maps, socket_programs: None };
            kube_proxy(&Ok(facts)).evidence
        };
        assert!(mode(vec![("NodePort", 3)], true).starts_with("on: "));
        assert!(mode(vec![("NodePort", 3)], false).starts_with("partly: "));
        assert!(mode(vec![], true).starts_with("partly: "));
    }
}
