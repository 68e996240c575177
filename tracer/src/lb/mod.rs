//! What the load balancer's maps say together, and what is wrong with it. Pure: entries come from the caller,
//! no map is read.

pub mod check;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::cilium::lb::{Backend, Client, Slot, SlotKey};

/// The maps of one family.
#[derive(Clone, Debug, Default)]
pub struct Family {
    pub slots: BTreeMap<SlotKey, Slot>,
    pub backends: BTreeMap<u32, Backend>,
    /// Frontends by id of their service.
    pub reverse_nat: BTreeMap<u16, SocketAddr>,
    /// (client, id of the service, id of the backend).
    pub affinity: Vec<(Client, u16, u32)>,
    /// Connections of services by (id of the service, id of the backend), with how many there are.
    pub connections: BTreeMap<(u16, u32), u64>,
}

/// The maps of both families. What was not read is `None`: nothing is concluded from it.
#[derive(Clone, Debug, Default)]
pub struct Balancer {
    pub v4: Family,
    pub v6: Family,
    /// (id of the backend, id of the service).
    pub affinity_match: Option<BTreeSet<(u32, u16)>>,
}

impl Balancer {
    pub fn family_mut(&mut self, ip: IpAddr) -> &mut Family {
        if ip.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }
}
