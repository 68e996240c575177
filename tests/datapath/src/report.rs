//! What a drop leaves behind, in Cilium's order: metrics, the note in `cb`, the message; and policy verdict
//! and trace messages. All lengths and keys are those of the generation.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{__sk_buff, BPF_ANY};
use aya_ebpf::helpers::generated::bpf_perf_event_output;
use aya_ebpf::programs::{TcContext, XdpContext};

use pretend_datapath::option;

use crate::config::config;
use crate::conntrack::Status;
use crate::maps::{Counters, EVENTS, METRICS, MetricsKey};
use crate::state::State;

/// `file` numbers that are the same in every release.
pub mod file {
    pub const BPF_HOST: u8 = 1;
    pub const BPF_LXC: u8 = 2;
    pub const BPF_XDP: u8 = 4;
}

pub const INGRESS: u8 = 1;
pub const EGRESS: u8 = 2;

/// Cilium's drop reasons, as far as they are used.
pub mod reason {
    pub const INVALID_SIP: u8 = 132;
    pub const POLICY: u8 = 133;
    pub const INVALID: u8 = 134;
    pub const CT_INVALID_HDR: u8 = 135;
    pub const CT_UNKNOWN_PROTO: u8 = 137;
    pub const UNKNOWN_L3: u8 = 139;
    pub const CT_CREATE_FAILED: u8 = 155;
    pub const INVALID_EXTHDR: u8 = 156;
    pub const FRAG_NOSUPPORT: u8 = 157;
    pub const NO_SERVICE: u8 = 158;
    pub const FRAG_NOT_FOUND: u8 = 175;
    pub const POLICY_DENY: u8 = 181;
    pub const VLAN_FILTERED: u8 = 182;
    pub const POLICY_AUTH_REQUIRED: u8 = 189;
    pub const EP_NOT_READY: u8 = 203;
}

/// Why and where a packet is dropped.
#[derive(Clone, Copy)]
pub struct Drop {
    pub reason: u8,
    pub ext_error: i8,
    pub line: u16,
}

/// A drop at this line.
macro_rules! drop_for {
    ($reason:expr) => {
        $crate::report::drop_for!($reason, 0)
    };
    ($reason:expr, $ext_error:expr) => {
        $crate::report::Drop { reason: $reason, ext_error: $ext_error, line: line!() as u16 }
    };
}
pub(crate) use drop_for;

/// Who is concerned; 0 is unknown.
#[derive(Clone, Copy, Default)]
pub struct Ends {
    pub source: u32,
    pub destination: u32,
    /// Ingress only.
    pub destination_endpoint: u32,
}

const CAPTURE: u32 = 128;
const CURRENT_CPU: u64 = 0xffff_ffff;
/// Exit code in the note.
const TC_ACT_SHOT: u32 = 2;

#[repr(C)]
struct Header {
    kind: u8,
    subtype: u8,
    source: u16,
    hash: u32,
    len_orig: u32,
    len_cap: u16,
    version: u16,
}

#[repr(C)]
struct DropMessage {
    header: Header,
    source: u32,
    destination: u32,
    destination_endpoint: u32,
    line: u16,
    file: u8,
    ext_error: i8,
    ifindex: u32,
    /// From the second version on.
    flags: u8,
    pad: u8,
    pad2: u16,
    /// From the third version on.
    trace_id: u64,
}

#[repr(C)]
struct VerdictMessage {
    header: Header,
    remote: u32,
    verdict: i32,
    port: u16,
    protocol: u8,
    bits: u8,
    auth: u8,
    pad: u8,
    pad2: u16,
    /// From 1.19 on.
    cookie: u32,
    pad3: u32,
}

#[repr(C)]
struct TraceMessage {
    header: Header,
    source: u32,
    destination: u32,
    destination_endpoint: u16,
    reason: u8,
    flags: u8,
    ifindex: u32,
    original_ip: [u64; 2],
    /// From the second version on.
    trace_id: u64,
}

/// A zero that the compiler cannot see: runs of plain zeros become calls of `memset`, and with calls in a
/// program old verifiers track every number exactly and do not finish in reasonable time.
#[inline(always)]
pub fn zero() -> u64 {
    core::hint::black_box(0)
}

/// The skb of a tc program, for the fields that the context type does not give.
fn skb(ctx: &TcContext) -> *mut __sk_buff {
    ctx.as_ptr().cast()
}

/// One more packet of `length` bytes for `reason`.
#[inline(always)]
pub fn count(reason: u8, direction: u8, line: u16, file: u8, length: u32) {
    let placed = config!(metrics_place) != 0;
    let (line, file) = if placed { (line, file) } else { (0, 0) };
    let key = MetricsKey { reason, direction, line, file: file.into() };
    match METRICS.get_ptr_mut(&key) {
        Some(counters) => {
            // SAFETY: the map's value is two u64; it is this CPU's own copy.
            unsafe {
                (*counters).packets += 1;
                (*counters).bytes += u64::from(length);
            }
        }
        None => {
            let first = Counters { packets: 1, bytes: u64::from(length) };
            let _ = METRICS.insert(&key, &first, BPF_ANY.into());
        }
    }
}

