//! Runs one VM: QEMU without KVM, the console into a log file, the job's output through a pipe or the terminal.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::kernel::Kernel;
use crate::process;

pub const PROGRAM: &str = "qemu-system-x86_64";
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 loglevel=5 mitigations=off";
/// The line by which the VM says that its job starts now.
const UP: &str = "@vm up";
/// The line by which the VM says how its job ended.
const VERDICT: &str = "@vm exit ";
/// A boot takes about five seconds, on a busy machine some more.
const BOOT_TIMEOUT: Duration = Duration::from_secs(120);
/// Lines of the console that are shown when a VM dies without a word.
const CONSOLE_TAIL: usize = 25;

/// How a VM ended.
pub enum Ended {
    /// The job's exit code.
    Job(u8),
    /// Nothing of ours has run: the fault is the kernel's or the emulator's. Says which.
    BeforeJob(anyhow::Error),
}

/// One machine, ready to be started.
pub struct Vm<'a> {
    pub kernel: &'a Kernel,
    /// A file that needs no name: QEMU opens it through our entry in /proc.
    pub initramfs: &'a File,
    /// Receives what the kernel says.
    pub console: PathBuf,
    pub timeout: Duration,
}

impl Vm<'_> {
    /// Runs the job and gives each line of its output to `on_line` as it comes.
    pub fn run(&self, mut on_line: impl FnMut(&str)) -> Result<Ended> {
        let mut child =
            self.start(self.command("stdio,id=job,signal=off").stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let lines = read_lines(&mut child)?;
        let start = Instant::now();
        let up = wait_for_job(&lines, start + self.timeout.min(BOOT_TIMEOUT));
        let ended = up.as_ref().map_or(Ok(0), |()| follow(&lines, start + self.timeout, &mut on_line));
        // A VM that has said its verdict is about to power off; one that has not is stuck.
        if up.is_err() || ended.is_err() {
            let _ = child.kill();
        }
        child.wait().context("cannot wait for QEMU")?;
        let told = |error: anyhow::Error| error.context(self.console_tail());
        match up {
            Ok(()) => ended.map(Ended::Job).map_err(told),
            Err(error) => Ok(Ended::BeforeJob(told(error))),
        }
    }

    /// Gives the terminal to a shell in the VM until that ends.
    pub fn shell(&self) -> Result<()> {
        let mut child = self.start(&mut self.command("stdio,id=job,signal=off"))?;
        child.wait().context("cannot wait for QEMU")?;
        Ok(())
    }

    /// `setpriv` ends QEMU with us, whichever way we end.
    fn command(&self, job: &str) -> Command {
        let mut command = Command::new("setpriv");
        // One thread for both processors: with two, a boot died in an instruction that the kernel was just patching.
        // It costs less time, too (the same tests: 106 s of processor time instead of 151 s).
        command.args([
            "--pdeathsig",
            "KILL",
            PROGRAM,
            "-accel",
            "tcg,thread=single",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "1024",
        ]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"]);
        command.arg("-chardev").arg(format!("file,id=console,path={}", self.console.display()));
        command.args(["-serial", "chardev:console", "-chardev", job, "-serial", "chardev:job"]);
        command.arg("-kernel").arg(&self.kernel.image).arg("-initrd").arg(self.initramfs_path());
        command.args(["-append", COMMAND_LINE]);
        command
    }

    fn initramfs_path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.initramfs.as_raw_fd())
    }

    fn start(&self, command: &mut Command) -> Result<Child> {
        let errors = self.console.with_extension("qemu");
        let file = File::create(&errors).with_context(|| format!("cannot write {}", errors.display()))?;
        command.stderr(file).spawn().with_context(|| format!("cannot run `{PROGRAM}`"))
    }

    fn console_tail(&self) -> String {
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let text = read(&self.console) + &read(&self.console.with_extension("qemu"));
        format!(
            "the VM failed; end of {}:\n{}\n ",
            self.console.display(),
            process::tail(&text, CONSOLE_TAIL)
        )
    }
}

/// A thread that reads, so that the reader's wait can have an end.
fn read_lines(child: &mut Child) -> Result<mpsc::Receiver<String>> {
    let stdout = child.stdout.take().context("QEMU has no stdout")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&line);
            if sender.send(text.trim_end_matches('\r').to_owned()).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

/// The first process starts the job.
fn wait_for_job(lines: &mpsc::Receiver<String>, end: Instant) -> Result<()> {
    while next(lines, end)? != UP {}
    Ok(())
}

/// Passes lines on until the verdict. An empty line is held back until the next one comes: the verdict starts with a
/// line break of its own, in case that the job's last line has none.
fn follow(lines: &mpsc::Receiver<String>, end: Instant, on_line: &mut impl FnMut(&str)) -> Result<u8> {
    let mut held = false;
    loop {
        let line = next(lines, end)?;
        if let Some(code) = line.strip_prefix(VERDICT) {
            return code.trim().parse().with_context(|| format!("`{line}` carries no exit code"));
        }
        if held {
            on_line("");
        }
        held = line.is_empty();
        if !held {
            on_line(&line);
        }
    }
}

fn next(lines: &mpsc::Receiver<String>, end: Instant) -> Result<String> {
    match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        Ok(line) => Ok(line),
        Err(mpsc::RecvTimeoutError::Timeout) => bail!("not finished in its time"),
        Err(mpsc::RecvTimeoutError::Disconnected) => bail!("QEMU ended before the job did"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(lines: &[&str]) -> mpsc::Receiver<String> {
        let (sender, receiver) = mpsc::channel();
        lines.iter().for_each(|line| sender.send((*line).to_owned()).expect("the receiver lives"));
        receiver
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    fn followed(lines: &[&str]) -> (Option<u8>, Vec<String>) {
        let mut seen = Vec::new();
        let code = follow(&sent(lines), soon(), &mut |line| seen.push(line.to_owned()));
        (code.ok(), seen)
    }

    #[test]
    fn output_ends_with_the_verdict_and_keeps_its_empty_lines() {
        assert_eq!(
            followed(&["a", "", "b", "", "@vm exit 3"]),
            (Some(3), vec!["a".into(), "".into(), "b".into()])
        );
    }

    #[test]
    fn a_machine_that_stops_without_a_verdict_has_failed() {
        assert_eq!(followed(&["a"]), (None, vec!["a".into()]));
    }

    #[test]
    fn a_machine_is_up_when_its_first_process_says_so() {
        let lines = sent(&["noise", "@vm up", "a", "", "@vm exit 0"]);
        assert!(wait_for_job(&lines, soon()).is_ok());
        assert_eq!(lines.recv().ok().as_deref(), Some("a"));
        assert!(wait_for_job(&sent(&["noise"]), soon()).is_err());
    }
}
