//! An event as the comment of its packet: one line, most important first.

use jiff::tz::TimeZone;

use super::json::decimal;
use super::options::OutputOptions;
use super::printer::Node;
use super::text::{Side, Text, write_type};
use super::time::{Clock, TimeFormat};
use crate::cilium::ext_error::ExtError;
use crate::cilium::release::ReleaseRange;
use crate::model::endpoint::Peer;
use crate::model::flow::{Direction, Flow, Source};

/// Writes comments.
pub struct Comment(Text, ReleaseRange);

impl Comment {
    pub fn new(node: &Node) -> Self {
        let options = OutputOptions { names: true, ..OutputOptions::default() };
        Self(Text::new(&options, node, Clock::new(TimeFormat::Rfc3339Nano, TimeZone::UTC)), node.releases)
    }

    /// `Policy denied (133), ingress; default/client:40000 (ID:12345) <> …; bpf_lxc.c:2101; kernel …; source message`.
    pub fn write(&mut self, out: &mut Vec<u8>, flow: &Flow) {
        write_type(out, flow);
        if flow.notice.is_some() {
            out.push(b' ');
            self.0.verdict(out, flow);
        }
        if let Some(drop) = &flow.cilium {
            put(out, &format!(" ({})", drop.reason.0));
            if let Some(text) = ExtError::of(drop.reason, drop.ext_error, self.1).name() {
                put(out, &format!(", {text}"));
            }
        }
        match flow.direction {
            Direction::Unknown => {}
            Direction::Ingress => put(out, ", ingress"),
            Direction::Egress => put(out, ", egress"),
        }
        self.end(out, "; ", flow, Side::Source, &flow.src);
        self.end(out, " <> ", flow, Side::Destination, &flow.dst);
        if let Some(place) = flow.cilium.and_then(|drop| drop.place) {
            match place.file {
                Some(file) => put(out, &format!("; {file}:{}", place.line)),
                None => put(out, &format!("; file {}:{}", place.file_id, place.line)),
            }
        }
        if let Some(kernel) = &flow.kernel {
            put(out, "; kernel");
            match (&kernel.reason_name, kernel.reason) {
                (Some(name), _) => text(out, " ", name),
                (None, Some(number)) => put(out, &format!(" {number}")),
                (None, None) => {}
            }
            if let Some(symbol) = &kernel.symbol {
                text(out, " at ", symbol);
            }
        }
        put(
            out,
            match flow.source {
                Source::Message => "; source message",
                Source::Note => "; source note",
                Source::Kernel => "; source kernel",
            },
        );
    }

    /// Who, with the labels that policy sees.
    fn end(&self, out: &mut Vec<u8>, separator: &str, flow: &Flow, side: Side, peer: &Peer) {
        put(out, separator);
        let start = out.len();
        self.0.host(out, flow, side);
        if out.len() > start {
            out.push(b' ');
        }
        self.0.identity(out, peer);
        let labels = peer.labels().into_iter().flat_map(|labels| labels.iter());
        for (at, label) in labels.enumerate() {
            text(out, if at == 0 { " " } else { "," }, label);
        }
        if peer.endpoint_id().0 != 0 {
            put(out, " endpoint ");
            decimal(out, peer.endpoint_id().0);
        }
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Somebody else's text.
fn text(out: &mut Vec<u8>, before: &str, foreign: &str) {
    put(out, before);
    super::escape::text(out, foreign);
}
