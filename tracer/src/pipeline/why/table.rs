//! Reads the policy of one endpoint whole: a walk over its map, the layout judged by all entries, and the table
//! that [`crate::policy`] decides with.

use std::io;
use std::ops::ControlFlow;

use tracer_common::id::EndpointId;

use crate::cilium::maps::MapRead;
use crate::cilium::node::NodeView;
use crate::cilium::pins::PolicyPin;
use crate::cilium::policy::{self, PolicyError, Tally};
use crate::cilium::table::Walk;
use crate::policy::table::{Cluster, Table};
use crate::why::answer::MapFacts;

/// Bytes of a key; values are never longer than [`MAX_VALUE`].
const KEY: usize = 12;
const MAX_VALUE: usize = 24;

/// An endpoint's policy and where it comes from.
#[derive(Clone, Debug)]
pub struct Policy {
    pub table: Table,
    pub facts: MapFacts,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("endpoint {0} has no policy map")]
    NoMap(EndpointId),
    #[error("map `{map}`: cannot be read: {source}")]
    Unreadable { map: String, source: io::Error },
    #[error(transparent)]
    Layout(#[from] PolicyError),
}

/// Bits of an identity below those of the cluster, unless there are more than 255 clusters.
const IDENTITY_BITS: u8 = 16;

pub fn read(map: &dyn MapRead, pin: PolicyPin, view: &NodeView) -> Result<Policy, ReadError> {
    let name = pin.name();
    let form = policy::form(pin, &name, map.info())?;
    let (mut tally, mut raw) = (Tally::default(), Vec::new());
    let walk = map.for_each(&mut |key, value| {
        tally.add(key, value);
        if let (Ok(key), true) = (<[u8; KEY]>::try_from(key), value.len() <= MAX_VALUE) {
            let mut copy = [0; MAX_VALUE];
            copy[..value.len()].copy_from_slice(value);
            raw.push((key, copy, value.len()));
        }
        ControlFlow::Continue(())
    });
    let walk = walk.map_err(|source| ReadError::Unreadable { map: name.clone(), source })?;
    let generation = tally.generation(form, &name, view.releases().releases())?;
    let decode = |(key, value, length): &([u8; KEY], [u8; MAX_VALUE], usize)| {
        policy::decode(generation, key, &value[..*length])?.to_model()
    };
    let entries: Vec<_> = raw.iter().filter_map(decode).collect();
    // A walk that did not reach the end leaves at least one entry unseen.
    let unread = tally.entries - entries.len() as u64 + u64::from(walk != Walk::Complete);
    let info = map.info();
    let mut table = Table::new(policy::order(pin, generation), entries)
        .with_unread(unread)
        .with_capacity(info.max_entries);
    if let Some(0) = view.config().and_then(|config| config.cluster_id) {
        table = table.with_cluster(Cluster { id: 0, identity_bits: IDENTITY_BITS });
    }
    let facts = MapFacts {
        name,
        id: info.id,
        entries: tally.entries,
        max_entries: info.max_entries,
        layout: policy::generation_name(generation),
    };
    Ok(Policy { table, facts })
}
