//! The datapath's look-ups and its choice between what they find, done by hand on the bytes of keys and values
//! from sections 3.1 to 3.7 of the ABI notes. The kernel finds the longest prefix. Nothing of tracer is used.

use anyhow::Result;

use crate::node::kernel::bpf::Map;

/// How a release chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    FirstMatch,
    DenyFirst,
    Precedence,
    Aggregated,
}

/// A packet at the policy check.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub egress: bool,
    pub remote: u32,
    pub protocol: u8,
    pub port: u16,
    pub fragment: bool,
    /// Should an entry want authentication: there is one, or the drop reason.
    pub authenticated: Result<(), u8>,
    /// The own cluster.
    pub cluster: u32,
}

/// What a policy verdict message would carry, and the value of the entry that won.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 0: allowed.
    pub drop: u8,
    pub proxy_port: u16,
    pub match_type: u8,
    pub auth: u8,
    pub cookie: u32,
    pub value: Vec<u8>,
}

type Value = Option<Vec<u8>>;

/// Winner, is it the one of the remote identity, the other one.
type Won = (Vec<u8>, bool, Value);

fn word(value: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]])
}

impl Asked {
    pub fn answer(&self, map: &Map, choice: Choice) -> Result<Answer> {
        let found = match choice {
            Choice::FirstMatch => self.first_match(map)?,
            Choice::DenyFirst => self.deny_first(map)?.map(by_length),
            Choice::Precedence => self.by_precedence(map, 0)?.map(by_length),
            Choice::Aggregated => self.by_precedence(map, self.aggregate())?.map(by_length),
        };
        let Some((match_type, (value, _, other))) = found else {
            let drop = if self.fragment { 157 } else { 133 };
            return Ok(Answer { drop, proxy_port: 0, match_type: 0, auth: 0, cookie: 0, value: Vec::new() });
        };
        let has_cookie = matches!(choice, Choice::Precedence | Choice::Aggregated);
        let cookie = if has_cookie { word(&value, 8) } else { 0 };
        if value[2] & 1 != 0 {
            return Ok(Answer { drop: 181, proxy_port: 0, match_type, auth: 0, cookie, value });
        }
        let auth = auth(choice, &value, other.as_deref());
        let drop = if auth == 0 { 0 } else { self.authenticated.err().unwrap_or(0) };
        let proxy_port = u16::from_be_bytes([value[0], value[1]]);
        Ok(Answer { drop, proxy_port, match_type, auth, cookie, value })
    }

    fn look_up(&self, map: &Map, identity: u32) -> Result<Value> {
        let port = if self.fragment { 0 } else { self.port };
        let mut key = [0; 12];
        key[0..4].copy_from_slice(&64u32.to_ne_bytes());
        key[4..8].copy_from_slice(&identity.to_ne_bytes());
        key[8] = self.egress.into();
        key[9] = self.protocol;
        key[10..12].copy_from_slice(&port.to_be_bytes());
        Ok(map.lookup(&key)?)
    }

    /// Section 3.3: bit 1 is wildcard_protocol, bit 2 wildcard_dport.
    fn first_match(&self, map: &Map) -> Result<Option<(u8, Won)>> {
        let (l, a) = (self.look_up(map, self.remote)?, self.look_up(map, 0)?);
        let without = |value: &Value, bit: u8| value.as_ref().is_some_and(|value| value[2] & bit == 0);
        let match_type = if without(&l, 4) {
            2
        } else if without(&a, 4) {
            3
        } else if without(&l, 2) {
            5
        } else if without(&a, 2) {
            6
        } else if l.is_some() {
            1
        } else {
            4
        };
        let own = matches!(match_type, 2 | 5 | 1);
        let (winner, other) = if own { (l, a) } else { (a, l) };
        Ok(winner.map(|winner| (match_type, (winner, own, other))))
    }

    /// Section 3.4: proxy_port_priority is byte 4, the prefix length the upper five bits of byte 2.
    fn deny_first(&self, map: &Map) -> Result<Option<Won>> {
        let l = self.look_up(map, self.remote)?;
        if let Some(l) = &l
            && l[2] & 1 != 0
        {
            return Ok(Some((l.clone(), true, None)));
        }
        let a = self.look_up(map, 0)?;
        Ok(match (l, a) {
            (l, Some(a)) if a[2] & 1 != 0 => Some((a, false, l)),
            (None, Some(a)) => Some((a, false, None)),
            (Some(l), Some(a)) if a[4] > l[4] || (a[4] == l[4] && a[2] >> 3 > l[2] >> 3) => {
                Some((a, false, Some(l)))
            }
            (Some(l), a) => Some((l, true, a)),
            (None, None) => None,
        })
    }

    /// Sections 3.5 and 3.6: precedence is the word at byte 4.
    fn by_precedence(&self, map: &Map, second: u32) -> Result<Option<Won>> {
        let l = self.look_up(map, self.remote)?;
        if let Some(l) = &l
            && word(l, 4) == 0xffff_ffff
        {
            return Ok(Some((l.clone(), true, None)));
        }
        let mut a = self.look_up(map, second)?;
        if l.is_none() && a.is_none() && second != 0 {
            a = self.look_up(map, 0)?;
        }
        Ok(match (l, a) {
            (None, Some(a)) => Some((a, false, None)),
            (Some(l), Some(a))
                if word(&a, 4) > word(&l, 4) || (word(&a, 4) == word(&l, 4) && a[2] >> 3 > l[2] >> 3) =>
            {
                Some((a, false, Some(l)))
            }
            (Some(l), a) => Some((l, true, a)),
            (None, None) => None,
        })
    }

    /// The table of section 3.6.
    fn aggregate(&self) -> u32 {
        match (self.remote, self.remote >> 24) {
            (0, _) => 0,
            (11..=14, _) => self.remote,
            (1..=99, _) => 0,
            (_, 2) => 14,
            (_, 1) => 13,
            _ if self.remote >> 16 & 0xff == self.cluster => 11,
            _ => 12,
        }
    }
}

/// Section 3.7, from 1.17 on.
fn by_length(won: Won) -> (u8, Won) {
    let match_type = match (won.1, won.0[2] >> 3) {
        (true, 0) => 1,
        (true, 1..=8) => 5,
        (true, _) => 2,
        (false, 0) => 4,
        (false, 1..=8) => 6,
        (false, _) => 3,
    };
    (match_type, won)
}

/// Byte 3: the type; from 1.17 on bit 7 says that the rule itself names it.
fn auth(choice: Choice, value: &[u8], other: Option<&[u8]>) -> u8 {
    if choice == Choice::FirstMatch {
        return value[3];
    }
    let own = value[3] & 0x7f;
    match other {
        Some(_) if value[3] & 0x80 != 0 => own,
        Some(other) if choice == Choice::DenyFirst || word(other, 4) == word(value, 4) => {
            own.max(other[3] & 0x7f)
        }
        _ => own,
    }
}
