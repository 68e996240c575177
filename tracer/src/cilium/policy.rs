//! Policy maps: what an endpoint may talk to, entry by entry, whichever release wrote it. Two releases wrote
//! values of the same size with another meaning; which of them it was is decided by all entries together
//! ([`Tally`]), never by one. Who wins between two entries that match is not decided here.

use std::fmt;
use std::io;

use tracer_common::cilium::policy::{
    Generation, PolicyEntryCompact, PolicyEntryPrecedence, PolicyEntryPrefix, PolicyEntryWildcard, PolicyKey,
    STATIC_PREFIX_BITS, is_deny,
};
use tracer_common::id::Identity;
use zerocopy::{FromBytes, IntoBytes};

use super::maps::MapRead;
use super::pins::PolicyPin;
use super::release::{Evidence, ReleaseRange};
use crate::kernel::bpf::MapInfo;
use crate::model::policy as model;

const LPM_TRIE: u32 = 11;
const KEY_SIZE: u32 = 12;
/// Bytes of a value of either generation that only entries tell apart.
const TWIN_SIZE: u32 = 24;

/// One entry. What a release does not have is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyEntry {
    pub key: PolicyKey,
    pub egress: bool,
    /// Of the other end; 0: any.
    pub identity: Identity,
    /// `None`: any.
    pub protocol: Option<u8>,
    /// First and last; for ICMP the type. `None`: any.
    pub ports: Option<(u16, u16)>,
    /// Bits of protocol and port that count: 0, 8, or 9 to 24.
    pub prefix_length: u8,
    pub deny: bool,
    /// 0: not redirected.
    pub proxy_port: u16,
    /// 0 none, 1 SPIRE, 2 always fail.
    pub auth_type: u8,
    /// What a value up to 1.16 says of its key: any protocol, any port.
    pub wildcards: Option<(bool, bool)>,
    pub explicit_auth: Option<bool>,
    pub proxy_port_priority: Option<u8>,
    pub precedence: Option<u32>,
    pub cookie: Option<u32>,
    /// The counters that are in the entry itself.
    pub counters: Option<(u64, u64)>,
}

impl PolicyEntry {
    /// The same in the user's words; `None`: impossible bits, which [`decode`] does not let through.
    pub fn to_model(&self) -> Option<model::Entry> {
        let direction = if self.egress { model::Direction::Egress } else { model::Direction::Ingress };
        let port = self.ports.map_or(0, |(first, _)| first);
        let traffic = model::Traffic::new(self.prefix_length, self.protocol.unwrap_or_default(), port)?;
        let plain = model::Entry::allow(model::Key { direction, identity: self.identity, traffic });
        let (any_protocol, any_port) = self.wildcards.unwrap_or((plain.any_protocol, plain.any_port));
        Some(model::Entry {
            deny: self.deny,
            proxy_port: self.proxy_port,
            proxy_priority: self.proxy_port_priority.unwrap_or_default(),
            auth_type: self.auth_type,
            explicit_auth: self.explicit_auth.unwrap_or_default(),
            precedence: self.precedence.unwrap_or_default(),
            cookie: self.cookie.unwrap_or_default(),
            any_protocol,
            any_port,
            ..plain
        })
    }
}

/// How the datapath of the release that made the map chooses between its entries.
pub fn order(pin: PolicyPin, generation: Generation) -> model::Order {
    match generation {
        Generation::Wildcard => model::Order::FirstMatch,
        Generation::Prefix | Generation::Compact => model::Order::DenyFirst,
        Generation::Precedence if pin.version >= 3 => model::Order::Aggregated,
        Generation::Precedence => model::Order::Precedence,
    }
}

/// Why the entries of a policy map are not interpreted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error(
        "map `{map}`: type {map_type}, key size {key} and value size {value}; expected an LPM trie with 12 and {expected}"
    )]
    Sizes { map: String, map_type: u32, key: u32, value: u32, expected: &'static str },
    #[error(
        "map `{map}`: {wildcard} entries have the layout of releases up to 1.16 and {prefix} that of 1.17; not interpreted"
    )]
    Mixed { map: String, wildcard: u64, prefix: u64 },
    #[error("map `{map}`: its entries have the layout of {found}, but the node is {node}; not interpreted")]
    OtherRelease { map: String, found: ReleaseRange, node: ReleaseRange },
    #[error(
        "map `{map}`: no entry tells which of two layouts this is (up to 1.16, or 1.17); not interpreted"
    )]
    Untold { map: String },
}

