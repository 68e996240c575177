//! Bytes as nodes hold them, and what they mean. Keys are the worked examples of the orientation of Cilium's
//! tuples; values were laid out by hand from the structure of each release.

use super::generation::{Conflict, Generation, Generations, Sample, decide};
use super::*;
use crate::cilium::release::{Evidence, judge};

const CT4: &CtMap = &GLOBAL[0];
const ANY4: &CtMap = &GLOBAL[1];
const CT6: &CtMap = &GLOBAL[2];

/// Key bytes, lifetime 98765, flags 0x0013, RevNAT 7, tx flags 0x1a, rx flags 0x12, source identity 50001,
/// last reports 90765 and 90766: the end of a value, the same in all releases.
const TAIL: &str = "cd810100 13000007 00001a12 51c30000 8d620100 8e620100";
const OUT: &str = "0a000105 0a000209 1f90a8ca 0600";
const SERVICE: &str = "0a60000a 0a000105 a8ca0050 0604";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

fn only(generation: Generation, key: &str, value: &str) -> Option<CtEntry> {
    let map = if bytes(key).len() == 38 { CT6 } else { CT4 };
    decode(map, Generations::only(generation), &bytes(key), &bytes(value))
}

#[test]
fn keys_name_the_originator_first_whatever_way_they_are_stored() {
    for (map, hex, kind, is_in, source, destination) in [
        (CT4, OUT, Kind::Out, false, "10.0.1.5:43210", "10.0.2.9:8080"),
        (CT4, "0a000105 0a000209 1f90 a8ca 06 01", Kind::In, true, "10.0.1.5:43210", "10.0.2.9:8080"),
        (ANY4, "0a000105 0a000209 0000 0000 01 02", Kind::Related, false, "10.0.1.5:0", "10.0.2.9:0"),
        (ANY4, "0a000105 0a000209 0000 0000 01 03", Kind::Related, true, "10.0.1.5:0", "10.0.2.9:0"),
        (CT4, SERVICE, Kind::Service, false, "10.0.1.5:43210", "10.96.0.10:80"),
        // NodePort with SNAT: the service, then the connection to the backend.
        (
            CT4,
            "c000020a cb007107 c738 7580 06 04",
            Kind::Service,
            false,
            "203.0.113.7:51000",
            "192.0.2.10:30080",
        ),
        (CT4, "cb007107 0a000209 1f90 c738 06 00", Kind::Out, false, "203.0.113.7:51000", "10.0.2.9:8080"),
        // Ping with identifier 0x1234.
        (ANY4, "0a000105 0a000209 0000 1234 01 00", Kind::Out, false, "10.0.1.5:4660", "10.0.2.9:0"),
        // A pod that reaches itself through a service.
        (CT4, "a9fe2a01 0a000105 1f90 a8ca 06 01", Kind::In, true, "169.254.42.1:43210", "10.0.1.5:8080"),
        (
            CT6,
            "fd000010 00000000 00000000 00000005 fd000020 00000000 00000000 00000009 1f90a8ca 0601",
            Kind::In,
            true,
            "[fd00:10::5]:43210",
            "[fd00:20::9]:8080",
        ),
    ] {
        let key = decode_key(map, &bytes(hex)).unwrap_or_else(|| panic!("{hex}"));
        let ends = Ends { originator: source.parse().unwrap(), other: destination.parse().unwrap() };
        assert_eq!((key.kind, key.is_in, key.ends), (kind, is_in, ends), "{hex}");
    }
}

#[test]
fn keys_with_impossible_bits_are_not_decoded() {
    for (map, hex) in [
        // Flags that no release writes.
        (CT4, "0a000105 0a000209 1f90a8ca 0605"),
        (CT4, "0a000105 0a000209 1f90a8ca 0608"),
        // UDP among TCP, TCP among the rest, a related entry that is not ICMP.
        (CT4, "0a000105 0a000209 1f90a8ca 1100"),
        (ANY4, OUT),
        (ANY4, "0a000105 0a000209 0000 0000 11 02"),
        (CT4, "0a000105 0a000209 1f90a8ca 06"),
    ] {
        assert_eq!(decode_key(map, &bytes(hex)), None, "{hex}");
    }
}

