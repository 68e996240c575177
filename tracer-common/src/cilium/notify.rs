//! Cilium's notifications, as its tc and XDP programs hand them to the perf event map `cilium_events`:
//! drop, trace, policy verdict, debug, debug capture. The packet bytes that follow a notification are not
//! part of it; the length given to the helper tells where they start.
//!
//! The generations of one message only ever grew at the end, so that the fields of an older one are read
//! from a newer one too. [`Message::parse`] reads no further than both the length and the version byte
//! allow: an extension of a vendor, or a coming release, is read by the fields known here.
//!
//! All numbers are in host byte order; identities are 0 where the program did not know one.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::id::{EndpointId, Identity};

/// First byte of a notification (`CILIUM_NOTIFY_*`, `bpf/lib/common.h`).
pub mod kind {
    pub const DROP: u8 = 1;
    pub const DEBUG: u8 = 2;
    pub const DEBUG_CAPTURE: u8 = 3;
    pub const TRACE: u8 = 4;
    pub const POLICY_VERDICT: u8 = 5;
}

/// `NOTIFY_CAPTURE_HDR` in `bpf/lib/common.h` (1.18+: `bpf/lib/notify.h`): how every notification with a
/// packet begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CaptureHeader {
    /// One of [`kind`].
    pub kind: u8,
    /// Drop reason, observation point, debug sub-type, or 0.
    pub subtype: u8,
    /// Id of the endpoint whose program sent this; 0 for overlay, XDP and WireGuard programs.
    pub source: u16,
    /// The packet's hash, 0 if it has none yet.
    pub hash: u32,
    /// Full length of the packet with its link-layer header.
    pub original_length: u32,
    /// Bytes of it that follow the notification.
    pub captured_length: u16,
    /// Generation of the message. Up to 1.17 a 16-bit field, which reads the same while it is small.
    pub version: u8,
    /// Not 0: a vendor's build appended fields of its own.
    pub extension_version: u8,
}

/// Drop, Cilium 1.12 and older: `struct drop_notify` in `bpf/lib/drop.h`, before it told the place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DropV0 {
    pub head: CaptureHeader,
    pub source_label: u32,
    pub destination_label: u32,
    pub destination_id: u32,
    pub unused: u32,
}

/// Drop, Cilium 1.13 to 1.17: `struct drop_notify`, `NOTIFY_DROP_VER` 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DropV1 {
    pub head: CaptureHeader,
    pub source_label: u32,
    pub destination_label: u32,
    /// Destination endpoint of a packet dropped on its way in; 0 on the way out.
    pub destination_id: u32,
    /// Line in `file`, of exactly the release that runs.
    pub line: u16,
    /// Number of the source file; which file it is depends on the release.
    pub file: u8,
    /// What it says depends on the reason: an errno, a helper's return code, a slot.
    pub ext_error: i8,
    /// Device that the program runs on.
    pub ifindex: u32,
}

/// Drop, Cilium 1.18.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DropV2 {
    pub base: DropV1,
    /// [`PacketFlags`].
    pub flags: u8,
    pub pad: [u8; 3],
}

/// Drop, Cilium 1.19 and 1.20.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DropV3 {
    pub base: DropV2,
    /// Value of the configured IP option, 0 for none.
    pub ip_trace_id: u64,
}

/// Trace, first generation: `struct trace_notify` in `bpf/lib/trace.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TraceV0 {
    pub head: CaptureHeader,
    pub source_label: u32,
    pub destination_label: u32,
    /// Endpoint id on the way to an endpoint, proxy port (host order) on the way to the proxy, else 0.
    pub destination_id: u16,
    /// Bits 0..7: why; bit 7: the packet was encrypted.
    pub reason: u8,
    /// Up to 1.17 only bit 0; the meaning is that of [`PacketFlags`].
    pub flags: u8,
    pub ifindex: u32,
}

/// Trace, Cilium 1.9 to 1.18.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TraceV1 {
    pub base: TraceV0,
    /// Source address before SNAT, IPv4 in the first 4 bytes; all zero: none.
    pub original_ip: [u8; 16],
}

