//! Endpoints: what the agent keeps on disk of them, their maps, their identities.

use super::{Check, Finding, Group, joined};

const STATE: Check =
    Check::new("endpoints.state", Group::Endpoints, "No endpoint is half-way through a change");
const FILES: Check = Check::new("endpoints.files", Group::Endpoints, "The agent's files can be read");
const MAPS: Check =
    Check::new("endpoints.maps", Group::Endpoints, "Endpoints and policy maps belong together");
const IDENTITY: Check = Check::new("endpoints.identity", Group::Endpoints, "Every endpoint has an identity");

/// A change of an endpoint takes seconds.
pub const LONG_SECONDS: u64 = 60;

/// Directories of endpoints that are not simply in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Being made (`_next`), with the seconds since the last change.
    pub next: Vec<(String, u64)>,
    /// The last attempt failed (`_next_fail`).
    pub failed: Vec<String>,
    /// Set aside (`_stale`).
    pub stale: Vec<String>,
    /// Of those, endpoints that have no finished directory at all.
    pub only: Vec<String>,
    /// Endpoints altogether.
    pub endpoints: usize,
}

pub fn state(found: &Result<Unfinished, String>) -> Finding {
    let found = match found {
        Ok(found) => found,
        Err(why) => return STATE.unknown(why.as_str(), ""),
    };
    let long = found.next.iter().filter(|(_, seconds)| *seconds >= LONG_SECONDS);
    let long: Vec<String> = long.map(|(name, seconds)| format!("{name} (for {seconds} s)")).collect();
    let mut evidence = Vec::new();
    for (what, names) in [
        ("failed to be made", &found.failed),
        ("half-written", &long),
        ("set aside", &found.stale),
        ("without any finished directory", &found.only),
    ] {
        if !names.is_empty() {
            evidence.push(format!("{what}: {}", joined(names)));
        }
    }
    if evidence.is_empty() {
        let being_made = match found.next.len() {
            0 => String::new(),
            count => format!(", {count} being made right now"),
        };
        return STATE.ok(format!("{} endpoints{being_made}", found.endpoints));
    }
    let fix = "these endpoints run what was loaded before: `cilium-dbg endpoint log ID` or the agent's log has the error";
    if found.only.is_empty() {
        STATE.warn(evidence.join("; "), fix)
    } else {
        STATE.fail(evidence.join("; "), fix)
    }
}

/// `problems`: a line for each file that cannot be used.
pub fn files(problems: &[String]) -> Finding {
    if problems.is_empty() {
        return FILES.ok("all of them");
    }
    FILES.warn(
        joined(problems),
        "names of these endpoints are missing; an agent that starts again writes them anew",
    )
}

/// Endpoints without a policy map, and policy maps without an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairing {
    pub pairs: usize,
    pub without_map: Vec<String>,
    pub without_endpoint: Vec<String>,
}

pub fn maps(found: &Pairing) -> Finding {
    let mut evidence = Vec::new();
    if !found.without_map.is_empty() {
        evidence.push(format!("no policy map: {}", joined(&found.without_map)));
    }
    if !found.without_endpoint.is_empty() {
        evidence.push(format!("no endpoint: {}", joined(&found.without_endpoint)));
    }
    let evidence = evidence.join("; ");
    if !found.without_map.is_empty() {
        let fix =
            "policy of these endpoints cannot be changed or read: restart the agent, or delete the pods";
        return MAPS.fail(evidence, fix);
    }
    if !found.without_endpoint.is_empty() {
        return MAPS
            .warn(evidence, "left-overs of pods that are gone; the agent removes them when it starts");
    }
    MAPS.ok(format!("{} of {}", found.pairs, found.pairs))
}

/// Endpoints by what is wrong with their identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identities {
    pub endpoints: usize,
    /// 0: not resolved.
    pub none: Vec<String>,
    /// 5: labels are not known yet.
    pub init: Vec<String>,
}

pub fn identity(found: &Identities) -> Finding {
    if found.none.is_empty() && found.init.is_empty() {
        return IDENTITY.ok(format!("{} of {}", found.endpoints, found.endpoints));
    }
    let mut evidence = Vec::new();
    for (what, names) in [("none (0)", &found.none), ("init (5)", &found.init)] {
        if !names.is_empty() {
            evidence.push(format!("{what}: {}", joined(names)));
        }
    }
    let fix = "normal for seconds after a pod's start; if it lasts, the agent cannot reach the API server (labels) \
               or the identity store: see its log";
    IDENTITY.warn(evidence.join("; "), fix)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn half_written_for_long_is_a_warning_and_nothing_finished_a_failure() {
        let mut found =
            Unfinished { endpoints: 3, next: vec![("7_next".to_owned(), 3)], ..Unfinished::default() };
        assert_eq!(state(&Ok(found.clone())).evidence, "3 endpoints, 1 being made right now");
        found.next[0].1 = 600;
        let finding = state(&Ok(found.clone()));
        assert_eq!(
            (finding.status, finding.evidence.as_str()),
            (Status::Warn, "half-written: 7_next (for 600 s)")
        );
        found.only.push("7".to_owned());
        assert_eq!(state(&Ok(found)).status, Status::Fail);
    }

    #[test]
    fn an_endpoint_without_a_map_is_worse_than_a_map_without_an_endpoint() {
        let one = || vec!["x".to_owned()];
        let left_over = Pairing { pairs: 2, without_endpoint: one(), ..Pairing::default() };
        assert_eq!(maps(&left_over).status, Status::Warn);
        assert_eq!(maps(&Pairing { without_map: one(), ..left_over }).status, Status::Fail);
    }

    #[test]
    fn identities_that_are_missing() {
        let found = Identities { endpoints: 2, none: vec!["a".to_owned()], init: vec!["b".to_owned()] };
        assert_eq!(identity(&found).evidence, "none (0): a; init (5): b");
    }
}
