//! Why a server cannot listen.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio_rustls::rustls;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on `{path}`: another server answers there")]
    Busy { path: PathBuf },
    #[error("cannot listen on `{path}`: it is there and is no socket; remove it or name another --socket")]
    NoSocket { path: PathBuf },
    #[error("cannot listen on `{path}`: {source}")]
    Socket { path: PathBuf, source: io::Error },
    #[error("cannot listen on {address}: {source}")]
    Tcp { address: SocketAddr, source: io::Error },
    #[error("no group `{0}` on this machine")]
    Group(String),
    #[error("cannot read `{path}`: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("`{path}` holds no {what} in PEM form")]
    Pem { path: PathBuf, what: &'static str },
    #[error("certificate and key cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the client CA cannot be used: {0}")]
    ClientCa(#[from] rustls::server::VerifierBuilderError),
    #[error("the schema cannot be served: {0}")]
    Schema(#[from] tonic_reflection::server::Error),
}
