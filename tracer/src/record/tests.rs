//! Recordings written, read back, cut, damaged and bounded.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracer_common::id::{EndpointId, Identity, IfIndex};

use super::reader::{SegmentEnd, SegmentReader};
use super::{BLOCK_AGE, Item, Limits, Recorder, Recording, item};
use crate::cilium::release::{Release, ReleaseRange};
use crate::model::endpoint::{IdentitySource, Labels, LocalEndpoint, Peer, Workload};
use crate::model::flow::{CiliumDrop, Direction, Flow, InferredSet, Interface, Source, Verdict};
use crate::model::notice::{
    AuthType, MatchType, Notice, PolicyAction, PolicyVerdict, Trace, TracePoint, TraceReason,
};
use crate::model::packet::{Ethernet, First, Ip, Packet, TcpFlags, Transport, Tunnel, TunnelKind};
use crate::model::reason::{DropReason, KernelDrop, SourcePlace};
use crate::model::time::{BootTime, WallTime};
use crate::output::Node;
use crate::output::lost::{Lost, LostSource};

const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_age: None };

fn node(name: &str) -> Node {
    Node { name: name.into(), releases: ReleaseRange::exactly(Release(17)) }
}

fn peer(pod: &str) -> Peer {
    let labels = Arc::new(Labels::new(["k8s:app=é\u{1b}".to_owned(), "k8s:b=c".to_owned()]));
    let endpoint = LocalEndpoint {
        id: EndpointId(1002),
        identity: Identity(23456),
        labels: labels.clone(),
        namespace: "default".into(),
        pod: pod.into(),
        workloads: vec![Workload { name: "w".into(), kind: "Deployment".into() }],
        interface: "lxc1".into(),
        ifindex: 22,
        addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        stale_names: true,
    };
    Peer {
        endpoint: Some(Arc::new(endpoint)),
        identity: Some(Identity(7)),
        identity_source: IdentitySource::Ipcache,
        labels: Some(labels),
        dns_names: ["www.example.org".into()].into(),
    }
}

fn ip(source: &str, transport: Transport) -> Ip {
    Ip {
        source: source.parse().unwrap(),
        destination: "fd00::2".parse().unwrap(),
        transport,
        fragment: true,
        ttl: 63,
    }
}

/// No member has its default value.
fn full(number: u64) -> Flow {
    let place = SourcePlace { file_id: 2, file: Some("bpf_lxc.c"), line: 2101 };
    let tcp = Transport::Tcp { source_port: 1, destination_port: 65535, flags: TcpFlags(0x1ff) };
    let mut inferred = InferredSet::default();
    InferredSet::ALL.into_iter().step_by(2).for_each(|what| inferred.insert(what));
    Flow {
        time: WallTime(-5 + number as i64),
        boot_time: BootTime(number),
        verdict: Verdict::Audit,
        source: Source::Note,
        direction: Direction::Egress,
        cilium: Some(CiliumDrop {
            reason: DropReason(181),
            ext_error: -12,
            place: Some(place),
            emitter: EndpointId(9),
            ip_trace_id: u64::MAX,
        }),
        notice: None,
        kernel: Some(KernelDrop {
            reason: Some(73),
            reason_name: Some("TC_INGRESS".into()),
            location: 0xffff_ffff_8123_4567,
            symbol: Some("tc_run+0x12".into()),
        }),
        packet: Packet {
            first: First::Ethernet,
            ethernet: Some(Ethernet { source: [1; 6], destination: [2; 6], ethertype: 0x86dd }),
            vlan: Some(42),
            ip: Some(ip("fd00::1", tcp)),
            tunnel: Some(Tunnel {
                kind: TunnelKind::Geneve,
                vni: 99,
                outer: ip("192.0.2.1", Transport::Udp { source_port: 5, destination_port: 6081 }),
            }),
            length: 1500,
            truncated: true,
        },
        src: peer("client"),
        dst: peer("server"),
        interface: Some(Interface { index: IfIndex(22), name: "lxc1".into() }),
        netns: 1,
        mark: 2,
        cpu: 3,
        skb: 4,
        hash: 5,
        inferred,
        similar: 7,
        bytes: bytes::Bytes::from_static(&[9; 60]),
    }
}

/// Nothing is known but that it happened.
fn bare() -> Flow {
    Flow {
        time: WallTime(1),
        boot_time: BootTime(0),
        verdict: Verdict::Dropped,
        source: Source::Kernel,
        direction: Direction::Unknown,
        cilium: None,
        notice: None,
        kernel: None,
        packet: Packet::default(),
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
        bytes: bytes::Bytes::new(),
    }
}

