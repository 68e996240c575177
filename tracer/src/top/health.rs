//! How far what is shown can be trusted, and how full the node is: taps, losses, maps; as lines of text.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::paint::Paint;
use crate::model::gauges::{DEAD_AFTER, Gauges, MapGauge, NatGauge};
use crate::output::banner::{TapLine, TapStatus};
use crate::output::capacity::span;
use crate::output::escape;
use crate::output::listing::value;
use crate::output::protocol;
use crate::output::summary::{Metrics, Summary, comparison_counters, event_counters, tap_counters};

/// What is known besides the drops themselves.
#[derive(Debug, Default)]
pub struct Health {
    pub taps: Vec<TapLine>,
    /// The books as of the last second.
    summary: Option<Summary>,
    /// Drops in flight are counted by Cilium and not seen here yet: only what stays unaccounted for is worth a word.
    unaccounted: i64,
    /// Or why there are none.
    pub gauges: Option<Result<Gauges, String>>,
    /// What would have been said on stderr.
    pub warnings: Vec<String>,
}

impl Health {
    pub fn new(taps: Vec<TapLine>) -> Self {
        Self { taps, ..Self::default() }
    }

    pub fn hear(&mut self, summary: Summary) {
        let unaccounted = |summary: &Summary| match &summary.metrics {
            Metrics::Compared(compared) => compared.unaccounted(),
            Metrics::Unavailable(_) => 0,
        };
        let (before, now) = (self.summary.as_ref().map_or(0, unaccounted), unaccounted(&summary));
        self.unaccounted = [before, now].into_iter().min_by_key(|count| count.unsigned_abs()).unwrap_or(0);
        self.summary = Some(summary);
    }

    pub fn summary(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }

