//! Clients made of the files in `tests/proto`, which were written from the description of the protocols: what
//! tracer's own files say does not count here. `cargo run -p proto-build` writes them anew.

#[allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
pub mod observer {
    include!("observer.rs");
}

#[allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
pub mod peer {
    include!("peer.rs");
}

#[allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
pub mod health {
    include!("grpc.health.v1.rs");
}

#[allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
pub mod reflection {
    include!("grpc.reflection.v1.rs");
}
