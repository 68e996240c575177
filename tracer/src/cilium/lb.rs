//! The load balancer's maps: frontends and their backend slots, backends, reverse NAT, source ranges, session
//! affinity, sockets, health. Decodes entries and makes keys; which slots and backends belong together is
//! decided in [`crate::lb`].

use std::net::{IpAddr, SocketAddr};

use tracer_common::cilium::lb::{
    Backend4, Backend6, Frontend4, Frontend6, Service, ServiceKey4, ServiceKey6, backend_state, flag, flag2,
};
use zerocopy::{FromBytes, IntoBytes};

use super::pins::Layout;

/// BPF_MAP_TYPE_*.
const HASH: u32 = 1;
const LRU_HASH: u32 = 9;
const LPM_TRIE: u32 = 11;
const HASH_OF_MAPS: u32 = 13;

const fn layout(name: &'static str, map_type: u32, key_size: u32, value_size: u32) -> [Layout; 1] {
    [Layout { name, map_type, key_size, value_size, releases: "Cilium 1.14+" }]
}

pub static SERVICES: [[Layout; 1]; 2] =
    [layout("cilium_lb4_services_v2", HASH, 12, 12), layout("cilium_lb6_services_v2", HASH, 24, 12)];
pub static BACKENDS: [[Layout; 1]; 2] =
    [layout("cilium_lb4_backends_v3", HASH, 4, 12), layout("cilium_lb6_backends_v3", HASH, 4, 24)];
pub static REVERSE_NAT: [[Layout; 1]; 2] =
    [layout("cilium_lb4_reverse_nat", HASH, 2, 6), layout("cilium_lb6_reverse_nat", HASH, 2, 18)];
pub static SOURCE_RANGES: [[Layout; 1]; 2] =
    [layout("cilium_lb4_source_range", LPM_TRIE, 12, 1), layout("cilium_lb6_source_range", LPM_TRIE, 24, 1)];
pub static AFFINITY: [[Layout; 1]; 2] =
    [layout("cilium_lb4_affinity", LRU_HASH, 16, 16), layout("cilium_lb6_affinity", LRU_HASH, 24, 16)];
pub static AFFINITY_MATCH: [Layout; 1] = layout("cilium_lb_affinity_match", HASH, 8, 1);
pub static REVERSE_SK: [[Layout; 1]; 2] =
    [layout("cilium_lb4_reverse_sk", LRU_HASH, 16, 8), layout("cilium_lb6_reverse_sk", LRU_HASH, 32, 20)];
pub static HEALTH: [[Layout; 1]; 2] =
    [layout("cilium_lb4_health", LRU_HASH, 8, 12), layout("cilium_lb6_health", LRU_HASH, 8, 24)];
pub static SKIP: [[Layout; 1]; 2] =
    [layout("cilium_skip_lb4", HASH, 16, 1), layout("cilium_skip_lb6", HASH, 32, 1)];
/// Keys are ids of services, values ids of maps with one array of backend ids.
pub static MAGLEV: [[Layout; 1]; 2] =
    [layout("cilium_lb4_maglev", HASH_OF_MAPS, 2, 4), layout("cilium_lb6_maglev", HASH_OF_MAPS, 2, 4)];

/// What makes a frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    pub address: SocketAddr,
    /// IP protocol; 0: any.
    pub protocol: u8,
    /// 0 external, 1 internal.
    pub scope: u8,
}

/// The key of the services map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotKey {
    pub frontend: Frontend,
    /// 0: the frontend itself.
    pub slot: u16,
}

impl SlotKey {
    /// The key as the map has it: 12 or 24 bytes at the start.
    pub fn bytes(&self) -> ([u8; 24], usize) {
        let (port, Frontend { address, protocol: proto, scope }) =
            (self.frontend.address.port(), self.frontend);
        let (dport, backend_slot, pad) = (port.into(), self.slot, [0; 2]);
        let mut bytes = [0; 24];
        match address.ip() {
            IpAddr::V4(ip) => {
                let key = ServiceKey4 { address: ip.octets(), dport, backend_slot, proto, scope, pad };
                bytes[..12].copy_from_slice(key.as_bytes());
                (bytes, 12)
            }
            IpAddr::V6(ip) => {
                let key = ServiceKey6 { address: ip.octets(), dport, backend_slot, proto, scope, pad };
                bytes.copy_from_slice(key.as_bytes());
                (bytes, 24)
            }
        }
    }
}

/// The value of the services map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    word: u32,
    proxy_port: u16,
    /// Active backends; 0 in slots of backends.
    pub count: u16,
    /// Backends that take no new connections.
    pub quarantined: u16,
    /// Id of the service for reverse NAT.
    pub service_id: u16,
    pub flags: u8,
    pub flags2: u8,
}

/// How a service picks a backend, from 1.18 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// That of the agent, or not told.
    Default,
    Random,
    Maglev,
    Unknown(u8),
}

impl Slot {
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub const fn has2(&self, flag: u8) -> bool {
        self.flags2 & flag != 0
    }

