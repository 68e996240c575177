//! What the tests of `tracer drops` share: a node with everything that lives on it, a tracer that runs there,
//! and its output as values. Nothing here knows what is right; the tests do.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::node::agent::{Agent, Read};
use crate::node::kernel::process::into_space;
use crate::node::kernel::space::NodeSpace;
use crate::node::stats::Metric;
use crate::node::traffic::{Plan, Schedule, Sent, Services};
use crate::node::{Builder, Node};
use crate::programs;

/// The first of Cilium's drop reasons; smaller codes in the metrics are forwarded packets.
pub const FIRST_DROP: u8 = 130;
/// How long packets may still be on their way inside the kernel after they were sent.
const SETTLE: Duration = Duration::from_millis(200);
/// For everything that is over in a moment on an ordinary machine.
const LIMIT: Duration = Duration::from_secs(40);

/// How much slower than an ordinary machine this one is said to be.
pub fn patience() -> u32 {
    std::env::var("TRACER_TEST_PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Major and minor number of the running kernel.
pub fn kernel_version() -> Result<(u32, u32)> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse().ok());
    numbers.next().zip(numbers.next()).with_context(|| format!("no version in `{release}`"))
}

/// Debian's kernel for virtual machines: fentry and kprobes are there.
pub fn is_debian_cloud_kernel() -> bool {
    rustix::system::uname().release().to_string_lossy().contains("cloud-amd64")
}