#[test]
fn a_look_up_asks_for_the_keys_that_are_stored() {
    let keys = keys("10.0.1.5:43210".parse().unwrap(), "10.0.2.9:8080".parse().unwrap(), 6).unwrap();
    let expected = [
        (true, OUT),
        (true, "0a000105 0a000209 1f90a8ca 0601"),
        (true, "0a000209 0a000105 a8ca1f90 0604"),
        (false, "0a000105 0a000209 00000000 0102"),
        (false, "0a000105 0a000209 00000000 0103"),
    ];
    assert_eq!(keys, expected.map(|(tcp, hex)| (tcp, bytes(hex))));
    assert_eq!(super::keys("10.0.1.5:1".parse().unwrap(), "[fd00::1]:1".parse().unwrap(), 6), None);
}

#[test]
fn releases_from_1_16_count_both_directions_together() {
    let value = format!("00000000 00000000 00000000 00000000 0c000000 00000000 800d0000 00000000 {TAIL}");
    for generation in [Generation::Pair, Generation::Nat] {
        let entry = only(generation, OUT, &value).unwrap();
        assert_eq!(entry.counters, Counters::Both { packets: 12, bytes: 3456 });
        assert_eq!(
            (entry.common.lifetime, entry.common.flags, entry.common.rev_nat_index.get()),
            (98765, 0x13, 7)
        );
        assert_eq!((entry.common.tx_flags_seen, entry.common.rx_flags_seen), (0x1a, 0x12));
        assert_eq!((entry.common.last_tx_report, entry.common.last_rx_report), (90765, 90766));
        assert_eq!((entry.source_identity(), entry.state()), (Identity(50001), State::Closed));
        assert_eq!((entry.backend_id, entry.dsr), (0, None));
    }
}

#[test]
fn releases_up_to_1_15_count_each_direction() {
    let value = format!("05000000 00000000 a4010000 00000000 07000000 00000000 bc020000 00000000 {TAIL}");
    let entry = only(Generation::PerDirection, OUT, &value).unwrap();
    let expected = Counters::PerDirection { rx_packets: 5, rx_bytes: 420, tx_packets: 7, tx_bytes: 700 };
    assert_eq!((entry.counters, entry.backend_id), (expected, 0));
    // 1.16 leaves the first 16 bytes of such an entry empty, 1.19 has an address there.
    assert_eq!(only(Generation::Pair, OUT, &value), None);
    assert_eq!(only(Generation::Nat, OUT, &value), None);
}

#[test]
fn service_entries_have_their_backend_in_the_same_place_in_all_releases() {
    let value = format!("00000000 00000000 2a000000 00000000 00000000 00000000 00000000 00000000 {TAIL}");
    for generation in [Generation::PerDirection, Generation::Pair, Generation::Nat] {
        let entry = only(generation, SERVICE, &value).unwrap();
        assert_eq!((entry.backend_id, entry.dsr), (42, None), "{generation:?}");
    }
    let impossible =
        format!("01000000 00000000 2a000000 00000000 00000000 00000000 00000000 00000000 {TAIL}");
    assert_eq!(only(Generation::Pair, SERVICE, &impossible), None);
}

#[test]
fn releases_from_1_19_keep_the_address_for_dsr_in_outgoing_entries() {
    let tail = "cd810100 80000007 75801a12 51c30000 8d620100 8e620100";
    let value = format!("c000020a 00000000 00000000 00000000 00000000 00000000 00000000 00000000 {tail}");
    let entry = only(Generation::Nat, OUT, &value).unwrap();
    assert_eq!((entry.dsr, entry.ifindex), (Some("192.0.2.10:30080".parse().unwrap()), 0));
    assert_eq!(
        only(Generation::Nat, "0a000105 0a000209 1f90a8ca 0601", &value),
        None,
        "not where packets arrive"
    );
}

