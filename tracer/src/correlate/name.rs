//! A joined drop and the node's names → [`Flow`]. The rules are those of Cilium's own parser, so that an
//! event reads here as it would there; what is looked up after the fact or worked out is marked as inferred.

mod notice;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tracer_common::event::{EventHeader, flag, kind};
use tracer_common::id::{EndpointId, Identity, IfIndex};

use super::cache::Cache;
use super::facts::{Facts, Place};
use super::join::Joined;
use super::record::Record;
use crate::model::endpoint::{DnsNames, IdentitySource, LocalEndpoint, Peer};
use crate::model::flow::{CiliumDrop, Direction, Flow, Inferred, InferredSet, Interface, Source, Verdict};
use crate::model::names::{KernelNames, Names, SourceFiles};
use crate::model::packet::{Ip, Packet, TunnelKind};
use crate::model::reason::{DropReason, KernelDrop, SourcePlace};
use crate::model::time::{BootTime, WallTime};
use crate::packet::decode::{Encapsulation, Frame, TunnelPorts, decode};
use crate::packet::start::start_of;

/// `ENCAP_PROHIBITED`: a pod sent to the tunnel port, so that the outer packet is the flow.
const ENCAP_PROHIBITED: u8 = 170;
/// Captured bytes of many events share one piece of memory of this size.
const ARENA: usize = 64 * 1024;

/// Everybody who is asked for names.
pub struct Knowledge<'a> {
    pub names: &'a mut dyn Names,
    pub kernel: &'a mut dyn KernelNames,
    pub files: &'a mut dyn SourceFiles,
}

/// Makes flows. Keeps what costs an allocation to make and comes again and again.
#[derive(Debug, Default)]
pub struct Namer {
    pub settings: Settings,
    reasons: Cache<u32>,
    symbols: Cache<u64>,
    interfaces: Cache<u128>,
    arena: BytesMut,
}

/// What the names depend on beside the node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// What to add to boot time to get wall-clock time, in nanoseconds.
    pub wall_offset_ns: i64,
    pub tunnel_ports: TunnelPorts,
    /// Inode of the node's own network namespace, where interface numbers mean something; 0: not known.
    pub host_netns: u32,
    /// Look up who is at the ends of kernel drops that do not concern Cilium, too. They are many, and a
    /// look-up may cost a system call.
    pub name_elsewhere: bool,
}

/// Cilium of another node on this kernel dropped it.
fn is_other_nodes(joined: &Joined<'_>) -> bool {
    joined.free.is_some_and(|free| free.has(flag::FOREIGN_NOTE))
}

/// A named event.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    pub flow: Flow,
    /// Cilium dropped it, or a Cilium endpoint, an address of the node, or an interface of Cilium or of an
    /// endpoint is in it.
    pub concerns: bool,
}

impl Namer {
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Names one drop. `None` only for a [`Joined`] without any record.
    pub fn flow(&mut self, joined: &Joined<'_>, know: &mut Knowledge<'_>) -> Option<Named> {
        let first = joined.message.map(|message| message.record).or(joined.free)?;
        let header = first.header;
        let facts = Facts::of(joined);
        let mut inferred = InferredSet::default();
        let captured = best_capture(joined).unwrap_or(first);
        let packet = self.packet(&captured, facts.as_ref(), &mut inferred);
        let interface = self.interface(header, facts.as_ref());
        let ends = Ends::of(packet.ip.as_ref(), know.names);
        let concerns = facts.is_some()
            || !is_other_nodes(joined)
                && (ends.are_local() || self.is_ours(&packet, header.netns, &interface, know.names));
        let look_up = concerns || self.settings.name_elsewhere;
        let (src, dst) = ends.peers(facts.as_ref(), look_up, know.names);
        let direction = direction(facts.as_ref(), packet.ip.is_some(), src.endpoint_id(), dst.endpoint_id());
        if direction.worked_out {
            inferred.insert(Inferred::Direction);
        }
        mark_peers(&src, &dst, &mut inferred);
        let flow = Flow {
            time: WallTime((header.time_ns as i64).wrapping_add(self.settings.wall_offset_ns)),
            boot_time: BootTime(header.time_ns),
            verdict: Verdict::Dropped,
            source: facts.map_or(Source::Kernel, |facts| facts.source),
            direction: direction.value,
            cilium: facts.map(|facts| cilium_drop(&facts, know.files, &mut inferred)),
            notice: None,
            kernel: joined.free.as_ref().map(|free| self.kernel_drop(free, know.kernel)),
            packet,
            src,
            dst,
            interface,
            netns: header.netns,
            mark: header.mark,
            cpu: header.cpu,
            skb: skb_of(joined),
            hash: facts.map(|facts| facts.hash).filter(|hash| *hash != 0).unwrap_or(header.hash),
            inferred,
            similar: header.similar,
            bytes: self.keep(captured.packet),
        };
        Some(Named { flow, concerns })
    }

