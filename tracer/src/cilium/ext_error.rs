//! The meaning of the extended error byte of a drop: depending on the reason an errno, a result of the FIB
//! look-up, an authentication type or a tail-call slot.

use crate::model::reason::DropReason;

use super::release::{Release, ReleaseRange};

/// The reason whose extended error is a slot.
pub const MISSED_TAIL_CALL: DropReason = DropReason(140);
const FIB_LOOKUP_FAILED: u8 = 169;
const AUTH_REQUIRED: u8 = 189;

/// A decoded extended error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtError {
    /// 0 where 0 means nothing.
    None,
    /// The kernel's positive error number and its name.
    Errno(u8, Option<&'static str>),
    /// `BPF_FIB_LKUP_RET_*`.
    Fib(u8, Option<&'static str>),
    AuthType(u8, Option<&'static str>),
    /// Index into the calls map, or the low byte of an endpoint id when a policy program is missing.
    TailCall(u8, Option<&'static str>),
    /// A positive number that this reason is not known to have.
    Number(i8),
}

impl ExtError {
    pub fn of(reason: DropReason, ext_error: i8, releases: ReleaseRange) -> Self {
        let byte = ext_error.cast_unsigned();
        match (reason.0, ext_error) {
            (code, _) if code == MISSED_TAIL_CALL.0 => Self::TailCall(byte, tail_call(byte, releases)),
            (_, 0) => Self::None,
            (AUTH_REQUIRED, 1..) => Self::AuthType(byte, auth_type(byte)),
            (FIB_LOOKUP_FAILED, 1..) => Self::Fib(byte, fib(byte)),
            (_, 1..) => Self::Number(ext_error),
            (_, ..0) => Self::Errno(ext_error.unsigned_abs(), errno(ext_error.unsigned_abs())),
        }
    }

    /// The name, where there is one.
    pub const fn name(&self) -> Option<&'static str> {
        match self {
            Self::Errno(_, name) | Self::Fib(_, name) | Self::AuthType(_, name) | Self::TailCall(_, name) => {
                *name
            }
            Self::None | Self::Number(_) => None,
        }
    }
}

/// Authentication types of policy entries and drops.
pub fn auth_type(number: u8) -> Option<&'static str> {
    match number {
        0 => Some("disabled"),
        1 => Some("spire"),
        2 => Some("test-always-fail"),
        _ => None,
    }
}

/// Results of the kernel's `bpf_fib_lookup` other than success.
#[rustfmt::skip]
const FIB: [&str; 9] = [
    "blackhole", "unreachable", "prohibit", "not forwarded", "forwarding disabled", "unsupported lwt",
    "no neighbour", "fragmentation needed", "no source address",
];

fn fib(code: u8) -> Option<&'static str> {
    FIB.get(usize::from(code).checked_sub(1)?).copied()
}

/// Linux error names by number, from 1; "" where there is none.
#[rustfmt::skip]
const ERRNO: [&str; 128] = [
    "EPERM", "ENOENT", "ESRCH", "EINTR", "EIO", "ENXIO", "E2BIG", "ENOEXEC", "EBADF", "ECHILD",
    "EAGAIN", "ENOMEM", "EACCES", "EFAULT", "ENOTBLK", "EBUSY", "EEXIST", "EXDEV", "ENODEV", "ENOTDIR",
    "EISDIR", "EINVAL", "ENFILE", "EMFILE", "ENOTTY", "ETXTBSY", "EFBIG", "ENOSPC", "ESPIPE", "EROFS",
    "EMLINK", "EPIPE", "EDOM", "ERANGE", "EDEADLK", "ENAMETOOLONG", "ENOLCK", "ENOSYS", "ENOTEMPTY", "ELOOP",
    "", "ENOMSG", "EIDRM", "ECHRNG", "EL2NSYNC", "EL3HLT", "EL3RST", "ELNRNG", "EUNATCH", "ENOCSI",
    "EL2HLT", "EBADE", "EBADR", "EXFULL", "ENOANO", "EBADRQC", "EBADSLT", "", "EBFONT", "ENOSTR",
    "ENODATA", "ETIME", "ENOSR", "ENONET", "ENOPKG", "EREMOTE", "ENOLINK", "EADV", "ESRMNT", "ECOMM",
    "EPROTO", "EMULTIHOP", "EDOTDOT", "EBADMSG", "EOVERFLOW", "ENOTUNIQ", "EBADFD", "EREMCHG", "ELIBACC", "ELIBBAD",
    "ELIBSCN", "ELIBMAX", "ELIBEXEC", "EILSEQ", "ERESTART", "ESTRPIPE", "EUSERS", "ENOTSOCK", "EDESTADDRREQ", "EMSGSIZE",
    "EPROTOTYPE", "ENOPROTOOPT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "EOPNOTSUPP", "EPFNOSUPPORT", "EAFNOSUPPORT", "EADDRINUSE", "EADDRNOTAVAIL", "ENETDOWN",
    "ENETUNREACH", "ENETRESET", "ECONNABORTED", "ECONNRESET", "ENOBUFS", "EISCONN", "ENOTCONN", "ESHUTDOWN", "ETOOMANYREFS", "ETIMEDOUT",
    "ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH", "EALREADY", "EINPROGRESS", "ESTALE", "EUCLEAN", "ENOTNAM", "ENAVAIL", "EISNAM",
    "EREMOTEIO", "EDQUOT", "ENOMEDIUM", "EMEDIUMTYPE", "ECANCELED", "ENOKEY", "EKEYEXPIRED", "EKEYREVOKED",
];

