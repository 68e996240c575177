//! `-o dict`: one `KEY: value` per line, keys right-aligned, events separated by a rule.

use super::json::decimal;
use super::lost::{self, Lost};
use super::text::{Side, Text, write_type};
use super::why::brief::Rendered;
use crate::model::flow::Flow;

const SEPARATOR: &[u8] = b"------------\n";

fn line(out: &mut Vec<u8>, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(key.as_bytes());
    value(out);
    out.push(b'\n');
}

pub(super) fn flow(out: &mut Vec<u8>, text: &mut Text, flow: &Flow, first: bool, why: Option<&Rendered>) {
    if !first {
        out.extend_from_slice(SEPARATOR);
    }
    line(out, "  TIMESTAMP: ", |out| text.clock.write(out, flow.time));
    if let Some(node) = &text.node_name {
        line(out, "       NODE: ", |out| out.extend_from_slice(node));
    }
    line(out, "     SOURCE: ", |out| text.host(out, flow, Side::Source));
    line(out, "DESTINATION: ", |out| text.host(out, flow, Side::Destination));
    line(out, "       TYPE: ", |out| write_type(out, flow));
    line(out, "    VERDICT: ", |out| text.verdict(out, flow));
    line(out, "    SUMMARY: ", |out| text.summary(out, flow));
    if flow.similar > 0 {
        line(out, "    SIMILAR: ", |out| decimal(out, flow.similar));
    }
    if let Some(why) = why {
        line(out, "        WHY: ", |out| out.extend_from_slice(&why.line));
    }
}

pub(super) fn lost(out: &mut Vec<u8>, text: &Text, lost: &Lost, first: bool) {
    if !first {
        out.extend_from_slice(SEPARATOR);
    }
    line(out, "  TIMESTAMP: ", |_| {});
    if text.node_name.is_some() {
        line(out, "       NODE: ", |_| {});
    }
    line(out, "     SOURCE: ", |out| out.extend_from_slice(lost.source.name().as_bytes()));
    line(out, "       TYPE: ", |out| out.extend_from_slice(b"EVENTS LOST"));
    line(out, "    VERDICT: ", |_| {});
    line(out, "    SUMMARY: ", |out| lost::write_summary(out, lost));
}
