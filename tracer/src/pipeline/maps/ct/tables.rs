//! The connection tracking maps of a node, opened one after the other: the global ones, those of single
//! endpoints, then those of remote clusters, which stand in arrays by cluster id.

use crate::cilium::ct::{CtMap, GLOBAL, PER_CLUSTER, PER_CLUSTER_ARRAY, PER_ENDPOINT, VALUE_SIZE};
use crate::cilium::pins::Layout;
use crate::pipeline::RunError;
use crate::pipeline::maps::{Maps, OpenMap};

/// A map of connection tracking.
pub struct CtTable {
    pub open: OpenMap,
    pub map: &'static CtMap,
    /// Its key and value have the sizes that its name stands for.
    pub is_known: bool,
}

/// Opens the maps whose name contains `wanted`. An error only if there is none at all.
pub fn open(maps: &mut Maps, wanted: Option<&str>) -> Result<Vec<CtTable>, RunError> {
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| name.contains(wanted));
    let mut tables = Vec::new();
    for map in GLOBAL.iter().filter(|map| is_wanted(map.name)) {
        tables.extend(maps.map(map.name).map(|open| (map, open)));
    }
    let names = maps.names()?;
    for map in &PER_ENDPOINT {
        let own = names.iter().filter(|name| is_numbered(name, map.name) && is_wanted(name));
        tables.extend(own.filter_map(|name| Some((map, maps.map(name)?))));
    }
    for map in &PER_CLUSTER {
        let inner = maps.per_cluster(&Layout { name: map.name, ..PER_CLUSTER_ARRAY });
        tables.extend(inner.into_iter().filter(|open| is_wanted(&open.name)).map(|open| (map, open)));
    }
    if tables.is_empty() && !maps.report.has_complaints() {
        return Err(RunError::NoMap(match wanted {
            Some(wanted) => format!("no connection tracking map has `{wanted}` in its name"),
            None => "no connection tracking map is pinned (`cilium_ct4_global`, ...)".to_owned(),
        }));
    }
    Ok(tables.into_iter().map(|(map, open)| check(maps, map, open)).collect())
}

fn is_numbered(name: &str, family: &str) -> bool {
    let number = name.strip_prefix(family);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
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
