//! What the maps hold when the node starts: the cast's endpoints, ipcache, policies, a handful of services,
//! and some connections of the past of every kind.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use super::cast::*;
use super::catalogue::{MAGLEV_TABLE, policy_pin};
use super::encode::*;
use super::generation::Facts;
use super::kernel::bpf::{Map, possible_cpus};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;

pub type Maps = BTreeMap<String, Map>;

/// The maps while they are filled.
pub struct Filler<'a> {
    pub maps: &'a Maps,
    pub facts: Facts,
    /// CLOCK_MONOTONIC, seconds.
    pub now: u32,
}

impl Filler<'_> {
    /// Writes one entry; maps that this generation does not have are skipped by the caller.
    fn put(&self, pin: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        let map = self.maps.get(pin).ok_or_else(|| io::Error::other(format!("no map `{pin}`")))?;
        map.update(key, value).map_err(|error| io::Error::other(format!("map `{pin}`: {error}")))
    }

    fn has(&self, pin: &str) -> bool {
        self.maps.contains_key(pin)
    }

    /// Everything.
    pub fn fill(&self) -> io::Result<()> {
        self.endpoints()?;
        self.ipcache()?;
        self.policies()?;
        self.nodes()?;
        self.services()?;
        self.past_connections()?;
        self.nat()?;
        self.rest()
    }

    fn endpoints(&self) -> io::Result<()> {
        for pod in PODS {
            let value = endpoint_value(pod.ifindex, pod.endpoint, pod.mac, pod.node_mac, pod.identity);
            self.put("cilium_lxc", &endpoint_key(pod.ipv4.into()), &value)?;
            self.put("cilium_lxc", &endpoint_key(pod.ipv6.into()), &value)?;
        }
        for ip in host_addresses() {
            self.put("cilium_lxc", &endpoint_key(ip), &endpoint_host_value())?;
        }
        Ok(())
    }

    fn ipcache_entry(
        &self,
        ip: IpAddr,
        prefix: u8,
        identity: u32,
        tunnel: Option<Ipv4Addr>,
        skip: bool,
    ) -> io::Result<()> {
        let value =
            ipcache_value(self.facts.ipcache_value, identity, tunnel, skip && self.facts.metrics_place);
        self.put(self.facts.ipcache_pin, &ipcache_key(ip, prefix), &value)
    }

    fn ipcache_host(&self, ip: IpAddr, identity: u32, tunnel: Option<Ipv4Addr>) -> io::Result<()> {
        self.ipcache_entry(ip, if ip.is_ipv4() { 32 } else { 128 }, identity, tunnel, false)
    }

    fn ipcache(&self) -> io::Result<()> {
        for pod in PODS {
            self.ipcache_host(pod.ipv4.into(), pod.identity, None)?;
            self.ipcache_host(pod.ipv6.into(), pod.identity, None)?;
        }
        for ip in host_addresses() {
            self.ipcache_host(ip, reserved::HOST, None)?;
        }
        let node = Some(PEER_IPV4);
        let remote: [(IpAddr, u32, Option<Ipv4Addr>); 9] = [
            (PEER_IPV4.into(), reserved::REMOTE_NODE, None),
            (PEER_IPV6.into(), reserved::REMOTE_NODE, None),
            (PEER_ROUTER_IPV4.into(), reserved::REMOTE_NODE, node),
            (PEER_ROUTER_IPV6.into(), reserved::REMOTE_NODE, node),
            (PEER_SERVER_IPV4.into(), SERVER.identity, node),
            (PEER_SERVER_IPV6.into(), SERVER.identity, node),
            (PEER_OTHER_IPV4.into(), PEER_OTHER_IDENTITY, node),
            (PEER_OTHER_IPV6.into(), PEER_OTHER_IDENTITY, node),
            (API_SERVER.into(), reserved::KUBE_APISERVER, None),
        ];
        for (ip, identity, tunnel) in remote {
            self.ipcache_host(ip, identity, tunnel)?;
        }
        self.ipcache_host(FQDN_IPV4.into(), FQDN_IDENTITY, None)?;
        self.ipcache_entry(DENIED_CIDR4.0.into(), DENIED_CIDR4.1, DENIED_IDENTITY4, None, true)?;
        self.ipcache_entry(DENIED_CIDR6.0.into(), DENIED_CIDR6.1, DENIED_IDENTITY6, None, true)?;
        if self.facts.split_world {
            self.ipcache_entry(Ipv4Addr::UNSPECIFIED.into(), 0, reserved::WORLD_IPV4, None, false)?;
            self.ipcache_entry(std::net::Ipv6Addr::UNSPECIFIED.into(), 0, reserved::WORLD_IPV6, None, false)?;
        }
        Ok(())
    }

    /// One policy entry of an endpoint.
    pub fn policy(&self, endpoint: u16, entry: &PolicyEntry) -> io::Result<()> {
        self.put(&policy_pin(&self.facts, endpoint), &entry.key(), &entry.value(self.facts.policy))
    }

    fn policies(&self) -> io::Result<()> {
        for (endpoint, entries) in initial_policies() {
            for entry in entries {
                self.policy(endpoint, &entry)?;
            }
        }
        Ok(())
    }

    fn nodes(&self) -> io::Result<()> {
        let ids: [(IpAddr, u16); 8] = [
            (NODE_IPV4.into(), LOCAL_NODE_ID),
            (NODE_IPV6.into(), LOCAL_NODE_ID),
            (ROUTER_IPV4.into(), LOCAL_NODE_ID),
            (ROUTER_IPV6.into(), LOCAL_NODE_ID),
            (PEER_IPV4.into(), PEER_NODE_ID),
            (PEER_IPV6.into(), PEER_NODE_ID),
            (PEER_ROUTER_IPV4.into(), PEER_NODE_ID),
            (PEER_ROUTER_IPV6.into(), PEER_NODE_ID),
        ];
        for (ip, id) in ids {
            self.put("cilium_node_map", &node_key(ip), &id.to_ne_bytes())?;
            if self.has("cilium_node_map_v2") {
                self.put("cilium_node_map_v2", &node_key(ip), &u32::from(id).to_ne_bytes())?;
            }
        }
        if self.has("cilium_tunnel_map") {
            self.put("cilium_tunnel_map", &tunnel_key(PEER_POD_CIDR4.0.into()), &tunnel_value(PEER_IPV4))?;
            self.put("cilium_tunnel_map", &tunnel_key(PEER_POD_CIDR6.0.into()), &tunnel_value(PEER_IPV4))?;
        }
        Ok(())
    }

    fn services(&self) -> io::Result<()> {
        for (id, backend) in backends() {
            let pin = if backend.0.is_ipv4() { "cilium_lb4_backends_v3" } else { "cilium_lb6_backends_v3" };
            let zone = if self.facts.lb_zone { 1 } else { 0 };
            let protocol = if self.facts.lb_protocol { backend.2 } else { 0 };
            self.put(
                pin,
                &id.to_ne_bytes(),
                &lb_backend(End(backend.0, backend.1), protocol, backend.3, zone),
            )?;
        }
        services().iter().try_for_each(|service| self.service(service))?;
        self.maglev()?;
        self.put("cilium_lb4_source_range", &source_range4_key(6, Ipv4Addr::new(192, 0, 2, 0), 24), &[0])?;
        self.put("cilium_lb_affinity_match", &affinity_match_key(1, 2), &[0])?;
        self.put(
            "cilium_lb4_affinity",
            &affinity4_key(CLIENT.ipv4, 2),
            &affinity_value(u64::from(self.now), 1),
        )?;
        let (key, value) = reverse_sk4(0x1001, (SERVER.ipv4, 8080), (Ipv4Addr::new(10, 96, 0, 20), 80), 2);
        self.put("cilium_lb4_reverse_sk", &key, &value)
    }

    fn service(&self, service: &Service) -> io::Result<()> {
        let family = if service.frontend.0.is_ipv4() { 4 } else { 6 };
        let pin = format!("cilium_lb{family}_services_v2");
        let protocol = if self.facts.lb_protocol { service.protocol } else { 0 };
        let frontend = lb_value(service.affinity, service.backends.len() as u16, service.id, service.flags);
        self.put(&pin, &lb_key(service.frontend, 0, protocol), &frontend)?;
        for (slot, backend) in (1..).zip(service.backends) {
            let value = lb_value(*backend, 0, service.id, service.flags & !lb_flag::AFFINITY);
            self.put(&pin, &lb_key(service.frontend, slot, protocol), &value)?;
        }
        let pin = format!("cilium_lb{family}_reverse_nat");
        self.put(&pin, &rev_nat_key(service.id), &rev_nat_value(service.frontend))
    }

    fn maglev(&self) -> io::Result<()> {
        for service in services().iter().filter(|service| !service.backends.is_empty()) {
            let family = if service.frontend.0.is_ipv4() { 4 } else { 6 };
            let inner = Map::create(super::catalogue::maglev_inner(), None)?;
            let slots = (0..MAGLEV_TABLE as usize)
                .flat_map(|i| service.backends[i % service.backends.len()].to_ne_bytes());
            inner.update(&0u32.to_ne_bytes(), &slots.collect::<Vec<u8>>())?;
            let fd = inner.raw_fd() as u32;
            self.put(&format!("cilium_lb{family}_maglev"), &rev_nat_key(service.id), &fd.to_ne_bytes())?;
        }
        Ok(())
    }

    fn past_connections(&self) -> io::Result<()> {
        for (kind, client, server, protocol, ct) in past(self.now) {
            let tcp = protocol == TCP && !matches!(kind, CtKind::RelatedIn | CtKind::RelatedOut);
            let family = if client.0.is_ipv4() { 4 } else { 6 };
            let pin = format!("cilium_ct{}{family}_global", if tcp { "" } else { "_any" });
            self.put(&pin, &ct_key(client, server, protocol, kind), &ct_value(self.facts.ct, &ct))?;
        }
        Ok(())
    }

    /// So many connections of client to port 443 of hosts in 198.18.0.0/15, each with its own address or port.
    pub fn connections(&self, pin: &str, count: u32) -> io::Result<()> {
        const PORTS: u32 = 28_000;
        let ct = Ct {
            rx: (10, 3100),
            tx: (12, 1240),
            flags: ct_flag::SEEN_NON_SYN,
            tx_flags: 0x1a,
            rx_flags: 0x12,
            source: CLIENT.identity,
            ..Ct::default()
        };
        for number in 0..count {
            let (host, port) = (0xc612_0000 + number / PORTS, 32_768 + (number % PORTS) as u16);
            let age = number % 600;
            let seen = self.now.saturating_sub(age);
            let ct = Ct { lifetime: self.now + 8000 - age, last_tx: seen, last_rx: seen, ..ct };
            let key = ct_key(end4(CLIENT.ipv4, port), end4(Ipv4Addr::from(host), 443), TCP, CtKind::Out);
            self.put(pin, &key, &ct_value(self.facts.ct, &ct))?;
        }
        Ok(())
    }

    fn nat(&self) -> io::Result<()> {
        let created = u64::from(self.now).saturating_sub(120);
        let pairs = [
            (end4(CLIENT.ipv4, 41000), end4(FAR_IPV4, 443), end4(NODE_IPV4, 61234), TCP),
            (end4(CLIENT.ipv4, 41002), end4(FAR_IPV4, 443), end4(NODE_IPV4, 41002), TCP),
            (end4(DNS.ipv4, 40053), end4(FAR_IPV4, 53), end4(NODE_IPV4, 50053), UDP),
            (end6(CLIENT.ipv6, 41000), end6(FAR_IPV6, 443), end6(NODE_IPV6, 61236), TCP),
            // A pair whose connection is gone: an orphan.
            (end4(SERVER.ipv4, 42000), end4(FAR_IPV4, 80), end4(NODE_IPV4, 62000), TCP),
        ];
        for (source, remote, translated, protocol) in pairs {
            let family = if source.0.is_ipv4() { 4 } else { 6 };
            let pin = format!("cilium_snat_v{family}_external");
            self.put(&pin, &nat_key(source, remote, protocol, false), &nat_value(translated, created))?;
            self.put(&pin, &nat_key(remote, translated, protocol, true), &nat_value(source, created))?;
        }
        if self.facts.snat_alloc_retries {
            let counts: Vec<u8> = (0..possible_cpus()).flat_map(|_| 5u64.to_ne_bytes()).collect();
            self.put("cilium_snat_v4_alloc_retries", &0u32.to_ne_bytes(), &counts)?;
        }
        Ok(())
    }

    fn rest(&self) -> io::Result<()> {
        for (net, prefix) in [(Ipv4Addr::new(10, 0, 0, 0), 8u32), (Ipv4Addr::new(169, 254, 0, 0), 16)] {
            let key = [prefix.to_ne_bytes(), net.octets()].concat();
            self.put("cilium_ipmasq_v4", &key, &[0])?;
        }
        let key = fragment4_key(CLIENT.ipv4, SERVER.ipv4, 77, UDP);
        self.put("cilium_ipv4_frag_datagrams", &key, &fragment_value(40100, 9))?;
        let expires = super::clock::unix_seconds() + 3600;
        let (key, value) = auth_entry(SERVER.identity, PEER_OTHER_IDENTITY, PEER_NODE_ID, 1, expires);
        self.put("cilium_auth_map", &key, &value)?;
        let offset = super::clock::boot_offset_512ns();
        self.put("cilium_runtime_config", &0u32.to_ne_bytes(), &offset.to_ne_bytes())
    }
}