/// What the name and the sizes of a policy map say about its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Known(Generation),
    /// [`Generation::Wildcard`] or [`Generation::Prefix`].
    Twins,
}

/// `map` is the name that `pin` was parsed from.
pub fn form(pin: PolicyPin, map: &str, info: &MapInfo) -> Result<Form, PolicyError> {
    let expected = match pin.version {
        1 => "24",
        2 => "8 (1.18) or 12 (1.19)",
        _ => "12",
    };
    let refuse = || PolicyError::Sizes {
        map: map.to_owned(),
        map_type: info.map_type,
        key: info.key_size,
        value: info.value_size,
        expected,
    };
    if (info.map_type, info.key_size) != (LPM_TRIE, KEY_SIZE) {
        return Err(refuse());
    }
    match (pin.version, info.value_size) {
        (1, TWIN_SIZE) => Ok(Form::Twins),
        (2, 8) => Ok(Form::Known(Generation::Compact)),
        (2 | 3, 12) => Ok(Form::Known(Generation::Precedence)),
        _ => Err(refuse()),
    }
}

/// Counts what a first walk sees: sizes of the map, and votes of the entries for a layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub entries: u64,
    pub ingress: u64,
    pub egress: u64,
    wildcard: u64,
    prefix: u64,
}

impl Tally {
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        self.entries += 1;
        let Ok(key) = PolicyKey::read_from_bytes(key) else { return };
        let side = if key.is_egress() { &mut self.egress } else { &mut self.ingress };
        *side += 1;
        let Ok(value) = <&[u8; TWIN_SIZE as usize]>::try_from(value) else { return };
        match Generation::of_entry(&key, value) {
            Some(Generation::Wildcard) => self.wildcard += 1,
            Some(_) => self.prefix += 1,
            None => {}
        }
    }

    /// The layout of the map's values. `node`: the releases that everything else on the node allows.
    pub fn generation(&self, form: Form, map: &str, node: ReleaseRange) -> Result<Generation, PolicyError> {
        let found = match (form, self.wildcard, self.prefix) {
            (Form::Known(generation), ..) => generation,
            (Form::Twins, 0, 0) => return self.by_release(map, node),
            (Form::Twins, _, 0) => Generation::Wildcard,
            (Form::Twins, 0, _) => Generation::Prefix,
            (Form::Twins, wildcard, prefix) => {
                return Err(PolicyError::Mixed { map: map.to_owned(), wildcard, prefix });
            }
        };
        let releases = Evidence::PolicyEntries(found).releases().unwrap_or(ReleaseRange::ANY);
        match releases.intersect(node) {
            Some(_) => Ok(found),
            None => Err(PolicyError::OtherRelease { map: map.to_owned(), found: releases, node }),
        }
    }

    /// Without a telling entry the release decides. An empty map has the same meaning in both layouts.
    fn by_release(&self, map: &str, node: ReleaseRange) -> Result<Generation, PolicyError> {
        let allows = |generation| {
            let releases = Evidence::PolicyEntries(generation).releases();
            releases.is_some_and(|releases| releases.intersect(node).is_some())
        };
        match (allows(Generation::Wildcard), allows(Generation::Prefix)) {
            (true, false) => Ok(Generation::Wildcard),
            (_, true) if self.entries == 0 => Ok(Generation::Prefix),
            (false, true) => Ok(Generation::Prefix),
            _ => Err(PolicyError::Untold { map: map.to_owned() }),
        }
    }
}

/// Whether something is forbidden in a direction: no entry lets everybody through with everything. A rule of a
/// user that allows everything looks the same as no rule at all.
pub fn is_enforced(map: &dyn MapRead, egress: bool) -> io::Result<bool> {
    let everything =
        PolicyKey { prefixlen: STATIC_PREFIX_BITS, egress: egress.into(), ..PolicyKey::default() };
    let mut value = vec![0; map.value_bytes()];
    let is_there = map.lookup(everything.as_bytes(), &mut value)?;
    Ok(!is_there || is_deny(&value) != Some(false))
}

