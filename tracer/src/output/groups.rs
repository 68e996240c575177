//! Events counted by what they have in common (`--aggregate-by`) instead of shown one by one: one line a group, at an
//! interval and at the end.

use std::borrow::Cow;
use std::net::IpAddr;

use super::escape;
use super::grouped::{Count, Grouped};
use super::json::{Object, decimal, hexadecimal};
use super::packet::write_ip;
use super::printer::Node;
use super::protocol;
use super::text::write_type;
use super::time::Clock;
use crate::cilium::identity;
use crate::model::endpoint::Peer;
use crate::model::flow::{Direction, Flow};
use crate::model::time::WallTime;

/// Stands between two values; no UTF-8 text has it.
const SEPARATOR: u8 = 0xff;

/// What the drops of one group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKey {
    Reason,
    KernelReason,
    Identity,
    Pod,
    Namespace,
    Ip,
    Port,
    Protocol,
    Place,
    Direction,
    Interface,
    Verdict,
}

impl GroupKey {
    pub const ALL: [Self; 12] = [
        Self::Reason,
        Self::KernelReason,
        Self::Identity,
        Self::Pod,
        Self::Namespace,
        Self::Ip,
        Self::Port,
        Self::Protocol,
        Self::Place,
        Self::Direction,
        Self::Interface,
        Self::Verdict,
    ];

    /// As it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reason => "reason",
            Self::KernelReason => "kernel-reason",
            Self::Identity => "identity",
            Self::Pod => "pod",
            Self::Namespace => "namespace",
            Self::Ip => "ip",
            Self::Port => "port",
            Self::Protocol => "protocol",
            Self::Place => "place",
            Self::Direction => "direction",
            Self::Interface => "interface",
            Self::Verdict => "verdict",
        }
    }

    /// Names of its values in the output: one, or one for each end.
    const fn members(self) -> &'static [&'static str] {
        match self {
            Self::Reason => &["reason"],
            Self::KernelReason => &["kernel_reason"],
            Self::Identity => &["source_identity", "destination_identity"],
            Self::Pod => &["source_pod", "destination_pod"],
            Self::Namespace => &["source_namespace", "destination_namespace"],
            Self::Ip => &["source_ip", "destination_ip"],
            Self::Port => &["destination_port"],
            Self::Protocol => &["protocol"],
            Self::Place => &["place"],
            Self::Direction => &["traffic_direction"],
            Self::Interface => &["interface"],
            Self::Verdict => &["verdict"],
        }
    }

    /// Appends the values, each with a [`SEPARATOR`] behind it; an empty value: not known.
    pub(super) fn values(self, out: &mut Vec<u8>, flow: &Flow, node: &Node) {
        let ip = flow.packet.ip.as_ref();
        let ends = [(&flow.src, ip.map(|ip| ip.source)), (&flow.dst, ip.map(|ip| ip.destination))];
        let mut value = |write: &dyn Fn(&mut Vec<u8>)| {
            write(out);
            out.push(SEPARATOR);
        };
        match self {
            Self::Reason => value(&|out| write_type(out, flow)),
            Self::KernelReason => value(&|out| kernel_reason(out, flow)),
            Self::Identity => ends.iter().for_each(|(peer, _)| {
                value(&|out| decimal(out, peer.identity.unwrap_or_default().0));
            }),
            Self::Pod => ends.iter().for_each(|(peer, ip)| value(&|out| who(out, peer, *ip, node))),
            Self::Namespace => ends.iter().for_each(|(peer, _)| {
                value(&|out| out.extend_from_slice(peer.namespace().as_bytes()));
            }),
            Self::Ip => ends.iter().for_each(|(_, ip)| {
                value(&|out| ip.iter().for_each(|ip| write_ip(out, *ip)));
            }),
            Self::Port => {
                let port = ip.and_then(|ip| ip.transport.ports()).map(|ports| ports.1);
                value(&|out| port.iter().for_each(|port| decimal(out, *port)));
            }
            Self::Protocol => {
                let number = ip.map(|ip| ip.transport.protocol());
                value(&|out| number.iter().for_each(|number| protocol::write(out, *number)));
            }
            Self::Place => value(&|out| place(out, flow)),
            Self::Direction => value(&|out| {
                out.extend_from_slice(match flow.direction {
                    Direction::Unknown => b"",
                    Direction::Ingress => b"INGRESS",
                    Direction::Egress => b"EGRESS",
                });
            }),
            Self::Interface => value(&|out| {
                flow.interface.iter().for_each(|interface| out.extend_from_slice(interface.name.as_bytes()));
            }),
            Self::Verdict => value(&|out| out.extend_from_slice(flow.verdict.name().as_bytes())),
        }
    }
}

