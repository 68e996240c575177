//! Finds what is inconsistent in the load balancer's maps, or consistent but of no use to anyone who connects,
//! and says what to do about it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use tracer_common::cilium::lb::{flag, flag2};

use super::{Balancer, Family};
use crate::cilium::lb::{Frontend, Slot, SlotKey, State};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Something is left over, or some connections may suffer.
    Warning,
    /// New connections or their replies fail.
    Error,
}

impl Severity {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What it is about, if it is one frontend.
    pub frontend: Option<Frontend>,
    pub service_id: Option<u16>,
    pub problem: Problem,
}

/// What is wrong. Without figures that change while a map is in use, so that two readings can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// `local`: only backends of this node would count.
    NoBackends {
        local: bool,
    },
    NoActiveBackend {
        quarantined: u16,
    },
    OnlyLeavingBackends,
    SomeQuarantined {
        quarantined: u16,
        active: u16,
    },
    MissingSlot {
        slot: u16,
        count: u16,
    },
    StraySlot {
        slot: u16,
        count: u16,
    },
    SlotWithoutFrontend {
        slot: u16,
    },
    SlotOfOtherService {
        slot: u16,
        found: u16,
    },
    DanglingBackend {
        slot: u16,
        backend_id: u32,
        active: bool,
    },
    NoProxyPort,
    NoReverseNat,
    ReverseNatDiffers {
        found: SocketAddr,
    },
    StrayReverseNat {
        address: SocketAddr,
    },
    AffinityNotAllowed {
        backend_id: u32,
    },
    AffinityMatchDangling {
        backend_id: u32,
    },
    AffinityDangling {
        backend_id: u32,
    },
    StaleConnections {
        backend_id: u32,
    },
    UnusedBackend {
        backend_id: u32,
    },
}

impl Problem {
    pub const fn severity(&self) -> Severity {
        match self {
            Self::NoBackends { local: false }
            | Self::NoActiveBackend { .. }
            | Self::MissingSlot { .. }
            | Self::SlotOfOtherService { .. }
            | Self::DanglingBackend { active: true, .. }
            | Self::NoProxyPort
            | Self::NoReverseNat
            | Self::ReverseNatDiffers { .. } => Severity::Error,
            Self::OnlyLeavingBackends
            | Self::StraySlot { .. }
            | Self::SlotWithoutFrontend { .. }
            | Self::DanglingBackend { active: false, .. }
            | Self::AffinityNotAllowed { .. }
            | Self::AffinityMatchDangling { .. }
            | Self::StaleConnections { .. } => Severity::Warning,
            Self::NoBackends { local: true }
            | Self::SomeQuarantined { .. }
            | Self::StrayReverseNat { .. }
            | Self::AffinityDangling { .. }
            | Self::UnusedBackend { .. } => Severity::Info,
        }
    }

