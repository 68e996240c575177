//! The connection tracking maps of a node, opened one after the other: the global ones, then those of remote
//! clusters, which stand in arrays by cluster id.

use std::ops::ControlFlow;

use tracer_common::id::MapId;

use crate::cilium::ct::{CtMap, GLOBAL, PER_CLUSTER, VALUE_SIZE};
use crate::pipeline::RunError;
use crate::pipeline::maps::{Maps, OpenMap};

/// BPF_MAP_TYPE_ARRAY_OF_MAPS.
const ARRAY_OF_MAPS: u32 = 12;

/// A map of connection tracking.
pub struct CtTable {
    pub open: OpenMap,
    pub map: &'static CtMap,
    /// Its key and value have the sizes that its name stands for.
    pub is_known: bool,
}

/// Opens the maps whose name contains `wanted`. An error only if the node has none at all.
pub fn open(maps: &mut Maps, wanted: Option<&str>) -> Result<Vec<CtTable>, RunError> {
    let mut tables = Vec::new();
    for map in &GLOBAL {
        tables.extend(maps.map(map.name).map(|open| (map, open)));
    }
    for map in &PER_CLUSTER {
        let inner = per_cluster(maps, map.name);
        tables.extend(inner.into_iter().map(|open| (map, open)));
    }
    let any = !tables.is_empty() || maps.report.has_complaints();
    tables.retain(|(_, open)| wanted.is_none_or(|wanted| open.name.contains(wanted)));
    match (any, wanted) {
        (false, _) => {
            Err(RunError::NoMap("no connection tracking map is pinned (`cilium_ct4_global`, ...)".to_owned()))
        }
        (true, Some(wanted)) if tables.is_empty() => {
            Err(RunError::NoMap(format!("no connection tracking map has `{wanted}` in its name")))
        }
        _ => Ok(tables.into_iter().map(|(map, open)| check(maps, map, open)).collect()),
    }
}

fn check(maps: &mut Maps, map: &'static CtMap, open: OpenMap) -> CtTable {
    let info = open.map.info();
    let is_known = info.key_size == map.key_size && info.value_size == VALUE_SIZE as u32;
    if !is_known {
        maps.report.unknown(format_args!(
            "map `{}`: key size {} and value size {}, expected {} and {VALUE_SIZE}; not interpreted",
            open.name, info.key_size, info.value_size, map.key_size,
        ));
    }
    CtTable { open, map, is_known }
}

/// The inner maps of an array of maps, by cluster id.
fn per_cluster(maps: &mut Maps, name: &str) -> Vec<OpenMap> {
    let Some(outer) = maps.map(name) else { return Vec::new() };
    if outer.map.info().map_type != ARRAY_OF_MAPS {
        maps.report.unknown(format_args!(
            "map `{name}`: type {}, expected {ARRAY_OF_MAPS}",
            outer.map.info().map_type
        ));
        return Vec::new();
    }
    let mut inner = Vec::new();
    maps.walk(&outer, &mut |key, value| {
        if let (Ok(key), Ok(id)) = (key.try_into(), value.try_into()) {
            inner.push((u32::from_ne_bytes(key), MapId(u32::from_ne_bytes(id))));
        }
        ControlFlow::Continue(())
    });
    inner.into_iter().filter_map(|(cluster, id)| maps.inner(name, cluster, id)).collect()
}
