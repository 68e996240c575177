//! Bytes from the layout tables and from a running node (Cilium 1.17), with what its tool listed for them.

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn properties(slot: &Slot) -> Vec<&'static str> {
    slot.properties().collect()
}

#[test]
fn a_frontend_and_its_slots_decode() {
    let (key, slot) =
        slot(&bytes("0a60000a 0050 0000 06 00 0000"), &bytes("00000000 0300 0007 50 00 0000")).unwrap();
    assert_eq!(key.frontend.address, socket("10.96.0.10:80"));
    assert_eq!((key.slot, key.frontend.protocol, key.frontend.scope), (0, 6, 0));
    assert_eq!((slot.count, slot.service_id, slot.affinity_seconds()), (3, 7, Some(0)));
    let value = slot_value(&bytes("2a000000 0000 0007 40 00 0000")).unwrap();
    assert_eq!((value.backend_id(), value.service_id), (42, 7));
}

/// `198.51.100.6:80 (0) 0.0.0.0:0 (12) (0) [LoadBalancer, check source-range]` and so on.
#[test]
fn frontends_of_a_real_node_have_the_kinds_that_its_tool_lists() {
    for (value, kind, expected) in [
        ("00000000 0200 000c e0 00 0000", "LoadBalancer", &["check source-range"][..]),
        ("00000000 0200 000d 64 20 0000", "LoadBalancer", &["Local", "two-scopes"]),
        ("302a0000 0200 0004 10 00 0000", "ClusterIP", &["sessionAffinity", "non-routable"]),
        ("00000000 0200 0007 02 00 0000", "NodePort", &["non-routable"]),
        ("00000000 0200 000b 41 00 0000", "ExternalIPs", &[]),
    ] {
        let slot = slot_value(&bytes(value)).unwrap();
        assert_eq!((slot.kind(), properties(&slot).as_slice()), (kind, expected), "{value}");
    }
}

#[test]
fn the_first_word_of_a_frontend_is_read_by_its_flags() {
    let affinity = slot_value(&bytes("302a0002 0200 0004 10 00 0000")).unwrap();
    assert_eq!((affinity.affinity_seconds(), affinity.algorithm()), (Some(10800), Algorithm::Maglev));
    let proxy = slot_value(&bytes("36b10000 0100 0004 40 04 0000")).unwrap();
    assert_eq!((proxy.proxy_port(), proxy.affinity_seconds()), (Some(14001), None));
    assert_eq!(slot_value(&bytes("00000001 0000 0001 00 00 0000")).unwrap().algorithm(), Algorithm::Random);
}

#[test]
fn a_key_is_written_as_it_is_read() {
    for hex in ["0a60000a 0050 0100 06 01 0000", "fd000096 00000000 00000000 00000020 0050 0200 00 00 0000"] {
        let (key, _) = slot(&bytes(hex), &[0; 12]).unwrap();
        let (written, length) = key.bytes();
        assert_eq!(written[..length], bytes(hex));
    }
}

#[test]
fn backends_have_address_state_and_zone() {
    let (id, found) = backend(&bytes("2a000000"), &bytes("0a000209 1f90 06 00 0000 01 00")).unwrap();
    assert_eq!((id, found.address, found.state, found.zone), (42, socket("10.0.2.9:8080"), State::Active, 1));
    let v6 = "fd000015 00000000 00000000 00000012 1f90 00 01 0000 00 00";
    let (_, found) = backend(&bytes("03000000"), &bytes(v6)).unwrap();
    assert_eq!((found.address, found.state), (socket("[fd00:15::12]:8080"), State::Terminating));
}

#[test]
fn reverse_nat_names_the_frontend() {
    assert_eq!(reverse_nat(&bytes("0007"), &bytes("0a60000a 0050")), Some((7, socket("10.96.0.10:80"))));
    let v6 = "fd000096 00000000 00000000 00000010 0050";
    assert_eq!(reverse_nat(&bytes("0002"), &bytes(v6)), Some((2, socket("[fd00:96::10]:80"))));
    assert_eq!(reverse_nat(&bytes("0002"), &[0; 7]), None);
}

