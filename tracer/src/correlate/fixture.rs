//! Ring records made by hand, and a node that knows a few names: for the tests of this room.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tracer_common::cilium::notify::{CaptureHeader, DropGeneration, DropV1, DropV2, DropV3};
use tracer_common::event::{ARPHRD_ETHER, EventHeader, flag, kind, start};
use tracer_common::id::{EndpointId, Identity};
use zerocopy::{FromBytes, IntoBytes};

use super::name::Knowledge;
use crate::model::endpoint::{DnsNames, IdentitySource, Labels, LocalEndpoint};
use crate::model::names::{KernelNames, Names, SourceFile, SourceFiles};

/// Bytes at an address that is a multiple of 8, as the ring has them.
#[derive(Clone)]
pub struct Aligned {
    words: Vec<u64>,
    length: usize,
}

impl Aligned {
    pub fn new(bytes: &[u8]) -> Self {
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        Self { words, length: bytes.len() }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.words.as_bytes()[..self.length]
    }

    pub fn header(&mut self) -> &mut EventHeader {
        EventHeader::mut_from_prefix(self.words.as_mut_bytes()).unwrap().0
    }
}

fn record(mut header: EventHeader, meta: &[u8], packet: &[u8]) -> Aligned {
    (header.meta_len, header.captured) = (meta.len() as u16, packet.len() as u16);
    header.packet_len = packet.len() as u32;
    header.dev_type = ARPHRD_ETHER;
    Aligned::new(&[header.as_bytes(), meta, packet].concat())
}

/// A message of a tc program.
pub fn message(cpu: u32, skb: u64, meta: &[u8], packet: &[u8]) -> Aligned {
    let header = EventHeader { kind: kind::MESSAGE, start: start::DATA, cpu, skb, ..Default::default() };
    record(header, meta, packet)
}

/// A free without packet that belongs to a message.
pub fn free(cpu: u32, skb: u64) -> Aligned {
    let flags = flag::SAME_DROP;
    let header = EventHeader { kind: kind::FREE, start: start::MAC, cpu, skb, flags, ..Default::default() };
    record(header, &[], &[])
}

/// A free with a packet that belongs to no message.
pub fn lone_free(packet: &[u8]) -> Aligned {
    let header = EventHeader { kind: kind::FREE, start: start::MAC, skb: 0xabc, ..Default::default() };
    record(header, &[], packet)
}

/// "Policy denied" (133) at bpf_lxc.c (2) line 2101, as sent by 1.13 to 1.17.
pub fn drop_v1(emitter: u16, labels: (u32, u32), destination_id: u32) -> DropV1 {
    DropV1 {
        head: CaptureHeader {
            kind: 1,
            subtype: 133,
            source: emitter,
            version: 1,
            hash: 0x77,
            ..Default::default()
        },
        source_label: labels.0,
        destination_label: labels.1,
        destination_id,
        line: 2101,
        file: 2,
        ext_error: 0,
        ifindex: 27,
    }
}

/// The same as sent by 1.19.
pub fn drop_v3(mut base: DropV1, flags: u8, ip_trace_id: u64) -> DropV3 {
    base.head.version = 3;
    DropV3 { base: DropV2 { base, flags, pad: [0; 3] }, ip_trace_id }
}

/// The note that goes with [`drop_v1`].
pub fn note(labels: (u32, u32), destination_id: u32) -> [u32; 5] {
    [labels.0, labels.1, 133, destination_id, 2101 << 16 | 2 << 8 | 2]
}

pub const CLIENT: &str = "10.244.1.10";
pub const SERVER: &str = "10.244.1.20";
pub const REMOTE: &str = "10.244.9.9";
pub const WORLD: &str = "203.0.113.7";
pub const NODE: &str = "192.168.1.5";