/// Name of a positive Linux error number.
pub fn errno(number: u8) -> Option<&'static str> {
    let name = *ERRNO.get(usize::from(number).checked_sub(1)?)?;
    (!name.is_empty()).then_some(name)
}

/// Releases whose slots [`SLOTS`] numbers; later ones were renumbered.
const SLOTS_KNOWN: ReleaseRange = ReleaseRange { lowest: Release(14), highest: Release(17) };

/// Slots of the calls maps: number, first and last release (1.N) with that use, what the program does.
#[rustfmt::skip]
const SLOTS: [(u8, u8, u8, &str); 48] = [
    (1, 14, 17, "drop notification"),
    (2, 14, 17, "error notification"),
    (4, 14, 17, "ICMPv6 neighbour solicitation"),
    (5, 14, 17, "ICMPv6 time exceeded"),
    (6, 14, 17, "ARP"),
    (7, 14, 17, "IPv4 from endpoint, device or overlay"),
    (8, 14, 17, "NAT 4 to 6"),
    (9, 14, 17, "NAT 6 to 4"),
    (10, 14, 17, "IPv6 from endpoint, device or overlay"),
    (11, 14, 17, "IPv4 to endpoint or host, policy only"),
    (12, 14, 17, "IPv6 to endpoint or host, policy only"),
    (13, 14, 17, "IPv4 to endpoint"),
    (14, 14, 17, "IPv6 to endpoint"),
    (15, 14, 17, "node port NAT egress IPv4"),
    (16, 14, 17, "node port NAT egress IPv6"),
    (17, 14, 17, "node port reverse NAT IPv4"),
    (18, 14, 17, "node port reverse NAT IPv6"),
    (19, 14, 17, "node port NAT forward IPv4"),
    (20, 14, 17, "node port DSR IPv4"),
    (21, 14, 17, "node port DSR IPv6"),
    (22, 14, 17, "IPv4 from host"),
    (23, 14, 17, "IPv6 from host"),
    (24, 14, 17, "node port NAT forward IPv6"),
    (25, 14, 17, "IPv4 from endpoint, continued"),
    (26, 14, 17, "IPv6 from endpoint, continued"),
    (27, 14, 17, "connection tracking ingress IPv4"),
    (28, 14, 17, "connection tracking ingress IPv4, policy only"),
    (29, 14, 17, "connection tracking egress IPv4"),
    (30, 14, 17, "connection tracking ingress IPv6"),
    (31, 14, 17, "connection tracking ingress IPv6, policy only"),
    (32, 14, 17, "connection tracking egress IPv6"),
    (33, 14, 17, "SRv6 encapsulation"),
    (34, 14, 17, "SRv6 decapsulation"),
    (35, 14, 15, "SRv6 reply"),
    (36, 14, 17, "node port NAT ingress IPv4"),
    (37, 14, 17, "node port NAT ingress IPv6"),
    (38, 14, 17, "node port SNAT forward IPv4"),
    (39, 14, 17, "node port SNAT forward IPv6"),
    (40, 14, 14, "node port DSR ingress IPv4"),
    (41, 14, 14, "node port DSR ingress IPv6"),
    (42, 14, 17, "reverse SNAT between clusters"),
    (43, 14, 17, "IPv4 from host, continued"),
    (44, 14, 17, "IPv4 from device, continued"),
    (45, 14, 17, "IPv6 from host, continued"),
    (46, 14, 17, "IPv6 from device, continued"),
    (47, 15, 17, "no service IPv4"),
    (48, 15, 17, "no service IPv6"),
    (49, 16, 17, "multicast delivery"),
];

