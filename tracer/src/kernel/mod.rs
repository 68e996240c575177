//! The running kernel: bpf(2), type information, symbols, drop reasons, clocks, rights. The only place with
//! `unsafe` code.

pub mod attached;
pub mod bpf;
pub mod btf;
pub mod clock;
pub mod drop_reason;
pub mod kallsyms;
pub mod layout;
pub mod links;
pub mod memory;
pub mod names;
pub mod namespace;
pub mod netlink;
pub mod rights;
pub mod sockets;
pub mod system;
pub mod version;

/// Lends the descriptor of something that knows it only as a number, for as long as that thing lives.
pub(crate) fn borrow_fd<T>(_owner: &T, fd: std::os::fd::RawFd) -> std::os::fd::BorrowedFd<'_> {
    // SAFETY: the owner keeps the descriptor open, and the result cannot outlive the owner.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }
}
