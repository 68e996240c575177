//! Who answers: the server's port 8080, the name server's port 53, a web server in the world. One thread for
//! all, since a socket stays in the namespace that it was made in.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::node::cast::ALLOWED_PORT;
use crate::node::kernel::space::NetSpace;

const POLL: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const PATIENCE: Duration = Duration::from_millis(500);
/// Both families.
const ANY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// One listening socket.
enum Service {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Service {
    fn tcp(port: u16) -> Result<Self> {
        let listener =
            TcpListener::bind((ANY, port)).with_context(|| format!("cannot listen on port {port}"))?;
        listener.set_nonblocking(true)?;
        Ok(Self::Tcp(listener))
    }

    fn udp(port: u16) -> Result<Self> {
        let socket = UdpSocket::bind((ANY, port)).with_context(|| format!("cannot listen on port {port}"))?;
        socket.set_nonblocking(true)?;
        Ok(Self::Udp(socket))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Udp(socket) => socket.as_fd(),
        }
    }

    /// Serves whoever is waiting. A peer that goes away is not our trouble.
    fn serve(&self) {
        match self {
            Self::Tcp(listener) => {
                while let Ok((stream, _)) = listener.accept() {
                    let _ = greet(stream);
                }
            }
            Self::Udp(socket) => {
                let mut question = [0; 4096];
                while let Ok((length, peer)) = socket.recv_from(&mut question) {
                    // Long ones are fragments' tests: they want no answer.
                    if length < 512 {
                        let _ = socket.send_to(b"answer", peer);
                    }
                }
            }
        }
    }
}

fn greet(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut hello = [0; 5];
    stream.read_exact(&mut hello)?;
    stream.write_all(&hello)
}

/// The answering side of the traffic; ends when dropped.
#[derive(Debug)]
pub struct Services {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Services {
    pub fn start(server: &NetSpace, dns: &NetSpace, world: &NetSpace) -> Result<Self> {
        let services = [
            server.run(|| Service::tcp(ALLOWED_PORT))?,
            dns.run(|| Service::udp(53))?,
            world.run(|| Service::tcp(443))?,
        ];
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("services".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                let mut fds: Vec<PollFd<'_>> = services
                    .iter()
                    .map(|service| PollFd::from_borrowed_fd(service.fd(), PollFlags::IN))
                    .collect();
                let _ = poll(&mut fds, Some(&POLL));
                services.iter().for_each(Service::serve);
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