/// Trace, Cilium 1.19 and 1.20.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TraceV2 {
    pub base: TraceV1,
    /// Value of the configured IP option, 0 for none.
    pub ip_trace_id: u64,
}

/// Policy verdict up to Cilium 1.18: `struct policy_verdict_notify` in `bpf/lib/policy_log.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VerdictV1 {
    pub head: CaptureHeader,
    /// The other end: source on the way in, destination on the way out.
    pub remote_label: u32,
    /// Below 0: minus the drop reason; 0: allowed; above: redirected to the proxy port (network order).
    pub verdict: i32,
    /// Host order.
    pub destination_port: u16,
    pub protocol: u8,
    /// [`VerdictBits`].
    pub bits: u8,
    pub auth_type: u8,
    pub pad: [u8; 3],
}

/// Policy verdict of Cilium 1.19 and later. The version byte did not change with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VerdictV2 {
    pub base: VerdictV1,
    /// Leads to the log string of the rule.
    pub cookie: u32,
    pub pad: u32,
}

/// Debug message: `struct debug_msg` in `bpf/lib/dbg.h`. It has no packet and no capture header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DebugMessage {
    pub kind: u8,
    pub subtype: u8,
    pub source: u16,
    pub hash: u32,
    pub args: [u32; 3],
}

/// Debug capture: `struct debug_capture_msg` in `bpf/lib/dbg.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DebugCapture {
    pub head: CaptureHeader,
    pub args: [u32; 2],
}

const _: () = {
    assert!(size_of::<CaptureHeader>() == 16);
    assert!(size_of::<DropV0>() == 32);
    assert!(size_of::<DropV1>() == 36);
    assert!(size_of::<DropV2>() == 40);
    assert!(size_of::<DropV3>() == 48);
    assert!(size_of::<TraceV0>() == 32);
    assert!(size_of::<TraceV1>() == 48);
    assert!(size_of::<TraceV2>() == 56);
    assert!(size_of::<VerdictV1>() == 32);
    assert!(size_of::<VerdictV2>() == 40);
    assert!(size_of::<DebugMessage>() == 20);
    assert!(size_of::<DebugCapture>() == 24);
};

/// What Cilium says about the captured packet (drop from 1.18 on; trace: bit 0 in all releases).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketFlags(pub u8);

impl PacketFlags {
    pub const fn is_ipv6(self) -> bool {
        self.0 & 1 << 0 != 0
    }

    /// The packet has no link-layer header.
    pub const fn is_l3_device(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// The packet is encapsulated in VXLAN.
    pub const fn is_vxlan(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// The packet is encapsulated in Geneve.
    pub const fn is_geneve(self) -> bool {
        self.0 & 1 << 3 != 0
    }
}

/// The bit-field byte of a policy verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerdictBits(pub u8);

impl VerdictBits {
    /// 1 ingress, 2 egress.
    pub const fn direction(self) -> u8 {
        self.0 & 0b11
    }

    pub const fn is_ipv6(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// How specific the policy entry was that decided.
    pub const fn match_type(self) -> u8 {
        self.0 >> 3 & 0b111
    }

    /// Policy audit mode let a denied packet pass.
    pub const fn is_audited(self) -> bool {
        self.0 & 1 << 6 != 0
    }

    /// The packet has no link-layer header (1.18 and later).
    pub const fn is_l3_device(self) -> bool {
        self.0 & 1 << 7 != 0
    }
}

/// Which layout a drop message has. It tells the release as well as anything in the message does, and
/// decides which table of file ids applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropGeneration {
    /// Up to 1.12.
    V0,
    /// 1.13 to 1.17.
    V1,
    /// 1.18.
    V2,
    /// 1.19 and later.
    V3,
}

impl DropGeneration {
    /// Bytes of the message without extensions.
    pub const fn length(self) -> usize {
        match self {
            Self::V0 => size_of::<DropV0>(),
            Self::V1 => size_of::<DropV1>(),
            Self::V2 => size_of::<DropV2>(),
            Self::V3 => size_of::<DropV3>(),
        }
    }
}

/// A drop message of any generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drop {
    pub head: CaptureHeader,
    pub generation: DropGeneration,
    /// False: length and version byte name different generations; only what both share was read.
    pub layout_agrees: bool,
    pub source_identity: Identity,
    pub destination_identity: Identity,
    /// The destination endpoint of a packet dropped on its way in; 0 on the way out.
    pub destination_endpoint: EndpointId,
    /// 0 in [`DropGeneration::V0`], and file id 0 names no file.
    pub line: u16,
    pub file_id: u8,
    pub ext_error: i8,
    /// 0 in [`DropGeneration::V0`].
    pub ifindex: u32,
    /// From [`DropGeneration::V2`] on.
    pub flags: Option<PacketFlags>,
    /// 0 for none.
    pub ip_trace_id: u64,
}

impl Drop {
    /// Drop reason, 130 and above.
    pub const fn reason(&self) -> u8 {
        self.head.subtype
    }

