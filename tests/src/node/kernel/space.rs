//! Private namespaces: unnamed, held by descriptors, gone with the last of them. Work inside one is done by
//! a thread that enters it and ends.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// A network namespace.
#[derive(Debug)]
pub struct NetSpace {
    net: OwnedFd,
}

/// A network namespace with a mount namespace that shows it.
#[derive(Debug)]
pub struct NodeSpace {
    pub net: NetSpace,
    mnt: OwnedFd,
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the flags used here (file system, mounts, network) change no memory or descriptor of the process.
    Ok(unsafe { unshare_unsafe(flags) }?)
}

/// The namespace of this thread, as a descriptor.
fn own_space(kind: &str) -> Result<OwnedFd> {
    let path = format!("/proc/thread-self/ns/{kind}");
    Ok(File::open(&path).with_context(|| format!("cannot open `{path}`"))?.into())
}

/// Runs `work` in a thread of its own and waits for it.
fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

impl NetSpace {
    /// A new namespace with only a loopback device, which is down.
    pub fn create() -> Result<Self> {
        in_thread(|| {
            unshare(UnshareFlags::NEWNET).context("cannot make a network namespace (root is needed)")?;
            Ok(Self { net: own_space("net")? })
        })
    }

    /// Another handle on the same namespace.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { net: self.net.try_clone()? })
    }

    /// Moves the calling thread into it, for good.
    pub fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.net.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    /// Runs `work` inside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_thread(|| {
            self.enter().context("cannot enter a network namespace")?;
            work()
        })
    }
}

impl AsFd for NetSpace {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.net.as_fd()
    }
}

impl NodeSpace {
    /// New namespaces with a fresh sysfs, a private bpffs and an empty /run/cilium.
    pub fn create() -> Result<Self> {
        in_thread(|| {
            unshare(UnshareFlags::FS | UnshareFlags::NEWNS | UnshareFlags::NEWNET)
                .context("cannot make mount and network namespaces (root is needed)")?;
            mount_all()?;
            Ok(Self { net: NetSpace { net: own_space("net")? }, mnt: own_space("mnt")? })
        })
    }

    /// Another handle on the same namespaces.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { net: self.net.try_clone()?, mnt: self.mnt.try_clone()? })
    }

    /// Moves the calling thread into both, for good. The thread's working directory becomes `/`.
    pub fn enter(&self) -> io::Result<()> {
        unshare(UnshareFlags::FS)?;
        self.enter_single_threaded()
    }

    /// The same for a process that has one thread, as between fork and exec; makes no allocation.
    pub fn enter_single_threaded(&self) -> io::Result<()> {
        move_into_link_name_space(self.mnt.as_fd(), Some(LinkNameSpaceType::Mount))?;
        self.net.enter()
    }

    /// Runs `work` inside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_thread(|| {
            self.enter().context("cannot enter the node's namespaces")?;
            work()
        })
    }
}

fn mount_on(kind: &str, target: &str) -> Result<()> {
    mount(kind, target, kind, MountFlags::empty(), None)
        .with_context(|| format!("cannot mount {kind} on `{target}`"))
}

fn mount_all() -> Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("cannot make the mounts private")?;
    mount_on("sysfs", "/sys")?;
    mount_on("bpf", "/sys/fs/bpf")?;
    // The tracer's last resort needs tracefs; a kernel without it is a case of its own.
    if Path::new("/sys/kernel/tracing").exists() {
        let _ = mount_on("tracefs", "/sys/kernel/tracing");
    }
    mount_run()
}

/// /run/cilium and /var/run/cilium, one tmpfs, without leaving a directory on the real file system.
fn mount_run() -> Result<()> {
    if Path::new("/run/cilium").is_dir() {
        mount_on("tmpfs", "/run/cilium")?;
    } else {
        fs::create_dir_all("/run").context("cannot make `/run`")?;
        mount_on("tmpfs", "/run")?;
        fs::create_dir("/run/cilium").context("cannot make `/run/cilium`")?;
    }
    let same = match (fs::canonicalize("/var/run"), fs::canonicalize("/run")) {
        (Ok(var_run), Ok(run)) => var_run == run,
        _ => false,
    };
    if same {
        return Ok(());
    }
    fs::create_dir_all("/var/run").context("cannot make `/var/run`")?;
    mount_bind("/run", "/var/run").context("cannot bind `/run` to `/var/run`")
}