/// One use of a slot of the calls maps.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub number: u8,
    pub first: Release,
    pub last: Release,
    pub program: &'static str,
}

/// All uses that are known, by number.
pub fn slots() -> impl Iterator<Item = Slot> {
    SLOTS.iter().map(|(number, first, last, program)| Slot {
        number: *number,
        first: Release(*first),
        last: Release(*last),
        program,
    })
}

fn tail_call(slot: u8, releases: ReleaseRange) -> Option<&'static str> {
    if releases.intersect(SLOTS_KNOWN) != Some(releases) {
        return None;
    }
    let used = |first, last| {
        releases.intersect(ReleaseRange { lowest: Release(first), highest: Release(last) }).is_some()
    };
    SLOTS.iter().find(|(number, first, last, _)| *number == slot && used(*first, *last)).map(|row| row.3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: ReleaseRange = ReleaseRange { lowest: Release(16), highest: Release(17) };

    fn of(reason: u8, ext_error: i8) -> ExtError {
        ExtError::of(DropReason(reason), ext_error, OLD)
    }

    #[test]
    fn the_reason_decides_what_the_number_means() {
        assert_eq!(of(133, 0), ExtError::None);
        assert_eq!(of(155, -12), ExtError::Errno(12, Some("ENOMEM")));
        assert_eq!(of(169, 7), ExtError::Fib(7, Some("no neighbour")));
        assert_eq!(of(169, -22), ExtError::Errno(22, Some("EINVAL")));
        assert_eq!(of(189, 1), ExtError::AuthType(1, Some("spire")));
        assert_eq!(of(140, 13), ExtError::TailCall(13, Some("IPv4 to endpoint")));
        assert_eq!(of(133, 5), ExtError::Number(5));
    }

    #[test]
    fn unknown_numbers_stay_numbers() {
        assert_eq!(of(169, 10).name(), None);
        assert_eq!(of(189, 3).name(), None);
        assert_eq!(of(155, -41).name(), None);
        assert_eq!(of(140, 3).name(), None);
        assert_eq!(of(140, -56), ExtError::TailCall(200, None));
        assert_eq!(of(134, i8::MIN), ExtError::Errno(128, Some("EKEYREVOKED")));
    }

    /// Numbers from the kernel's headers, as libc has them.
    #[test]
    fn error_names_stand_at_their_numbers() {
        for (number, name) in [
            (libc::E2BIG, "E2BIG"),
            (libc::EBUSY, "EBUSY"),
            (libc::ENOSPC, "ENOSPC"),
            (libc::ELOOP, "ELOOP"),
            (libc::ENOMSG, "ENOMSG"),
            (libc::EBFONT, "EBFONT"),
            (libc::EMSGSIZE, "EMSGSIZE"),
            (libc::EOPNOTSUPP, "EOPNOTSUPP"),
            (libc::ENETUNREACH, "ENETUNREACH"),
            (libc::EHOSTUNREACH, "EHOSTUNREACH"),
            (libc::EREMOTEIO, "EREMOTEIO"),
            (libc::EKEYREVOKED, "EKEYREVOKED"),
        ] {
            assert_eq!(errno(number as u8), Some(name));
        }
    }

    /// Section 5.3 of the ABI notes: 1, 2, 4 to 49.
    #[test]
    fn slots_have_a_name_only_in_the_releases_that_number_them_so() {
        let exactly = |minor| ReleaseRange::exactly(Release(minor));
        let count = |range| (0..=255).filter(|slot| tail_call(*slot, range).is_some()).count();
        assert_eq!(count(exactly(14)), 48 - 3);
        assert_eq!(count(exactly(15)), 48 - 3);
        assert_eq!(count(exactly(17)), 48 - 3);
        assert_eq!(count(exactly(18)), 0);
        assert_eq!(count(ReleaseRange::ANY), 0);
    }

    /// Section 5.3 of the ABI notes: 1 to 9.
    #[test]
    fn fib_results_are_nine() {
        assert_eq!((0..=255).filter(|code| fib(*code).is_some()).count(), 9);
        assert_eq!(fib(1), Some("blackhole"));
        assert_eq!(fib(9), Some("no source address"));
    }
}
