//! An event allocates nothing between ring and output: a flood of drops must not become a flood of malloc.
//! A test of its own, because it counts what the whole process allocates.

#[path = "../benches/load/mod.rs"]
mod load;

use std::alloc::System;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tracer::cilium::node::NodeView;
use tracer::cilium::release::ReleaseRange;
use tracer::cilium::source::NodeSource;
use tracer::filter::build::FilterBuilder;
use tracer::model::endpoint::{Labels, LocalEndpoint, Peer};
use tracer::model::flow::{CiliumDrop, Direction, Flow, InferredSet, Interface, Source, Verdict};
use tracer::model::packet::{Ip, Packet, TcpFlags, Transport};
use tracer::model::reason::{DropReason, KernelDrop, SourcePlace};
use tracer::model::time::{BootTime, WallTime};
use tracer::output::options::{Format, OutputOptions};
use tracer::output::{Node, Printer};
use tracer::pipeline::why::stream::Explainer;
use tracer::top::board::Board;
use tracer_common::id::{EndpointId, Identity, IfIndex};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const EVENTS: usize = 10_000;
/// The time is rendered anew each second; nothing else may allocate.
const ALLOWED: usize = 100;

fn pod(name: &str, id: u16, identity: u32) -> Peer {
    let endpoint = LocalEndpoint {
        id: EndpointId(id),
        namespace: "default".into(),
        pod: name.into(),
        ..LocalEndpoint::default()
    };
    Peer {
        endpoint: Some(Arc::new(endpoint)),
        identity: Some(Identity(identity)),
        labels: Some(Arc::new(Labels::new([format!("k8s:app={name}"), "k8s:tier=\x1b".to_owned()]))),
        dns_names: ["www.example.org".into()].into(),
        ..Peer::default()
    }
}

fn drop_of(source: &str, destination: &str) -> Flow {
    let transport = Transport::Tcp { source_port: 43210, destination_port: 9090, flags: TcpFlags(2) };
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    let place = SourcePlace { file_id: 2, file: Some("bpf_lxc.c"), line: 2101 };
    let cilium = CiliumDrop {
        reason: DropReason(133),
        ext_error: -12,
        place: Some(place),
        emitter: EndpointId(20),
        ip_trace_id: 1,
    };
    let kernel = KernelDrop {
        reason: Some(73),
        reason_name: Some("TC_INGRESS".into()),
        location: 0xffff_ffff_8123_4567,
        symbol: Some("tc_run+0x12".into()),
    };
    Flow {
        time: WallTime(1_770_113_472_000_000_000),
        boot_time: BootTime(1),
        verdict: Verdict::Dropped,
        source: Source::Message,
        direction: Direction::Ingress,
        cilium: Some(cilium),
        notice: None,
        kernel: Some(kernel),
        packet: Packet {
            ip: Some(Ip { source, destination, transport, fragment: false, ttl: 64 }),
            ..Packet::default()
        },
        src: pod("client", 10, 12345),
        dst: pod("server", 20, 23456),
        interface: Some(Interface { index: IfIndex(7), name: "lxc1".into() }),
        netns: 1,
        mark: 1,
        cpu: 1,
        skb: 1,
        hash: 1,
        inferred: InferredSet::default(),
        similar: 0,
        bytes: bytes::Bytes::new(),
    }
}

/// Whole events, as records of the ring: decoded, joined, named, filtered and printed. The captured bytes of hundreds of
/// events share one piece of memory, and the time is rendered once a second: what remains is counted per event.
fn whole_events_allocate_nothing() {
    const WARM_UP: u64 = 1000;
    const RECORDS: u64 = 100_000;
    for format in [Format::Compact, Format::Json, Format::Jsonpb] {
        let mut records = [load::pod_to_pod(), load::pod_to_world()];
        let mut chain = load::Chain::new(io::sink(), format, tracer::filter::FilterSet::default());
        let mut feed = |from: u64, to: u64| {
            for at in from..to {
                let record = &mut records[(at % 2) as usize];
                // Within one second of the clock.
                record.set_time(5_660_000_000_000 + 1000 * at);
                chain.take(record.bytes());
            }
            chain.stage.shown
        };
        let cold = Region::new(ALLOCATOR);
        feed(0, WARM_UP);
        assert!(cold.change().allocations > 0, "nothing is counted here");
        let region = Region::new(ALLOCATOR);
        assert_eq!(feed(WARM_UP, WARM_UP + RECORDS), WARM_UP + RECORDS);
        let change = region.change();
        let grown = change.allocations + change.reallocations;
        assert_eq!(grown, 0, "{format:?}: {grown} allocations for {RECORDS} events");
    }
}

/// One test: what runs beside it would be counted too.
#[test]
fn an_event_allocates_nothing() {
    whole_events_allocate_nothing();
    filtering_explaining_and_printing_allocate_nothing_per_event();
    counting_for_top_allocates_nothing();
}

/// All groupings, with the events that are kept.
fn counting_for_top_allocates_nothing() {
    let mut flows = [drop_of("10.0.0.1", "10.0.0.2"), drop_of("fd00::1", "fd00::2")];
    let view = NodeView::new(NodeSource::default(), Instant::now());
    let mut explainer = Explainer::default();
    let mut board = Board::new(&Node::new("east", "node-a", ReleaseRange::ANY), BootTime(0));
    let mut feed = |events: usize| {
        for at in 0..events {
            let flow = &mut flows[at % 2];
            flow.boot_time.0 += 10_000_000;
            let why = explainer.explain(flow, &view);
            board.add(flow, why.as_ref());
        }
    };
    feed(1000);
    let region = Region::new(ALLOCATOR);
    feed(EVENTS);
    let allocations = region.change().allocations;
    assert!(allocations <= ALLOWED, "{allocations} allocations for {EVENTS} events");
}

fn filtering_explaining_and_printing_allocate_nothing_per_event() {
    let mut flags = FilterBuilder::default();
    for (flag, value) in [
        ("label", "app in (server,client),!team"),
        ("pod", "client"),
        ("pod", "server"),
        ("interface", "lxc*"),
        ("kernel-reason", "TC_INGRESS"),
        ("protocol", "tcp"),
    ] {
        flags.set(flag, value).unwrap();
    }
    let filter = flags.finish().unwrap();
    let mut flows = [drop_of("10.0.0.1", "10.0.0.2"), drop_of("fd00::1", "fd00::2")];
    // Without maps the policy is not known, which is an answer to keep like any other. It is asked again each second.
    let (view, mut explainer) = (NodeView::new(NodeSource::default(), Instant::now()), Explainer::default());
    for format in [Format::Compact, Format::Dict, Format::Table, Format::Json, Format::Jsonpb] {
        let options = OutputOptions { format, names: true, color: true, ..OutputOptions::default() };
        let mut printer = Printer::new(io::sink(), &options, Node::new("east", "node-a", ReleaseRange::ANY));
        for flow in &flows {
            let why = explainer.explain(flow, &view);
            assert!(why.is_some(), "policy dropped it");
            printer.explained(flow, why.as_deref()).unwrap();
        }
        let region = Region::new(ALLOCATOR);
        for at in 0..EVENTS {
            let flow = &mut flows[at % 2];
            flow.time.0 += 1_000_000;
            std::hint::black_box(filter.matches(flow));
            let why = explainer.explain(flow, &view);
            printer.explained(flow, why.as_deref()).unwrap();
        }
        let allocations = region.change().allocations;
        assert!(allocations <= ALLOWED, "{format:?}: {allocations} allocations for {EVENTS} events");
    }
}