    /// Endpoint whose program dropped the packet; 0 for overlay, XDP and WireGuard programs.
    pub const fn emitter(&self) -> EndpointId {
        EndpointId(self.head.source)
    }

    fn parse(bytes: &[u8]) -> Result<Self, NotifyError> {
        let (v0, _) = DropV0::read_from_prefix(bytes).map_err(|_| NotifyError::short::<DropV0>(bytes))?;
        let by_length = match bytes.len() {
            ..36 => DropGeneration::V0,
            36..40 => DropGeneration::V1,
            40..48 => DropGeneration::V2,
            48.. => DropGeneration::V3,
        };
        let by_version = match v0.head.version {
            0 => DropGeneration::V0,
            1 => DropGeneration::V1,
            2 => DropGeneration::V2,
            _ => DropGeneration::V3,
        };
        // Releases up to 1.12 counted from 1 too: nothing but the length tells these two apart.
        let old = by_length == DropGeneration::V0 && v0.head.version <= 1;
        let mut drop = Self {
            head: v0.head,
            generation: by_length.min(by_version),
            layout_agrees: old || by_length == by_version || v0.head.extension_version != 0,
            source_identity: Identity(v0.source_label),
            destination_identity: Identity(v0.destination_label),
            destination_endpoint: u16::try_from(v0.destination_id).map_or(EndpointId(0), EndpointId),
            line: 0,
            file_id: 0,
            ext_error: 0,
            ifindex: 0,
            flags: None,
            ip_trace_id: 0,
        };
        drop.read_place(bytes);
        drop.read_flags(bytes);
        drop.read_trace_id(bytes);
        Ok(drop)
    }

    fn read_place(&mut self, bytes: &[u8]) {
        if self.generation >= DropGeneration::V1
            && let Ok((v1, _)) = DropV1::read_from_prefix(bytes)
        {
            (self.line, self.file_id, self.ext_error) = (v1.line, v1.file, v1.ext_error);
            self.ifindex = v1.ifindex;
        }
    }

    fn read_flags(&mut self, bytes: &[u8]) {
        if self.generation >= DropGeneration::V2
            && let Ok((v2, _)) = DropV2::read_from_prefix(bytes)
        {
            self.flags = Some(PacketFlags(v2.flags));
        }
    }

    fn read_trace_id(&mut self, bytes: &[u8]) {
        if self.generation >= DropGeneration::V3
            && let Ok((v3, _)) = DropV3::read_from_prefix(bytes)
        {
            self.ip_trace_id = v3.ip_trace_id;
        }
    }
}

/// A trace message of any generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub head: CaptureHeader,
    pub source_identity: Identity,
    pub destination_identity: Identity,
    /// Endpoint id or proxy port, by the observation point.
    pub destination_id: u16,
    /// Why: 0 new, 1 established, 2 reply, 3 related, 4 reopened, 5 unknown, 6 and 7 SRv6, 8 overlay to encrypt.
    pub reason: u8,
    pub encrypted: bool,
    pub flags: PacketFlags,
    pub ifindex: u32,
    /// Source address before SNAT (`flags` tells the family), `None` if it did not change.
    pub original_ip: Option<[u8; 16]>,
    /// 0 for none.
    pub ip_trace_id: u64,
}

