//! Opening the newest form of a map that has had several names or sizes.

use super::{Maps, OpenMap};
use crate::cilium::pins::{self, Layout};
use crate::output::listing::{Listing, RawEntry};
use crate::pipeline::RunError;

/// The newest form of a map that is pinned.
pub enum Newest {
    /// Not pinned, or not readable, which was told.
    None,
    Known(OpenMap),
    /// Sizes that no release has, which was told: only bytes.
    Foreign(OpenMap),
}

impl Maps {
    pub fn newest(&mut self, layouts: &'static [Layout]) -> Newest {
        let Some((layout, open)) = layouts.iter().find_map(|layout| Some((layout, self.map(layout.name)?)))
        else {
            return Newest::None;
        };
        match pins::layout_of(layout.name, open.map.info(), layouts) {
            Ok(_) => Newest::Known(open),
            Err(error) => {
                self.report.unknown(error.line());
                Newest::Foreign(open)
            }
        }
    }

    /// The same for a command that is about this map alone.
    pub fn required(&mut self, layouts: &'static [Layout]) -> Result<Newest, RunError> {
        match self.newest(layouts) {
            Newest::None if self.report.is_clean() => Err(not_pinned(layouts)),
            found => Ok(found),
        }
    }

    /// Shows every entry as bytes.
    pub fn raw<W: std::io::Write>(&mut self, open: &OpenMap, listing: &mut Listing<W>) {
        self.walk(open, &mut |key, value| listing.raw(&RawEntry { map: &open.name, key, value }));
    }

    /// Shows every entry that `decode` understands as a row, the others as bytes; tells how many those are.
    pub fn rows<W: std::io::Write, T>(
        &mut self,
        open: &OpenMap,
        listing: &mut Listing<W>,
        decode: impl Fn(&[u8], &[u8]) -> Option<T>,
        mut show: impl FnMut(&mut Listing<W>, &T) -> std::ops::ControlFlow<()>,
    ) {
        let mut undecoded = 0;
        self.walk(open, &mut |key, value| match decode(key, value) {
            Some(entry) => show(listing, &entry),
            None => {
                undecoded += 1;
                listing.raw(&RawEntry { map: &open.name, key, value })
            }
        });
        self.report.undecoded(&open.name, undecoded);
    }
}

fn not_pinned(layouts: &[Layout]) -> RunError {
    let names: Vec<String> = layouts.iter().map(|layout| format!("`{}`", layout.name)).collect();
    RunError::NoMap(format!("no map {} is pinned on this node", names.join(" or ")))
}
