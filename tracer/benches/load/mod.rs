//! Ring records made by hand and a node that knows both ends of them: the load of the benchmarks, and of the test that
//! counts allocations. Addresses, labels and lengths are those of an ordinary node.
#![allow(dead_code, reason = "each program that includes this takes what it needs")]

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use tracer::cilium::release::ReleaseRange;
use tracer::cilium::trusted::TrustedMap;
use tracer::correlate::join::Join;
use tracer::correlate::name::{Knowledge, Named, Namer, Settings};
use tracer::correlate::noise;
use tracer::correlate::record::Record;
use tracer::filter::FilterSet;
use tracer::model::endpoint::{DnsNames, IdentitySource, Labels, LocalEndpoint};
use tracer::model::names::{KernelNames, Names, SourceFile, SourceFiles};
use tracer::output::options::{Format, OutputOptions};
use tracer::output::{Node, Printer};
use tracer_common::cilium::notify::DropGeneration;
use tracer_common::event::{ARPHRD_ETHER, EventHeader, flag, kind, start};
use tracer_common::id::{EndpointId, Identity};
use zerocopy::{FromBytes, IntoBytes};

const CLIENT: &str = "10.244.1.10";
const SERVER: &str = "10.244.1.20";
/// A host outside whose DNS name the client has asked for.
const OUTSIDE: &str = "198.51.100.80";

/// A record, aligned as in the ring.
#[derive(Clone)]
pub struct Aligned {
    words: Vec<u64>,
    length: usize,
}

impl Aligned {
    fn new(bytes: &[u8]) -> Self {
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        Self { words, length: bytes.len() }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.words.as_bytes()[..self.length]
    }

    /// Sets when it happened.
    pub fn set_time(&mut self, nanoseconds: u64) {
        EventHeader::mut_from_prefix(self.words.as_mut_bytes()).unwrap().0.time_ns = nanoseconds;
    }
}

/// Ethernet, IPv4, TCP SYN without options: 54 bytes.
fn syn(source: &str, destination: &str, ports: (u16, u16)) -> Vec<u8> {
    let octets = |ip: &str| ip.parse::<std::net::Ipv4Addr>().unwrap().octets();
    let mut packet = vec![0x0a, 0x58, 0x0a, 0xf4, 1, 20, 0x0a, 0x58, 0x0a, 0xf4, 1, 10, 8, 0];
    packet.extend([0x45, 0, 0, 40, 0x12, 0x34, 0x40, 0, 63, 6, 0, 0]);
    packet.extend(octets(source));
    packet.extend(octets(destination));
    packet.extend(ports.0.to_be_bytes());
    packet.extend(ports.1.to_be_bytes());
    packet.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xfa, 0xf0, 0, 0, 0, 0]);
    packet
}

/// The record of a freed packet with Cilium's note (policy denied, bpf_lxc.c line 2101).
fn denied(packet: &[u8], identities: (u32, u32), endpoint: u32) -> Aligned {
    let mut header = EventHeader {
        time_ns: 5_660_523_066_524,
        skb: 0xffff_8881_060d_6ee0,
        location: 0xffff_ffff_81e6_4b01,
        reason: 73,
        packet_len: packet.len() as u32,
        ifindex: 21,
        iif: 21,
        netns: 4_026_532_247,
        hash: 0x6d89_04df,
        note: [identities.0, identities.1, 133, endpoint, 2101 << 16 | 2 << 8 | 2],
        cpu: 1,
        captured: packet.len() as u16,
        flags: flag::HAS_REASON | flag::HAS_NOTE | flag::HAS_DEV,
        protocol: 0x0800u16.to_be(),
        dev_type: ARPHRD_ETHER,
        kind: kind::FREE,
        start: start::MAC,
        ..EventHeader::default()
    };
    header.ifname[..15].copy_from_slice(b"lxcc11e27a1b2c3");
    Aligned::new(&[header.as_bytes(), packet].concat())
}

/// A pod to a pod, dropped on its way in.
pub fn pod_to_pod() -> Aligned {
    denied(&syn(CLIENT, SERVER, (43210, 9090)), (12345, 23456), 1002)
}

/// A pod to a host outside, dropped on its way out.
pub fn pod_to_world() -> Aligned {
    denied(&syn(CLIENT, OUTSIDE, (43210, 443)), (12345, 16_777_219), 0)
}

/// What the node knows.
pub struct World {
    endpoints: TrustedMap<IpAddr, Arc<LocalEndpoint>>,
    labels: TrustedMap<Identity, Arc<Labels>>,
    names: DnsNames,
    outside: IpAddr,
}

