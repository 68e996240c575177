//! Messages written by hand from the ABI notes (4.4, 4.5, appendix A), and the rules of 8.6 by row.

use tracer_common::event::flag;

use super::*;
use crate::correlate::fixture::{Aligned, CLIENT, NODE, Node, SERVER, WORLD, message, tcp, with_knowledge};
use crate::correlate::join::Join;
use crate::correlate::name::Settings;
use crate::correlate::record::Record;
use crate::model::endpoint::IdentitySource;
use crate::model::flow::Inferred;

/// Vectors of appendix A.
const TRACE_V1: &str = "0400d204 09000000 42000000 42000100 52c30000 51c30000 d2048100 1b000000 00000000 00000000 00000000 00000000";
const VERDICT_V1: &str = "0500db03 4d3c2b1a 4a000000 4a000100 51c30000 7bffffff 901f0601 00000000";
const VERDICT_V2: &str =
    "0500d204 03000000 4a000000 4a000100 52c30000 00000000 901f0612 00000000 4d000000 00000000";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let value = |digit: u8| (digit as char).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

/// A trace message of 1.9 to 1.18: observation point, emitting endpoint, reason, and no labels.
fn trace(point: u8, emitter: u16, reason: u8) -> Vec<u8> {
    let mut bytes = hex(TRACE_V1);
    (bytes[1], bytes[26]) = (point, reason);
    bytes[2..4].copy_from_slice(&emitter.to_le_bytes());
    bytes[16..26].fill(0);
    bytes
}

/// A verdict of 1.18 or older: emitting endpoint, the number, and the byte with direction, match type and audit.
fn verdict_of(emitter: u16, number: i32, bits: u8) -> Vec<u8> {
    let mut bytes = hex(VERDICT_V1);
    bytes[2..4].copy_from_slice(&emitter.to_le_bytes());
    bytes[20..24].copy_from_slice(&number.to_le_bytes());
    bytes[27] = bits;
    bytes
}

fn flow_of(record: &Aligned) -> Flow {
    let mut namer = Namer::new(Settings { wall_offset_ns: 1000, ..Settings::default() });
    let mut join = Join::default();
    let mut node = Node::default();
    node.edit(SERVER, |endpoint| (endpoint.ifindex, endpoint.interface) = (27, "lxcserver".into()));
    let record = Record::parse(record.as_bytes()).unwrap();
    let noticed = join.push(record, |joined| panic!("a drop: {joined:?}")).expect("no notice");
    let named = with_knowledge(&mut node, |know| namer.notice(&noticed, know));
    assert!(named.concerns);
    assert_eq!((named.flow.cilium, named.flow.kernel.is_none()), (None, true));
    named.flow
}