/// Ethernet, IPv4, TCP SYN from port 40000 to 9090 (RFC 791, RFC 9293).
pub fn tcp(source: &str, destination: &str) -> Vec<u8> {
    let mut packet = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    packet.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    for address in [source, destination] {
        packet.extend(address.parse::<std::net::Ipv4Addr>().unwrap().octets());
    }
    packet.extend([0x9c, 0x40, 0x23, 0x82, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    packet
}

/// A node with pods default/client (endpoint 10, identity 12345) and default/server (20, 23456).
pub struct Node {
    pub endpoints: HashMap<IpAddr, Arc<LocalEndpoint>>,
    pub has_ipcache: bool,
    /// Times that a kernel name was asked for.
    pub kernel_asked: usize,
    pub certain_files: bool,
}

impl Default for Node {
    fn default() -> Self {
        let endpoint = |id, identity, pod: &str, ip: &str| {
            let labels = Arc::new(Labels::new([format!("k8s:app={pod}")]));
            let addresses = vec![ip.parse().unwrap()];
            let endpoint = LocalEndpoint {
                id: EndpointId(id),
                identity: Identity(identity),
                labels,
                namespace: "default".into(),
                pod: pod.into(),
                addresses: addresses.clone(),
                ..Default::default()
            };
            (addresses[0], Arc::new(endpoint))
        };
        let endpoints = [endpoint(10, 12345, "client", CLIENT), endpoint(20, 23456, "server", SERVER)];
        Self { endpoints: endpoints.into(), has_ipcache: true, kernel_asked: 0, certain_files: true }
    }
}

impl Node {
    pub fn edit(&mut self, ip: &str, edit: impl FnOnce(&mut LocalEndpoint)) {
        edit(Arc::make_mut(self.endpoints.get_mut(&ip.parse().unwrap()).unwrap()));
    }
}

impl Names for Node {
    fn endpoint_by_ip(&mut self, ip: IpAddr) -> Option<Arc<LocalEndpoint>> {
        self.endpoints.get(&ip).cloned()
    }

    fn endpoint_by_id(&mut self, id: EndpointId) -> Option<Arc<LocalEndpoint>> {
        self.endpoints.values().find(|endpoint| endpoint.id == id).cloned()
    }

    fn identity_of(&mut self, ip: IpAddr) -> Option<(Identity, IdentitySource)> {
        let found = if ip == REMOTE.parse::<IpAddr>().unwrap() {
            (Identity(34567), IdentitySource::Ipcache)
        } else {
            (Identity::WORLD, IdentitySource::World)
        };
        self.has_ipcache.then_some(found)
    }

    fn labels(&mut self, identity: Identity) -> Option<Arc<Labels>> {
        match identity {
            Identity::WORLD => Some(Arc::new(Labels::new(["reserved:world".to_owned()]))),
            Identity(34567) => Some(Arc::new(Labels::new(["k8s:app=dns".to_owned()]))),
            _ => None,
        }
    }

    fn dns_names(&mut self, asker: EndpointId, ip: IpAddr) -> DnsNames {
        if asker == EndpointId(10) && ip == WORLD.parse::<IpAddr>().unwrap() {
            ["example.org".into()].into()
        } else {
            DnsNames::default()
        }
    }

    fn is_node_ip(&mut self, ip: IpAddr) -> bool {
        ip == NODE.parse::<IpAddr>().unwrap()
    }

    fn concerns_interface(&mut self, ifindex: u32, name: &str) -> bool {
        ifindex == 27 || name.starts_with("lxc") || name.starts_with("cilium_")
    }
}

/// A kernel with two reasons and one symbol.
#[derive(Default)]
pub struct Kernel {
    pub asked: usize,
}

impl KernelNames for Kernel {
    fn drop_reason(&mut self, number: u32) -> Option<Arc<str>> {
        self.asked += 1;
        match number {
            3 => Some("NO_SOCKET".into()),
            60 => Some("TC_INGRESS".into()),
            _ => None,
        }
    }

    fn symbol(&mut self, address: u64) -> Option<Arc<str>> {
        self.asked += 1;
        (address == 0xffff_0010).then(|| "tcf_classify+0x10".into())
    }
}

/// File id 2 is bpf_lxc.c everywhere; 110 depends on the generation.
pub struct Files {
    pub certain: bool,
}

impl SourceFiles for Files {
    fn source_file(&mut self, id: u8, sent_as: Option<DropGeneration>) -> Option<SourceFile> {
        let name = match (id, sent_as) {
            (2, _) => "bpf_lxc.c",
            (110, Some(DropGeneration::V2)) => "local_delivery.h",
            (110, Some(DropGeneration::V3)) => "trace.h",
            _ => return None,
        };
        Some(SourceFile { name, certain: self.certain })
    }
}

/// Asks everybody about `ask`.
pub fn with_knowledge<T>(node: &mut Node, ask: impl FnOnce(&mut Knowledge<'_>) -> T) -> T {
    let (mut kernel, mut files) = (Kernel::default(), Files { certain: node.certain_files });
    let answer = ask(&mut Knowledge { names: node, kernel: &mut kernel, files: &mut files });
    let asked = kernel.asked;
    node.kernel_asked += asked;
    answer
}
