//! The answer of `tracer why` as text for people, as one JSON object, and the suggested policy alone.

pub mod brief;
mod json;
mod text;

pub use json::json;
pub use text::{Style, text};

use super::time::Clock;
use crate::model::time::WallTime;
use crate::why::answer::Answer;

/// RFC 3339 in UTC.
pub fn timestamp(time: WallTime) -> String {
    let mut out = Vec::new();
    Clock::json().write(&mut out, time);
    String::from_utf8(out).unwrap_or_default()
}

/// The policy alone, with remarks as comments, so that the whole is YAML.
pub fn suggestion(out: &mut Vec<u8>, answer: &Answer) {
    let Some(suggestion) = &answer.suggestion else {
        let text = match answer.verdict {
            crate::policy::decision::Verdict::Denied => {
                "no policy decides this: `tracer why` without --suggest says what does"
            }
            crate::policy::decision::Verdict::Unknown => {
                "not known whether anything is missing: `tracer why` without --suggest says why"
            }
            _ => "nothing is missing: the packet is let through",
        };
        return comment(out, text);
    };
    suggestion.notes.iter().for_each(|note| comment(out, note));
    out.extend_from_slice(suggestion.yaml.as_bytes());
}

fn comment(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"# ");
    super::escape::text(out, text);
    out.push(b'\n');
}
