//! `tracer drops`, and `tracer flows` on a live node: finds the node, attaches, follows the ring until told to stop, closes the books.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;
use tracer_common::id::MapId;

use super::accounts::Accounts;
use super::chain::{Chain, End, Selection, Stage};
use super::error::RunError;
use super::files::FileNames;
use super::home;
use super::place;
use super::reader::{Losses, Reader};
use super::sinks::Sinks;
use super::stop::{Bell, Cause, Signals, first_cause, start_command};
use super::tally::Tally;
use super::why::stream::Explainer;
use crate::cilium::node::NodeView;
use crate::cilium::source;
use crate::cli::drops::{DropsPlan, TapChoice};
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::correlate::join::Join;
use crate::correlate::name::{self, Namer};
use crate::filter::pushdown::{Lookups, Pushed, pushdown};
use crate::filter::{FilterSet, KernelReason};
use crate::kernel::btf::Btf;
use crate::kernel::clock::WallOffset;
use crate::kernel::drop_reason::DropReasons;
use crate::kernel::names::{RunningKernel, SymbolReader};
use crate::kernel::{memory, rights};
use crate::model::flow::message_type;
use crate::output::banner::{Banner, TapLine, TapStatus};
use crate::output::color::{self, ColorEnv};
use crate::output::{Node, Printer};
use crate::packet::decode::TunnelPorts;
use crate::probe::taps::{MessageTap, Tap, TapState};
use crate::probe::{Loader, Plan, Probe};

/// Bytes of the ring buffer: 80 ms of the worst flood that one CPU can make.
const RING_BYTES: u32 = 8 << 20;
const WITHOUT_MESSAGES: &str = "Cilium's reasons come from the note in the packet; drops in native XDP are not seen, \
                                and those on netkit devices show the kernel's reason only";
const NO_FLOWS: &str =
    "no message tap: trace and policy-verdict messages cannot be seen here, only drops are shown";

/// Runs the command; the exit code is the caller's to return.
pub fn run(global: &Global, plan: DropsPlan) -> Result<Exit, RunError> {
    let name = match (&plan.record, plan.flows) {
        (Some(_), _) => "record",
        (None, true) => "flows",
        (None, false) => "drops",
    };
    super::live_only(global, name)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(follow(global, plan))
}

async fn follow(global: &Global, mut plan: DropsPlan) -> Result<Exit, RunError> {
    let signals = Signals::new()?;
    let attached = attach(global, &mut plan)?;
    let format = plan.output.format;
    let command = plan.command.take();
    let stop = plan.stop;
    let ready_file = plan.ready_file.take();
    let reader = reader(attached, plan, global)?;
    // The command gets the rights that we give up next.
    let command = match command {
        Some(words) => start_command(&words).map_err(|source| command_error(&words, source))?,
        None => None,
    };
    let (handle, done) = start(reader, ready_file)?;
    let cause = first_cause(signals, stop.duration, command, done).await;
    let reader = handle.stop()?;
    report_cause(&cause);
    finish(reader, global, format.is_json())
}

/// A node with the programs at work on it.
pub(super) struct Attached {
    probe: Probe,
    view: NodeView,
    kernel: RunningKernel,
    home_netns: u32,
}

impl Attached {
    /// What all events of the run have in common.
    pub fn node(&self) -> Node {
        let cluster = self.view.config().and_then(|config| config.cluster_name.clone()).unwrap_or_default();
        Node::new(&cluster, &node_name(), self.view.releases().releases())
    }

    pub fn taps(&self) -> Vec<TapLine> {
        tap_lines(&self.probe)
    }
}

/// Finds the node, attaches, and says so.
pub(super) fn attach(global: &Global, plan: &mut DropsPlan) -> Result<Attached, RunError> {
    let loader = Loader::prepare();
    let view = node_view(global, plan.require_cilium)?;
    let btf = Btf::vmlinux()?;
    let reasons = DropReasons::read(&btf)?;
    let pushed = pushdown(
        &plan.filter,
        &Lookups { ifindexes: &|_| None, kernel_reason: &|name| reasons.number(name) },
    );
    plan.notes.extend(unknown_reasons(&plan.filter, &reasons));
    let home_netns = home::network_namespace(view.lxc_entries());
    // Read while the kernel verifies the programs, so that the first event need not wait for it.
    let symbols = SymbolReader::start();
    let probe_plan = probe_plan(plan, global, &pushed, view.events_map(), home_netns);
    let probe = Probe::start(loader, &probe_plan, &btf, &reasons)?;
    drop(btf);
    memory::give_back();
    if !global.quiet {
        banner(&probe, plan, &pushed, &view).write(&mut io::stderr().lock())?;
    }
    Ok(Attached { probe, view, kernel: RunningKernel::new(reasons, symbols), home_netns })
}

