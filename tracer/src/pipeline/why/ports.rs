//! A question without a port: asks for every port that some entry names, and for one that none does. Where all
//! agree that is the answer; else it depends on the port, and the answer says how.

use super::judge::Packet;
use super::{Asking, KNOWN, Question, TCP};
use crate::cli::why::Directions;
use crate::model::policy::{Direction, Traffic};
use crate::policy::decision::Verdict;
use crate::why::answer::{Answer, Near, Place, Side, worse};
use crate::why::words;

const UDP: u8 = 17;

/// Some traffic that is treated alike, as far as entries tell.
struct Candidate {
    protocol: u8,
    port: u16,
    text: String,
}

impl Asking {
    /// `protocol`: the one that was named; without one TCP and UDP are asked.
    pub(super) fn any_port(
        &mut self,
        question: Question,
        protocol: Option<u8>,
        directions: Directions,
    ) -> Answer {
        let protocols = protocol.map_or(vec![TCP, UDP], |named| vec![named]);
        let named = self.named_traffic(&question);
        let candidates: Vec<Candidate> = protocols.iter().flat_map(|one| candidates(*one, &named)).collect();
        let mut answers = Vec::new();
        for candidate in candidates {
            let packet = Packet { protocol: candidate.protocol, port: candidate.port, icmp: None };
            let asked = Question { packet, port: Some(candidate.port), ..question.clone() };
            answers.push((candidate.text, self.answer(asked, directions)));
        }
        let all_agree = answers.windows(2).all(|pair| pair[0].1.verdict == pair[1].1.verdict);
        let worst = answers.iter().map(|(_, answer)| answer.verdict).reduce(worse);
        let texts = |verdict| {
            let of = answers.iter().filter(move |(_, answer)| answer.verdict == verdict);
            of.map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(", ")
        };
        let all = [Verdict::Allowed, Verdict::Redirected, Verdict::Denied, Verdict::Unknown];
        let remarks: Vec<Near> = all
            .into_iter()
            .map(|verdict| (verdict, texts(verdict)))
            .filter(|(_, texts)| !texts.is_empty())
            .map(|(verdict, texts)| Near::new("ports", format!("{}: {texts}", verdict.as_str())))
            .collect();
        // The last one asked is for the ports that nothing names; the worst one has the most to tell.
        let shown = answers.iter().rposition(|(_, answer)| Some(answer.verdict) == worst).unwrap_or_default();
        let mut answer = answers.swap_remove(shown).1;
        answer.port = None;
        forget_port(&mut answer);
        answer.remarks.extend(remarks);
        if !all_agree {
            (answer.verdict, answer.reason) = (Verdict::Unknown, None);
            answer.remarks.push(Near::new("depends_on_port", "it depends on the port: ask again with one"));
        }
        answer
    }

    /// What the entries for these two ends name, in both policies.
    fn named_traffic(&mut self, question: &Question) -> Vec<Traffic> {
        let mut named = Vec::new();
        let sides = [
            (Direction::Egress, &question.source, question.destination.identity),
            (Direction::Ingress, &question.destination, question.source.identity),
        ];
        for (direction, own, identity) in sides {
            let Some(endpoint) = own.endpoint.as_ref().filter(|_| own.place == Place::Here) else { continue };
            let Ok(policy) = self.policy(endpoint.id) else { continue };
            let of = policy.table.entries().iter().filter(|entry| {
                entry.key.direction == direction && [identity.0, 0].contains(&entry.key.identity.0)
            });
            named.extend(of.map(|entry| entry.key.traffic));
        }
        named.sort_unstable();
        named.dedup();
        named
    }
}

/// What was said of the port that stood for many.
fn forget_port(answer: &mut Answer) {
    answer.suggestion = None;
    for side in answer.paths.iter_mut().flat_map(|path| [&mut path.egress, &mut path.ingress]) {
        if let Side::Asked(asked) = side {
            asked.missing = None;
        }
    }
}

fn candidates(protocol: u8, named: &[Traffic]) -> Vec<Candidate> {
    let own = || named.iter().filter(|traffic| traffic.protocol() == Some(protocol));
    let mut all: Vec<Candidate> = own()
        .filter_map(|traffic| {
            let (port, _) = traffic.ports()?;
            Some(Candidate { protocol, port, text: words::traffic(*traffic) })
        })
        .collect();
    let is_named = |port: &u16| own().any(|t| t.ports().is_some() && t.covers(protocol, *port));
    if let Some(port) = (1..=u16::MAX).rev().find(|port| !is_named(port)) {
        let text = match (all.is_empty(), words::packet(protocol, None)) {
            (true, name) => format!("every port of {name}"),
            (false, name) => format!("every other port of {name}"),
        };
        all.push(Candidate { protocol, port, text });
    }
    all
}

/// Whether a question about this protocol needs a port.
pub fn needs_port(protocol: u8) -> bool {
    KNOWN.contains(&protocol) && !matches!(protocol, 1 | 58)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_port_and_one_that_is_not_are_asked() {
        let named =
            [Traffic::Any, Traffic::port(6, 8080), Traffic::Ports { protocol: 6, first: 65528, bits: 13 }];
        let found: Vec<(u16, String)> = candidates(6, &named).into_iter().map(|c| (c.port, c.text)).collect();
        let expected = [(8080, "TCP 8080"), (65528, "TCP 65528-65535"), (65527, "every other port of TCP")];
        assert_eq!(found, expected.map(|(port, text)| (port, text.to_owned())));
        let none: Vec<String> = candidates(17, &named).into_iter().map(|c| c.text).collect();
        assert_eq!(none, ["every port of UDP"]);
    }
}
