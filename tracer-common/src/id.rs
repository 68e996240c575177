//! Newtypes for numbers that must not be mistaken for one another. All are in host byte order.

use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$int> for $name {
            fn from(raw: $int) -> Self {
                Self(raw)
            }
        }
    };
}

id! {
    /// A Cilium security identity (`sec_label`). 0 = unknown, or "any peer" in policy keys.
    Identity(u32)
}
id! {
    /// A Cilium endpoint id (`lxc_id`), unique on one node at one time, re-used later. 0 = none.
    EndpointId(u16)
}
id! {
    /// A network interface index, meaningful inside one network namespace. 0 = none.
    IfIndex(u32)
}
id! {
    /// The kernel's id of a loaded BPF map. Never 0 for a live map.
    MapId(u32)
}

/// Where an [`Identity`] was allocated (its top byte).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityScope {
    /// Reserved or cluster-wide.
    Global,
    /// CIDR, FQDN and cidrgroup identities: the number means something on this node only.
    Local,
    /// Node identities by node labels.
    RemoteNode,
    /// A top byte that no known release uses.
    Unknown(u8),
}

impl Identity {
    pub const HOST: Self = Self(1);
    pub const WORLD: Self = Self(2);
    pub const WORLD_IPV4: Self = Self(9);
    pub const WORLD_IPV6: Self = Self(10);

    /// The scope that the number's top byte tells.
    pub const fn scope(self) -> IdentityScope {
        match self.0 >> 24 {
            0 => IdentityScope::Global,
            1 => IdentityScope::Local,
            2 => IdentityScope::RemoteNode,
            top => IdentityScope::Unknown(top as u8),
        }
    }

    /// Whether the number lies in the reserved range 1..=99.
    pub const fn is_reserved(self) -> bool {
        matches!(self.0, 1..=99)
    }
}