/// The reader at work in its thread.
pub(super) struct Handle {
    bell: Bell,
    thread: JoinHandle<Reader<File>>,
}

impl Handle {
    /// Stops the reader. It comes back for the closing accounts.
    pub fn stop(self) -> Result<Reader<File>, RunError> {
        self.bell.ring();
        let reader = self.thread.join().map_err(|_| io::Error::other("the reader thread panicked"))?;
        Ok(reader)
    }
}

/// Gives up the rights that are no longer needed and starts to read. What comes with the handle tells when
/// the reader ended by itself.
pub(super) fn start(
    reader: Reader<File>,
    ready_file: Option<PathBuf>,
) -> Result<(Handle, oneshot::Receiver<()>), RunError> {
    let bell = Bell::new()?;
    let listener = bell.listener()?;
    let (done, reader_done) = oneshot::channel();
    if let Err(error) = rights::keep_reading_only(&reader.chain.stage.view.source().root) {
        tracing::debug!(%error, "cannot give up capabilities");
    }
    if let Some(path) = ready_file {
        std::fs::write(&path, b"")
            .map_err(|source| RunError::ReadyFile { path: path.display().to_string(), source })?;
    }
    let thread = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
        let reader = reader.run(&listener);
        // Nobody listens any more when something else ended the stream.
        let _ = done.send(());
        reader
    })?;
    Ok((Handle { bell, thread }, reader_done))
}

/// A kernel reason that was typed and that nothing can match, in words.
fn unknown_reasons(filter: &FilterSet, reasons: &DropReasons) -> Vec<String> {
    let mut typed: Vec<&str> =
        filter.allow.iter().flat_map(|c| &c.kernel_reasons).filter_map(name_of).collect();
    typed.sort_unstable();
    typed.dedup();
    if reasons.is_empty() && !typed.is_empty() {
        return vec![
            "this kernel gives no drop reasons (5.17 and newer do): no drop matches --kernel-reason"
                .to_owned(),
        ];
    }
    let unknown = typed.into_iter().filter(|name| reasons.number(name).is_none());
    unknown
        .map(|name| format!("this kernel has no drop reason `{name}`, unless a module brings it"))
        .collect()
}

fn name_of(reason: &KernelReason) -> Option<&str> {
    match reason {
        KernelReason::Name(name) => Some(name),
        KernelReason::Number(_) => None,
    }
}

fn command_error(words: &[std::ffi::OsString], source: io::Error) -> RunError {
    let command = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    RunError::Command { command, source }
}

fn node_view(global: &Global, require_cilium: bool) -> Result<NodeView, RunError> {
    let found = source::find(&place::wanted(global)).map_err(RunError::Source)?;
    let why_nothing = found.why_nothing();
    let view = NodeView::new(found, Instant::now());
    if require_cilium && !view.has_cilium() {
        return Err(RunError::NoCilium(why_nothing));
    }
    Ok(view)
}

fn probe_plan(
    plan: &DropsPlan,
    global: &Global,
    pushed: &Pushed,
    events_map: Option<MapId>,
    home_netns: u32,
) -> Plan {
    Plan {
        filter: pushed.filter,
        snaplen: plan.snaplen,
        message_types: message_types(plan),
        notes_only: false,
        home_netns,
        ring_bytes: RING_BYTES,
        rate_limit: plan.rate_limit,
        message_tap: match plan.tap {
            TapChoice::Auto => MessageTap::Auto,
            TapChoice::Fentry => MessageTap::Fentry,
            TapChoice::Kprobe => MessageTap::Kprobe,
            TapChoice::Note => MessageTap::Off,
        },
        events_maps: events_map.into_iter().collect(),
        debug: global.debug,
    }
}

/// Drops always: they are compared with Cilium's own count.
fn message_types(plan: &DropsPlan) -> u32 {
    let bit = |kind: u8| 1 << kind;
    let flows = [message_type::TRACE, message_type::POLICY_VERDICT];
    let wanted = flows.into_iter().filter(|kind| plan.flows && plan.filter.can_match_type(*kind));
    wanted.fold(bit(message_type::DROP), |types, kind| types | bit(kind))
}

