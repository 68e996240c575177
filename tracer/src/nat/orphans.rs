//! Halves of translations that stand alone. An entry is judged on its own by looking up what belongs to it,
//! so that no table has to be kept, and an entry that went away in the meantime is none.

use crate::cilium::nat::{Key, NatEntry};

/// What is looked up in the maps of the node.
pub trait LookUp {
    type Error;

    /// The entry of the same NAT map.
    fn nat(&self, key: &Key) -> Result<Option<NatEntry>, Self::Error>;

    /// Whether connection tracking has the entry; `None`: there is no such map to ask.
    fn connection(&self, protocol: u8, key: &Key) -> Result<Option<bool>, Self::Error>;

    /// Whether connection tracking has the entry and it is one of direct server return.
    fn dsr_connection(&self, protocol: u8, key: &Key) -> Result<bool, Self::Error>;

    /// Whether the address is a frontend, as it is for replies of direct server return.
    fn is_frontend(&self, entry: &NatEntry) -> Result<bool, Self::Error>;
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orphan {
    pub partner: Partner,
    /// Nothing in connection tracking keeps it alive; the agent would remove it.
    pub no_connection: bool,
}

/// What is where the other half must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Partner {
    /// The other half, or none is needed.
    #[default]
    Fits,
    Missing,
    /// A translation of something else.
    Differs,
}

/// Looks at one entry; `None`: nothing is wrong with it, or it is gone.
pub fn judge<L: LookUp>(maps: &L, entry: &NatEntry) -> Result<Option<Orphan>, L::Error> {
    let orphan = Orphan { partner: partner(maps, entry)?, no_connection: !has_connection(maps, entry)? };
    if orphan == Orphan::default() {
        return Ok(None);
    }
    let still = match entry.key() {
        Some(key) => maps.nat(&key)?.as_ref() == Some(entry),
        None => false,
    };
    Ok(still.then_some(orphan))
}

fn partner<L: LookUp>(maps: &L, entry: &NatEntry) -> Result<Partner, L::Error> {
    let found = match entry.partner() {
        Some(key) => maps.nat(&key)?,
        None => None,
    };
    Ok(match found {
        Some(other) if entry.is_undone_by(&other) => Partner::Fits,
        Some(_) => Partner::Differs,
        // Direct server return translates replies only.
        None if maps.is_frontend(entry)? => Partner::Fits,
        None => Partner::Missing,
    })
}

fn has_connection<L: LookUp>(maps: &L, entry: &NatEntry) -> Result<bool, L::Error> {
    let Some(key) = entry.connection() else { return Ok(true) };
    if maps.connection(entry.protocol, &key)? != Some(false) {
        return Ok(true);
    }
    match entry.dsr_connection() {
        Some(key) => maps.dsr_connection(entry.protocol, &key),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::cilium::nat::Direction;

    #[derive(Default)]
    struct Maps {
        nat: Vec<(Vec<u8>, NatEntry)>,
        connections: Option<Vec<Vec<u8>>>,
        dsr: Vec<Vec<u8>>,
        frontend: bool,
    }

    impl LookUp for Maps {
        type Error = Infallible;

        fn nat(&self, key: &Key) -> Result<Option<NatEntry>, Infallible> {
            Ok(self.nat.iter().find(|(k, _)| k == key.bytes()).map(|(_, entry)| *entry))
        }

        fn connection(&self, _: u8, key: &Key) -> Result<Option<bool>, Infallible> {
            Ok(self.connections.as_ref().map(|keys| keys.iter().any(|k| k == key.bytes())))
        }

        fn dsr_connection(&self, _: u8, key: &Key) -> Result<bool, Infallible> {
            Ok(self.dsr.iter().any(|k| k == key.bytes()))
        }

        fn is_frontend(&self, _: &NatEntry) -> Result<bool, Infallible> {
            Ok(self.frontend)
        }
    }

    fn halves() -> [NatEntry; 2] {
        let (pod, node, remote) = ("10.0.1.5:43210", "192.0.2.10:61234", "198.51.100.1:443");
        let socket = |text: &str| text.parse().unwrap();
        let out = NatEntry {
            direction: Direction::Out,
            protocol: 6,
            source: socket(pod),
            destination: socket(remote),
            to: socket(node),
            created: 1,
            needs_ct: false,
        };
        let back = NatEntry {
            direction: Direction::In,
            source: socket(remote),
            destination: socket(node),
            to: socket(pod),
            ..out
        };
        [out, back]
    }

    /// The key of each half is what the other looks for.
    fn keys([out, back]: &[NatEntry; 2]) -> [Key; 2] {
        [back.partner().unwrap(), out.partner().unwrap()]
    }

    fn maps(entries: &[(Key, NatEntry)], connected: bool) -> Maps {
        let connection = entries[0].1.connection().unwrap().bytes().to_vec();
        Maps {
            nat: entries.iter().map(|(key, entry)| (key.bytes().to_vec(), *entry)).collect(),
            connections: Some(if connected { vec![connection] } else { Vec::new() }),
            ..Maps::default()
        }
    }

    #[test]
    fn a_pair_with_its_connection_is_no_orphan() {
        let (halves, [out_key, back_key]) = (halves(), keys(&halves()));
        let maps = maps(&[(out_key, halves[0]), (back_key, halves[1])], true);
        assert_eq!(judge(&maps, &halves[0]), Ok(None));
        assert_eq!(judge(&maps, &halves[1]), Ok(None));
    }

    #[test]
    fn each_half_alone_misses_its_partner() {
        let (halves, keys) = (halves(), keys(&halves()));
        for (entry, key) in halves.iter().zip(keys) {
            let found = judge(&maps(&[(key, *entry)], true), entry).unwrap().unwrap();
            assert_eq!(found, Orphan { partner: Partner::Missing, no_connection: false });
        }
    }

    #[test]
    fn a_partner_of_another_connection_differs() {
        let (halves, [out_key, back_key]) = (halves(), keys(&halves()));
        let stolen = NatEntry { to: "10.0.1.6:1".parse().unwrap(), ..halves[1] };
        let maps = maps(&[(out_key, halves[0]), (back_key, stolen)], true);
        let found = judge(&maps, &halves[0]).unwrap().unwrap();
        assert_eq!(found.partner, Partner::Differs);
    }

    #[test]
    fn a_pair_without_connection_is_told_but_not_when_there_is_nothing_to_ask() {
        let (halves, [out_key, back_key]) = (halves(), keys(&halves()));
        let entries = [(out_key, halves[0]), (back_key, halves[1])];
        let mut maps = maps(&entries, false);
        for (_, entry) in entries {
            let found = judge(&maps, &entry).unwrap().unwrap();
            assert_eq!(found, Orphan { partner: Partner::Fits, no_connection: true });
        }
        maps.connections = None;
        assert_eq!(judge(&maps, &halves[0]), Ok(None));
    }

    #[test]
    fn replies_of_direct_server_return_need_no_partner() {
        let (halves, [out_key, _]) = (halves(), keys(&halves()));
        let mut maps = maps(&[(out_key, halves[0])], false);
        maps.frontend = true;
        maps.dsr = vec![halves[0].dsr_connection().unwrap().bytes().to_vec()];
        assert_eq!(judge(&maps, &halves[0]), Ok(None));
    }

    #[test]
    fn an_entry_that_went_away_meanwhile_is_no_orphan() {
        let halves = halves();
        let maps = Maps { connections: Some(Vec::new()), ..Maps::default() };
        assert_eq!(judge(&maps, &halves[0]), Ok(None));
    }
}
