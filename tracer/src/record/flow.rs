//! A named event to bytes and back. Every structure is taken apart without a rest, so that a member that is added
//! to the model cannot be forgotten here.

use std::sync::Arc;

use bytes::Bytes;
use tracer_common::id::{EndpointId, Identity, IfIndex};

use super::bytes::{Put, Take};
use crate::cilium::file;
use crate::model::endpoint::{IdentitySource, Labels, LocalEndpoint, Peer, Workload};
use crate::model::flow::{CiliumDrop, Direction, Flow, InferredSet, Interface, Source, Verdict};
use crate::model::notice::{
    AuthType, MatchType, Notice, PolicyAction, PolicyVerdict, Trace, TracePoint, TraceReason,
};
use crate::model::packet::{Ethernet, First, Ip, Packet, TcpFlags, Transport, Tunnel, TunnelKind};
use crate::model::reason::{DropReason, KernelDrop, SourcePlace};
use crate::model::time::{BootTime, WallTime};

const DIRECTIONS: [Direction; 3] = [Direction::Unknown, Direction::Ingress, Direction::Egress];
const SOURCES: [Source; 3] = [Source::Message, Source::Note, Source::Kernel];
const IDENTITY_SOURCES: [IdentitySource; 5] = [
    IdentitySource::None,
    IdentitySource::Datapath,
    IdentitySource::Endpoint,
    IdentitySource::Ipcache,
    IdentitySource::World,
];
const FIRSTS: [First; 3] = [First::Unknown, First::Ethernet, First::Network];

fn put_one<T: PartialEq, const N: usize>(out: &mut Put<'_>, all: [T; N], value: T) {
    out.u8(all.iter().position(|other| *other == value).unwrap_or(0) as u8);
}

fn take_one<T: Copy, const N: usize>(from: &mut Take<'_>, all: [T; N]) -> Option<T> {
    all.get(usize::from(from.u8()?)).copied()
}

pub fn put(out: &mut Put<'_>, flow: &Flow) {
    let Flow {
        time,
        boot_time,
        verdict,
        source,
        direction,
        cilium,
        notice,
        kernel,
        packet,
        src,
        dst,
        interface,
        netns,
        mark,
        cpu,
        skb,
        hash,
        inferred,
        similar,
        bytes,
    } = flow;
    out.u64(time.0 as u64);
    out.u64(boot_time.0);
    put_one(out, Verdict::ALL, *verdict);
    put_one(out, SOURCES, *source);
    put_one(out, DIRECTIONS, *direction);
    out.option(cilium.as_ref(), put_cilium);
    out.option(kernel.as_ref(), put_kernel);
    put_packet(out, packet);
    put_peer(out, src);
    put_peer(out, dst);
    out.option(interface.as_ref(), |out, Interface { index, name }| {
        out.u32(index.0);
        out.text(name);
    });
    [*netns, *mark, *cpu, *hash, *similar].into_iter().for_each(|number| out.u32(number));
    out.u64(*skb);
    let bits = inferred.iter().fold(0u16, |bits, what| bits | 1 << what as u16);
    out.u16(bits);
    out.bytes(bytes);
    out.option(notice.as_ref(), put_notice);
}

