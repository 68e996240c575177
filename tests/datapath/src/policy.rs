//! One policy decision, with the precedence of the generation that made the map. Values are read at byte
//! offsets, since their size depends on the generation.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use pretend_datapath::policy_form;

use crate::config::config;
use crate::maps::{AUTH, AuthKey, Counters, POLICY, POLICYSTATS, RUNTIME, StatsKey, policy_key};
use crate::report::{EGRESS, reason};
use crate::state::State;

/// What came out, as a policy verdict message tells it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Decision {
    /// 0 allowed, negative drop reason, positive proxy port (as stored).
    pub verdict: i32,
    pub match_type: u8,
    pub auth: u8,
    pub pad: u16,
    pub cookie: u32,
}

mod match_type {
    pub const NONE: u8 = 0;
    pub const L3_ONLY: u8 = 1;
    pub const L3_L4: u8 = 2;
    pub const L4_ONLY: u8 = 3;
    pub const ALL: u8 = 4;
    pub const L3_PROTO: u8 = 5;
    pub const PROTO_ONLY: u8 = 6;
}

const DENY: u8 = 1;
const WILDCARD_PROTOCOL: u8 = 2;
const WILDCARD_PORT: u8 = 4;
const HIGHEST: u32 = u32::MAX;

/// A value in the map; every accessor reads bytes that the generation's value has.
#[derive(Clone, Copy)]
struct Value(*const u8);

impl Value {
    #[inline(always)]
    fn byte(self, offset: usize) -> u8 {
        // SAFETY: `offset` lies in the value of the generation; the verifier checks it against the map.
        unsafe { *self.0.add(offset) }
    }

    #[inline(always)]
    fn word(self, offset: usize) -> u32 {
        // SAFETY: as above; values and the offsets used are aligned to four bytes.
        unsafe { *self.0.add(offset).cast::<u32>() }
    }

    /// Network order, as stored.
    #[inline(always)]
    fn proxy_port(self) -> u16 {
        u16::from_ne_bytes([self.byte(0), self.byte(1)])
    }

    #[inline(always)]
    fn bits(self) -> u8 {
        self.byte(2)
    }

    #[inline(always)]
    fn denies(self) -> bool {
        self.bits() & DENY != 0
    }

    /// Bits of protocol and port that count (1.17 and newer).
    #[inline(always)]
    fn prefix(self) -> u8 {
        self.bits() >> 3
    }

    #[inline(always)]
    fn auth(self) -> u8 {
        self.byte(3)
    }

    #[inline(always)]
    fn proxy_priority(self) -> u8 {
        self.byte(4)
    }

    #[inline(always)]
    fn precedence(self) -> u32 {
        self.word(4)
    }
}

/// The entry that decided.
#[derive(Clone, Copy)]
struct Winner {
    value: Value,
    /// The entry of the remote identity, not the one for any identity.
    own: bool,
    match_type: u8,
    auth: u8,
    cookie: u32,
}

#[inline(always)]
fn look_up(state: &State, identity: u32) -> Option<Value> {
    let key = policy_key(identity, u8::from(state.direction == EGRESS), state.protocol, state.policy_port());
    POLICY.get(&key).map(|value| Value(core::ptr::from_ref(value).cast()))
}

/// 1.16 and older: the first match of a fixed order.
#[inline(always)]
fn by_order(state: &State) -> Option<Winner> {
    let winner =
        |value: Value, own, match_type| Winner { value, own, match_type, auth: value.auth(), cookie: 0 };
    let own = look_up(state, state.remote);
    let any = look_up(state, 0);
    if let Some(own) = own
        && own.bits() & WILDCARD_PORT == 0
    {
        return Some(winner(own, true, match_type::L3_L4));
    }
    if let Some(any) = any
        && any.bits() & WILDCARD_PORT == 0
    {
        return Some(winner(any, false, match_type::L4_ONLY));
    }
    if let Some(own) = own
        && own.bits() & WILDCARD_PROTOCOL == 0
    {
        return Some(winner(own, true, match_type::L3_PROTO));
    }
    if let Some(any) = any
        && any.bits() & WILDCARD_PROTOCOL == 0
    {
        return Some(winner(any, false, match_type::PROTO_ONLY));
    }
    match (own, any) {
        (Some(own), _) => Some(winner(own, true, match_type::L3_ONLY)),
        (None, Some(any)) => Some(winner(any, false, match_type::ALL)),
        (None, None) => None,
    }
}

/// 1.17 and newer.
#[inline(always)]
fn by_rank(state: &State, precedence: bool) -> Option<Winner> {
    let own = look_up(state, state.remote);
    if let Some(own) = own
        && (if precedence { own.precedence() == HIGHEST } else { own.denies() })
    {
        return Some(ranked(own, true, None, precedence));
    }
    let any = look_up(state, 0);
    match (own, any) {
        (Some(own), Some(any)) if any_wins(own, any, precedence) => {
            Some(ranked(any, false, Some(own), precedence))
        }
        (Some(own), any) => Some(ranked(own, true, any, precedence)),
        (None, Some(any)) => Some(ranked(any, false, None, precedence)),
        (None, None) => None,
    }
}

