//! Turns .proto files into Rust code. The result is committed, so that building tracer needs neither protoc
//! nor this crate; a test says when it is out of date, `cargo run -p proto-build` writes it anew.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use prost::Message as _;
use tonic_prost_build::{Builder, FileDescriptorSet};

/// One set of .proto files and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Where the files are, and what imports are relative to.
    pub root: &'static str,
    pub files: &'static [&'static str],
    /// Where the code goes.
    pub out: &'static str,
    /// Which code is made.
    pub side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Services to implement, and the schema itself for reflection. Flows and filters are read and written by
    /// hand there.
    Server,
    /// Clients over a channel.
    Client,
}

/// What `tracer serve` speaks.
pub const SERVER: Schema = Schema {
    root: "tracer/proto",
    files: &["observer/observer.proto", "peer/peer.proto"],
    out: "tracer/src/serve/proto",
    side: Side::Server,
};

/// The end-to-end tests' own copy, written from the description of the protocol.
pub const TESTS: Schema = Schema {
    root: "tests/proto",
    files: &["health.proto", "observer.proto", "peer.proto", "reflection.proto"],
    out: "tests/src/proto",
    side: Side::Client,
};

/// Name of the file with the encoded descriptor set.
const DESCRIPTORS: &str = "schema.bin";

impl Schema {
    /// Writes the code below `out`; `workspace` is the directory that the schema's paths are relative to.
    pub fn write(&self, workspace: &Path, out: &Path) -> Result<()> {
        let root = workspace.join(self.root);
        let files: Vec<PathBuf> = self.files.iter().map(|file| root.join(file)).collect();
        let set = protox::compile(&files, [&root]).context("the schema cannot be compiled")?;
        fs::create_dir_all(out)?;
        self.builder(out).compile_fds(without_comments_of_others(set.clone()))?;
        if self.side == Side::Server {
            fs::write(out.join(DESCRIPTORS), without_comments(set).encode_to_vec())?;
        }
        Ok(())
    }

    fn builder(&self, out: &Path) -> Builder {
        let builder = tonic_prost_build::configure().out_dir(out).build_transport(self.side == Side::Client);
        match self.side {
            Side::Client => builder.build_server(false),
            Side::Server => builder
                .build_client(false)
                .extern_path(".observer.GetFlowsResponse", "crate::serve::wire::Response")
                .extern_path(".flow.FlowFilter", "crate::serve::wire::Fields"),
        }
    }
}

/// Comments in Google's files are not ours to repeat.
fn without_comments_of_others(mut set: FileDescriptorSet) -> FileDescriptorSet {
    for file in &mut set.file {
        if file.package().starts_with("google.") {
            file.source_code_info = None;
        }
    }
    set
}

fn without_comments(mut set: FileDescriptorSet) -> FileDescriptorSet {
    for file in &mut set.file {
        file.source_code_info = None;
    }
    set
}
