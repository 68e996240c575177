//! The answer for people: the verdict first, then who both ends are, then each side step by step, then what would
//! help.

use std::fmt::Write as _;

use crate::cilium::release::ReleaseRange;
use crate::cilium::{identity, reason};
use crate::output::color::Palette;
use crate::output::escape;
use crate::policy::decision::Verdict;
use crate::policy::rule::{Rule, Step};
use crate::why::answer::{Answer, Asked, Connection, Near, Party, Path, Place, Service, Side, Tracked};
use crate::why::words;

/// How text is written.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Numbers and addresses instead of names.
    pub numeric: bool,
    pub color: bool,
    pub releases: ReleaseRange,
}

/// Names come from others, so every line goes through the escaper; colours are ours.
pub fn text(out: &mut Vec<u8>, answer: &Answer, style: &Style) {
    let palette = Palette::new(style.color);
    let mut page = Page { out, palette, style };
    page.headline(answer);
    page.parties(answer);
    if let Some(service) = &answer.service {
        page.service(service);
    }
    for (at, path) in answer.paths.iter().enumerate() {
        page.path(path, answer, at);
    }
    page.nears(&answer.remarks, "note");
    page.suggestion(answer);
    page.footer(answer);
}

struct Page<'a> {
    out: &'a mut Vec<u8>,
    palette: Palette,
    style: &'a Style,
}