/// Asks again and again until the answer is yes.
pub fn wait_until(what: &str, limit: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + limit * patience();
    while !is_so()? {
        ensure!(Instant::now() < end, "{what}: not after {} s", (limit * patience()).as_secs());
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A directory that goes away with the value.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tracer-e2e-{}-{number}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make `{}`", path.display()))?;
        Ok(Self(path))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A node on which services answer.
pub struct Scene {
    pub node: Node,
    _services: Services,
}

impl Scene {
    pub fn new(builder: Builder) -> Result<Self> {
        let node = builder.build()?;
        let services = node.start_services()?;
        Ok(Self { node, _services: services })
    }

    /// Sends so many rounds of `plan`, one after the other, and waits until they have arrived.
    pub fn send(&self, plan: Plan, rounds: u64) -> Result<Vec<Sent>> {
        let xdp = matches!(plan, Plan::Case(case) if case.needs_xdp);
        let schedule = Schedule { plan, ready: None, pause: Duration::ZERO, rounds: Some(rounds), xdp };
        let mut traffic = self.node.start_traffic(schedule)?;
        wait_until("traffic", LIMIT, || Ok(traffic.is_done()))?;
        let sent = traffic.stop()?;
        for case in &sent {
            ensure!(case.failed == 0, "case `{}` could not be sent: {case:?}", case.case);
        }
        thread::sleep(SETTLE * patience().min(3));
        Ok(sent)
    }

    /// One case of the traffic, by name.
    pub fn send_case(&self, name: &str, rounds: u64) -> Result<Vec<Sent>> {
        let plan = format!("case:{name}").parse().map_err(anyhow::Error::msg)?;
        self.send(plan, rounds)
    }

    /// What the datapath counts as dropped, by (reason, file id, line), summed over directions.
    pub fn dropped(&self) -> Result<Places> {
        let mut places = Places::new();
        for Metric { reason, file, line, packets, .. } in self.node.metrics()? {
            if reason >= FIRST_DROP {
                *places.entry((reason, file, line)).or_default() += packets;
            }
        }
        Ok(places)
    }

    pub fn start(&self, arguments: &[&str]) -> Result<Tracer> {
        Launch::new(arguments).start(self.node.space())
    }

    /// Runs tracer while `rounds` of all cases are sent.
    pub fn trace(&self, arguments: &[&str], rounds: u64) -> Result<(Run, Vec<Sent>)> {
        let tracer = self.start(arguments)?;
        let sent = self.send(Plan::Default, rounds)?;
        Ok((tracer.stop()?, sent))
    }

    /// What an agent reads while `work` is done.
    pub fn with_agent<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Read)> {
        let agent: Agent = self.node.start_agent()?;
        let value = work()?;
        Ok((value, agent.stop()))
    }
}

/// Packets by drop reason, file id and line.
pub type Places = BTreeMap<(u8, u8, u16), u64>;

/// What was counted between two readings.
pub fn growth(before: &Places, after: &Places) -> Places {
    let grown = |(place, count): (&_, &u64)| (*place, count - before.get(place).unwrap_or(&0));
    after.iter().map(grown).filter(|(_, count)| *count > 0).collect()
}

/// How to start `tracer drops`, or another command that follows drops.
#[derive(Default)]
pub struct Launch {
    verb: Option<&'static str>,
    arguments: Vec<OsString>,
    wrapper: Vec<OsString>,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
}

impl Launch {
    /// `arguments` come after `drops`.
    pub fn new(arguments: &[&str]) -> Self {
        Self { arguments: arguments.iter().map(OsString::from).collect(), ..Self::default() }
    }

    /// The command, if not `drops`.
    pub fn verb(mut self, verb: &'static str) -> Self {
        self.verb = Some(verb);
        self
    }

    /// A command that gets tracer as its last arguments.
    pub fn wrapped(mut self, wrapper: Vec<OsString>) -> Self {
        self.wrapper = wrapper;
        self
    }

    /// What it reads instead of nothing.
    pub fn stdin(mut self, stdin: Stdio) -> Self {
        self.stdin = Some(stdin);
        self
    }

    /// Where the events go instead of into [`Run::stdout`].
    pub fn stdout(mut self, stdout: Stdio) -> Self {
        self.stdout = Some(stdout);
        self
    }

    /// Starts it in `space` and waits until it has attached.
    pub fn start(self, space: &NodeSpace) -> Result<Tracer> {
        let scratch = Scratch::new()?;
        let create = |name: &str| File::create(scratch.path(name)).context("cannot make a file for output");
        let mut words = self.wrapper;
        words.push(programs::path("tracer")?.into());
        words.extend([
            self.verb.unwrap_or("drops").into(),
            "--ready-file".into(),
            scratch.path("ready").into(),
        ]);
        words.extend(self.arguments);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(self.stdin.unwrap_or_else(Stdio::null)).env("TERM", "xterm");
        command.stdout(self.stdout.map_or_else(|| create("stdout").map(Stdio::from), Ok)?);
        command.stderr(create("stderr")?);
        let child = into_space(&mut command, space)?.spawn().context("cannot start tracer")?;
        let mut tracer = Tracer { child: Some(child), scratch };
        tracer.wait_until_ready()?;
        Ok(tracer)
    }
}

/// A running tracer; killed when dropped.
pub struct Tracer {
    child: Option<Child>,
    scratch: Scratch,
}

impl Tracer {
    fn child(&mut self) -> Result<&mut Child> {
        self.child.as_mut().context("tracer has been waited for")
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let ready = self.scratch.path("ready");
        wait_until("tracer is ready", LIMIT, || {
            // A short run may be over before we look.
            if ready.exists() {
                return Ok(true);
            }
            if let Some(status) = self.child()?.try_wait()?
                && !ready.exists()
            {
                bail!("tracer ended early ({status}): {}", self.text("stderr"));
            }
            Ok(false)
        })
    }

    fn text(&self, name: &str) -> String {
        fs::read(self.scratch.path(name))
            .map_or_else(|_| String::new(), |b| String::from_utf8_lossy(&b).into())
    }

    /// Its stderr so far.
    pub fn stderr(&self) -> String {
        self.text("stderr")
    }

    /// Its stdout so far.
    pub fn stdout(&self) -> String {
        self.text("stdout")
    }

    pub fn pid(&mut self) -> Result<Pid> {
        Ok(Pid::from_child(self.child()?))
    }

    /// `/proc/PID/name` of its process.
    pub fn proc(&mut self, name: &str) -> Result<PathBuf> {
        Ok(Path::new("/proc").join(self.child()?.id().to_string()).join(name))
    }

    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        kill_process(self.pid()?, signal).context("cannot send a signal to tracer")
    }

    /// The pipe that was asked for as stdout.
    pub fn take_stdout(&mut self) -> Result<std::process::ChildStdout> {
        self.child()?.stdout.take().context("stdout is no pipe")
    }

    /// Stops it as Ctrl-C does.
    pub fn stop(mut self) -> Result<Run> {
        self.signal(Signal::INT)?;
        self.wait()
    }

    /// Waits until it ends by itself.
    pub fn wait(mut self) -> Result<Run> {
        let mut status = None;
        wait_until("the end of tracer", LIMIT, || {
            status = self.child()?.try_wait()?;
            Ok(status.is_some())
        })?;
        self.child = None;
        let status = status.context("no exit status")?;
        Ok(Run { status, stdout: self.stdout(), stderr: self.stderr() })
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A tracer that has ended.
#[derive(Debug)]
pub struct Run {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn expect_code(&self, code: i32) -> Result<()> {
        let panicked = self.stderr.contains("panicked at");
        ensure!(
            !panicked && self.status.code() == Some(code),
            "{}, not {code}: {}",
            self.status,
            self.stderr
        );
        Ok(())
    }

    /// The lines of stdout as JSON.
    pub fn events(&self) -> Result<Vec<Value>> {
        let parse = |line: &str| serde_json::from_str(line).with_context(|| format!("no JSON: `{line}`"));
        self.stdout.lines().map(parse).collect()
    }

    /// The closing summary of a run with `-o json`.
    pub fn summary(&self) -> Result<Summary> {
        let line = self.stderr.lines().rev().find(|line| line.starts_with("{\"summary\":"));
        let line = line.with_context(|| format!("no summary on stderr: {}", self.stderr))?;
        let mut value: Value = serde_json::from_str(line).context("the summary is no JSON")?;
        Ok(Summary(value["summary"].take()))
    }
}

/// The summary's JSON object.
#[derive(Debug)]
pub struct Summary(pub Value);

impl Summary {
    /// A 64-bit number: a string of digits.
    pub fn number(&self, pointer: &str) -> Result<i64> {
        let text = self.0.pointer(pointer).and_then(Value::as_str);
        let text = text.with_context(|| format!("no `{pointer}` in the summary: {}", self.0))?;
        text.parse().with_context(|| format!("`{pointer}` is no number: {text}"))
    }

    /// A tap's hook and counters; `None` if it was off.
    pub fn tap(&self, tap: &str) -> Option<&Value> {
        self.0["taps"].as_array()?.iter().find(|row| row["name"] == tap)
    }

    /// How a tap was attached; `None` if it was off.
    pub fn hook(&self, tap: &str) -> Option<&str> {
        self.tap(tap)?["hook"].as_str()
    }

    /// A counter summed over all taps.
    pub fn of_taps(&self, counter: &str) -> Result<i64> {
        let taps = self.0["taps"].as_array().context("no taps in the summary")?;
        (0..taps.len()).map(|at| self.number(&format!("/taps/{at}/{counter}"))).sum()
    }

    /// That every drop which the datapath counted has been accounted for.
    pub fn expect_complete(&self, dropped: u64) -> Result<()> {
        let counted = self.number("/cilium_metrics/counted")?;
        ensure!(counted == dropped as i64, "{counted} drops counted, {dropped} expected: {}", self.0);
        ensure!(self.number("/cilium_metrics/unaccounted")? == 0, "unaccounted drops: {}", self.0);
        ensure!(self.0["incomplete"] == false, "incomplete: {}", self.0);
        Ok(())
    }
}