impl Trace {
    /// Observation point (`TRACE_*` in `bpf/lib/trace.h`).
    pub const fn point(&self) -> u8 {
        self.head.subtype
    }

    fn parse(bytes: &[u8]) -> Result<Self, NotifyError> {
        let (v0, _) = TraceV0::read_from_prefix(bytes).map_err(|_| NotifyError::short::<TraceV0>(bytes))?;
        let version = v0.head.version;
        let v1 = TraceV1::read_from_prefix(bytes).ok().filter(|_| version >= 1);
        let v2 = TraceV2::read_from_prefix(bytes).ok().filter(|_| version >= 2);
        Ok(Self {
            head: v0.head,
            source_identity: Identity(v0.source_label),
            destination_identity: Identity(v0.destination_label),
            destination_id: v0.destination_id,
            reason: v0.reason & 0x7f,
            encrypted: v0.reason & 0x80 != 0,
            flags: PacketFlags(v0.flags),
            ifindex: v0.ifindex,
            original_ip: v1.map(|(v1, _)| v1.original_ip).filter(|ip| ip != &[0; 16]),
            ip_trace_id: v2.map_or(0, |(v2, _)| v2.ip_trace_id),
        })
    }
}

/// A policy verdict of any generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub head: CaptureHeader,
    /// The other end: source on the way in, destination on the way out.
    pub remote_identity: Identity,
    pub outcome: Outcome,
    pub destination_port: u16,
    pub protocol: u8,
    pub bits: VerdictBits,
    pub auth_type: u8,
    /// 1.19 and later.
    pub cookie: Option<u32>,
}

/// What a policy verdict says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    /// With the drop reason.
    Denied(u8),
    /// To the proxy at this port (host order).
    Redirected(u16),
    /// A number with no meaning in any known release.
    Unknown(i32),
}

impl Outcome {
    const fn new(raw: i32) -> Self {
        match raw {
            0 => Self::Allowed,
            -255..=-1 => Self::Denied(raw.unsigned_abs() as u8),
            1..=0xffff => Self::Redirected(u16::from_be(raw as u16)),
            _ => Self::Unknown(raw),
        }
    }
}

impl Verdict {
    /// The endpoint whose policy decided.
    pub const fn endpoint(&self) -> EndpointId {
        EndpointId(self.head.source)
    }

    fn parse(bytes: &[u8]) -> Result<Self, NotifyError> {
        let (v1, _) =
            VerdictV1::read_from_prefix(bytes).map_err(|_| NotifyError::short::<VerdictV1>(bytes))?;
        // With an extension the length does not tell whether the cookie is there.
        let v2 = VerdictV2::read_from_prefix(bytes).ok().filter(|_| v1.head.extension_version == 0);
        Ok(Self {
            head: v1.head,
            remote_identity: Identity(v1.remote_label),
            outcome: Outcome::new(v1.verdict),
            destination_port: v1.destination_port,
            protocol: v1.protocol,
            bits: VerdictBits(v1.bits),
            auth_type: v1.auth_type,
            cookie: v2.map(|(v2, _)| v2.cookie),
        })
    }
}

/// A notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    Drop(Drop),
    Trace(Trace),
    Verdict(Verdict),
    Debug(DebugMessage),
    DebugCapture(DebugCapture),
}

/// Why bytes were not taken for a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyError {
    Empty,
    /// No tc or XDP program of a known release sends this type.
    UnknownKind {
        kind: u8,
        length: usize,
    },
    /// Shorter than the oldest generation of its type.
    Short {
        kind: u8,
        length: usize,
        expected: usize,
    },
}

impl NotifyError {
    fn short<T>(bytes: &[u8]) -> Self {
        Self::Short {
            kind: bytes.first().copied().unwrap_or_default(),
            length: bytes.len(),
            expected: size_of::<T>(),
        }
    }
}

