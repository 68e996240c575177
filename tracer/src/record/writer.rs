//! Writes a recording, and removes its oldest segments as it grows.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use zstd::bulk::Compressor;

use super::{BLOCK_AGE, BLOCK_BYTES, HEADER, block, item, segment};
use crate::model::flow::Flow;
use crate::model::time::WallTime;
use crate::output::Node;
use crate::output::lost::{Lost, LostSource};

const LEVEL: i32 = 1;
/// Parts of the whole that are removed at a time.
const SEGMENTS: u64 = 8;
const MIN_SEGMENT: u64 = 64 * 1024;
/// A segment that is older is closed, so that age can be counted in whole segments.
const SEGMENTS_OF_AGE: u32 = 8;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all segments together.
    pub max_bytes: u64,
    pub max_age: Option<Duration>,
}

impl Limits {
    fn segment_bytes(&self) -> u64 {
        (self.max_bytes / SEGMENTS).max(MIN_SEGMENT)
    }

    fn segment_age(&self) -> Option<Duration> {
        self.max_age.map(|age| (age / SEGMENTS_OF_AGE).max(Duration::from_secs(1)))
    }
}

pub struct Recorder {
    directory: PathBuf,
    limits: Limits,
    node: Node,
    segment: Segment,
    compressor: Compressor<'static>,
    /// Frames of the next block.
    frames: Vec<u8>,
    /// When the last block was written.
    written: Instant,
    block: Vec<u8>,
    /// Events in `frames`.
    waiting: u64,
    /// Events that could not be written since the last block that was.
    gap: u64,
    /// The same over the whole run.
    not_recorded: u64,
    /// Time of the last event.
    last: WallTime,
}

struct Segment {
    file: File,
    bytes: u64,
    started: Instant,
}

impl Segment {
    /// All of it or nothing: what is written later has to be readable.
    fn append(&mut self, block: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(block) {
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += block.len() as u64;
        Ok(())
    }
}

impl Recorder {
    /// Makes the directory if it is not there, and begins a segment in it.
    pub fn create(directory: &Path, limits: Limits, node: Node) -> io::Result<Self> {
        if !directory.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        check_owner(directory)?;
        make_room(directory, &limits)?;
        let mut recorder = Self {
            directory: directory.to_owned(),
            limits,
            segment: begin(directory)?,
            compressor: Compressor::new(LEVEL)?,
            frames: Vec::with_capacity(2 * BLOCK_BYTES),
            written: Instant::now(),
            block: Vec::new(),
            waiting: 0,
            gap: 0,
            not_recorded: 0,
            last: WallTime::default(),
            node,
        };
        item::put_node(&mut recorder.frames, &recorder.node);
        recorder.write_frames()?;
        Ok(recorder)
    }

    pub fn flow(&mut self, flow: &Flow, concerns: bool) -> io::Result<()> {
        item::put_flow(&mut self.frames, flow, concerns);
        self.waiting += 1;
        self.last = flow.time;
        self.added()
    }

    pub fn lost(&mut self, lost: &Lost) -> io::Result<()> {
        item::put_lost(&mut self.frames, lost);
        self.added()
    }

    /// Everything after this was seen on the node as it is now.
    pub fn node(&mut self, node: &Node) -> io::Result<()> {
        self.node = node.clone();
        item::put_node(&mut self.frames, node);
        self.added()
    }

    fn added(&mut self) -> io::Result<()> {
        if self.frames.len() >= BLOCK_BYTES { self.write_block() } else { Ok(()) }
    }

    /// When [`Self::flush`] wants to be called.
    pub fn due(&self) -> Option<Instant> {
        (!self.frames.is_empty()).then(|| self.written + BLOCK_AGE)
    }

    /// Writes what has waited long enough.
    pub fn flush(&mut self, now: Instant) -> io::Result<()> {
        match self.due() {
            Some(due) if now >= due => self.write_block(),
            _ => Ok(()),
        }
    }

    pub fn finish(&mut self) -> io::Result<()> {
        item::put_end(&mut self.frames);
        self.write_frames()?;
        self.segment.file.sync_all()
    }

    fn write_block(&mut self) -> io::Result<()> {
        self.write_frames()?;
        if self.is_full() { self.next_segment() } else { Ok(()) }
    }

    fn write_frames(&mut self) -> io::Result<()> {
        self.block.clear();
        self.block.resize(block::BYTES + zstd::zstd_safe::compress_bound(self.frames.len()), 0);
        let stored = self.compressor.compress_to_buffer(&self.frames, &mut self.block[block::BYTES..])?;
        self.block.truncate(block::BYTES + stored);
        block::seal(&mut self.block, self.frames.len())?;
        self.frames.clear();
        self.written = Instant::now();
        let waiting = std::mem::take(&mut self.waiting);
        match self.segment.append(&self.block) {
            Ok(()) => {
                self.gap = 0;
                Ok(())
            }
            Err(error) => {
                self.not_recorded += waiting;
                self.gap += waiting;
                // The next block that has room tells of the gap.
                let (count, time) = (self.gap, self.last);
                item::put_lost(&mut self.frames, &Lost { source: LostSource::Queue, count, cpu: None, time });
                Err(error)
            }
        }
    }

    /// Events that were handed over and could not be written.
    pub fn not_recorded(&self) -> u64 {
        self.not_recorded
    }

    fn is_full(&self) -> bool {
        let old = self.limits.segment_age().is_some_and(|age| self.segment.started.elapsed() > age);
        old || self.segment.bytes >= self.limits.segment_bytes()
    }

    /// The file is on the disk before the next one begins.
    fn next_segment(&mut self) -> io::Result<()> {
        self.segment.file.sync_data()?;
        make_room(&self.directory, &self.limits)?;
        self.segment = begin(&self.directory)?;
        item::put_node(&mut self.frames, &self.node);
        self.write_frames()
    }
}

fn begin(directory: &Path) -> io::Result<Segment> {
    let path = directory.join(segment::name(SystemTime::now()));
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
    // A segment without its header would be no segment.
    file.write_all(&HEADER).inspect_err(|_| drop(fs::remove_file(&path)))?;
    Ok(Segment { file, bytes: HEADER.len() as u64, started: Instant::now() })
}

/// The right to write into everybody's directories is given up once the stream runs.
fn check_owner(directory: &Path) -> io::Result<()> {
    let metadata = fs::metadata(directory)?;
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if is_ours || metadata.mode() & 0o002 != 0 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "the directory belongs to another user"))
}

/// Removes the oldest segments, so that one more has room.
fn make_room(directory: &Path, limits: &Limits) -> io::Result<()> {
    let segments = segment::list(directory)?;
    let (max, age) = (limits.max_bytes, limits.max_age);
    let count = segment::too_many(&segments, max, age, limits.segment_bytes(), SystemTime::now());
    for old in &segments[..count] {
        match fs::remove_file(&old.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
