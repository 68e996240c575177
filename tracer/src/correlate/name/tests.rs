use tracer_common::cilium::notify::DropV1;
use zerocopy::IntoBytes;

use super::super::fixture::{
    Aligned, CLIENT, NODE, Node, REMOTE, SERVER, WORLD, drop_v1, drop_v3, free, lone_free, message, note,
    tcp, with_knowledge,
};
use super::super::join::Join;
use super::*;
use crate::model::packet::Transport;

/// Runs records through join and names, and expects one event.
fn named(node: &mut Node, settings: Settings, records: &[&Aligned]) -> Named {
    let (mut join, mut namer) = (Join::default(), Namer::new(settings));
    let mut flows = Vec::new();
    with_knowledge(node, |know| {
        for record in records {
            join.push(Record::parse(record.as_bytes()).unwrap(), |joined| {
                flows.extend(namer.flow(&joined, know))
            });
        }
        join.finish(|joined| flows.extend(namer.flow(&joined, know)));
    });
    assert_eq!(flows.len(), 1);
    flows.remove(0)
}

fn flow_on(node: &mut Node, records: &[&Aligned]) -> Flow {
    named(node, Settings { wall_offset_ns: 1000, ..Settings::default() }, records).flow
}

fn flow(records: &[&Aligned]) -> Flow {
    flow_on(&mut Node::default(), records)
}

fn of_message(drop: DropV1, source: &str, destination: &str) -> Flow {
    flow(&[&message(0, 0xa, drop.as_bytes(), &tcp(source, destination))])
}

fn noted(words: [u32; 5], source: &str, destination: &str) -> Aligned {
    let mut record = lone_free(&tcp(source, destination));
    let header = record.header();
    header.flags |= flag::HAS_NOTE | flag::HAS_REASON;
    (header.note, header.reason, header.location) = (words, 60, 0xffff_0010);
    record
}

fn inferred(flow: &Flow) -> Vec<Inferred> {
    flow.inferred.iter().collect()
}

#[test]
fn message_fills_the_flow() {
    let mut record = message(3, 0xa, drop_v1(20, (12345, 23456), 20).as_bytes(), &tcp(CLIENT, SERVER));
    let header = record.header();
    (header.time_ns, header.mark, header.netns, header.ifindex) = (5000, 0xf00, 4, 27);
    header.ifname[..7].copy_from_slice(b"lxc1234");
    header.flags = flag::HAS_DEV;
    let flow = flow(&[&record]);
    assert_eq!((flow.time, flow.boot_time), (WallTime(6000), BootTime(5000)));
    assert_eq!((flow.verdict, flow.source), (Verdict::Dropped, Source::Message));
    let drop = flow.cilium.unwrap();
    assert_eq!((drop.reason, drop.ext_error, drop.emitter), (DropReason(133), 0, EndpointId(20)));
    let place = SourcePlace { file_id: 2, file: Some("bpf_lxc.c"), line: 2101 };
    assert_eq!(drop.place, Some(place));
    assert_eq!(flow.kernel, None);
    let ports = flow.packet.transport().and_then(Transport::ports);
    assert_eq!(ports, Some((40000, 9090)));
    let interface = flow.interface.as_ref().unwrap();
    assert_eq!((interface.index, &*interface.name), (IfIndex(27), "lxc1234"));
    assert_eq!((flow.mark, flow.netns, flow.cpu, flow.skb, flow.hash), (0xf00, 4, 3, 0xa, 0x77));
    assert_eq!(flow.bytes, tcp(CLIENT, SERVER));
    assert_eq!(inferred(&flow), []);
}

// The endpoint rule, by row: local endpoint or not, label in the message or not.

#[test]
fn local_end_has_its_endpoint_and_the_label_of_the_message() {
    let flow = of_message(drop_v1(20, (12345, 999), 20), CLIENT, SERVER);
    assert_eq!((flow.src.pod(), flow.src.endpoint_id()), ("client", EndpointId(10)));
    assert_eq!(
        (flow.src.identity, flow.src.identity_source),
        (Some(Identity(12345)), IdentitySource::Datapath)
    );
    assert_eq!((flow.dst.pod(), flow.dst.identity), ("server", Some(Identity(999))));
    assert_eq!(flow.dst.labels.unwrap().value_of("app"), Some("server"), "labels are the pod's");
}

