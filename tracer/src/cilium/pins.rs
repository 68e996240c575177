//! Pinned maps that may appear, be replaced and vanish while we run. A map is known by its names, newest
//! first, and by the sizes that each name stands for; anything else is refused and not interpreted.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracer_common::id::{EndpointId, MapId};

use super::maps::{MapRead, MapSource};
use crate::kernel::bpf::MapInfo;

/// How often a pin is compared with the map that is open.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// One name of a map and what must be behind it.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    pub name: &'static str,
    /// BPF_MAP_TYPE_*.
    pub map_type: u32,
    pub key_size: u32,
    pub value_size: u32,
    /// The releases that write it so, in words.
    pub releases: &'static str,
}

pub const IPCACHE: [Layout; 2] = [
    Layout { name: "cilium_ipcache_v2", map_type: 11, key_size: 24, value_size: 24, releases: "1.18+" },
    Layout {
        name: "cilium_ipcache",
        map_type: 11,
        key_size: 24,
        value_size: 12,
        releases: "Cilium up to 1.17",
    },
];
pub const LXC: [Layout; 1] =
    [Layout { name: "cilium_lxc", map_type: 1, key_size: 20, value_size: 48, releases: "Cilium 1.14+" }];
pub const METRICS: [Layout; 1] =
    [Layout { name: "cilium_metrics", map_type: 5, key_size: 8, value_size: 16, releases: "Cilium 1.14+" }];
pub const EVENTS: [Layout; 1] =
    [Layout { name: "cilium_events", map_type: 4, key_size: 4, value_size: 4, releases: "all releases" }];

