//! A node's maps as figures.

use std::net::{IpAddr, SocketAddr};

use tracer_common::id::EndpointId;

/// The agent beats once a second; after that many seconds it is taken for dead.
pub const DEAD_AFTER: u64 = 10;

/// The figures at one time.
#[derive(Debug, Default)]
pub struct Gauges {
    pub maps: Vec<MapGauge>,
    pub policies: Vec<PolicyGauge>,
    pub nat: Vec<NatGauge>,
    /// Seconds since the agent's last sign of life.
    pub heartbeat_age: Option<u64>,
    /// Whether every map could be read and understood.
    pub complete: bool,
}

#[derive(Debug)]
pub struct MapGauge {
    pub name: String,
    pub entries: u64,
    pub max_entries: u32,
    /// When full, it forgets its oldest entries instead of refusing new ones.
    pub evicts: bool,
    /// Entries past their time, where entries have one.
    pub expired: Option<u64>,
    /// Entries a second since the last look, if there was one.
    pub growth: Option<f64>,
}

/// The policy map of an endpoint.
#[derive(Debug)]
pub struct PolicyGauge {
    pub endpoint: EndpointId,
    /// `namespace/pod`, "" if no state file tells.
    pub pod: String,
    pub entries: u64,
    pub max_entries: u32,
}

/// One range of source ports.
#[derive(Debug)]
pub struct NatGauge {
    pub egress: IpAddr,
    pub remote: SocketAddr,
    /// IP protocol.
    pub protocol: u8,
    pub used: u32,
    /// The chance that the next connection gets no port.
    pub failure: f64,
}
