//! Counters of the datapath.

use std::time::Duration;

use tracer_common::cilium::metrics::direction;

use super::text;
use crate::cilium::file;
use crate::cilium::metrics::{Count, MetricsRow};
use crate::cilium::reason::metrics_text;
use crate::cilium::release::ReleaseRange;
use crate::output::listing::{Column, Object, Row, value};

pub const COLUMNS: &[Column] = &[
    Column::text("reason"),
    Column::text("direction"),
    Column::number("packets"),
    Column::number("bytes"),
    Column::number("line"),
    Column::text("file"),
    Column::number("reason_code").wide(),
    Column::number("file_id").wide(),
];

/// The same with what was counted since the row before.
pub const RATE_COLUMNS: &[Column] = &[
    Column::text("reason"),
    Column::text("direction"),
    Column::number("packets"),
    Column::number("bytes"),
    Column::number("line"),
    Column::text("file"),
    Column::number("packets_per_second"),
    Column::number("bytes_per_second"),
];

pub struct CounterRow<'a> {
    pub row: &'a MetricsRow,
    pub count: Count,
    /// What was counted in so long a time before.
    pub since: Option<(Count, Duration)>,
    pub releases: ReleaseRange,
    pub numeric: bool,
}

impl CounterRow<'_> {
    fn reason(&self, out: &mut Vec<u8>) {
        match metrics_text(self.row.reason).filter(|_| !self.numeric) {
            Some(name) => text(out, name),
            None => value::number(out, self.row.reason),
        }
    }

    fn direction(&self) -> &'static str {
        match self.row.direction {
            direction::INGRESS => "ingress",
            direction::EGRESS => "egress",
            direction::SERVICE => "service",
            _ => "unknown",
        }
    }

    fn file(&self, out: &mut Vec<u8>) {
        let Some((id, _)) = self.row.place else { return };
        match file::name(id, self.releases).filter(|_| !self.numeric) {
            Some(file) => text(out, file.name),
            None => value::number(out, id),
        }
    }
}

fn per_second(count: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    u64::try_from((u128::from(count) * 1_000_000 + micros / 2) / micros).unwrap_or(u64::MAX)
}

impl Row for CounterRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        match (column, self.since) {
            (0, _) => self.reason(out),
            (1, _) => text(out, self.direction()),
            (2, _) => value::number(out, self.count.packets),
            (3, _) => value::number(out, self.count.bytes),
            (4, _) => {
                if let Some((_, line)) = self.row.place {
                    value::number(out, line);
                }
            }
            (5, _) => self.file(out),
            (6, Some((count, time))) => value::number(out, per_second(count.packets, time)),
            (7, Some((count, time))) => value::number(out, per_second(count.bytes, time)),
            (6, None) => value::number(out, self.row.reason),
            (7, None) => {
                if let Some((file, _)) = self.row.place {
                    value::number(out, file);
                }
            }
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        members.plain("reason", |out| self.reason(out));
        members.always_string("direction", self.direction());
        members.always_number("packets", self.count.packets);
        members.always_number("bytes", self.count.bytes);
        match self.row.place {
            Some((id, line)) => {
                members.plain("file", |out| self.file(out));
                members.always_number("line", line);
                members.always_number("file_id", id);
            }
            None => {
                members.null("file");
                members.null("line");
            }
        }
        members.always_number("reason_code", self.row.reason);
        if let Some((count, time)) = self.since {
            members.always_number("packets_per_second", per_second(count.packets, time));
            members.always_number("bytes_per_second", per_second(count.bytes, time));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_rounded_to_whole_numbers() {
        assert_eq!(per_second(10, Duration::from_secs(2)), 5);
        assert_eq!(per_second(10, Duration::from_millis(1500)), 7);
        assert_eq!(per_second(0, Duration::ZERO), 0);
    }
}