/// `10.99.0.0/16 (12)`
#[test]
fn a_source_range_is_a_prefix_of_clients() {
    let found = source_range(&bytes("30000000 000c 0000 0a630000")).unwrap();
    assert_eq!(
        (found.service_id, found.address, found.prefix_length),
        (12, "10.99.0.0".parse().unwrap(), 16)
    );
    assert_eq!(source_range(&bytes("1f000000 000c 0000 0a630000")), None);
    assert_eq!(source_range(&bytes("41000000 000c 0000 0a630000")), None);
}

#[test]
fn a_client_of_session_affinity_is_an_address_or_a_namespace() {
    let value = bytes("b901000000000000 01000000 00000000");
    let found = affinity(&bytes("0a0f000b00000000 0004 00 0000000000"), &value).unwrap();
    assert_eq!(found.client, Client::Address("10.15.0.11".parse().unwrap()));
    assert_eq!((found.service_id, found.backend_id, found.last_used), (4, 1, 441));
    let found = affinity(&bytes("0c10000000000000 0004 01 0000000000"), &value).unwrap();
    assert_eq!(found.client, Client::Namespace(0x100c));
    assert_eq!(affinity_match(&bytes("04000000 0005 0000")), Some((4, 5)));
}

#[test]
fn sockets_of_both_families_know_frontend_and_backend() {
    let found =
        reverse_sk(&bytes("0d10000000000000 0a0f000d 14e9 0000"), &bytes("0a600035 0035 0003")).unwrap();
    assert_eq!((found.cookie, found.backend), (0x100d, socket("10.15.0.13:5353")));
    assert_eq!((found.frontend, found.service_id), (socket("10.96.0.53:53"), 3));
    let key = "0f10000000000000 fd000015000000000000000000000012 1f90 0000 00000000";
    let found = reverse_sk(&bytes(key), &bytes("fd000096000000000000000000000010 0050 0002")).unwrap();
    assert_eq!(found.backend, socket("[fd00:15::12]:8080"));
    assert_eq!((found.frontend, found.service_id), (socket("[fd00:96::10]:80"), 2));
}

#[test]
fn a_skipped_frontend_belongs_to_a_namespace() {
    assert_eq!(skip(&bytes("0d10000000000000 0a600035 0035 0000")), Some((0x100d, socket("10.96.0.53:53"))));
    let v6 = "0d10000000000000 fd000096000000000000000000000010 00000000 0050 0000";
    assert_eq!(skip(&bytes(v6)), Some((0x100d, socket("[fd00:96::10]:80"))));
}

#[test]
fn impossible_bits_are_not_decoded() {
    let value = [0; 12];
    assert!(slot(&bytes("0a60000a 0050 0000 06 02 0000"), &value).is_none(), "scope 2");
    assert!(slot(&bytes("0a60000a 0050 0000 06 00 0001"), &value).is_none(), "padding");
    assert!(backend(&bytes("2a000000"), &bytes("0a000209 1f90 06 09 0000 01 00")).is_none(), "state 9");
    assert!(affinity(&bytes("0a0f000b00000000 0004 07 0000000000"), &[0; 16]).is_none());
}

proptest::proptest! {
    #[test]
    fn any_bytes_decode_or_do_not(
        key in proptest::collection::vec(0u8.., 0..40), value in proptest::collection::vec(0u8.., 0..30)
    ) {
        let _ = (slot(&key, &value), backend(&key, &value), reverse_nat(&key, &value), source_range(&key));
        let _ = (affinity(&key, &value), affinity_match(&key), reverse_sk(&key, &value));
        let _ = (health(&key, &value), skip(&key));
    }
}
