//! What one round of the pretend node's traffic loses to Cilium's policy and checks, written down by hand from the
//! cast and the cases; and the same view of tracer's events, to compare the two.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::support::Places;
use crate::node::traffic::Sent;

/// Drops of one kind in one round.
#[derive(Debug)]
pub struct Expected {
    pub case: &'static str,
    /// Number and Hubble's name of it.
    pub reason: (u8, &'static str),
    pub source: &'static str,
    pub destination: &'static str,
    /// Hubble's name of the protocol, and its destination port or ICMP type.
    pub transport: Option<(&'static str, u64)>,
    /// Where Cilium can tell.
    pub direction: Option<&'static str>,
    pub vlan: Option<u64>,
    pub fragment: bool,
    pub file: &'static str,
    pub packets: u64,
}

const POLICY_DENIED: (u8, &str) = (133, "POLICY_DENIED");
const POLICY_DENY: (u8, &str) = (181, "POLICY_DENY");
const VLAN_FILTERED: (u8, &str) = (182, "VLAN_FILTERED");
const NO_FRAGMENTS: (u8, &str) = (157, "IP_FRAGMENTATION_NOT_SUPPORTED");
const LXC: &str = "bpf_lxc.c";
const HOST: &str = "bpf_host.c";
const CLIENT4: &str = "10.244.1.10";
const CLIENT6: &str = "fd00::1:10";
const SERVER4: &str = "10.244.1.20";
const SERVER6: &str = "fd00::1:20";

/// A policy drop at the server's door.
const fn denied(
    case: &'static str,
    ends: (&'static str, &'static str),
    transport: (&'static str, u64),
) -> Expected {
    Expected {
        case,
        reason: POLICY_DENIED,
        source: ends.0,
        destination: ends.1,
        transport: Some(transport),
        direction: Some("INGRESS"),
        vlan: None,
        fragment: false,
        file: LXC,
        packets: 1,
    }
}

/// A drop on the client's way out.
const fn outgoing(
    case: &'static str,
    reason: (u8, &'static str),
    destination: &'static str,
    transport: Option<(&'static str, u64)>,
) -> Expected {
    let base = denied(case, (CLIENT4, destination), ("", 0));
    Expected { reason, transport, direction: Some("EGRESS"), ..base }
}

/// Without the XDP case, which needs its program.
pub const ROUND: [Expected; 17] = [
    denied("denied-tcp", (CLIENT4, SERVER4), ("TCP", 9090)),
    denied("denied-tcp6", (CLIENT6, SERVER6), ("TCP", 9090)),
    denied("denied-udp", (CLIENT4, SERVER4), ("UDP", 53)),
    outgoing("explicit-deny", POLICY_DENY, "203.0.113.7", Some(("UDP", 53))),
    Expected {
        source: CLIENT6,
        ..outgoing("explicit-deny6", POLICY_DENY, "2001:db8:113::7", Some(("UDP", 53)))
    },
    denied("denied-echo", (CLIENT4, SERVER4), ("ICMPv4", 8)),
    denied("denied-echo6", (CLIENT6, SERVER6), ("ICMPv6", 128)),
    Expected { fragment: true, ..denied("denied-fragments", (CLIENT4, SERVER4), ("UDP", 9090)) },
    Expected {
        fragment: true,
        transport: None,
        packets: 2,
        ..denied("denied-fragments", (CLIENT4, SERVER4), ("", 0))
    },
    Expected {
        source: CLIENT6,
        fragment: true,
        ..outgoing("fragments6", NO_FRAGMENTS, SERVER6, Some(("UDP", 53)))
    },
    Expected {
        source: CLIENT6,
        fragment: true,
        packets: 2,
        ..outgoing("fragments6", NO_FRAGMENTS, SERVER6, None)
    },
    Expected {
        fragment: true,
        ..outgoing("late-fragment", (175, "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND"), SERVER4, None)
    },
    Expected { vlan: Some(7), ..outgoing("vlan", VLAN_FILTERED, SERVER4, Some(("TCP", 8080))) },
    Expected {
        source: "10.244.1.99",
        direction: None,
        ..outgoing("spoofed-source", (132, "INVALID_SOURCE_IP"), SERVER4, Some(("UDP", 9)))
    },
    outgoing("unknown-protocol", (137, "CT_UNKNOWN_L4_PROTOCOL"), SERVER4, None),
    denied("world-in", ("192.0.2.1", SERVER4), ("TCP", 8080)),
    Expected {
        reason: VLAN_FILTERED,
        vlan: Some(7),
        direction: None,
        file: HOST,
        ..denied("world-vlan", ("198.51.100.7", SERVER4), ("TCP", 8080))
    },
];

impl Expected {
    /// Whether the client, identity 12345, is an end of it: all but what comes from outside.
    pub fn is_clients(&self) -> bool {
        !self.case.starts_with("world-")
    }

    /// What stays the same in every run, as text that tells a reader what differs.
    pub fn shape(&self) -> String {
        let Self { reason, source, destination, transport, direction, vlan, fragment, file, .. } = self;
        let transport = transport.map_or_else(|| "-".to_owned(), |(name, port)| format!("{name} {port}"));
        let direction = direction.unwrap_or("-");
        let vlan = vlan.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let reason = format!("{} {}", reason.0, reason.1);
        format!(
            "{reason}: {source} > {destination} {transport} {direction} vlan {vlan} fragment {fragment} in {file}"
        )
    }
}

/// Drops by their shapes.
pub type Counts = BTreeMap<String, u64>;

/// What so many rounds lose.
pub fn expected(rounds: u64, wanted: impl Fn(&Expected) -> bool) -> Counts {
    let mut counts = Counts::new();
    for row in ROUND.iter().filter(|row| wanted(row)) {
        *counts.entry(row.shape()).or_default() += row.packets * rounds;
    }
    counts
}

/// That the table speaks of the packets which were really sent.
pub fn check_sent(sent: &[Sent]) -> Result<()> {
    for case in sent {
        let rows = ROUND.iter().filter(|row| row.case == case.case);
        let packets: u64 = rows.map(|row| row.packets * case.rounds).sum();
        let expected = if case.reason.is_some() { case.packets } else { 0 };
        ensure!(packets == expected, "{case:?}: the table says {packets} drops");
    }
    Ok(())
}

/// Whether Cilium dropped the packet.
pub fn is_ciliums(event: &Value) -> bool {
    event["flow"].get("drop_reason").is_some()
}

/// The event seen as [`Expected::shape`] sees a row.
pub fn shape(event: &Value) -> Result<String> {
    let flow = &event["flow"];
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let number = |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), |n| n.to_string());
    // Hubble's rule asks whose address the source is, and this one is nobody's: a message gives a direction all the
    // same, a note does not.
    let direction = if flow["drop_reason"] == 132 { &Value::Null } else { &flow["traffic_direction"] };
    let transport = match flow["l4"].as_object().and_then(|l4| l4.iter().next()) {
        Some((name, l4)) => format!("{name} {}", number(l4.get("destination_port").unwrap_or(&l4["type"]))),
        None => "-".to_owned(),
    };
    let packet = event["tracer"].get("packet").context("no packet in `tracer`")?;
    Ok(format!(
        "{} {}: {} > {} {transport} {} vlan {} fragment {} in {}",
        number(&flow["drop_reason"]),
        text(&flow["drop_reason_desc"]),
        text(&flow["IP"]["source"]),
        text(&flow["IP"]["destination"]),
        text(direction),
        number(&packet["vlan"]),
        packet["fragment"] == true,
        text(&flow["file"]["name"]),
    ))
}

/// Cilium's drops among `events`.
pub fn counts(events: &[Value]) -> Result<Counts> {
    let mut counts = Counts::new();
    for event in events.iter().filter(|event| is_ciliums(event)) {
        *counts.entry(shape(event)?).or_default() += 1;
    }
    Ok(counts)
}

/// Fails with the rows that differ.
pub fn compare(what: &str, found: &Counts, expected: &Counts) -> Result<()> {
    let keys = found.keys().chain(expected.keys());
    let differs = |shape: &&String| found.get(*shape) != expected.get(*shape);
    let mut lines: Vec<String> = keys
        .filter(differs)
        .map(|shape| {
            let count = |counts: &Counts| counts.get(shape).copied().unwrap_or(0);
            format!("{} found, {} expected: {shape}", count(found), count(expected))
        })
        .collect();
    lines.sort();
    lines.dedup();
    ensure!(lines.is_empty(), "{what}:\n{}", lines.join("\n"));
    Ok(())
}

/// Cilium's drops among `events` by reason, file id and line.
pub fn places(events: &[Value]) -> Result<Places> {
    let mut places = Places::new();
    for event in events.iter().filter(|event| is_ciliums(event)) {
        let flow = &event["flow"];
        let number = |value: &Value| value.as_u64().with_context(|| format!("no number in {event}"));
        let file = match flow["file"]["name"].as_str() {
            Some(HOST) => 1,
            Some(LXC) => 2,
            Some("bpf_xdp.c") => 4,
            other => anyhow::bail!("file {other:?} in {event}"),
        };
        let place = (number(&flow["drop_reason"])? as u8, file, number(&flow["file"]["line"])? as u16);
        *places.entry(place).or_default() += 1;
    }
    Ok(places)
}