fn kernel_reason(out: &mut Vec<u8>, flow: &Flow) {
    let Some(kernel) = &flow.kernel else { return };
    match (&kernel.reason_name, kernel.reason) {
        (Some(name), _) => out.extend_from_slice(name.as_bytes()),
        (None, Some(number)) => decimal(out, number),
        (None, None) => {}
    }
}

/// The pod, else the reserved identity (`world`), else the identity's number, else the address.
fn who(out: &mut Vec<u8>, peer: &Peer, ip: Option<IpAddr>, node: &Node) {
    if !peer.pod().is_empty() {
        out.extend_from_slice(peer.namespace().as_bytes());
        out.extend_from_slice(if peer.namespace().is_empty() { b"" } else { b"/" });
        return out.extend_from_slice(peer.pod().as_bytes());
    }
    match peer.identity.filter(|identity| identity.0 != 0) {
        Some(id) => match identity::reserved_name(id, node.releases) {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => {
                out.extend_from_slice(b"ID:");
                decimal(out, id.0);
            }
        },
        None => ip.iter().for_each(|ip| write_ip(out, *ip)),
    }
}

/// `bpf_lxc.c:2101` where Cilium dropped it, else the place in the kernel.
fn place(out: &mut Vec<u8>, flow: &Flow) {
    if let Some(place) = flow.cilium.and_then(|drop| drop.place) {
        match place.file {
            Some(file) => out.extend_from_slice(file.as_bytes()),
            None => decimal(out, place.file_id),
        }
        out.push(b':');
        return decimal(out, place.line);
    }
    match flow.kernel.as_ref().map(|kernel| (&kernel.symbol, kernel.location)) {
        Some((Some(symbol), _)) => out.extend_from_slice(symbol.as_bytes()),
        Some((None, location)) if location != 0 => hexadecimal(out, location),
        _ => {}
    }
}

/// The groups of a run.
#[derive(Debug)]
pub(super) struct Groups {
    counts: Grouped<Count>,
    /// What is counted, in the plural.
    noun: &'static str,
}

impl Groups {
    pub fn new(keys: &[GroupKey], flows: bool) -> Self {
        Self { counts: Grouped::new(keys), noun: if flows { "flows" } else { "drops" } }
    }

    pub fn add(&mut self, flow: &Flow, node: &Node) {
        self.counts.add(flow, node, |count| count.add(flow.time));
    }

    /// Appends a line for each group that has grown since the last report, or for all of them; the largest first.
    pub fn report(&mut self, form: &mut Form<'_>) {
        let last = form.last;
        let size = |count: &Count| if last { count.total } else { count.recent };
        let mut rows: Vec<(&[u8], &Count)> =
            self.counts.iter().filter(|(_, count)| size(count) > 0).collect();
        rows.sort_unstable_by_key(|(values, count)| (std::cmp::Reverse(size(count)), *values));
        for (values, count) in rows {
            form.line(Some((self.counts.keys(), values)), count, self.noun);
        }
        if size(self.counts.other()) > 0 {
            form.line(None, self.counts.other(), self.noun);
        }
        self.counts.each(|count| count.recent = 0);
    }
}

