//! The ring's readers, the filters of requests, and flows as they go over the wire.

use std::net::IpAddr;
use std::sync::Arc;

use prost::Message as _;

use super::cursor::{Cursor, Next, Question};
use super::drops::DropCounts;
use super::proto::flow::{self as wire_flow, layer4};
use super::ring::FlowRing;
use super::selection::{SelectionError, filter_set};
use super::sink::RingSink;
use super::wire::{Fields, Value};
use crate::cilium::release::ReleaseRange;
use crate::model::endpoint::Peer;
use crate::model::flow::{CiliumDrop, Direction, Flow, InferredSet, Source, Verdict};
use crate::model::packet::{Ip, Packet, TcpFlags, Transport, Tunnel, TunnelKind};
use crate::model::reason::DropReason;
use crate::model::time::{BootTime, WallTime};
use crate::output::Node;
use crate::output::lost::{Lost, LostSource};
use tracer_common::id::EndpointId;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ip(transport: Transport) -> Ip {
    Ip { source: address("10.0.0.1"), destination: address("10.0.0.2"), transport, fragment: false, ttl: 64 }
}

fn udp() -> Transport {
    Transport::Udp { source_port: 1000, destination_port: 53 }
}

fn flow(time: i64, reason: u8) -> Flow {
    let (reason, emitter) = (DropReason(reason), EndpointId(0));
    Flow {
        time: WallTime(time),
        boot_time: BootTime(0),
        verdict: Verdict::Dropped,
        source: Source::Note,
        direction: Direction::Ingress,
        cilium: Some(CiliumDrop { reason, ext_error: 0, place: None, emitter, ip_trace_id: 0 }),
        notice: None,
        kernel: None,
        packet: Packet { ip: Some(ip(udp())), ..Packet::default() },
        src: Peer::default(),
        dst: Peer::default(),
        interface: None,
        netns: 0,
        mark: 0,
        cpu: 0,
        skb: 0,
        hash: 0,
        inferred: InferredSet::default(),
        similar: 0,
        bytes: bytes::Bytes::from_static(b"captured"),
    }
}

fn node() -> Node {
    Node::new("east", "node-a", ReleaseRange::ANY)
}

/// A ring of eight places, with one flow for each reason, at the times 1, 2, 3, ...
fn ring(reasons: &[u8]) -> Arc<FlowRing> {
    let ring = Arc::new(FlowRing::new(8));
    extend(&ring, reasons);
    ring
}

fn extend(ring: &Arc<FlowRing>, reasons: &[u8]) {
    let mut sink = RingSink::new(Arc::clone(ring), Arc::new(DropCounts::default()), &node());
    for reason in reasons {
        sink.flow(&flow(ring.next() as i64 + 1, *reason));
    }
}

/// What came out of a cursor.
#[derive(Debug, PartialEq)]
enum Out {
    Flow(u32),
    Lost(u64),
    Wait,
    End,
}

/// Field 1 or 3 of an encoded response.
fn decode(encoded: &[u8]) -> Out {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Parts {
        #[prost(message, tag = "1")]
        flow: Option<wire_flow::Flow>,
        #[prost(message, tag = "3")]
        lost: Option<wire_flow::LostEvent>,
    }
    let parts = Parts::decode(encoded).unwrap();
    match (parts.flow, parts.lost) {
        (Some(flow), None) => Out::Flow(flow.drop_reason_desc as u32),
        (None, Some(lost)) => Out::Lost(lost.num_events_lost),
        other => panic!("{other:?}"),
    }
}

fn take(cursor: &mut Cursor) -> Vec<Out> {
    let mut out = Vec::new();
    loop {
        out.push(match cursor.step() {
            Next::Response(response) => decode(&response.0),
            Next::Wait => Out::Wait,
            Next::End => Out::End,
            Next::Pause => continue,
        });
        if matches!(out.last(), Some(Out::Wait | Out::End)) {
            return out;
        }
    }
}

fn asked(ring: &Arc<FlowRing>, question: Question) -> Vec<Out> {
    take(&mut Cursor::new(Arc::clone(ring), question, "node-a"))
}

fn flows(reasons: &[u32], end: Out) -> Vec<Out> {
    reasons.iter().map(|reason| Out::Flow(*reason)).chain([end]).collect()
}

