//! Rows by hand, from entries of a running node and what its tool printed of them.

use super::super::listing::{ListFormat, Listing, ListingOptions};
use super::*;
use crate::cilium::ct::generation::{Generation, Generations};
use crate::cilium::ct::{GLOBAL, decode};
use crate::cilium::state::config::{AgentConfig, CtClock};

const KEY: &str = "0a0f000b0a0f000c1f909c410601";
const VALUE: &str = "0000000000000000000000000000000000000000000000000000000000000000f92000001000000000000202224e0000b9010000b9010000";

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap())
        .collect()
}

fn listed(format: ListFormat, generation: Generation, value: &str, pod: Option<(&str, &str)>) -> String {
    let entry = decode(&GLOBAL[0], Generations::only(generation), &bytes(KEY), &bytes(value)).unwrap();
    let config = AgentConfig { ct_clock: Some(CtClock::Ktime), ..AgentConfig::default() };
    let clock = Clock::at(&config, 441);
    let row = CtRow {
        map: "cilium_ct4_global",
        entry: &entry,
        clock: &clock,
        source_pod: pod,
        destination_pod: None,
        time_diff: false,
    };
    let mut out = Vec::new();
    let options = ListingOptions { format, no_headers: true, ..ListingOptions::default() };
    let mut listing = Listing::new(&mut out, &options, COLUMNS);
    assert!(listing.row(&row).is_continue());
    listing.finish().unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_line_of_cilium_dbg_is_the_same_to_the_last_blank() {
    let expected = "TCP IN 10.15.0.11:40001 -> 10.15.0.12:8080 expires=8441 Packets=0 Bytes=0 RxFlagsSeen=0x02 LastRxReport=441 TxFlagsSeen=0x02 LastTxReport=441 Flags=0x0010 [ SeenNonSyn ] RevNAT=0 SourceSecurityID=20002 IfIndex=0 BackendID=0 \n";
    assert_eq!(listed(ListFormat::Cilium, Generation::Pair, VALUE, None), expected);
}

#[test]
fn old_releases_have_counters_per_direction() {
    let value =
        format!("{}{}", "0500000000000000a4010000000000000700000000000000bc02000000000000", &VALUE[64..]);
    let line = listed(ListFormat::Cilium, Generation::PerDirection, &value, None);
    let expected = "TCP IN 10.15.0.11:40001 -> 10.15.0.12:8080 expires=8441 RxPackets=5 RxBytes=420 RxFlagsSeen=0x02 LastRxReport=441 TxPackets=7 TxBytes=700 TxFlagsSeen=0x02 LastTxReport=441 Flags=0x0010 [ SeenNonSyn ] RevNAT=0 SourceSecurityID=20002 IfIndex=0 \n";
    assert_eq!(line, expected);
}

#[test]
fn a_json_row_has_all_that_is_known() {
    let line = listed(ListFormat::Jsonl, Generation::Pair, VALUE, Some(("default", "cli\"ent")));
    let row: serde_json::Value = serde_json::from_str(&line).unwrap();
    let expected = serde_json::json!({
        "map": "cilium_ct4_global", "kind": "in", "direction": "in", "protocol": "TCP",
        "source_ip": "10.15.0.11", "source_port": 40001,
        "destination_ip": "10.15.0.12", "destination_port": 8080,
        "state": "established", "remaining_seconds": 8000, "expired": false, "lifetime": 8441,
        "flags": ["SeenNonSyn"], "rev_nat_id": 0, "source_identity": 20002,
        "source_pod": "default/cli\"ent", "packets": 0, "bytes": 0,
        "tx_flags_seen": 2, "rx_flags_seen": 2, "last_tx_seconds": 0, "last_rx_seconds": 0,
    });
    assert_eq!(row, expected);
}

#[test]
fn a_table_row_keeps_the_words_that_people_search_for() {
    let line = listed(ListFormat::Table, Generation::Pair, VALUE, Some(("default", "client")));
    let expected = "TCP  in  10.15.0.11:40001  10.15.0.12:8080  established  8000  default/client    SourceSecurityID=20002 Flags=0x0010 [ SeenNonSyn ]\n";
    assert_eq!(line, expected);
}
