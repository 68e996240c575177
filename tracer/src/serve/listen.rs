//! Listening sockets. A connection gets a task of its own; one that does not get through its handshake is
//! dropped.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Gid, Mode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::error::ServeError;
use super::tls::Tls;

/// Connections at one time, over all listeners.
const MAX_CONNECTIONS: u32 = 512;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Rest after a failed accept: too many open files do not get fewer by trying.
const REST: Duration = Duration::from_millis(100);
/// How long calls may take to end once the server stops.
const FAREWELL: Duration = Duration::from_secs(3);

/// Tells when the server is to end.
#[derive(Clone)]
pub struct Stop(pub watch::Receiver<bool>);

impl Stop {
    /// Returns once it is.
    pub async fn wanted(&mut self) {
        // The sender lives as long as the server.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// What connections have in common: their number is limited, and they end together.
#[derive(Clone)]
pub struct Connections {
    permits: Arc<Semaphore>,
    pub stop: Stop,
}

impl Connections {
    pub fn new(stop: Stop) -> Self {
        Self { permits: Arc::new(Semaphore::new(MAX_CONNECTIONS as usize)), stop }
    }

    /// Waits until all connections have ended, but not forever.
    pub async fn all_ended(&self) {
        let _ = tokio::time::timeout(FAREWELL, self.permits.acquire_many(MAX_CONNECTIONS)).await;
    }

    /// Room for one more. `None`: no more are wanted.
    async fn permit(&mut self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            permit = Arc::clone(&self.permits).acquire_owned() => permit.ok(),
            () = self.stop.wanted() => None,
        }
    }
}

/// Any connection.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for T {}

/// Gives each connection to `handle`, until told to stop.
async fn accept_all<C, A, H, F>(mut connections: Connections, accept: A, handle: H)
where
    A: AsyncFn() -> io::Result<C>,
    H: Fn(C, Stop) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    while let Some(permit) = connections.permit().await {
        let accepted = tokio::select! {
            accepted = accept() => accepted,
            () = connections.stop.wanted() => return,
        };
        match accepted {
            Ok(connection) => {
                let handling = handle(connection, connections.stop.clone());
                tokio::spawn(async move {
                    handling.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// A unix socket, removed when dropped.
pub struct Unix {
    listener: UnixListener,
    path: PathBuf,
}

impl Unix {
    /// Listens at `path`, for the owner only, or for `group` too. A socket that nobody listens on any more is
    /// replaced.
    pub fn bind(path: &Path, group: Option<u32>) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Socket { path: path.to_owned(), source };
        remove_stale(path)?;
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        // Nobody else may connect, not even for a moment.
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        let bound = Self { listener: listener.map_err(failed)?, path: path.to_owned() };
        if let Some(group) = group {
            let group = Some(Gid::from_raw(group));
            rustix::fs::chownat(CWD, path, None, group, AtFlags::empty()).map_err(|e| failed(e.into()))?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
        }
        Ok(bound)
    }

    /// Serves every connection until told to stop.
    pub async fn serve<F: Future<Output = ()> + Send + 'static>(
        &self,
        connections: Connections,
        handle: impl Fn(tokio::net::UnixStream, Stop) -> F,
    ) {
        accept_all(connections, async || Ok(self.listener.accept().await?.0), handle).await;
    }
}

impl Drop for Unix {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "socket");
        }
    }
}

/// A server that was killed leaves its socket behind.
fn remove_stale(path: &Path) -> Result<(), ServeError> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let path = path.to_owned();
    if !found.file_type().is_socket() {
        return Err(ServeError::NoSocket { path });
    }
    if StdUnixStream::connect(&path).is_ok() {
        return Err(ServeError::Busy { path });
    }
    std::fs::remove_file(&path).map_err(|source| ServeError::Socket { path, source })
}

/// The group's number; `name` may be one already.
pub fn group_id(name: &str) -> Result<u32, ServeError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let line = groups.lines().find(|line| line.split(':').next() == Some(name));
    let number = line.and_then(|line| line.split(':').nth(2)?.parse().ok());
    number.ok_or_else(|| ServeError::Group(name.to_owned()))
}

/// A TCP socket.
pub struct Tcp {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Tcp {
    pub async fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Tcp { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Serves every connection as it is until told to stop.
    pub async fn serve<F: Future<Output = ()> + Send + 'static>(
        &self,
        connections: Connections,
        handle: impl Fn(tokio::net::TcpStream, Stop) -> F,
    ) {
        accept_all(connections, async || self.accept().await, handle).await;
    }

    async fn accept(&self) -> io::Result<tokio::net::TcpStream> {
        let (connection, _) = self.listener.accept().await?;
        connection.set_nodelay(true)?;
        Ok(connection)
    }

    /// Serves every connection that gets through the handshake, until told to stop.
    pub async fn serve_tls<F: Future<Output = ()> + Send + 'static>(
        &self,
        connections: Connections,
        tls: &Tls,
        handle: impl Fn(tokio_rustls::server::TlsStream<tokio::net::TcpStream>, Stop) -> F
        + Clone
        + Send
        + 'static,
    ) {
        let with_handshake = |connection, stop| {
            let handshake = tls.acceptor().accept(connection);
            let handle = handle.clone();
            async move {
                match tokio::time::timeout(HANDSHAKE, handshake).await {
                    Ok(Ok(connection)) => handle(connection, stop).await,
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake"),
                    Err(_) => tracing::debug!("TLS handshake: no answer"),
                }
            }
        };
        accept_all(connections, async || self.accept().await, with_handshake).await;
    }
}