#[test]
fn local_end_without_label_has_its_own_identity_and_it_is_said() {
    let flow = of_message(drop_v1(10, (0, 34567), 0), CLIENT, REMOTE);
    assert_eq!(
        (flow.src.identity, flow.src.identity_source),
        (Some(Identity(12345)), IdentitySource::Endpoint)
    );
    assert_eq!(inferred(&flow), [Inferred::SourceIdentity]);
}

#[test]
fn local_end_that_is_not_resolved_yet_has_the_identity_of_the_ipcache() {
    let mut node = Node::default();
    node.edit(CLIENT, |endpoint| (endpoint.identity, endpoint.labels) = (Identity(0), Arc::default()));
    let record = message(0, 0xa, drop_v1(10, (0, 34567), 0).as_bytes(), &tcp(CLIENT, REMOTE));
    let flow = flow_on(&mut node, &[&record]);
    assert_eq!((flow.src.identity, flow.src.identity_source), (Some(Identity::WORLD), IdentitySource::World));
    assert_eq!(flow.src.labels.unwrap().iter().next(), Some("reserved:world"));
}

#[test]
fn other_end_has_the_label_of_the_message() {
    let flow = of_message(drop_v1(10, (12345, 34567), 0), CLIENT, WORLD);
    assert_eq!(flow.dst.endpoint_id(), EndpointId(0));
    assert_eq!(
        (flow.dst.identity, flow.dst.identity_source),
        (Some(Identity(34567)), IdentitySource::Datapath)
    );
    assert_eq!(flow.dst.labels.as_ref().unwrap().value_of("app"), Some("dns"));
}

#[test]
fn other_end_without_label_has_the_identity_of_the_ipcache_and_it_is_said() {
    for (ip, identity, source) in
        [(REMOTE, Identity(34567), IdentitySource::Ipcache), (WORLD, Identity::WORLD, IdentitySource::World)]
    {
        let flow = of_message(drop_v1(10, (12345, 0), 0), CLIENT, ip);
        assert_eq!((flow.dst.identity, flow.dst.identity_source), (Some(identity), source));
        assert_eq!(inferred(&flow), [Inferred::DestinationIdentity]);
    }
}

#[test]
fn nobody_is_made_up_without_ipcache() {
    let mut node = Node { has_ipcache: false, ..Node::default() };
    let record = message(0, 0xa, drop_v1(0, (0, 0), 0).as_bytes(), &tcp(WORLD, REMOTE));
    let flow = flow_on(&mut node, &[&record]);
    assert_eq!((flow.src.identity, flow.dst.identity), (None, None));
    assert_eq!((flow.src.identity_source, inferred(&flow)), (IdentitySource::None, vec![]));
}

#[test]
fn dns_names_are_those_that_the_other_end_asked_for() {
    let flow = of_message(drop_v1(10, (12345, 2), 0), CLIENT, WORLD);
    assert_eq!(*flow.dst.dns_names, ["example.org".into()]);
    let back = of_message(drop_v1(10, (2, 12345), 10), WORLD, CLIENT);
    assert_eq!(*back.src.dns_names, ["example.org".into()]);
    assert!(back.dst.dns_names.is_empty());
    let other = of_message(drop_v1(20, (23456, 2), 0), SERVER, WORLD);
    assert!(other.dst.dns_names.is_empty());
}

#[test]
fn direction_of_a_message_is_told_by_its_emitter() {
    for (emitter, source, destination, expected) in [
        (10, CLIENT, SERVER, Direction::Egress),
        (20, CLIENT, SERVER, Direction::Ingress),
        (20, WORLD, SERVER, Direction::Ingress),
        (1029, WORLD, REMOTE, Direction::Ingress),
        (0, CLIENT, SERVER, Direction::Unknown),
    ] {
        let flow = of_message(drop_v1(emitter, (1, 1), 0), source, destination);
        assert_eq!(flow.direction, expected, "{emitter} {source}");
        assert!(!flow.inferred.contains(Inferred::Direction));
    }
}

