//! Points in time as typed for `--since` and `--until`: how long ago (`10m`), or when
//! (`2026-02-03T12:31:12Z`, `2026-02-03 12:31:12` and `2026-02-03` in local time).

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::duration;
use crate::model::time::WallTime;
use crate::output::time::local_zone;

/// Not settled before it is known what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Ago(Duration),
    At(WallTime),
}

impl Moment {
    pub fn settle(self, now: WallTime) -> WallTime {
        match self {
            Self::At(time) => time,
            Self::Ago(ago) => {
                WallTime(now.0.saturating_sub(i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX)))
            }
        }
    }
}

pub fn parse(text: &str) -> Result<Moment, String> {
    if let Ok(ago) = duration::parse(text) {
        return Ok(Moment::Ago(ago));
    }
    if text == "now" {
        return Ok(Moment::Ago(Duration::ZERO));
    }
    parse_at(text, local_zone()).ok_or_else(|| {
        "expected how long ago (10m, 1h30m) or a time (2026-02-03T12:31:12Z, \"2026-02-03 12:31\")".to_owned()
    })
}

fn parse_at(text: &str, zone: TimeZone) -> Option<Moment> {
    let time = match text.parse::<jiff::Timestamp>() {
        Ok(time) => time,
        Err(_) => {
            let local = text.parse::<DateTime>().ok();
            let local = local.or_else(|| text.parse::<Date>().ok().map(|date| date.at(0, 0, 0, 0)))?;
            zone.to_timestamp(local).ok()?
        }
    };
    Some(Moment::At(WallTime(i64::try_from(time.as_nanosecond()).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_relative_absolute_or_local() {
        let at = |text| parse_at(text, TimeZone::fixed(jiff::tz::offset(2)));
        let noon = 1_770_120_000_000_000_000;
        assert_eq!(at("2026-02-03T12:00:00Z"), Some(Moment::At(WallTime(noon))));
        assert_eq!(at("2026-02-03T14:00:00+02:00"), Some(Moment::At(WallTime(noon))));
        assert_eq!(at("2026-02-03 14:00:00"), Some(Moment::At(WallTime(noon))));
        assert_eq!(at("2026-02-03"), Some(Moment::At(WallTime(noon - 14 * 3_600_000_000_000))));
        assert_eq!(parse("10m"), Ok(Moment::Ago(Duration::from_secs(600))));
        assert_eq!(
            Moment::Ago(Duration::from_secs(1)).settle(WallTime(noon)),
            WallTime(noon - 1_000_000_000)
        );
        for text in ["", "yesterday", "-5m", "2026-13-01", "0s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