    /// Whether the node or an interface of Cilium is in it.
    fn is_ours(
        &self,
        packet: &Packet,
        netns: u32,
        interface: &Option<Interface>,
        names: &mut dyn Names,
    ) -> bool {
        let outer = packet.tunnel.map(|tunnel| tunnel.outer);
        let mut addresses =
            [packet.ip, outer].into_iter().flatten().flat_map(|ip| [ip.source, ip.destination]);
        if addresses.any(|ip| names.is_node_ip(ip)) {
            return true;
        }
        let home = self.settings.host_netns;
        let interface = interface.as_ref().filter(|_| netns == 0 || home == 0 || netns == home);
        interface.is_some_and(|interface| names.concerns_interface(interface.index.0, &interface.name))
    }

    fn packet(&self, record: &Record<'_>, facts: Option<&Facts>, inferred: &mut InferredSet) -> Packet {
        let header = record.header;
        let start = start_of(header, facts.and_then(|facts| facts.flags), record.packet);
        if start.guessed {
            inferred.insert(Inferred::PacketStart);
        }
        decode(&Frame {
            bytes: record.packet,
            first: start.first,
            protocol: u16::from_be(header.protocol),
            vlan_tci: record.has(flag::HAS_VLAN).then_some(header.vlan_tci),
            length: header.packet_len,
            encapsulation: self.encapsulation(facts),
        })
    }

    fn encapsulation(&self, facts: Option<&Facts>) -> Encapsulation {
        match facts {
            Some(facts) if facts.reason == ENCAP_PROHIBITED => Encapsulation::None,
            Some(Facts { flags: Some(flags), .. }) if flags.is_vxlan() => {
                Encapsulation::Known(TunnelKind::Vxlan)
            }
            Some(Facts { flags: Some(flags), .. }) if flags.is_geneve() => {
                Encapsulation::Known(TunnelKind::Geneve)
            }
            _ => Encapsulation::ByPort(self.settings.tunnel_ports),
        }
    }

    fn kernel_drop(&mut self, free: &Record<'_>, kernel: &mut dyn KernelNames) -> KernelDrop {
        let (reason, location) = (free.reason(), free.header.location);
        let reason_name = reason.and_then(|n| self.reasons.get_or(n, || kernel.drop_reason(n)));
        let symbol = match location {
            0 => None,
            address => self.symbols.get_or(address, || kernel.symbol(address)),
        };
        KernelDrop { reason, reason_name, location, symbol }
    }

    /// The device that Cilium's program ran on, else that of the packet. The name is the packet's.
    fn interface(&mut self, header: &EventHeader, facts: Option<&Facts>) -> Option<Interface> {
        let told = facts.map_or(0, |facts| facts.ifindex);
        let known = header.flags & flag::HAS_DEV != 0;
        let same = known && (told == 0 || told == header.ifindex);
        match (same, told) {
            (true, _) => {
                let index = IfIndex(header.ifindex);
                Some(Interface { index, name: self.interface_name(&header.ifname)? })
            }
            (false, 0) => None,
            (false, told) => Some(Interface { index: IfIndex(told), name: Arc::default() }),
        }
    }

    fn interface_name(&mut self, raw: &[u8; 16]) -> Option<Arc<str>> {
        let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
        let make = || Some(Arc::from(&*String::from_utf8_lossy(&raw[..end])));
        self.interfaces.get_or(u128::from_ne_bytes(*raw), make)
    }

    /// The ring wants its memory back, so the bytes are copied; one allocation serves hundreds of events.
    fn keep(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.is_empty() {
            return Bytes::new();
        }
        if self.arena.capacity() < bytes.len() {
            self.arena.reserve(ARENA.max(bytes.len()));
        }
        self.arena.extend_from_slice(bytes);
        self.arena.split().freeze()
    }
}

/// The record whose packet is shown: the message's is as Cilium's program saw it.
fn best_capture<'a>(joined: &Joined<'a>) -> Option<Record<'a>> {
    let records = [joined.message.map(|message| message.record), joined.free];
    records.into_iter().flatten().find(|record| !record.packet.is_empty())
}

/// Address of the `sk_buff`; 0 for a packet that never had one.
fn skb_of(joined: &Joined<'_>) -> u64 {
    let message = joined.message.map(|message| message.record.header);
    let message = message.filter(|header| header.kind != kind::XDP_MESSAGE);
    joined.free.map(|free| free.header).or(message).map_or(0, |header| header.skb)
}

fn cilium_drop(facts: &Facts, files: &mut dyn SourceFiles, inferred: &mut InferredSet) -> CiliumDrop {
    if facts.source == Source::Note {
        inferred.insert(Inferred::NoteReason);
    }
    CiliumDrop {
        reason: DropReason(facts.reason),
        ext_error: facts.ext_error,
        place: facts.place.map(|place| source_place(place, files, inferred)),
        emitter: facts.emitter.unwrap_or_default(),
        ip_trace_id: facts.ip_trace_id,
    }
}

