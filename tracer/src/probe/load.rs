//! Loads the object, fills in its globals, and attaches each tap by the first hook that the kernel allows.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::{self, JoinHandle};

use aya::maps::{Array, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::{BtfTracePoint, FEntry, KProbe, Program, ProgramError, RawTracePoint};
use aya::{Btf as AyaBtf, Ebpf, EbpfLoader, include_bytes_aligned};
use tracer_common::config::{ABSENT, Filter, Offsets, Settings};
use tracer_common::id::MapId;
use zerocopy::IntoBytes as _;

use super::attach_types::attach_types;
use super::counters::Counters;
use super::error::{ProbeError, is_permission, one_line};
use super::misses;
use super::ring::Ring;
use super::taps::{Hook, MessageTap, Tap, TapState, Taps};
use crate::kernel::btf::Btf;
use crate::kernel::drop_reason::DropReasons;
use crate::kernel::layout;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf.o"));

/// Function behind Cilium's tc notifications, and the one behind those of XDP.
const SKB_EVENT: &str = "bpf_skb_event_output";
const XDP_EVENT: &str = "bpf_xdp_event_output";
/// Present where kprobes can be made by perf events, which is how we make them.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe";
/// Flows that `--rate-limit` tells apart; the one seen longest ago is forgotten.
const LIMITED_FLOWS: u32 = 4096;
/// Number of slots in the programs' table of events maps.
const EVENTS_MAPS: usize = 4;

/// What the programs are to do.
#[derive(Clone, Debug)]
pub struct Plan {
    pub filter: Filter,
    /// Packet bytes to capture.
    pub snaplen: u32,
    /// Message types to report: bit N for type N.
    pub message_types: u32,
    pub notes_only: bool,
    /// Inode of the network namespace whose notes count; 0: those of all.
    pub home_netns: u32,
    /// Bytes of the ring buffer; a power of two, a multiple of the page size.
    pub ring_bytes: u32,
    pub message_tap: MessageTap,
    /// Ids of the pinned events map; empty: there is none to listen to.
    pub events_maps: Vec<MapId>,
    /// Most events of one flow a second and CPU; 0: no limit.
    pub rate_limit: u32,
    /// Let the programs log through aya-log.
    pub debug: bool,
}

/// A loader in the making. aya's reads all of the kernel's types as it is made, whether or not it will need them: a thread
/// does that while others look at the node.
pub struct Loader(Option<JoinHandle<EbpfLoader<'static>>>);

impl Loader {
    pub fn prepare() -> Self {
        Self(thread::Builder::new().name("loader".to_owned()).spawn(EbpfLoader::new).ok())
    }

    /// Waits for it.
    fn ready(self) -> EbpfLoader<'static> {
        self.0.and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

/// The attached programs. Dropping it detaches and frees everything.
pub struct Probe {
    /// Owns programs and links; `None` once detached.
    ebpf: Option<Ebpf>,
    pub taps: Taps,
    pub ring: Ring,
    pub counters: Counters,
    events_maps: Array<MapData, u32>,
    programs: Vec<(Tap, OwnedFd)>,
}

impl Probe {
    /// Loads and attaches. `btf` and `reasons` are of the running kernel.
    pub fn start(loader: Loader, plan: &Plan, btf: &Btf, reasons: &DropReasons) -> Result<Self, ProbeError> {
        let offsets = layout::offsets(btf)?;
        let settings = settings(plan, btf, reasons);
        let aya_btf = attach_types(btf, &[SKB_EVENT, XDP_EVENT])
            .map_err(|error| ProbeError::NoTypeInformation(error.into()))?;
        let mut ebpf = load_object(loader, plan, &offsets, &settings)?;
        let mut programs = Vec::new();
        let free = attach_free(&mut ebpf, &aya_btf, &mut programs)?;
        let (message, xdp) = attach_messages(plan, &mut ebpf, &aya_btf, &mut programs);
        let ring = take(&mut ebpf, "EVENTS").and_then(|map| RingBuf::try_from(map).map_err(object_error))?;
        let counters =
            take(&mut ebpf, "COUNTERS").and_then(|map| PerCpuArray::try_from(map).map_err(object_error))?;
        let events_maps =
            take(&mut ebpf, "EVENTS_MAP_IDS").and_then(|map| Array::try_from(map).map_err(object_error))?;
        let mut probe = Self {
            ebpf: Some(ebpf),
            taps: Taps([free, message, xdp]),
            ring: Ring::new(ring),
            counters: Counters::new(counters),
            events_maps,
            programs,
        };
        probe.watch_events_maps(&plan.events_maps)?;
        Ok(probe)
    }

    /// Tells the programs which events maps are Cilium's. Called again when the agent replaced its map.
    pub fn watch_events_maps(&mut self, ids: &[MapId]) -> Result<(), ProbeError> {
        for slot in 0..EVENTS_MAPS {
            let id = ids.get(slot).map_or(0, |id| id.0);
            self.events_maps.set(slot as u32, id, 0).map_err(object_error)?;
        }
        Ok(())
    }

    /// Runs that the kernel skipped, per tap; `None` where it does not count them.
    pub fn misses(&self, tap: Tap) -> Option<u64> {
        if self.taps.state(tap) == &TapState::On(Hook::Kprobe) && !misses::counts_kprobes() {
            return None;
        }
        let of_tap = self.programs.iter().filter(|(of, _)| *of == tap);
        of_tap.map(|(_, program)| misses::skipped(program)).sum()
    }

    /// Detaches every program; what is in the ring buffer stays readable.
    pub fn detach(&mut self) {
        self.ebpf = None;
    }

    /// The programs' own log, to be flushed now and then (`Plan::debug`).
    pub fn logger(&mut self) -> Option<aya_log::EbpfLogger<&'static dyn log::Log>> {
        let ebpf = self.ebpf.as_mut()?;
        aya_log::EbpfLogger::init(ebpf).map_err(|error| tracing::debug!(%error, "aya-log")).ok()
    }
}

fn object_error(error: impl std::error::Error + Send + Sync + 'static) -> ProbeError {
    if is_permission(&error) { ProbeError::not_permitted(&error) } else { ProbeError::Object(error.into()) }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, ProbeError> {
    ebpf.take_map(name).ok_or_else(|| ProbeError::Object(format!("no map `{name}` in the object").into()))
}

/// Settings for the running kernel.
fn settings(plan: &Plan, btf: &Btf, reasons: &DropReasons) -> Settings {
    // The tracepoint's typedef counts a leading context argument: skb and location make three.
    let has_reason = btf.parameters_of_typedef("btf_trace_kfree_skb").is_ok_and(|count| count >= 4);
    Settings {
        snaplen: plan.snaplen,
        has_reason: has_reason.into(),
        message_types: plan.message_types,
        reason_tc_ingress: reasons.number("TC_INGRESS").unwrap_or(ABSENT),
        reason_tc_egress: reasons.number("TC_EGRESS").unwrap_or(ABSENT),
        notes_only: plan.notes_only.into(),
        rate_limit: plan.rate_limit,
        home_netns: plan.home_netns,
    }
}

fn load_object(
    loader: Loader,
    plan: &Plan,
    offsets: &Offsets,
    settings: &Settings,
) -> Result<Ebpf, ProbeError> {
    let log_level = u8::from(plan.debug) * (log::Level::Debug as u8);
    // The object has no relocations against the kernel's types: the offsets are in its globals.
    let mut loader: EbpfLoader<'_> = loader.ready();
    loader
        .btf(None)
        .map_max_entries("EVENTS", plan.ring_bytes)
        .map_max_entries("SIMILAR", if plan.rate_limit == 0 { 1 } else { LIMITED_FLOWS })
        .override_global("OFFSETS", offsets.as_bytes(), true)
        .override_global("SETTINGS", settings.as_bytes(), true)
        .override_global("FILTER", plan.filter.as_bytes(), true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .load(OBJECT)
        .map_err(object_error)
}

/// Gets a program of the object in its type.
fn program<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, ProgramError>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()
}

fn attach_free(
    ebpf: &mut Ebpf,
    btf: &AyaBtf,
    programs: &mut Vec<(Tap, OwnedFd)>,
) -> Result<TapState, ProbeError> {
    let first = program::<BtfTracePoint>(ebpf, "kfree_skb_btf").and_then(|program| {
        program.load("kfree_skb", btf)?;
        program.attach()
    });
    let Err(first) = first else {
        keep(ebpf, "kfree_skb_btf", Tap::Free, programs);
        return Ok(TapState::On(Hook::TpBtf));
    };
    tracing::debug!(error = %one_line(&first), "tp_btf kfree_skb");
    let second = program::<RawTracePoint>(ebpf, "kfree_skb_raw").and_then(|program| {
        program.load()?;
        program.attach("kfree_skb")
    });
    match second {
        Ok(_) => {
            keep(ebpf, "kfree_skb_raw", Tap::Free, programs);
            Ok(TapState::On(Hook::RawTracepoint))
        }
        Err(_) if is_locked_down() => Err(ProbeError::Lockdown),
        Err(second) if is_permission(&second) => Err(ProbeError::not_permitted(&second)),
        Err(second) => {
            Err(ProbeError::NoFreeTap(format!("tp_btf: {}; raw_tp: {}", one_line(&first), one_line(&second))))
        }
    }
}

/// The state of both message taps.
fn attach_messages(
    plan: &Plan,
    ebpf: &mut Ebpf,
    btf: &AyaBtf,
    programs: &mut Vec<(Tap, OwnedFd)>,
) -> (TapState, TapState) {
    let off = |why: &str| (TapState::Off(why.to_owned()), TapState::Off(why.to_owned()));
    if plan.message_tap == MessageTap::Off {
        return off("switched off");
    }
    if plan.events_maps.is_empty() {
        return off("no pinned cilium_events to listen to");
    }
    (
        attach_message(plan.message_tap, ebpf, btf, Tap::Message, programs),
        attach_message(plan.message_tap, ebpf, btf, Tap::XdpMessage, programs),
    )
}

fn attach_message(
    choice: MessageTap,
    ebpf: &mut Ebpf,
    btf: &AyaBtf,
    tap: Tap,
    programs: &mut Vec<(Tap, OwnedFd)>,
) -> TapState {
    let (function, fentry, kprobe) = match tap {
        Tap::XdpMessage => (XDP_EVENT, "xdp_event_fentry", "xdp_event_kprobe"),
        _ => (SKB_EVENT, "skb_event_fentry", "skb_event_kprobe"),
    };
    let mut why = Vec::new();
    if choice != MessageTap::Kprobe {
        match attach_fentry(ebpf, btf, fentry, function) {
            Ok(()) => {
                keep(ebpf, fentry, tap, programs);
                return TapState::On(Hook::Fentry);
            }
            Err(error) => why.push(format!("fentry: {}", one_line(&error))),
        }
    }
    if choice != MessageTap::Fentry && !Path::new(KPROBES).exists() {
        why.push("kprobe: not built into this kernel".to_owned());
    } else if choice != MessageTap::Fentry {
        match attach_kprobe(ebpf, kprobe, function) {
            Ok(()) => {
                keep(ebpf, kprobe, tap, programs);
                return TapState::On(Hook::Kprobe);
            }
            Err(error) => why.push(format!("kprobe: {}", one_line(&error))),
        }
    }
    TapState::Off(why.join("; "))
}

fn attach_fentry(ebpf: &mut Ebpf, btf: &AyaBtf, name: &str, function: &str) -> Result<(), ProgramError> {
    let program = program::<FEntry>(ebpf, name)?;
    program.load(function, btf)?;
    if let Err(error) = program.attach() {
        program.unload()?;
        return Err(error);
    }
    Ok(())
}

fn attach_kprobe(ebpf: &mut Ebpf, name: &str, function: &str) -> Result<(), ProgramError> {
    let program = program::<KProbe>(ebpf, name)?;
    program.load()?;
    if let Err(error) = program.attach(function, 0) {
        program.unload()?;
        return Err(error);
    }
    Ok(())
}

/// Remembers a loaded program for its miss counter.
fn keep(ebpf: &Ebpf, name: &str, tap: Tap, programs: &mut Vec<(Tap, OwnedFd)>) {
    programs.extend(ebpf.program(name).and_then(misses::descriptor).map(|fd| (tap, fd)));
}

/// Whether lockdown forbids programs to read kernel memory.
fn is_locked_down() -> bool {
    std::fs::read_to_string("/sys/kernel/security/lockdown")
        .is_ok_and(|text| text.contains("[confidentiality]"))
}
