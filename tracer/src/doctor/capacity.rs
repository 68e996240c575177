//! Maps that run out of room, and policy maps that hold nothing.

use super::{Check, Finding, Group, Status, joined};

const TABLES: Check = Check::new("capacity.tables", Group::Capacity, "No table runs out of room");
const POLICY: Check = Check::new("capacity.policy", Group::Capacity, "No policy map is full");
const EMPTY: Check = Check::new("capacity.policy-empty", Group::Capacity, "No policy map is empty");

/// Per cent from which a table is worth a warning, and from which it fails.
const TIGHT: u64 = 80;
const FULL: u64 = 98;

/// How full a map is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Its pin, and whose it is where that is known.
    pub map: String,
    pub entries: u64,
    pub max_entries: u32,
    /// It removes the oldest entries by itself when it is full.
    pub evicts: bool,
}

impl Fill {
    /// Whole per cent, rounded down.
    fn percent(&self) -> u64 {
        self.entries.saturating_mul(100) / u64::from(self.max_entries.max(1))
    }

    /// An LRU map evicts before it is full, so it never fails: it loses.
    fn status(&self) -> Status {
        match self.percent() {
            FULL.. if !self.evicts => Status::Fail,
            TIGHT.. => Status::Warn,
            _ => Status::Ok,
        }
    }

    fn text(&self) -> String {
        format!("{} {} % ({} of {})", self.map, self.percent(), self.entries, self.max_entries)
    }
}

/// All maps but those of policy. `unread`: maps that could not be counted.
pub fn tables(fills: &[Fill], unread: &[String]) -> Finding {
    let fix = "`tracer capacity` shows growth and owners, `tracer ct top` and `nat ports` who; a full table loses its \
               oldest connections, or takes no new ones: raise bpf-ct-global-*-max, bpf-nat-global-max, bpf-lb-map-max";
    pressure(TABLES, fills, unread, fix)
}

pub fn policy(fills: &[Fill], unread: &[String]) -> Finding {
    let fix = "entries that find no room are missing, and what they allow is dropped as \"Policy denied\": raise \
               bpf-policy-map-max, or let the policy select fewer identities and ports (toEntities, port ranges)";
    pressure(POLICY, fills, unread, fix)
}

fn pressure(check: Check, fills: &[Fill], unread: &[String], fix: &str) -> Finding {
    let worst = fills.iter().map(Fill::status).max().unwrap_or(Status::Ok);
    let mut fullest: Vec<&Fill> = fills.iter().filter(|fill| fill.status() != Status::Ok).collect();
    fullest.sort_by_key(|fill| std::cmp::Reverse(fill.percent()));
    let texts: Vec<String> = fullest.iter().map(|fill| fill.text()).collect();
    match worst {
        Status::Ok if !unread.is_empty() => {
            check.unknown(format!("cannot be counted: {}", joined(unread)), "see the checks of pins")
        }
        Status::Ok => match fills.iter().max_by_key(|fill| fill.percent()) {
            Some(fill) => check.ok(format!("fullest: {}", fill.text())),
            None => check.ok("there are none"),
        },
        worst => check.finding(worst, joined(&texts), fix),
    }
}

pub fn empty_policy(fills: &[Fill]) -> Finding {
    let empty: Vec<&str> =
        fills.iter().filter(|fill| fill.entries == 0).map(|fill| fill.map.as_str()).collect();
    if empty.is_empty() {
        return EMPTY.ok(format!("{} maps", fills.len()));
    }
    let fix = "such an endpoint takes and sends nothing, not even from its own node: while a pod starts that is normal; \
               if it lasts, the agent has not written its policy: see `agent.heartbeat` and the agent's log";
    EMPTY.warn(joined(&empty), fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(entries: u64, max_entries: u32, evicts: bool) -> Fill {
        Fill { map: "m".to_owned(), entries, max_entries, evicts }
    }

    #[test]
    fn thresholds() {
        for (entries, evicts, status) in [
            (79, false, Status::Ok),
            (80, false, Status::Warn),
            (98, false, Status::Fail),
            (100, true, Status::Warn),
        ] {
            assert_eq!(tables(&[fill(entries, 100, evicts)], &[]).status, status, "{entries}");
        }
        assert_eq!(policy(&[fill(8, 8, false), fill(1, 8, false)], &[]).evidence, "m 100 % (8 of 8)");
        assert_eq!(tables(&[fill(1, 0, false)], &[]).status, Status::Fail);
    }

    #[test]
    fn uncounted_maps_are_told_unless_something_is_worse() {
        let unread = ["x".to_owned()];
        assert_eq!(tables(&[fill(1, 100, false)], &unread).status, Status::Unknown);
        assert_eq!(tables(&[fill(99, 100, false)], &unread).status, Status::Fail);
    }

    #[test]
    fn empty_maps() {
        assert_eq!(empty_policy(&[fill(0, 8, false), fill(1, 8, false)]).status, Status::Warn);
        assert_eq!(empty_policy(&[fill(1, 8, false)]).status, Status::Ok);
    }
}
