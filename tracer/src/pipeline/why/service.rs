//! Is the destination a service, and where does it lead? Asks the load balancer's maps as the datapath does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tracer_common::cilium::lb::{flag, flag2};
use tracer_common::id::Identity;

use super::Asking;
use crate::cilium::ct;
use crate::cilium::lb::{self, BACKENDS, Frontend, SERVICES, SOURCE_RANGES, Slot, SlotKey};
use crate::cilium::pins::Layout;
use crate::model::reason::DropReason;
use crate::pipeline::maps::OpenMap;
use crate::why::answer::{Backend, Party, Place, Service};

const NO_SERVICE: DropReason = DropReason(158);
const IS_CLUSTER_IP: DropReason = DropReason(174);
const NOT_IN_SOURCE_RANGE: DropReason = DropReason(177);

/// A service and the backends that it may choose.
pub struct Found {
    pub service: Service,
    pub backends: Vec<Backend>,
}

/// A frontend as it stands in the maps.
struct Master {
    frontend: Frontend,
    slot: Slot,
    surrogate: bool,
}

impl Asking {
    /// What the address and port of `destination` stand for. `None`: no service.
    pub fn service(&mut self, source: &Party, destination: &Party, protocol: u8) -> Option<Found> {
        let address = SocketAddr::new(destination.address?, destination.port?);
        let family = usize::from(address.is_ipv6());
        let services = self.known(&SERVICES[family][0])?;
        let from_cluster = is_of_cluster(source);
        let Some(master) = self.master(&services, address, protocol, destination, from_cluster) else {
            return self.closed_port(&services, address, protocol);
        };
        let mut service = describe(&master);
        service.refused = self.refusal(source, &master, from_cluster);
        let mut backends = self.backends(&services, &master);
        let bound = self.bound(source, address, protocol, &master);
        if let Some(id) = bound {
            backends.retain(|backend| backend.id == id);
            service.bound = Some((id, "an open connection"));
        }
        if service.refused.is_none() && service.proxy_port.is_none() && backends.is_empty() {
            let why = match (bound, master.slot.count) {
                (Some(id), _) => format!("an open connection is bound to backend {id}, which is gone"),
                (None, 0) => "the service has no backends".to_owned(),
                (None, count) => format!("none of its {count} backends is in the backend map"),
            };
            service.refused = Some((NO_SERVICE, why));
        }
        Some(Found { service, backends })
    }

    /// A map of the load balancer, if it is there and has the sizes that its name stands for.
    fn known(&mut self, layout: &'static Layout) -> Option<OpenMap> {
        let open = self.node.maps.map(layout.name)?;
        self.node.maps.is_known(&open, layout).then_some(open)
    }

    fn slot(&mut self, services: &OpenMap, key: &SlotKey) -> Option<Slot> {
        let (key, length) = key.bytes();
        let mut value = [0; 12];
        let found = self.node.maps.look_up(services, &key[..length], &mut value)?;
        if found { lb::slot_value(&value) } else { None }
    }

    fn frontend(
        &mut self,
        services: &OpenMap,
        address: SocketAddr,
        protocol: u8,
        scope: u8,
    ) -> Option<(Frontend, Slot)> {
        [protocol, 0].into_iter().find_map(|protocol| {
            let frontend = Frontend { address, protocol, scope };
            Some((frontend, self.slot(services, &SlotKey { frontend, slot: 0 })?))
        })
    }

    fn master(
        &mut self,
        services: &OpenMap,
        address: SocketAddr,
        protocol: u8,
        destination: &Party,
        from_cluster: bool,
    ) -> Option<Master> {
        let (mut found, mut surrogate) = (self.frontend(services, address, protocol, 0), false);
        let is_node = destination.place == Place::Host || matches!(destination.identity, Identity(1 | 6 | 7));
        if found.is_none() && from_cluster && is_node {
            let any: IpAddr =
                if address.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
            found = self
                .frontend(services, SocketAddr::new(any, address.port()), protocol, 0)
                .filter(|(_, slot)| slot.has(flag::NODE_PORT) || slot.has(flag::HOST_PORT));
            surrogate = found.is_some();
        }
        let (frontend, slot) = found?;
        if surrogate {
            self.inferred.push("service.frontend");
        }
        let inner = (slot.has2(flag2::TWO_SCOPES) && from_cluster)
            .then(|| self.frontend(services, frontend.address, protocol, 1))
            .flatten();
        let (frontend, slot) = inner.unwrap_or((frontend, slot));
        Some(Master { frontend, slot, surrogate })
    }