#[inline(always)]
fn any_wins(own: Value, any: Value, precedence: bool) -> bool {
    if precedence {
        return any.precedence() > own.precedence()
            || any.precedence() == own.precedence() && any.prefix() > own.prefix();
    }
    any.denies()
        || any.proxy_priority() > own.proxy_priority()
        || any.proxy_priority() == own.proxy_priority() && any.prefix() > own.prefix()
}

/// Match type, authentication inherited from the other entry, cookie.
#[inline(always)]
fn ranked(value: Value, own: bool, other: Option<Value>, precedence: bool) -> Winner {
    let match_type = match (own, value.prefix()) {
        (true, 0) => match_type::L3_ONLY,
        (true, 1..=8) => match_type::L3_PROTO,
        (true, _) => match_type::L3_L4,
        (false, 0) => match_type::ALL,
        (false, 1..=8) => match_type::PROTO_ONLY,
        (false, _) => match_type::L4_ONLY,
    };
    let explicit = value.auth() & 0x80 != 0;
    let mut auth = value.auth() & 0x7f;
    if let Some(other) = other
        && !explicit
        && (!precedence || other.precedence() == value.precedence())
        && other.auth() & 0x7f > auth
    {
        auth = other.auth() & 0x7f;
    }
    let cookie = if precedence { value.word(8) } else { 0 };
    Winner { value, own, match_type, auth, cookie }
}

/// Counts the packet with its entry: in the value up to 1.17, in a map of its own after that.
#[inline(always)]
fn account(state: &State, winner: &Winner, form: u32) {
    if form == policy_form::WILDCARD_BITS || form == policy_form::PREFIX_LENGTH {
        // SAFETY: the value has 24 bytes; two CPUs may meet here, so the count is Cilium's: nearly right.
        unsafe {
            let packets = winner.value.0.add(8).cast_mut().cast::<u64>();
            *packets += 1;
            *packets.add(1) += u64::from(state.length);
        }
        return;
    }
    let prefix = winner.value.prefix();
    let port = u16::from_be(state.policy_port());
    // Shifting by the width is undefined; 8 bits of protocol come before those of the port.
    let mask = if prefix <= 8 { 0 } else { (0xffff_0000u32 >> (prefix - 8)) as u16 };
    let key = StatsKey {
        endpoint: config!(endpoint) as u16,
        zero: 0,
        prefix,
        identity: if winner.own { state.remote } else { 0 },
        egress: u8::from(state.direction == EGRESS),
        protocol: if prefix < 8 { 0 } else { state.protocol },
        port: (port & mask).to_be(),
    };
    match POLICYSTATS.get_ptr_mut(&key) {
        // SAFETY: the value is two u64 of this CPU.
        Some(counters) => unsafe {
            (*counters).packets += 1;
            (*counters).bytes += u64::from(state.length);
        },
        None => {
            let first = Counters { packets: 1, bytes: state.length.into() };
            let _ = POLICYSTATS.insert(&key, &first, BPF_ANY.into());
        }
    }
}

/// Both identities have shown who they are, recently enough.
#[inline(always)]
fn authenticated(remote: u32, kind: u8) -> bool {
    let key = AuthKey { local: config!(identity), remote, node: 0, kind, zero: 0 };
    // SAFETY: takes no argument.
    let now = unsafe { bpf_ktime_get_ns() } / 512 + RUNTIME.get(0).copied().unwrap_or(0);
    // SAFETY: an aligned u64 is read at once.
    unsafe { AUTH.get(&key) }.is_some_and(|expires| *expires > now)
}

/// Asks the endpoint's policy.
#[inline(always)]
pub fn decide(state: &State) -> Decision {
    let form = config!(policy_form);
    let winner = match form {
        policy_form::WILDCARD_BITS => by_order(state),
        policy_form::PRECEDENCE => by_rank(state, true),
        _ => by_rank(state, false),
    };
    let Some(winner) = winner else {
        return Decision {
            verdict: -i32::from(reason::POLICY),
            match_type: match_type::NONE,
            auth: 0,
            pad: 0,
            cookie: 0,
        };
    };
    account(state, &winner, form);
    let found =
        Decision { verdict: 0, match_type: winner.match_type, auth: 0, pad: 0, cookie: winner.cookie };
    if winner.value.denies() {
        return Decision { verdict: -i32::from(reason::POLICY_DENY), ..found };
    }
    if winner.auth != 0 && !authenticated(state.remote, winner.auth) {
        return Decision { verdict: -i32::from(reason::POLICY_AUTH_REQUIRED), auth: winner.auth, ..found };
    }
    Decision { verdict: winner.value.proxy_port().into(), auth: winner.auth, ..found }
}
