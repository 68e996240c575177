//! Bytes of the blocks, as the draft lays them out.

use super::*;
use crate::cilium::release::ReleaseRange;
use crate::model::flow::{CiliumDrop, InferredSet, Source, Verdict};
use crate::model::packet::Packet;
use crate::model::reason::DropReason;
use crate::model::time::{BootTime, WallTime};
use tracer_common::id::{EndpointId, IfIndex};

fn flow(first: First, bytes: &'static [u8], device: &str) -> Flow {
    let cilium = CiliumDrop {
        reason: DropReason(133),
        ext_error: 0,
        place: None,
        emitter: EndpointId(0),
        ip_trace_id: 0,
    };
    Flow {
        time: WallTime(0x0001_0002_0003_0004),
        boot_time: BootTime(1),
        verdict: Verdict::Dropped,
        source: Source::Message,
        direction: Direction::Ingress,
        cilium: Some(cilium),
        notice: None,
        kernel: None,
        packet: Packet { first, length: 1500, ..Packet::default() },
        src: Default::default(),
        dst: Default::default(),
        interface: Some(crate::model::flow::Interface { index: IfIndex(7), name: device.into() }),
        netns: 9,
        mark: 0,
        cpu: 0,
        skb: 0,
        hash: 0,
        inferred: InferredSet::default(),
        similar: 0,
        bytes: bytes::Bytes::from_static(bytes),
    }
}

/// (type, body) of each block; both lengths must agree.
fn blocks(mut file: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let word = |bytes: &[u8]| u32::from_ne_bytes(bytes[..4].try_into().unwrap());
    let mut blocks = Vec::new();
    while !file.is_empty() {
        let (kind, length) = (word(file), word(&file[4..]) as usize);
        assert_eq!((length % 4, word(&file[length - 4..]) as usize), (0, length));
        blocks.push((kind, file[8..length - 4].to_vec()));
        file = &file[length..];
    }
    blocks
}

#[test]
fn each_device_and_link_type_is_described_once_before_its_first_packet() {
    let node = Node::new("", "n", ReleaseRange::ANY);
    let mut writer = PcapWriter::new(Vec::new(), &node, "Linux 6.1", 128).unwrap();
    for (first, device) in
        [(First::Ethernet, "lxc1"), (First::Network, "lxc1"), (First::Ethernet, "lxc1"), (First::Unknown, "")]
    {
        writer.flow(&flow(first, &[1, 2, 3, 4, 5], device)).unwrap();
    }
    let blocks = blocks(&writer.sink);
    let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [0x0a0d_0d0a, 1, 6, 1, 6, 6, 1, 6]);
    let link_types: Vec<u16> = blocks
        .iter()
        .filter(|(kind, _)| *kind == 1)
        .map(|(_, body)| u16::from_ne_bytes([body[0], body[1]]))
        .collect();
    assert_eq!(link_types, [1, 101, 147]);
    let packets: Vec<u32> = blocks
        .iter()
        .filter(|(kind, _)| *kind == 6)
        .map(|(_, body)| u32::from_ne_bytes(body[..4].try_into().unwrap()))
        .collect();
    assert_eq!(packets, [0, 1, 0, 2]);
}

#[test]
fn a_packet_has_its_time_lengths_bytes_and_comment() {
    let node = Node::new("", "n", ReleaseRange::ANY);
    let mut writer = PcapWriter::new(Vec::new(), &node, "Linux", 128).unwrap();
    writer.flow(&flow(First::Ethernet, &[1, 2, 3, 4, 5], "lxc1")).unwrap();
    let body = &blocks(&writer.sink)[2].1;
    let words: Vec<u32> =
        body[..20].chunks(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect();
    assert_eq!(words, [0, 0x0001_0002, 0x0003_0004, 5, 1500]);
    assert_eq!(body[20..28], [1, 2, 3, 4, 5, 0, 0, 0]);
    let comment_length = usize::from(u16::from_ne_bytes([body[30], body[31]]));
    let comment = str::from_utf8(&body[32..32 + comment_length]).unwrap();
    assert!(comment.contains("Policy denied (133)"), "{comment}");
    let flags = &body[(32 + comment_length).next_multiple_of(4)..];
    assert_eq!(flags[4..8], 1u32.to_ne_bytes(), "inbound");
}