fn source_place(place: Place, files: &mut dyn SourceFiles, inferred: &mut InferredSet) -> SourcePlace {
    let file = files.source_file(place.file_id, place.sent_as);
    if file.is_some_and(|file| !file.certain) {
        inferred.insert(Inferred::FileName);
    }
    SourcePlace { file_id: place.file_id, file: file.map(|file| file.name), line: place.line }
}

/// The two addresses and the endpoints that own them.
struct Ends {
    addresses: Option<(IpAddr, IpAddr)>,
    src: Option<Arc<LocalEndpoint>>,
    dst: Option<Arc<LocalEndpoint>>,
}

impl Ends {
    fn of(ip: Option<&Ip>, names: &mut dyn Names) -> Self {
        let src = ip.and_then(|ip| names.endpoint_by_ip(ip.source));
        let dst = ip.and_then(|ip| names.endpoint_by_ip(ip.destination));
        Self { addresses: ip.map(|ip| (ip.source, ip.destination)), src, dst }
    }

    fn are_local(&self) -> bool {
        self.src.is_some() || self.dst.is_some()
    }

    fn peers(self, facts: Option<&Facts>, look_up: bool, names: &mut dyn Names) -> (Peer, Peer) {
        let told = facts.map_or((Identity(0), Identity(0)), |f| (f.source_identity, f.destination_identity));
        let addresses = self.addresses.filter(|_| look_up);
        let mut src = peer(self.src, addresses.map(|a| a.0), told.0, names);
        let mut dst = peer(self.dst, addresses.map(|a| a.1), told.1, names);
        if let Some((source, destination)) = addresses {
            // A name counts for the end that asked for it.
            if let Some(asker) = &dst.endpoint {
                src.dns_names = names.dns_names(asker.id, source);
            }
            if let Some(asker) = &src.endpoint {
                dst.dns_names = names.dns_names(asker.id, destination);
            }
        }
        (src, dst)
    }
}

/// One end. `told` is the identity that the datapath used, 0 if it did not say.
fn peer(
    endpoint: Option<Arc<LocalEndpoint>>,
    ip: Option<IpAddr>,
    told: Identity,
    names: &mut dyn Names,
) -> Peer {
    let own = endpoint.as_ref().map(|endpoint| endpoint.identity).filter(|own| own.0 != 0);
    let (identity, identity_source) = match (told, own) {
        (Identity(1..), _) => (Some(told), IdentitySource::Datapath),
        (_, Some(own)) => (Some(own), IdentitySource::Endpoint),
        _ => match ip.and_then(|ip| names.identity_of(ip)) {
            Some((identity, source)) => (Some(identity), source),
            None => (None, IdentitySource::None),
        },
    };
    // The pod's own labels, even if the datapath took it for another identity (traffic through a proxy).
    let labels = match &endpoint {
        Some(endpoint) if !endpoint.labels.0.is_empty() => Some(Arc::clone(&endpoint.labels)),
        _ => identity.and_then(|identity| names.labels(identity)),
    };
    Peer { endpoint, identity, identity_source, labels, dns_names: DnsNames::default() }
}

fn mark_peers(src: &Peer, dst: &Peer, inferred: &mut InferredSet) {
    let looked_up =
        |peer: &Peer| !matches!(peer.identity_source, IdentitySource::None | IdentitySource::Datapath);
    if looked_up(src) {
        inferred.insert(Inferred::SourceIdentity);
    }
    if looked_up(dst) {
        inferred.insert(Inferred::DestinationIdentity);
    }
    if [src, dst].into_iter().filter_map(|peer| peer.endpoint.as_ref()).any(|endpoint| endpoint.stale_names) {
        inferred.insert(Inferred::StaleNames);
    }
}

/// A direction, and whether it was worked out rather than told.
#[derive(Debug, PartialEq, Eq)]
struct Way {
    value: Direction,
    worked_out: bool,
}

/// `src` and `dst` are the local endpoints of the two addresses, 0 for none.
fn direction(facts: Option<&Facts>, is_ip: bool, src: EndpointId, dst: EndpointId) -> Way {
    let told = |value| Way { value, worked_out: false };
    let worked_out = |value| Way { value, worked_out: true };
    match facts {
        Some(Facts { emitter: Some(emitter), .. }) => told(by_emitter(*emitter, is_ip, src)),
        Some(facts) if facts.destination_endpoint.0 != 0 => told(Direction::Ingress),
        Some(_) if src.0 != 0 => worked_out(Direction::Egress),
        Some(_) => told(Direction::Unknown),
        None => match (src.0, dst.0) {
            (1.., 0) => worked_out(Direction::Egress),
            (0, 1..) => worked_out(Direction::Ingress),
            _ => told(Direction::Unknown),
        },
    }
}

/// By whose program sent the message: that of the source's endpoint sees the packet on its way out.
fn by_emitter(emitter: EndpointId, is_ip: bool, src: EndpointId) -> Direction {
    match emitter {
        EndpointId(0) => Direction::Unknown,
        _ if !is_ip => Direction::Unknown,
        emitter if emitter == src => Direction::Egress,
        _ => Direction::Ingress,
    }
}

#[cfg(test)]
mod tests;
