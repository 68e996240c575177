//! Reads one state file whole, within limits: a regular file of bounded size, whatever stands at the path.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// More than any agent writes into one of its files.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What is wrong with a state file.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot be read")]
    Read(#[source] io::Error),
    #[error("is not a regular file")]
    NotAFile,
    #[error("is too large: {found} bytes, at most {MAX_BYTES} expected")]
    TooLarge { found: u64 },
    #[error("is not the JSON that an agent writes")]
    Json(#[source] serde_json::Error),
    #[error("has no line `CILIUM_BASE64_…`")]
    NoData,
    #[error("has broken base64 in its line `CILIUM_BASE64_…`")]
    Base64(#[source] base64::DecodeError),
    #[error("speaks of endpoint {found}, expected {expected}")]
    WrongId { found: u16, expected: u16 },
}

/// A file of the state directory that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{}` {error}", path.display())]
pub struct Problem {
    pub path: PathBuf,
    #[source]
    pub error: StateError,
}

impl Problem {
    /// The text with its cause on one line.
    pub fn line(&self) -> String {
        match std::error::Error::source(&self.error) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

/// The files of a state directory, wherever they are kept. Paths are relative to the directory, which is `""`.
pub trait StateFiles: std::fmt::Debug + Send + Sync {
    /// Names in the directory.
    fn names(&self) -> io::Result<Vec<String>>;

    /// `None`: nothing is there.
    fn stamp(&self, path: &Path) -> Result<Option<Stamp>, StateError>;

    /// The whole file, at most [`MAX_BYTES`].
    fn read(&self, path: &Path) -> Result<Vec<u8>, StateError>;

    /// How people find it.
    fn place(&self, path: &Path) -> PathBuf;
}

/// A state directory of the file system.
#[derive(Clone, Debug)]
pub struct LiveFiles(pub PathBuf);

impl StateFiles for LiveFiles {
    fn names(&self) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    }

    fn stamp(&self, path: &Path) -> Result<Option<Stamp>, StateError> {
        Stamp::of(&self.place(path))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, StateError> {
        read(&self.place(path))
    }

    fn place(&self, path: &Path) -> PathBuf {
        self.0.join(path)
    }
}

/// Tells whether a file is still the one that was read: agents replace files, they do not edit them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    modified: (i64, i64),
    size: u64,
    inode: u64,
}

impl Stamp {
    /// `None`: nothing is there.
    pub fn of(path: &Path) -> Result<Option<Self>, StateError> {
        match std::fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self::from(&metadata))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(StateError::Read(error)),
        }
    }

    /// Of a file that never changes.
    pub const fn fixed(modified: (i64, i64), size: u64) -> Self {
        Self { modified, size, inode: 0 }
    }

    /// Bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Seconds and nanoseconds of the last change.
    pub const fn modified(&self) -> (i64, i64) {
        self.modified
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
            inode: metadata.ino(),
        }
    }
}

/// The whole file. Never blocks on a pipe and never reads more than [`MAX_BYTES`].
pub fn read(path: &Path) -> Result<Vec<u8>, StateError> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(StateError::Read)?;
    let found = bytes.len() as u64;
    if found > MAX_BYTES { Err(StateError::TooLarge { found }) } else { Ok(bytes) }
}

fn open(path: &Path) -> Result<File, StateError> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(StateError::Read)?;
    let metadata = file.metadata().map_err(StateError::Read)?;
    if !metadata.is_file() {
        return Err(StateError::NotAFile);
    }
    if metadata.len() > MAX_BYTES {
        return Err(StateError::TooLarge { found: metadata.len() });
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &Path) -> String {
        Problem { path: "x".into(), error: read(path).unwrap_err() }.line()
    }

    #[test]
    fn a_huge_file_is_refused_before_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge");
        File::create(&path).unwrap().set_len(100 * 1024 * 1024).unwrap();
        assert_eq!(line(&path), "`x` is too large: 104857600 bytes, at most 16777216 expected");
    }

    #[test]
    fn directories_pipes_and_link_loops_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(line(dir.path()), "`x` is not a regular file");
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(line(&pipe), "`x` is not a regular file");
        let link = dir.path().join("loop");
        std::os::unix::fs::symlink(&link, &link).unwrap();
        assert!(line(&link).starts_with("`x` cannot be read: "), "{}", line(&link));
        assert!(line(Path::new("/no/such/file")).contains("No such file"));
    }
}