pub const LOCAL_NODE_ID: u16 = 1;
pub const PEER_NODE_ID: u16 = 4468;

/// Addresses of the node itself.
pub fn host_addresses() -> [IpAddr; 4] {
    [NODE_IPV4.into(), NODE_IPV6.into(), ROUTER_IPV4.into(), ROUTER_IPV6.into()]
}

/// The policies of the cast, as the agent would have computed them.
pub fn initial_policies() -> Vec<(u16, Vec<PolicyEntry>)> {
    let both = || vec![PolicyEntry::allow_all(false), PolicyEntry::allow_all(true)];
    let deny =
        |identity| PolicyEntry { cookie: 2, ..PolicyEntry::allow(identity, UDP, 53).to_egress().denied() };
    vec![
        (CLIENT.endpoint, [both(), vec![deny(DENIED_IDENTITY4), deny(DENIED_IDENTITY6)]].concat()),
        (
            SERVER.endpoint,
            vec![
                PolicyEntry::allow_all(true),
                PolicyEntry::allow(reserved::HOST, 0, 0),
                PolicyEntry { cookie: 1, ..PolicyEntry::allow(CLIENT.identity, TCP, ALLOWED_PORT) },
            ],
        ),
        (DNS.endpoint, both()),
        (HEALTH.endpoint, both()),
        (HOST_ENDPOINT, both()),
    ]
}

