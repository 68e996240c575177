//! The state files of a snapshot, for those who read the agent's state. Nothing is unpacked to a disk: paths in
//! the file are only compared.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::reader::Snapshot;
use crate::cilium::state::file::{Stamp, StateError, StateFiles};

#[derive(Debug)]
pub struct SnapshotFiles {
    snapshot: Arc<Snapshot>,
    /// Places in the index by path.
    by_path: HashMap<PathBuf, usize>,
}

impl SnapshotFiles {
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        let files = snapshot.manifest.files.iter().enumerate();
        let by_path = files.map(|(at, file)| (PathBuf::from(&file.path), at)).collect();
        Self { snapshot, by_path }
    }
}

impl StateFiles for SnapshotFiles {
    fn names(&self) -> io::Result<Vec<String>> {
        let files = self.snapshot.manifest.files.iter();
        let names: BTreeSet<&str> = files.map(|file| file.path.split('/').next().unwrap_or("")).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    fn stamp(&self, path: &Path) -> Result<Option<Stamp>, StateError> {
        let file = self.by_path.get(path).map(|at| &self.snapshot.manifest.files[*at]);
        Ok(file.map(|file| Stamp::fixed(file.modified, file.part.bytes.into())))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, StateError> {
        let absent = || StateError::Read(io::ErrorKind::NotFound.into());
        let at = self.by_path.get(path).ok_or_else(absent)?;
        self.snapshot.read(&self.snapshot.manifest.files[*at].part).map_err(StateError::Read)
    }

    fn place(&self, path: &Path) -> PathBuf {
        self.snapshot.path().join("state").join(path)
    }
}
