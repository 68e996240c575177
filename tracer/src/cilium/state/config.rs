//! `agent-runtime-config.json`: the agent's own settings, written at its start. Its keys are names in the
//! agent's source and move between releases, so each of them may be missing.

use serde_json::{Map, Value};

use super::file::StateError;
use super::node_config::NodeConfig;

/// The clock of connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtClock {
    /// Seconds since boot.
    Ktime,
    /// Jiffies divided by 256.
    Jiffies,
}

/// Settings of interest; `None` where the agent does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentConfig {
    pub cluster_name: Option<String>,
    pub cluster_id: Option<u32>,
    pub ipv4: Option<bool>,
    pub ipv6: Option<bool>,
    pub ct_clock: Option<CtClock>,
    /// Jiffies per second.
    pub kernel_hz: Option<u32>,
    /// `tunnel` or `native`.
    pub routing_mode: Option<String>,
    pub policy_audit_mode: Option<bool>,
    pub policy_accounting: Option<bool>,
    pub bpf_root: Option<String>,
    pub host_firewall: Option<bool>,
    /// The ICMP type is looked up in policy as a port.
    pub icmp_rules: Option<bool>,
    /// ICMPv4 "fragmentation needed" passes policy.
    pub allow_frag_needed: Option<bool>,
    pub ipv4_fragment_tracking: Option<bool>,
    /// UDP port of the tunnel; absent where newer agents keep it elsewhere.
    pub tunnel_port: Option<u16>,
}

pub fn parse(bytes: &[u8]) -> Result<AgentConfig, StateError> {
    let json: Map<String, Value> = serde_json::from_slice(bytes).map_err(StateError::Json)?;
    let text = |key| json.get(key).and_then(Value::as_str).map(str::to_owned);
    let flag = |key| json.get(key).and_then(Value::as_bool);
    let number = |key| json.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    Ok(AgentConfig {
        cluster_name: text("ClusterName"),
        cluster_id: number("ClusterID"),
        ipv4: flag("EnableIPv4"),
        ipv6: flag("EnableIPv6"),
        ct_clock: number("ClockSource").and_then(clock),
        kernel_hz: number("KernelHz"),
        routing_mode: text("RoutingMode"),
        policy_audit_mode: flag("PolicyAuditMode"),
        policy_accounting: flag("PolicyAccounting"),
        bpf_root: text("BPFRoot"),
        host_firewall: flag("EnableHostFirewall"),
        icmp_rules: flag("EnableICMPRules"),
        allow_frag_needed: flag("AllowICMPFragNeeded"),
        ipv4_fragment_tracking: flag("EnableIPv4FragmentsTracking"),
        tunnel_port: number("TunnelPort").and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0),
    })
}

impl AgentConfig {
    /// With what was compiled into the datapath. Where the two contradict each other the clock is not known.
    pub fn with_compiled(mut self, compiled: &NodeConfig) -> Self {
        self.ct_clock = match (self.ct_clock, compiled.ct_clock) {
            (Some(said), Some(compiled)) if said != compiled => None,
            (said, compiled) => said.or(compiled),
        };
        self.kernel_hz = self.kernel_hz.or(compiled.kernel_hz);
        self
    }
}

const fn clock(number: u32) -> Option<CtClock> {
    match number {
        0 => Some(CtClock::Ktime),
        1 => Some(CtClock::Jiffies),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keys_are_read_and_strange_ones_ignored() {
        let json = r#"{"ClusterName":"east","ClusterID":3,"EnableIPv4":true,"EnableIPv6":false,
            "ClockSource":1,"KernelHz":250,"RoutingMode":7,"Opts":{"map":{}},"Unknown":[]}"#;
        let config = parse(json.as_bytes()).unwrap();
        assert_eq!(config.cluster_name.as_deref(), Some("east"));
        assert_eq!((config.ipv4, config.ipv6, config.cluster_id), (Some(true), Some(false), Some(3)));
        assert_eq!((config.ct_clock, config.kernel_hz), (Some(CtClock::Jiffies), Some(250)));
        assert_eq!(config.routing_mode, None);
    }

    #[test]
    fn the_clock_is_known_where_agent_and_datapath_do_not_contradict_each_other() {
        use CtClock::{Jiffies, Ktime};
        for (said, compiled, expected) in [
            (Some(Ktime), Some(Ktime), Some(Ktime)),
            (None, Some(Jiffies), Some(Jiffies)),
            (Some(Jiffies), None, Some(Jiffies)),
            (Some(Ktime), Some(Jiffies), None),
            (None, None, None),
        ] {
            let compiled = NodeConfig { ct_clock: compiled, kernel_hz: Some(250) };
            let found = AgentConfig { ct_clock: said, ..AgentConfig::default() }.with_compiled(&compiled);
            assert_eq!((found.ct_clock, found.kernel_hz), (expected, Some(250)));
        }
    }

    #[test]
    fn an_empty_object_tells_nothing() {
        assert_eq!(parse(b"{}").unwrap(), AgentConfig::default());
        assert!(parse(b"[]").is_err());
    }
}
