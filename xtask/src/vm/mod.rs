//! `cargo xtask vm`: boots Debian kernels in QEMU and runs the end-to-end tests in them, or a command, or a shell.
//! Needs no rights: nothing is mounted or installed on the host.

mod cpio;
mod initramfs;
mod kernel;
mod matrix;
mod modules;
mod qemu;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::initramfs::{Job, PROGRAMS, Payload};
use self::kernel::Kernel;
use self::matrix::{Matrix, Verdict};
use self::qemu::{Ended, Vm};
use crate::setup::{self, Purpose};
use crate::workspace::{Output, Profile};
use crate::{build, process, say};

/// The kernels that the tests run on unless others are named.
pub const KERNELS: &[&str] = &["5.10", "6.1", "6.12", "6.18", kernel::NEWEST];
/// How many VMs run at the same time: a test keeps hardly more than one processor busy.
pub const DEFAULT_JOBS: usize = 2;
/// How often a kernel that dies before its first process is booted: emulators have faults of their own.
const BOOTS: u32 = 3;
/// Seconds for one VM.
const TIMEOUT: u64 = 900;
/// Our programs.
const OUR_PROGRAMS: &[&str] = &["tracer", "pretend-node", "e2e"];
/// The host's, for the tests that want a second opinion.
const HOST_TOOLS: &[&str] = &["bpftool", "ip", "tc", "strace"];

/// Boot Debian kernels in QEMU and run the end-to-end tests (or a command) in them.
#[derive(clap::Args)]
pub struct Args {
    /// Kernel series such as 6.1, or `newest` [default: 5.10 6.1 6.12 6.18 newest].
    kernels: Vec<String>,
    /// Run only the tests whose name contains this; may be repeated.
    #[arg(long, value_name = "NAME")]
    filter: Vec<String>,
    /// Drop into a shell in the VM instead (leave it with `exit`).
    #[arg(long, conflicts_with_all = ["filter", "command"])]
    shell: bool,
    /// Put a file into the VM (default: into /opt/tracer, first in the PATH); may be repeated.
    #[arg(long, value_name = "PATH[:DEST]", value_parser = Payload::parse)]
    file: Vec<Payload>,
    /// Take the programs of the dev profile instead of the release ones.
    #[arg(long)]
    debug: bool,
    /// Look for newer kernel packages than the cached ones.
    #[arg(long)]
    update: bool,
    /// How many VMs run at the same time.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_JOBS)]
    jobs: usize,
    /// Give up on a VM after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT)]
    timeout: u64,
    /// Run this command in the VM instead of the tests; our programs are there as last built.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(Purpose::Vm)?;
    let named: Vec<&str> = args.kernels.iter().map(String::as_str).collect();
    let kernels = if named.is_empty() { KERNELS } else { &named };
    if args.shell || !args.command.is_empty() { run_job(args, kernels) } else { run_tests(args, kernels) }
}

/// Tests whose outcome depends on the kernel: programs load, attach and fire, taps agree, maps are walked. The
/// others test what is the same everywhere; `cargo xtask vm` runs all of them.
const KERNEL_TESTS: &[&str] = &[
    "binary::",
    "node_view::every_entry_of_every_map_type_is_shown_once",
    "changing_maps::untouched_entries_are_listed_once_under_10000_updates_a_second",
    "changing_maps::maps_of_clusters_are_listed_under_their_ids",
    "ct::listing_keeps_the_order_in_which_entries_are_evicted",
    "drops_json::one_identity_named_and_counted",
    "drops_json::a_closed_port_shows_the_kernels_reason_and_symbol",
    "drops_json::filters_agree_with_the_traffic",
    "drops_taps::the_best_tap_and_the_note_alone_agree",
    "drops_taps::messages_by_fentry_and_by_kprobe",
    "drops_taps::xdp_drops_are_shown_or_known_to_be_missing",
    "drops_no_cilium::",
    "flows::packets_that_pass_and_verdicts_are_told",
    "flows::without_messages_it_says_so_and_shows_drops",
    "doctor::a_missing_program_is_found_on_its_device",
    "doctor::missing_programs_are_found_with_tcx_too",
    "doctor::netkit_programs_are_found_from_the_hosts_side",
    "doctor::a_pin_that_is_not_the_map_in_use_is_named",
    "doctor::no_cilium_is_no_failure",
    "doctor::without_rights_it_says_what_it_can",
    "drops_accounting::a_flood_is_accounted_for_to_the_packet",
    "coexistence::a_killed_tracer_leaves_nothing_behind",
];

/// The end-to-end tests of the release programs on each kernel; without a filter those that depend on it.
pub fn end_to_end(kernels: &[&str], filter: &[String], jobs: usize) -> Result<Vec<Verdict>> {
    let kernel_tests: Vec<String> = KERNEL_TESTS.iter().map(|name| (*name).to_owned()).collect();
    let filter = if filter.is_empty() { &kernel_tests } else { filter };
    let output = Output::locate()?;
    let payload = programs(&output, Profile::Release);
    check_names(&payload)?;
    matrix::announce(kernels);
    let timeout = Duration::from_secs(TIMEOUT);
    Ok(Matrix { payload: &payload, filter, logs: logs(&output)?, timeout, update: false }.run(kernels, jobs))
}