    /// The backend, in slots other than 0.
    pub const fn backend_id(&self) -> u32 {
        self.word
    }

    /// Slot 0: how long a client stays with its backend.
    pub const fn affinity_seconds(&self) -> Option<u32> {
        if self.has(flag::AFFINITY) && !self.has2(flag2::L7_LOAD_BALANCER) {
            Some(self.word & 0x00ff_ffff)
        } else {
            None
        }
    }

    /// Slot 0: the proxy that balances instead.
    pub const fn proxy_port(&self) -> Option<u16> {
        if self.has2(flag2::L7_LOAD_BALANCER) { Some(self.proxy_port) } else { None }
    }

    /// Slot 0. Timeouts of affinity never reach the byte that newer releases keep it in.
    pub const fn algorithm(&self) -> Algorithm {
        if self.has2(flag2::L7_LOAD_BALANCER) {
            return Algorithm::Default;
        }
        match (self.word >> 24) as u8 {
            0 => Algorithm::Default,
            1 => Algorithm::Random,
            2 => Algorithm::Maglev,
            other => Algorithm::Unknown(other),
        }
    }

    /// The kind of service, in Kubernetes' words.
    pub const fn kind(&self) -> &'static str {
        match () {
            () if self.has(flag::EXTERNAL_IP) => "ExternalIPs",
            () if self.has(flag::NODE_PORT) => "NodePort",
            () if self.has(flag::LOAD_BALANCER) => "LoadBalancer",
            () if self.has(flag::HOST_PORT) => "HostPort",
            () if self.has2(flag2::LOCAL_REDIRECT) => "LocalRedirect",
            () => "ClusterIP",
        }
    }

    /// Other properties of a frontend, in the words of cilium-dbg.
    pub fn properties(&self) -> impl Iterator<Item = &'static str> {
        let loopback = self.has(flag::HOST_PORT) && self.has2(flag2::LOOPBACK);
        [
            (self.has(flag::EXT_LOCAL_SCOPE), "Local"),
            (self.has2(flag2::INT_LOCAL_SCOPE), "InternalLocal"),
            (self.has2(flag2::TWO_SCOPES), "two-scopes"),
            (self.has(flag::AFFINITY), "sessionAffinity"),
            (!self.has(flag::ROUTABLE), "non-routable"),
            (self.has(flag::SOURCE_RANGE), "check source-range"),
            (self.has2(flag2::QUARANTINED), "deny source-range"),
            (self.has2(flag2::NAT_46X64), "46x64"),
            (self.has2(flag2::L7_LOAD_BALANCER), "l7-load-balancer"),
            (loopback, "loopback"),
            (self.has2(flag2::FWD_MODE_DSR), "dsr"),
        ]
        .into_iter()
        .filter_map(|(is_set, name)| is_set.then_some(name))
    }
}

/// `None`: impossible bits, or not the sizes of this map.
pub fn slot(key: &[u8], value: &[u8]) -> Option<(SlotKey, Slot)> {
    let (ip, port, slot, protocol, scope): (IpAddr, _, _, _, _) = match ServiceKey4::read_from_bytes(key) {
        Ok(k) if k.pad == [0; 2] => (k.address.into(), k.dport, k.backend_slot, k.proto, k.scope),
        Ok(_) => return None,
        Err(_) => {
            let k = ServiceKey6::read_from_bytes(key).ok().filter(|k| k.pad == [0; 2])?;
            (k.address.into(), k.dport, k.backend_slot, k.proto, k.scope)
        }
    };
    let frontend = Frontend { address: SocketAddr::new(ip, port.get()), protocol, scope };
    (scope <= 1).then_some((SlotKey { frontend, slot }, slot_value(value)?))
}

/// `None`: not the size of this map.
pub fn slot_value(value: &[u8]) -> Option<Slot> {
    let value = Service::read_from_bytes(value).ok()?;
    Some(Slot {
        word: value.backend_id_or_settings,
        proxy_port: value.l7lb_port(),
        count: value.count,
        quarantined: value.qcount,
        service_id: value.rev_nat_index.get(),
        flags: value.flags,
        flags2: value.flags2,
    })
}

/// Where connections go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    pub address: SocketAddr,
    /// IP protocol; 0: any.
    pub protocol: u8,
    pub state: State,
    /// 0 for this cluster.
    pub cluster_id: u16,
    /// Topology zone; 0 for none.
    pub zone: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Active,
    Terminating,
    Quarantined,
    Maintenance,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Terminating => "terminating",
            Self::Quarantined => "quarantined",
            Self::Maintenance => "maintenance",
        }
    }

    const fn of(number: u8) -> Option<Self> {
        match number {
            backend_state::ACTIVE => Some(Self::Active),
            backend_state::TERMINATING => Some(Self::Terminating),
            backend_state::QUARANTINED => Some(Self::Quarantined),
            backend_state::MAINTENANCE => Some(Self::Maintenance),
            _ => None,
        }
    }
}

