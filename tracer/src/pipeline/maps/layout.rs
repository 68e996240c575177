//! Whether an open map is what its name stands for.

use super::{Maps, OpenMap};
use crate::cilium::pins::Layout;

impl Maps {
    /// Compares type and sizes; a difference is told.
    pub fn is_known(&mut self, open: &OpenMap, layout: &Layout) -> bool {
        let info = open.map.info();
        let found = (info.map_type, info.key_size, info.value_size);
        let expected = (layout.map_type, layout.key_size, layout.value_size);
        if found != expected {
            self.report.unknown(format_args!(
                "map `{}`: type {}, key size {}, value size {}; expected {}, {}, {} ({}); not interpreted",
                open.name, found.0, found.1, found.2, expected.0, expected.1, expected.2, layout.releases
            ));
        }
        found == expected
    }
}
