//! The NAT maps of a node, opened one after the other: the global ones, then those of remote clusters, which
//! stand in arrays by cluster id.

use tracer_common::id::MapId;

use crate::cilium::nat::{PER_CLUSTER4, PER_CLUSTER6, SNAT4, SNAT6};
use crate::cilium::pins::Layout;
use crate::pipeline::RunError;
use crate::pipeline::maps::{Maps, OpenMap};

/// A map of translations.
pub struct NatTable {
    pub open: OpenMap,
    /// Its key and value have the sizes that its name stands for.
    pub is_known: bool,
    /// Not of a remote cluster: its connections are in the global maps.
    pub is_global: bool,
}

/// An error only if the node has none at all.
pub fn open(maps: &mut Maps) -> Result<Vec<NatTable>, RunError> {
    let mut tables = Vec::new();
    for (layout, outer) in [(&SNAT4[0], &PER_CLUSTER4[0]), (&SNAT6[0], &PER_CLUSTER6[0])] {
        if let Some(open) = maps.map(layout.name) {
            let is_known = maps.is_known(&open, layout);
            tables.push(NatTable { open, is_known, is_global: true });
        }
        for open in per_cluster(maps, outer) {
            let is_known = maps.is_known(&open, layout);
            tables.push(NatTable { open, is_known, is_global: false });
        }
    }
    if tables.is_empty() && !maps.report.has_complaints() {
        return Err(RunError::NoMap(
            "no NAT map is pinned (`cilium_snat_v4_external`, ...): this node does no source NAT in BPF"
                .to_owned(),
        ));
    }
    Ok(tables)
}

/// Looked up one by one: kernels stumble over the holes when they are asked for all at once.
fn per_cluster(maps: &mut Maps, layout: &Layout) -> Vec<OpenMap> {
    let Some(outer) = maps.map(layout.name) else { return Vec::new() };
    if !maps.is_known(&outer, layout) {
        return Vec::new();
    }
    let mut inner = Vec::new();
    let mut id = [0; 4];
    for cluster in 0..outer.map.info().max_entries {
        match outer.map.lookup(&cluster.to_ne_bytes(), &mut id) {
            Ok(true) => inner.push((cluster, MapId(u32::from_ne_bytes(id)))),
            Ok(false) => {}
            Err(error) => {
                maps.report.unreadable(layout.name, &error);
                break;
            }
        }
    }
    inner.into_iter().filter_map(|(cluster, id)| maps.inner(layout.name, cluster, id)).collect()
}
