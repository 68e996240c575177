//! How full a map is and what becomes of it, as a row of a listing.

use super::listing::{Column, Object, Row, value};
use super::usage::Usage;

pub const COLUMNS: &[Column] = &[
    Column::text("map"),
    Column::number("entries"),
    Column::number("max_entries"),
    Column::number("usage_percent"),
    Column::number("growth_per_second"),
    Column::text("time_to_full"),
    Column::number("expired"),
    Column::text("owner"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filling<'a> {
    pub usage: Usage<'a>,
    /// Entries; `None`: not counted twice.
    pub growth_per_second: Option<f64>,
    /// Entries past their time; `None`: this map's entries have no end.
    pub expired: Option<u64>,
    /// Evicts the oldest entries instead of refusing new ones.
    pub is_lru: bool,
    /// Whose map it is; "" for all.
    pub owner: &'a str,
}

impl Filling<'_> {
    /// Seconds; `None`: it does not grow, or is full.
    pub fn seconds_to_full(&self) -> Option<u64> {
        let growth = self.growth_per_second.filter(|growth| *growth > 0.0)?;
        let free =
            u64::from(self.usage.max_entries).checked_sub(self.usage.entries).filter(|free| *free > 0)?;
        Some((free as f64 / growth).round() as u64)
    }

    fn is_full(&self) -> bool {
        self.usage.entries >= self.usage.max_entries.into()
    }

    fn outlook(&self, out: &mut Vec<u8>) {
        match self.seconds_to_full() {
            _ if self.is_full() => value::word(out, if self.is_lru { "full, evicts" } else { "full" }),
            Some(seconds) => span(out, seconds),
            None => value::word(out, "-"),
        }
    }
}

/// `3d4h`, `2h5m`, `40s`: the two largest units.
pub fn span(out: &mut Vec<u8>, seconds: u64) {
    const UNITS: [(u64, u8); 4] = [(86_400, b'd'), (3_600, b'h'), (60, b'm'), (1, b's')];
    let first = UNITS.iter().position(|(size, _)| seconds >= *size).unwrap_or(UNITS.len() - 1);
    let mut rest = seconds;
    for (index, (size, unit)) in UNITS.into_iter().enumerate().skip(first).take(2) {
        let count = rest / size;
        rest %= size;
        if count > 0 || index == first {
            value::number(out, count);
            out.push(unit);
        }
    }
}

/// A figure per second.
pub fn one_digit(out: &mut Vec<u8>, per_second: f64) {
    // A tenth of an entry is precise enough; whole numbers stay whole.
    let tenths = (per_second * 10.0).round() as i64;
    if tenths < 0 {
        out.push(b'-');
    }
    value::number(out, tenths.unsigned_abs() / 10);
    if !tenths.unsigned_abs().is_multiple_of(10) {
        out.extend_from_slice(&[b'.', b'0' + (tenths.unsigned_abs() % 10) as u8]);
    }
}

impl Row for Filling<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        match column {
            0..=3 => self.usage.text(column, out),
            4 => self.growth_per_second.iter().for_each(|growth| one_digit(out, *growth)),
            5 => self.outlook(out),
            6 => self.expired.iter().for_each(|expired| value::number(out, *expired)),
            7 => value::foreign(out, self.owner),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        self.usage.json(members);
        match self.growth_per_second {
            Some(growth) => one_digit(members.key("growth_per_second"), growth),
            None => members.null("growth_per_second"),
        }
        match self.seconds_to_full() {
            Some(seconds) => members.always_number("seconds_to_full", seconds),
            None => members.null("seconds_to_full"),
        }
        members.always_flag("lru", self.is_lru);
        if let Some(expired) = self.expired {
            members.always_number("expired", expired);
        }
        members.string("owner", self.owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filling(entries: u64, growth: f64) -> Filling<'static> {
        Filling {
            usage: Usage { map: "cilium_ct4_global", entries, max_entries: 1000 },
            growth_per_second: Some(growth),
            expired: None,
            is_lru: true,
            owner: "",
        }
    }

    fn text(filling: &Filling, column: usize) -> String {
        let mut out = Vec::new();
        filling.text(column, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn time_to_full_follows_from_what_is_free_and_from_growth() {
        for (entries, growth, seconds, words) in [
            (900, 10.0, Some(10), "10s"),
            (0, 0.1, Some(10_000), "2h46m"),
            (900, 0.0, None, "-"),
            (900, -5.0, None, "-"),
            (1000, 5.0, None, "full, evicts"),
        ] {
            let filling = filling(entries, growth);
            assert_eq!(
                (filling.seconds_to_full(), text(&filling, 5).as_str()),
                (seconds, words),
                "{entries}"
            );
        }
    }

    #[test]
    fn spans_show_their_two_largest_units() {
        for (seconds, expected) in [(0, "0s"), (59, "59s"), (60, "1m"), (3_725, "1h2m"), (273_600, "3d4h")] {
            let mut out = Vec::new();
            span(&mut out, seconds);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn growth_has_one_digit_where_it_has_a_meaning() {
        for (growth, expected) in [(12.0, "12"), (0.26, "0.3"), (-3.5, "-3.5"), (-0.04, "0")] {
            assert_eq!(text(&filling(1, growth), 4), expected);
        }
    }
}
