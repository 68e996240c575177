//! Handmade frames: a packet socket on one device.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Sends whole Ethernet frames out of a device of the namespace it was opened in.
#[derive(Debug)]
pub struct LinkSocket {
    fd: OwnedFd,
    ifindex: u32,
}

impl LinkSocket {
    pub fn open(ifindex: u32) -> io::Result<Self> {
        // SAFETY: no pointer is passed. Protocol 0: this socket receives nothing.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: socket() just returned this descriptor to us; nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, ifindex })
    }

    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: all-zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = self.ifindex as i32;
        // SAFETY: `frame` and `address` are live and as long as stated; the kernel copies them.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
