//! Rows of `tracer doctor`, and what stands below them.

use std::fmt::Write as _;

use super::escape;
use super::listing::{Column, Object, Row, value};
use crate::doctor::{Finding, Status, Summary};

pub const COLUMNS: &[Column] = &[
    Column::text("status"),
    Column::text("check"),
    Column::text("title").wide(),
    Column::text("evidence"),
    Column::text("fix").wide(),
];

impl Row for Finding {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        match column {
            0 => value::word(out, shown(self.status)),
            1 => value::word(out, self.check.id),
            2 => value::word(out, self.check.title),
            3 => value::foreign(out, &self.evidence),
            4 => value::foreign(out, &self.fix),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        members.always_string("id", self.check.id);
        members.always_string("group", self.check.group.name());
        members.always_string("title", self.check.title);
        members.always_string("status", self.status.name());
        members.always_string("evidence", &self.evidence);
        members.always_string("fix", &self.fix);
    }
}

/// What is wrong must catch the eye without colour.
const fn shown(status: Status) -> &'static str {
    match status {
        Status::Fail => "FAIL",
        status => status.name(),
    }
}

/// What to do, worst first, and the sums.
pub fn footer(findings: &[Finding]) -> String {
    let mut text = String::new();
    for status in [Status::Fail, Status::Unknown, Status::Warn] {
        for finding in findings.iter().filter(|f| f.status == status && !f.fix.is_empty()) {
            let mut fix = Vec::new();
            escape::text(&mut fix, &finding.fix);
            let fix = String::from_utf8_lossy(&fix);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "\n{} {}\n  {fix}", shown(status), finding.check.id);
        }
    }
    let Summary { ok, warn, fail, unknown } = Summary::of(findings);
    let _ = writeln!(text, "\n{ok} ok, {warn} warn, {fail} fail, {unknown} unknown");
    text
}

pub fn json_summary(members: &mut Object<'_>, summary: Summary) {
    members.object("summary", |sums| {
        sums.always_number("ok", summary.ok);
        sums.always_number("warn", summary.warn);
        sums.always_number("fail", summary.fail);
        sums.always_number("unknown", summary.unknown);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Check, Group};

    #[test]
    fn fixes_stand_below_worst_first_and_harmless() {
        const ONE: Check = Check::new("pins.one", Group::Pins, "One");
        let findings = [ONE.warn("w", "later"), ONE.fail("f", "now \x1b[31m"), ONE.ok("fine")];
        let expected =
            "\nFAIL pins.one\n  now ^[[31m\n\nwarn pins.one\n  later\n\n1 ok, 1 warn, 1 fail, 0 unknown\n";
        assert_eq!(footer(&findings), expected);
    }
}
