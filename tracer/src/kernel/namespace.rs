//! Work in another network namespace.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Runs `work` in the network namespace behind `path` (`/proc/PID/ns/net`), in a thread of its own that ends
/// with it. Needs CAP_SYS_ADMIN, and CAP_SYS_PTRACE for the path of another process.
pub fn in_network<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let space = File::open(path)?;
    std::thread::scope(|scope| {
        let entered = scope.spawn(|| {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        });
        entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Whether `path` names the network namespace that we are in.
pub fn is_own_network(path: &Path) -> io::Result<bool> {
    let own = fs::metadata("/proc/thread-self/ns/net")?;
    let other = fs::metadata(path)?;
    Ok((own.dev(), own.ino()) == (other.dev(), other.ino()))
}
