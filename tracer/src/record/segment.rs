//! Segments of a recording: their names, which sort by age, and how many may stay.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const SUFFIX: &str = ".trec";

/// `events-<microseconds since 1970>.trec`.
pub fn name(started: SystemTime) -> String {
    let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("events-{:016}{SUFFIX}", since.as_micros())
}

/// A segment that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub path: PathBuf,
    pub bytes: u64,
    /// When something was written to it last.
    pub modified: SystemTime,
}

/// The segments of a directory, oldest first.
pub fn list(directory: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with("events-") && name.ends_with(SUFFIX));
        if !is_ours {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => {
                let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                segments.push(Segment { path: entry.path(), bytes: metadata.len(), modified });
            }
            // Gone: the recorder made room.
            _ => {}
        }
    }
    segments.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(segments)
}

/// How many of the oldest have to go so that the rest, with `room` bytes to come, keeps to the limits.
pub fn too_many(
    segments: &[Segment],
    max_bytes: u64,
    max_age: Option<Duration>,
    room: u64,
    now: SystemTime,
) -> usize {
    let mut total = room + segments.iter().map(|segment| segment.bytes).sum::<u64>();
    let is_old = |segment: &Segment| {
        max_age.is_some_and(|max| now.duration_since(segment.modified).unwrap_or_default() > max)
    };
    let goes = |segment: &&Segment| {
        let goes = total > max_bytes || is_old(segment);
        total = total.saturating_sub(segment.bytes);
        goes
    };
    segments.iter().take_while(goes).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(name: &str, bytes: u64, age: u64, now: SystemTime) -> Segment {
        Segment { path: name.into(), bytes, modified: now - Duration::from_secs(age) }
    }

    #[test]
    fn the_oldest_go_first_and_only_as_many_as_must() {
        let now = SystemTime::now();
        let all = [segment("a", 10, 300, now), segment("b", 10, 200, now), segment("c", 10, 100, now)];
        let of = |max, age: Option<u64>, room| too_many(&all, max, age.map(Duration::from_secs), room, now);
        assert_eq!(of(30, None, 0), 0);
        assert_eq!(of(30, None, 1), 1);
        assert_eq!(of(15, None, 5), 2);
        assert_eq!(of(1, None, 5), 3);
        assert_eq!(of(100, Some(150), 0), 2);
        assert_eq!(of(100, Some(50), 0), 3);
    }

    #[test]
    fn names_sort_by_time() {
        let at = |seconds| name(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert!(at(1) < at(10) && at(10) < at(1_800_000_000));
        assert_eq!(at(1), "events-0000000001000000.trec");
    }
}