#[test]
fn direction_of_a_note_is_told_by_its_endpoint_else_worked_out() {
    for (endpoint, source, expected, worked_out) in [
        (20, CLIENT, Direction::Ingress, false),
        (0, CLIENT, Direction::Egress, true),
        (0, WORLD, Direction::Unknown, false),
    ] {
        let flow = flow(&[&noted(note((12345, 23456), endpoint), source, SERVER)]);
        assert_eq!(flow.direction, expected);
        assert_eq!(flow.inferred.contains(Inferred::Direction), worked_out);
    }
}

#[test]
fn direction_of_a_kernel_drop_is_worked_out_when_one_end_is_local() {
    for (source, destination, expected) in [
        (CLIENT, WORLD, Direction::Egress),
        (WORLD, CLIENT, Direction::Ingress),
        (CLIENT, SERVER, Direction::Unknown),
        (WORLD, REMOTE, Direction::Unknown),
    ] {
        let flow = flow(&[&lone_free(&tcp(source, destination))]);
        assert_eq!((flow.direction, flow.source, flow.cilium), (expected, Source::Kernel, None));
        assert_eq!(flow.inferred.contains(Inferred::Direction), expected != Direction::Unknown);
    }
}

#[test]
fn note_fills_the_flow_and_is_said_to_be_one() {
    let flow = flow(&[&noted(note((12345, 23456), 20), CLIENT, SERVER)]);
    assert_eq!(flow.source, Source::Note);
    let drop = flow.cilium.unwrap();
    assert_eq!((drop.reason, drop.emitter), (DropReason(133), EndpointId(0)));
    assert_eq!(drop.place.unwrap().file, Some("bpf_lxc.c"));
    assert_eq!((flow.src.identity, flow.dst.identity), (Some(Identity(12345)), Some(Identity(23456))));
    let kernel = flow.kernel.as_ref().unwrap();
    assert_eq!((kernel.reason, kernel.reason_name.as_deref()), (Some(60), Some("TC_INGRESS")));
    assert_eq!(kernel.symbol.as_deref(), Some("tcf_classify+0x10"));
    assert_eq!(inferred(&flow), [Inferred::NoteReason]);
}

#[test]
fn message_comes_before_note_field_by_field() {
    let mut companion = free(0, 0xa);
    let header = companion.header();
    header.flags |= flag::HAS_NOTE | flag::HAS_REASON;
    (header.note, header.reason) = ([11, 23456, 133, 20, 7 << 16 | 0x0202], 60);
    let first = message(0, 0xa, drop_v1(20, (12345, 0), 20).as_bytes(), &tcp(CLIENT, SERVER));
    let flow = flow(&[&first, &companion]);
    assert_eq!(flow.source, Source::Message);
    assert_eq!(flow.cilium.unwrap().place.unwrap().line, 2101);
    assert_eq!(flow.src.identity, Some(Identity(12345)));
    assert_eq!(flow.dst.identity, Some(Identity(23456)), "the message did not tell");
    assert_eq!(flow.kernel.as_ref().unwrap().reason_name.as_deref(), Some("TC_INGRESS"));
    assert_eq!(inferred(&flow), []);
}

#[test]
fn old_message_takes_its_place_from_the_note_of_the_same_drop() {
    let old = &drop_v1(20, (1, 2), 20);
    let first = message(0, 0xa, &old.as_bytes()[..32], &tcp(CLIENT, SERVER));
    for (reason, line) in [(133, Some(7)), (134, None)] {
        let mut companion = free(0, 0xa);
        companion.header().flags |= flag::HAS_NOTE;
        companion.header().note = [1, 2, reason, 20, 7 << 16 | 0x0202];
        let flow = flow(&[&first, &companion]);
        assert_eq!(flow.cilium.unwrap().place.map(|place| place.line), line);
    }
}

