//! The form of all findings.

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Ok,
    /// Works, but worth knowing, or wrong soon.
    Warn,
    /// Something does not work now.
    Fail,
    /// It could not be looked at.
    Unknown,
}

impl Status {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// What a check is about; the part of its id before the dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The kernel, and what we may do.
    Kernel,
    /// Where tracer sees drops.
    Tap,
    /// Where Cilium's traces are.
    Cilium,
    Pins,
    /// Cilium's programs on devices.
    Programs,
    Agent,
    Endpoints,
    Capacity,
    /// How this node forwards. Nothing here is good or bad.
    Mode,
    Proxy,
}

impl Group {
    pub const ALL: [Self; 10] = [
        Self::Kernel,
        Self::Tap,
        Self::Cilium,
        Self::Pins,
        Self::Programs,
        Self::Agent,
        Self::Endpoints,
        Self::Capacity,
        Self::Mode,
        Self::Proxy,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Tap => "tap",
            Self::Cilium => "cilium",
            Self::Pins => "pins",
            Self::Programs => "programs",
            Self::Agent => "agent",
            Self::Endpoints => "endpoints",
            Self::Capacity => "capacity",
            Self::Mode => "mode",
            Self::Proxy => "proxy",
        }
    }

    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }
}

/// A check that exists, whatever comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// `group.name`. Scripts rely on it.
    pub id: &'static str,
    pub group: Group,
    /// What is true when the check is ok.
    pub title: &'static str,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub check: Check,
    pub status: Status,
    /// What was seen. May hold names that others chose.
    pub evidence: String,
    /// What to do; empty if nothing.
    pub fix: String,
}

impl Check {
    pub const fn new(id: &'static str, group: Group, title: &'static str) -> Self {
        Self { id, group, title }
    }

    pub fn ok(self, evidence: impl Into<String>) -> Finding {
        self.finding(Status::Ok, evidence, "")
    }

    pub fn warn(self, evidence: impl Into<String>, fix: impl Into<String>) -> Finding {
        self.finding(Status::Warn, evidence, fix)
    }

    pub fn fail(self, evidence: impl Into<String>, fix: impl Into<String>) -> Finding {
        self.finding(Status::Fail, evidence, fix)
    }

    pub fn unknown(self, evidence: impl Into<String>, fix: impl Into<String>) -> Finding {
        self.finding(Status::Unknown, evidence, fix)
    }

    pub fn finding(self, status: Status, evidence: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { check: self, status, evidence: evidence.into(), fix: fix.into() }
    }
}

/// How many findings there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub ok: u32,
    pub warn: u32,
    pub fail: u32,
    pub unknown: u32,
}

impl Summary {
    pub fn of(findings: &[Finding]) -> Self {
        let mut summary = Self::default();
        for finding in findings {
            *match finding.status {
                Status::Ok => &mut summary.ok,
                Status::Warn => &mut summary.warn,
                Status::Fail => &mut summary.fail,
                Status::Unknown => &mut summary.unknown,
            } += 1;
        }
        summary
    }
}

/// As many as one can read; the rest as a number.
const LISTED: usize = 12;

/// `a, b, c and 5 more`.
pub fn joined<T: AsRef<str>>(items: &[T]) -> String {
    let listed: Vec<&str> = items.iter().take(LISTED).map(AsRef::as_ref).collect();
    match items.len() - listed.len() {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_end_with_a_number() {
        let items: Vec<String> = (0..15).map(|n| n.to_string()).collect();
        assert_eq!(joined(&items[..2]), "0, 1");
        assert_eq!(joined(&items), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 3 more");
    }

    #[test]
    fn every_group_is_found_by_its_name() {
        for group in Group::ALL {
            assert_eq!(Group::by_name(group.name()), Some(group));
        }
        assert_eq!(Group::by_name("other"), None);
    }
}