#[test]
fn states_follow_from_flags_that_were_seen() {
    for (protocol, flags, expected) in [
        (6, 0x0000, State::SynSent),
        (6, 0x0010, State::Established),
        (6, 0x0011, State::Closing),
        (6, 0x0012, State::Closing),
        (6, 0x0013, State::Closed),
        (17, 0x0000, State::Active),
        (17, 0x0003, State::Active),
    ] {
        assert_eq!(State::of(protocol, flags), expected, "{protocol} {flags:#x}");
    }
}

fn releases(text: &str) -> crate::cilium::release::Judgement {
    let evidence: Vec<Evidence> =
        crate::cilium::release::AgentVersion::parse(text).map(Evidence::Agent).into_iter().collect();
    judge(&evidence)
}

fn sample(entries: &[(&str, String)]) -> Sample {
    let mut sample = Sample::default();
    for (key, value) in entries {
        sample.add(&decode_key(CT4, &bytes(key)).unwrap(), &bytes(value));
    }
    sample
}

fn per_direction() -> String {
    format!("05000000 00000000 a4010000 00000000 07000000 00000000 bc020000 00000000 {TAIL}")
}

fn uncounted() -> String {
    format!("00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 {TAIL}")
}

#[test]
fn the_release_decides_and_the_entries_must_not_contradict() {
    let none = Sample::default();
    for (version, generation) in [
        ("1.14.2", Generation::PerDirection),
        ("1.15.7", Generation::PerDirection),
        ("1.16.1", Generation::Pair),
        ("1.17.5", Generation::Pair),
        ("1.18.0", Generation::Pair),
        ("1.19.0", Generation::Nat),
        ("1.20.1", Generation::Nat),
    ] {
        assert_eq!(decide(&releases(version), &none).unwrap().single(), Some(generation), "{version}");
    }
    let old = sample(&[(OUT, per_direction())]);
    let conflict = decide(&releases("1.17.5"), &old).unwrap_err();
    assert!(matches!(conflict, Conflict::Entries { strange: 1, entries: 1, .. }), "{conflict}");
}

#[test]
fn entries_decide_where_no_release_is_known() {
    let unknown = releases("");
    assert_eq!(
        decide(&unknown, &sample(&[(OUT, per_direction())])).unwrap().single(),
        Some(Generation::PerDirection)
    );
    // An incoming entry whose only counts are in the second pair: not of a release that counts directions.
    let both = format!("00000000 00000000 00000000 00000000 0c000000 00000000 800d0000 00000000 {TAIL}");
    let left = decide(&unknown, &sample(&[("0a000105 0a000209 1f90a8ca 0601", both)])).unwrap();
    assert!(!left.contains(Generation::PerDirection) && left.contains(Generation::Pair));
    let garbage = (OUT, "ff".repeat(56));
    assert!(matches!(decide(&unknown, &sample(&[garbage])), Err(Conflict::Unknown { .. })));
}

#[test]
fn one_strange_entry_among_many_is_no_evidence() {
    let mut entries = vec![(OUT, uncounted()); 99];
    entries.push((OUT, "ff".repeat(56)));
    assert_eq!(decide(&releases("1.17.5"), &sample(&entries)).unwrap().single(), Some(Generation::Pair));
}

#[test]
fn what_the_generations_do_not_agree_on_is_not_shown() {
    let decode = |value: &str| decode(CT4, Generations::ANY, &bytes(OUT), &bytes(value)).unwrap();
    assert_eq!(decode(&uncounted()).counters, Counters::Both { packets: 0, bytes: 0 });
    let both = format!("00000000 00000000 00000000 00000000 0c000000 00000000 800d0000 00000000 {TAIL}");
    let entry = decode(&both);
    assert_eq!((entry.counters, entry.common.lifetime), (Counters::Unclear, 98765));
}

proptest::proptest! {
    #[test]
    fn any_bytes_decode_or_do_not(key: [u8; 14], value in proptest::collection::vec(0u8.., 0..60)) {
        let _ = decode(CT4, Generations::ANY, &key, &value);
        let _ = decode(ANY4, Generations::only(Generation::Nat), &key, &value);
    }
}
