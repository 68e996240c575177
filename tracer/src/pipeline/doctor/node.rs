//! The node as far as files, pins and devices show it at once.

use std::io;
use std::time::Instant;

use tracer_common::id::{EndpointId, IfIndex, MapId};

use super::devices::{self, Network};
use crate::cilium::maps::{MapRead, MapSource as _, PinnedMaps};
use crate::cilium::node::{NodeView, Notice};
use crate::cilium::release::Judgement;
use crate::cilium::source::NodeSource;
use crate::doctor::place::{self, Places};
use crate::doctor::{Finding, joined};
use crate::kernel::system;

pub(super) struct Node {
    pub view: NodeView,
    /// By name.
    pub pins: Vec<Pin>,
    /// Why there are no pins although there is a place for them.
    pins_error: Option<io::Error>,
    /// Files of the agent that cannot be used, one line each.
    pub broken_files: Vec<String>,
    pub network: Network,
}

pub(super) struct Pin {
    pub name: String,
    pub opened: io::Result<Box<dyn MapRead>>,
}

impl Node {
    pub fn look(found: NodeSource) -> Self {
        let (pins, pins_error) = match found.globals.as_deref().map(open_all) {
            Some(Ok(pins)) => (pins, None),
            Some(Err(error)) => (Vec::new(), Some(error)),
            None => (Vec::new(), None),
        };
        let mut view = NodeView::new(found, Instant::now());
        let broken = |notice: &Notice| match notice {
            Notice::State(problem) => Some(problem.line()),
            _ => None,
        };
        let broken_files = view.take_notices().iter().filter_map(broken).collect();
        let mut ifindexes = netdevs(&pins);
        ifindexes.extend(view.lxc_entries().iter().map(|entry| IfIndex(entry.ifindex)));
        let network = devices::find(&ifindexes);
        Self { view, pins, pins_error, broken_files, network }
    }

    /// Whether there is anything of Cilium's to look at.
    pub fn has_maps(&self) -> bool {
        self.view.source().globals.is_some()
    }

    pub fn places(&self) -> Vec<Finding> {
        let source = self.view.source();
        let places = Places {
            globals: source.globals.clone(),
            why_nothing: source.why_nothing(),
            mounts: system::bpffs_mounts(),
            state_dir: source.state_dir.clone(),
            devices: self.network.cilium_devices(),
        };
        vec![place::maps(&places), place::state_dir(&places)]
    }

    pub fn release(&self) -> Finding {
        let agreed = match self.view.releases() {
            Judgement::Agreed(range) => Ok(range.to_string()),
            Judgement::Conflict(one, other) => Err(format!("{one}, but {other}")),
        };
        place::release(agreed, self.view.agent_version())
    }

    /// An open map by the name of its pin.
    pub fn map(&self, name: &str) -> Option<&dyn MapRead> {
        Some(&**self.pin(name)?.opened.as_ref().ok()?)
    }

    pub fn pin(&self, name: &str) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.name == name)
    }

    /// Why the directory of the pins cannot be listed.
    pub fn pins_error(&self) -> Option<&io::Error> {
        self.pins_error.as_ref()
    }

    /// Every open map, with the name of its pin.
    pub fn maps(&self) -> impl Iterator<Item = (&str, &dyn MapRead)> {
        self.pins.iter().filter_map(|pin| Some((pin.name.as_str(), &**pin.opened.as_ref().ok()?)))
    }

    pub fn ids(&self) -> Vec<(String, MapId)> {
        self.maps().map(|(name, map)| (name.to_owned(), map.info().id)).collect()
    }

    /// `namespace/pod (endpoint 1001)`.
    pub fn endpoint_name(&self, id: EndpointId) -> String {
        match self.view.endpoints().by_id(id) {
            Some(endpoint) if !endpoint.pod.is_empty() => {
                format!("{}/{} (endpoint {id})", endpoint.namespace, endpoint.pod)
            }
            Some(endpoint) => {
                let labels: Vec<&str> = endpoint.labels.iter().take(1).collect();
                if labels.is_empty() {
                    format!("endpoint {id}")
                } else {
                    format!("endpoint {id} {}", joined(&labels))
                }
            }
            None => format!("endpoint {id}"),
        }
    }

    /// The endpoint behind a device.
    pub fn endpoint_at(&self, ifindex: IfIndex) -> Option<EndpointId> {
        let mut entries = self.view.lxc_entries().iter().filter(|entry| !entry.is_host());
        Some(entries.find(|entry| IfIndex(entry.ifindex) == ifindex)?.id)
    }

    /// Devices of the node that Cilium loaded programs for.
    pub fn netdevs(&self) -> Vec<IfIndex> {
        netdevs(&self.pins)
    }
}

fn open_all(globals: &std::path::Path) -> io::Result<Vec<Pin>> {
    let source = PinnedMaps::new(globals);
    let open = |name: String| Pin { opened: source.open(&name), name };
    Ok(source.names()?.into_iter().map(open).collect())
}

/// Each such device has a program map of its own, named after its number.
fn netdevs(pins: &[Pin]) -> Vec<IfIndex> {
    let number = |pin: &Pin| pin.name.strip_prefix("cilium_calls_netdev_")?.parse().ok();
    pins.iter().filter_map(number).map(IfIndex).collect()
}
