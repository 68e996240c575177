//! Which Cilium release wrote what we read, judged by evidence: the agent's version on disk, names and sizes
//! of pinned maps, the length of a message. Evidence that contradicts itself is reported, never averaged.

use std::fmt;

use tracer_common::cilium::policy::Generation;

/// The release `1.N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release(pub u8);

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

/// Releases from `lowest` to `highest`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseRange {
    pub lowest: Release,
    pub highest: Release,
}

impl ReleaseRange {
    /// Nothing is known.
    pub const ANY: Self = Self { lowest: Release(0), highest: Release(u8::MAX) };

    pub const fn exactly(release: Release) -> Self {
        Self { lowest: release, highest: release }
    }

    const fn up_to(minor: u8) -> Self {
        Self { lowest: Release(0), highest: Release(minor) }
    }

    const fn from(minor: u8) -> Self {
        Self { lowest: Release(minor), highest: Release(u8::MAX) }
    }

    const fn between(lowest: u8, highest: u8) -> Self {
        Self { lowest: Release(lowest), highest: Release(highest) }
    }

    pub fn contains(&self, release: Release) -> bool {
        self.lowest <= release && release <= self.highest
    }

    pub fn is_exactly(&self, release: Release) -> bool {
        self.lowest == release && self.highest == release
    }

    /// What both allow; `None` if nothing is left.
    pub fn intersect(self, other: Self) -> Option<Self> {
        let both = Self { lowest: self.lowest.max(other.lowest), highest: self.highest.min(other.highest) };
        (both.lowest <= both.highest).then_some(both)
    }

    /// The releases whose drop messages have `length` bytes in front of the packet.
    pub fn of_drop_message(length: usize) -> Option<Self> {
        match length {
            32 => Some(Self::up_to(12)),
            36 => Some(Self::between(13, 17)),
            40 => Some(Self::exactly(Release(18))),
            48 => Some(Self::from(19)),
            _ => None,
        }
    }
}

impl fmt::Display for ReleaseRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.lowest, self.highest) {
            (Release(0), Release(u8::MAX)) => f.write_str("any release"),
            (Release(0), highest) => write!(f, "up to {highest}"),
            (lowest, Release(u8::MAX)) => write!(f, "{lowest} or newer"),
            (lowest, highest) if lowest == highest => lowest.fmt(f),
            (lowest, highest) => write!(f, "{lowest} to {highest}"),
        }
    }
}

/// The version text that an agent left on disk, such as `1.17.5 abcdef 2025-… go version …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentVersion {
    /// First word of the text.
    pub version: String,
    release: Release,
    /// A build of the main branch, between the release before and this one.
    development: bool,
}

impl AgentVersion {
    /// `None` if the text does not start with a version of the 1.x line.
    pub fn parse(text: &str) -> Option<Self> {
        let version = text.split_whitespace().next()?;
        let mut parts = version.strip_prefix('v').unwrap_or(version).split(['.', '-', '+']);
        let minor = (parts.next()? == "1").then(|| parts.next())??.parse().ok()?;
        let patch: u32 = parts.next()?.parse().ok()?;
        let development = version.contains("-dev") || patch == 90;
        // Before 1.14 a snapshot on the way to 1.N called itself 1.(N-1).90.
        let release = if patch == 90 { Release(u8::checked_add(minor, 1)?) } else { Release(minor) };
        Some(Self { version: version.to_owned(), release, development })
    }

    pub fn releases(&self) -> ReleaseRange {
        let lowest = if self.development { self.release.0.saturating_sub(1) } else { self.release.0 };
        ReleaseRange::between(lowest, self.release.0)
    }
}

/// One observation that tells something about the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The agent's version in a state file.
    Agent(AgentVersion),
    /// A map is pinned under this name.
    Pin(String),
    /// Entries of a policy map have this layout.
    PolicyEntries(Generation),
    /// Keys of `cilium_metrics` carry a file and a line.
    MetricsPlaces,
    /// Length of a drop message.
    DropMessage(usize),
}

impl Evidence {
    /// The releases that this observation allows; `None`: it tells nothing.
    pub fn releases(&self) -> Option<ReleaseRange> {
        match self {
            Self::Agent(version) => Some(version.releases()),
            Self::Pin(name) => releases_of_pin(name),
            Self::PolicyEntries(Generation::Wildcard) => Some(ReleaseRange::up_to(16)),
            Self::PolicyEntries(Generation::Prefix) => Some(ReleaseRange::exactly(Release(17))),
            Self::PolicyEntries(Generation::Compact) => Some(ReleaseRange::exactly(Release(18))),
            Self::PolicyEntries(Generation::Precedence) => Some(ReleaseRange::from(19)),
            Self::MetricsPlaces => Some(ReleaseRange::from(16)),
            Self::DropMessage(length) => ReleaseRange::of_drop_message(*length),
        }
    }
}

/// Maps that only some releases have. A name that an upgrade may leave behind says nothing about the upper
/// end, so the caller passes only the newest name of a map.
fn releases_of_pin(name: &str) -> Option<ReleaseRange> {
    match name {
        "cilium_ipcache" => Some(ReleaseRange::up_to(17)),
        "cilium_ipcache_v2" | "cilium_policystats" => Some(ReleaseRange::from(18)),
        "cilium_skip_lb4" | "cilium_skip_lb6" => Some(ReleaseRange::from(16)),
        // Main-branch builds on the way to 1.17 have it, and those may count as 1.16.
        "cilium_snat_v4_alloc_retries" | "cilium_snat_v6_alloc_retries" => Some(ReleaseRange::from(16)),
        "cilium_percpu_trace_id" => Some(ReleaseRange::from(19)),
        _ => releases_of_policy_pin(name.strip_prefix("cilium_policy_")?),
    }
}

