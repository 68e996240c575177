//! Which identity the datapath gives an address that no ipcache entry covers: world, or with both address
//! families in use a world of its own for each. Decided from what the node shows, and the evidence is named.

use std::net::IpAddr;

use tracer_common::id::Identity;

use super::release::{Release, ReleaseRange};

/// What the decision rests on, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorldEvidence {
    /// The identity of `0.0.0.0/0` or `::/0` in the ipcache.
    DefaultRoute,
    /// A local identity carries the label `reserved:world-ipv4` or `reserved:world-ipv6`.
    LocalIdentities,
    /// The agent's settings: one address family, or both and a release that has two worlds (1.15 and newer).
    AgentConfig,
    /// Nothing tells; the oldest rule is assumed.
    Assumed,
}

/// The world identities of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
    pub ipv4: Identity,
    pub ipv6: Identity,
    pub evidence: WorldEvidence,
}

/// What the node shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorldClues {
    /// Identity of the default routes in the ipcache.
    pub default_route: [Option<Identity>; 2],
    pub has_world_label_per_family: bool,
    /// `EnableIPv4` and `EnableIPv6`.
    pub enabled: Option<(bool, bool)>,
}

impl World {
    const ONE: (Identity, Identity) = (Identity::WORLD, Identity::WORLD);
    const TWO: (Identity, Identity) = (Identity::WORLD_IPV4, Identity::WORLD_IPV6);

    pub fn decide(clues: &WorldClues, releases: ReleaseRange) -> Self {
        let ((ipv4, ipv6), evidence) = from_default_route(clues)
            .map(|ids| (ids, WorldEvidence::DefaultRoute))
            .or_else(|| {
                clues.has_world_label_per_family.then_some((Self::TWO, WorldEvidence::LocalIdentities))
            })
            .or_else(|| from_config(clues, releases).map(|ids| (ids, WorldEvidence::AgentConfig)))
            .unwrap_or((Self::ONE, WorldEvidence::Assumed));
        Self { ipv4, ipv6, evidence }
    }

    pub const fn of(&self, ip: IpAddr) -> Identity {
        match ip {
            IpAddr::V4(_) => self.ipv4,
            IpAddr::V6(_) => self.ipv6,
        }
    }
}

/// A policy can give the default routes another identity, so only the three worlds count.
fn from_default_route(clues: &WorldClues) -> Option<(Identity, Identity)> {
    clues.default_route.into_iter().flatten().find_map(|identity| match identity {
        Identity::WORLD => Some(World::ONE),
        Identity::WORLD_IPV4 | Identity::WORLD_IPV6 => Some(World::TWO),
        _ => None,
    })
}

fn from_config(clues: &WorldClues, releases: ReleaseRange) -> Option<(Identity, Identity)> {
    match clues.enabled? {
        (true, true) if releases.lowest >= Release(15) => Some(World::TWO),
        // Which of the two it is depends on the release, and that is not known.
        (true, true) if releases.highest >= Release(15) => None,
        _ => Some(World::ONE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: ReleaseRange = ReleaseRange { lowest: Release(16), highest: Release(17) };
    const OLD: ReleaseRange = ReleaseRange { lowest: Release(14), highest: Release(14) };

    fn decide(clues: WorldClues, releases: ReleaseRange) -> (u32, u32, WorldEvidence) {
        let world = World::decide(&clues, releases);
        (world.ipv4.0, world.ipv6.0, world.evidence)
    }

    #[test]
    fn the_default_route_in_the_ipcache_decides_first() {
        let both = Some((true, true));
        let route = |id| WorldClues {
            default_route: [Some(Identity(id)), None],
            enabled: both,
            ..Default::default()
        };
        assert_eq!(decide(route(9), OLD), (9, 10, WorldEvidence::DefaultRoute));
        assert_eq!(decide(route(2), NEW), (2, 2, WorldEvidence::DefaultRoute));
        assert_eq!(decide(route(16_777_217), NEW), (9, 10, WorldEvidence::AgentConfig));
    }

    #[test]
    fn dual_stack_has_two_worlds_since_1_15() {
        let clues = WorldClues { enabled: Some((true, true)), ..Default::default() };
        assert_eq!(decide(clues, NEW), (9, 10, WorldEvidence::AgentConfig));
        assert_eq!(decide(clues, OLD), (2, 2, WorldEvidence::AgentConfig));
        assert_eq!(decide(clues, ReleaseRange::ANY), (2, 2, WorldEvidence::Assumed));
        let single = WorldClues { enabled: Some((true, false)), ..Default::default() };
        assert_eq!(decide(single, ReleaseRange::ANY), (2, 2, WorldEvidence::AgentConfig));
    }

    #[test]
    fn labels_of_local_identities_tell_it_too() {
        let clues = WorldClues { has_world_label_per_family: true, ..Default::default() };
        assert_eq!(decide(clues, ReleaseRange::ANY), (9, 10, WorldEvidence::LocalIdentities));
        assert_eq!(decide(WorldClues::default(), NEW), (2, 2, WorldEvidence::Assumed));
    }
}
