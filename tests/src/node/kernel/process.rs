//! The command that runs on the node: started in its namespaces, killed with us, told to stop in time.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, chdir, getpid, getppid, kill_process, set_parent_process_death_signal};

use super::space::NodeSpace;

/// How long a command may take to stop before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How often a supervisor looks whether it is time.
const TICK: Duration = Duration::from_millis(50);

/// SIGINT, SIGTERM and SIGCHLD as a descriptor; they do nothing else from now on.
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Call before the first thread is made: threads inherit the mask.
    pub fn block() -> io::Result<Self> {
        // SAFETY: `set` is a plain value that sigemptyset initialises before it is read; the calls get
        // valid pointers to it and keep none.
        let fd = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD] {
                libc::sigaddset(&mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd just returned this descriptor to us; nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Waits until a signal comes or `until` is reached.
    fn wait(&self, until: Option<Instant>) -> io::Result<Option<Received>> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout =
            left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => self.read(),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&self) -> io::Result<Option<Received>> {
        // struct signalfd_siginfo: signo u32 at 0, code i32 at 8.
        let mut info = [0u8; 128];
        match rustix::io::read(self.fd.as_fd(), &mut info) {
            Ok(_) => {
                let word =
                    |at: usize| i32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
                Ok(Some(Received { signal: word(0), from_terminal: word(8) == libc::SI_KERNEL }))
            }
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for a stop signal or for `is_time`, which is asked some times a second.
    pub fn wait_for_stop(&self, mut is_time: impl FnMut() -> bool) -> io::Result<()> {
        while !is_time() {
            if let Some(received) = self.wait(Some(Instant::now() + TICK))?
                && received.signal != libc::SIGCHLD
            {
                return Ok(());
            }
        }
        Ok(())
    }
}

struct Received {
    signal: i32,
    /// The terminal sent it, and so to the command as well.
    from_terminal: bool,
}

/// Makes `command` start inside `space` and die with the thread that starts it.
pub fn into_space<'a>(command: &'a mut Command, space: &NodeSpace) -> io::Result<&'a mut Command> {
    let space = space.try_clone()?;
    let parent = getpid();
    let directory = CString::new(std::env::current_dir()?.into_os_string().into_vec())?;
    let enter = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != Some(parent) {
            return Err(io::Error::other("parent is gone"));
        }
        // A shell that starts us in the background has SIGINT ignored; the command is stopped by it.
        default_signals();
        space.enter_single_threaded()?;
        // Entering a mount namespace leads to `/`.
        Ok(chdir(directory.as_c_str())?)
    };
    // SAFETY: between fork and exec `enter` makes system calls only; it takes no lock and, but for an error
    // text after the parent's death, allocates nothing.
    Ok(unsafe { command.pre_exec(enter) })
}

/// Default action for SIGINT and nothing blocked. Safe between fork and exec.
fn default_signals() {
    // SAFETY: the default action involves no code of this process; `set` is initialised by sigemptyset
    // before it is read.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::pthread_sigmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

/// Waits for `child` and passes signals on. `is_time` is asked some times a second; when it says so, and
/// never before, the child gets SIGINT, and SIGKILL if it lingers.
pub fn supervise(
    signals: &Signals,
    mut child: Child,
    mut is_time: impl FnMut() -> bool,
) -> io::Result<ExitStatus> {
    let pid = Pid::from_child(&child);
    let mut killed_at = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        match signals.wait(Some(Instant::now() + TICK))? {
            Some(received) if received.signal == libc::SIGCHLD => {}
            Some(received) => {
                if !received.from_terminal {
                    let _ =
                        kill_process(pid, Signal::from_named_raw(received.signal).unwrap_or(Signal::TERM));
                }
                killed_at = killed_at.or(Some(Instant::now() + GRACE));
            }
            None => {}
        }
        match killed_at {
            None if is_time() => {
                let _ = kill_process(pid, Signal::INT);
                killed_at = Some(Instant::now() + GRACE);
            }
            Some(at) if Instant::now() >= at => {
                let _ = kill_process(pid, Signal::KILL);
            }
            _ => {}
        }
    }
}

/// The exit code as a shell would show it.
pub fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

/// Kernels before 5.11 count maps against this limit. Without the right to raise it, map creation tells.
pub fn raise_memlock() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}