/// The releases that write a layout, in words.
pub fn generation_name(generation: Generation) -> &'static str {
    match generation {
        Generation::Wildcard => "up to 1.16",
        Generation::Prefix => "1.17",
        Generation::Compact => "1.18",
        Generation::Precedence => "1.19+",
    }
}

/// `None`: impossible bits.
pub fn decode(generation: Generation, key: &[u8], value: &[u8]) -> Option<PolicyEntry> {
    let key = PolicyKey::read_from_bytes(key).ok().filter(|key| key.egress <= 1)?;
    let prefix_length = key.lpm_prefix_length()?;
    let base = PolicyEntry {
        key,
        egress: key.is_egress(),
        identity: Identity(key.sec_label),
        protocol: key.protocol(),
        ports: key.ports(),
        prefix_length,
        deny: false,
        proxy_port: 0,
        auth_type: 0,
        wildcards: None,
        explicit_auth: None,
        proxy_port_priority: None,
        precedence: None,
        cookie: None,
        counters: None,
    };
    match generation {
        Generation::Wildcard => wildcard(base, value),
        Generation::Prefix => prefix(base, value),
        Generation::Compact => compact(base, value),
        Generation::Precedence => precedence(base, value),
    }
}

fn wildcard(base: PolicyEntry, value: &[u8]) -> Option<PolicyEntry> {
    let v = PolicyEntryWildcard::read_from_bytes(value).ok()?;
    let whole: &[u8; TWIN_SIZE as usize] = value.try_into().ok()?;
    (Generation::of_entry(&base.key, whole)? == Generation::Wildcard).then_some(PolicyEntry {
        deny: v.is_deny(),
        proxy_port: v.proxy_port.get(),
        auth_type: v.auth_type,
        wildcards: Some((v.is_any_protocol(), v.is_any_port())),
        counters: Some((v.packets, v.bytes)),
        ..base
    })
}

fn prefix(base: PolicyEntry, value: &[u8]) -> Option<PolicyEntry> {
    let v = PolicyEntryPrefix::read_from_bytes(value).ok()?;
    Some(PolicyEntry {
        proxy_port_priority: Some(v.proxy_port_priority),
        counters: Some((v.packets, v.bytes)),
        ..since_1_17(base, value)?
    })
}

fn compact(base: PolicyEntry, value: &[u8]) -> Option<PolicyEntry> {
    let v = PolicyEntryCompact::read_from_bytes(value).ok()?;
    let entry = since_1_17(base, value)?;
    Some(PolicyEntry { proxy_port_priority: Some(v.proxy_port_priority), ..entry })
}

fn precedence(base: PolicyEntry, value: &[u8]) -> Option<PolicyEntry> {
    let v = PolicyEntryPrecedence::read_from_bytes(value).ok()?;
    let entry = since_1_17(base, value)?;
    Some(PolicyEntry { precedence: Some(v.precedence), cookie: Some(v.cookie), ..entry })
}

/// What the first four bytes say, which are the same in all releases since 1.17.
fn since_1_17(base: PolicyEntry, value: &[u8]) -> Option<PolicyEntry> {
    let (v, _) = PolicyEntryCompact::read_from_prefix(value).ok()?;
    is_sound(v.flags, base.prefix_length).then_some(PolicyEntry {
        deny: v.is_deny(),
        proxy_port: v.proxy_port.get(),
        auth_type: v.auth_type(),
        explicit_auth: Some(v.has_explicit_auth_type()),
        ..base
    })
}

/// The value repeats the key's prefix length; two bits are reserved.
const fn is_sound(flags: u8, prefix_length: u8) -> bool {
    flags >> 3 == prefix_length && flags & 0b110 == 0
}

/// The way that an authentication type is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthType(pub u8);

impl fmt::Display for AuthType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