fn releases_of_policy_pin(rest: &str) -> Option<ReleaseRange> {
    if rest.starts_with("v3_") {
        Some(ReleaseRange::from(20))
    } else if rest.starts_with("v2_") {
        Some(ReleaseRange::between(18, 19))
    } else {
        rest.bytes().all(|b| b.is_ascii_digit()).then_some(ReleaseRange::up_to(17))
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(agent) => write!(f, "the agent's version on disk is {}", agent.version),
            Self::Pin(name) => write!(f, "map `{name}` is pinned"),
            Self::PolicyEntries(generation) => write!(f, "policy entries have the {generation:?} layout"),
            Self::MetricsPlaces => f.write_str("metrics keys carry files and lines"),
            Self::DropMessage(length) => write!(f, "drop messages have {length} bytes"),
        }?;
        match self.releases() {
            Some(range) => write!(f, " ({range})"),
            None => Ok(()),
        }
    }
}

/// What the evidence taken together says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The releases that every observation allows; [`ReleaseRange::ANY`] without any observation.
    Agreed(ReleaseRange),
    /// These two cannot be true of one release.
    Conflict(Evidence, Evidence),
}

impl Judgement {
    /// The releases to decode for: with conflicting evidence, any.
    pub fn releases(&self) -> ReleaseRange {
        match self {
            Self::Agreed(range) => *range,
            Self::Conflict(..) => ReleaseRange::ANY,
        }
    }
}

pub fn judge(evidence: &[Evidence]) -> Judgement {
    let mut agreed = ReleaseRange::ANY;
    for (index, one) in evidence.iter().enumerate() {
        let Some(range) = one.releases() else { continue };
        let Some(both) = agreed.intersect(range) else {
            return conflict(&evidence[..index], one, range);
        };
        agreed = both;
    }
    Judgement::Agreed(agreed)
}

/// Ranges are intervals: if a new one has nothing in common with the intersection of the earlier ones, it
/// has nothing in common with one of them.
fn conflict(earlier: &[Evidence], one: &Evidence, range: ReleaseRange) -> Judgement {
    let against = |e: &&Evidence| e.releases().is_some_and(|r| r.intersect(range).is_none());
    let other = earlier.iter().find(against).unwrap_or(one);
    Judgement::Conflict(other.clone(), one.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(text: &str) -> Evidence {
        Evidence::Agent(AgentVersion::parse(text).expect("a version"))
    }

    fn pin(name: &str) -> Evidence {
        Evidence::Pin(name.to_owned())
    }

    #[test]
    fn version_texts_name_their_release() {
        for (text, expected) in [
            ("1.17.5 69aab28c 2025-06-19T20:55:12+00:00 go version go1.24.4 linux/amd64", "1.17"),
            (
                "1.17.0-dev b095517e62 2024-08-23T19:24:52+00:00 go version go1.23.9 linux/amd64",
                "1.16 to 1.17",
            ),
            ("1.18.0-rc.1", "1.18"),
            ("v1.14.2", "1.14"),
            ("1.12.90", "1.12 to 1.13"),
        ] {
            assert_eq!(AgentVersion::parse(text).unwrap().releases().to_string(), expected, "{text}");
        }
        for text in ["", "2.0.1", "1", "1.x.2", "1.300.1", "1.255.90", "latest"] {
            assert_eq!(AgentVersion::parse(text), None, "{text}");
        }
    }

    /// Section 0.3 of the ABI notes.
    #[test]
    fn pin_names_date_the_release() {
        for (name, expected) in [
            ("cilium_policy_01234", Some("up to 1.17")),
            ("cilium_policy_v2_01234", Some("1.18 to 1.19")),
            ("cilium_policy_v3_01234", Some("1.20 or newer")),
            ("cilium_ipcache", Some("up to 1.17")),
            ("cilium_ipcache_v2", Some("1.18 or newer")),
            ("cilium_percpu_trace_id", Some("1.19 or newer")),
            ("cilium_lxc", None),
            ("cilium_policy_stray", None),
        ] {
            assert_eq!(pin(name).releases().map(|r| r.to_string()).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn message_lengths_date_the_release() {
        for (length, expected) in [(36, "1.13 to 1.17"), (40, "1.18"), (48, "1.19 or newer")] {
            assert_eq!(ReleaseRange::of_drop_message(length).unwrap().to_string(), expected);
        }
        assert_eq!(ReleaseRange::of_drop_message(44), None);
    }

    #[test]
    fn agreeing_evidence_narrows_the_range() {
        let evidence = [
            agent("1.17.0-dev"),
            pin("cilium_ipcache"),
            Evidence::PolicyEntries(Generation::Wildcard),
            Evidence::DropMessage(36),
            pin("cilium_lxc"),
        ];
        assert_eq!(judge(&evidence), Judgement::Agreed(ReleaseRange::exactly(Release(16))));
        assert_eq!(judge(&[]), Judgement::Agreed(ReleaseRange::ANY));
    }

    #[test]
    fn contradicting_evidence_is_reported_and_nothing_is_assumed() {
        let judged = judge(&[pin("cilium_skip_lb4"), agent("1.16.3"), pin("cilium_ipcache_v2")]);
        assert_eq!(judged, Judgement::Conflict(agent("1.16.3"), pin("cilium_ipcache_v2")));
        assert_eq!(judged.releases(), ReleaseRange::ANY);
        assert_eq!(pin("cilium_ipcache_v2").to_string(), "map `cilium_ipcache_v2` is pinned (1.18 or newer)");
    }
}
