//! The maps of a snapshot, for everybody who reads maps.

use std::io;
use std::sync::Arc;

use tracer_common::id::MapId;

use super::manifest::Map;
use super::map::SnapshotMap;
use super::reader::Snapshot;
use crate::cilium::maps::{MapRead, MapSource, Users};

#[derive(Debug)]
pub struct SnapshotMaps(pub Arc<Snapshot>);

impl SnapshotMaps {
    fn map(&self, name: &str) -> Option<&Map> {
        self.0.by_name.get(name).and_then(|at| self.0.manifest.maps.get(*at))
    }
}

impl MapSource for SnapshotMaps {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = self.0.manifest.maps.iter().map(|map| map.name.clone()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn MapRead>> {
        let map = self.map(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SnapshotMap::open(&self.0, map)?))
    }

    fn open_inner(&self, id: MapId) -> io::Result<Box<dyn MapRead>> {
        let manifest = &self.0.manifest;
        let inner = self.0.by_id.get(&id.0).and_then(|at| manifest.inner_maps.get(*at));
        let map = inner.or_else(|| manifest.maps.iter().find(|map| map.id == id.0));
        Ok(Box::new(SnapshotMap::open(&self.0, map.ok_or(io::ErrorKind::NotFound)?)?))
    }

    fn current_id(&self, name: &str) -> io::Result<Option<MapId>> {
        Ok(self.map(name).map(|map| MapId(map.id)))
    }

    fn users(&self) -> Option<Users> {
        let programs = self.0.manifest.programs.as_ref()?;
        Some(Users {
            used: programs.used.iter().copied().map(MapId).collect(),
            left_behind: programs.left_behind.iter().map(|(id, name)| (MapId(*id), name.clone())).collect(),
        })
    }
}