pub fn take(from: &mut Take<'_>) -> Option<Flow> {
    let time = WallTime(from.u64()? as i64);
    let boot_time = BootTime(from.u64()?);
    let verdict = take_one(from, Verdict::ALL)?;
    let source = take_one(from, SOURCES)?;
    let direction = take_one(from, DIRECTIONS)?;
    let cilium = from.option(take_cilium)?;
    let kernel = from.option(take_kernel)?;
    let packet = take_packet(from)?;
    let (src, dst) = (take_peer(from)?, take_peer(from)?);
    let interface =
        from.option(|from| Some(Interface { index: IfIndex(from.u32()?), name: Arc::from(from.text()?) }))?;
    let [netns, mark, cpu, hash, similar] = [from.u32()?, from.u32()?, from.u32()?, from.u32()?, from.u32()?];
    let skb = from.u64()?;
    let bits = from.u16()?;
    let mut inferred = InferredSet::default();
    InferredSet::ALL
        .into_iter()
        .filter(|what| bits & 1 << *what as u16 != 0)
        .for_each(|w| inferred.insert(w));
    let bytes = Bytes::copy_from_slice(from.bytes()?);
    // The first form of recordings ended here.
    let notice = if from.0.is_empty() { None } else { from.option(take_notice)? };
    Some(Flow {
        time,
        boot_time,
        verdict,
        source,
        direction,
        cilium,
        notice,
        kernel,
        packet,
        src,
        dst,
        interface,
        netns,
        mark,
        cpu,
        skb,
        hash,
        inferred,
        similar,
        bytes,
    })
}

fn put_cilium(out: &mut Put<'_>, drop: &CiliumDrop) {
    let CiliumDrop { reason, ext_error, place, emitter, ip_trace_id } = drop;
    out.u8(reason.0);
    out.u8(*ext_error as u8);
    out.option(*place, |out, SourcePlace { file_id, file, line }| {
        out.u8(file_id);
        out.option(file, Put::text);
        out.u16(line);
    });
    out.u16(emitter.0);
    out.u64(*ip_trace_id);
}

fn take_cilium(from: &mut Take<'_>) -> Option<CiliumDrop> {
    let (reason, ext_error) = (DropReason(from.u8()?), from.u8()? as i8);
    let place = from.option(|from| {
        let file_id = from.u8()?;
        // A name that is not in the table is none of ours.
        let file = from.option(Take::text)?.and_then(file::known);
        Some(SourcePlace { file_id, file, line: from.u16()? })
    })?;
    Some(CiliumDrop { reason, ext_error, place, emitter: EndpointId(from.u16()?), ip_trace_id: from.u64()? })
}

fn put_notice(out: &mut Put<'_>, notice: &Notice) {
    match notice {
        Notice::Trace(trace) => {
            let Trace { point, reason, encrypted, proxy_port, source_xlated, emitter, ip_trace_id } = trace;
            out.u8(0);
            out.u8(point.0);
            out.u8(reason.0);
            out.bool(*encrypted);
            out.u16(*proxy_port);
            out.option(*source_xlated, Put::ip);
            out.u16(emitter.0);
            out.u64(*ip_trace_id);
        }
        Notice::Verdict(verdict) => {
            let PolicyVerdict { action, match_type, auth_type, emitter, cookie } = verdict;
            let (kind, number) = match *action {
                PolicyAction::Allowed => (0, 0),
                PolicyAction::Audited => (1, 0),
                PolicyAction::Denied(reason) => (2, reason.0.into()),
                PolicyAction::Redirected(port) => (3, port.into()),
                PolicyAction::Unknown(number) => (4, number.cast_unsigned()),
            };
            out.u8(1);
            out.u8(kind);
            out.u32(number);
            out.u8(match_type.0);
            out.u8(auth_type.0);
            out.u16(emitter.0);
            out.u32(*cookie);
        }
    }
}

fn take_notice(from: &mut Take<'_>) -> Option<Notice> {
    match from.u8()? {
        0 => Some(Notice::Trace(Trace {
            point: TracePoint(from.u8()?),
            reason: TraceReason(from.u8()?),
            encrypted: from.bool()?,
            proxy_port: from.u16()?,
            source_xlated: from.option(Take::ip)?,
            emitter: EndpointId(from.u16()?),
            ip_trace_id: from.u64()?,
        })),
        1 => Some(Notice::Verdict(PolicyVerdict {
            action: take_action(from)?,
            match_type: MatchType(from.u8()?),
            auth_type: AuthType(from.u8()?),
            emitter: EndpointId(from.u16()?),
            cookie: from.u32()?,
        })),
        _ => None,
    }
}

