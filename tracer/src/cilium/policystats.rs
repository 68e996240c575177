//! Counters of policy entries where they have a map of their own (1.18 and newer), summed over CPUs.

use std::io;

use tracer_common::cilium::policy::PolicyKey;
use tracer_common::cilium::policystats::{PolicyStatsKey, PolicyStatsValue};
use tracer_common::id::EndpointId;
use zerocopy::{FromBytes, IntoBytes};

use super::maps::MapRead;
use super::pins::Layout;

pub const NAME: &str = "cilium_policystats";
pub const LAYOUT: [Layout; 1] =
    [Layout { name: NAME, map_type: 10, key_size: 12, value_size: 16, releases: "Cilium 1.18+" }];

/// Packets and bytes that `entry` of an endpoint's policy matched; `None`: never counted, or its counter was
/// pushed out by others. `values` has the size of the map's values, for all CPUs.
pub fn look_up(
    map: &dyn MapRead,
    endpoint: EndpointId,
    entry: &PolicyKey,
    values: &mut [u8],
) -> io::Result<Option<(u64, u64)>> {
    let Some(key) = PolicyStatsKey::of_entry(endpoint.0, entry) else { return Ok(None) };
    Ok(map.lookup(key.as_bytes(), values)?.then(|| sum(values)))
}

fn sum(values: &[u8]) -> (u64, u64) {
    let of_cpus = values.chunks_exact(size_of::<PolicyStatsValue>());
    of_cpus
        .filter_map(|value| PolicyStatsValue::read_from_bytes(value).ok())
        .fold((0, 0), |(packets, bytes), cpu| {
            (packets.wrapping_add(cpu.packets), bytes.wrapping_add(cpu.bytes))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cilium::hex::bytes;

    /// Section 2.11 of the ABI notes: endpoint, prefix length, identity, direction, protocol, port.
    #[test]
    fn the_key_repeats_that_of_the_entry_for_one_endpoint() {
        let entry = PolicyKey::read_from_bytes(&bytes("3d000000 51c30000 01061f90")).unwrap();
        let key = PolicyStatsKey::of_entry(1234, &entry).unwrap();
        assert_eq!(key.as_bytes(), bytes("d2040015 51c30000 01061f90"));
    }

    #[test]
    fn counters_of_all_cpus_are_summed() {
        let values = bytes("05000000 00000000 2c010000 00000000 01000000 00000000 64000000 00000000");
        assert_eq!(sum(&values), (6, 400));
    }
}
