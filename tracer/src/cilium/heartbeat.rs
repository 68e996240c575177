//! The agent's sign of life: the time at which it last looked at its clock, in `cilium_runtime_config`.

use std::io;

use super::maps::MapRead;

/// Name of the pin.
pub const MAP: &str = "cilium_runtime_config";
/// Index of the heartbeat.
const INDEX: u32 = 1;

/// Whether the map is the one that we know: 8 bytes by index.
pub fn is_known(map: &dyn MapRead) -> bool {
    (map.info().key_size, map.value_bytes()) == (4, 8)
}

/// The last beat on the monotonic clock, in nanoseconds. `None`: there was none yet, or it is another map.
pub fn last(map: &dyn MapRead) -> io::Result<Option<u64>> {
    if !is_known(map) {
        return Ok(None);
    }
    let mut value = [0; 8];
    let found = map.lookup(&INDEX.to_ne_bytes(), &mut value)?;
    Ok(Some(u64::from_ne_bytes(value)).filter(|beat| found && *beat != 0))
}