#[inline(always)]
fn header(kind: u8, subtype: u8, version: u16, hash: u32, length: u32) -> Header {
    let captured = if length < CAPTURE { length } else { CAPTURE };
    Header {
        kind,
        subtype,
        source: config!(endpoint) as u16,
        hash,
        len_orig: length,
        len_cap: captured as u16,
        version,
    }
}

/// Sends `size` bytes of `message` and the start of the packet.
#[inline(always)]
fn send<C: EbpfContext, T>(ctx: &C, message: &T, captured: u16, size: u32) {
    let flags = CURRENT_CPU | u64::from(captured) << 32;
    let map = (&raw const EVENTS).cast_mut().cast();
    let data = core::ptr::from_ref(message).cast_mut().cast();
    // SAFETY: `size` is at most the size of `message`; with nobody listening the helper returns an error,
    // which is as it should be.
    unsafe { bpf_perf_event_output(ctx.as_ptr(), map, flags, data, size.into()) };
}

fn drop_version(size: u32) -> u16 {
    match size {
        36 => 1,
        40 => 2,
        _ => 3,
    }
}

#[inline(always)]
fn drop_message<C: EbpfContext>(
    ctx: &C,
    drop: &Drop,
    ends: &Ends,
    file: u8,
    skb: (u32, u32, u32),
    ipv6: bool,
) {
    let (hash, length, ifindex) = skb;
    let size = config!(drop_message);
    let message = DropMessage {
        header: header(1, drop.reason, drop_version(size), hash, length),
        source: ends.source,
        destination: ends.destination,
        destination_endpoint: ends.destination_endpoint,
        line: drop.line,
        file,
        ext_error: drop.ext_error,
        ifindex,
        flags: ipv6.into(),
        pad: 0,
        pad2: 0,
        trace_id: 0,
    };
    send(ctx, &message, message.header.len_cap, size);
}

/// Everything that Cilium does when a tc program drops; the program then returns TC_ACT_SHOT.
#[inline(always)]
pub fn drop_packet(ctx: &TcContext, drop: &Drop, ends: &Ends, file: u8, direction: u8) {
    let skb = skb(ctx);
    // SAFETY: the context of a tc program; the verifier checks each field.
    let (hash, length, ifindex, protocol) =
        unsafe { ((*skb).hash, (*skb).len, (*skb).ifindex, (*skb).protocol) };
    count(drop.reason, direction, drop.line, file, length);
    let note = [
        ends.source,
        ends.destination,
        u32::from(drop.reason) | u32::from(drop.ext_error as u8) << 8,
        ends.destination_endpoint,
        TC_ACT_SHOT | u32::from(file) << 8 | u32::from(drop.line) << 16,
    ];
    // SAFETY: as above; a tc program may write the five words.
    unsafe {
        (*skb).cb[0] = note[0];
        (*skb).cb[1] = note[1];
        (*skb).cb[2] = note[2];
        (*skb).cb[3] = note[3];
        (*skb).cb[4] = note[4];
    }
    let ipv6 = protocol == u32::from(0x86ddu16.to_be());
    drop_message(ctx, drop, ends, file, (hash, length, ifindex), ipv6);
}

/// The same for an XDP program: no note, `source` 0, and `bpf_xdp_event_output`.
#[inline(always)]
pub fn drop_xdp(ctx: &XdpContext, drop: &Drop, ends: &Ends) {
    let length = (ctx.data_end() - ctx.data()) as u32;
    count(drop.reason, INGRESS, drop.line, file::BPF_XDP, length);
    drop_message(ctx, drop, ends, file::BPF_XDP, (0, length, ctx.ingress_ifindex() as u32), false);
}

/// A policy verdict message.
#[inline(always)]
pub fn verdict(ctx: &TcContext, state: &State) {
    // SAFETY: the context of a tc program; the verifier checks each field.
    let hash = unsafe { (*skb(ctx)).hash };
    let message = VerdictMessage {
        header: header(5, 0, 1, hash, state.length),
        remote: state.remote,
        verdict: state.decision.verdict,
        port: u16::from_be(state.policy_port()),
        protocol: state.protocol,
        bits: state.direction | (state.ipv6 as u8) << 2 | state.decision.match_type << 3,
        auth: state.decision.auth,
        pad: 0,
        pad2: 0,
        cookie: state.decision.cookie,
        pad3: 0,
    };
    send(ctx, &message, message.header.len_cap, config!(verdict_message));
}

/// Observation points of trace messages.
pub mod point {
    pub const TO_LXC: u8 = 0;
    pub const TO_STACK: u8 = 3;
}

/// A trace message, if the packet is one of those that are told of.
#[inline(always)]
pub fn trace(ctx: &TcContext, state: &State, point: u8, ends: &Ends, ifindex: u32) {
    if state.status != Status::New && config!(options) & option::TRACE_ALL == 0 {
        return;
    }
    // SAFETY: the context of a tc program; the verifier checks each field.
    let hash = unsafe { (*skb(ctx)).hash };
    let size = config!(trace_message);
    let message = TraceMessage {
        header: header(4, point, if size == 48 { 1 } else { 2 }, hash, state.length),
        source: ends.source,
        destination: ends.destination,
        destination_endpoint: ends.destination_endpoint as u16,
        reason: state.status as u8,
        flags: state.ipv6 as u8,
        ifindex,
        original_ip: [zero(); 2],
        trace_id: 0,
    };
    send(ctx, &message, message.header.len_cap, size);
}