/// A load-balanced frontend.
struct Service {
    id: u16,
    frontend: End,
    protocol: u8,
    flags: u8,
    /// Seconds, with [`lb_flag::AFFINITY`].
    affinity: u32,
    backends: &'static [u32],
}

/// (id, (address, port, protocol, state)).
fn backends() -> [(u32, (IpAddr, u16, u8, u8)); 6] {
    [
        (1, (SERVER.ipv4.into(), 8080, TCP, 0)),
        (2, (PEER_SERVER_IPV4.into(), 8080, TCP, 0)),
        (3, (DNS.ipv4.into(), 53, UDP, 0)),
        (4, (SERVER.ipv6.into(), 8080, TCP, 0)),
        (5, (PEER_SERVER_IPV6.into(), 8080, TCP, 0)),
        (6, (PEER_OTHER_IPV4.into(), 8080, TCP, 1)),
    ]
}

fn services() -> Vec<Service> {
    use lb_flag::{AFFINITY, LOADBALANCER, NODEPORT, ROUTABLE, SOURCE_RANGE};
    let service = |id, frontend, protocol, flags, affinity, backends| Service {
        id,
        frontend,
        protocol,
        flags,
        affinity,
        backends,
    };
    vec![
        service(1, end4(Ipv4Addr::new(10, 96, 0, 10), 53), UDP, 0, 0, &[3]),
        service(2, end4(Ipv4Addr::new(10, 96, 0, 20), 80), TCP, AFFINITY, 10800, &[1, 2]),
        // Without backends.
        service(3, end4(Ipv4Addr::new(10, 96, 0, 30), 80), TCP, 0, 0, &[]),
        service(4, end4(NODE_IPV4, 30080), TCP, NODEPORT | ROUTABLE, 0, &[1, 2]),
        service(5, end4(Ipv4Addr::UNSPECIFIED, 30080), TCP, NODEPORT, 0, &[1, 2]),
        service(
            6,
            end4(Ipv4Addr::new(192, 0, 2, 200), 80),
            TCP,
            LOADBALANCER | ROUTABLE | SOURCE_RANGE,
            0,
            &[1, 2],
        ),
        service(7, end6(std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0xb, 0x20), 80), TCP, 0, 0, &[4, 5]),
    ]
}

