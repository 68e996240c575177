//! Rows of `tracer nat`.

use std::io::Write as _;

use super::listing::{Column, Object, Row, value};
use super::protocol;
use crate::cilium::nat::{Direction, NatEntry};
use crate::model::endpoint::LocalEndpoint;
use crate::nat::ports::{Destination, Owner};

/// What a half says, and in `nat orphans` what is wrong with it.
const ALL_COLUMNS: [Column; 13] = [
    Column::text("map").wide(),
    Column::text("direction"),
    Column::text("protocol"),
    Column::text("source_ip"),
    Column::number("source_port"),
    Column::text("destination_ip"),
    Column::number("destination_port"),
    Column::text("to_ip"),
    Column::number("to_port"),
    Column::number("created_seconds_ago"),
    Column::number("needs_ct"),
    Column::text("pod"),
    Column::text("problems"),
];

pub const ORPHAN_COLUMNS: &[Column] = &ALL_COLUMNS;

/// All but the last.
pub const LIST_COLUMNS: &[Column] = ALL_COLUMNS.split_at(ALL_COLUMNS.len() - 1).0;

pub const PORTS_COLUMNS: &[Column] = &[
    Column::text("egress_ip"),
    Column::text("destination_ip"),
    Column::number("destination_port"),
    Column::text("protocol"),
    Column::number("used"),
    Column::number("free"),
    Column::number("used_percent"),
    Column::number("failure_percent"),
    Column::number("shared_used"),
    Column::number("outside").wide(),
    Column::text("pods"),
];

/// One half of a translation.
pub struct NatRow<'a> {
    pub map: &'a str,
    pub entry: &'a NatEntry,
    /// `None`: the clock that stamped it is not that of this machine.
    pub created_seconds_ago: Option<u64>,
    /// The endpoint of this node whose connection it is.
    pub endpoint: Option<&'a LocalEndpoint>,
    /// Words for what is wrong, in `nat orphans`.
    pub problems: Option<&'a [&'static str]>,
}

/// `namespace/pod`; nothing for endpoints that are no pods.
fn pod_name(out: &mut Vec<u8>, endpoint: &LocalEndpoint) {
    if !endpoint.pod.is_empty() {
        value::foreign(out, &endpoint.namespace);
        out.push(b'/');
        value::foreign(out, &endpoint.pod);
    }
}

fn pod_members(members: &mut Object<'_>, endpoint: Option<&LocalEndpoint>) {
    let Some(endpoint) = endpoint else { return };
    members.always_number("endpoint_id", endpoint.id.0);
    members.string("namespace", &endpoint.namespace);
    members.string("pod", &endpoint.pod);
}

const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Out => "out",
        Direction::In => "in",
    }
}

impl Row for NatRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        let entry = self.entry;
        match column {
            0 => value::foreign(out, self.map),
            1 => out.extend_from_slice(direction(entry.direction).as_bytes()),
            2 => protocol::write(out, entry.protocol),
            3 => value::address(out, entry.source.ip()),
            4 => value::number(out, entry.source.port()),
            5 => value::address(out, entry.destination.ip()),
            6 => value::number(out, entry.destination.port()),
            7 => value::address(out, entry.to.ip()),
            8 => value::number(out, entry.to.port()),
            9 => self.created_seconds_ago.into_iter().for_each(|ago| value::number(out, ago)),
            10 => value::number(out, u8::from(entry.needs_ct)),
            11 => self.endpoint.into_iter().for_each(|endpoint| pod_name(out, endpoint)),
            12 => out.extend_from_slice(self.problems.unwrap_or_default().join(",").as_bytes()),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        let entry = self.entry;
        members.always_string("map", self.map);
        members.always_string("direction", direction(entry.direction));
        members.plain("protocol", |out| protocol::write(out, entry.protocol));
        for (ip_key, port_key, end) in [
            ("source_ip", "source_port", entry.source),
            ("destination_ip", "destination_port", entry.destination),
            ("to_ip", "to_port", entry.to),
        ] {
            members.always_address(ip_key, end.ip());
            members.always_number(port_key, end.port());
        }
        members.always_number("created", entry.created);
        match self.created_seconds_ago {
            Some(ago) => members.always_number("created_seconds_ago", ago),
            None => members.null("created_seconds_ago"),
        }
        members.always_flag("needs_ct", entry.needs_ct);
        pod_members(members, self.endpoint);
        if let Some(problems) = self.problems {
            members.always_strings("problems", problems.iter().copied());
        }
    }

    fn vendor(&self, out: &mut Vec<u8>) -> bool {
        let entry = self.entry;
        let (word, xlate) = match entry.direction {
            Direction::Out => ("OUT", "XLATE_SRC"),
            Direction::In => ("IN", "XLATE_DST"),
        };
        protocol::write(out, entry.protocol);
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            " {word} {} -> {} {xlate} {} Created={}sec ago NeedsCT={}",
            entry.source,
            entry.destination,
            entry.to,
            self.created_seconds_ago.unwrap_or(0),
            u8::from(entry.needs_ct)
        );
        true
    }
}

