//! Observation points, trace reasons, match types and authentication types in words: those of Cilium's monitor,
//! and the names and numbers in Hubble's protocol.

use crate::model::notice::{AuthType, MatchType, TracePoint, TraceReason};

/// By number: the monitor's word, and the name in Hubble's `TraceObservationPoint`.
const POINTS: [(&str, &str); 14] = [
    ("to-endpoint", "TO_ENDPOINT"),
    ("to-proxy", "TO_PROXY"),
    ("to-host", "TO_HOST"),
    ("to-stack", "TO_STACK"),
    ("to-overlay", "TO_OVERLAY"),
    ("from-endpoint", "FROM_ENDPOINT"),
    ("from-proxy", "FROM_PROXY"),
    ("from-host", "FROM_HOST"),
    ("from-stack", "FROM_STACK"),
    ("from-overlay", "FROM_OVERLAY"),
    ("from-network", "FROM_NETWORK"),
    ("to-network", "TO_NETWORK"),
    ("from-crypto", "FROM_CRYPTO"),
    ("to-crypto", "TO_CRYPTO"),
];
/// The proxy's: its message carries a port instead of an endpoint.
pub const TO_PROXY: TracePoint = TracePoint(1);
/// Number of `TO_ENDPOINT` in Hubble, where 0 has no meaning.
const HUBBLE_TO_ENDPOINT: u32 = 101;

/// By number: a word, and the name in Hubble's `TraceReason`; `None`: the reason is not known.
const REASONS: [(&str, Option<&str>); 9] = [
    ("new", Some("NEW")),
    ("established", Some("ESTABLISHED")),
    ("reply", Some("REPLY")),
    ("related", Some("RELATED")),
    ("reopened", Some("REOPENED")),
    ("unknown", None),
    ("srv6-encap", Some("SRV6_ENCAP")),
    ("srv6-decap", Some("SRV6_DECAP")),
    ("encrypt-overlay", Some("ENCRYPT_OVERLAY")),
];

const MATCH_TYPES: [&str; 7] = ["none", "L3-Only", "L3-L4", "L4-Only", "all", "L3-Proto", "Proto-Only"];
const AUTH_TYPES: [&str; 3] = ["DISABLED", "SPIRE", "TEST_ALWAYS_FAIL"];

/// As the monitor and `--type trace:…` have it.
pub fn point_name(point: TracePoint) -> Option<&'static str> {
    POINTS.get(usize::from(point.0)).map(|(word, _)| *word)
}

pub fn point_by_name(name: &str) -> Option<TracePoint> {
    POINTS.iter().position(|(word, _)| *word == name).map(|at| TracePoint(at as u8))
}

/// All words for points.
pub fn point_names() -> impl Iterator<Item = &'static str> {
    POINTS.iter().map(|(word, _)| *word)
}

pub fn hubble_point_name(point: TracePoint) -> Option<&'static str> {
    POINTS.get(usize::from(point.0)).map(|(_, name)| *name)
}

pub fn hubble_point(point: TracePoint) -> u32 {
    if point.0 == 0 { HUBBLE_TO_ENDPOINT } else { point.0.into() }
}

pub fn reason_name(reason: TraceReason) -> Option<&'static str> {
    REASONS.get(usize::from(reason.0)).map(|(word, _)| *word)
}

/// Name in Hubble; a number that it does not know has none.
pub fn hubble_reason_name(reason: TraceReason) -> Option<&'static str> {
    REASONS.get(usize::from(reason.0)).and_then(|(_, name)| *name)
}

/// Number in Hubble; 0: not known.
pub fn hubble_reason(reason: TraceReason) -> u32 {
    match reason.0 {
        5 => 0,
        tracked @ 0..5 => u32::from(tracked) + 1,
        other => other.into(),
    }
}

/// Hubble's word.
pub fn match_type_name(match_type: MatchType) -> &'static str {
    MATCH_TYPES.get(usize::from(match_type.0)).unwrap_or(&"unknown")
}

pub fn auth_type_name(auth_type: AuthType) -> Option<&'static str> {
    AUTH_TYPES.get(usize::from(auth_type.0)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule of the ABI notes (4.4): 5 is 0, what connection tracking says is one more, the rest is the same.
    #[test]
    fn reasons_have_hubbles_numbers() {
        let numbers: Vec<u32> = (0..10).map(|reason| hubble_reason(TraceReason(reason))).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 0, 6, 7, 8, 9]);
        assert_eq!(hubble_reason_name(TraceReason(2)), Some("REPLY"));
        assert_eq!((hubble_reason_name(TraceReason(5)), hubble_reason_name(TraceReason(9))), (None, None));
    }

    #[test]
    fn points_are_found_by_their_words() {
        for number in 0..14 {
            let word = point_name(TracePoint(number)).unwrap();
            assert_eq!(point_by_name(word), Some(TracePoint(number)));
        }
        assert_eq!((point_name(TracePoint(14)), point_by_name("to-nowhere")), (None, None));
        assert_eq!((hubble_point(TracePoint(0)), hubble_point(TracePoint(11))), (101, 11));
        assert_eq!(point_by_name("to-network"), Some(TracePoint(11)));
    }

    #[test]
    fn only_what_is_told_is_a_reply() {
        let replies: Vec<Option<bool>> = (0..10).map(|reason| TraceReason(reason).is_reply()).collect();
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(replies, [no, no, yes, no, no, None, None, None, no, None]);
    }
}
