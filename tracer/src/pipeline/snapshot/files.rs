//! State files into a snapshot: those that tracer reads, and no others.

use std::io;
use std::path::Path;

use super::redact::Pseudonyms;
use crate::cilium::state::directory;
use crate::cilium::state::file::{Problem, StateFiles};
use crate::snapshot::Writer;
use crate::snapshot::manifest::File;

/// Besides those of endpoints.
const NODE_FILES: [&str; 4] =
    ["agent-runtime-config.json", "local_allocator_state.json", "nodes.json", "globals/node_config.h"];
const ENDPOINT_FILES: [&str; 2] = ["ep_config.json", "ep_config.h"];

/// Writes what is there; what cannot be read is told.
pub fn write(
    files: &dyn StateFiles,
    writer: &mut Writer,
    mut pseudonyms: Option<&mut Pseudonyms>,
) -> io::Result<Vec<File>> {
    let mut written = Vec::new();
    for path in paths(files) {
        let stamp = match files.stamp(Path::new(&path)) {
            Ok(Some(stamp)) => stamp,
            Ok(None) => continue,
            Err(error) => {
                tell(files, &path, error);
                continue;
            }
        };
        let contents = match files.read(Path::new(&path)) {
            Ok(contents) => contents,
            Err(error) => {
                tell(files, &path, error);
                continue;
            }
        };
        let contents = match &mut pseudonyms {
            Some(pseudonyms) => pseudonyms.file(&path, &contents),
            None => Some(contents),
        };
        let Some(contents) = contents else {
            tracing::warn!("`{path}` is not what an agent writes: left out");
            continue;
        };
        let part = writer.member(&format!("state/{path}"), &contents)?;
        written.push(File { path, modified: stamp.modified(), part });
    }
    Ok(written)
}

fn tell(files: &dyn StateFiles, path: &str, error: crate::cilium::state::file::StateError) {
    tracing::warn!("{}", Problem { path: files.place(Path::new(path)), error }.line());
}

fn paths(files: &dyn StateFiles) -> Vec<String> {
    let mut paths: Vec<String> = NODE_FILES.map(str::to_owned).into();
    let names = files.names().unwrap_or_else(|error| {
        tracing::warn!("cannot list the state directory: {error}");
        Vec::new()
    });
    let endpoints = names.iter().filter(|name| directory::is_endpoint(name));
    paths.extend(endpoints.flat_map(|name| ENDPOINT_FILES.map(|file| format!("{name}/{file}"))));
    paths
}
