//! Maps by the name of their pin, for commands that list and count: those of the live node, and whatever else
//! can answer for a node. Nothing is decoded here.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use tracer_common::id::MapId;

use super::map_type::MapType;
use super::pins;
use super::table::{Table, Visitor, Walk};
use crate::kernel::bpf::{self, MapInfo};

/// One map, open for reading.
pub trait MapRead: fmt::Debug + Send {
    fn info(&self) -> &MapInfo;

    /// Bytes of a value as look-ups give it; for per-CPU maps all CPUs' values, each rounded up to 8 bytes.
    fn value_bytes(&self) -> usize;

    /// Copies the value of `key` into `value`; false if there is none. Sizes must be those of the map.
    fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool>;

    /// Shows every entry to `visit`.
    fn for_each(&self, visit: &mut Visitor) -> io::Result<Walk>;

    /// The number of entries, and whether it is all of them.
    fn count(&self) -> io::Result<(u64, Walk)>;

    /// Bytes of memory that the kernel charges for it; `None`: nobody tells.
    fn memory_bytes(&self) -> Option<u64>;
}

/// The maps of one node.
pub trait MapSource: fmt::Debug + Send + Sync {
    /// Names of all pins of Cilium, sorted.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Opens the map behind a pin; [`io::ErrorKind::NotFound`] if there is no such pin.
    fn open(&self, name: &str) -> io::Result<Box<dyn MapRead>>;

    /// Opens a map that another map holds.
    fn open_inner(&self, id: MapId) -> io::Result<Box<dyn MapRead>>;

    /// The id of the map that is behind the pin now; `None`: there is no such pin.
    fn current_id(&self, name: &str) -> io::Result<Option<MapId>>;

    /// What the loaded programs use. `None`: nobody may tell.
    fn users(&self) -> Option<Users>;
}

/// Which maps the loaded programs use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    pub used: HashSet<MapId>,
    /// Maps of Cilium that are not pinned and that programs use together with those that are: their pins were
    /// replaced or removed, and what is listed is not what these programs see. With the kernel's name.
    pub left_behind: BTreeMap<MapId, String>,
}

impl Users {
    /// `None`: not permitted.
    fn read(pinned: &HashSet<MapId>) -> Option<Self> {
        let mut users = Self::default();
        let mut others = HashSet::new();
        for id in bpf::program_ids() {
            // A program that is gone by now uses nothing.
            let Ok(program) = bpf::open_program(id.ok()?) else { continue };
            let Ok(maps) = bpf::program_maps(program.as_fd()) else { continue };
            if maps.iter().any(|id| pinned.contains(id)) {
                others.extend(maps.iter().copied().filter(|id| !pinned.contains(id)));
            }
            users.used.extend(maps);
        }
        users.left_behind = others.into_iter().filter_map(|id| Some((id, name_of_cilium(id)?))).collect();
        Some(users)
    }
}

/// Programs have maps for their own constants as well, and scratch maps that are never pinned.
fn name_of_cilium(id: MapId) -> Option<String> {
    let info = bpf::ReadOnlyMap::open_id(id).and_then(|map| map.info()).ok()?;
    (info.name.starts_with("cilium_") && MapType(info.map_type).is_counted()).then_some(info.name)
}

impl MapRead for Table {
    fn info(&self) -> &MapInfo {
        self.info()
    }

    fn value_bytes(&self) -> usize {
        self.value_bytes()
    }

    fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        self.lookup(key, value)
    }

    fn for_each(&self, visit: &mut Visitor) -> io::Result<Walk> {
        self.for_each(visit)
    }

    fn count(&self) -> io::Result<(u64, Walk)> {
        self.count()
    }

    fn memory_bytes(&self) -> Option<u64> {
        self.memory_bytes()
    }
}

/// Maps pinned in a directory of a BPF file system.
#[derive(Clone, Debug)]
pub struct PinnedMaps {
    directory: PathBuf,
}

impl PinnedMaps {
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }
}

impl MapSource for PinnedMaps {
    fn names(&self) -> io::Result<Vec<String>> {
        pins::names(&self.directory)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn MapRead>> {
        Ok(Box::new(Table::open(&self.directory.join(name))?))
    }

    fn open_inner(&self, id: MapId) -> io::Result<Box<dyn MapRead>> {
        Ok(Box::new(Table::open_id(id)?))
    }

    fn current_id(&self, name: &str) -> io::Result<Option<MapId>> {
        let path = self.directory.join(name);
        if !fs::exists(&path)? {
            return Ok(None);
        }
        Ok(Some(Table::open(&path)?.info().id))
    }

    fn users(&self) -> Option<Users> {
        let ids = self.names().ok()?.into_iter().filter_map(|name| self.current_id(&name).ok().flatten());
        Users::read(&ids.collect())
    }
}
