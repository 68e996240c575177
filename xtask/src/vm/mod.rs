//! `cargo xtask vm`: boots Debian kernels in QEMU and runs the end-to-end tests in them, or a command, or a shell.
//! Needs no rights: nothing is mounted or installed on the host.

mod cpio;
mod initramfs;
mod kernel;
mod modules;
mod qemu;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::initramfs::{Job, PROGRAMS, Payload};
use self::kernel::Kernel;
use self::qemu::Vm;
use crate::workspace::{Output, Profile};
use crate::{process, say};

/// The kernels that the tests run on unless others are named.
pub const KERNELS: &[&str] = &["5.10", "6.1", "6.12", "6.18", kernel::NEWEST];
/// Our programs, as far as they are built.
const OUR_PROGRAMS: &[&str] = &["tracer", "pretend-node", "e2e"];

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
    /// Give up on a VM after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Run this command in the VM instead of the tests; our programs are those built last.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let kernels: Vec<&str> = if args.kernels.is_empty() {
        KERNELS.to_vec()
    } else {
        args.kernels.iter().map(String::as_str).collect()
    };
    let output = Output::locate()?;
    let logs = output.target.join("vm");
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let mut payload = built_programs(&output, Profile::from_debug_flag(args.debug));
    payload.extend(args.file.iter().cloned());
    let job = if args.shell { Job::Shell } else { Job::Script(script(&args.command)) };
    let mut worst = 0;
    for series in kernels {
        let kernel = kernel::get(series, args.update)?;
        let code = boot(&kernel, &payload, &job, &logs, Duration::from_secs(args.timeout))?;
        worst = worst.max(code);
    }
    Ok(ExitCode::from(worst))
}

fn built_programs(output: &Output, profile: Profile) -> Vec<Payload> {
    let file = |name: &&str| Payload {
        source: output.program(profile, name),
        destination: format!("{PROGRAMS}/{name}"),
    };
    OUR_PROGRAMS.iter().map(file).filter(|payload| payload.source.is_file()).collect()
}

fn script(command: &[String]) -> String {
    let words: Vec<String> = command.iter().map(|word| process::quoted(word)).collect();
    format!("exec {}\n", words.join(" "))
}

fn boot(kernel: &Kernel, payload: &[Payload], job: &Job, logs: &PathBuf, timeout: Duration) -> Result<u8> {
    let initramfs = logs.join(format!("{}.{}.cpio", kernel.release, std::process::id()));
    let archive = initramfs::build(&kernel.modules, payload, job)?;
    fs::write(&initramfs, archive).with_context(|| format!("cannot write {}", initramfs.display()))?;
    let vm =
        Vm { kernel, initramfs: &initramfs, console: logs.join(format!("{}.log", kernel.release)), timeout };
    say::step(format!("vm: booting {} (console: {})", kernel.release, vm.console.display()));
    let result = match job {
        Job::Shell => {
            ensure!(
                process::stdin_is_terminal(),
                "a shell needs a terminal; give a command after `--` instead"
            );
            vm.shell().map(|()| 0)
        }
        Job::Script(_) => vm.run(|line| println!("{line}")),
    };
    let _ = fs::remove_file(&initramfs);
    result
}
