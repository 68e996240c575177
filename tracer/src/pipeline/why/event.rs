//! The packet of an event of `tracer drops -o json` or `jsonpb`, or of Hubble's own lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;

use serde_json::Value;
use tracer_common::id::Identity;

use crate::cli::why::EventFrom;
use crate::model::reason::DropReason;
use crate::pipeline::RunError;
use crate::why::answer::Told;

/// Longer lines are no events.
const MAX_LINE: u64 = 1 << 20;

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    /// Source and destination.
    pub ports: Option<(u16, u16)>,
    /// Type and code.
    pub icmp: Option<(u8, u8)>,
    /// As the datapath saw them; 0: not told.
    pub identities: (Identity, Identity),
    pub is_ingress: Option<bool>,
    pub told: Told,
}

/// The first event, and whether more follow.
pub fn read(from: &EventFrom) -> Result<(Event, bool), RunError> {
    let (name, input): (String, Box<dyn Read>) = match from {
        EventFrom::Stdin => ("stdin".to_owned(), Box::new(io::stdin())),
        EventFrom::File(path) => {
            let name = path.display().to_string();
            let file = File::open(path)
                .map_err(|source| RunError::NoMap(format!("--packet: cannot open `{name}`: {source}")))?;
            (name, Box::new(file))
        }
    };
    let fail = |why: String| RunError::NoMap(format!("--packet: {name}: {why}"));
    let mut lines = BufReader::new(input.take(64 * MAX_LINE));
    let mut found = None;
    loop {
        let mut line = Vec::new();
        let read = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(|error| fail(error.to_string()))? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let value: Value = serde_json::from_slice(&line)
            .map_err(|error| fail(format!("not a line of `drops -o json`: {error}")))?;
        // Lines about lost events stand between the events.
        let Some(flow) = value.get("flow") else { continue };
        if found.is_some() {
            return Ok((found.ok_or_else(|| fail("no event".to_owned()))?, true));
        }
        found = Some(parse(flow, &value).map_err(&fail)?);
    }
    Ok((found.ok_or_else(|| fail("no event: expected a line of `drops -o json`".to_owned()))?, false))
}

fn parse(flow: &Value, line: &Value) -> Result<Event, String> {
    let address = |end: &str| -> Result<IpAddr, String> {
        let text = flow["IP"][end].as_str().ok_or("the event is not about an IP packet")?;
        text.parse().map_err(|_| format!("`{text}` is no address"))
    };
    let identity =
        |end: &str| Identity(flow[end]["identity"].as_u64().and_then(|n| n.try_into().ok()).unwrap_or(0));
    let (protocol, ports, icmp) = layer4(flow, line)?;
    let is_drop = flow["event_type"]["type"] == 1;
    let sub_type = flow["event_type"]["sub_type"].as_u64().filter(|_| is_drop);
    let reason = sub_type.or_else(|| flow["drop_reason"].as_u64());
    Ok(Event {
        source: address("source")?,
        destination: address("destination")?,
        protocol,
        ports,
        icmp,
        identities: (identity("source"), identity("destination")),
        is_ingress: match flow["traffic_direction"].as_str() {
            Some("INGRESS") => Some(true),
            Some("EGRESS") => Some(false),
            _ => None,
        },
        told: Told {
            time: flow["time"].as_str().unwrap_or_default().to_owned(),
            reason: reason
                .and_then(|code| u8::try_from(code).ok())
                .filter(|code| *code >= 130)
                .map(DropReason),
            by_kernel: line["tracer"]["source"] == "kernel",
        },
    })
}

type Layer4 = (u8, Option<(u16, u16)>, Option<(u8, u8)>);

fn layer4(flow: &Value, line: &Value) -> Result<Layer4, String> {
    let l4 = &flow["l4"];
    for (name, protocol) in [("TCP", 6), ("UDP", 17), ("SCTP", 132)] {
        if l4[name].is_object() {
            // A port of 0 is left out.
            let port = |key: &str| l4[name][key].as_u64().and_then(|port| port.try_into().ok()).unwrap_or(0);
            return Ok((protocol, Some((port("source_port"), port("destination_port"))), None));
        }
    }
    for (name, protocol) in [("ICMPv4", 1), ("ICMPv6", 58)] {
        if l4[name].is_object() {
            let number = |key: &str| l4[name][key].as_u64().and_then(|n| n.try_into().ok()).unwrap_or(0);
            return Ok((protocol, None, Some((number("type"), number("code")))));
        }
    }
    match line["tracer"]["packet"]["protocol"].as_u64().and_then(|n| n.try_into().ok()) {
        Some(protocol) => Ok((protocol, None, None)),
        None => Err("the event does not tell protocol and ports".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Event, String> {
        let value: Value = serde_json::from_str(text).unwrap();
        parse(&value["flow"], &value)
    }

    #[test]
    fn ends_ports_and_identities_come_from_the_event() {
        let event = parsed(
            r#"{"flow":{"time":"2026-02-03T10:00:00.1Z","drop_reason":133,"IP":{"source":"10.0.1.5",
            "destination":"10.0.1.9","ipVersion":"IPv4"},"l4":{"TCP":{"source_port":40000,"destination_port":9090,
            "flags":{"SYN":true}}},"source":{"identity":12345},"destination":{"ID":7,"identity":23456},
            "event_type":{"type":1,"sub_type":133},"traffic_direction":"INGRESS"},"tracer":{"source":"message"}}"#,
        )
        .unwrap();
        assert_eq!((event.protocol, event.ports, event.icmp), (6, Some((40000, 9090)), None));
        assert_eq!(event.identities, (Identity(12345), Identity(23456)));
        assert_eq!((event.is_ingress, event.told.reason), (Some(true), Some(DropReason(133))));
    }

    #[test]
    fn icmp_has_a_type_and_other_protocols_a_number() {
        let event = parsed(
            r#"{"flow":{"IP":{"source":"fd00::1","destination":"fd00::2"},"l4":{"ICMPv6":{"type":128}}}}"#,
        );
        assert_eq!(event.unwrap().icmp, Some((128, 0)));
        let event = parsed(
            r#"{"flow":{"IP":{"source":"10.0.0.1","destination":"10.0.0.2"}},"tracer":{"packet":{"protocol":47}}}"#,
        );
        assert_eq!(event.unwrap().protocol, 47);
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        for (text, expected) in [
            (r#"{"flow":{}}"#, "the event does not tell protocol and ports"),
            (r#"{"flow":{"l4":{"TCP":{}}}}"#, "the event is not about an IP packet"),
            (r#"{"flow":{"l4":{"TCP":{}},"IP":{"source":"x"}}}"#, "`x` is no address"),
        ] {
            assert_eq!(parsed(text).unwrap_err(), expected);
        }
    }
}