/// Connections that were there before we came: all kinds, both families, open, closing and expired.
fn past(now: u32) -> Vec<(CtKind, End, End, u8, Ct)> {
    let base = Ct { source: CLIENT.identity, ..Ct::default() };
    let open = Ct {
        rx: (10, 3100),
        tx: (12, 1240),
        lifetime: now + 7900,
        flags: ct_flag::SEEN_NON_SYN,
        tx_flags: 0x02,
        rx_flags: 0x12,
        last_tx: now.saturating_sub(100),
        last_rx: now.saturating_sub(101),
        ..base
    };
    let closing = Ct {
        lifetime: now + 5,
        flags: ct_flag::SEEN_NON_SYN | ct_flag::RX_CLOSING | ct_flag::TX_CLOSING,
        tx_flags: 0x1b,
        rx_flags: 0x1b,
        ..open
    };
    let expired = Ct { lifetime: now.saturating_sub(30), ..base };
    let short = Ct { lifetime: now + 55, tx: (1, 74), ..base };
    // What an entry made on arrival counts first it has received; a service's entry counts what it sends on.
    let received = Ct { lifetime: now + 55, rx: (1, 74), ..base };
    let forwarded = Ct { rx: (0, 0), ..open };
    let client = end4(CLIENT.ipv4, 40000);
    let vip = end4(Ipv4Addr::new(10, 96, 0, 20), 80);
    let server = end4(SERVER.ipv4, 8080);
    let client6 = end6(CLIENT.ipv6, 40006);
    let server6 = end6(SERVER.ipv6, 8080);
    vec![
        (CtKind::Service, client, vip, TCP, Ct { backend: 1, rev_nat: 2, source: 0, ..forwarded }),
        (CtKind::Out, client, server, TCP, Ct { rev_nat: 2, ..open }),
        (CtKind::In, client, server, TCP, open),
        (CtKind::RelatedOut, client, server, TCP, short),
        (CtKind::RelatedIn, client, server, TCP, received),
        (CtKind::Out, end4(CLIENT.ipv4, 40001), end4(FAR_IPV4, 443), TCP, closing),
        (CtKind::Out, end4(CLIENT.ipv4, 40002), end4(FAR_IPV4, 443), TCP, expired),
        (CtKind::Out, end4(CLIENT.ipv4, 41000), end4(FAR_IPV4, 443), TCP, open),
        (CtKind::Out, end4(CLIENT.ipv4, 41002), end4(FAR_IPV4, 443), TCP, open),
        (CtKind::Out, end4(DNS.ipv4, 40053), end4(FAR_IPV4, 53), UDP, Ct { source: DNS.identity, ..short }),
        (CtKind::Out, end4(CLIENT.ipv4, 40010), end4(DNS.ipv4, 53), UDP, short),
        (CtKind::In, end4(CLIENT.ipv4, 40010), end4(DNS.ipv4, 53), UDP, received),
        (CtKind::Out, end4(CLIENT.ipv4, 0x1234), end4(DNS.ipv4, 0), ICMP, short),
        (CtKind::In, client6, server6, TCP, open),
        (CtKind::Out, client6, server6, TCP, open),
        (CtKind::RelatedOut, client6, server6, TCP, short),
    ]
}