#[test]
fn without_follow_the_stream_ends_with_what_was_there() {
    let ring = ring(&[130, 131, 132, 133]);
    let question = Question::default();
    assert_eq!(asked(&ring, question.clone()), flows(&[130, 131, 132, 133], Out::End));
    assert_eq!(asked(&ring, Question { number: 3, ..question.clone() }), flows(&[131, 132, 133], Out::End));
    assert_eq!(
        asked(&ring, Question { number: 9, ..question.clone() }),
        flows(&[130, 131, 132, 133], Out::End)
    );
    let first = Question { number: 3, first: true, ..question.clone() };
    assert_eq!(asked(&ring, first), flows(&[130, 131, 132], Out::End));
    let mut cursor = Cursor::new(Arc::clone(&ring), question, "node-a");
    extend(&ring, &[140]);
    assert_eq!(take(&mut cursor), flows(&[130, 131, 132, 133], Out::End));
}

#[test]
fn times_are_inclusive() {
    let ring = ring(&[130, 131, 132, 133]);
    let (since, until) = (Some(WallTime(2)), Some(WallTime(3)));
    let question = Question { since, until, ..Question::default() };
    assert_eq!(asked(&ring, question.clone()), flows(&[131, 132], Out::End));
    assert_eq!(asked(&ring, Question { number: 1, ..question.clone() }), flows(&[132], Out::End));
    assert_eq!(asked(&ring, Question { number: 1, first: true, ..question }), flows(&[131], Out::End));
}

#[test]
fn a_follower_starts_at_the_end_or_at_the_last_ones() {
    let ring = ring(&[130, 131]);
    let follow = Question { follow: true, ..Question::default() };
    let mut fresh = Cursor::new(Arc::clone(&ring), follow.clone(), "node-a");
    let mut last = Cursor::new(Arc::clone(&ring), Question { number: 1, ..follow }, "node-a");
    assert_eq!(take(&mut fresh), [Out::Wait]);
    assert_eq!(take(&mut last), flows(&[131], Out::Wait));
    extend(&ring, &[140, 141]);
    assert_eq!(take(&mut fresh), flows(&[140, 141], Out::Wait));
    assert_eq!(take(&mut last), flows(&[140, 141], Out::Wait));
    ring.close();
    assert_eq!(take(&mut fresh), [Out::End]);
}

#[test]
fn flows_and_losses_of_a_slow_follower_are_all_that_came() {
    let ring = ring(&[]);
    let follow = Question { follow: true, ..Question::default() };
    let mut slow = Cursor::new(Arc::clone(&ring), follow, "node-a");
    extend(&ring, &[130; 20]);
    let out = take(&mut slow);
    assert!(matches!(out[0], Out::Lost(12..)), "{out:?}");
    let sum: u64 = out
        .iter()
        .map(|one| match one {
            Out::Flow(_) => 1,
            Out::Lost(count) => *count,
            Out::Wait | Out::End => 0,
        })
        .sum();
    assert_eq!(sum, 20);
}

#[test]
fn losses_in_the_kernel_stand_where_they_happened() {
    let ring = ring(&[130]);
    let mut sink = RingSink::new(Arc::clone(&ring), Arc::new(DropCounts::default()), &node());
    sink.lost(&Lost { source: LostSource::KernelRing, count: 7, cpu: None, time: WallTime(2) });
    extend(&ring, &[131]);
    let out = asked(&ring, Question::default());
    assert_eq!(out, [Out::Flow(130), Out::Lost(7), Out::Flow(131), Out::End]);
    assert_eq!((ring.seen(), ring.kept()), (2, 2));
}

fn text(field: u32, value: &'static str) -> (u32, Value) {
    (field, Value::Bytes(value.into()))
}

fn matches(fields: Vec<(u32, Value)>, of: &Flow) -> Result<bool, SelectionError> {
    Ok(filter_set(&[Fields(fields)], &[], "east/node-a")?.matches(of))
}

#[test]
fn fields_of_a_filter_are_all_required_and_their_values_are_alternatives() {
    let denied = flow(1, 133);
    let port = |value| text(14, value);
    assert_eq!(matches(vec![port("80"), port("53")], &denied), Ok(true));
    assert_eq!(matches(vec![port("53"), text(12, "tcp")], &denied), Ok(false));
    assert_eq!(matches(vec![text(1, "10.0.0.0/24"), text(3, "10.0.0.2")], &denied), Ok(true));
    assert_eq!(matches(vec![text(24, "east/node-*")], &denied), Ok(true));
    assert_eq!(matches(vec![text(24, "node-a")], &denied), Ok(false), "that is in the cluster default");
}

