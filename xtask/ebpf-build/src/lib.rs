//! Finds a rustc with library sources and a bpf-linker, and builds an eBPF crate with them. Standard library
//! only: build scripts use it. Installing what is missing is the business of `cargo xtask setup`.

mod build;
mod script;
mod toolchain;

pub use build::build;
pub use script::{OBJECTS_ENV, build_script};
pub use toolchain::{BPF_LINKER_VERSION, LINKER_ENV, Missing, RUSTC_ENV, Toolchain};
pub use toolchain::{cache_dir, find_linkers, find_rustcs, find_toolchain, linker_root};
