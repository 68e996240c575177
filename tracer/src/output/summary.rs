//! What a run ends with on stderr: every counter, also those that are zero, and the comparison with Cilium's
//! own count of its drops.

use std::io::{self, Write};
use std::time::Duration;

use tracer_common::event::TapCounters;

use super::escape;
use super::json::Object;
use super::tracer_json::SCHEMA_VERSION;
use crate::cilium::reason;
use crate::model::reason::DropReason;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// From attached to detached.
    pub duration: Duration,
    pub taps: Vec<TapSummary>,
    pub events: EventCounters,
    /// Where trace and verdict messages were asked for.
    pub notices: Option<NoticeCounters>,
    pub metrics: Metrics,
}

/// One tap that was on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TapSummary {
    pub name: &'static str,
    pub hook: String,
    pub counters: TapCounters,
    /// Runs that the kernel skipped; `None` where it does not count them.
    pub missed: Option<u64>,
}

/// What became of the records in user space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventCounters {
    /// Records taken from the ring buffer.
    pub received: u64,
    /// Records that could not be read.
    pub malformed: u64,
    /// Records that became part of an event that another record had begun.
    pub joined: u64,
    /// Events printed.
    pub shown: u64,
    /// Events rejected by the exact filter.
    pub filtered: u64,
    /// Known-harmless events that were only counted, by class.
    pub folded: Vec<(&'static str, u64)>,
    /// Events that came after the output had ended (`--count` reached, pipe closed).
    pub after_end: u64,
    /// Notifications of other kinds: they tell of no drop.
    pub other_messages: u64,
    /// Events that tracer's own queues had no room for.
    pub lost_in_queues: u64,
    /// Events that `serve --record` could not write.
    pub not_recorded: u64,
}

impl EventCounters {
    pub fn folded_total(&self) -> u64 {
        self.folded.iter().map(|(_, count)| count).sum()
    }
}

/// What became of the trace and verdict messages that Cilium sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoticeCounters {
    /// By Cilium's programs, of the types that were asked for.
    pub sent: u64,
    /// Those that reached user space, by their type.
    pub traces: u64,
    pub verdicts: u64,
    pub shown: u64,
    pub filtered: u64,
    pub after_end: u64,
    pub filtered_in_kernel: u64,
    /// No room in the ring buffer.
    pub lost: u64,
}

impl NoticeCounters {
    /// Messages of which nobody knows what became of them.
    pub fn unaccounted(&self) -> i64 {
        let known = self.shown + self.filtered + self.after_end + self.filtered_in_kernel + self.lost;
        self.sent.wrapping_sub(known).cast_signed()
    }
}

/// The comparison with `cilium_metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metrics {
    Compared(Reconciliation),
    /// Why there is none.
    Unavailable(String),
}

impl Default for Metrics {
    fn default() -> Self {
        Self::Unavailable("not read".to_owned())
    }
}

/// Cilium's drops during the run: what the datapath counted, and what became of them here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    pub reasons: Vec<ReasonCount>,
    /// Rejected by the filter in the kernel, whatever the reason.
    pub filtered_in_kernel: u64,
    /// Kept back by `--rate-limit`, whatever the reason.
    pub suppressed: u64,
    /// Lost in the ring or in a queue, whatever the reason.
    pub lost: u64,
}

/// Drops of one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonCount {
    pub reason: DropReason,
    /// By the datapath.
    pub counted: u64,
    pub shown: u64,
    pub filtered: u64,
    pub folded: u64,
    /// Seen after the output had ended.
    pub after_end: u64,
}

impl Reconciliation {
    fn total(&self, of: impl Fn(&ReasonCount) -> u64) -> u64 {
        self.reasons.iter().map(of).sum()
    }

    pub fn counted(&self) -> u64 {
        self.total(|row| row.counted)
    }

    /// Drops that the datapath counted and tracer knows nothing of; negative when tracer saw more than were
    /// counted.
    pub fn unaccounted(&self) -> i64 {
        let accounted = self.total(|row| row.shown + row.filtered + row.folded + row.after_end)
            + self.filtered_in_kernel
            + self.suppressed
            + self.lost;
        self.counted().wrapping_sub(accounted).cast_signed()
    }
}

impl Summary {
    /// Records lost before they were printed, drops that another record told of excluded.
    pub fn lost(&self) -> u64 {
        let lost = |tap: &TapSummary| tap.counters.ring_full;
        let recovered: u64 = self.taps.iter().map(|tap| tap.counters.recovered).sum();
        let in_rings: u64 = self.taps.iter().map(lost).sum();
        in_rings.saturating_sub(recovered) + self.events.lost_in_queues
    }