fn read(path: &Path) -> (Vec<Item>, SegmentEnd) {
    let mut items = Vec::new();
    let end = SegmentReader::open(path).unwrap().for_each(|item| {
        items.push(item);
        Ok::<(), Infallible>(())
    });
    (items, end.unwrap().unwrap())
}

fn flows(items: &[Item]) -> Vec<Flow> {
    let flow = |item: &Item| match item {
        Item::Flow { flow, .. } => Some((**flow).clone()),
        _ => None,
    };
    items.iter().filter_map(flow).collect()
}

fn only_segment(directory: &Path) -> std::path::PathBuf {
    let recording = Recording::open(directory).unwrap();
    let segments: Vec<_> = recording.segments().map(Path::to_owned).collect();
    assert_eq!(segments.len(), 1);
    segments[0].clone()
}

fn verdict(action: PolicyAction) -> Notice {
    let (match_type, auth_type) = (MatchType(2), AuthType(1));
    Notice::Verdict(PolicyVerdict { action, match_type, auth_type, emitter: EndpointId(9), cookie: 77 })
}

/// Drops were written without the last member, and under another number.
#[test]
fn the_form_before_is_read_too() {
    let flow = full(3);
    let mut frames = Vec::new();
    item::put_node(&mut frames, &node("a"));
    let start = frames.len();
    item::put_flow(&mut frames, &flow, true);
    // The last byte says that there is no notice; the length of the frame stands behind its kind.
    assert_eq!(frames.pop(), Some(0));
    let length = (frames.len() - start - 5) as u32;
    frames[start + 1..start + 5].copy_from_slice(&length.to_le_bytes());
    let mut block = vec![0; super::block::BYTES];
    block.extend(zstd::bulk::compress(&frames, 1).unwrap());
    super::block::seal(&mut block, frames.len()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.trec");
    std::fs::write(&path, [&b"tracerev\x01\0\0\0"[..], &block].concat()).unwrap();
    let (items, end) = read(&path);
    assert_eq!((flows(&items), end), (vec![flow], SegmentEnd::Whole));
    std::fs::write(&path, [&b"tracerev\x03\0\0\0"[..], &block].concat()).unwrap();
    assert!(matches!(SegmentReader::open(&path), Err(super::reader::RecordingError::Format { .. })));
}

#[test]
fn events_come_back_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("new/recording");
    let mut recorder = Recorder::create(&directory, LIMITS, node("a")).unwrap();
    let lost = Lost { source: LostSource::Queue, count: 7, cpu: Some(1), time: WallTime(8) };
    let transports = [
        Transport::Udp { source_port: 1, destination_port: 2 },
        Transport::Sctp { source_port: 1, destination_port: 2 },
        Transport::Icmpv4 { kind: 8, code: 1 },
        Transport::Icmpv6 { kind: 128, code: 1 },
        Transport::Other { protocol: 47 },
        Transport::LaterFragment { protocol: 17 },
        Transport::Truncated { protocol: 6 },
    ];
    let notices = [
        Notice::Trace(Trace {
            point: TracePoint(11),
            reason: TraceReason(2),
            encrypted: true,
            proxy_port: 14001,
            source_xlated: Some("192.0.2.1".parse().unwrap()),
            emitter: EndpointId(9),
            ip_trace_id: u64::MAX,
        }),
        verdict(PolicyAction::Allowed),
        verdict(PolicyAction::Audited),
        verdict(PolicyAction::Denied(DropReason(181))),
        verdict(PolicyAction::Redirected(65535)),
        verdict(PolicyAction::Unknown(-300)),
    ];
    let mut expected = vec![full(3), bare()];
    expected.extend(notices.map(|notice| Flow { notice: Some(notice), ..bare() }));
    expected.extend(transports.map(|transport| Flow {
        packet: Packet { ip: Some(ip("10.0.0.1", transport)), ..Packet::default() },
        ..bare()
    }));
    for flow in &expected {
        recorder.flow(flow, true).unwrap();
    }
    recorder.lost(&lost).unwrap();
    recorder.node(&node("b")).unwrap();
    recorder.finish().unwrap();
    let (items, end) = read(&only_segment(&directory));
    assert_eq!((flows(&items), end), (expected, SegmentEnd::Whole));
    assert!(
        matches!(&items[0], Item::Node(node) if node.name == "a" && node.releases.highest == Release(17))
    );
    assert!(matches!(&items[1], Item::Flow { concerns: true, .. }));
    let rest = &items[items.len() - 3..];
    assert!(matches!(rest, [Item::Lost(found), Item::Node(_), Item::End] if *found == lost), "{rest:?}");
}