    /// From 1.18 on an entry without port catches the ports that a service's address does not serve.
    fn closed_port(&mut self, services: &OpenMap, address: SocketAddr, protocol: u8) -> Option<Found> {
        let (frontend, slot) = self.frontend(services, SocketAddr::new(address.ip(), 0), protocol, 0)?;
        let mut service = describe(&Master { frontend, slot, surrogate: false });
        let why = format!("{} is the address of a service, which does not serve this port", address.ip());
        service.refused = Some((NO_SERVICE, why));
        Some(Found { service, backends: Vec::new() })
    }

    /// What keeps a client out before any backend is chosen.
    fn refusal(
        &mut self,
        source: &Party,
        master: &Master,
        from_cluster: bool,
    ) -> Option<(DropReason, String)> {
        let slot = &master.slot;
        if !from_cluster && !slot.has(flag::ROUTABLE) && slot.kind() == "ClusterIP" {
            return Some((IS_CLUSTER_IP, "a cluster IP is not reached from outside".to_owned()));
        }
        if from_cluster || !slot.has(flag::SOURCE_RANGE) {
            return None;
        }
        let client = source.address?;
        let is_listed = self.is_in_source_range(slot.service_id, client)?;
        // From 1.18 on the list may be one of clients that are kept out; the bit means something else before.
        let denies = slot.has2(flag2::QUARANTINED);
        (is_listed == denies).then(|| {
            let how = if denies { "are kept out" } else { "are the only ones let in" };
            (NOT_IN_SOURCE_RANGE, format!("{client}: clients in loadBalancerSourceRanges {how}"))
        })
    }

    fn is_in_source_range(&mut self, service: u16, client: IpAddr) -> Option<bool> {
        let open = self.known(&SOURCE_RANGES[usize::from(client.is_ipv6())][0])?;
        let mut key = Vec::with_capacity(24);
        let bits: u32 = if client.is_ipv4() { 64 } else { 160 };
        key.extend_from_slice(&bits.to_ne_bytes());
        key.extend_from_slice(&service.to_be_bytes());
        key.extend_from_slice(&[0; 2]);
        match client {
            IpAddr::V4(ip) => key.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => key.extend_from_slice(&ip.octets()),
        }
        self.node.maps.look_up(&open, &key, &mut [0])
    }

    /// The backends of active slots; quarantined ones serve where there is no other.
    fn backends(&mut self, services: &OpenMap, master: &Master) -> Vec<Backend> {
        let (count, quarantined) = (master.slot.count, master.slot.quarantined);
        let slots = if count > 0 { 1..=count } else { 1..=quarantined };
        let maps = BACKENDS.each_ref().map(|layout| self.known(&layout[0]));
        let mut backends: Vec<Backend> = Vec::new();
        for slot in slots {
            let Some(found) = self.slot(services, &SlotKey { frontend: master.frontend, slot }) else {
                continue;
            };
            let id = found.backend_id();
            // Maps of both families: NAT 46x64 leads from one to the other.
            let backend = maps.iter().flatten().find_map(|open| self.backend(open, id));
            backends.extend(backend);
        }
        backends
    }

    fn backend(&mut self, open: &OpenMap, id: u32) -> Option<Backend> {
        let mut buffer = [0; 24];
        let value = buffer.get_mut(..open.map.value_bytes())?;
        let found = self.node.maps.look_up(open, &id.to_ne_bytes(), value)?;
        let backend = found.then(|| lb::backend_value(value)).flatten()?;
        Some(Backend { id, address: backend.address, state: backend.state.name() })
    }

    /// The backend that connection tracking has bound this very connection to.
    fn bound(&mut self, source: &Party, frontend: SocketAddr, protocol: u8, master: &Master) -> Option<u32> {
        /// Where a value has the backend's id, in all generations.
        const BACKEND: std::ops::Range<usize> = 8..12;
        let client = SocketAddr::new(source.address?, source.port?);
        let (is_tcp, key) = ct::keys(client, frontend, protocol)?.into_iter().nth(2)?;
        let value = self.tracked_value(client.is_ipv6(), is_tcp, &key)?;
        let same = u16::from_be_bytes([value[38], value[39]]) == master.slot.service_id;
        let id = u32::from_ne_bytes(value[BACKEND].try_into().ok()?);
        (same && id != 0).then_some(id)
    }
}

/// Clients whose packets do not come in from outside.
fn is_of_cluster(source: &Party) -> bool {
    match source.place {
        Place::Here | Place::Host => true,
        Place::Nowhere => source.identity.0 >= 100,
        Place::OtherNode(_) | Place::Outside => false,
    }
}

fn describe(master: &Master) -> Service {
    let slot = &master.slot;
    Service {
        frontend: master.frontend.address,
        protocol: master.frontend.protocol,
        id: slot.service_id,
        kind: slot.kind(),
        active: slot.count,
        quarantined: slot.quarantined,
        surrogate: master.surrogate,
        internal: master.frontend.scope == 1,
        proxy_port: slot.proxy_port(),
        refused: None,
        bound: None,
    }
}
