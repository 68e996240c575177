//! Writes a snapshot, member by member, holding no more than one in memory. The file appears under its name
//! only when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::footer::Footer;
use super::manifest::{Manifest, Part};
use super::{FORMAT, PART_BYTES, tar};

const LEVEL: i32 = 3;
/// Two blocks of zeros end an archive.
const END_OF_ARCHIVE: usize = 2 * tar::BLOCK;

pub struct Writer {
    sink: Sink,
    compressor: Compressor<'static>,
    /// Bytes written.
    offset: u64,
    checksum: crc32fast::Hasher,
    member: Vec<u8>,
    frame: Vec<u8>,
    /// Seconds since 1970, for the members.
    time: i64,
}

enum Sink {
    Stdout(io::Stdout),
    /// It gets its name when it is whole; what is killed before leaves nothing behind.
    Nameless {
        file: File,
        path: PathBuf,
    },
    /// The same where the file system cannot have files without a name.
    File {
        file: File,
        unfinished: Unfinished,
        path: PathBuf,
    },
}

/// A file that is removed unless it was finished.
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

impl Writer {
    /// `path`: the file to write; `-` for stdout. `time`: seconds since 1970.
    pub fn create(path: &Path, time: i64) -> io::Result<Self> {
        let sink = if path == Path::new("-") { Sink::Stdout(io::stdout()) } else { Sink::create(path)? };
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        let (member, frame) = (Vec::with_capacity(PART_BYTES + 2 * tar::BLOCK), Vec::new());
        Ok(Self { sink, compressor, offset: 0, checksum: crc32fast::Hasher::new(), member, frame, time })
    }

    pub fn member(&mut self, name: &str, contents: &[u8]) -> io::Result<Part> {
        self.frame(name, contents, 0)
    }

    fn frame(&mut self, name: &str, contents: &[u8], zeros: usize) -> io::Result<Part> {
        let too_large = |_| io::Error::other("too large for a snapshot");
        let bytes = u32::try_from(contents.len()).map_err(too_large)?;
        self.member.clear();
        self.member.extend(tar::header(name, contents.len(), self.time));
        self.member.extend(contents);
        self.member.resize(self.member.len() + tar::padding(contents.len()) + zeros, 0);
        self.frame.clear();
        self.frame.reserve(zstd::zstd_safe::compress_bound(self.member.len()));
        self.compressor.compress_to_buffer(&self.member, &mut self.frame)?;
        let stored = u32::try_from(self.frame.len()).map_err(too_large)?;
        let part = Part { offset: self.offset, stored, bytes };
        self.sink.write_all(&self.frame)?;
        self.checksum.update(&self.frame);
        self.offset += u64::from(stored);
        Ok(part)
    }

    /// Writes the index and gives the file its name. The number of bytes.
    pub fn finish(mut self, manifest: &Manifest) -> io::Result<u64> {
        let json = serde_json::to_vec(manifest)?;
        let part = self.frame("manifest.json", &json, END_OF_ARCHIVE)?;
        let footer = Footer {
            format: FORMAT,
            offset: part.offset,
            stored: part.stored,
            bytes: part.bytes,
            checksum: self.checksum.finalize(),
        };
        let footer = footer.encode();
        self.sink.write_all(&footer)?;
        self.sink.finish()?;
        Ok(self.offset + footer.len() as u64)
    }
}

impl Sink {
    fn create(path: &Path) -> io::Result<Self> {
        let beside = beside(path)?;
        if let Some(file) = nameless(path) {
            return Ok(Self::Nameless { file, path: path.to_owned() });
        }
        // It holds what only root can read on the node.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        Ok(Self::File { file, unfinished: Unfinished(Some(beside)), path: path.to_owned() })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.write_all(bytes),
            Self::Nameless { file, .. } | Self::File { file, .. } => file.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Stdout(mut stdout) => stdout.flush(),
            Self::Nameless { file, path } => {
                file.sync_all()?;
                name(&file, &path)?;
                sync_directory(&path)
            }
            Self::File { file, mut unfinished, path } => {
                file.sync_all()?;
                if let Some(beside) = unfinished.0.take() {
                    fs::rename(&beside, &path).inspect_err(|_| unfinished.0 = Some(beside.clone()))?;
                }
                sync_directory(&path)
            }
        }
    }
}

/// The name that a file has until it is whole.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    Ok(path.with_file_name(format!(".{name}.{}", std::process::id())))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file that nobody sees yet. `None`: the file system cannot have one, or /proc, which names it later, is not there.
fn nameless(path: &Path) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    // It holds what only root can read on the node.
    let file = File::from(rustix::fs::open(directory(path), flags, Mode::RUSR | Mode::WUSR).ok()?);
    fs::symlink_metadata(by_number(&file)).ok()?;
    Some(file)
}

fn by_number(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Gives it the name, in the place of what has that name now.
fn name(file: &File, path: &Path) -> io::Result<()> {
    let link = |to: &Path| rustix::fs::linkat(CWD, by_number(file), CWD, to, AtFlags::SYMLINK_FOLLOW);
    match link(path) {
        Err(Errno::EXIST) => {}
        result => return Ok(result?),
    }
    // Only a rename replaces.
    let beside = beside(path)?;
    link(&beside)?;
    let _unfinished = Unfinished(Some(beside.clone()));
    fs::rename(&beside, path)
}

/// So that the name is there after a crash, too.
fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(directory(path))?.sync_all() {
        // Some file systems cannot.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}
