//! The books on reading maps: each complaint is one line on stderr at once, and all of them together decide
//! the exit code.

use std::fmt::Display;
use std::io;

use tracer_common::id::MapId;

use crate::cli::exit::Exit;

/// What was read and what could not be.
#[derive(Debug, Default)]
pub struct Report {
    read: u32,
    not_permitted: u32,
    failed: u32,
    /// Something was read, but not all of it, or not understood.
    incomplete: bool,
    told: Vec<String>,
}

impl Report {
    /// A map was read.
    pub(super) fn read(&mut self) {
        self.read += 1;
    }

    pub(super) fn unreadable(&mut self, map: &str, error: &io::Error) {
        if error.kind() == io::ErrorKind::PermissionDenied {
            self.not_permitted += 1;
            self.tell(format_args!(
                "map `{map}`: permission denied: reading needs root, or CAP_BPF and the right to the file"
            ));
        } else {
            self.failed += 1;
            self.tell(format_args!("map `{map}`: cannot be read: {error}"));
        }
    }

    pub(super) fn restless(&mut self, map: &str) {
        self.read();
        self.incomplete = true;
        self.tell(format_args!(
            "map `{map}`: it changed too fast to be read to its end; entries are missing"
        ));
    }

    pub(super) fn replaced(&mut self, map: &str, old: MapId, new: MapId) {
        self.incomplete = true;
        self.tell(format_args!(
            "map `{map}` was replaced while it was read: these are the entries of the old one (id {old}, now {new}); repeat the command"
        ));
    }

    pub(super) fn removed(&mut self, map: &str) {
        self.incomplete = true;
        self.tell(format_args!("map `{map}` was removed while it was read: these are its last entries"));
    }

    /// One line for the user, unless it was told before.
    pub(super) fn tell(&mut self, line: impl Display) {
        let line = line.to_string();
        if !self.told.contains(&line) {
            tracing::warn!("{line}");
            self.told.push(line);
        }
    }

    /// A map or its entries have no known meaning; `why` says what was found and what was expected.
    pub fn unknown(&mut self, why: impl Display) {
        self.incomplete = true;
        self.tell(why);
    }

    /// Entries of a map that have impossible bits, and that were shown raw or left out.
    pub fn undecoded(&mut self, map: &str, entries: u64) {
        if entries > 0 {
            self.unknown(format_args!("map `{map}`: {entries} entries have impossible bits"));
        }
    }

    /// Whether anything was complained about.
    pub fn has_complaints(&self) -> bool {
        self.incomplete || self.not_permitted > 0 || self.failed > 0
    }

    /// Nothing went wrong so far.
    pub fn is_clean(&self) -> bool {
        self.exit() == Exit::Done
    }

    pub fn exit(&self) -> Exit {
        match self {
            _ if !self.has_complaints() => Exit::Done,
            _ if self.read > 0 || self.incomplete => Exit::Incomplete,
            _ if self.not_permitted > 0 => Exit::NotPermitted,
            _ => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MapId = MapId(7);

    #[test]
    fn one_bad_map_among_good_ones_makes_the_result_incomplete() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let mut report = Report::default();
        assert_eq!(report.exit(), Exit::Done);
        report.unreadable("cilium_ct4_global", &denied);
        assert_eq!(report.exit(), Exit::NotPermitted);
        report.read();
        assert_eq!(report.exit(), Exit::Incomplete);
    }

    #[test]
    fn nothing_but_errors_is_a_failure() {
        let mut report = Report::default();
        report.unreadable("cilium_lxc", &io::Error::from_raw_os_error(libc::EIO));
        assert_eq!(report.exit(), Exit::Failed);
    }

    #[test]
    fn every_lack_of_completeness_shows_in_the_exit_code() {
        let complaints: [fn(&mut Report); 5] = [
            |r| r.restless("m"),
            |r| r.replaced("m", ID, ID),
            |r| r.removed("m"),
            |r| r.unknown("value size 57"),
            |r| r.undecoded("m", 1),
        ];
        for complain in complaints {
            let mut report = Report::default();
            report.read();
            complain(&mut report);
            assert_eq!(report.exit(), Exit::Incomplete);
        }
        let mut report = Report::default();
        report.undecoded("m", 0);
        assert_eq!(report.exit(), Exit::Done);
    }
}
