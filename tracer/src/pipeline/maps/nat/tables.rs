//! The NAT maps of a node, opened one after the other: the global ones, then those of remote clusters, which
//! stand in arrays by cluster id.

use crate::cilium::nat::{PER_CLUSTER4, PER_CLUSTER6, SNAT4, SNAT6};
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
        for open in maps.per_cluster(outer) {
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
