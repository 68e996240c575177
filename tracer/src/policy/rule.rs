//! The rules that a decision is made of, by name and in words.

use std::fmt;

use tracer_common::id::Identity;

use crate::model::policy::Entry;

/// One thing that was looked at on the way to a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub rule: Rule,
    /// The entry that the rule is about; for a look-up what it found.
    pub entry: Option<Entry>,
}

/// Which look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The other end's own identity.
    Own,
    /// The aggregate of that identity (1.20).
    Aggregate,
    /// Any identity.
    Any,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident: $name:literal, $text:literal;)*) => {
        /// What happened, or decided. [`Rule::LookUp`] apart, each stands in the steps only if it applied.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule {
            /// A look-up by this identity.
            LookUp { side: Side, identity: Identity },
            $($(#[$doc])* $variant,)*
        }

        impl Rule {
            /// A stable name, for programs.
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::LookUp { side: Side::Own, .. } => "look-up-own",
                    Self::LookUp { side: Side::Aggregate, .. } => "look-up-aggregate",
                    Self::LookUp { side: Side::Any, .. } => "look-up-any",
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl fmt::Display for Rule {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::LookUp { side: Side::Own, identity } => write!(f, "look-up for identity {identity}"),
                    Self::LookUp { side: Side::Aggregate, identity } => {
                        write!(f, "look-up for aggregate identity {identity}")
                    }
                    Self::LookUp { side: Side::Any, .. } => f.write_str("look-up for any identity"),
                    $(Self::$variant => f.write_str($text),)*
                }
            }
        }
    };
}

rules! {
    // Before the map.
    ProgramMissing: "program-missing", "the receiving program is not loaded";
    ForeignSource: "foreign-source", "the endpoint sends from an address that is not its own";
    FragmentSent: "fragment-sent", "the endpoint sends a fragment and fragments are not tracked";
    FirstFragmentUnknown: "first-fragment-unknown", "the first fragment has not been seen, so the ports are not known";
    NotHost: "not-host", "the host firewall is not asked: the end on this side is not the host";
    Masqueraded: "masqueraded", "a pod's packet with the host's address is only tracked";
    Reply: "reply", "a reply of a known connection: policy is not asked";
    Related: "related", "belongs to a known connection: policy is not asked";
    Established: "established", "a packet of a known connection: policy is asked again";
    Loopback: "loopback", "an endpoint talks to itself by a service: policy is not asked";
    L7Service: "l7-service", "the service is served by a proxy, which asks policy itself";
    FromProxy: "from-proxy", "comes from the ingress proxy: policy is not asked";
    ProxyConnection: "proxy-connection", "the connection goes through a proxy";
    Encapsulation: "encapsulation", "an endpoint may not send to the tunnel port";
    FragmentationNeeded: "fragmentation-needed", "ICMP \"fragmentation needed\" always passes";
    IcmpType: "icmp-type", "the ICMP type is looked up as port";
    FragmentPort: "fragment-port", "a fragment that is not tracked is looked up with port 0";
    // Up to 1.16.
    OwnPort: "own-port", "the identity's entry names the port: first in the order";
    AnyPort: "any-port", "the entry for any identity names the port: second in the order";
    OwnProtocol: "own-protocol", "the identity's entry names the protocol: third in the order";
    AnyProtocol: "any-protocol", "the entry for any identity names the protocol: fourth in the order";
    OwnAll: "own-all", "the identity's entry is for everything: fifth in the order";
    AnyAll: "any-all", "the entry for any identity is for everything: last in the order";
    // 1.17 and 1.18.
    OwnDeny: "own-deny", "the identity's entry denies: it wins before anything else is looked at";
    AnyDeny: "any-deny", "the entry for any identity denies: it wins";
    ProxyPriority: "proxy-priority", "the entry for any identity wins by its proxy priority";
    // 1.19 and newer.
    Highest: "highest-precedence", "the identity's entry has the highest precedence of all: it wins";
    HigherPrecedence: "higher-precedence", "the broader entry wins by its precedence";
    // 1.17 and newer.
    OnlyMatch: "only-match", "no other entry matches";
    LongerPrefix: "longer-prefix", "the broader identity's entry wins by its longer prefix";
    OwnWins: "own-wins", "the identity's own entry wins: the other one has nothing over it";
    // What follows from the winner.
    SkipMark: "skip-mark", "no entry matches, but the packet is marked to pass";
    NoEntryFragment: "no-entry-fragment", "no entry matches a fragment without ports";
    NoEntry: "no-entry", "no entry matches: denied";
    Denied: "denied", "the winner denies";
    AuthInherited: "auth-inherited", "the other entry's authentication counts: the winner names none";
    AuthValid: "auth-valid", "both ends are authenticated";
    AuthMissing: "auth-missing", "both ends must be authenticated first, and are not";
    AuthNoNodeId: "auth-no-node-id", "authentication is wanted, but the other end's node has no id here";
    AuthUnknown: "auth-unknown", "authentication is wanted; whether there is one is not known";
    Audited: "audited", "audit mode: what policy denies passes";
    Proxy: "proxy", "the winner sends it to a proxy";
    Allowed: "allowed", "the winner allows";
    // What is not known.
    Unread: "unread", "some entries could not be read: they may decide otherwise";
    ClusterUnknown: "cluster-unknown", "the own cluster's id is not known, and the answer depends on it";
}