/// How the lines of a report are written.
pub(super) struct Form<'a> {
    pub out: &'a mut Vec<u8>,
    pub clock: &'a mut Clock,
    pub node: &'a Node,
    pub json: bool,
    /// The closing report: totals of the run.
    pub last: bool,
    pub time: WallTime,
}

/// Keys with their values; `None`: all groups beyond the limit.
type Group<'a> = Option<(&'a [GroupKey], &'a [u8])>;

impl Form<'_> {
    fn line(&mut self, group: Group<'_>, count: &Count, noun: &str) {
        if self.json { self.json_line(group, count) } else { self.text_line(group, count, noun) }
    }

    fn json_line(&mut self, group: Group<'_>, count: &Count) {
        let (clock, node, last, time) = (&mut *self.clock, self.node, self.last, self.time);
        Object::write(self.out, |line| {
            line.object("aggregate", |object| {
                object.always_flag("final", last);
                object.always_number64("count", if last { count.total } else { count.recent });
                object.always_number64("total", count.total);
                object.time("first_seen", clock, count.first);
                object.time("last_seen", clock, count.last);
                match group {
                    Some((keys, values)) => {
                        members(keys, values, |name, value| object.always_string(name, value))
                    }
                    None => object.always_flag("other_groups", true),
                }
            });
            line.string("node_name", &node.name);
            line.time("time", clock, time);
        });
        self.out.push(b'\n');
    }

    /// `TIME: 12 drops of 34: reason="Policy denied" destination_port=9090 (first TIME, last TIME)`.
    fn text_line(&mut self, group: Group<'_>, count: &Count, noun: &str) {
        self.clock.write(self.out, self.time);
        self.out.extend_from_slice(b": ");
        if !self.last {
            decimal(self.out, count.recent);
            [" ", noun, " of "].iter().for_each(|text| self.out.extend_from_slice(text.as_bytes()));
        }
        decimal(self.out, count.total);
        let rest: &[&str] = if self.last { &[" ", noun, " in all:"] } else { &[":"] };
        rest.iter().for_each(|text| self.out.extend_from_slice(text.as_bytes()));
        match group {
            Some((keys, values)) => members(keys, values, |name, value| text_member(self.out, name, value)),
            None => self.out.extend_from_slice(b" other groups"),
        }
        self.out.extend_from_slice(b" (first ");
        self.clock.write(self.out, count.first);
        self.out.extend_from_slice(b", last ");
        self.clock.write(self.out, count.last);
        self.out.extend_from_slice(b")\n");
    }
}

/// Calls `each` with the name and the text of each value.
pub fn members(keys: &[GroupKey], values: &[u8], mut each: impl FnMut(&str, &str)) {
    let names = keys.iter().flat_map(|key| key.members());
    for (name, value) in names.zip(texts(values)) {
        each(name, &value);
    }
}

/// The values of a group as [`Grouped`] has them.
pub fn texts(values: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    values.split(|byte| *byte == SEPARATOR).map(String::from_utf8_lossy)
}

fn text_member(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
    let quotes: &[u8] = if value.contains(' ') || value.is_empty() { b"\"" } else { b"" };
    out.extend_from_slice(quotes);
    escape::text(out, value);
    out.extend_from_slice(quotes);
}

#[cfg(test)]
mod tests {
    use super::super::grouped::MAX_GROUPS;
    use super::*;
    use crate::cilium::release::ReleaseRange;
    use crate::model::reason::DropReason;
    use crate::output::tests::{closed_port, denied};
    use crate::output::time::TimeFormat;

    fn report(groups: &mut Groups, json: bool, last: bool) -> String {
        let node = Node::new("default", "node-a", ReleaseRange::ANY);
        let mut clock =
            if json { Clock::json() } else { Clock::new(TimeFormat::StampMilli, jiff::tz::TimeZone::UTC) };
        let mut out = Vec::new();
        let time = WallTime(1_767_723_970_000_000_000);
        groups.report(&mut Form { out: &mut out, clock: &mut clock, node: &node, json, last, time });
        String::from_utf8(out).unwrap()
    }

