//! Code made of the files in `tracer/proto`: `cargo run -p proto-build` writes it anew, a test there says when
//! it is out of date.

/// Hubble's flows.
#[allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
pub mod flow {
    include!("proto/flow.rs");
}

/// The Observer service.
#[allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
pub mod observer {
    include!("proto/observer.rs");
}

/// The Peer service.
#[allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
pub mod peer {
    include!("proto/peer.rs");
}

/// States of nodes.
#[allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
pub mod relay {
    include!("proto/relay.rs");
}

/// The schema itself, as an encoded `FileDescriptorSet`.
pub const SCHEMA: &[u8] = include_bytes!("proto/schema.bin");
