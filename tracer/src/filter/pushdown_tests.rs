//! The kernel-side filter against the exact one: random filters on random drops, with a plain reading of
//! what `tracer_common::config::Filter` promises.

use tracer_common::id::{EndpointId, IfIndex};

use super::super::tests::{build, ip};
use super::*;
use crate::model::endpoint::Peer;
use crate::model::flow::{CiliumDrop, Direction, Flow, InferredSet, Interface, Source, Verdict};
use crate::model::packet::{Packet, TcpFlags, Transport};
use crate::model::reason::KernelDrop;
use crate::model::time::{BootTime, WallTime};

/// What one record tells the kernel about a drop. Empty or `None`: not told.
#[derive(Debug, Default)]
struct Record {
    identities: Vec<u32>,
    addresses: Vec<std::net::IpAddr>,
    ports: Vec<u16>,
    protocol: Option<u8>,
    version: Option<u32>,
    ifindex: Option<u32>,
    cilium_reason: Option<u8>,
    kernel_reason: Option<u32>,
}

/// The kernel's decision, straight from the words of the documentation.
fn kernel_passes(filter: &Filter, record: &Record) -> bool {
    let identities = &filter.identities[..filter.identity_count as usize];
    let prefixes = &filter.prefixes[..filter.prefix_count as usize];
    let ports = &filter.ports[..filter.port_count as usize];
    let ifindexes = &filter.ifindexes[..filter.ifindex_count as usize];
    let kernel_reasons = &filter.kernel_reasons[..filter.kernel_reason_count as usize];
    let told = |identity: &u32| *identity != 0;
    let unknown_end = record.identities.len() < 2 || !record.identities.iter().all(told);
    let in_prefix = |address: &std::net::IpAddr, prefix: &Prefix| {
        let bytes = match address {
            std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            std::net::IpAddr::V6(v6) => v6.octets(),
        };
        bytes
            .chunks(4)
            .zip(prefix.addr)
            .zip(prefix.mask)
            .all(|((chunk, addr), mask)| u32::from_ne_bytes(chunk.try_into().unwrap()) & mask == addr)
    };
    let bit = |bits: &[u64; 4], n: u8| bits[usize::from(n) / 64] >> (n % 64) & 1 == 1;
    (identities.is_empty() || unknown_end || record.identities.iter().any(|id| identities.contains(id)))
        && (prefixes.is_empty()
            || record.addresses.is_empty()
            || record.addresses.iter().any(|a| prefixes.iter().any(|p| in_prefix(a, p))))
        && (ports.is_empty()
            || record.ports.is_empty()
            || record.ports.iter().any(|p| ports.contains(&u32::from(*p))))
        && (ifindexes.is_empty() || record.ifindex.is_none_or(|i| ifindexes.contains(&i)))
        && (kernel_reasons.is_empty() || record.kernel_reason.is_none_or(|r| kernel_reasons.contains(&r)))
        && (filter.by_protocol == 0 || record.protocol.is_none_or(|p| bit(&filter.protocols, p)))
        && (filter.by_reason == 0 || record.cilium_reason.is_none_or(|r| bit(&filter.reasons, r)))
        && (filter.ip_version == 0 || record.version.is_none_or(|v| v == filter.ip_version))
}

/// Knows `lxc1` as interface 11 and two kernel reasons.
const LOOKUPS: Lookups<'static> = Lookups {
    ifindexes: &|name| (name == "lxc1").then(|| vec![11]),
    kernel_reason: &|name| match name {
        "NO_SOCKET" => Some(3),
        "TC_INGRESS" => Some(73),
        _ => None,
    },
};

/// xorshift64*: the same numbers on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }
}

const FLAGS: &[(&str, &[&str])] = &[
    ("identity", &["1", "2", "12345", "0", "unknown"]),
    ("from-identity", &["1", "12345", "0"]),
    ("to-identity", &["2", "12345"]),
    ("ip", &["10.0.0.0/8", "10.1.1.1", "fd00::/16", "0.0.0.0/0", "::/0"]),
    ("from-ip", &["10.1.1.1", "fd00::1"]),
    ("to-ip", &["10.0.0.0/15", "fd00::/127"]),
    ("port", &["53", "80", "1-4", "1-100"]),
    ("from-port", &["53", "80-87"]),
    ("to-port", &["53", "80"]),
    ("protocol", &["tcp", "udp", "icmp", "132"]),
    ("ipv4", &[""]),
    ("ipv6", &[""]),
    ("ip-version", &["none"]),
    ("interface", &["lxc1", "lxc2", "lxc*"]),
    ("kernel-reason", &["NO_SOCKET", "TC_INGRESS", "73", "OTHER"]),
    ("drop-reason-desc", &["POLICY_DENIED", "181", "DROP_REASON_UNKNOWN"]),
    ("traffic-direction", &["ingress", "egress"]),
    ("verdict", &["DROPPED"]),
    ("label", &["!app"]),
    ("endpoint", &["7"]),
    ("tcp-flags", &["syn"]),
];