#[test]
fn a_block_waits_for_its_time_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), LIMITS, node("a")).unwrap();
    let path = only_segment(dir.path());
    recorder.flow(&bare(), false).unwrap();
    recorder.flush(Instant::now()).unwrap();
    assert_eq!(flows(&read(&path).0).len(), 0);
    let due = recorder.due().unwrap();
    assert!(due <= Instant::now() + BLOCK_AGE);
    recorder.flush(due).unwrap();
    assert_eq!((flows(&read(&path).0).len(), recorder.due()), (1, None));
}

/// As after kill -9 or a full disk: what was written before is there, and the cut is told.
#[test]
fn a_segment_that_was_cut_anywhere_gives_what_stands_before_the_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), LIMITS, node("a")).unwrap();
    let path = only_segment(dir.path());
    let mut ends = vec![std::fs::metadata(&path).unwrap().len()];
    for number in 0..4 {
        recorder.flow(&full(number), true).unwrap();
        recorder.flush(Instant::now() + BLOCK_AGE).unwrap();
        ends.push(std::fs::metadata(&path).unwrap().len());
    }
    let whole = std::fs::read(&path).unwrap();
    let cut = dir.path().join("cut");
    for length in ends[0] as usize..=whole.len() {
        std::fs::write(&cut, &whole[..length]).unwrap();
        let (items, end) = read(&cut);
        let blocks = ends.iter().filter(|end| **end <= length as u64).count() - 1;
        assert_eq!(flows(&items), (0..blocks as u64).map(full).collect::<Vec<_>>(), "{length}");
        let is_whole = ends.contains(&(length as u64));
        assert_eq!(end, if is_whole { SegmentEnd::Whole } else { SegmentEnd::Cut }, "{length}");
    }
    for length in 0..super::HEADER.len() {
        std::fs::write(&cut, &whole[..length]).unwrap();
        assert!(SegmentReader::open(&cut).is_err());
    }
}

#[test]
fn no_flipped_byte_is_another_event_or_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), LIMITS, node("a")).unwrap();
    let path = only_segment(dir.path());
    for number in 0..3 {
        recorder.flow(&full(number), true).unwrap();
        recorder.flush(Instant::now() + BLOCK_AGE).unwrap();
    }
    let whole = std::fs::read(&path).unwrap();
    let damaged = dir.path().join("damaged");
    for at in super::HEADER.len()..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&damaged, bytes).unwrap();
        let (items, end) = read(&damaged);
        let found = flows(&items);
        assert!(found.len() < 3 && end != SegmentEnd::Whole, "byte {at}");
        assert_eq!(found, (0..found.len() as u64).map(full).collect::<Vec<_>>(), "byte {at}");
    }
}

#[test]
fn a_recording_stays_within_its_limit_and_keeps_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), LIMITS, node("a")).unwrap();
    let mut noise = 1u64;
    let mut largest = 0;
    for number in 0..12_000 {
        let mut random = || {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise
        };
        // Bytes that cannot be compressed.
        let bytes: Vec<u8> = (0..32).flat_map(|_| random().to_le_bytes()).collect();
        recorder.flow(&Flow { bytes: bytes.into(), ..full(number) }, true).unwrap();
        if number % 200 == 0 {
            recorder.flush(Instant::now() + BLOCK_AGE).unwrap();
            largest = largest.max(size(dir.path()));
        }
    }
    recorder.finish().unwrap();
    assert!((LIMITS.max_bytes / 2..=LIMITS.max_bytes).contains(&largest.max(size(dir.path()))), "{largest}");
    let recording = Recording::open(dir.path()).unwrap();
    let numbers: Vec<u64> =
        recording.segments().flat_map(|path| flows(&read(path).0)).map(|flow| flow.boot_time.0).collect();
    assert_eq!(numbers.last(), Some(&11_999));
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]) && numbers[0] > 0);
    for path in recording.segments() {
        assert!(matches!(read(path).0[0], Item::Node(_)), "each segment stands for itself");
    }
}

fn size(directory: &Path) -> u64 {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn old_segments_go_when_the_next_recorder_begins() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("events-0000000000000001.trec");
    let other = dir.path().join("notes.txt");
    for path in [&old, &other] {
        let file = std::fs::File::create(path).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(100)).unwrap();
    }
    let limits = Limits { max_age: Some(Duration::from_secs(50)), ..LIMITS };
    Recorder::create(dir.path(), limits, node("a")).unwrap();
    assert!(!old.exists() && other.exists());
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_frames_or_are_not(bytes in proptest::collection::vec(0u8.., 0..300)) {
        let mut frames = &bytes[..];
        while !frames.is_empty() {
            if item::take(&mut frames).is_none() {
                break;
            }
        }
    }
}
