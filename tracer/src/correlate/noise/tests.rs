use super::*;
use crate::correlate::fixture::{CLIENT, Node, REMOTE, lone_free, tcp, with_knowledge};
use crate::correlate::join::Joined;
use crate::correlate::name::Namer;
use crate::correlate::record::Record;
use crate::model::flow::{CiliumDrop, Interface};
use crate::model::packet::{Ip, Packet};
use crate::model::reason::{DropReason, KernelDrop};
use tracer_common::id::{EndpointId, IfIndex};

fn kernel_drop(reason: &str, packet: &[u8]) -> Flow {
    let record = lone_free(packet);
    let joined = Joined { message: None, free: Some(Record::parse(record.as_bytes()).unwrap()) };
    let mut flow =
        with_knowledge(&mut Node::default(), |know| Namer::default().flow(&joined, know)).unwrap().flow;
    flow.kernel =
        Some(KernelDrop { reason: Some(1), reason_name: Some(reason.into()), ..KernelDrop::default() });
    flow.interface = Some(Interface { index: IfIndex(2), name: "eth0".into() });
    flow
}

fn cilium_drop(reason: u8, packet: Packet) -> Flow {
    let drop = CiliumDrop {
        reason: DropReason(reason),
        ext_error: 0,
        place: None,
        emitter: EndpointId(10),
        ip_trace_id: 0,
    };
    Flow { source: Source::Message, cilium: Some(drop), packet, ..kernel_drop("TC_INGRESS", &[]) }
}

fn icmpv6(kind: u8, source: &str) -> Packet {
    let ip = Ip {
        source: source.parse().unwrap(),
        destination: "ff02::2".parse().unwrap(),
        transport: Transport::Icmpv6 { kind, code: 0 },
        fragment: false,
        ttl: 255,
    };
    Packet { ip: Some(ip), ..Packet::default() }
}

fn frame(destination: [u8; 6], ethertype: u16) -> Packet {
    let ethernet = Ethernet { source: [2, 0, 0, 0, 0, 1], destination, ethertype };
    Packet { ethernet: Some(ethernet), ..Packet::default() }
}

#[test]
fn consumed_codes_are_folded_and_drops_are_not() {
    for reason in [173, 199, 200, 201, 205] {
        let flow = cilium_drop(reason, Packet::default());
        assert_eq!(classify(&flow, true), Some(NoiseClass::ConsumedByCilium));
    }
    for reason in [130, 132, 133, 139, 166, 181, 203] {
        assert_eq!(classify(&cilium_drop(reason, icmpv6(128, "fe80::1")), true), None, "{reason}");
    }
}

#[test]
fn first_ipv6_packets_of_an_endpoint_are_folded() {
    let class = Some(NoiseClass::Ipv6Autoconfiguration);
    for (kind, source) in
        [(133, "fe80::1"), (133, "::"), (143, "::"), (143, "fe80::1"), (131, "fe80::1"), (135, "::")]
    {
        assert_eq!(classify(&cilium_drop(132, icmpv6(kind, source)), true), class, "{kind} {source}");
        let kernel = Flow { packet: icmpv6(kind, source), ..kernel_drop("NOT_SPECIFIED", &[]) };
        assert_eq!(classify(&kernel, true), class);
    }
    // Spoofed, a real neighbour solicitation, denied by policy.
    for (reason, kind, source) in [(132, 133, "fd00::bad"), (132, 135, "fe80::1"), (133, 133, "fe80::1")] {
        assert_eq!(classify(&cilium_drop(reason, icmpv6(kind, source)), true), None);
    }
}

#[test]
fn link_control_frames_are_folded() {
    let (bridge, lldp) = ([1, 0x80, 0xc2, 0, 0, 0], [1, 0x80, 0xc2, 0, 0, 0x0e]);
    let class = Some(NoiseClass::LinkControl);
    for packet in [frame(bridge, 0x0027), frame(lldp, 0x88cc), frame([1, 0x80, 0xc2, 0, 0, 1], 0x8808)] {
        for reason in [139, 166] {
            assert_eq!(classify(&cilium_drop(reason, packet), true), class);
        }
        assert_eq!(classify(&Flow { packet, ..kernel_drop("UNHANDLED_PROTO", &[]) }, true), class);
    }
    assert_eq!(classify(&cilium_drop(166, frame([2; 6], 0x88e5)), true), None, "MACsec");
    assert_eq!(classify(&cilium_drop(166, frame([2; 6], 0x0027)), true), None, "802.3 to a station");
}

#[test]
fn kernel_drops_are_sorted_by_reason() {
    let packet = tcp(CLIENT, REMOTE);
    for (reason, expected) in [
        ("NO_SOCKET", None),
        ("NETFILTER_DROP", None),
        ("NOT_SPECIFIED", None),
        ("SOCKET_CLOSE", Some(NoiseClass::SocketTeardown)),
        ("QUEUE_PURGE", Some(NoiseClass::SocketTeardown)),
        ("OTHERHOST", Some(NoiseClass::OtherHost)),
        ("TCP_OLD_DATA", Some(NoiseClass::DuplicateData)),
        ("TC_INGRESS", None),
        ("TC_EGRESS", None),
    ] {
        assert_eq!(classify(&kernel_drop(reason, &packet), true), expected, "{reason}");
        assert_eq!(classify(&kernel_drop(reason, &packet), false), Some(NoiseClass::Elsewhere), "{reason}");
    }
    let queued = Flow { interface: None, ..kernel_drop("NOT_SPECIFIED", &packet) };
    assert_eq!(classify(&queued, true), Some(NoiseClass::SocketTeardown));
}

#[test]
fn tc_drop_on_a_cilium_interface_is_never_noise() {
    let flow = Flow { packet: icmpv6(133, "fe80::1"), ..kernel_drop("TC_INGRESS", &[]) };
    assert_eq!(classify(&flow, true), None);
}

#[test]
fn buffers_that_are_no_packets_are_told_apart() {
    let packet = Packet { length: 9000, ..Packet::default() };
    let flow = Flow { interface: None, packet, ..kernel_drop("NOT_SPECIFIED", &[]) };
    assert_eq!(classify(&flow, false), Some(NoiseClass::NotAPacket));
}

#[test]
fn names_of_classes_are_unique() {
    let mut names: Vec<_> = NoiseClass::ALL.iter().map(|class| class.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), NoiseClass::ALL.len());
    assert!(NoiseClass::ALL.iter().all(|class| !class.explanation().is_empty()));
}
