//! `top --batch`: the same figures as plain text, or as one JSON object, once an interval. What is not among the rows
//! that are printed is counted.

use std::io::Write as _;
use std::time::Duration;

use super::board::{Board, Grouping, Query, Row, Sort};
use super::health::Health;
use super::paint::rate;
use crate::model::gauges::{DEAD_AFTER, Gauges, MapGauge};
use crate::model::time::{BootTime, WallTime};
use crate::output::SCHEMA_VERSION;
use crate::output::capacity::one_digit;
use crate::output::groups::members;
use crate::output::listing::{Object, Row as _, value};
use crate::output::protocol;
use crate::output::time::Clock;
use crate::output::usage::Usage;

/// One report.
pub struct Report<'a> {
    pub board: &'a Board,
    pub health: &'a Health,
    pub time: WallTime,
    pub now: BootTime,
    /// Since the last report.
    pub interval: Duration,
    /// The last one of the run: every drop is in it.
    pub is_final: bool,
    /// Rows of each grouping that are printed.
    pub rows: usize,
}

/// A grouping's rows, and what the others add up to.
struct Part {
    rows: Vec<Row>,
    more: usize,
    more_recent: u64,
    more_total: u64,
}

impl Report<'_> {
    /// Those that grew most come first.
    fn part(&self, grouping: Grouping) -> Part {
        let query = Query { grouping, sort: Sort::Total, filter: String::new() };
        let mut rows = self.board.rows(&query, self.now);
        rows.sort_by_key(|row| std::cmp::Reverse(row.count.recent));
        // Groups beyond the limit have no name; they are told with those that are not printed.
        let (named, other): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| row.values.is_some());
        let mut rows = named;
        let mut rest = rows.split_off(self.rows.min(rows.len()));
        rest.extend(other);
        Part {
            rows,
            more: rest.len(),
            more_recent: rest.iter().map(|row| row.count.recent).sum(),
            more_total: rest.iter().map(|row| row.count.total).sum(),
        }
    }

    fn gauges(&self) -> Result<&Gauges, &str> {
        match &self.health.gauges {
            Some(Ok(gauges)) => Ok(gauges),
            Some(Err(why)) => Err(why),
            None => Err("maps are being read"),
        }
    }

    pub fn text(&self, out: &mut Vec<u8>, clock: &mut Clock) {
        let all = self.board.all(self.now);
        clock.write(out, self.time);
        out.extend_from_slice(b" ");
        value::foreign(out, &self.board.node().name);
        let seconds = self.interval.as_secs_f64();
        let _ = writeln!(
            out,
            ": {} drops in {seconds:.1} s, {}/s over the last {} s, {} in all",
            all.count.recent,
            rate(all.minute, self.board.minute(self.now)),
            self.board.minute(self.now),
            all.count.total
        );
        Grouping::ALL.into_iter().for_each(|grouping| self.text_part(out, grouping));
        self.text_maps(out);
        if let Some(summary) = self.health.summary() {
            let _ = summary.write_text(out);
        }
        out.push(b'\n');
    }

    fn text_part(&self, out: &mut Vec<u8>, grouping: Grouping) {
        let part = self.part(grouping);
        let _ = writeln!(out, "{:>9} {:>7} {:>10}  {}", "NEW", "1MIN/S", "TOTAL", grouping.heading());
        let minute = self.board.minute(self.now);
        for row in &part.rows {
            let (count, rate) = (row.count, rate(row.minute, minute));
            let _ = writeln!(out, "{:>9} {rate:>7} {:>10}  {}", count.recent, count.total, row.text);
        }
        if part.more > 0 {
            let (recent, total) = (part.more_recent, part.more_total);
            let _ = writeln!(out, "{recent:>9} {:>7} {total:>10}  in {} more rows", "", part.more);
        }
    }

    fn text_maps(&self, out: &mut Vec<u8>) {
        let gauges = match self.gauges() {
            Ok(gauges) => gauges,
            Err(why) => {
                out.extend_from_slice(b"maps: ");
                value::foreign(out, why);
                return out.push(b'\n');
            }
        };
        let _ = writeln!(out, "{:>9} {:>10} {:>8} {:>9}  MAP", "ENTRIES", "MAX", "FILL", "GROWTH/S");
        for map in filled(gauges) {
            let mut percent = Vec::new();
            value::percent(&mut percent, map.entries, map.max_entries.into());
            let percent = String::from_utf8_lossy(&percent);
            let growth = map.growth.map_or("-".to_owned(), |growth| format!("{growth:.1}"));
            let (entries, max) = (map.entries, map.max_entries);
            let _ = write!(out, "{entries:>9} {max:>10} {percent:>8} {growth:>9}  ");
            value::foreign(out, &map.name);
            out.push(b'\n');
        }
        for nat in &gauges.nat {
            let protocol =
                protocol::name(nat.protocol).map_or_else(|| nat.protocol.to_string(), str::to_owned);
            let _ = writeln!(
                out,
                "source NAT: {} > {} {protocol}: {} ports in use, the next connection fails with {:.1}%",
                nat.egress,
                nat.remote,
                nat.used,
                nat.failure * 100.0
            );
        }
        if !gauges.complete {
            out.extend_from_slice(b"not every map could be read and understood\n");
        }
    }

    /// One line.
    pub fn json(&self, out: &mut Vec<u8>, clock: &mut Clock) {
        let all = self.board.all(self.now);
        Object::write(out, |line| {
            line.object("top", |object| {
                object.always_number("schema_version", SCHEMA_VERSION);
                object.always_flag("final", self.is_final);
                let nanoseconds = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
                object.always_number64("interval_ns", nanoseconds);
                object.object("drops", |object| self.json_counts(object, &all));
                object.object("groups", |object| {
                    Grouping::ALL.into_iter().for_each(|grouping| self.json_part(object, clock, grouping));
                });
                self.json_maps(object);
                if let Some(summary) = self.health.summary() {
                    object.object("summary", |object| summary.json(object));
                }
            });
            line.string("node_name", &self.board.node().name);
            line.time("time", clock, self.time);
        });
        out.push(b'\n');
    }

    fn json_counts(&self, object: &mut Object<'_>, row: &Row) {
        object.always_number64("count", row.count.recent);
        object.always_number64("total", row.count.total);
        let seconds = self.interval.as_secs_f64().max(0.001);
        one_digit(object.key("per_second"), row.count.recent as f64 / seconds);
        let minute = self.board.minute(self.now) as f64;
        one_digit(object.key("per_second_last_minute"), row.minute as f64 / minute);
    }

    fn json_part(&self, object: &mut Object<'_>, clock: &mut Clock, grouping: Grouping) {
        let part = self.part(grouping);
        object.object(grouping.name(), |object| {
            let clock = std::cell::RefCell::new(clock);
            object.objects("rows", &part.rows, |object, row| {
                let values = row.values.as_deref().unwrap_or_default();
                members(grouping.keys(), values, |name, value| object.always_string(name, value));
                self.json_counts(object, row);
                object.time("first_seen", &mut clock.borrow_mut(), row.count.first);
                object.time("last_seen", &mut clock.borrow_mut(), row.count.last);
            });
            object.always_number("more_rows", part.more);
            object.always_number64("more_count", part.more_recent);
            object.always_number64("more_total", part.more_total);
        });
    }

    fn json_maps(&self, object: &mut Object<'_>) {
        let gauges = match self.gauges() {
            Ok(gauges) => gauges,
            Err(why) => return object.always_string("maps_unavailable", why),
        };
        object.always_flag("maps_complete", gauges.complete);
        object.objects("maps", filled(gauges), json_map);
        object.objects("source_nat", &gauges.nat, |object, nat| {
            object.always_address("egress_ip", nat.egress);
            object.always_address("destination_ip", nat.remote.ip());
            object.always_number("destination_port", nat.remote.port());
            object.plain("protocol", |out| protocol::write(out, nat.protocol));
            object.always_number("ports_used", nat.used);
            // Writing to a Vec cannot fail.
            let _ = write!(object.key("failure_percent"), "{:.4}", nat.failure * 100.0);
        });
        object.object("agent", |agent| match gauges.heartbeat_age {
            Some(age) => {
                agent.always_number("heartbeat_age_seconds", age);
                agent.always_flag("alive", age < DEAD_AFTER);
            }
            None => {
                agent.null("heartbeat_age_seconds");
                agent.null("alive");
            }
        });
    }
}

/// Maps without entries say nothing.
fn filled(gauges: &Gauges) -> impl Iterator<Item = &MapGauge> {
    gauges.maps.iter().filter(|map| map.entries > 0)
}

fn json_map(object: &mut Object<'_>, map: &MapGauge) {
    let usage = Usage { map: &map.name, entries: map.entries, max_entries: map.max_entries };
    usage.json(object);
    match map.growth {
        Some(growth) => one_digit(object.key("growth_per_second"), growth),
        None => object.null("growth_per_second"),
    }
    object.always_flag("lru", map.evicts);
    if let Some(expired) = map.expired {
        object.always_number("expired", expired);
    }
}