    /// A word for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoBackends { .. } => "no_backends",
            Self::NoActiveBackend { .. } => "no_active_backend",
            Self::OnlyLeavingBackends => "only_leaving_backends",
            Self::SomeQuarantined { .. } => "some_quarantined",
            Self::MissingSlot { .. } => "missing_slot",
            Self::StraySlot { .. } => "stray_slot",
            Self::SlotWithoutFrontend { .. } => "slot_without_frontend",
            Self::SlotOfOtherService { .. } => "slot_of_other_service",
            Self::DanglingBackend { .. } => "dangling_backend",
            Self::NoProxyPort => "no_proxy_port",
            Self::NoReverseNat => "no_reverse_nat",
            Self::ReverseNatDiffers { .. } => "reverse_nat_differs",
            Self::StrayReverseNat { .. } => "stray_reverse_nat",
            Self::AffinityNotAllowed { .. } => "affinity_not_allowed",
            Self::AffinityMatchDangling { .. } => "affinity_match_dangling",
            Self::AffinityDangling { .. } => "affinity_dangling",
            Self::StaleConnections { .. } => "stale_connections",
            Self::UnusedBackend { .. } => "unused_backend",
        }
    }

    /// What to do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::NoBackends { local: false } => {
                "connections are dropped (reason 158): look for ready pods behind the service's selector; if there are some, the agent has not written them"
            }
            Self::NoBackends { local: true } => {
                "normal on a node without a pod of the service: traffic must be sent to nodes that have one"
            }
            Self::NoActiveBackend { .. } => {
                "connections are dropped (reason 158): find out why the health checks of the backends fail"
            }
            Self::OnlyLeavingBackends => {
                "connections will fail when the pods are gone: see why no new pod becomes ready"
            }
            Self::SomeQuarantined { .. } => "find out why the health checks of these backends fail",
            Self::MissingSlot { .. } | Self::DanglingBackend { active: true, .. } => {
                "some connections are dropped (reason 158): restart the agent so that it writes the service again; see whether the map is full"
            }
            Self::SlotOfOtherService { .. } | Self::NoReverseNat | Self::ReverseNatDiffers { .. } => {
                "replies keep the backend's address and clients refuse them: restart the agent so that it writes the service again; see whether the map is full"
            }
            Self::NoProxyPort => {
                "the proxy has no listener for the service: look at the agent's log for Envoy"
            }
            Self::StraySlot { .. } | Self::SlotWithoutFrontend { .. } | Self::DanglingBackend { .. } => {
                "left over, not used for new connections: the agent removes it at its next start"
            }
            Self::StrayReverseNat { .. } | Self::UnusedBackend { .. } => {
                "normal for a moment after a service was removed; it costs an entry of the map"
            }
            Self::AffinityNotAllowed { .. } => {
                "clients do not stay with this backend: restart the agent so that it writes the service again"
            }
            Self::AffinityMatchDangling { .. } | Self::AffinityDangling { .. } => {
                "clients that stay with this backend are sent to another one"
            }
            Self::StaleConnections { .. } => {
                "packets of these connections are sent to another backend or dropped: if clients hang, the entries go when the clients stop or the agent collects them"
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBackends { local: false } => f.write_str("no backends"),
            Self::NoBackends { local: true } => f.write_str("no backends on this node"),
            Self::NoActiveBackend { quarantined } => {
                write!(f, "no active backend, {quarantined} quarantined")
            }
            Self::OnlyLeavingBackends => f.write_str("all backends are terminating or in maintenance"),
            Self::SomeQuarantined { quarantined, active } => {
                write!(f, "{quarantined} backends quarantined, {active} active")
            }
            Self::MissingSlot { slot, count } => write!(f, "slot {slot} of {count} is missing"),
            Self::StraySlot { slot, count } => write!(f, "slot {slot}, but there are only {count}"),
            Self::SlotWithoutFrontend { slot } => write!(f, "slot {slot} of a frontend that is gone"),
            Self::SlotOfOtherService { slot, found } => {
                write!(f, "slot {slot} belongs to service {found}")
            }
            Self::DanglingBackend { slot, backend_id, active: true } => {
                write!(f, "slot {slot} points at backend {backend_id}, which does not exist")
            }
            Self::DanglingBackend { slot, backend_id, active: false } => {
                write!(f, "quarantined slot {slot} points at backend {backend_id}, which does not exist")
            }
            Self::NoProxyPort => f.write_str("balanced by the proxy, but without a proxy port"),
            Self::NoReverseNat => f.write_str("no reverse NAT entry"),
            Self::ReverseNatDiffers { found } => write!(f, "reverse NAT translates replies to {found}"),
            Self::StrayReverseNat { address } => write!(f, "reverse NAT to {address}, which is no frontend"),
            Self::AffinityNotAllowed { backend_id } => {
                write!(f, "session affinity does not know backend {backend_id}")
            }
            Self::AffinityMatchDangling { backend_id } => {
                write!(f, "session affinity allows backend {backend_id}, which does not exist")
            }
            Self::AffinityDangling { backend_id } => {
                write!(f, "clients stay with backend {backend_id}, which does not exist")
            }
            Self::StaleConnections { backend_id } => {
                write!(
                    f,
                    "connections of the service are bound to backend {backend_id}, which does not exist"
                )
            }
            Self::UnusedBackend { backend_id } => write!(f, "backend {backend_id} belongs to no frontend"),
        }
    }
}