#[test]
fn file_name_depends_on_the_generation_and_its_certainty_is_said() {
    let mut base = drop_v1(20, (1, 2), 20);
    base.file = 110;
    let mut node = Node { certain_files: false, ..Node::default() };
    let record = message(0, 0xa, drop_v3(base, 0, 4711).as_bytes(), &tcp(CLIENT, SERVER));
    let newer = flow_on(&mut node, &[&record]);
    let drop = newer.cilium.unwrap();
    assert_eq!((drop.place.unwrap().file, drop.ip_trace_id), (Some("trace.h"), 4711));
    assert_eq!(inferred(&newer), [Inferred::FileName]);
    let unknown = flow(&[&message(0, 0xa, base.as_bytes(), &tcp(CLIENT, SERVER))]).cilium.unwrap();
    assert_eq!(unknown.place, Some(SourcePlace { file_id: 110, file: None, line: 2101 }));
}

#[test]
fn l3_device_flag_of_the_message_is_honoured() {
    let record =
        message(0, 0xa, drop_v3(drop_v1(0, (1, 2), 0), 0b10, 0).as_bytes(), &tcp(CLIENT, SERVER)[14..]);
    let flow = flow(&[&record]);
    assert_eq!((flow.packet.ethernet, flow.src.pod()), (None, "client"));
    assert_eq!(inferred(&flow), []);
}

/// VXLAN packet of a Linux kernel (see the tests of `packet`): 10.244.0.1 → .2 inside of 10.0.0.1 → .2.
const VXLAN: [u8; 96] = [
    0x02, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 0x52, 0xc5, 0xe9, 0, 0, 0x40, 0x11, 0xa0, 0xaf,
    10, 0, 0, 1, 10, 0, 0, 2, 0x89, 0xb0, 0x21, 0x18, 0, 0x3e, 7, 0x7c, 8, 0, 0, 0, 0, 0x30, 0x39, 0, 2, 0,
    0, 0, 1, 2, 2, 0, 0, 0, 1, 1, 8, 0, 0x45, 0, 0, 0x20, 0x94, 0xfd, 0x40, 0, 0x40, 0x11, 0x8f, 0xe5, 10,
    0xf4, 0, 1, 10, 0xf4, 0, 2, 0x12, 0x34, 0, 9, 0, 0x0c, 0x16, 8, 0x78, 0x78, 0x78, 0x78,
];

#[test]
fn tunnel_is_opened_but_for_a_pod_that_must_not_send_to_it() {
    for (reason, inner) in [(133, true), (170, false)] {
        let mut drop = drop_v1(10, (1, 2), 0);
        drop.head.subtype = reason;
        let flow = flow(&[&message(0, 0xa, drop.as_bytes(), &VXLAN)]);
        assert_eq!(flow.packet.tunnel.is_some(), inner);
        let source: IpAddr = if inner { "10.244.0.1" } else { "10.0.0.1" }.parse().unwrap();
        assert_eq!(flow.packet.ip.unwrap().source, source);
    }
}

#[test]
fn packet_without_device_is_guessed_and_stale_names_are_said() {
    let mut node = Node::default();
    node.edit(CLIENT, |endpoint| endpoint.stale_names = true);
    let mut record = message(0, 0xa, drop_v1(20, (1, 2), 20).as_bytes(), &tcp(CLIENT, SERVER));
    record.header().dev_type = tracer_common::event::DEV_TYPE_UNKNOWN;
    let flow = flow_on(&mut node, &[&record]);
    assert_eq!(flow.src.pod(), "client");
    assert_eq!(inferred(&flow), [Inferred::PacketStart, Inferred::StaleNames]);
}

#[test]
fn interface_of_the_message_is_not_given_the_name_of_another() {
    let mut record = message(0, 0xa, drop_v1(20, (1, 2), 20).as_bytes(), &tcp(CLIENT, SERVER));
    record.header().flags = flag::HAS_DEV;
    record.header().ifindex = 3;
    record.header().ifname[..4].copy_from_slice(b"eth0");
    let interface = flow(&[&record]).interface.unwrap();
    assert_eq!((interface.index, &*interface.name), (IfIndex(27), ""));
}