impl Page<'_> {
    fn line(&mut self, text: &str) {
        escape::text(self.out, text);
        self.out.push(b'\n');
    }

    fn blank(&mut self) {
        self.out.push(b'\n');
    }

    fn verdict(&mut self, verdict: Verdict) {
        let color = match verdict {
            Verdict::Allowed | Verdict::Redirected => &self.palette.forwarded,
            Verdict::Denied => &self.palette.dropped,
            Verdict::Unknown => &self.palette.noticed,
        };
        self.out.extend_from_slice(color.as_bytes());
        self.out.extend_from_slice(verdict.as_str().to_ascii_uppercase().as_bytes());
        self.out.extend_from_slice(self.palette.reset.as_bytes());
    }

    fn headline(&mut self, answer: &Answer) {
        self.verdict(answer.verdict);
        let packet = match answer.port {
            None if matches!(answer.protocol, 6 | 17 | 132) => "any port".to_owned(),
            port => words::packet(answer.protocol, port),
        };
        let mut text =
            format!("  {} -> {} {packet}", self.named(&answer.source), self.named(&answer.destination));
        if let Some(reason) = answer.reason {
            let _ = write!(text, ": {} ({})", reason::text(reason).unwrap_or("denied"), reason.0);
        }
        if let Some(side) = answer.path().filter(|path| path.verdict == answer.verdict).and_then(deciding) {
            let _ = write!(text, ", {} of {}", words::direction(side.direction), self.endpoint(side));
        }
        let several = answer.paths.len() > 1;
        if several {
            let same = answer.paths.iter().filter(|path| path.verdict == answer.verdict).count();
            let _ = write!(text, ", at {same} of {} backends", answer.paths.len());
        }
        self.line(&text);
        self.blank();
    }

    fn named(&self, party: &Party) -> String {
        let endpoint = party.endpoint.as_ref().filter(|e| !e.pod.is_empty() && party.place == Place::Here);
        match (endpoint, party.address) {
            (Some(endpoint), _) if !self.style.numeric => format!("{}/{}", endpoint.namespace, endpoint.pod),
            (_, Some(ip)) => ip.to_string(),
            _ => self.identity(party.identity),
        }
    }

    fn endpoint(&self, asked: &Asked) -> String {
        if self.style.numeric { format!("endpoint {}", asked.endpoint) } else { asked.name.clone() }
    }

    fn identity(&self, identity: tracer_common::id::Identity) -> String {
        match identity::reserved_name(identity, self.style.releases).filter(|_| !self.style.numeric) {
            Some(name) => format!("{name} ({identity})"),
            None => format!("identity {identity}"),
        }
    }

    fn parties(&mut self, answer: &Answer) {
        self.party("source", &answer.source);
        match (&answer.service, answer.destination.address) {
            (Some(_), Some(ip)) => self.line(&format!("{:<12}{ip}, a service", "destination")),
            _ => self.party("destination", &answer.destination),
        }
    }

    fn party(&mut self, what: &str, party: &Party) {
        let mut text = format!("{what:<12}");
        if let Some(ip) = party.address {
            let _ = write!(text, "{ip}, ");
        }
        let _ = write!(text, "{}", self.identity(party.identity));
        if let Some(labels) =
            party.labels.as_deref().filter(|_| !self.style.numeric && !party.identity.is_reserved())
        {
            let _ = write!(text, " ({})", words::short(labels));
        }
        match (&party.place, &party.endpoint) {
            (Place::Here, Some(endpoint)) => {
                let _ = write!(text, ", endpoint {}", endpoint.id);
                if !endpoint.pod.is_empty() && !self.style.numeric {
                    let _ = write!(text, " {}/{}", endpoint.namespace, endpoint.pod);
                }
            }
            (Place::Host, _) => text.push_str(", this node"),
            (Place::OtherNode(Some(node)), _) => {
                let _ = write!(text, ", behind node {node}");
            }
            (Place::OtherNode(None), _) => text.push_str(", on another node"),
            (Place::Outside, _) => text.push_str(", outside the cluster"),
            _ => {}
        }
        self.line(&text);
        if party.address.is_some() {
            let chain = party.chain.iter();
            let rows: Vec<String> =
                chain.map(|e| format!("{}/{} = {}", e.address, e.prefix_length, e.identity)).collect();
            let text = if rows.is_empty() { "no entry: world".to_owned() } else { rows.join(", then ") };
            self.line(&format!("{:<12}ipcache: {text}", ""));
        }
    }

    fn service(&mut self, service: &Service) {
        let mut text = format!(
            "{:<12}{} {} (id {}), {} backends",
            "service", service.kind, service.frontend, service.id, service.active
        );
        if service.quarantined > 0 {
            let _ = write!(text, ", {} quarantined", service.quarantined);
        }
        if service.surrogate {
            text.push_str(", by the entry for every node address");
        }
        if service.internal {
            text.push_str(", for clients of the cluster");
        }
        if let Some(port) = service.proxy_port {
            let _ = write!(text, ", served by the proxy on port {port}");
        }
        self.line(&text);
        if let Some((id, by)) = service.bound {
            self.line(&format!("{:<12}bound to backend {id} by {by}", ""));
        }
        if let Some((_, why)) = &service.refused {
            self.line(&format!("{:<12}{why}", ""));
        }
    }

    fn path(&mut self, path: &Path, answer: &Answer, at: usize) {
        self.blank();
        if let Some(backend) = path.backend {
            let text = format!("backend {} {} ({}): ", backend.id, backend.address, backend.state);
            escape::text(self.out, &text);
            self.verdict(path.verdict);
            self.blank();
        }
        self.tracked(&path.tracked);
        // Several backends of one service mostly differ in nothing; only the deciding one is told in full.
        let brief = answer.paths.len() > 1 && at != answer.decisive;
        self.side("egress", &path.egress, brief);
        self.side("ingress", &path.ingress, brief);
    }

    fn tracked(&mut self, tracked: &Tracked) {
        let text = match (tracked.egress, tracked.ingress) {
            (Connection::NotAsked, _) => {
                let mut text = String::new();
                if tracked.forward > 0 {
                    let _ = write!(
                        text,
                        "{} known to this port: policy is asked for each of their packets",
                        tracked.forward
                    );
                }
                if tracked.backward > 0 {
                    let between = if text.is_empty() { "" } else { "; " };
                    let _ = write!(
                        text,
                        "{between}{} begun by the destination: their replies pass without policy",
                        tracked.backward
                    );
                }
                text
            }
            (egress, ingress) => {
                format!("on the way out {}, on the way in {}", egress.as_str(), ingress.as_str())
            }
        };
        if !text.is_empty() {
            self.line(&format!("{:<12}{text}", "connections"));
        }
    }

    fn side(&mut self, what: &str, side: &Side, brief: bool) {
        let asked = match side {
            Side::NotHere(why) => return self.line(&format!("{what:<12}{why}")),
            Side::Asked(asked) => asked,
        };
        escape::text(self.out, &format!("{what:<12}"));
        self.verdict(asked.decision.verdict);
        self.line(&self.verdict_text(asked));
        if brief {
            return;
        }
        if let Some(map) = &asked.map {
            self.line(&format!("{:<12}map {}: {} of {} entries", "", map.name, map.entries, map.max_entries));
        }
        for (at, step) in asked.decision.steps.iter().enumerate() {
            self.line(&format!("{:<12}{}. {}", "", at + 1, step_text(step)));
        }
        if let Some(key) = &asked.missing {
            self.line(&format!("{:<12}missing: {}", "", words::key(key)));
        }
        self.nears(&asked.near, "near");
    }

    fn verdict_text(&self, asked: &Asked) -> String {
        let decision = &asked.decision;
        let mut text =
            format!(" by the policy of {} for {}", self.endpoint(asked), self.identity(asked.identity));
        if let Some(reason) = decision.reason {
            let _ = write!(text, ": {}", reason::text(reason).unwrap_or("denied"));
        }
        if decision.winner.is_some() {
            let _ = write!(text, ", match {}", decision.match_type.as_str());
        }
        if decision.verdict == Verdict::Redirected && decision.proxy_port != 0 {
            let _ = write!(text, ", to proxy port {}", decision.proxy_port);
        }
        if decision.audited {
            text.push_str(" (audit mode: it would be denied)");
        }
        text
    }

    fn nears(&mut self, nears: &[Near], what: &str) {
        for near in nears {
            self.line(&format!("{:<12}{what}: {}", "", near.text));
        }
    }

    fn suggestion(&mut self, answer: &Answer) {
        let Some(suggestion) = &answer.suggestion else { return };
        self.blank();
        for note in &suggestion.notes {
            self.line(&format!("to allow it: {note}"));
        }
        if !suggestion.yaml.is_empty() {
            self.line("to allow it, the narrowest policy:");
            self.blank();
            self.out.extend_from_slice(suggestion.yaml.as_bytes());
        }
    }

    fn footer(&mut self, answer: &Answer) {
        self.blank();
        let read = &answer.read;
        let mut text = format!("read at {} from {}", read.at, read.maps);
        if let Some(after) = read.after_event_ms {
            let _ = write!(text, ", {after} ms after the event");
        }
        match read.agent_silent_s {
            Some(0..10) => {}
            Some(seconds) => {
                let _ = write!(text, "; no sign of life from the agent for {seconds} s");
            }
            None => text.push_str("; no sign of life from the agent"),
        }
        self.line(&text);
        if let Some(told) = answer.told.as_ref().and_then(|told| told.reason) {
            let then = reason::text(told).unwrap_or("dropped");
            let now = match answer.verdict {
                Verdict::Allowed | Verdict::Redirected => {
                    ", but it would pass now: policy or identities have changed since"
                }
                _ => "",
            };
            self.line(&format!("the event says: {then} ({}){now}", told.0));
        }
        if !answer.inferred.is_empty() {
            self.line(&format!("assumed, not told: {}", answer.inferred.join(", ")));
        }
    }
}

