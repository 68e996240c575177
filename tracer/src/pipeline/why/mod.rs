//! `tracer why`: resolves both ends, translates services, asks connection tracking, then the policy of the source
//! and of the destination. A file here asks one of them; [`crate::policy`] decides, [`crate::why`] holds the
//! answer, [`crate::output::why`] prints it.

mod event;
mod judge;
mod near;
mod ports;
mod resolve;
mod service;
mod settings;
pub mod stream;
pub mod table;
mod tracked;

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::time::Instant;

use tracer_common::id::{EndpointId, Identity};

use crate::cilium::ipcache::IpcacheEntry;
use crate::cilium::when::When;
use crate::cli::end::TypedEnd;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::why::{About, Directions, Form, WhyPlan};
use crate::kernel::clock::{WallOffset, boot_now};
use crate::model::endpoint::IdentitySource;
use crate::model::names::Names as _;
use crate::model::reason::DropReason;
use crate::model::time::WallTime;
use crate::output::is_closed_pipe;
use crate::output::why as output;
use crate::pipeline::RunError;
use crate::pipeline::maps::{MapNode, capacity};
use crate::policy::decision::{Verdict, reason};
use crate::why::answer::{Answer, Evidence, Near, Party, Path, Place, Side, worse};
use crate::why::suggest::{self, Suggestion};
use event::Event;
use judge::{Around, Packet};
use resolve::Role;
use table::Policy;

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const ECHO_REQUEST: u16 = 8;
const ECHO_REQUEST_V6: u16 = 128;
/// Cilium's endpoints speak nothing else.
const KNOWN: [u8; 5] = [ICMP, TCP, 17, ICMPV6, 132];
const UNKNOWN_PROTOCOL: DropReason = DropReason(137);

/// A node that is asked, and what was found out on the way.
pub struct Asking {
    node: MapNode,
    policies: Vec<(EndpointId, Policy)>,
    chains: Vec<(IpAddr, Vec<IpcacheEntry>)>,
    remarks: Vec<Near>,
    inferred: Vec<&'static str>,
}

pub fn run(global: &Global, plan: &WhyPlan) -> Result<Exit, RunError> {
    let (event, more) = match &plan.about {
        About::Event(from) => {
            let (event, more) = event::read(from)?;
            (Some(event), more)
        }
        About::Ends { .. } => (None, false),
    };
    if more {
        tracing::warn!("--packet: more than one event: the first one is looked at");
    }
    let started = Instant::now();
    let node = MapNode::open(global, false)?;
    let mut asking =
        Asking { node, policies: Vec::new(), chains: Vec::new(), remarks: Vec::new(), inferred: Vec::new() };
    let question = match (&plan.about, event) {
        (About::Ends { source, destination }, _) => asking.typed(plan, source, destination)?,
        (About::Event(_), Some(event)) => asking.of_event(event),
        (About::Event(_), None) => return Err(RunError::NoMap("--packet: no event".to_owned())),
    };
    let is_portless = question.port.is_none() && ports::needs_port(question.packet.protocol);
    let mut answer = if is_portless {
        let protocol = question.is_protocol_named.then_some(question.packet.protocol);
        asking.any_port(question, protocol, plan.directions)
    } else {
        asking.answer(question, plan.directions)
    };
    answer.read = asking.evidence(started, &answer);
    answer.inferred = std::mem::take(&mut asking.inferred);
    answer.inferred.sort_unstable();
    answer.inferred.dedup();
    answer.remarks.append(&mut asking.remarks);
    print(global, plan, &answer, &asking)?;
    Ok(exit(answer.verdict, asking.node.maps.exit()))
}

fn exit(verdict: Verdict, reading: Exit) -> Exit {
    match verdict {
        Verdict::Allowed | Verdict::Redirected => reading,
        Verdict::Denied => Exit::ConditionNotMet,
        Verdict::Unknown if reading == Exit::NotPermitted => reading,
        Verdict::Unknown => Exit::Incomplete,
    }
}