/// A filter of up to 12 random flags; `None` when they make none.
fn random_filter(dice: &mut Dice) -> Option<FilterSet> {
    let words: Vec<(String, &str)> = (0..=dice.roll(12))
        .map(|_| {
            let (flag, values) = FLAGS[dice.roll(FLAGS.len())];
            let not = if dice.roll(6) == 0 { "!" } else { "" };
            (format!("{not}{flag}"), dice.pick(values))
        })
        .collect();
    let words: Vec<(&str, &str)> = words.iter().map(|(flag, value)| (flag.as_str(), *value)).collect();
    build(&words).ok()
}

fn random_packet(dice: &mut Dice) -> Packet {
    let (source_port, destination_port) = (dice.pick(&[53, 80, 3, 4000]), dice.pick(&[53, 80, 86, 5000]));
    let transport = match dice.roll(6) {
        0 => Transport::Tcp { source_port, destination_port, flags: TcpFlags(2) },
        1 => Transport::Udp { source_port, destination_port },
        2 => Transport::Icmpv4 { kind: 8, code: 0 },
        3 => Transport::Icmpv6 { kind: 128, code: 0 },
        4 => Transport::LaterFragment { protocol: 17 },
        _ => Transport::Sctp { source_port, destination_port },
    };
    match dice.roll(5) {
        0 => Packet::default(),
        1 | 2 => ip(dice.pick(&["10.1.1.1", "11.0.0.1"]), dice.pick(&["10.1.1.1", "10.9.9.9"]), transport),
        _ => ip(dice.pick(&["fd00::1", "fe80::1"]), dice.pick(&["fd00::2", "2001:db8::1"]), transport),
    }
}

/// A drop and what one record of it may tell: the identities that the datapath told are the flow's, those that
/// it did not tell (0) were looked up later.
fn random_drop(dice: &mut Dice) -> (Flow, Record) {
    let packet = random_packet(dice);
    let told = [dice.pick(&[0, 1, 2, 12345]), dice.pick(&[0, 1, 2, 12345])];
    let noted = dice.roll(3) > 0;
    let mut peer = |told: u32| {
        let identity =
            if noted && told != 0 { Some(told) } else { dice.pick(&[None, Some(1), Some(2), Some(12345)]) };
        Peer { identity: identity.map(Identity), ..Peer::default() }
    };
    let (src, dst) = (peer(told[0]), peer(told[1]));
    let reason = dice.pick(&[133, 181, 140]);
    let kernel = (dice.roll(3) > 0).then(|| match dice.roll(3) {
        0 => KernelDrop { reason: None, ..KernelDrop::default() },
        1 => KernelDrop { reason: Some(3), reason_name: Some("NO_SOCKET".into()), ..KernelDrop::default() },
        _ => KernelDrop { reason: Some(73), reason_name: Some("TC_INGRESS".into()), ..KernelDrop::default() },
    });
    let (ifindex, name) = dice.pick(&[(11, "lxc1"), (12, "lxc2"), (11, "lxc1")]);
    let interface = (dice.roll(3) > 0).then(|| Interface { index: IfIndex(ifindex), name: name.into() });
    let addresses = packet.ip.map_or(vec![], |ip| vec![ip.source, ip.destination]);
    let ports = packet.transport().and_then(Transport::ports).map_or(vec![], |(s, d)| vec![s, d]);
    let record = Record {
        identities: if noted { told.to_vec() } else { vec![] },
        version: addresses.first().map(|a| if a.is_ipv4() { 4 } else { 6 }),
        protocol: packet.transport().map(Transport::protocol),
        ifindex: interface.as_ref().map(|i| i.index.0),
        cilium_reason: noted.then_some(reason),
        kernel_reason: kernel.as_ref().and_then(|k| k.reason).filter(|_| dice.roll(2) == 0),
        addresses,
        ports,
    };
    let place = CiliumDrop {
        reason: DropReason(reason),
        ext_error: 0,
        place: None,
        emitter: EndpointId(0),
        ip_trace_id: 0,
    };
    let flow = Flow {
        time: WallTime(0),
        boot_time: BootTime(0),
        verdict: Verdict::Dropped,
        source: if noted { Source::Note } else { Source::Kernel },
        direction: dice.pick(&[Direction::Ingress, Direction::Egress, Direction::Unknown]),
        cilium: noted.then_some(place),
        notice: None,
        kernel,
        packet,
        src,
        dst,
        interface,
        netns: 0,
        mark: 0,
        cpu: 0,
        skb: 0,
        hash: 0,
        inferred: InferredSet::default(),
        similar: 0,
        bytes: bytes::Bytes::new(),
    };
    (flow, record)
}

