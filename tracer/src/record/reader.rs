//! Plays a recording back. A segment is read until its end or until a block that is none; what is behind that is
//! told as missing, never guessed at.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use zstd::bulk::Decompressor;

use super::item::{self, Item};
use super::{HEADER, MAX_BLOCK_BYTES, OLD_HEADER, block, segment};

#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("`{}` cannot be read", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("`{}` holds no recording: no segment `events-*.trec`", path.display())]
    Empty { path: PathBuf },
    #[error("`{}` is no segment of a recording", path.display())]
    NotOurs { path: PathBuf },
    #[error("`{}` has another form than this tracer reads", path.display())]
    Format { path: PathBuf },
}

/// How the reading of a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentEnd {
    Whole,
    /// Its last block is not all there: the recorder was killed, or is writing it now.
    Cut,
    /// A block that is none, with more behind it.
    Damaged,
}

/// The segments of a recording, oldest first.
#[derive(Debug)]
pub struct Recording {
    segments: Vec<PathBuf>,
}

impl Recording {
    /// `path`: a directory, or one segment.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::Open { path: path.to_owned(), source };
        if !std::fs::metadata(path).map_err(failed)?.is_dir() {
            return Ok(Self { segments: vec![path.to_owned()] });
        }
        let segments: Vec<PathBuf> =
            segment::list(path).map_err(failed)?.into_iter().map(|segment| segment.path).collect();
        match segments.is_empty() {
            true => Err(RecordingError::Empty { path: path.to_owned() }),
            false => Ok(Self { segments }),
        }
    }

    pub fn segments(&self) -> impl Iterator<Item = &Path> {
        self.segments.iter().map(PathBuf::as_path)
    }
}

/// One segment, block by block.
pub struct SegmentReader {
    file: BufReader<File>,
    path: PathBuf,
    decompressor: Decompressor<'static>,
    stored: Vec<u8>,
    frames: Vec<u8>,
}

impl SegmentReader {
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(RecordingError::NotOurs { path: path.to_owned() });
        }
        let mut file = BufReader::new(file);
        let mut header = [0; HEADER.len()];
        match file.read_exact(&mut header) {
            Ok(()) if header == HEADER || header == OLD_HEADER => {}
            Ok(()) if header[..8] == HEADER[..8] => {
                return Err(RecordingError::Format { path: path.to_owned() });
            }
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(failed(error)),
            _ => return Err(RecordingError::NotOurs { path: path.to_owned() }),
        }
        let decompressor = Decompressor::new().map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), decompressor, stored: Vec::new(), frames: Vec::new() })
    }

    /// Shows every item to `visit`; it ends the reading by an error of its own.
    pub fn for_each<E>(
        &mut self,
        mut visit: impl FnMut(Item) -> Result<(), E>,
    ) -> Result<Result<SegmentEnd, RecordingError>, E> {
        loop {
            match self.next_block() {
                Ok(None) => {}
                Ok(Some(end)) => return Ok(Ok(end)),
                Err(source) => return Ok(Err(RecordingError::Open { path: self.path.clone(), source })),
            }
            let mut frames = &self.frames[..];
            while !frames.is_empty() {
                match item::take(&mut frames) {
                    Some(item) => visit(item)?,
                    None => return Ok(Ok(SegmentEnd::Damaged)),
                }
            }
        }
    }

    /// Puts the frames of the next block into place; `Some`: there is none.
    fn next_block(&mut self) -> io::Result<Option<SegmentEnd>> {
        let mut header = [0; block::BYTES];
        match fill(&mut self.file, &mut header)? {
            0 => return Ok(Some(SegmentEnd::Whole)),
            block::BYTES => {}
            _ => return Ok(Some(SegmentEnd::Cut)),
        }
        let Some(block) = block::Header::decode(&header) else { return Ok(Some(SegmentEnd::Damaged)) };
        let (stored, frames) = (block.stored as usize, block.frames as usize);
        if frames > MAX_BLOCK_BYTES || stored > zstd::zstd_safe::compress_bound(frames) {
            return Ok(Some(SegmentEnd::Damaged));
        }
        self.stored.resize(stored, 0);
        if fill(&mut self.file, &mut self.stored)? < stored {
            return Ok(Some(SegmentEnd::Cut));
        }
        if !block.fits(&header, &self.stored) {
            // Written, but never wholly on the disk.
            let at_end = fill(&mut self.file, &mut [0])? == 0;
            return Ok(Some(if at_end { SegmentEnd::Cut } else { SegmentEnd::Damaged }));
        }
        self.frames.clear();
        self.frames.reserve(frames);
        match self.decompressor.decompress_to_buffer(&self.stored, &mut self.frames) {
            Ok(found) if found == frames => Ok(None),
            _ => Ok(Some(SegmentEnd::Damaged)),
        }
    }
}

/// Reads until the buffer is full or the file ends; the number of bytes.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