fn pod(name: &str, id: u16, identity: u32, ip: &str) -> (IpAddr, Arc<LocalEndpoint>) {
    let ip: IpAddr = ip.parse().unwrap();
    let labels = [
        format!("k8s:app={name}"),
        "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=default".to_owned(),
        "k8s:io.cilium.k8s.policy.cluster=default".to_owned(),
        format!("k8s:io.cilium.k8s.policy.serviceaccount={name}"),
        "k8s:io.kubernetes.pod.namespace=default".to_owned(),
        "k8s:tier=backend".to_owned(),
    ];
    let endpoint = LocalEndpoint {
        id: EndpointId(id),
        identity: Identity(identity),
        labels: Arc::new(Labels::new(labels)),
        namespace: "default".into(),
        pod: name.into(),
        ifindex: 21,
        addresses: vec![ip],
        ..LocalEndpoint::default()
    };
    (ip, Arc::new(endpoint))
}

impl World {
    fn new() -> Self {
        let cidr = ["cidr:198.51.100.80/32", "fqdn:api.example.test", "reserved:world"].map(str::to_owned);
        Self {
            endpoints: [pod("client", 1001, 12345, CLIENT), pod("server", 1002, 23456, SERVER)]
                .into_iter()
                .collect(),
            labels: [(Identity(16_777_219), Arc::new(Labels::new(cidr)))].into_iter().collect(),
            names: ["api.example.test".into()].into(),
            outside: OUTSIDE.parse().unwrap(),
        }
    }
}

impl Names for World {
    fn endpoint_by_ip(&mut self, ip: IpAddr) -> Option<Arc<LocalEndpoint>> {
        self.endpoints.get(&ip).cloned()
    }

    fn endpoint_by_id(&mut self, _: EndpointId) -> Option<Arc<LocalEndpoint>> {
        None
    }

    fn identity_of(&mut self, _: IpAddr) -> Option<(Identity, IdentitySource)> {
        None
    }

    fn labels(&mut self, identity: Identity) -> Option<Arc<Labels>> {
        self.labels.get(&identity).cloned()
    }

    fn dns_names(&mut self, _: EndpointId, ip: IpAddr) -> DnsNames {
        if ip == self.outside { self.names.clone() } else { DnsNames::default() }
    }

    fn is_node_ip(&mut self, _: IpAddr) -> bool {
        false
    }

    fn concerns_interface(&mut self, _: u32, _: &str) -> bool {
        true
    }
}

struct Kernel;

impl KernelNames for Kernel {
    fn drop_reason(&mut self, _: u32) -> Option<Arc<str>> {
        Some("TC_INGRESS".into())
    }

    fn symbol(&mut self, _: u64) -> Option<Arc<str>> {
        Some("__netif_receive_skb_core.constprop.0+0x4a1".into())
    }
}

struct Files;

impl SourceFiles for Files {
    fn source_file(&mut self, _: u8, _: Option<DropGeneration>) -> Option<SourceFile> {
        Some(SourceFile { name: "bpf_lxc.c", certain: true })
    }
}

/// Everything between a record and the output's buffer, as `pipeline::chain` has it.
pub struct Chain<W> {
    join: Join,
    pub stage: Stage<W>,
}

/// The part behind the joining.
pub struct Stage<W> {
    namer: Namer,
    world: World,
    pub filter: FilterSet,
    pub printer: Printer<W>,
    pub shown: u64,
}

impl<W: Write> Chain<W> {
    pub fn new(sink: W, format: Format, filter: FilterSet) -> Self {
        let options = OutputOptions { format, names: true, ..OutputOptions::default() };
        let stage = Stage {
            namer: Namer::new(Settings { wall_offset_ns: 1_770_113_472_000_000_000, ..Settings::default() }),
            world: World::new(),
            filter,
            printer: Printer::new(sink, &options, Node::new("east", "node-a", ReleaseRange::ANY)),
            shown: 0,
        };
        Self { join: Join::default(), stage }
    }

    pub fn take(&mut self, record: &[u8]) {
        let record = Record::parse(record).expect("a record made by hand");
        self.join.push(record, |joined| {
            if let Some(named) = self.stage.name(&joined) {
                self.stage.show(&named);
            }
        });
    }

    /// A record as a named event.
    pub fn named(&mut self, record: &[u8]) -> Named {
        let mut named = None;
        let record = Record::parse(record).expect("a record made by hand");
        self.join.push(record, |joined| named = self.stage.name(&joined));
        named.expect("a free alone is an event")
    }
}

impl<W: Write> Stage<W> {
    fn name(&mut self, joined: &tracer::correlate::join::Joined<'_>) -> Option<Named> {
        let mut know = Knowledge { names: &mut self.world, kernel: &mut Kernel, files: &mut Files };
        self.namer.flow(joined, &mut know)
    }

    fn show(&mut self, named: &Named) {
        if self.filter.matches(&named.flow) && noise::classify(&named.flow, named.concerns).is_none() {
            self.printer.flow(&named.flow).expect("a sink that takes everything");
            self.shown += 1;
        }
    }
}