/// The side that a denial, a redirection or a doubt comes from.
fn deciding(path: &Path) -> Option<&Asked> {
    let sides = [path.egress.asked(), path.ingress.asked()];
    let first = |verdict| sides.into_iter().flatten().find(|asked| asked.decision.verdict == verdict);
    if path.verdict == Verdict::Allowed { None } else { first(path.verdict) }
}

fn step_text(step: &Step) -> String {
    match (step.rule, &step.entry) {
        (Rule::LookUp { .. }, Some(entry)) => format!("{}: {}", step.rule, entry_text(entry)),
        (Rule::LookUp { .. }, None) => format!("{}: nothing", step.rule),
        _ => step.rule.to_string(),
    }
}

fn entry_text(entry: &crate::model::policy::Entry) -> String {
    let mut text =
        format!("{} {}", if entry.deny { "deny" } else { "allow" }, words::traffic(entry.key.traffic));
    if entry.proxy_port != 0 {
        let _ = write!(text, ", proxy port {}", entry.proxy_port);
    }
    if entry.auth_type != 0 {
        let name = crate::cilium::policy::AuthType(entry.auth_type);
        let _ = write!(text, ", authentication {name}");
    }
    if entry.precedence != 0 {
        let _ = write!(text, ", precedence {}", entry.precedence);
    }
    text
}