fn print(global: &Global, plan: &WhyPlan, answer: &Answer, asking: &Asking) -> Result<(), RunError> {
    use std::io::IsTerminal as _;
    let mut out = Vec::new();
    match plan.form {
        Form::Json => output::json(&mut out, answer),
        Form::Suggestion => output::suggestion(&mut out, answer),
        Form::Text => {
            let env = crate::output::color::ColorEnv::from_process();
            let color = crate::output::color::decide(global.color, &env, io::stdout().is_terminal());
            let releases = asking.node.view.releases().releases();
            output::text(&mut out, answer, &output::Style { numeric: plan.numeric, color, releases });
        }
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_all(&out).and_then(|()| stdout.flush()) {
        Err(error) if !is_closed_pipe(&error) => Err(RunError::Output(error)),
        _ => Ok(()),
    }
}

/// The ends and the packet, before services.
#[derive(Clone)]
struct Question {
    source: Party,
    destination: Party,
    packet: Packet,
    /// For ICMP the type; `None`: the protocol has none.
    port: Option<u16>,
    /// Not assumed to be TCP.
    is_protocol_named: bool,
    told: Option<crate::why::answer::Told>,
    /// The packet was seen behind the load balancer.
    is_translated: bool,
}

impl Asking {
    fn remark(&mut self, kind: &'static str, text: String) {
        if !self.remarks.iter().any(|near| near.text == text) {
            self.remarks.push(Near::new(kind, text));
        }
    }

    fn typed(
        &mut self,
        plan: &WhyPlan,
        source: &TypedEnd,
        destination: &TypedEnd,
    ) -> Result<Question, RunError> {
        let is_v6 = resolve::is_v6(plan.family, [source, destination], &self.node.view)?;
        let named = destination.protocol.or(source.protocol);
        if named.is_none() && destination.port.is_some() {
            self.inferred.push("protocol");
        }
        let protocol = match named {
            Some(ICMP | ICMPV6) => {
                if is_v6 {
                    ICMPV6
                } else {
                    ICMP
                }
            }
            Some(protocol) => protocol,
            None => TCP,
        };
        let is_icmp = matches!(protocol, ICMP | ICMPV6);
        let (port, icmp) = match destination.port {
            Some(kind) if is_icmp && kind > 255 => {
                return Err(RunError::NoMap(format!("{kind} is no ICMP type: they end at 255")));
            }
            None if is_icmp => {
                self.inferred.push("icmp_type");
                let kind = if is_v6 { ECHO_REQUEST_V6 } else { ECHO_REQUEST };
                (Some(kind), Some((kind as u8, 0)))
            }
            Some(kind) if is_icmp => (Some(kind), Some((kind as u8, 0))),
            port => (port, None),
        };
        let mut source = self.party(source, Role::Source, is_v6)?;
        let mut destination = self.party(destination, Role::Destination, is_v6)?;
        if is_icmp {
            // What stands there is a type.
            (source.port, destination.port) = (None, None);
        }
        let packet =
            Packet { protocol, port: if icmp.is_some() { 0 } else { port.unwrap_or_default() }, icmp };
        Ok(Question {
            source,
            destination,
            packet,
            port,
            is_protocol_named: named.is_some(),
            told: None,
            is_translated: false,
        })
    }

    /// The datapath told the identities that it used; they count, and what the maps say now is compared.
    fn of_event(&mut self, event: Event) -> Question {
        let mut source = self.at_address(event.source.to_string(), event.source, Role::Source);
        let mut destination =
            self.at_address(event.destination.to_string(), event.destination, Role::Destination);
        for (party, told) in [(&mut source, event.identities.0), (&mut destination, event.identities.1)] {
            self.believe(party, told);
        }
        source.port = event.ports.map(|ports| ports.0);
        destination.port = event.ports.map(|ports| ports.1);
        let port = event.icmp.map(|(kind, _)| kind.into()).or(destination.port);
        let packet =
            Packet { protocol: event.protocol, port: destination.port.unwrap_or_default(), icmp: event.icmp };
        // On its way in, and in the policy of its source, a packet has its backend's address already.
        Question {
            source,
            destination,
            packet,
            port,
            is_protocol_named: true,
            told: Some(event.told),
            is_translated: event.is_ingress == Some(true),
        }
    }

    fn believe(&mut self, party: &mut Party, told: Identity) {
        if told == Identity(0) || told == party.identity {
            return;
        }
        let now = match party.identity_source {
            IdentitySource::World => {
                format!("the ipcache has no entry for it now, so it is world ({})", party.identity)
            }
            IdentitySource::Ipcache => format!("the ipcache has {} for it now", party.identity),
            _ => format!("it is {} now", party.identity),
        };
        let text = format!("{}: the packet was taken for identity {told}, {now}", party.typed);
        self.remark("identity_changed", text);
        party.identity = told;
        party.identity_source = IdentitySource::Datapath;
        party.labels = self.node.view.labels(told);
    }

    fn answer(&mut self, question: Question, directions: Directions) -> Answer {
        let Question { source, destination, packet, port, told, is_translated, .. } = question;
        let mut answer = Answer {
            verdict: Verdict::Unknown,
            reason: None,
            protocol: packet.protocol,
            port,
            source,
            destination,
            service: None,
            paths: Vec::new(),
            decisive: 0,
            told,
            suggestion: None,
            remarks: Vec::new(),
            inferred: Vec::new(),
            read: Evidence::default(),
        };
        if !KNOWN.contains(&packet.protocol) {
            return unknown_protocol(answer);
        }
        let found = if is_translated {
            None
        } else {
            self.service(&answer.source, &answer.destination, packet.protocol)
        };
        let backends = found.as_ref().map(|found| found.backends.clone()).unwrap_or_default();
        answer.service = found.map(|found| found.service);
        if let Some((reason, _)) = answer.service.as_ref().and_then(|service| service.refused.clone()) {
            (answer.verdict, answer.reason) = (Verdict::Denied, Some(reason));
            return answer;
        }
        let through_proxy = answer.service.as_ref().is_some_and(|service| service.proxy_port.is_some());
        if backends.is_empty() || through_proxy {
            let destination = answer.destination.clone();
            let path = self.path(&answer, destination, None, packet, directions);
            answer.paths.push(path);
        } else {
            for backend in backends {
                let ip = backend.address.ip();
                let mut party = self.at_address(backend.address.ip().to_string(), ip, Role::Destination);
                party.port = Some(backend.address.port());
                let packet = Packet { port: backend.address.port(), ..packet };
                let path = self.path(&answer, party, Some(backend), packet, directions);
                answer.paths.push(path);
            }
        }
        settle(&mut answer);
        suggest(&mut answer);
        answer
    }

    fn path(
        &mut self,
        answer: &Answer,
        destination: Party,
        backend: Option<crate::why::answer::Backend>,
        packet: Packet,
        directions: Directions,
    ) -> Path {
        let tracked = self.tracked(&answer.source, &destination, packet.protocol);
        let same = answer.source.address.is_some() && answer.source.address == destination.address;
        if same && backend.is_none() {
            let inside =
                || Side::NotHere("the packet does not leave its sender: no policy is asked".to_owned());
            let (egress, ingress) = (inside(), inside());
            return Path { backend, destination, tracked, egress, ingress, verdict: Verdict::Allowed };
        }
        let around = Around {
            source: &answer.source,
            destination: &destination,
            packet,
            tracked: &tracked,
            service: answer.service.as_ref(),
            is_loopback: same,
        };
        let not_wanted = || Side::NotHere("not asked for (--direction)".to_owned());
        let egress = if directions == Directions::Ingress { not_wanted() } else { self.egress(&around) };
        let proxied = egress.asked().is_some_and(|_| around.service.is_some_and(|s| s.proxy_port.is_some()));
        let ingress = match directions {
            Directions::Egress => not_wanted(),
            _ if proxied => Side::NotHere("the proxy that serves the service decides".to_owned()),
            _ => self.ingress(&around),
        };
        let verdicts = [egress.verdict(), ingress.verdict()];
        let asked = verdicts.into_iter().flatten().reduce(worse);
        // What this node sends, takes or forwards by itself is its to let pass, policy or not.
        let is_handled = backend.is_some()
            || [&answer.source, &destination].into_iter().any(|party| party.place == Place::Host);
        let unasked =
            if is_handled && directions == Directions::Both { Verdict::Allowed } else { Verdict::Unknown };
        let verdict = asked.unwrap_or(unasked);
        Path { backend, destination, tracked, egress, ingress, verdict }
    }

    /// The time that the maps are of.
    fn wall_now(&self) -> WallTime {
        match self.node.view.when() {
            When::Now => WallOffset::now().wall(boot_now()),
            When::At(moment) => moment.wall,
        }
    }

    fn evidence(&mut self, started: Instant, answer: &Answer) -> Evidence {
        let now = self.wall_now();
        let after_event_ms = answer.told.as_ref().and_then(|told| {
            let seen: jiff::Timestamp = told.time.parse().ok()?;
            Some(now.0 / 1_000_000 - seen.as_millisecond())
        });
        let source = self.node.view.source();
        let text = |path: &std::path::PathBuf| path.display().to_string();
        let (maps, state) = (source.globals.as_ref().map(text), source.state_dir.as_ref().map(text));
        Evidence {
            at: output::timestamp(now),
            took_us: started.elapsed().as_micros() as u64,
            after_event_ms,
            maps: maps.unwrap_or_default(),
            state,
            agent_silent_s: capacity::heartbeat_age(&mut self.node.maps, self.node.view.when()),
        }
    }
}

fn unknown_protocol(answer: Answer) -> Answer {
    let text = "Cilium tracks TCP, UDP, SCTP, ICMP and ICMPv6 only: an endpoint's packet of another protocol is dropped";
    let leaves_endpoint = answer.source.place == Place::Here || answer.destination.place == Place::Here;
    let (verdict, reason) =
        if leaves_endpoint { (Verdict::Denied, Some(UNKNOWN_PROTOCOL)) } else { (Verdict::Unknown, None) };
    Answer { verdict, reason, remarks: vec![Near::new("unknown_protocol", text)], ..answer }
}

/// The worst path decides: a client may be sent to any of the backends.
fn settle(answer: &mut Answer) {
    let worst = answer.paths.iter().map(|path| path.verdict).reduce(worse).unwrap_or(Verdict::Unknown);
    answer.verdict = worst;
    answer.decisive = answer.paths.iter().position(|path| path.verdict == worst).unwrap_or(0);
    answer.reason = answer.path().and_then(|path| {
        let sides = [path.egress.asked(), path.ingress.asked()];
        sides.into_iter().flatten().find_map(|asked| asked.decision.reason)
    });
    other_reason(answer);
    let all_elsewhere =
        answer.paths.iter().all(|path| path.egress.asked().is_none() && path.ingress.asked().is_none());
    if all_elsewhere && worst == Verdict::Unknown {
        answer.remarks.push(Near::new(
            "nobody_here",
            "no policy of this node is asked about this packet: neither end is an endpoint here",
        ));
    }
}

/// An event may be about a drop that policy had no part in.
fn other_reason(answer: &mut Answer) {
    let Some(told) = &answer.told else { return };
    let policy =
        [reason::NO_ENTRY, reason::DENY, reason::AUTH_REQUIRED, reason::FRAGMENT, reason::NO_NODE_ID];
    let text = match told.reason {
        Some(code) if policy.contains(&code) => return,
        Some(code) => {
            let name = crate::cilium::reason::text(code).unwrap_or("another reason");
            format!(
                "the packet was dropped for another reason than policy ({name}): `tracer explain {}`",
                code.0
            )
        }
        None if told.by_kernel => "the kernel dropped the packet, not Cilium's policy".to_owned(),
        None => return,
    };
    answer.remarks.push(Near::new("other_reason", text));
}

/// What would make every denied side allow.
fn suggest(answer: &mut Answer) {
    let Some(path) = answer.path() else { return };
    let mut suggestion = Suggestion::default();
    let port = path.backend.map(|backend| backend.address.port()).or(answer.port);
    let packet = suggest::Packet { protocol: answer.protocol, port };
    let sides = [
        (&path.egress, &answer.source, &path.destination),
        (&path.ingress, &path.destination, &answer.source),
    ];
    for (side, own, peer) in sides {
        if let Some(asked) = side.asked().filter(|asked| asked.decision.verdict == Verdict::Denied) {
            suggestion.add(asked, own, peer, packet);
        }
    }
    answer.suggestion = (suggestion != Suggestion::default()).then_some(suggestion);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_the_verdict() {
        for (verdict, reading, expected) in [
            (Verdict::Allowed, Exit::Done, Exit::Done),
            (Verdict::Redirected, Exit::Done, Exit::Done),
            (Verdict::Denied, Exit::Done, Exit::ConditionNotMet),
            (Verdict::Denied, Exit::Incomplete, Exit::ConditionNotMet),
            (Verdict::Unknown, Exit::Done, Exit::Incomplete),
            (Verdict::Unknown, Exit::NotPermitted, Exit::NotPermitted),
            (Verdict::Allowed, Exit::Incomplete, Exit::Incomplete),
        ] {
            assert_eq!(exit(verdict, reading), expected, "{verdict:?} {reading:?}");
        }
    }
}