    /// `seen complete: lost 0, malformed 0, unaccounted 0; filtered 3, folded 12`.
    pub fn seen(&self, paint: Paint) -> Line<'static> {
        let Some(summary) = &self.summary else {
            return labelled(paint, "seen", "no report yet", Style::new());
        };
        let lost = summary.lost();
        let is_whole = lost == 0 && summary.events.malformed == 0 && self.unaccounted == 0;
        let compared = match &summary.metrics {
            Metrics::Compared(_) => format!("unaccounted {}", self.unaccounted),
            Metrics::Unavailable(why) => format!("not compared with cilium_metrics: {}", safe(why)),
        };
        let (word, style) = if is_whole { ("complete", paint.good()) } else { ("INCOMPLETE", paint.bad()) };
        let mut line = labelled(paint, "seen", word, style);
        line.push_span(format!(
            ": lost {lost}, malformed {}, {compared}; filtered {}, folded {}",
            summary.events.malformed,
            summary.events.filtered,
            summary.events.folded_total(),
        ));
        line
    }

    /// `taps free: tp_btf kfree_skb, message: off`.
    pub fn hooks(&self, paint: Paint) -> Line<'static> {
        let mut line = labelled(paint, "taps", "", Style::new());
        for (at, tap) in self.taps.iter().enumerate() {
            line.push_span(format!("{}{} ", if at > 0 { ", " } else { "" }, tap.name));
            match &tap.state {
                TapStatus::On(hook) => line.push_span(Span::styled(safe(hook), paint.good())),
                TapStatus::Off(_) => line.push_span(Span::styled("off", paint.warn())),
            }
        }
        line
    }

    /// The fullest tables of connections and of address translation.
    pub fn fill(&self, paint: Paint) -> Line<'static> {
        let gauges = match &self.gauges {
            Some(Ok(gauges)) => gauges,
            Some(Err(why)) => return labelled(paint, "fill", &safe(why), paint.warn()),
            None => return labelled(paint, "fill", "maps are being read", Style::new()),
        };
        let mut line = labelled(paint, "fill", "", Style::new());
        let mut tables: Vec<&MapGauge> = gauges.maps.iter().filter(|map| is_about_connections(map)).collect();
        tables.sort_by_key(|map| std::cmp::Reverse(used(map)));
        for (at, map) in tables.iter().enumerate() {
            let name = map.name.strip_prefix("cilium_").unwrap_or(&map.name);
            line.push_span(format!("{}{} ", if at > 0 { "  " } else { "" }, safe(name)));
            line.push_span(Span::styled(percent(map), paint.fill(used(map))));
        }
        if tables.is_empty() {
            line.push_span("no connection tracking and no NAT on this node");
        }
        line
    }

    /// `agent alive, heartbeat 2s ago; SNAT …`.
    pub fn agent(&self, paint: Paint) -> Line<'static> {
        let Some(Ok(gauges)) = &self.gauges else { return labelled(paint, "agent", "", Style::new()) };
        let (text, style) = heartbeat(gauges.heartbeat_age, paint);
        let mut line = labelled(paint, "agent", &text, style);
        let worst =
            gauges.nat.iter().max_by(|a, b| a.failure.total_cmp(&b.failure).then(a.used.cmp(&b.used)));
        if let Some(worst) = worst {
            let style = paint.fill((worst.failure * 10_000.0) as u64);
            line.push_span("; SNAT ");
            line.push_span(Span::styled(format!("fails {}", percent_of(worst.failure)), style));
            line.push_span(format!(": {} ports to {}/{}", worst.used, worst.remote, protocol_name(worst)));
        }
        line
    }

    /// Every counter, also those that are zero.
    pub fn counters(&self, paint: Paint) -> Vec<Line<'static>> {
        let Some(summary) = &self.summary else { return vec![Line::from("no report yet")] };
        let mut lines = self.tap_table(summary, paint);
        let events = event_counters(&summary.events);
        let compared = match &summary.metrics {
            Metrics::Compared(compared) => {
                let mut counters: Vec<(&str, i64)> = comparison_counters(compared)
                    .into_iter()
                    .map(|(name, count)| (name, count.cast_signed()))
                    .collect();
                counters.push(("unaccounted", compared.unaccounted()));
                Ok(counters)
            }
            Metrics::Unavailable(why) => Err(format!("not compared: {}", safe(why))),
        };
        lines.push(Line::from(format!("{:<34}  {}", "events", "Cilium's own count")).style(paint.label()));
        for (at, (name, count)) in events.iter().enumerate() {
            let mut line = Line::from(format!("  {:<18}{count:>12}  ", spaced(name)));
            match &compared {
                Ok(counters) => {
                    if let Some((name, count)) = counters.get(at) {
                        line.push_span(alarming(
                            name,
                            *count,
                            format!("  {:<20}{count:>12}", spaced(name)),
                            paint,
                        ));
                    }
                }
                Err(why) if at == 0 => line.push_span(format!("  {why}")),
                Err(_) => {}
            }
            lines.push(line);
        }
        for tap in &self.taps {
            if let TapStatus::Off(why) = &tap.state {
                lines.push(Line::from(format!("  {} is off: {}", tap.name, safe(why))));
            }
        }
        for (class, count) in &summary.events.folded {
            lines.push(Line::from(format!("    folded {class:<22}{count:>5}")));
        }
        lines
    }

    fn tap_table(&self, summary: &Summary, paint: Paint) -> Vec<Line<'static>> {
        let on = |name: &str| summary.taps.iter().find(|tap| tap.name == name);
        let cell = |text: &str| format!("{:>18}", text.chars().take(17).collect::<String>());
        let row = |name: &str, cells: Vec<String>| format!("  {name:<20}{}", cells.concat());
        let mut lines = vec![
            Line::from(row("tap", self.taps.iter().map(|tap| cell(tap.name)).collect())).style(paint.label()),
        ];
        let names = tap_counters(&Default::default()).map(|(name, _)| name);
        for (at, name) in names.into_iter().enumerate() {
            let count = |tap: &TapLine| on(tap.name).map(|tap| tap_counters(&tap.counters)[at].1);
            let counts: Vec<Option<u64>> = self.taps.iter().map(count).collect();
            let cells =
                counts.iter().map(|count| cell(&count.map_or("-".to_owned(), |count| count.to_string())));
            let largest = counts.iter().flatten().copied().max().unwrap_or(0);
            let line = row(&spaced(name), cells.collect());
            lines.push(Line::from(alarming(name, largest.cast_signed(), line, paint)));
        }
        let missed = |tap: &TapLine| match on(tap.name) {
            Some(tap) => tap.missed.map_or("unknown".to_owned(), |missed| missed.to_string()),
            None => "-".to_owned(),
        };
        lines.push(Line::from(row("missed", self.taps.iter().map(|tap| cell(&missed(tap))).collect())));
        lines
    }

    /// Every map that has entries: those of connections first, then the fullest.
    pub fn maps(&self, paint: Paint) -> Vec<Line<'static>> {
        let gauges = match &self.gauges {
            Some(Ok(gauges)) => gauges,
            Some(Err(why)) => return vec![Line::from(safe(why)).style(paint.warn())],
            None => return vec![Line::from("maps are being read")],
        };
        let mut lines = vec![
            Line::from(format!(
                "{:<31}{:>9} {:>9} {:>8} {:>9} {:>9}",
                "map", "entries", "max", "fill", "growth/s", "expired"
            ))
            .style(paint.label()),
        ];
        let mut maps: Vec<&MapGauge> =
            gauges.maps.iter().filter(|map| map.entries > 0 || is_about_connections(map)).collect();
        maps.sort_by_key(|map| (!is_about_connections(map), std::cmp::Reverse(used(map)), &map.name));
        lines.extend(maps.into_iter().map(|map| map_line(map, paint)));
        lines.push(Line::default());
        lines.push(
            Line::from(format!("{:<49}{:>12} {:>16}", "source NAT, ports in use", "ports", "next one fails"))
                .style(paint.label()),
        );
        if gauges.nat.is_empty() {
            lines.push(Line::from("  none"));
        }
        for nat in &gauges.nat {
            let style = paint.fill((nat.failure * 10_000.0) as u64);
            lines.push(
                Line::from(format!(
                    "  {:<47}{:>12} {:>16}",
                    destination(nat),
                    nat.used,
                    percent_of(nat.failure)
                ))
                .style(style),
            );
        }
        lines.push(Line::default());
        let (text, style) = heartbeat(gauges.heartbeat_age, paint);
        lines.push(labelled(paint, "agent", &text, style));
        if !gauges.complete {
            lines.push(Line::from("not every map could be read and understood").style(paint.warn()));
        }
        lines
    }
}