/// Why a pinned map cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    #[error("map `{map}`: no such pin")]
    Absent { map: &'static str },
    #[error("map `{map}`: cannot be opened")]
    Open { map: &'static str, source: io::Error },
    #[error("map `{map}`: type {found}, expected {expected}")]
    Type { map: &'static str, found: u32, expected: u32 },
    #[error("map `{map}`: key size {found}, expected {expected}")]
    KeySize { map: &'static str, found: u32, expected: u32 },
    #[error("map `{map}`: value size {found}, expected {expected}")]
    ValueSize { map: &'static str, found: u32, expected: String },
    #[error("map `{map}`: value size {found} belongs to `{other}`, not interpreted")]
    Misnamed { map: &'static str, found: u32, other: &'static str },
}

impl PinError {
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }

    /// The text with its cause, for comparing and printing on one line.
    pub fn line(&self) -> String {
        match self {
            Self::Open { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }
}

/// What a check of a pin found to be different.
#[derive(Debug)]
pub enum Change {
    Opened,
    Replaced {
        map: &'static str,
        old: MapId,
        new: MapId,
    },
    /// No longer pinned. The open map stays readable, as it was.
    Gone {
        map: &'static str,
    },
    Refused(PinError),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened => f.write_str("map opened"),
            Self::Replaced { map, old, new } => write!(f, "map `{map}` was replaced: id {old} is now {new}"),
            Self::Gone { map } => write!(f, "map `{map}` is no longer pinned: its last state is used"),
            Self::Refused(error) => f.write_str(&error.line()),
        }
    }
}

/// An open map and the layout that it was recognized by.
#[derive(Debug)]
pub struct Opened {
    pub table: Box<dyn MapRead>,
    pub layout: &'static Layout,
}

/// A pinned map, looked after.
#[derive(Debug)]
pub struct Pin {
    source: Arc<dyn MapSource>,
    /// Newest first; several of one name are its generations.
    layouts: &'static [Layout],
    open: Option<Opened>,
    /// The last complaint, so that it is made once.
    complaint: Option<String>,
    checked: Option<Instant>,
}

impl Pin {
    pub fn new(source: Arc<dyn MapSource>, layouts: &'static [Layout]) -> Self {
        Self { source, layouts, open: None, complaint: None, checked: None }
    }

    pub fn opened(&self) -> Option<&Opened> {
        self.open.as_ref()
    }

    pub fn map_id(&self) -> Option<MapId> {
        self.open.as_ref().map(|open| open.table.info().id)
    }

    /// Compares the pin with the open map, at most once per [`CHECK_INTERVAL`]; tells each change once.
    pub fn check(&mut self, now: Instant) -> Option<Change> {
        if self.checked.is_some_and(|at| now.saturating_duration_since(at) < CHECK_INTERVAL) {
            return None;
        }
        self.checked = Some(now);
        match open_newest(&*self.source, self.layouts) {
            Ok(found) => self.take(found),
            Err(error) => self.complain(error),
        }
    }

    fn take(&mut self, found: Opened) -> Option<Change> {
        let (map, new) = (found.layout.name, found.table.info().id);
        let came_back = self.complaint.take().is_some();
        match self.map_id() {
            Some(old) if old == new => return None,
            Some(old) => {
                self.open = Some(found);
                Some(Change::Replaced { map, old, new })
            }
            None => {
                self.open = Some(found);
                Some(Change::Opened)
            }
        }
        .inspect(|change| tracing::debug!(map, id = new.0, came_back, "{change}"))
    }

    fn complain(&mut self, error: PinError) -> Option<Change> {
        let line = error.line();
        if self.complaint.as_ref() == Some(&line) {
            return None;
        }
        self.complaint = Some(line);
        match (&error, &self.open) {
            (PinError::Absent { .. }, Some(open)) => Some(Change::Gone { map: open.layout.name }),
            _ => {
                // Another map than the one that is open is pinned now, and it cannot be read.
                self.open = None;
                Some(Change::Refused(error))
            }
        }
    }
}

/// The layout of a map that is open already: the one of its name and sizes, or why there is none.
pub fn layout_of(
    map: &'static str,
    info: &MapInfo,
    layouts: &'static [Layout],
) -> Result<&'static Layout, PinError> {
    check_sizes(map, info.map_type, info.key_size, info.value_size, layouts)
}

/// Opens the first name that is pinned.
pub fn open_newest(source: &dyn MapSource, layouts: &'static [Layout]) -> Result<Opened, PinError> {
    for layout in layouts {
        match source.open(layout.name) {
            Ok(table) => return recognize(table, layout.name, layouts),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(PinError::Open { map: layout.name, source }),
        }
    }
    Err(PinError::Absent { map: layouts[layouts.len() - 1].name })
}

fn recognize(
    table: Box<dyn MapRead>,
    map: &'static str,
    layouts: &'static [Layout],
) -> Result<Opened, PinError> {
    let layout = layout_of(map, table.info(), layouts)?;
    Ok(Opened { table, layout })
}

fn check_sizes(
    map: &'static str,
    map_type: u32,
    key_size: u32,
    value_size: u32,
    layouts: &'static [Layout],
) -> Result<&'static Layout, PinError> {
    let expected = &layouts[0];
    if map_type != expected.map_type {
        return Err(PinError::Type { map, found: map_type, expected: expected.map_type });
    }
    if key_size != expected.key_size {
        return Err(PinError::KeySize { map, found: key_size, expected: expected.key_size });
    }
    if let Some(layout) = layouts.iter().find(|l| l.name == map && l.value_size == value_size) {
        return Ok(layout);
    }
    match layouts.iter().find(|layout| layout.value_size == value_size) {
        Some(other) => Err(PinError::Misnamed { map, found: value_size, other: other.name }),
        None => Err(PinError::ValueSize { map, found: value_size, expected: expected_values(layouts) }),
    }
}

/// `12 (Cilium up to 1.17) or 24 (1.18+)`: oldest first.
fn expected_values(layouts: &[Layout]) -> String {
    let one = |layout: &Layout| format!("{} ({})", layout.value_size, layout.releases);
    layouts.iter().rev().map(one).collect::<Vec<_>>().join(" or ")
}

/// Names of Cilium's pins in a directory, sorted, without those that a loader parks there for a moment.
pub fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if name.starts_with("cilium_") && !name.ends_with(":pending") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A policy map's name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyPin {
    pub endpoint: EndpointId,
    /// 1 for `cilium_policy_NNNNN`, N for `cilium_policy_vN_NNNNN`.
    pub version: u8,
}