    /// Whether something was not seen or not understood.
    pub fn is_incomplete(&self) -> bool {
        let unaccounted =
            self.unaccounted() != 0 || self.notices.is_some_and(|notices| notices.unaccounted() != 0);
        let events = &self.events;
        self.lost() > 0 || events.malformed > 0 || events.not_recorded > 0 || unaccounted
    }

    /// The first thing that a tired reader wants to know.
    fn verdict(&self) -> String {
        if !self.is_incomplete() {
            return "complete".to_owned();
        }
        let notices = self.notices.map_or(0, |notices| notices.unaccounted());
        let not_recorded = match self.events.not_recorded {
            0 => String::new(),
            count => format!(", not recorded {count}"),
        };
        format!(
            "INCOMPLETE, lost {}, malformed {}, unaccounted {}{not_recorded}",
            self.lost(),
            self.events.malformed,
            self.unaccounted() + notices
        )
    }

    /// Drops, as far as they can be compared.
    fn unaccounted(&self) -> i64 {
        match &self.metrics {
            Metrics::Compared(compared) => compared.unaccounted(),
            Metrics::Unavailable(_) => 0,
        }
    }

    pub fn write_text(&self, sink: &mut impl Write) -> io::Result<()> {
        let mut out = Vec::new();
        writeln!(out, "summary of {:.1} s: {}", self.duration.as_secs_f64(), self.verdict())?;
        for tap in &self.taps {
            write_tap(&mut out, tap)?;
        }
        write_events(&mut out, &self.events)?;
        if let Some(notices) = &self.notices {
            out.extend_from_slice(b"  trace and verdict messages: ");
            write_counters(&mut out, &notice_counters(notices))?;
            writeln!(out, ", unaccounted {}", notices.unaccounted())?;
        }
        match &self.metrics {
            Metrics::Compared(compared) => write_comparison(&mut out, compared)?,
            Metrics::Unavailable(why) => {
                out.extend_from_slice(b"  cilium_metrics: not compared, ");
                escape::text(&mut out, why);
                out.push(b'\n');
            }
        }
        sink.write_all(&out)
    }

    /// One line.
    pub fn write_json(&self, sink: &mut impl Write) -> io::Result<()> {
        let mut out = Vec::new();
        Object::write(&mut out, |line| line.object("summary", |object| self.json(object)));
        out.push(b'\n');
        sink.write_all(&out)
    }

    /// The members of the object.
    pub fn json(&self, object: &mut Object<'_>) {
        object.always_number("schema_version", SCHEMA_VERSION);
        object.always_number64("duration_ns", u64::try_from(self.duration.as_nanos()).unwrap_or(u64::MAX));
        object.objects("taps", &self.taps, json_tap);
        object.object("events", |object| json_events(object, &self.events));
        if let Some(notices) = &self.notices {
            object.object("notices", |object| {
                json_counters(object, &notice_counters(notices));
                object.always_number64("unaccounted", notices.unaccounted());
            });
        }
        object.always_number64("lost", self.lost());
        object.always_flag("incomplete", self.is_incomplete());
        match &self.metrics {
            Metrics::Compared(compared) => {
                object.object("cilium_metrics", |object| json_comparison(object, compared))
            }
            Metrics::Unavailable(why) => object.object("cilium_metrics", |object| {
                object.always_string("unavailable", why);
            }),
        }
    }
}