fn take_action(from: &mut Take<'_>) -> Option<PolicyAction> {
    let (kind, number) = (from.u8()?, from.u32()?);
    Some(match kind {
        0 => PolicyAction::Allowed,
        1 => PolicyAction::Audited,
        2 => PolicyAction::Denied(DropReason(u8::try_from(number).ok()?)),
        3 => PolicyAction::Redirected(u16::try_from(number).ok()?),
        4 => PolicyAction::Unknown(number.cast_signed()),
        _ => return None,
    })
}

fn put_kernel(out: &mut Put<'_>, drop: &KernelDrop) {
    let KernelDrop { reason, reason_name, location, symbol } = drop;
    out.option(*reason, Put::u32);
    out.option(reason_name.as_deref(), Put::text);
    out.u64(*location);
    out.option(symbol.as_deref(), Put::text);
}

fn take_kernel(from: &mut Take<'_>) -> Option<KernelDrop> {
    let name = |from: &mut Take<'_>| from.option(|from| from.text().map(Arc::from));
    Some(KernelDrop {
        reason: from.option(Take::u32)?,
        reason_name: name(from)?,
        location: from.u64()?,
        symbol: name(from)?,
    })
}

fn put_packet(out: &mut Put<'_>, packet: &Packet) {
    let Packet { first, ethernet, vlan, ip, tunnel, length, truncated } = packet;
    put_one(out, FIRSTS, *first);
    out.option(*ethernet, |out, Ethernet { source, destination, ethertype }| {
        out.0.extend_from_slice(&source);
        out.0.extend_from_slice(&destination);
        out.u16(ethertype);
    });
    out.option(*vlan, Put::u16);
    out.option(*ip, put_ip);
    out.option(*tunnel, |out, Tunnel { kind, vni, outer }| {
        out.bool(kind == TunnelKind::Geneve);
        out.u32(vni);
        put_ip(out, outer);
    });
    out.u32(*length);
    out.bool(*truncated);
}

fn take_packet(from: &mut Take<'_>) -> Option<Packet> {
    let first = take_one(from, FIRSTS)?;
    let ethernet = from.option(|from| {
        Some(Ethernet { source: from.array()?, destination: from.array()?, ethertype: from.u16()? })
    })?;
    let (vlan, ip) = (from.option(Take::u16)?, from.option(take_ip)?);
    let tunnel = from.option(|from| {
        let kind = if from.bool()? { TunnelKind::Geneve } else { TunnelKind::Vxlan };
        Some(Tunnel { kind, vni: from.u32()?, outer: take_ip(from)? })
    })?;
    Some(Packet { first, ethernet, vlan, ip, tunnel, length: from.u32()?, truncated: from.bool()? })
}

fn put_ip(out: &mut Put<'_>, ip: Ip) {
    let Ip { source, destination, transport, fragment, ttl } = ip;
    out.ip(source);
    out.ip(destination);
    put_transport(out, transport);
    out.bool(fragment);
    out.u8(ttl);
}

fn take_ip(from: &mut Take<'_>) -> Option<Ip> {
    Some(Ip {
        source: from.ip()?,
        destination: from.ip()?,
        transport: take_transport(from)?,
        fragment: from.bool()?,
        ttl: from.u8()?,
    })
}

fn put_transport(out: &mut Put<'_>, transport: Transport) {
    let (kind, one, two, flags) = match transport {
        Transport::Tcp { source_port, destination_port, flags } => {
            (0, source_port, destination_port, flags.0)
        }
        Transport::Udp { source_port, destination_port } => (1, source_port, destination_port, 0),
        Transport::Sctp { source_port, destination_port } => (2, source_port, destination_port, 0),
        Transport::Icmpv4 { kind, code } => (3, kind.into(), code.into(), 0),
        Transport::Icmpv6 { kind, code } => (4, kind.into(), code.into(), 0),
        Transport::Other { protocol } => (5, protocol.into(), 0, 0),
        Transport::LaterFragment { protocol } => (6, protocol.into(), 0, 0),
        Transport::Truncated { protocol } => (7, protocol.into(), 0, 0),
    };
    out.u8(kind);
    [one, two, flags].into_iter().for_each(|number| out.u16(number));
}