/// All findings, the worst first.
pub fn check(balancer: &Balancer) -> Vec<Finding> {
    let mut findings = Findings::default();
    for (family, other) in [(&balancer.v4, &balancer.v6), (&balancer.v6, &balancer.v4)] {
        Check { family, other, affinity_match: balancer.affinity_match.as_ref() }.run(&mut findings);
    }
    check_affinity_match(balancer, &mut findings);
    let mut findings = findings.0;
    findings.sort();
    findings.dedup();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.problem.severity()));
    findings
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn frontend(&mut self, frontend: Frontend, service_id: u16, problem: Problem) {
        self.0.push(Finding { frontend: Some(frontend), service_id: Some(service_id), problem });
    }

    fn other(&mut self, service_id: Option<u16>, problem: Problem) {
        self.0.push(Finding { frontend: None, service_id, problem });
    }
}

struct Check<'a> {
    family: &'a Family,
    /// Backends of the other family are reached through NAT 46x64.
    other: &'a Family,
    affinity_match: Option<&'a BTreeSet<(u32, u16)>>,
}

impl Check<'_> {
    fn run(&self, findings: &mut Findings) {
        let frontends = self.family.slots.iter().filter(|(key, _)| key.slot == 0);
        for (key, frontend) in frontends.filter(|(key, _)| !is_catch_all(key)) {
            self.backends(key, frontend, findings);
            self.slots(key, frontend, findings);
            self.reverse_nat(key, frontend, findings);
        }
        self.lone_slots(findings);
        self.lone_reverse_nat(findings);
        self.bound_clients(findings);
        self.unused_backends(findings);
    }

    fn backends(&self, key: &SlotKey, frontend: &Slot, findings: &mut Findings) {
        let (active, quarantined) = (frontend.count, frontend.quarantined);
        let local = frontend.has(flag::EXT_LOCAL_SCOPE) || frontend.has2(flag2::INT_LOCAL_SCOPE);
        let problem = match (active, quarantined) {
            _ if frontend.has2(flag2::L7_LOAD_BALANCER) => {
                (frontend.proxy_port() == Some(0)).then_some(Problem::NoProxyPort)
            }
            (0, 0) => Some(Problem::NoBackends { local }),
            (0, quarantined) => Some(Problem::NoActiveBackend { quarantined }),
            _ if self.all_leave(key, active) => Some(Problem::OnlyLeavingBackends),
            (_, 0) => None,
            (active, quarantined) => Some(Problem::SomeQuarantined { quarantined, active }),
        };
        if let Some(problem) = problem {
            findings.frontend(key.frontend, frontend.service_id, problem);
        }
    }

    fn all_leave(&self, key: &SlotKey, active: u16) -> bool {
        let states = (1..=active).map(|slot| {
            let id = self.family.slots.get(&SlotKey { slot, ..*key })?.backend_id();
            self.family.backends.get(&id).map(|backend| backend.state)
        });
        let mut states = states.peekable();
        states.peek().is_some() && states.all(|state| state.is_some_and(|state| state != State::Active))
    }

    fn slots(&self, key: &SlotKey, frontend: &Slot, findings: &mut Findings) {
        let all = frontend.count.saturating_add(frontend.quarantined);
        for slot in 1..=all {
            let mut tell = |problem| findings.frontend(key.frontend, frontend.service_id, problem);
            match self.family.slots.get(&SlotKey { slot, ..*key }) {
                None => tell(Problem::MissingSlot { slot, count: all }),
                Some(found) => self.slot(slot, frontend, found, &mut tell),
            }
        }
    }

    fn slot(&self, slot: u16, frontend: &Slot, found: &Slot, tell: &mut dyn FnMut(Problem)) {
        if found.service_id != frontend.service_id {
            tell(Problem::SlotOfOtherService { slot, found: found.service_id });
        }
        let backend_id = found.backend_id();
        if !self.is_backend(backend_id, frontend) {
            tell(Problem::DanglingBackend { slot, backend_id, active: slot <= frontend.count });
        }
        let allowed = |set: &BTreeSet<_>| set.contains(&(backend_id, frontend.service_id));
        if frontend.has(flag::AFFINITY) && self.affinity_match.is_some_and(|set| !allowed(set)) {
            tell(Problem::AffinityNotAllowed { backend_id });
        }
    }

    fn is_backend(&self, id: u32, frontend: &Slot) -> bool {
        let translated = frontend.has2(flag2::NAT_46X64) && self.other.backends.contains_key(&id);
        self.family.backends.contains_key(&id) || translated
    }

    fn reverse_nat(&self, key: &SlotKey, frontend: &Slot, findings: &mut Findings) {
        let problem = match self.family.reverse_nat.get(&frontend.service_id) {
            Some(found) if *found == key.frontend.address => return,
            Some(found) => Problem::ReverseNatDiffers { found: *found },
            None => Problem::NoReverseNat,
        };
        findings.frontend(key.frontend, frontend.service_id, problem);
    }

    /// Slots past the last one of their frontend, and those without one.
    fn lone_slots(&self, findings: &mut Findings) {
        for (key, slot) in self.family.slots.iter().filter(|(key, _)| key.slot > 0) {
            let problem = match self.family.slots.get(&SlotKey { slot: 0, ..*key }) {
                None => Problem::SlotWithoutFrontend { slot: key.slot },
                Some(frontend) => {
                    let count = frontend.count.saturating_add(frontend.quarantined);
                    if key.slot <= count {
                        continue;
                    }
                    Problem::StraySlot { slot: key.slot, count }
                }
            };
            findings.frontend(key.frontend, slot.service_id, problem);
        }
    }

    fn lone_reverse_nat(&self, findings: &mut Findings) {
        let used: BTreeSet<u16> = self.family.slots.values().map(|slot| slot.service_id).collect();
        for (id, address) in self.family.reverse_nat.iter().filter(|(id, _)| !used.contains(id)) {
            findings.other(Some(*id), Problem::StrayReverseNat { address: *address });
        }
    }

    /// Clients and connections that are bound to a backend that is gone.
    fn bound_clients(&self, findings: &mut Findings) {
        let is_gone = |id: &u32| *id != 0 && !self.family.backends.contains_key(id);
        for (_, service_id, backend_id) in self.family.affinity.iter().filter(|(.., id)| is_gone(id)) {
            findings.other(Some(*service_id), Problem::AffinityDangling { backend_id: *backend_id });
        }
        for (service_id, backend_id) in self.family.connections.keys().filter(|(_, id)| is_gone(id)) {
            findings.other(Some(*service_id), Problem::StaleConnections { backend_id: *backend_id });
        }
    }

    fn unused_backends(&self, findings: &mut Findings) {
        let of = |family: &Family| -> Vec<u32> {
            family.slots.iter().filter(|(key, _)| key.slot > 0).map(|(_, slot)| slot.backend_id()).collect()
        };
        let used: BTreeSet<u32> = of(self.family).into_iter().chain(of(self.other)).collect();
        for backend_id in self.family.backends.keys().filter(|id| !used.contains(id)) {
            findings.other(None, Problem::UnusedBackend { backend_id: *backend_id });
        }
    }
}

/// Entries for unknown ports of a known address have no backends by design.
fn is_catch_all(key: &SlotKey) -> bool {
    key.frontend.address.port() == 0
}

fn check_affinity_match(balancer: &Balancer, findings: &mut Findings) {
    let exists = |id| balancer.v4.backends.contains_key(id) || balancer.v6.backends.contains_key(id);
    for (backend_id, service_id) in balancer.affinity_match.iter().flatten().filter(|(id, _)| !exists(id)) {
        findings.other(Some(*service_id), Problem::AffinityMatchDangling { backend_id: *backend_id });
    }
}

#[cfg(test)]
mod tests;
