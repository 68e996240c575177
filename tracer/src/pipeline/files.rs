//! Names of Cilium's source files, for the release that the node runs.

use tracer_common::cilium::notify::DropGeneration;

use crate::cilium::file;
use crate::cilium::release::ReleaseRange;
use crate::model::names::{SourceFile, SourceFiles};

/// The table of file ids, read for the releases that are known to be possible here.
#[derive(Clone, Copy, Debug)]
pub struct FileNames {
    pub known: ReleaseRange,
}

impl SourceFiles for FileNames {
    fn source_file(&mut self, id: u8, sent_as: Option<DropGeneration>) -> Option<SourceFile> {
        let said = sent_as.and_then(|generation| ReleaseRange::of_drop_message(generation.length()));
        let range = said.map_or(self.known, |said| self.known.intersect(said).unwrap_or(said));
        file::name(id, range).map(|file| SourceFile { name: file.name, certain: file.certain })
    }
}
