//! The agent's settings that bear on policy, as far as its files tell.

use std::path::Path;

use tracer_common::id::EndpointId;

use super::Asking;
use super::judge::Packet;
use crate::cilium::node::NodeView;
use crate::policy::gate::Settings;

/// The port of vxlan, unless the agent says otherwise.
const VXLAN: u16 = 8472;

impl Asking {
    /// What is not told and could make a difference is listed as inferred.
    pub fn settings(&mut self, endpoint: EndpointId, packet: Packet) -> Settings {
        let config = self.node.view.config();
        let told_icmp = config.is_some_and(|config| config.icmp_rules.is_some());
        let told_audit = config.is_some_and(|config| config.policy_audit_mode.is_some())
            || self.node.view.endpoint_state(endpoint).is_some_and(|state| state.audit_mode.is_some());
        if packet.icmp.is_some() && !told_icmp {
            self.inferred.push("icmp_rules");
        }
        if !told_audit {
            self.inferred.push("audit_mode");
        }
        settings(&self.node.view, endpoint)
    }
}

/// What is not told has the agent's default.
pub fn settings(view: &NodeView, endpoint: EndpointId) -> Settings {
    let usual = Settings::default();
    let state = view.endpoint_state(endpoint);
    let Some(config) = view.config() else { return usual };
    Settings {
        icmp_rules: config.icmp_rules.unwrap_or(usual.icmp_rules),
        fragmentation_needed: config.allow_frag_needed.unwrap_or(usual.fragmentation_needed),
        fragment_tracking: config.ipv4_fragment_tracking.unwrap_or(usual.fragment_tracking),
        source_check: state.is_none_or(|state| !state.any_source),
        tunnel_port: (config.routing_mode.as_deref() == Some("tunnel"))
            .then(|| config.tunnel_port.or_else(|| header_port(view)).unwrap_or(VXLAN)),
        audit: config.policy_audit_mode.unwrap_or(usual.audit)
            || state.and_then(|state| state.audit_mode).unwrap_or(false),
    }
}

/// `TUNNEL_PORT` of the agent's node-wide header.
fn header_port(view: &NodeView) -> Option<u16> {
    let bytes = view.state_files()?.read(Path::new("globals/node_config.h")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let value = |line: &str| line.strip_prefix("#define TUNNEL_PORT ")?.trim().parse().ok();
    text.lines().find_map(value).filter(|port| *port != 0)
}
