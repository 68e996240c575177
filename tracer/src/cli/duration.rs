//! Durations as Go writes them, which is what users of Cilium's tools type: `3s`, `1m30s`, `1.5h`, `250ms`.

use std::time::Duration;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration greater than zero.
pub fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (part, behind) = parse_part(rest)?;
        total = total.checked_add(part).ok_or("too long")?;
        rest = behind;
    }
    if total.is_zero() {
        return Err("expected a duration such as 3s, 1m30s or 250ms".to_owned());
    }
    Ok(total)
}

/// The first number with its unit, and what follows.
fn parse_part(text: &str) -> Result<(Duration, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let behind = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(behind);
    if !number.is_empty() && unit.is_empty() {
        return Err(format!("a unit is missing after {number}, as in {number}s"));
    }
    let known = UNITS.iter().find(|(name, _)| *name == unit);
    let (_, nanoseconds) =
        known.ok_or_else(|| format!("unknown unit `{unit}`, expected h, m, s, ms, us or ns"))?;
    let number: f64 = number.parse().map_err(|_| "expected a duration such as 3s, 1m30s or 250ms")?;
    let part = Duration::try_from_secs_f64(number * *nanoseconds as f64 / 1e9);
    Ok((part.map_err(|_| "too long")?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations() {
        for (text, milliseconds) in [
            ("3s", 3_000),
            ("1m30s", 90_000),
            ("1h43m", 6_180_000),
            ("250ms", 250),
            ("1.5s", 1_500),
            (".5s", 500),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(parse("7us"), Ok(Duration::from_micros(7)));
    }

    #[test]
    fn bad_durations_say_what_is_wrong() {
        assert_eq!(parse("8"), Err("a unit is missing after 8, as in 8s".to_owned()));
        assert_eq!(parse("3d"), Err("unknown unit `d`, expected h, m, s, ms, us or ns".to_owned()));
        for bad in ["", "0s", "s", "-3s", "1..5s", "3s4", "99999999999999999999h"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