fn tap_lines(probe: &Probe) -> Vec<TapLine> {
    let line = |tap: Tap| TapLine {
        name: tap.name(),
        state: match probe.taps.state(tap) {
            TapState::On(hook) => TapStatus::On(hook.to_string()),
            TapState::Off(why) => TapStatus::Off(why.clone()),
        },
    };
    Tap::ALL.map(line).to_vec()
}

fn banner(probe: &Probe, plan: &DropsPlan, pushed: &Pushed, view: &NodeView) -> Banner {
    let mut notes = plan.notes.clone();
    if !view.has_cilium() {
        notes
            .push(format!("no Cilium here, showing the kernel's own drops: {}", view.source().why_nothing()));
    } else if !probe.taps.is_on(Tap::Message) {
        notes.push(WITHOUT_MESSAGES.to_owned());
    }
    if plan.flows && !probe.taps.is_on(Tap::Message) {
        notes.push(NO_FLOWS.to_owned());
    }
    Banner { taps: tap_lines(probe), kernel_filters: pushed.to_string(), notes }
}

/// Puts the chain together and opens the books.
pub(super) fn reader(
    attached: Attached,
    mut plan: DropsPlan,
    global: &Global,
) -> Result<Reader<File>, RunError> {
    let node = attached.node();
    let Attached { probe, view, kernel, home_netns } = attached;
    let releases = node.releases;
    plan.filter.bind_node(&node.name);
    if plan.filter.never_here() {
        tracing::warn!("this node is `{}`: nothing matches --node-name", node.name);
    }
    let sinks = Sinks::open(plan.record.as_ref(), plan.write.as_deref(), &node, plan.snaplen)
        .map_err(RunError::Output)?;
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    let mut output = plan.output;
    output.color = color::decide(global.color, &ColorEnv::from_process(), io::stdout().is_terminal());
    let mut stage = Stage {
        namer: Namer::new(name::Settings {
            wall_offset_ns: WallOffset::now().0,
            tunnel_ports: TunnelPorts::default(),
            host_netns: home_netns,
            name_elsewhere: plan.all || !view.has_cilium(),
        }),
        files: FileNames { known: releases },
        selection: Selection {
            filter: plan.filter,
            all: plan.all,
            count: plan.stop.count,
            print: plan.print,
            flows: plan.flows,
        },
        sinks,
        printer: Printer::new(File::from(stdout.try_clone()?), &output, node),
        explainer: plan.why.then(Explainer::default),
        tally: Tally::default(),
        end: None,
        kernel,
        view,
    };
    let accounts = Accounts::open(&mut stage, &probe);
    Ok(Reader {
        events_map: stage.view.events_map(),
        chain: Chain { join: Join::default(), stage, malformed: 0 },
        completeness: plan.completeness,
        report_groups: plan.report_groups,
        debug: global.debug,
        losses: Losses::default(),
        received: 0,
        stdout: Some(stdout),
        report_to: None,
        accounts,
        probe,
    })
}

/// The node's name in Kubernetes if we were told, else the machine's.
pub(super) fn node_name() -> String {
    match std::env::var("NODE_NAME") {
        Ok(name) if !name.is_empty() => name,
        _ => rustix::system::uname().nodename().to_string_lossy().into_owned(),
    }
}

fn report_cause(cause: &Cause) {
    match cause {
        Cause::Command(Ok(status)) if !status.success() => tracing::warn!("the command ended with {status}"),
        Cause::Command(Err(error)) => tracing::warn!("the command cannot be waited for: {error}"),
        cause => tracing::debug!(?cause, "stopped"),
    }
}

/// Prints the summary and decides the exit code.
pub(super) fn finish(mut reader: Reader<File>, global: &Global, json: bool) -> Result<Exit, RunError> {
    let summary = reader.summary();
    if !global.quiet {
        let mut stderr = io::stderr().lock();
        if json { summary.write_json(&mut stderr)? } else { summary.write_text(&mut stderr)? }
    }
    match reader.chain.stage.end.take() {
        Some(End::Failed(error)) => Err(RunError::Output(error)),
        _ if summary.is_incomplete() => Ok(Exit::Incomplete),
        _ => Ok(Exit::Done),
    }
}