/// `None`: impossible bits, or not the size of this map.
pub fn backend_value(value: &[u8]) -> Option<Backend> {
    if let Ok(b) = Backend4::read_from_bytes(value) {
        let address = SocketAddr::new(b.address.into(), b.port.get());
        return backend_of(address, b.proto, b.state, b.cluster_id, b.zone);
    }
    let b = Backend6::read_from_bytes(value).ok()?;
    backend_of(SocketAddr::new(b.address.into(), b.port.get()), b.proto, b.state, b.cluster_id, b.zone)
}

fn backend_of(address: SocketAddr, protocol: u8, state: u8, cluster_id: u16, zone: u8) -> Option<Backend> {
    Some(Backend { address, protocol, state: State::of(state)?, cluster_id, zone })
}

/// `None`: impossible bits, or not the sizes of this map.
pub fn backend(key: &[u8], value: &[u8]) -> Option<(u32, Backend)> {
    Some((host32(key)?, backend_value(value)?))
}

/// Id of a service and the frontend that replies come from. `None`: not the sizes of this map.
pub fn reverse_nat(key: &[u8], value: &[u8]) -> Option<(u16, SocketAddr)> {
    let id = net16(key)?;
    if let Ok(frontend) = Frontend4::read_from_bytes(value) {
        return Some((id, SocketAddr::new(frontend.address.into(), frontend.port.get())));
    }
    let frontend = Frontend6::read_from_bytes(value).ok()?;
    Some((id, SocketAddr::new(frontend.address.into(), frontend.port.get())))
}

/// A range of clients of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceRange {
    pub service_id: u16,
    pub address: IpAddr,
    pub prefix_length: u8,
}

/// `None`: impossible bits, or not the size of this map.
pub fn source_range(key: &[u8]) -> Option<SourceRange> {
    /// Id of the service and padding stand before the address.
    const FIXED_BITS: u32 = 32;
    let (head, address) = key.split_at_checked(8)?;
    let address = any_address(address)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix_length = host32(&head[..4])?.checked_sub(FIXED_BITS).filter(|bits| *bits <= longest)? as u8;
    Some(SourceRange { service_id: net16(&head[4..6])?, address, prefix_length })
}

/// A client that stays with its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    pub client: Client,
    pub service_id: u16,
    pub backend_id: u32,
    /// Clock of connection tracking.
    pub last_used: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Address(IpAddr),
    /// Cookie of the client's network namespace.
    Namespace(u64),
}

/// `None`: impossible bits, or not the sizes of this map.
pub fn affinity(key: &[u8], value: &[u8]) -> Option<Affinity> {
    let (client, rest) = match key.len() {
        16 => key.split_at(8),
        24 => key.split_at(16),
        _ => return None,
    };
    let client = match rest[2] {
        0 if client.len() == 8 => Client::Address(any_address(&client[..4])?),
        0 => Client::Address(any_address(client)?),
        1 => Client::Namespace(host64(&client[..8])?),
        _ => return None,
    };
    let (last_used, backend_id) = (host64(value.get(..8)?)?, host32(value.get(8..12)?)?);
    (value.len() == 16).then_some(Affinity { client, service_id: net16(&rest[..2])?, backend_id, last_used })
}

/// Id of a backend and of the service that a client may stay with it for. `None`: not the size of this map.
pub fn affinity_match(key: &[u8]) -> Option<(u32, u16)> {
    let key: &[u8; 8] = key.try_into().ok()?;
    Some((host32(&key[..4])?, net16(&key[4..6])?))
}

/// A socket that was connected to a backend in place of a frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    pub cookie: u64,
    pub backend: SocketAddr,
    pub frontend: SocketAddr,
    pub service_id: u16,
}

/// `None`: not the sizes of this map.
pub fn reverse_sk(key: &[u8], value: &[u8]) -> Option<Socket> {
    let width = match (key.len(), value.len()) {
        (16, 8) => 4,
        (32, 20) => 16,
        _ => return None,
    };
    let at =
        |bytes: &[u8]| Some(SocketAddr::new(any_address(&bytes[..width])?, net16(&bytes[width..width + 2])?));
    Some(Socket {
        cookie: host64(&key[..8])?,
        backend: at(&key[8..])?,
        frontend: at(value)?,
        service_id: net16(&value[width + 2..width + 4])?,
    })
}

/// Cookie of a socket and the backend whose health it checks. `None`: not the sizes of this map.
pub fn health(key: &[u8], value: &[u8]) -> Option<(u64, Backend)> {
    Some((host64(key)?, backend_value(value)?))
}

/// Cookie of a network namespace and the frontend that is not balanced for it. `None`: not the size of this
/// map.
pub fn skip(key: &[u8]) -> Option<(u64, SocketAddr)> {
    let (address, port) = match key.len() {
        16 => (&key[8..12], &key[12..14]),
        32 => (&key[8..24], &key[28..30]),
        _ => return None,
    };
    Some((host64(&key[..8])?, SocketAddr::new(any_address(address)?, net16(port)?)))
}

fn any_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

fn host32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

fn host64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_ne_bytes)
}

/// Ids of services are in network order.
fn net16(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests;