impl fmt::Display for NotifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "notification of 0 bytes"),
            Self::UnknownKind { kind, length } => {
                write!(f, "notification of unknown type {kind} ({length} bytes)")
            }
            Self::Short { kind, length, expected } => {
                write!(f, "notification of type {kind}: {length} bytes, expected at least {expected}")
            }
        }
    }
}

impl core::error::Error for NotifyError {}

impl Message {
    /// Reads a notification; `bytes` must end where the packet starts.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotifyError> {
        match bytes.first().copied() {
            None => Err(NotifyError::Empty),
            Some(kind::DROP) => Drop::parse(bytes).map(Self::Drop),
            Some(kind::TRACE) => Trace::parse(bytes).map(Self::Trace),
            Some(kind::POLICY_VERDICT) => Verdict::parse(bytes).map(Self::Verdict),
            Some(kind::DEBUG) => read::<DebugMessage>(bytes).map(Self::Debug),
            Some(kind::DEBUG_CAPTURE) => read::<DebugCapture>(bytes).map(Self::DebugCapture),
            Some(kind) => Err(NotifyError::UnknownKind { kind, length: bytes.len() }),
        }
    }
}

fn read<T: FromBytes>(bytes: &[u8]) -> Result<T, NotifyError> {
    T::read_from_prefix(bytes).map(|(value, _)| value).map_err(|_| NotifyError::short::<T>(bytes))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    // Test vectors of the ABI notes (appendix A): drop v1, trace v1 and verdict v1 were made a second time
    // by a C compiler from the headers of Cilium 1.17.
    const DROP_V1: &str = "0185db03 4d3c2b1a 4a000000 4a000100 51c30000 52c30000 db030000 35080200 1b000000";
    const DROP_V2: &str =
        "01a90000 00000000 dc050000 80000200 01000000 00000000 00000000 b8016907 02000000 01000000";
    const DROP_V3: &str = "01bddb03 05000000 4a000000 4a000300 51c30000 52c30000 db030000 98080201 1b000000 \
                           00000000 67120000 00000000";
    const TRACE_V1: &str = "0400d204 09000000 42000000 42000100 52c30000 51c30000 d2048100 1b000000 00000000 \
                            00000000 00000000 00000000";
    const VERDICT_V1: &str = "0500db03 4d3c2b1a 4a000000 4a000100 51c30000 7bffffff 901f0601 00000000";
    const VERDICT_V2: &str =
        "0500d204 03000000 4a000000 4a000100 52c30000 00000000 901f0612 00000000 4d000000 00000000";

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let value = |digit: u8| (digit as char).to_digit(16).unwrap() as u8;
        digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
    }

    fn drop_of(bytes: &[u8]) -> Drop {
        match Message::parse(bytes) {
            Ok(Message::Drop(drop)) => drop,
            other => panic!("no drop: {other:?}"),
        }
    }

    fn verdict_of(bytes: &[u8]) -> Verdict {
        match Message::parse(bytes) {
            Ok(Message::Verdict(verdict)) => verdict,
            other => panic!("no verdict: {other:?}"),
        }
    }

    fn trace_of(bytes: &[u8]) -> Trace {
        match Message::parse(bytes) {
            Ok(Message::Trace(trace)) => trace,
            other => panic!("no trace: {other:?}"),
        }
    }

    #[test]
    fn drop_v1_is_policy_denied_to_endpoint_987() {
        let drop = drop_of(&hex(DROP_V1));
        assert_eq!(drop.generation, DropGeneration::V1);
        assert!(drop.layout_agrees);
        assert_eq!(drop.reason(), 133);
        assert_eq!(drop.emitter(), EndpointId(987));
        assert_eq!(drop.head.hash, 0x1a2b_3c4d);
        assert_eq!((drop.head.original_length, drop.head.captured_length), (74, 74));
        assert_eq!(drop.source_identity, Identity(50001));
        assert_eq!(drop.destination_identity, Identity(50002));
        assert_eq!(drop.destination_endpoint, EndpointId(987));
        assert_eq!((drop.file_id, drop.line, drop.ext_error), (2, 2101, 0));
        assert_eq!(drop.ifindex, 27);
        assert_eq!((drop.flags, drop.ip_trace_id), (None, 0));
    }

    #[test]
    fn drop_v2_is_fib_lookup_failed_on_ipv6() {
        let drop = drop_of(&hex(DROP_V2));
        assert_eq!(drop.generation, DropGeneration::V2);
        assert!(drop.layout_agrees);
        assert_eq!((drop.reason(), drop.ext_error), (169, 7));
        assert_eq!((drop.file_id, drop.line), (105, 440));
        assert_eq!((drop.head.original_length, drop.head.captured_length), (1500, 128));
        assert_eq!((drop.source_identity, drop.destination_identity), (Identity::HOST, Identity(0)));
        assert_eq!(drop.ifindex, 2);
        let flags = drop.flags.unwrap();
        assert!(flags.is_ipv6() && !flags.is_l3_device() && !flags.is_vxlan() && !flags.is_geneve());
    }

    #[test]
    fn drop_v3_is_authentication_required_with_trace_id() {
        let drop = drop_of(&hex(DROP_V3));
        assert_eq!(drop.generation, DropGeneration::V3);
        assert!(drop.layout_agrees);
        assert_eq!((drop.reason(), drop.ext_error), (189, 1));
        assert_eq!((drop.file_id, drop.line), (2, 2200));
        assert_eq!(drop.flags, Some(PacketFlags(0)));
        assert_eq!(drop.ip_trace_id, 4711);
    }

    #[test]
    fn trace_v1_is_to_endpoint_established_encrypted() {
        let trace = trace_of(&hex(TRACE_V1));
        assert_eq!((trace.point(), trace.reason, trace.encrypted), (0, 1, true));
        assert_eq!(trace.destination_id, 1234);
        assert_eq!((trace.source_identity, trace.destination_identity), (Identity(50002), Identity(50001)));
        assert_eq!((trace.ifindex, trace.original_ip, trace.ip_trace_id), (27, None, 0));
    }

    #[test]
    fn trace_v2_carries_original_ip_and_trace_id() {
        let mut bytes = hex(TRACE_V1);
        bytes[14] = 2;
        bytes[32..36].copy_from_slice(&[10, 0, 1, 5]);
        bytes.extend([0x67, 0x12, 0, 0, 0, 0, 0, 0]);
        let trace = trace_of(&bytes);
        assert_eq!(trace.original_ip.unwrap()[..4], [10, 0, 1, 5]);
        assert_eq!(trace.ip_trace_id, 4711);
    }

    #[test]
    fn verdict_v1_is_ingress_deny() {
        let verdict = verdict_of(&hex(VERDICT_V1));
        assert_eq!(verdict.outcome, Outcome::Denied(133));
        assert_eq!(verdict.remote_identity, Identity(50001));
        assert_eq!((verdict.destination_port, verdict.protocol), (8080, 6));
        assert_eq!((verdict.bits.direction(), verdict.bits.match_type()), (1, 0));
        assert_eq!((verdict.endpoint(), verdict.cookie), (EndpointId(987), None));
    }

    #[test]
    fn verdict_v2_is_egress_allow_with_cookie() {
        let verdict = verdict_of(&hex(VERDICT_V2));
        assert_eq!(verdict.outcome, Outcome::Allowed);
        assert_eq!(verdict.remote_identity, Identity(50002));
        assert_eq!((verdict.bits.direction(), verdict.bits.match_type()), (2, 2));
        assert!(!verdict.bits.is_ipv6() && !verdict.bits.is_audited() && !verdict.bits.is_l3_device());
        assert_eq!(verdict.cookie, Some(77));
    }

    #[test]
    fn redirect_port_is_read_in_network_order() {
        // 14001 = 0x36b1, stored as the bytes 36 b1.
        assert_eq!(Outcome::new(i32::from_le_bytes([0x36, 0xb1, 0, 0])), Outcome::Redirected(14001));
        assert_eq!(Outcome::new(-300), Outcome::Unknown(-300));
        assert_eq!(Outcome::new(0x1_0000), Outcome::Unknown(0x1_0000));
    }

    #[test]
    fn drop_of_1_12_has_no_place() {
        let mut bytes = hex(DROP_V1);
        bytes.truncate(32);
        let drop = drop_of(&bytes);
        assert_eq!(drop.generation, DropGeneration::V0);
        assert!(drop.layout_agrees);
        assert_eq!((drop.reason(), drop.line, drop.file_id, drop.ifindex), (133, 0, 0, 0));
    }

    #[test]
    fn every_truncated_vector_is_short_or_an_older_generation() {
        for (vector, shortest) in
            [(DROP_V1, 32), (DROP_V2, 32), (DROP_V3, 32), (TRACE_V1, 32), (VERDICT_V1, 32), (VERDICT_V2, 32)]
        {
            let bytes = hex(vector);
            for length in 1..shortest {
                let expected = NotifyError::Short { kind: bytes[0], length, expected: shortest };
                assert_eq!(Message::parse(&bytes[..length]), Err(expected));
            }
            for length in shortest..bytes.len() {
                assert!(Message::parse(&bytes[..length]).is_ok(), "{vector} cut to {length}");
            }
        }
        assert_eq!(Message::parse(&[]), Err(NotifyError::Empty));
    }

    #[test]
    fn truncated_drop_gives_the_fields_that_are_whole() {
        let bytes = hex(DROP_V3);
        let cut = drop_of(&bytes[..47]);
        assert_eq!((cut.generation, cut.layout_agrees), (DropGeneration::V2, false));
        assert_eq!((cut.line, cut.flags, cut.ip_trace_id), (2200, Some(PacketFlags(0)), 0));
        let cut = drop_of(&bytes[..39]);
        assert_eq!((cut.generation, cut.flags), (DropGeneration::V1, None));
    }

    #[test]
    fn drop_longer_than_known_is_read_by_its_known_fields() {
        let mut bytes = hex(DROP_V3);
        bytes[14] = 9;
        bytes.extend([0xff; 40]);
        let drop = drop_of(&bytes);
        assert_eq!((drop.generation, drop.ip_trace_id), (DropGeneration::V3, 4711));
    }

    #[test]
    fn vendor_extension_of_a_v2_drop_is_not_taken_for_a_trace_id() {
        let mut bytes = hex(DROP_V2);
        bytes[15] = 1;
        bytes.extend([0xff; 8]);
        let drop = drop_of(&bytes);
        assert_eq!((drop.generation, drop.ip_trace_id), (DropGeneration::V2, 0));
        assert!(drop.layout_agrees);
    }

    #[test]
    fn vendor_extension_of_a_verdict_is_not_taken_for_a_cookie() {
        let mut bytes = hex(VERDICT_V1);
        bytes[15] = 1;
        bytes.extend([0xff; 8]);
        assert_eq!(verdict_of(&bytes).cookie, None);
    }

    #[test]
    fn debug_messages_are_told_apart() {
        // Layout of section 4.6: common header, three arguments; no outside vector exists.
        let bytes = hex("0205db03 4d3c2b1a 01000000 02000000 03000000");
        let Ok(Message::Debug(debug)) = Message::parse(&bytes) else { panic!("no debug message") };
        assert_eq!((debug.subtype, debug.source, debug.args), (5, 987, [1, 2, 3]));
        let short = NotifyError::Short { kind: 2, length: 19, expected: 20 };
        assert_eq!(Message::parse(&bytes[..19]), Err(short));
    }

    #[test]
    fn unknown_types_are_named_in_the_error() {
        for kind in [0u8, 6, 7, 129, 255] {
            let error = Message::parse(&[kind; 48]).unwrap_err();
            assert_eq!(error, NotifyError::UnknownKind { kind, length: 48 });
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..140), kind in 0u8..9) {
            let _ = Message::parse(&bytes);
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            let _ = Message::parse(&bytes);
        }
    }
}
