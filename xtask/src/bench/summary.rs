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

    /// Whether every record and every drop that Cilium counted is in one of the counters.
    pub fn is_exact(&self) -> Result<bool> {
        let emitted = self.number("/taps/0/emitted")?;
        let events = |name: &str| self.number(&format!("/events/{name}"));
        let mut fates = 0;
        for name in ["malformed", "joined", "other_messages", "shown", "filtered", "folded", "after_end"] {
            fates += events(name)?;
        }
        Ok(emitted == events("received")? && fates == emitted && self.of_cilium("unaccounted")? == 0)
    }
}
