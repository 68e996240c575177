//! The closing summary of `tracer drops -o json`, found in what it said on stderr.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

pub struct Summary(Value);

impl Summary {
    pub fn read(log: &Path) -> Result<Self> {
        let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
        let line = text.lines().rev().find(|line| line.starts_with("{\"summary\""));
        let line = line.with_context(|| format!("no summary in {}:\n{text}", log.display()))?;
        Ok(Self(serde_json::from_str(line).with_context(|| format!("`{line}`"))?))
    }

    /// A number below `summary`, by JSON pointer; they are strings when of 64 bits.
    pub fn number(&self, pointer: &str) -> Result<i64> {
        let value = self.0["summary"].pointer(pointer);
        let number = value.and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok()));
        number.with_context(|| format!("no number `{pointer}` in {}", self.0))
    }

    /// A counter of Cilium's own drops.
    pub fn of_cilium(&self, name: &str) -> Result<i64> {
        self.number(&format!("/cilium_metrics/{name}"))
    }

    /// Whether every run of a program, every record, and every drop that Cilium counted is in one of the counters.
    pub fn is_exact(&self) -> Result<bool> {
        let fates = ["malformed", "joined", "other_messages", "shown", "filtered", "folded", "after_end"];
        let received = self.number("/events/received")?;
        let is_known = self.sum("/events", &fates)? == received;
        let outcomes = ["foreign", "filtered", "suppressed", "ring_full", "companion_lost", "emitted"];
        let (mut emitted, mut all_runs) = (0, true);
        for tap in 0..self.0["summary"]["taps"].as_array().map_or(0, Vec::len) {
            let tap = format!("/taps/{tap}");
            emitted += self.number(&format!("{tap}/emitted"))?;
            all_runs &= self.number(&format!("{tap}/seen"))? == self.sum(&tap, &outcomes)?;
        }
        let without_cilium = self.0["summary"]["cilium_metrics"]["unavailable"].is_string();
        let cilium = without_cilium || self.of_cilium("unaccounted")? == 0;
        Ok(is_known && emitted == received && all_runs && cilium)
    }

    fn sum(&self, place: &str, names: &[&str]) -> Result<i64> {
        names.iter().map(|name| self.number(&format!("{place}/{name}"))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(shown: u64, unaccounted: i64) -> Summary {
        let line = format!(
            r#"{{"summary":{{"taps":[{{"seen":"9","foreign":"0","filtered":"2","suppressed":"1","ring_full":"1",
            "companion_lost":"0","emitted":"5"}}],"events":{{"received":"5","malformed":"0","joined":"0",
            "other_messages":"0","shown":"{shown}","filtered":"0","folded":"1","after_end":"0"}},
            "cilium_metrics":{{"unaccounted":"{unaccounted}"}}}}}}"#
        );
        Summary(serde_json::from_str(&line).unwrap())
    }

    #[test]
    fn accounts_are_exact_only_if_all_of_them_are() {
        assert!(summary(4, 0).is_exact().unwrap());
        assert!(!summary(3, 0).is_exact().unwrap());
        assert!(!summary(4, 1).is_exact().unwrap());
    }
}