/// Whose ports, with the endpoint behind the address if there is one.
pub struct NamedOwner<'a> {
    pub owner: Owner,
    pub endpoint: Option<&'a LocalEndpoint>,
}

/// What one destination uses.
pub struct PortsRow<'a> {
    pub destination: &'a Destination,
    /// Ports of the range that are used.
    pub used: u32,
    /// Ports in the range.
    pub size: u32,
    /// Used ports that are not in the range.
    pub outside: u32,
    /// From 0 to 1.
    pub failure: f64,
    /// Of the ports that long searches end in, how many are used, and how many there are.
    pub shared: (u32, u32),
    /// Most ports first.
    pub owners: &'a [NamedOwner<'a>],
}

/// Owners that the text formats name.
const NAMED_OWNERS: usize = 3;

impl PortsRow<'_> {
    fn percent(&self, out: &mut Vec<u8>) {
        let _ = write!(out, "{:.4}", self.failure * 100.0);
    }

    fn owners(&self, out: &mut Vec<u8>) {
        for (index, named) in self.owners.iter().take(NAMED_OWNERS).enumerate() {
            out.extend_from_slice(if index == 0 { b"" } else { b" " });
            let start = out.len();
            named.endpoint.into_iter().for_each(|endpoint| pod_name(out, endpoint));
            if out.len() == start {
                value::address(out, named.owner.address);
            }
            out.push(b'=');
            value::number(out, named.owner.ports);
        }
        if self.owners.len() > NAMED_OWNERS {
            let _ = write!(out, " and {} more", self.owners.len() - NAMED_OWNERS);
        }
    }
}

impl Row for PortsRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        let Destination { egress, remote, protocol } = *self.destination;
        match column {
            0 => value::address(out, egress),
            1 => value::address(out, remote.ip()),
            2 => value::number(out, remote.port()),
            3 => protocol::write(out, protocol),
            4 => value::number(out, self.used),
            5 => value::number(out, self.size - self.used),
            6 => value::percent(out, self.used.into(), self.size.into()),
            7 => self.percent(out),
            8 => drop(write!(out, "{}/{}", self.shared.0, self.shared.1)),
            9 => value::number(out, self.outside),
            10 => self.owners(out),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        let Destination { egress, remote, protocol } = *self.destination;
        members.always_address("egress_ip", egress);
        members.always_address("destination_ip", remote.ip());
        members.always_number("destination_port", remote.port());
        members.plain("protocol", |out| protocol::write(out, protocol));
        members.always_number("used", self.used);
        members.always_number("free", self.size - self.used);
        value::percent(members.key("used_percent"), self.used.into(), self.size.into());
        self.percent(members.key("failure_percent"));
        members.always_number("shared_ports", self.shared.1);
        members.always_number("shared_ports_used", self.shared.0);
        members.always_number("outside", self.outside);
        members.objects("pods", self.owners, |object, named| {
            object.always_address("ip", named.owner.address);
            object.always_number("ports", named.owner.ports);
            pod_members(object, named.endpoint);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of a running node's tool.
    #[test]
    fn an_entry_reads_as_cilium_dbg_prints_it() {
        let entry = NatEntry {
            direction: Direction::Out,
            protocol: 6,
            source: "10.184.1.251:34490".parse().unwrap(),
            destination: "10.178.16.166:443".parse().unwrap(),
            to: "10.178.69.14:62218".parse().unwrap(),
            created: 100,
            needs_ct: false,
        };
        let row =
            NatRow { map: "m", entry: &entry, created_seconds_ago: Some(4), endpoint: None, problems: None };
        let mut out = Vec::new();
        assert!(row.vendor(&mut out));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "TCP OUT 10.184.1.251:34490 -> 10.178.16.166:443 XLATE_SRC 10.178.69.14:62218 Created=4sec ago NeedsCT=0"
        );
        let mut out = Vec::new();
        Object::write(&mut out, |members| row.json(members));
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&json["direction"], &json["source_port"]), (&"out".into(), &34490.into()));
        assert_eq!((&json["to_ip"], &json["needs_ct"]), (&"10.178.69.14".into(), &false.into()));
    }
}
