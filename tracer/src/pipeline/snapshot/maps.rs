//! Maps into a snapshot. What cannot be read is told, recorded with its error, and harms no other map.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;

use tracer_common::id::MapId;

use crate::cilium::map_type::MapType;
use crate::cilium::maps::{MapRead, MapSource};
use crate::cilium::table::Walk;
use crate::pipeline::maps::Maps;
use crate::snapshot::manifest::{End, Manifest, Map, Programs};
use crate::snapshot::{PART_BYTES, Writer};

/// What the kernel says about maps whose entries nobody can read: not supported, or no such command for it.
const NOT_FOR_READING: [i32; 4] =
    [libc::EOPNOTSUPP, crate::kernel::bpf::ENOTSUPP, libc::EINVAL, libc::ENOSYS];

/// Writes all maps; true if something is missing. Only errors of writing are returned.
pub fn write(maps: &Maps, writer: &mut Writer, manifest: &mut Manifest) -> io::Result<bool> {
    let source = maps.source();
    let mut taker = Taker { source, writer, inner: BTreeSet::new(), problems: false };
    let names = source.names()?;
    for name in &names {
        manifest.maps.push(taker.pinned(name)?);
    }
    for id in std::mem::take(&mut taker.inner) {
        if let Some(map) = taker.inner_map(id)? {
            manifest.inner_maps.push(map);
        }
    }
    manifest.programs = source.users().map(|users| Programs {
        used: BTreeSet::from_iter(users.used.iter().map(|id| id.0)).into_iter().collect(),
        left_behind: users.left_behind.into_iter().map(|(id, name)| (id.0, name)).collect(),
    });
    Ok(taker.problems)
}

struct Taker<'a> {
    source: &'a dyn MapSource,
    writer: &'a mut Writer,
    /// Maps that maps of maps hold.
    inner: BTreeSet<MapId>,
    problems: bool,
}

impl Taker<'_> {
    fn pinned(&mut self, name: &str) -> io::Result<Map> {
        let open = match self.source.open(name) {
            Ok(open) => open,
            Err(error) => {
                self.problem(name, &error);
                return Ok(Map { name: name.to_owned(), end: unopened(&error), ..Map::default() });
            }
        };
        let mut map = self.take(&format!("maps/{name}"), name, &*open)?;
        match self.source.current_id(name) {
            Ok(Some(id)) if id != open.info().id && map.end == End::Complete => {
                map.end = End::Replaced;
                self.problems = true;
                tracing::warn!("map `{name}` was replaced while it was read: the snapshot has the old one");
            }
            _ => {}
        }
        Ok(map)
    }

    fn inner_map(&mut self, id: MapId) -> io::Result<Option<Map>> {
        match self.source.open_inner(id) {
            Ok(open) => self.take(&format!("inner/{id}"), "", &*open).map(Some),
            // Gone since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                self.problem(&format!("id {id}"), &error);
                Ok(Some(Map { id: id.0, end: unopened(&error), ..Map::default() }))
            }
        }
    }

    /// All entries of a map, in parts.
    fn take(&mut self, member: &str, name: &str, open: &dyn MapRead) -> io::Result<Map> {
        let info = open.info();
        let mut map = Map { memory_bytes: open.memory_bytes(), ..Map::new(name, info, open.value_bytes()) };
        let kind = MapType(info.map_type);
        let holds_maps = matches!(kind, MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS);
        let mut written = Ok(());
        let mut part = Vec::with_capacity(PART_BYTES.min(1 << 16));
        let walk = open.for_each(&mut |key, value| {
            if let (true, Some(id)) = (holds_maps, value.first_chunk()) {
                self.inner.insert(MapId(u32::from_ne_bytes(*id)));
            }
            if part.len() + key.len() + value.len() > PART_BYTES && !part.is_empty() {
                written = self.flush(member, &mut map, &mut part);
            }
            part.extend_from_slice(key);
            part.extend_from_slice(value);
            map.entries += 1;
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        written?;
        if !part.is_empty() {
            self.flush(member, &mut map, &mut part)?;
        }
        map.end = self.end(name, walk);
        Ok(map)
    }

    fn flush(&mut self, member: &str, map: &mut Map, part: &mut Vec<u8>) -> io::Result<()> {
        let written = self.writer.member(&format!("{member}/{:05}", map.parts.len()), part)?;
        map.parts.push(written);
        part.clear();
        Ok(())
    }

    fn end(&mut self, name: &str, walk: io::Result<Walk>) -> End {
        match walk {
            Ok(Walk::Complete | Walk::Stopped) => End::Complete,
            Ok(Walk::GaveUp) => {
                self.problems = true;
                tracing::warn!(
                    "map `{name}`: it changed too fast to be read to its end; entries are missing"
                );
                End::GaveUp
            }
            Err(error) => {
                let number = error.raw_os_error().unwrap_or(libc::EIO);
                if NOT_FOR_READING.contains(&number) {
                    tracing::debug!(map = name, %error, "entries cannot be read");
                } else {
                    self.problem(name, &error);
                }
                End::Failed { error: number }
            }
        }
    }

    fn problem(&mut self, map: &str, error: &io::Error) {
        self.problems = true;
        tracing::warn!("map `{map}`: cannot be read: {error}; the snapshot lacks it");
    }
}

fn unopened(error: &io::Error) -> End {
    End::Unopened { error: error.raw_os_error().unwrap_or(libc::EIO) }
}
