//! The drop note: the arguments of Cilium's drop notification as its tc program leaves them in the five
//! control words of the packet (`__sk_buff.cb[0..5]`) before it says "drop". They are still there when the
//! kernel frees the packet.
//!
//! The note is not signed: any program may leave any word there. The tests here decide what may pass for a
//! note; they have no loop, so that the eBPF program runs them too.

use crate::config::ABSENT;
use crate::id::{EndpointId, Identity};

/// Exit code of a dropping tc program (`TC_ACT_SHOT`), as Cilium writes it into the note.
const TC_ACT_SHOT: u8 = 2;

/// What Cilium said about a drop, read from the packet's control words.
///
/// `_send_drop_notify()` in Cilium's `bpf/lib/drop.h`, 1.13 and later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// 0: the program did not know.
    pub source_identity: Identity,
    /// 0: the program did not know (yet).
    pub destination_identity: Identity,
    /// Drop reason, 130 to 210.
    pub reason: u8,
    pub ext_error: i8,
    /// The destination endpoint of a packet dropped on its way in; 0 on the way out.
    pub endpoint_id: EndpointId,
    /// Always 2 (`TC_ACT_SHOT`): anything else is not taken for a note.
    pub exit_code: u8,
    /// Source file; its name depends on the release.
    pub file_id: u8,
    /// Line in that file, never 0.
    pub line: u16,
}

impl Note {
    /// Reads the control words, or says that they are no note.
    pub const fn parse(words: &[u32; 5]) -> Option<Self> {
        if !is_plausible(words) {
            return None;
        }
        let (reason, ext_error) = reason_and_error(words[2]);
        Some(Self {
            source_identity: Identity(words[0]),
            destination_identity: Identity(words[1]),
            reason,
            ext_error,
            endpoint_id: EndpointId(words[3] as u16),
            exit_code: words[4] as u8,
            file_id: file_id(words[4]),
            line: line(words[4]),
        })
    }
}

/// Whether the control words can be a drop note. Costs a few comparisons and no loop.
#[inline(always)]
pub const fn is_plausible(words: &[u32; 5]) -> bool {
    let (reason, _) = reason_and_error(words[2]);
    words[4] as u8 == TC_ACT_SHOT
        && is_drop_reason(reason)
        && words[3] <= u16::MAX as u32
        && line(words[4]) != 0
        && is_file_id(file_id(words[4]))
}

/// Whether a packet freed with this kernel reason can carry a note: a tc program must have dropped it.
/// `reason` is `None` on kernels without drop reasons, and the numbers of the two tc reasons are
/// [`ABSENT`] on those which have reasons but not these: then nothing speaks against a note.
#[inline(always)]
pub const fn may_follow(reason: Option<u32>, tc_ingress: u32, tc_egress: u32) -> bool {
    match reason {
        None => true,
        Some(_) if tc_ingress == ABSENT && tc_egress == ABSENT => true,
        Some(reason) => reason != ABSENT && (reason == tc_ingress || reason == tc_egress),
    }
}

/// Numbers that Cilium uses for drops, with a few to spare for coming releases.
#[inline(always)]
pub const fn is_drop_reason(reason: u8) -> bool {
    matches!(reason, 130..=210)
}

/// Source file ids of any release from 1.14 to 1.19 (`bpf/source_names_to_ids.h`, `bpf/lib/source_info.h`).
#[inline(always)]
pub const fn is_file_id(id: u8) -> bool {
    matches!(id, 1..=7 | 101..=117)
}

/// Word 2: reason in bits 0..8, extended error in bits 8..16, nothing above. 1.13 may store the negative
/// reason itself; no word can be both, as the upper half is all ones there and zero here. (0, 0) if neither.
#[inline(always)]
const fn reason_and_error(word: u32) -> (u8, i8) {
    if word <= u16::MAX as u32 {
        return (word as u8, (word >> 8) as i8);
    }
    let negated = (word as i32).wrapping_neg();
    if negated > 0 && negated <= u8::MAX as i32 { (negated as u8, 0) } else { (0, 0) }
}

#[inline(always)]
const fn file_id(word: u32) -> u8 {
    (word >> 8) as u8
}

#[inline(always)]
const fn line(word: u32) -> u16 {
    (word >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Policy denied, 50001 → 50002, endpoint 987, bpf_lxc.c (2) line 2101 (0x0835): the drop message of
    /// the ABI notes' test vector "drop v1", as the note's words.
    const DENIED: [u32; 5] = [50001, 50002, 133, 987, 0x0835_0202];

    #[test]
    fn note_of_a_policy_drop_is_read() {
        let note = Note::parse(&DENIED).unwrap();
        assert_eq!(note.source_identity, Identity(50001));
        assert_eq!(note.destination_identity, Identity(50002));
        assert_eq!((note.reason, note.ext_error), (133, 0));
        assert_eq!(note.endpoint_id, EndpointId(987));
        assert_eq!((note.exit_code, note.file_id, note.line), (2, 2, 2101));
    }

    #[test]
    fn extended_error_is_signed() {
        // CT_CREATE_FAILED (155) with -ENOMEM (-12 = 0xf4) in bits 8..16.
        let note = Note::parse(&[1, 2, 0xf49b, 0, 0x0001_6d02]).unwrap();
        assert_eq!((note.reason, note.ext_error), (155, -12));
        assert_eq!(note.endpoint_id, EndpointId(0));
    }

    #[test]
    fn negative_reason_of_1_13_is_read_without_error_code() {
        let note = Note::parse(&[1, 2, -133i32 as u32, 0, 0x0001_0202]).unwrap();
        assert_eq!((note.reason, note.ext_error), (133, 0));
    }

    #[test]
    fn words_that_break_one_rule_are_no_note() {
        let broken = |at: usize, word: u32| {
            let mut words = DENIED;
            words[at] = word;
            is_plausible(&words)
        };
        assert!(is_plausible(&DENIED));
        assert!(!broken(2, 129), "reason below the drops");
        assert!(!broken(2, 211), "reason above the drops");
        assert!(!broken(2, 0x0001_0085), "bits above the extended error");
        assert!(!broken(2, -129i32 as u32), "negative reason below the drops");
        assert!(!broken(2, i32::MIN as u32));
        assert!(!broken(3, 0x1_0000), "endpoint ids have 16 bits");
        assert!(!broken(4, 0x0835_0200), "exit code 0");
        assert!(!broken(4, 0x0835_0207), "exit code 7 (redirect)");
        assert!(!broken(4, 0x0000_0202), "line 0");
        assert!(!broken(4, 0x0835_0002), "file 0");
        assert!(!broken(4, 0x0835_0802), "file 8");
        assert!(!broken(4, 0x0835_6402), "file 100");
        assert!(!broken(4, 0x0835_7602), "file 118");
        assert!(!is_plausible(&[0; 5]));
        assert!(!is_plausible(&[u32::MAX; 5]));
    }

    #[test]
    fn every_file_id_of_the_tables_is_known() {
        assert!((1..=7).chain(101..=117).all(is_file_id));
    }

    #[test]
    fn only_tc_reasons_may_follow_a_note_where_the_kernel_has_them() {
        assert!(may_follow(None, ABSENT, ABSENT));
        assert!(may_follow(Some(2), ABSENT, ABSENT));
        assert!(may_follow(Some(60), 60, 59));
        assert!(may_follow(Some(59), 60, 59));
        assert!(!may_follow(Some(2), 60, 59));
        assert!(!may_follow(Some(ABSENT), 60, ABSENT));
    }
}
