//! Bytes as a node holds them, with their meaning. The bytes were laid out by hand and by a C compiler from
//! Cilium's headers, not by this crate. Little-endian, memory order.

extern crate std;

use core::net::IpAddr;
use std::vec::Vec;

use zerocopy::{FromBytes, IntoBytes};

use super::ct::{CtEntry, CtEntryNat, CtEntryPerDirection, Ends, flag as ct_flag};
use super::ipcache::{IpcacheKey, IpcacheValue, IpcacheValueV2, flag as ipcache_flag};
use super::lb::{Backend4, Service, ServiceKey4, backend_state, flag as lb_flag};
use super::lxc::{EndpointInfo, EndpointKey};
use super::metrics::{MetricsKey, direction};
use super::nat::NatEntry4;
use super::policy::{
    Generation, PolicyEntryCompact, PolicyEntryPrecedence, PolicyEntryPrefix, PolicyEntryWildcard, PolicyKey,
};
use super::tuple::{Tuple4, Tuple6, flag as tuple_flag};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Reads the vector, and checks that writing it back gives the same bytes.
fn read<T: FromBytes + IntoBytes + zerocopy::Immutable>(hex: &str) -> T {
    let raw = bytes(hex);
    let value = T::read_from_bytes(&raw).expect("the vector has the size of the structure");
    assert_eq!(value.as_bytes(), raw);
    value
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn ipcache_keys_are_host_prefixes() {
    for (hex, address, bits) in [
        ("40000000 00000001 0a000209 00000000 00000000 00000000", "10.0.2.9", 32),
        ("a0000000 00000002 fd000020 00000000 00000000 00000009", "fd00:20::9", 128),
    ] {
        let key: IpcacheKey = read(hex);
        assert_eq!(key.cidr(), Some((ip(address), bits)));
        assert_eq!(key, IpcacheKey::host(ip(address)));
    }
}

#[test]
fn ipcache_key_with_impossible_bits_is_no_prefix() {
    for hex in [
        // Prefix shorter than the static part.
        "1f000000 00000001 0a000209 00000000 00000000 00000000",
        // 33 bits of IPv4.
        "41000000 00000001 0a000209 00000000 00000000 00000000",
        // IPv6 bytes in the IPv4 family.
        "40000000 00000001 fd000020 00000000 00000000 00000009",
        // Family 3.
        "40000000 00000003 0a000209 00000000 00000000 00000000",
    ] {
        assert_eq!(read::<IpcacheKey>(hex).cidr(), None, "{hex}");
    }
}

#[test]
fn ipcache_values_of_both_generations_name_identity_and_node() {
    let old: IpcacheValue = read("52c30000 c0000214 00000000");
    assert_eq!((old.sec_identity, old.tunnel_endpoint()), (50002, Some(ip("192.0.2.20"))));
    let new: IpcacheValueV2 = read("52c30000 c0000214 00000000 00000000 00000000 00000002");
    assert_eq!((new.sec_identity, new.tunnel_endpoint()), (50002, Some(ip("192.0.2.20"))));
    assert_eq!(new.flags, ipcache_flag::HAS_TUNNEL_ENDPOINT);
}

#[test]
fn lxc_entry_is_endpoint_1234() {
    let key: EndpointKey = read("0a000105 00000000 00000000 00000000 01000000");
    assert_eq!(key.ip(), Some(ip("10.0.1.5")));
    assert_eq!(key, EndpointKey::new(ip("10.0.1.5")));
    let value: EndpointInfo = read(
        "1b000000 0000d204 00000000 00000000 0a1b2c3d 4e5f0000 6a7b8c9d aebf0000 51c30000 00000000 00000000 00000000",
    );
    assert_eq!((value.ifindex, value.lxc_id, value.sec_id, value.is_host()), (27, 1234, 50001, false));
    assert_eq!(value.mac.mac, [0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f]);
    assert_eq!(value.node_mac.mac, [0x6a, 0x7b, 0x8c, 0x9d, 0xae, 0xbf]);
}

#[test]
fn metrics_key_is_a_policy_drop_at_line_2101() {
    let key: MetricsKey = read("85013508 02000000");
    assert_eq!((key.reason, key.direction(), key.place()), (133, direction::INGRESS, Some((2, 2101))));
}

#[test]
fn metrics_key_before_1_16_has_no_place() {
    let key: MetricsKey = read("85010000 00000000");
    assert_eq!((key.reason, key.direction(), key.place()), (133, direction::INGRESS, None));
}

#[test]
fn policy_keys_mean_what_their_prefix_length_says() {
    for (hex, egress, identity, protocol, ports) in [
        ("40000000 51c30000 00061f90", false, 50001, Some(6), Some((8080, 8080))),
        ("3d000000 51c30000 00061f90", false, 50001, Some(6), Some((8080, 8087))),
        ("30000000 00000000 01110000", true, 0, Some(17), None),
        ("28000000 00000000 00000000", false, 0, None, None),
        // Ports 0 to 65535 given with one bit: 32768 and up.
        ("31000000 00000000 00068000", false, 0, Some(6), Some((32768, 65535))),
    ] {
        let key: PolicyKey = read(hex);
        let found = (key.is_egress(), key.sec_label, key.protocol(), key.ports());
        assert_eq!(found, (egress, identity, protocol, ports), "{hex}");
    }
}

#[test]
fn policy_key_with_half_a_protocol_is_refused() {
    for hex in ["2c000000 00000000 00000000", "41000000 00000000 00000000", "27000000 00000000 00000000"] {
        assert_eq!(read::<PolicyKey>(hex).lpm_prefix_length(), None, "{hex}");
    }
}

#[test]
fn policy_values_up_to_1_16() {
    let any: PolicyEntryWildcard = read("00000600 00000000 05000000 00000000 a4010000 00000000");
    assert!(any.is_any_protocol() && any.is_any_port() && !any.is_deny());
    assert_eq!((any.packets, any.bytes, any.proxy_port.get()), (5, 420, 0));
    let redirect: PolicyEntryWildcard = read("36b10000 00000000 00000000 00000000 00000000 00000000");
    assert!(!redirect.is_any_protocol() && !redirect.is_any_port() && !redirect.is_deny());
    assert_eq!(redirect.proxy_port.get(), 14001);
}

#[test]
fn policy_value_1_17_is_a_deny_with_full_key() {
    let deny: PolicyEntryPrefix = read("0000c100 00000000 00000000 00000000 00000000 00000000");
    assert_eq!((deny.is_deny(), deny.lpm_prefix_length(), deny.auth_type()), (true, 24, 0));
}

#[test]
fn policy_value_1_18_redirects_with_priority() {
    let redirect: PolicyEntryCompact = read("36b1c000 01000000");
    assert_eq!((redirect.proxy_port.get(), redirect.proxy_port_priority), (14001, 1));
    assert_eq!((redirect.is_deny(), redirect.lpm_prefix_length()), (false, 24));
}

#[test]
fn policy_value_1_19_has_precedence_and_cookie() {
    let allow: PolicyEntryPrecedence = read("00004081 e8030000 4d000000");
    assert_eq!((allow.is_deny(), allow.lpm_prefix_length()), (false, 8));
    assert_eq!((allow.auth_type(), allow.has_explicit_auth_type()), (1, true));
    assert_eq!((allow.precedence, allow.cookie), (1000, 77));
}

#[test]
fn one_entry_tells_the_two_policy_generations_of_24_bytes_apart() {
    let any = "28000000 00000000 00000000";
    let udp = "30000000 00000000 01110000";
    let full = "40000000 51c30000 00061f90";
    for (key, flags, expected) in [
        (any, 0x06, Some(Generation::Wildcard)),
        (any, 0x07, Some(Generation::Wildcard)),
        (any, 0x00, Some(Generation::Prefix)),
        (any, 0x01, Some(Generation::Prefix)),
        (any, 0x02, None),
        (udp, 0x04, Some(Generation::Wildcard)),
        (udp, 0x40, Some(Generation::Prefix)),
        (full, 0x00, Some(Generation::Wildcard)),
        (full, 0xc1, Some(Generation::Prefix)),
        (full, 0xc6, None),
        (full, 0x40, None),
    ] {
        let mut value = [0; 24];
        value[2] = flags;
        assert_eq!(Generation::of_entry(&read(key), &value), expected, "{key} {flags:#04x}");
    }
}

fn ends(originator: &str, other: &str) -> Ends {
    Ends { originator: originator.parse().unwrap(), other: other.parse().unwrap() }
}

/// The last three: a companion for ICMP errors, a ping, and the entry of a node port.
#[test]
fn ct_keys_name_the_originator_whatever_their_orientation() {
    for (hex, protocol, flags, originator, other) in [
        ("0a000105 0a000209 1f90a8ca 0600", 6, 0, "10.0.1.5:43210", "10.0.2.9:8080"),
        ("0a60000a 0a000105 a8ca0050 0604", 6, tuple_flag::SERVICE, "10.0.1.5:43210", "10.96.0.10:80"),
        (
            "0a000105 0a000209 00000000 0103",
            1,
            tuple_flag::IN | tuple_flag::RELATED,
            "10.0.1.5:0",
            "10.0.2.9:0",
        ),
        ("0a000105 0a000209 00001234 0100", 1, 0, "10.0.1.5:4660", "10.0.2.9:0"),
        ("c000020a cb007107 c7387580 0604", 6, tuple_flag::SERVICE, "203.0.113.7:51000", "192.0.2.10:30080"),
    ] {
        let key: Tuple4 = read(hex);
        assert_eq!((key.nexthdr, key.flags, key.ends()), (protocol, flags, ends(originator, other)), "{hex}");
    }
}

#[test]
fn ct6_key_is_an_incoming_connection() {
    let key: Tuple6 =
        read("fd000010 00000000 00000000 00000005 fd000020 00000000 00000000 00000009 1f90a8ca 0601");
    assert_eq!((key.nexthdr, key.flags), (6, tuple_flag::IN));
    assert_eq!(key.ends(), ends("[fd00:10::5]:43210", "[fd00:20::9]:8080"));
}

const CT_VALUE: &str = "00000000 00000000 00000000 00000000 0c000000 00000000 800d0000 00000000 \
                        cd810100 13000007 00001a12 51c30000 8d620100 8e620100";

#[test]
fn ct_value_1_16_counts_both_directions_together() {
    let entry: CtEntry = read(CT_VALUE);
    assert_eq!((entry.packets, entry.bytes, entry.backend_id), (12, 3456, 0));
    let common = entry.common;
    assert_eq!((common.lifetime, common.rev_nat_index.get(), common.src_sec_id), (98765, 7, 50001));
    assert_eq!(common.flags, ct_flag::RX_CLOSING | ct_flag::TX_CLOSING | ct_flag::SEEN_NON_SYN);
    assert_eq!((common.tx_flags_seen, common.rx_flags_seen), (0x1a, 0x12));
    assert_eq!((common.last_tx_report, common.last_rx_report), (90765, 90766));
}

#[test]
fn ct_values_of_all_generations_share_what_follows_the_counters() {
    let now: CtEntry = read(CT_VALUE);
    assert_eq!(read::<CtEntryPerDirection>(CT_VALUE).common, now.common);
    assert_eq!(read::<CtEntryNat>(CT_VALUE).common, now.common);
    assert_eq!(read::<CtEntryPerDirection>(CT_VALUE).tx_packets, 12);
}

#[test]
fn nat_entry_masquerades_a_pod() {
    let key: Tuple4 = read("c6336401 0a000105 01bba8ca 0600");
    assert_eq!((key.saddr(), key.sport.get()), (ip("10.0.1.5"), 43210));
    assert_eq!((key.daddr(), key.dport.get(), key.flags), (ip("198.51.100.1"), 443, 0));
    let value: NatEntry4 =
        read("905f0100 00000000 00000000 00000000 00000000 00000000 00000000 00000000 c000020a ef320000");
    assert_eq!((value.created, value.to_addr, value.to_port.get()), (90000, [192, 0, 2, 10], 61234));
}

#[test]
fn service_entries_are_a_frontend_and_its_first_slot() {
    let key: ServiceKey4 = read("0a60000a 00500000 06000000");
    assert_eq!((key.address, key.dport.get()), ([10, 96, 0, 10], 80));
    assert_eq!((key.backend_slot, key.proto, key.scope), (0, 6, 0));
    let frontend: Service = read("00000000 03000007 50000000");
    assert_eq!((frontend.count, frontend.rev_nat_index.get()), (3, 7));
    assert_eq!(frontend.flags, lb_flag::ROUTABLE | lb_flag::AFFINITY);
    let slot: Service = read("2a000000 00000007 40000000");
    assert_eq!(
        (slot.backend_id_or_settings, slot.rev_nat_index.get(), slot.flags),
        (42, 7, lb_flag::ROUTABLE)
    );
}

#[test]
fn proxy_port_of_a_service_is_in_network_order() {
    assert_eq!(read::<Service>("36b10000 00000007 40040000").l7lb_port(), 14001);
}

#[test]
fn backend_is_active_in_zone_1() {
    let backend: Backend4 = read("0a000209 1f900600 00000100");
    assert_eq!((backend.address, backend.port.get(), backend.proto), ([10, 0, 2, 9], 8080, 6));
    assert_eq!((backend.state, backend.cluster_id, backend.zone), (backend_state::ACTIVE, 0, 1));
}
