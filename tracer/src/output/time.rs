//! Event times as text: the layouts that Hubble names, in local time or UTC, and the timestamps of JSON.
//!
//! A rendered time is everything down to the second, digits, and a tail (the zone). Head and tail are kept for
//! the next event of the same second, so that calendar arithmetic is done once a second.

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::model::time::WallTime;

/// A layout by Hubble's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeFormat {
    #[default]
    StampMilli,
    YearMonthDay,
    YearMonthDayHour,
    YearMonthDayHourMinute,
    Rfc3339,
    Rfc3339Milli,
    Rfc3339Micro,
    Rfc3339Nano,
    Rfc1123Z,
}

/// How the part of a second is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fraction {
    None,
    /// `.` and exactly three digits.
    Milli,
    /// `.` and at most that many digits without trailing zeros; nothing at all for zero.
    UpTo(u8),
    /// `.` and three, six or nine digits, as few as do; nothing for zero.
    Threes,
}

impl TimeFormat {
    const NAMES: [(&'static str, Self); 9] = [
        ("StampMilli", Self::StampMilli),
        ("YearMonthDay", Self::YearMonthDay),
        ("YearMonthDayHour", Self::YearMonthDayHour),
        ("YearMonthDayHourMinute", Self::YearMonthDayHourMinute),
        ("RFC3339", Self::Rfc3339),
        ("RFC3339Milli", Self::Rfc3339Milli),
        ("RFC3339Micro", Self::Rfc3339Micro),
        ("RFC3339Nano", Self::Rfc3339Nano),
        ("RFC1123Z", Self::Rfc1123Z),
    ];

    /// By name, in any case.
    pub fn parse(name: &str) -> Result<Self, String> {
        let known = Self::NAMES.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        let names = || Self::NAMES.map(|(n, _)| n).join(", ");
        known.map(|(_, format)| format).ok_or_else(|| format!("expected one of {}", names()))
    }

    /// What stands before and after the fraction.
    const fn layout(self) -> (&'static str, Fraction, Zone) {
        match self {
            Self::StampMilli => ("%b %e %H:%M:%S", Fraction::Milli, Zone::None),
            Self::YearMonthDay => ("%Y-%m-%d", Fraction::None, Zone::None),
            Self::YearMonthDayHour => ("%Y-%m-%dT%H", Fraction::None, Zone::Rfc3339),
            Self::YearMonthDayHourMinute => ("%Y-%m-%dT%H:%M", Fraction::None, Zone::Rfc3339),
            Self::Rfc3339 => ("%Y-%m-%dT%H:%M:%S", Fraction::None, Zone::Rfc3339),
            Self::Rfc3339Milli => ("%Y-%m-%dT%H:%M:%S", Fraction::UpTo(3), Zone::Rfc3339),
            Self::Rfc3339Micro => ("%Y-%m-%dT%H:%M:%S", Fraction::UpTo(6), Zone::Rfc3339),
            Self::Rfc3339Nano => ("%Y-%m-%dT%H:%M:%S", Fraction::UpTo(9), Zone::Rfc3339),
            Self::Rfc1123Z => ("%a, %d %b %Y %H:%M:%S", Fraction::None, Zone::Numeric),
        }
    }
}

/// How the offset from UTC is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zone {
    None,
    /// `Z` or `+02:00`.
    Rfc3339,
    /// ` +0200`.
    Numeric,
}

/// Prints times of one layout in one time zone.
#[derive(Debug)]
pub struct Clock {
    head_format: &'static str,
    fraction: Fraction,
    zone: Zone,
    time_zone: TimeZone,
    /// The second that `head` and `tail` are for.
    second: Option<i64>,
    head: String,
    tail: String,
    /// The last time and how it was printed: one event may print its time twice.
    last: Option<WallTime>,
    text: Vec<u8>,
}

impl Clock {
    pub fn new(format: TimeFormat, time_zone: TimeZone) -> Self {
        let (head_format, fraction, zone) = format.layout();
        Self {
            head_format,
            fraction,
            zone,
            time_zone,
            second: None,
            head: String::new(),
            tail: String::new(),
            last: None,
            text: Vec::new(),
        }
    }

    /// As JSON lines have it: RFC 3339 in UTC with 0, 3, 6 or 9 digits.
    pub fn json() -> Self {
        Self { fraction: Fraction::Threes, ..Self::new(TimeFormat::Rfc3339, TimeZone::UTC) }
    }

    pub fn write(&mut self, out: &mut Vec<u8>, time: WallTime) {
        if self.last != Some(time) {
            self.text.clear();
            let mut text = std::mem::take(&mut self.text);
            self.write_anew(&mut text, time);
            (self.text, self.last) = (text, Some(time));
        }
        out.extend_from_slice(&self.text);
    }

    fn write_anew(&mut self, out: &mut Vec<u8>, time: WallTime) {
        let second = time.0.div_euclid(1_000_000_000);
        if self.second != Some(second) {
            self.render(second);
        }
        out.extend_from_slice(self.head.as_bytes());
        write_fraction(out, self.fraction, time.0.rem_euclid(1_000_000_000) as u32);
        out.extend_from_slice(self.tail.as_bytes());
    }