#[test]
fn the_kernel_lets_pass_whatever_the_exact_filter_shows() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let (mut pushed_filters, mut shown, mut rejected) = (0, 0, 0);
    for _ in 0..20_000 {
        let Some(filter) = random_filter(&mut dice) else { continue };
        let pushed = pushdown(&filter, &LOOKUPS);
        pushed_filters += usize::from(!pushed.dimensions.is_empty());
        for _ in 0..20 {
            let (flow, record) = random_drop(&mut dice);
            let passes = kernel_passes(&pushed.filter, &record);
            rejected += usize::from(!passes);
            if filter.matches(&flow) {
                shown += 1;
                assert!(passes, "{filter:#?}\npushed {pushed:?}\nrejects {record:?}\nof {flow:#?}");
            }
        }
    }
    assert!(
        pushed_filters > 1_000 && shown > 1_000 && rejected > 1_000,
        "{pushed_filters} {shown} {rejected}"
    );
}

fn dimensions(words: &[(&str, &str)]) -> String {
    pushdown(&build(words).unwrap(), &LOOKUPS).to_string()
}

#[test]
fn each_dimension_is_pushed_under_its_name() {
    assert_eq!(dimensions(&[("identity", "12345"), ("port", "80")]), "identity, port");
    assert_eq!(
        dimensions(&[("to-ip", "10.0.0.0/8"), ("protocol", "tcp"), ("ipv4", "")]),
        "ip, protocol, ip version"
    );
    assert_eq!(
        dimensions(&[("drop-reason-desc", "133"), ("kernel-reason", "NO_SOCKET"), ("interface", "lxc1")]),
        "drop reason, kernel reason, interface"
    );
}

#[test]
fn what_the_kernel_cannot_decide_stays_here() {
    for words in [
        &[][..],
        &[("!identity", "12345")],
        &[("pod", "client")],
        &[("label", "app=x")],
        &[("port", "1-9")],
        &[("interface", "lxc2")],
        &[("interface", "lxc*")],
        &[("kernel-reason", "NEW_IN_NEXT_KERNEL")],
        &[("drop-reason-desc", "DROP_REASON_UNKNOWN")],
        &[("ipv4", ""), ("ipv6", "")],
    ] {
        assert_eq!(dimensions(words), "none", "{words:?}");
    }
    let nine: Vec<String> = (1..=9).map(|n| n.to_string()).collect();
    let many: Vec<(&str, &str)> = nine.iter().map(|n| ("identity", n.as_str())).collect();
    assert_eq!(dimensions(&many), "none");
    assert_eq!(dimensions(&many[..8]), "identity");
}

#[test]
fn prefixes_are_in_network_order_with_ipv4_mapped() {
    let pushed = pushdown(&build(&[("ip", "10.1.2.3/16")]).unwrap(), &Lookups::NONE).filter;
    let bytes = |words: [u32; 4]| words.map(u32::to_ne_bytes).concat();
    assert_eq!(pushed.prefix_count, 1);
    assert_eq!(bytes(pushed.prefixes[0].addr), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 0, 0]);
    let mut mask = [0xff; 16];
    mask[14..].fill(0);
    assert_eq!(bytes(pushed.prefixes[0].mask), mask);
}

#[test]
fn both_ends_push_the_shorter_list() {
    let words = [("from-identity", "1"), ("from-identity", "2"), ("to-identity", "12345")];
    let filter = pushdown(&build(&words).unwrap(), &Lookups::NONE).filter;
    assert_eq!((filter.identity_count, filter.identities[0]), (1, 12345));
}