/// A renamed test must not drop out of the matrix in silence.
fn check_names(payload: &[Payload]) -> Result<()> {
    let program = payload.iter().find(|file| file.source.ends_with("e2e")).context("no program `e2e`")?;
    let listed = Command::new(&program.source).arg("--list").output().context("cannot run `e2e --list`")?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    for name in KERNEL_TESTS {
        ensure!(listed.contains(name), "no end-to-end test is named `{name}`");
    }
    Ok(())
}

fn run_tests(args: &Args, kernels: &[&str]) -> Result<ExitCode> {
    setup::ensure(Purpose::Test)?;
    let profile = Profile::from_debug_flag(args.debug);
    let output = build::programs(profile)?;
    let mut payload = programs(&output, profile);
    payload.extend(args.file.iter().cloned());
    matrix::announce(kernels);
    let timeout = Duration::from_secs(args.timeout);
    let matrix = Matrix {
        payload: &payload,
        filter: &args.filter,
        logs: logs(&output)?,
        timeout,
        update: args.update,
    };
    let all_good = matrix.run(kernels, args.jobs).iter().all(Verdict::is_good);
    Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One command or shell, on one kernel after the other; the worst exit code is passed on.
fn run_job(args: &Args, kernels: &[&str]) -> Result<ExitCode> {
    let output = Output::locate()?;
    let mut payload = programs(&output, Profile::from_debug_flag(args.debug));
    payload.extend(args.file.iter().cloned());
    let mut worst = 0;
    for series in kernels {
        let kernel = kernel::get(series, args.update)?;
        let timeout = Duration::from_secs(args.timeout);
        let boot = Boot { kernel: &kernel, payload: &payload, logs: &logs(&output)?, timeout };
        let code = match args.shell {
            true => boot.shell()?,
            false => boot.script(script(&args.command), |line| println!("{line}"))?,
        };
        worst = worst.max(code);
    }
    Ok(ExitCode::from(worst))
}

fn logs(output: &Output) -> Result<PathBuf> {
    let logs = output.target.join("vm");
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    Ok(logs)
}

/// Ours as far as they are built, the host's as far as they are there.
fn programs(output: &Output, profile: Profile) -> Vec<Payload> {
    let ours = OUR_PROGRAMS.iter().map(|name| (*name, output.program(profile, name)));
    let hosts = HOST_TOOLS.iter().filter_map(|name| Some((*name, process::find_program(name)?)));
    let payload = |(name, source)| Payload { source, destination: format!("{PROGRAMS}/{name}") };
    ours.filter(|(_, file)| file.is_file()).chain(hosts).map(payload).collect()
}

fn script(command: &[String]) -> String {
    let words: Vec<String> = command.iter().map(|word| process::quoted(word)).collect();
    format!("exec {}\n", words.join(" "))
}

/// One start of one kernel.
struct Boot<'a> {
    kernel: &'a Kernel,
    payload: &'a [Payload],
    logs: &'a Path,
    timeout: Duration,
}

impl Boot<'_> {
    /// Runs a script of busybox's shell; returns its exit code. A kernel that does not come up is booted again: none
    /// of our programs has run by then. Said each time, since a kernel that often fails to boot is worth knowing.
    fn script(&self, script: String, mut on_line: impl FnMut(&str)) -> Result<u8> {
        let job = Job::Script(script);
        let mut boots = 1;
        loop {
            match self.boot(&job, |vm| vm.run(&mut on_line))? {
                Ended::Job(code) => return Ok(code),
                Ended::BeforeJob(why) if boots == BOOTS => {
                    return Err(why.context(format!("did not come up in {BOOTS} boots")));
                }
                Ended::BeforeJob(why) => {
                    say::step(format!("vm: {} did not come up: {why:#}", self.kernel.release));
                }
            }
            boots += 1;
        }
    }

    fn shell(&self) -> Result<u8> {
        ensure!(process::stdin_is_terminal(), "a shell needs a terminal; give a command after `--` instead");
        self.boot(&Job::Shell, |vm| vm.shell().map(|()| 0))
    }

    fn boot<T>(&self, job: &Job, work: impl FnOnce(&Vm<'_>) -> Result<T>) -> Result<T> {
        let release = &self.kernel.release;
        let archive = initramfs::build(&self.kernel.modules, self.payload, job)?;
        let initramfs = nameless_file(self.logs, &archive)?;
        let console = self.logs.join(format!("{release}.log"));
        say::step(format!("vm: booting {release} (console: {})", console.display()));
        work(&Vm { kernel: self.kernel, initramfs: &initramfs, console, timeout: self.timeout })
    }
}

/// Nothing to clean up, however we end.
fn nameless_file(dir: &Path, content: &[u8]) -> Result<File> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let path =
        dir.join(format!(".initramfs-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let what = || format!("cannot write {}", path.display());
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).with_context(what)?;
    fs::remove_file(&path).and_then(|()| file.write_all(content)).with_context(what)?;
    Ok(file)
}