impl AuthType {
    pub const fn name(self) -> Option<&'static str> {
        match self.0 {
            0 => Some("disabled"),
            1 => Some("spire"),
            2 => Some("test-always-fail"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cilium::hex::bytes;
    use crate::cilium::release::Release;

    /// Keys of appendix A of the ABI notes.
    const TCP_8080: &str = "40000000 51c30000 00061f90";
    const TCP_8080_TO_8087: &str = "3d000000 51c30000 00061f90";
    const EGRESS_UDP: &str = "30000000 00000000 01110000";
    const INGRESS_ALL: &str = "28000000 00000000 00000000";

    fn entry(generation: Generation, key: &str, value: &str) -> PolicyEntry {
        decode(generation, &bytes(key), &bytes(value)).unwrap()
    }

    #[test]
    fn keys_say_direction_identity_protocol_and_ports() {
        let zero = "00000000 00000000 00000000 00000000 00000000 00000000";
        let with_flags = |flags: &str| format!("0000{flags}00{}", &zero[8..]);
        for (key, flags, egress, identity, protocol, ports, bits) in [
            (TCP_8080, "00", false, 50001, Some(6), Some((8080, 8080)), 24),
            (TCP_8080_TO_8087, "00", false, 50001, Some(6), Some((8080, 8087)), 21),
            (EGRESS_UDP, "04", true, 0, Some(17), None, 8),
            (INGRESS_ALL, "06", false, 0, None, None, 0),
        ] {
            let e = entry(Generation::Wildcard, key, &with_flags(flags));
            assert_eq!((e.egress, e.identity, e.protocol), (egress, Identity(identity), protocol), "{key}");
            assert_eq!((e.ports, e.prefix_length), (ports, bits), "{key}");
        }
    }

    #[test]
    fn values_of_every_generation_have_their_meaning() {
        let all =
            entry(Generation::Wildcard, INGRESS_ALL, "00000600 00000000 05000000 00000000 a4010000 00000000");
        assert_eq!((all.deny, all.counters, all.explicit_auth), (false, Some((5, 420)), None));
        let redirect =
            entry(Generation::Wildcard, TCP_8080, "36b10000 00000000 00000000 00000000 00000000 00000000");
        assert_eq!(redirect.proxy_port, 14001);
        let deny =
            entry(Generation::Prefix, TCP_8080, "0000c100 00000000 00000000 00000000 00000000 00000000");
        assert_eq!((deny.deny, deny.proxy_port_priority), (true, Some(0)));
        let compact = entry(Generation::Compact, TCP_8080, "36b1c000 01000000");
        assert_eq!(
            (compact.proxy_port, compact.proxy_port_priority, compact.counters),
            (14001, Some(1), None)
        );
        let newest = entry(Generation::Precedence, EGRESS_UDP, "00004081 e8030000 4d000000");
        assert_eq!((newest.auth_type, newest.explicit_auth), (1, Some(true)));
        assert_eq!((newest.precedence, newest.cookie), (Some(1000), Some(77)));
    }

    #[test]
    fn entries_in_plain_words_say_the_same() {
        use model::Direction::{Egress, Ingress};
        let plain = |generation, key, value| entry(generation, key, value).to_model().unwrap();
        let range = plain(Generation::Compact, TCP_8080_TO_8087, "36b1a800 01000000");
        let key = model::Key {
            direction: Ingress,
            identity: Identity(50001),
            traffic: model::Traffic::Ports { protocol: 6, first: 8080, bits: 13 },
        };
        assert_eq!((range.key, range.key.traffic.ports()), (key, Some((8080, 8087))));
        assert_eq!((range.proxy_port, range.proxy_priority, range.deny), (14001, 1, false));
        let newest = plain(Generation::Precedence, EGRESS_UDP, "00004081 e8030000 4d000000");
        let key =
            model::Key { direction: Egress, identity: Identity(0), traffic: model::Traffic::Protocol(17) };
        assert_eq!((newest.key, newest.auth_type, newest.explicit_auth), (key, 1, true));
        assert_eq!((newest.precedence, newest.cookie), (1000, 77));
        let all =
            plain(Generation::Wildcard, INGRESS_ALL, "00000600 00000000 05000000 00000000 a4010000 00000000");
        assert!(all.is_allow_all() && all.any_protocol && all.any_port);
        // What the value says counts up to 1.16, not what the key says.
        let odd =
            plain(Generation::Wildcard, TCP_8080, "00000400 00000000 00000000 00000000 00000000 00000000");
        assert!(odd.any_port && !odd.any_protocol);
    }

    #[test]
    fn pin_and_layout_name_the_order() {
        let order = |version, generation| {
            super::order(PolicyPin { endpoint: tracer_common::id::EndpointId(7), version }, generation)
        };
        assert_eq!(order(1, Generation::Wildcard), model::Order::FirstMatch);
        assert_eq!(order(1, Generation::Prefix), model::Order::DenyFirst);
        assert_eq!(order(2, Generation::Compact), model::Order::DenyFirst);
        assert_eq!(order(2, Generation::Precedence), model::Order::Precedence);
        assert_eq!(order(3, Generation::Precedence), model::Order::Aggregated);
    }

    #[test]
    fn impossible_bits_are_not_decoded() {
        // A value that belongs to another prefix length, reserved bits, a direction that does not exist.
        assert_eq!(decode(Generation::Compact, &bytes(TCP_8080), &bytes("00004000 00000000")), None);
        assert_eq!(decode(Generation::Compact, &bytes(TCP_8080), &bytes("0000c600 00000000")), None);
        let key = bytes("40000000 51c30000 02061f90");
        assert_eq!(decode(Generation::Compact, &key, &bytes("0000c000 00000000")), None);
        assert_eq!(decode(Generation::Compact, &bytes(TCP_8080), &[0; 12]), None);
    }

    fn tally(entries: &[(&str, &str)]) -> Tally {
        let mut tally = Tally::default();
        entries.iter().for_each(|(key, value)| tally.add(&bytes(key), &bytes(value)));
        tally
    }

    const OLD: (&str, &str) = (INGRESS_ALL, "00000600 00000000 05000000 00000000 a4010000 00000000");
    const NEW: (&str, &str) = (TCP_8080, "0000c100 00000000 00000000 00000000 00000000 00000000");
    /// Neither.
    const ODD: (&str, &str) = (TCP_8080, "0000ff00 00000000 00000000 00000000 00000000 00000000");

    fn judged(entries: &[(&str, &str)], node: ReleaseRange) -> Result<Generation, String> {
        tally(entries).generation(Form::Twins, "m", node).map_err(|error| error.to_string())
    }

    #[test]
    fn the_entries_decide_between_the_layouts_of_one_size() {
        assert_eq!(judged(&[OLD, ODD], ReleaseRange::ANY), Ok(Generation::Wildcard));
        assert_eq!(judged(&[NEW], ReleaseRange::ANY), Ok(Generation::Prefix));
        let mixed =
            "map `m`: 2 entries have the layout of releases up to 1.16 and 1 that of 1.17; not interpreted";
        assert_eq!(judged(&[OLD, NEW, OLD], ReleaseRange::ANY), Err(mixed.to_owned()));
    }

    #[test]
    fn entries_that_contradict_the_node_are_not_interpreted() {
        let node = ReleaseRange::exactly(Release(17));
        let line =
            "map `m`: its entries have the layout of up to 1.16, but the node is 1.17; not interpreted";
        assert_eq!(judged(&[OLD], node), Err(line.to_owned()));
    }

    #[test]
    fn without_a_telling_entry_the_release_decides_and_without_both_nobody() {
        assert_eq!(judged(&[ODD], ReleaseRange::exactly(Release(17))), Ok(Generation::Prefix));
        assert_eq!(judged(&[ODD], ReleaseRange::exactly(Release(15))), Ok(Generation::Wildcard));
        assert!(judged(&[ODD], ReleaseRange::ANY).is_err());
        assert!(judged(&[], ReleaseRange::ANY).is_ok());
    }

    #[test]
    fn name_and_sizes_together_name_the_layout() {
        let info = |value_size| MapInfo {
            id: tracer_common::id::MapId(1),
            map_type: LPM_TRIE,
            key_size: 12,
            value_size,
            max_entries: 1,
            flags: 1,
            name: String::new(),
        };
        let form = |version, value| {
            let pin = PolicyPin { endpoint: tracer_common::id::EndpointId(7), version };
            super::form(pin, "m", &info(value))
        };
        assert_eq!(form(1, 24), Ok(Form::Twins));
        assert_eq!(form(2, 8), Ok(Form::Known(Generation::Compact)));
        assert_eq!(form(2, 12), Ok(Form::Known(Generation::Precedence)));
        assert_eq!(form(3, 12), Ok(Form::Known(Generation::Precedence)));
        for (version, value) in [(1, 8), (1, 12), (2, 24), (3, 8), (2, 16)] {
            assert!(form(version, value).is_err(), "v{version} {value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_decode_or_do_not(key: [u8; 12], value in proptest::collection::vec(0u8.., 0..30)) {
            for generation in
                [Generation::Wildcard, Generation::Prefix, Generation::Compact, Generation::Precedence]
            {
                let _ = decode(generation, &key, &value);
            }
        }
    }
}