fn take_transport(from: &mut Take<'_>) -> Option<Transport> {
    let kind = from.u8()?;
    let (one, two, flags) = (from.u16()?, from.u16()?, from.u16()?);
    let (source_port, destination_port) = (one, two);
    let narrow = |number: u16| u8::try_from(number).ok();
    Some(match kind {
        0 => Transport::Tcp { source_port, destination_port, flags: TcpFlags(flags) },
        1 => Transport::Udp { source_port, destination_port },
        2 => Transport::Sctp { source_port, destination_port },
        3 => Transport::Icmpv4 { kind: narrow(one)?, code: narrow(two)? },
        4 => Transport::Icmpv6 { kind: narrow(one)?, code: narrow(two)? },
        5 => Transport::Other { protocol: narrow(one)? },
        6 => Transport::LaterFragment { protocol: narrow(one)? },
        7 => Transport::Truncated { protocol: narrow(one)? },
        _ => return None,
    })
}

fn put_peer(out: &mut Put<'_>, peer: &Peer) {
    let Peer { endpoint, identity, identity_source, labels, dns_names } = peer;
    out.option(endpoint.as_deref(), put_endpoint);
    out.option(*identity, |out, identity| out.u32(identity.0));
    put_one(out, IDENTITY_SOURCES, *identity_source);
    out.option(labels.as_deref(), put_labels);
    out.list(dns_names, |out, name| out.text(name));
}

fn take_peer(from: &mut Take<'_>) -> Option<Peer> {
    Some(Peer {
        endpoint: from.option(take_endpoint)?.map(Arc::new),
        identity: from.option(Take::u32)?.map(Identity),
        identity_source: take_one(from, IDENTITY_SOURCES)?,
        labels: from.option(take_labels)?.map(Arc::new),
        dns_names: from.list(|from| from.text().map(Arc::from))?.into(),
    })
}

fn put_labels(out: &mut Put<'_>, labels: &Labels) {
    out.list(&labels.0, |out, label| out.text(label));
}

fn take_labels(from: &mut Take<'_>) -> Option<Labels> {
    from.list(|from| from.text().map(Box::from)).map(|labels| Labels(labels.into_boxed_slice()))
}

fn put_endpoint(out: &mut Put<'_>, endpoint: &LocalEndpoint) {
    let LocalEndpoint {
        id,
        identity,
        labels,
        namespace,
        pod,
        workloads,
        interface,
        ifindex,
        addresses,
        stale_names,
    } = endpoint;
    out.u16(id.0);
    out.u32(identity.0);
    put_labels(out, labels);
    out.text(namespace);
    out.text(pod);
    out.list(workloads, |out, Workload { name, kind }| {
        out.text(name);
        out.text(kind);
    });
    out.text(interface);
    out.u32(*ifindex);
    out.list(addresses, |out, ip| out.ip(*ip));
    out.bool(*stale_names);
}

fn take_endpoint(from: &mut Take<'_>) -> Option<LocalEndpoint> {
    let text = |from: &mut Take<'_>| from.text().map(str::to_owned);
    Some(LocalEndpoint {
        id: EndpointId(from.u16()?),
        identity: Identity(from.u32()?),
        labels: Arc::new(take_labels(from)?),
        namespace: text(from)?,
        pod: text(from)?,
        workloads: from.list(|from| Some(Workload { name: text(from)?, kind: text(from)? }))?,
        interface: text(from)?,
        ifindex: from.u32()?,
        addresses: from.list(Take::ip)?,
        stale_names: from.bool()?,
    })
}