/// A counter that should be zero and is not.
fn alarming(name: &str, count: i64, text: String, paint: Paint) -> Span<'static> {
    const BAD: [&str; 8] = [
        "ring_full",
        "ring_full_cilium",
        "companion_lost",
        "read_fault",
        "malformed",
        "lost",
        "not_recorded",
        "unaccounted",
    ];
    Span::styled(text, if count != 0 && BAD.contains(&name) { paint.bad() } else { Style::new() })
}

fn map_line(map: &MapGauge, paint: Paint) -> Line<'static> {
    let growth = map.growth.map_or("-".to_owned(), |growth| format!("{growth:+.1}"));
    let expired = map.expired.map_or("-".to_owned(), |expired| expired.to_string());
    let name: String = safe(&map.name).chars().take(31).collect();
    Line::from(vec![
        Span::raw(format!("{name:<31}{:>9} {:>9} ", map.entries, map.max_entries)),
        Span::styled(format!("{:>8}", percent(map)), paint.fill(used(map))),
        Span::raw(format!(" {growth:>9} {expired:>9}")),
    ])
}

fn is_about_connections(map: &MapGauge) -> bool {
    ["cilium_ct", "cilium_snat"].iter().any(|start| map.name.starts_with(start))
}

/// Hundredths of a per cent.
fn used(map: &MapGauge) -> u64 {
    value::hundredths_of_percent(map.entries, map.max_entries.into())
}

fn percent(map: &MapGauge) -> String {
    let used = used(map);
    format!("{}.{}%", used / 100, used % 100 / 10)
}

fn percent_of(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

fn destination(nat: &NatGauge) -> String {
    format!("{} > {} {}", nat.egress, nat.remote, protocol_name(nat))
}

fn protocol_name(nat: &NatGauge) -> String {
    protocol::name(nat.protocol).map_or_else(|| nat.protocol.to_string(), str::to_owned)
}

fn heartbeat(age: Option<u64>, paint: Paint) -> (String, Style) {
    let spoken = |seconds| {
        let mut out = Vec::new();
        span(&mut out, seconds);
        String::from_utf8_lossy(&out).into_owned()
    };
    match age {
        Some(age) if age < DEAD_AFTER => (format!("alive, beat {} ago", spoken(age)), paint.good()),
        Some(age) => (format!("NO HEARTBEAT for {}", spoken(age)), paint.bad()),
        None => ("no heartbeat to be seen".to_owned(), paint.warn()),
    }
}

/// A line of the head: what it is about, in a column of its own.
pub fn labelled(paint: Paint, label: &str, text: &str, style: Style) -> Line<'static> {
    Line::from(vec![Span::styled(format!("{label:<7}"), paint.label()), Span::styled(text.to_owned(), style)])
}

fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

/// Harmless to terminals.
pub fn safe(text: &str) -> String {
    let mut out = Vec::new();
    escape::text(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}