    fn render(&mut self, second: i64) {
        // Every i64 of nanoseconds lies within jiff's range (years 1677 to 2262).
        let time = Timestamp::from_second(second).unwrap_or_default().to_zoned(self.time_zone.clone());
        let tail = match self.zone {
            Zone::None => "",
            Zone::Rfc3339 if time.offset().is_zero() => "Z",
            Zone::Rfc3339 => "%:z",
            Zone::Numeric => " %z",
        };
        self.head = strtime::format(self.head_format, &time).unwrap_or_default();
        self.tail = strtime::format(tail, &time).unwrap_or_default();
        self.second = Some(second);
    }
}

/// The local time zone: `TZ`, else /etc/localtime, else UTC.
pub fn local_zone() -> TimeZone {
    // Asked for the system's zone, jiff first lists every file of the time zone database.
    let file = || TimeZone::tzif("Local", &std::fs::read("/etc/localtime").ok()?).ok();
    let zone = if std::env::var_os("TZ").is_none() { file() } else { None };
    zone.or_else(|| TimeZone::try_system().ok()).unwrap_or(TimeZone::UTC)
}

fn write_fraction(out: &mut Vec<u8>, fraction: Fraction, nanoseconds: u32) {
    let digits = match fraction {
        Fraction::None => return,
        Fraction::Milli => 3,
        Fraction::UpTo(most) => significant(nanoseconds, most),
        Fraction::Threes => significant(nanoseconds, 9).next_multiple_of(3),
    };
    if digits == 0 {
        return;
    }
    let mut text = [b'.'; 10];
    let mut rest = nanoseconds;
    for digit in text[1..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&text[..=usize::from(digits)]);
}

/// Digits of the fraction, cut after `most`, without trailing zeros.
fn significant(nanoseconds: u32, most: u8) -> u8 {
    let mut rest = nanoseconds / 10u32.pow(9 - u32::from(most));
    let mut digits = most;
    while digits > 0 && rest.is_multiple_of(10) {
        rest /= 10;
        digits -= 1;
    }
    digits
}

#[cfg(test)]
mod tests {
    use jiff::tz::{self};

    use super::*;

    /// 2026-02-03 10:11:12 UTC, a Tuesday.
    const SECOND: i64 = 1_770_113_472;

    fn check(format: TimeFormat, zone: TimeZone, nanoseconds: i64, expected: &str) {
        let mut out = Vec::new();
        Clock::new(format, zone).write(&mut out, WallTime(SECOND * 1_000_000_000 + nanoseconds));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn layouts_as_go_prints_them() {
        let utc = || TimeZone::UTC;
        check(TimeFormat::StampMilli, utc(), 45_678_901, "Feb  3 10:11:12.045");
        check(TimeFormat::StampMilli, utc(), 0, "Feb  3 10:11:12.000");
        check(TimeFormat::YearMonthDay, utc(), 1, "2026-02-03");
        check(TimeFormat::YearMonthDayHour, utc(), 1, "2026-02-03T10Z");
        check(TimeFormat::YearMonthDayHourMinute, utc(), 1, "2026-02-03T10:11Z");
        check(TimeFormat::Rfc3339, utc(), 345_678_901, "2026-02-03T10:11:12Z");
        check(TimeFormat::Rfc3339Milli, utc(), 340_678_901, "2026-02-03T10:11:12.34Z");
        check(TimeFormat::Rfc3339Micro, utc(), 345_678_901, "2026-02-03T10:11:12.345678Z");
        check(TimeFormat::Rfc3339Nano, utc(), 345_678_900, "2026-02-03T10:11:12.3456789Z");
        check(TimeFormat::Rfc3339Nano, utc(), 0, "2026-02-03T10:11:12Z");
        check(TimeFormat::Rfc1123Z, utc(), 1, "Tue, 03 Feb 2026 10:11:12 +0000");
    }

    #[test]
    fn other_zones_show_their_offset() {
        let zone = || TimeZone::fixed(tz::offset(-5).saturating_sub(jiff::SignedDuration::from_mins(30)));
        check(TimeFormat::Rfc3339, zone(), 0, "2026-02-03T04:41:12-05:30");
        check(TimeFormat::Rfc1123Z, zone(), 0, "Tue, 03 Feb 2026 04:41:12 -0530");
        check(TimeFormat::StampMilli, zone(), 0, "Feb  3 04:41:12.000");
    }

    #[test]
    fn json_times_have_0_3_6_or_9_digits() {
        for (nanoseconds, expected) in [
            (0, "2026-02-03T10:11:12Z"),
            (340_000_000, "2026-02-03T10:11:12.340Z"),
            (345_678_000, "2026-02-03T10:11:12.345678Z"),
            (345_678_901, "2026-02-03T10:11:12.345678901Z"),
            (1, "2026-02-03T10:11:12.000000001Z"),
        ] {
            let mut out = Vec::new();
            Clock::json().write(&mut out, WallTime(SECOND * 1_000_000_000 + nanoseconds));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn the_next_second_is_rendered_anew() {
        let mut clock = Clock::json();
        let mut out = Vec::new();
        clock.write(&mut out, WallTime(999_999_999));
        clock.write(&mut out, WallTime(1_000_000_000));
        clock.write(&mut out, WallTime(-1));
        let expected = "1970-01-01T00:00:00.999999999Z1970-01-01T00:00:01Z1969-12-31T23:59:59.999999999Z";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn names_in_any_case() {
        assert_eq!(TimeFormat::parse("rfc3339nano"), Ok(TimeFormat::Rfc3339Nano));
        assert!(TimeFormat::parse("Kitchen").unwrap_err().contains("StampMilli"));
    }
}