/// Counters of a tap with their names, in the order in which they are printed.
pub fn tap_counters(counters: &TapCounters) -> [(&'static str, u64); 12] {
    [
        ("seen", counters.seen),
        ("foreign", counters.foreign),
        ("filtered", counters.filtered),
        ("filtered_cilium", counters.filtered_cilium),
        ("suppressed", counters.suppressed),
        ("suppressed_cilium", counters.suppressed_cilium),
        ("emitted", counters.emitted),
        ("ring_full", counters.ring_full),
        ("ring_full_cilium", counters.ring_full_cilium),
        ("companion_lost", counters.companion_lost),
        ("recovered", counters.recovered),
        ("read_fault", counters.read_fault),
    ]
}

pub fn event_counters(events: &EventCounters) -> [(&'static str, u64); 10] {
    [
        ("received", events.received),
        ("malformed", events.malformed),
        ("joined", events.joined),
        ("shown", events.shown),
        ("filtered", events.filtered),
        ("folded", events.folded_total()),
        ("after_end", events.after_end),
        ("other_messages", events.other_messages),
        ("lost_in_queues", events.lost_in_queues),
        ("not_recorded", events.not_recorded),
    ]
}

const fn notice_counters(notices: &NoticeCounters) -> [(&'static str, u64); 8] {
    [
        ("sent", notices.sent),
        ("traces", notices.traces),
        ("verdicts", notices.verdicts),
        ("shown", notices.shown),
        ("filtered", notices.filtered),
        ("after_end", notices.after_end),
        ("filtered_in_kernel", notices.filtered_in_kernel),
        ("lost", notices.lost),
    ]
}

/// Counters of Cilium's drops over all reasons.
pub fn comparison_counters(compared: &Reconciliation) -> [(&'static str, u64); 8] {
    [
        ("counted", compared.counted()),
        ("shown", compared.total(|row| row.shown)),
        ("filtered", compared.total(|row| row.filtered)),
        ("folded", compared.total(|row| row.folded)),
        ("after_end", compared.total(|row| row.after_end)),
        ("filtered_in_kernel", compared.filtered_in_kernel),
        ("suppressed", compared.suppressed),
        ("lost", compared.lost),
    ]
}

const fn reason_counters(row: &ReasonCount) -> [(&'static str, u64); 5] {
    [
        ("counted", row.counted),
        ("shown", row.shown),
        ("filtered", row.filtered),
        ("folded", row.folded),
        ("after_end", row.after_end),
    ]
}

/// `name value, name value`, underscores as blanks.
fn write_counters(out: &mut Vec<u8>, counters: &[(&str, u64)]) -> io::Result<()> {
    for (at, (name, value)) in counters.iter().enumerate() {
        let separator = if at > 0 { ", " } else { "" };
        write!(out, "{separator}{} {value}", name.replace('_', " "))?;
    }
    Ok(())
}

fn write_tap(out: &mut Vec<u8>, tap: &TapSummary) -> io::Result<()> {
    write!(out, "  tap {} (", tap.name)?;
    escape::text(out, &tap.hook);
    out.extend_from_slice(b"): ");
    write_counters(out, &tap_counters(&tap.counters))?;
    match tap.missed {
        Some(missed) => writeln!(out, ", missed {missed}"),
        None => writeln!(out, ", missed unknown"),
    }
}

fn write_events(out: &mut Vec<u8>, events: &EventCounters) -> io::Result<()> {
    out.extend_from_slice(b"  events: ");
    write_counters(out, &event_counters(events))?;
    out.push(b'\n');
    for (class, count) in events.folded.iter().filter(|(_, count)| *count > 0) {
        writeln!(out, "    folded: {count} {class}")?;
    }
    Ok(())
}

fn write_comparison(out: &mut Vec<u8>, compared: &Reconciliation) -> io::Result<()> {
    out.extend_from_slice(b"  cilium_metrics: ");
    write_counters(out, &comparison_counters(compared))?;
    writeln!(out, ", unaccounted {}", compared.unaccounted())?;
    for row in &compared.reasons {
        let number = row.reason.0;
        write!(out, "    {}: ", reason::text(row.reason).map_or_else(|| number.to_string(), str::to_owned))?;
        write_counters(out, &reason_counters(row))?;
        out.push(b'\n');
    }
    Ok(())
}

fn json_counters(object: &mut Object<'_>, counters: &[(&str, u64)]) {
    for (name, value) in counters {
        object.always_number64(name, *value);
    }
}

fn json_tap(object: &mut Object<'_>, tap: &TapSummary) {
    object.always_string("name", tap.name);
    object.always_string("hook", &tap.hook);
    json_counters(object, &tap_counters(&tap.counters));
    if let Some(missed) = tap.missed {
        object.always_number64("missed", missed);
    }
}

fn json_events(object: &mut Object<'_>, events: &EventCounters) {
    json_counters(object, &event_counters(events));
    object.object("folded_by_class", |object| json_counters(object, &events.folded));
}

fn json_comparison(object: &mut Object<'_>, compared: &Reconciliation) {
    json_counters(object, &comparison_counters(compared));
    object.always_number64("unaccounted", compared.unaccounted());
    object.objects("reasons", &compared.reasons, |object, row| {
        object.always_number("drop_reason", row.reason.0);
        object.string("drop_reason_desc", reason::hubble(row.reason).unwrap_or_default());
        json_counters(object, &reason_counters(row));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let counters =
            TapCounters { seen: 100, filtered: 30, emitted: 68, ring_full: 2, ..TapCounters::default() };
        let row = |reason, counted, shown, filtered| ReasonCount {
            reason: DropReason(reason),
            counted,
            shown,
            filtered,
            folded: 0,
            after_end: 0,
        };
        Summary {
            duration: Duration::from_millis(8_040),
            taps: vec![TapSummary {
                name: "free",
                hook: "tp_btf kfree_skb".into(),
                counters,
                missed: Some(0),
            }],
            events: EventCounters {
                received: 68,
                shown: 40,
                filtered: 8,
                folded: vec![("neighbour discovery", 15), ("other host", 0), ("tcp close", 5)],
                ..EventCounters::default()
            },
            notices: None,
            metrics: Metrics::Compared(Reconciliation {
                reasons: vec![row(133, 45, 40, 2), row(250, 3, 0, 0)],
                filtered_in_kernel: 4,
                suppressed: 0,
                lost: 2,
            }),
        }
    }

    #[test]
    fn every_counter_is_in_the_text_even_when_zero() {
        let mut out = Vec::new();
        summary().write_text(&mut out).unwrap();
        let expected = "\
summary of 8.0 s: INCOMPLETE, lost 2, malformed 0, unaccounted 0
  tap free (tp_btf kfree_skb): seen 100, foreign 0, filtered 30, filtered cilium 0, suppressed 0, suppressed cilium 0, emitted 68, ring full 2, \
ring full cilium 0, companion lost 0, recovered 0, read fault 0, missed 0
  events: received 68, malformed 0, joined 0, shown 40, filtered 8, folded 20, after end 0, other messages 0, lost in queues 0, not recorded 0
    folded: 15 neighbour discovery
    folded: 5 tcp close
  cilium_metrics: counted 48, shown 40, filtered 2, folded 0, after end 0, filtered in kernel 4, suppressed 0, lost 2, unaccounted 0
    Policy denied: counted 45, shown 40, filtered 2, folded 0, after end 0
    250: counted 3, shown 0, filtered 0, folded 0, after end 0
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn the_json_summary_is_one_line_with_the_same_counters() {
        let mut out = Vec::new();
        summary().write_json(&mut out).unwrap();
        assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let line = &line["summary"];
        assert_eq!(line["duration_ns"], "8040000000");
        assert_eq!((&line["taps"][0]["ring_full"], &line["taps"][0]["foreign"]), (&"2".into(), &"0".into()));
        assert_eq!(
            (&line["events"]["folded"], &line["events"]["folded_by_class"]["tcp close"]),
            (&"20".into(), &"5".into())
        );
        assert_eq!(line["cilium_metrics"]["unaccounted"], "0");
        assert_eq!(line["cilium_metrics"]["reasons"][0]["drop_reason_desc"], "POLICY_DENIED");
        assert_eq!((&line["lost"], &line["incomplete"]), (&"2".into(), &true.into()));
    }

    /// Each counter another number, so that none can stand for another.
    fn all_different() -> Summary {
        let counters = TapCounters {
            seen: 101,
            foreign: 102,
            filtered: 103,
            filtered_cilium: 104,
            suppressed: 105,
            suppressed_cilium: 106,
            emitted: 107,
            ring_full: 108,
            ring_full_cilium: 109,
            companion_lost: 110,
            recovered: 111,
            read_fault: 112,
        };
        let tap = |name, missed| TapSummary { name, hook: "fentry".into(), counters, missed };
        let row = |reason, counted| ReasonCount {
            reason: DropReason(reason),
            counted,
            shown: counted + 1,
            filtered: counted + 2,
            folded: counted + 3,
            after_end: counted + 4,
        };
        Summary {
            duration: Duration::from_secs(1),
            taps: vec![tap("free", Some(113)), tap("message", Some(114))],
            events: EventCounters {
                received: 201,
                malformed: 202,
                joined: 203,
                shown: 204,
                filtered: 205,
                folded: vec![("elsewhere", 206), ("other-host", 207)],
                after_end: 208,
                other_messages: 209,
                lost_in_queues: 210,
                not_recorded: 211,
            },
            notices: Some(NoticeCounters {
                sent: 601,
                traces: 602,
                verdicts: 603,
                shown: 604,
                filtered: 605,
                after_end: 606,
                filtered_in_kernel: 607,
                lost: 608,
            }),
            metrics: Metrics::Compared(Reconciliation {
                reasons: vec![row(133, 300), row(250, 400)],
                filtered_in_kernel: 501,
                suppressed: 502,
                lost: 503,
            }),
        }
    }

    /// `name value, name value` with the names of JSON.
    fn numbers_of_text(line: &str) -> std::collections::BTreeMap<String, String> {
        let line = line.split_once(": ").unwrap().1;
        let pairs = line.split(", ").map(|pair| pair.rsplit_once(' ').unwrap());
        pairs.map(|(name, value)| (name.replace(' ', "_"), value.to_owned())).collect()
    }

    /// Members that are numbers: strings of digits in JSON.
    fn numbers_of_json(object: &serde_json::Value) -> std::collections::BTreeMap<String, String> {
        let number = |value: &serde_json::Value| value.as_str()?.parse::<i64>().ok().map(|n| n.to_string());
        let members = object.as_object().unwrap().iter();
        members.filter_map(|(name, value)| Some((name.clone(), number(value)?))).collect()
    }

    #[test]
    fn the_table_and_the_object_have_the_same_numbers() {
        let (mut text, mut json) = (Vec::new(), Vec::new());
        all_different().write_text(&mut text).unwrap();
        all_different().write_json(&mut json).unwrap();
        let text = String::from_utf8(text).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let json = &json["summary"];
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
        let (metrics, folded) = (&json["cilium_metrics"], &json["events"]["folded_by_class"]);
        for (start, object) in [
            ("  tap free (", &json["taps"][0]),
            ("  tap message (", &json["taps"][1]),
            ("  events: ", &json["events"]),
            ("  trace and verdict messages: ", &json["notices"]),
            ("  cilium_metrics: ", metrics),
            ("    Policy denied: ", &metrics["reasons"][0]),
            ("    250: ", &metrics["reasons"][1]),
        ] {
            assert_eq!(numbers_of_text(line(start)), numbers_of_json(object), "{start}");
        }
        for (class, count) in folded.as_object().unwrap() {
            assert!(text.contains(&format!("    folded: {} {class}\n", count.as_str().unwrap())), "{text}");
        }
        let first = line("summary of ");
        assert!(first.contains(&format!(" lost {},", json["lost"].as_str().unwrap())), "{first}");
    }

    /// By hand: 12 sent, of which 5 were shown, 3 rejected here, 2 in the kernel, 1 lost.
    #[test]
    fn a_message_that_nobody_knows_of_makes_it_incomplete() {
        let known = NoticeCounters {
            sent: 12,
            shown: 5,
            filtered: 3,
            filtered_in_kernel: 2,
            after_end: 1,
            lost: 1,
            ..NoticeCounters::default()
        };
        assert_eq!(known.unaccounted(), 0);
        let of = |notices| Summary { notices: Some(notices), ..Summary::default() };
        assert!(!of(known).is_incomplete());
        let missing = NoticeCounters { sent: 14, ..known };
        assert_eq!((missing.unaccounted(), of(missing).is_incomplete()), (2, true));
        let mut out = Vec::new();
        of(missing).write_text(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("summary of 0.0 s: INCOMPLETE, lost 0, malformed 0, unaccounted 2\n"),
            "{text}"
        );
    }

    #[test]
    fn a_missing_comparison_says_why() {
        let summary =
            Summary { metrics: Metrics::Unavailable("no Cilium here".into()), ..Summary::default() };
        let (mut text, mut json) = (Vec::new(), Vec::new());
        summary.write_text(&mut text).unwrap();
        summary.write_json(&mut json).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("summary of 0.0 s: complete\n"), "{text}");
        assert!(text.ends_with("  cilium_metrics: not compared, no Cilium here\n"), "{text}");
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["summary"]["cilium_metrics"]["unavailable"], "no Cilium here");
        assert!(!summary.is_incomplete());
    }

    #[test]
    fn seeing_more_than_was_counted_is_negative() {
        let row = ReasonCount {
            reason: DropReason(133),
            counted: 1,
            shown: 3,
            filtered: 0,
            folded: 0,
            after_end: 0,
        };
        let compared = Reconciliation { reasons: vec![row], ..Reconciliation::default() };
        assert_eq!(compared.unaccounted(), -2);
    }

    #[test]
    fn recovered_records_are_not_lost_drops() {
        let counters = TapCounters { ring_full: 5, recovered: 5, ..TapCounters::default() };
        let taps = vec![TapSummary { name: "message", hook: "fentry".into(), counters, missed: None }];
        assert_eq!(Summary { taps, ..Summary::default() }.lost(), 0);
    }
}