#[test]
fn numbers_come_packed_or_one_by_one() {
    let denied = flow(1, 133);
    // 133 is 0x85 0x01 as a varint, 181 is 0xb5 0x01.
    let packed = Value::Bytes(bytes::Bytes::from_static(&[0xb5, 0x01, 0x85, 0x01]));
    assert_eq!(matches(vec![(33, packed)], &denied), Ok(true));
    assert_eq!(matches(vec![(33, Value::Number(181)), (33, Value::Number(133))], &denied), Ok(true));
    assert_eq!(matches(vec![(33, Value::Number(181))], &denied), Ok(false));
    for field in [15, 40] {
        assert_eq!(
            matches(vec![(field, Value::Number(0))], &denied),
            Ok(true),
            "a drop is no reply, not encrypted"
        );
        assert_eq!(matches(vec![(field, Value::Number(1))], &denied), Ok(false));
        assert!(matches(vec![(field, Value::Number(2))], &denied).is_err());
    }
    assert_eq!(matches(vec![text(34, "192.0.2.10")], &denied), Ok(false));
    // {type: 1, match_sub_type: true, sub_type: 133}
    let kind = |sub_type| Value::Bytes(bytes::Bytes::copy_from_slice(&[8, 1, 16, 1, 24, sub_type, 1]));
    assert_eq!(matches(vec![(6, kind(0x85))], &denied), Ok(true));
    assert_eq!(matches(vec![(6, kind(0xb5))], &denied), Ok(false));
}

#[test]
fn what_cannot_be_decided_is_refused_by_name() {
    let of = flow(1, 133);
    let error = |field| matches(vec![field], &of).unwrap_err().to_string();
    assert!(error(text(21, "GET")).contains("`http_method`"));
    assert!(error(text(41, "x")).contains("41"), "a field of a later release");
    assert!(error(text(13, "many")).contains("`source_port`"));
    assert!(error((13, Value::Number(80))).contains("`source_port`"));
    assert!(error((30, Value::Number(9))).contains("`traffic_direction`"));
    assert!(error((35, Value::Bytes(bytes::Bytes::from_static(&[8, 4])))).contains("`interface`"));
}

#[test]
fn packets_of_every_protocol_go_over_the_wire() {
    let encode = |packet: Packet| {
        let ring = Arc::new(FlowRing::new(1));
        let mut sink = RingSink::new(Arc::clone(&ring), Arc::new(DropCounts::default()), &node());
        sink.flow(&Flow { packet, ..flow(1_500_000_000, 133) });
        let entry = ring.newest_first().next().unwrap();
        assert!(entry.flow.as_ref().is_some_and(|flow| flow.bytes.is_empty()), "captured bytes are kept");
        #[derive(Clone, PartialEq, prost::Message)]
        struct Outer {
            #[prost(message, tag = "1")]
            flow: Option<wire_flow::Flow>,
            #[prost(string, tag = "1000")]
            node_name: String,
        }
        let outer = Outer::decode(&*entry.encoded).unwrap();
        assert_eq!(outer.node_name, "east/node-a");
        outer.flow.unwrap()
    };
    let layer4 = |transport| encode(Packet { ip: Some(ip(transport)), ..Packet::default() }).l4?.protocol;
    let (source_port, destination_port) = (300, 70);
    let flags = TcpFlags(0b1_0001_0010);
    let set = wire_flow::TcpFlags { syn: true, ack: true, ns: true, ..Default::default() };
    let tcp = wire_flow::Tcp { source_port: 300, destination_port: 70, flags: Some(set) };
    assert_eq!(
        layer4(Transport::Tcp { source_port, destination_port, flags }),
        Some(layer4::Protocol::Tcp(tcp))
    );
    let sctp = wire_flow::Sctp { source_port: 300, destination_port: 70 };
    assert_eq!(layer4(Transport::Sctp { source_port, destination_port }), Some(layer4::Protocol::Sctp(sctp)));
    let icmp = wire_flow::IcmPv6 { r#type: 135, code: 0 };
    assert_eq!(layer4(Transport::Icmpv6 { kind: 135, code: 0 }), Some(layer4::Protocol::IcmPv6(icmp)));
    assert_eq!(layer4(Transport::Other { protocol: 47 }), None);

    let tunnel = Tunnel { kind: TunnelKind::Geneve, vni: 12345, outer: ip(udp()) };
    let whole = encode(Packet { ip: Some(ip(udp())), tunnel: Some(tunnel), ..Packet::default() });
    let told = whole.tunnel.unwrap();
    assert_eq!((told.protocol, told.vni), (2, 12345));
    assert_eq!(told.ip.unwrap().destination, "10.0.0.2");
    assert_eq!(whole.time.map(|time| (time.seconds, time.nanos)), Some((1, 500_000_000)));
}