    fn groups(keys: &[GroupKey], flows: &[Flow]) -> Groups {
        let node = Node::new("default", "node-a", ReleaseRange::ANY);
        let mut groups = Groups::new(keys, false);
        flows.iter().for_each(|flow| groups.add(flow, &node));
        groups
    }

    #[test]
    fn every_key_has_a_value_for_each_of_its_names() {
        for flow in [denied(), closed_port(), Flow { packet: Default::default(), ..denied() }] {
            for key in GroupKey::ALL {
                let mut out = Vec::new();
                key.values(&mut out, &flow, &Node::new("", "a", ReleaseRange::ANY));
                let count = out.iter().filter(|byte| **byte == SEPARATOR).count();
                assert_eq!(count, key.members().len(), "{key:?}");
            }
        }
    }

    #[test]
    fn groups_are_told_with_the_largest_first_and_again_only_when_they_grow() {
        let mut late = denied();
        late.time.0 += 1_500_000_000;
        let mut groups =
            groups(&[GroupKey::Reason, GroupKey::Pod, GroupKey::Port], &[closed_port(), denied(), late]);
        let expected = "\
Jan  6 18:26:10.000: 2 drops of 2: reason=\"Policy denied\" source_pod=default/app destination_pod=world destination_port=80 \
(first Jan  6 18:26:04.783, last Jan  6 18:26:06.283)
Jan  6 18:26:10.000: 1 drops of 1: reason=NO_SOCKET source_pod=fd00::1:10 destination_pod=world destination_port=53 \
(first Jan  6 18:26:04.783, last Jan  6 18:26:04.783)
";
        assert_eq!(report(&mut groups, false, false), expected);
        assert_eq!(report(&mut groups, false, false), "");
        groups.add(&closed_port(), &Node::new("default", "node-a", ReleaseRange::ANY));
        assert!(
            report(&mut groups, false, false)
                .starts_with("Jan  6 18:26:10.000: 1 drops of 2: reason=NO_SOCKET")
        );
        let last = report(&mut groups, false, true);
        assert_eq!(last.lines().count(), 2);
        assert!(last.lines().all(|line| line.contains(": 2 drops in all: ")), "{last}");
    }

    #[test]
    fn json_lines_have_numbers_and_values() {
        let mut groups = groups(&[GroupKey::Identity, GroupKey::Place, GroupKey::Direction], &[denied()]);
        let line: serde_json::Value = serde_json::from_str(&report(&mut groups, true, true)).unwrap();
        let expected = serde_json::json!({
            "aggregate": {
                "final": true, "count": "1", "total": "1",
                "first_seen": "2026-01-06T18:26:04.783Z", "last_seen": "2026-01-06T18:26:04.783Z",
                "source_identity": "1234", "destination_identity": "2", "place": "bpf_lxc.c:2101",
                "traffic_direction": "EGRESS"
            },
            "node_name": "node-a", "time": "2026-01-06T18:26:10Z"
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn groups_beyond_the_limit_are_counted_together() {
        let mut flows = Vec::new();
        for number in 0..MAX_GROUPS as u32 + 3 {
            let mut flow = denied();
            flow.dst.identity = Some(tracer_common::id::Identity(number));
            flows.push(flow);
        }
        let mut groups = groups(&[GroupKey::Identity], &flows);
        let text = report(&mut groups, false, true);
        assert_eq!(text.lines().count(), MAX_GROUPS + 1);
        assert!(text.lines().last().unwrap().contains(": 3 drops in all: other groups (first "), "{text}");
    }

    #[test]
    fn hostile_names_reach_no_terminal() {
        let mut flow = denied();
        flow.cilium.iter_mut().for_each(|drop| drop.reason = DropReason(250));
        flow.interface =
            Some(crate::model::flow::Interface { name: "\x1b[31m".into(), ..Default::default() });
        let mut groups = groups(&[GroupKey::Interface, GroupKey::Reason], &[flow]);
        assert!(report(&mut groups, false, true).contains(" interface=^[[31m reason=250 "));
    }
}