impl PolicyPin {
    pub fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("cilium_policy_")?;
        let (version, digits) = match rest.strip_prefix('v') {
            Some(rest) => {
                let (version, digits) = rest.split_once('_')?;
                (version.parse().ok().filter(|v| *v >= 2)?, digits)
            }
            None => (1, rest),
        };
        let is_id = digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit());
        Some(Self { endpoint: EndpointId(is_id.then(|| digits.parse().ok())??), version })
    }

    pub fn name(&self) -> String {
        match self.version {
            1 => format!("cilium_policy_{:05}", self.endpoint.0),
            version => format!("cilium_policy_v{version}_{:05}", self.endpoint.0),
        }
    }
}

/// The newest policy map of every endpoint, by endpoint.
pub fn policy_pins<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<PolicyPin> {
    let mut pins: Vec<PolicyPin> = names.into_iter().filter_map(PolicyPin::parse).collect();
    pins.sort_unstable_by_key(|pin| (pin.endpoint, std::cmp::Reverse(pin.version)));
    pins.dedup_by_key(|pin| pin.endpoint);
    pins
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cilium::maps::PinnedMaps;

    fn sizes(map: &'static str, map_type: u32, key: u32, value: u32) -> Result<&'static str, String> {
        check_sizes(map, map_type, key, value, &IPCACHE).map(|l| l.releases).map_err(|e| e.to_string())
    }

    #[test]
    fn a_map_is_recognized_by_name_and_sizes_together() {
        assert_eq!(sizes("cilium_ipcache", 11, 24, 12), Ok("Cilium up to 1.17"));
        assert_eq!(sizes("cilium_ipcache_v2", 11, 24, 24), Ok("1.18+"));
    }

    #[test]
    fn an_unknown_size_is_refused_with_the_sizes_that_are_known() {
        for (found, line) in [
            (
                sizes("cilium_ipcache", 11, 24, 20),
                "map `cilium_ipcache`: value size 20, expected 12 (Cilium up to 1.17) or 24 (1.18+)",
            ),
            (sizes("cilium_ipcache", 11, 28, 12), "map `cilium_ipcache`: key size 28, expected 24"),
            (sizes("cilium_ipcache", 1, 24, 12), "map `cilium_ipcache`: type 1, expected 11"),
            (
                sizes("cilium_ipcache", 11, 24, 24),
                "map `cilium_ipcache`: value size 24 belongs to `cilium_ipcache_v2`, not interpreted",
            ),
        ] {
            assert_eq!(found, Err(line.to_owned()));
        }
    }

    #[test]
    fn a_missing_pin_is_complained_about_once_and_looked_for_once_a_second() {
        let mut pin = Pin::new(Arc::new(PinnedMaps::new(Path::new("/no/such/place"))), &LXC);
        let start = Instant::now();
        assert!(matches!(pin.check(start), Some(Change::Refused(PinError::Absent { map: "cilium_lxc" }))));
        assert!(pin.check(start + Duration::from_millis(10)).is_none());
        assert!(pin.check(start + Duration::from_secs(5)).is_none());
        assert_eq!(pin.map_id(), None);
    }

    #[test]
    fn policy_pins_are_named_by_version_and_padded_endpoint_id() {
        for (name, endpoint, version) in [
            ("cilium_policy_01234", 1234, 1),
            ("cilium_policy_v2_00007", 7, 2),
            ("cilium_policy_v3_65535", 65535, 3),
        ] {
            let pin = PolicyPin { endpoint: EndpointId(endpoint), version };
            assert_eq!(PolicyPin::parse(name), Some(pin));
            assert_eq!(pin.name(), name);
        }
        for name in [
            "cilium_policy_1234",
            "cilium_policy_99999",
            "cilium_policy_v1_00007",
            "cilium_policy_v2_+0007",
            "cilium_policystats",
        ] {
            assert_eq!(PolicyPin::parse(name), None, "{name}");
        }
    }

    #[test]
    fn the_newest_policy_map_of_an_endpoint_wins() {
        let names = [
            "cilium_policy_00001",
            "cilium_policy_v2_00001",
            "cilium_policy_v3_00001",
            "cilium_policy_00002",
        ];
        let found: Vec<(u16, u8)> =
            policy_pins(names).iter().map(|pin| (pin.endpoint.0, pin.version)).collect();
        assert_eq!(found, [(1, 3), (2, 1)]);
    }
}