fn flow(meta: &[u8], source: &str, destination: &str) -> Flow {
    flow_of(&message(0, 0xa, meta, &tcp(source, destination)))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn trace_v1_fills_the_flow() {
    let mut record = message(3, 0xa, &hex(TRACE_V1), &tcp(CLIENT, SERVER));
    record.header().time_ns = 5000;
    let flow = flow_of(&record);
    assert_eq!((flow.time, flow.cpu, flow.skb, flow.hash), (WallTime(6000), 3, 0xa, 9));
    assert_eq!(
        (flow.verdict, flow.event_type(), flow.is_reply()),
        (Verdict::Forwarded, Some((4, 0)), Some(false))
    );
    let trace = *flow.trace().unwrap();
    assert_eq!((trace.point, trace.reason, trace.encrypted), (TracePoint(0), TraceReason(1), true));
    assert_eq!((trace.emitter, trace.proxy_port, trace.source_xlated), (EndpointId(1234), 0, None));
    assert_eq!((flow.src.identity, flow.dst.identity), (Some(Identity(50002)), Some(Identity(50001))));
    assert_eq!(flow.src.identity_source, IdentitySource::Datapath);
    assert_eq!((flow.src.pod(), flow.dst.pod()), ("client", "server"));
    assert_eq!((flow.drop_reason(), flow.ip_trace_id()), (None, 0));
    assert_eq!(flow.bytes, tcp(CLIENT, SERVER));
}

#[test]
fn every_length_of_a_trace_is_read_as_far_as_it_goes() {
    let mut oldest = trace(0, 20, 0);
    oldest.truncate(32);
    oldest[14] = 0;
    let mut newest = trace(0, 20, 0);
    newest[14] = 2;
    newest.extend(4711u64.to_le_bytes());
    for (meta, trace_id) in [(oldest, 0), (trace(0, 20, 0), 0), (newest, 4711)] {
        let flow = flow(&meta, CLIENT, SERVER);
        assert_eq!((flow.event_type(), flow.ip_trace_id()), (Some((4, 0)), trace_id), "{} bytes", meta.len());
        assert_eq!((flow.src.pod(), flow.dst.pod()), ("client", "server"));
    }
}

/// Rows of 8.6: whose program, whose source address, reply or not.
#[test]
fn direction_is_that_of_the_connection() {
    let (new, established, reply, unknown) = (0, 1, 2, 5);
    for (emitter, source, destination, reason, direction, is_reply) in [
        (20, CLIENT, SERVER, new, Direction::Ingress, Some(false)),
        (10, CLIENT, WORLD, new, Direction::Egress, Some(false)),
        (10, CLIENT, WORLD, established, Direction::Egress, Some(false)),
        (10, SERVER, CLIENT, reply, Direction::Egress, Some(true)),
        (20, SERVER, CLIENT, reply, Direction::Ingress, Some(true)),
        (20, CLIENT, SERVER, unknown, Direction::Unknown, None),
        (0, CLIENT, SERVER, new, Direction::Unknown, Some(false)),
        // SRv6 tells the direction, and not whether it is a reply.
        (10, CLIENT, WORLD, 6, Direction::Egress, None),
        // The overlay's encryption is egress whoever tells.
        (20, CLIENT, WORLD, 8, Direction::Egress, Some(false)),
        // A number of a coming release.
        (10, CLIENT, WORLD, 9, Direction::Unknown, None),
    ] {
        let flow = flow(&trace(0, emitter, reason), source, destination);
        let row = (emitter, source, destination, reason);
        assert_eq!((flow.direction, flow.is_reply()), (direction, is_reply), "{row:?}");
    }
}

#[test]
fn snat_is_undone_and_told() {
    let mut meta = trace(11, 10, 0);
    meta[32..36].copy_from_slice(&[10, 244, 1, 10]);
    let translated = flow(&meta, NODE, WORLD);
    let addresses = translated.packet.ip.unwrap();
    assert_eq!((addresses.source, addresses.destination), (ip(CLIENT), ip(WORLD)));
    assert_eq!(translated.trace().unwrap().source_xlated, Some(ip(NODE)));
    assert_eq!((translated.src.pod(), translated.direction), ("client", Direction::Egress));
    // The address may be told though nothing changed it.
    assert_eq!(flow(&meta, CLIENT, WORLD).trace().unwrap().source_xlated, None);
}

#[test]
fn only_the_proxys_point_has_a_port() {
    let mut meta = trace(1, 10, 0);
    meta[24..26].copy_from_slice(&14001u16.to_le_bytes());
    let to_proxy = flow(&meta, CLIENT, WORLD);
    assert_eq!((to_proxy.event_type(), to_proxy.trace().unwrap().proxy_port), (Some((4, 1)), 14001));
    meta[1] = 0;
    assert_eq!(flow(&meta, CLIENT, SERVER).trace().unwrap().proxy_port, 0);
}

#[test]
fn the_named_device_is_the_endpoints_own() {
    let mut record = message(0, 0xa, &trace(0, 20, 0), &tcp(CLIENT, SERVER));
    let header = record.header();
    (header.ifindex, header.flags) = (21, flag::HAS_DEV);
    header.ifname[..9].copy_from_slice(b"lxcclient");
    let interface = flow_of(&record).interface.unwrap();
    assert_eq!((interface.index.0, &*interface.name), (27, "lxcserver"));
}

/// The flags byte was but one bit before 1.18: without a bit that only later releases set, the bytes decide.
#[test]
fn a_packet_without_ethernet_is_found_by_flag_or_by_its_bytes() {
    let bare = &tcp(CLIENT, SERVER)[14..];
    let of = |flags: u8, dev_type: u16| {
        let mut meta = trace(11, 10, 0);
        meta[27] = flags;
        let mut record = message(0, 0xa, &meta, bare);
        (record.header().dev_type, record.header().protocol) = (dev_type, 0x0800u16.to_be());
        flow_of(&record)
    };
    let (ethernet, none) = (1, 65534);
    for (flow, guessed) in [(of(0b10, none), false), (of(0, none), false), (of(0, ethernet), true)] {
        assert_eq!(flow.packet.ip.map(|ip| ip.destination), Some(ip(SERVER)));
        assert_eq!(flow.inferred.contains(Inferred::PacketStart), guessed);
    }
}

#[test]
fn verdict_v1_denies_on_the_way_in() {
    let flow = flow(&hex(VERDICT_V1), CLIENT, SERVER);
    assert_eq!((flow.verdict, flow.event_type(), flow.is_reply()), (Verdict::Dropped, Some((5, 0)), None));
    assert_eq!((flow.direction, flow.drop_reason()), (Direction::Ingress, Some(DropReason(133))));
    let verdict = flow.policy_verdict().unwrap();
    assert_eq!((verdict.match_type, verdict.emitter, verdict.cookie), (MatchType(0), EndpointId(987), 0));
    assert_eq!(
        (flow.src.identity, flow.src.identity_source),
        (Some(Identity(50001)), IdentitySource::Datapath)
    );
    assert_eq!(
        (flow.dst.identity, flow.dst.identity_source),
        (Some(Identity(23456)), IdentitySource::Endpoint)
    );
    assert_eq!(flow.hash, 0x1a2b_3c4d);
}

#[test]
fn verdict_v2_allows_on_the_way_out() {
    let flow = flow(&hex(VERDICT_V2), CLIENT, WORLD);
    assert_eq!((flow.verdict, flow.is_reply()), (Verdict::Forwarded, Some(false)));
    assert_eq!((flow.direction, flow.drop_reason()), (Direction::Egress, None));
    let verdict = flow.policy_verdict().unwrap();
    assert_eq!((verdict.match_type, verdict.cookie), (MatchType(2), 77));
    assert_eq!(
        (flow.dst.identity, flow.dst.identity_source),
        (Some(Identity(50002)), IdentitySource::Datapath)
    );
}

#[test]
fn every_kind_of_verdict() {
    let port = i32::from_le_bytes([0x36, 0xb1, 0, 0]);
    let (ingress, audited) = (1, 1 << 6 | 1);
    for (number, bits, action, verdict, is_reply) in [
        (0, ingress, PolicyAction::Allowed, Verdict::Forwarded, Some(false)),
        (0, audited, PolicyAction::Audited, Verdict::Audit, Some(false)),
        (-181, ingress, PolicyAction::Denied(DropReason(181)), Verdict::Dropped, None),
        (port, ingress, PolicyAction::Redirected(14001), Verdict::Redirected, Some(false)),
        (-300, ingress, PolicyAction::Unknown(-300), Verdict::Dropped, None),
        (0x1_0000, ingress, PolicyAction::Unknown(0x1_0000), Verdict::Redirected, Some(false)),
    ] {
        let flow = flow(&verdict_of(20, number, bits), CLIENT, SERVER);
        assert_eq!(flow.policy_verdict().unwrap().action, action);
        assert_eq!((flow.verdict, flow.is_reply()), (verdict, is_reply), "{action:?}");
    }
}