#[test]
fn xdp_drop_has_no_skb() {
    let mut record = message(0, 0xd000, drop_v1(0, (1, 2), 0).as_bytes(), &tcp(WORLD, SERVER));
    record.header().kind = kind::XDP_MESSAGE;
    assert_eq!(flow(&[&record]).skb, 0);
    assert_eq!(flow(&[&record, &free(0, 0xa)]).skb, 0xa);
}

#[test]
fn packet_that_is_not_ip_has_the_identities_of_the_message() {
    let mut arp = vec![0xff; 6];
    arp.extend([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    let flow = flow(&[&message(0, 0xa, drop_v1(10, (12345, 0), 0).as_bytes(), &arp)]);
    assert_eq!((flow.src.identity, flow.dst.identity), (Some(Identity(12345)), None));
    assert_eq!(flow.direction, Direction::Unknown);
}

#[test]
fn names_of_the_kernel_are_asked_for_once() {
    let mut node = Node::default();
    let mut namer = Namer::default();
    let record = noted(note((1, 2), 0), CLIENT, SERVER);
    for _ in 0..5 {
        let joined = Joined { message: None, free: Some(Record::parse(record.as_bytes()).unwrap()) };
        with_knowledge(&mut node, |know| namer.flow(&joined, know)).unwrap();
    }
    assert_eq!(node.kernel_asked, 2);
}

/// Whether a kernel drop concerns Cilium.
fn concerns(source: &str, destination: &str, host_netns: u32, edit: impl FnOnce(&mut EventHeader)) -> bool {
    let mut record = lone_free(&tcp(source, destination));
    edit(record.header());
    named(&mut Node::default(), Settings { host_netns, ..Settings::default() }, &[&record]).concerns
}

#[test]
fn kernel_drop_with_an_endpoint_or_a_node_address_concerns_cilium() {
    assert!(concerns(CLIENT, WORLD, 0, |_| {}));
    assert!(concerns(WORLD, CLIENT, 0, |_| {}));
    assert!(concerns(WORLD, NODE, 0, |_| {}));
    assert!(!concerns("127.0.0.1", "127.0.0.1", 0, |_| {}));
}

#[test]
fn interface_of_cilium_counts_in_the_namespace_of_the_node_only() {
    for (host_netns, expected) in [(0, true), (5, true), (6, false)] {
        let found = concerns(WORLD, REMOTE, host_netns, |header| {
            (header.flags, header.netns, header.ifindex) = (flag::HAS_DEV, 5, 27);
            header.ifname[..7].copy_from_slice(b"lxc1234");
        });
        assert_eq!(found, expected, "{host_netns}");
    }
}

#[test]
fn outer_addresses_of_a_tunnel_count_too() {
    let mut packet = VXLAN.to_vec();
    packet[30..34].copy_from_slice(&[192, 168, 1, 5]);
    let named = named(&mut Node::default(), Settings::default(), &[&lone_free(&packet)]);
    assert!(named.concerns && named.flow.packet.tunnel.is_some());
}

#[test]
fn drop_that_cilium_reported_always_concerns_it() {
    let record = message(0, 0xa, drop_v1(0, (0, 0), 0).as_bytes(), &tcp("127.0.0.1", "127.0.0.1"));
    assert!(named(&mut Node::default(), Settings::default(), &[&record]).concerns);
}

#[test]
fn ends_of_drops_elsewhere_are_looked_up_on_demand_only() {
    let record = lone_free(&tcp(WORLD, REMOTE));
    for (name_elsewhere, identity) in [(false, None), (true, Some(Identity(34567)))] {
        let settings = Settings { name_elsewhere, ..Settings::default() };
        let flow = named(&mut Node::default(), settings, &[&record]).flow;
        assert_eq!(flow.dst.identity, identity);
    }
}
