//! Facts of the pins, and of the programs that use their maps.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::os::fd::AsFd as _;

use tracer_common::id::{EndpointId, MapId};

use super::node::Node;
use crate::cilium::catalogue::{self, Recognized};
use crate::cilium::map_type::MapType;
use crate::doctor::Finding;
use crate::doctor::pins::{self, Opening, Used};
use crate::kernel::bpf::{self, ProgramInfo, ReadOnlyMap};

/// Every loaded program by its id; the error is why they cannot be listed.
pub(super) struct Loaded(pub Result<BTreeMap<u32, ProgramInfo>, String>);

impl Loaded {
    pub fn read() -> Self {
        Self(programs().map_err(|error| format!("loaded programs cannot be listed: {error}")))
    }
}

fn programs() -> io::Result<BTreeMap<u32, ProgramInfo>> {
    let mut programs = BTreeMap::new();
    for id in bpf::program_ids() {
        let id = id?;
        // A program that is gone by now uses nothing.
        let info = bpf::open_program(id).and_then(|program| bpf::program_info(program.as_fd()));
        programs.extend(info.ok().map(|info| (id, info)));
    }
    Ok(programs)
}

pub(super) fn look(node: &Node, loaded: &Loaded) -> Vec<Finding> {
    if let Some(error) = node.pins_error() {
        let why = format!("the directory of the pins: {error}");
        return vec![pins::readable(&[(why, Opening::NotPermitted)])];
    }
    let names: Vec<String> = node.pins.iter().map(|pin| pin.name.clone()).collect();
    let openings: Vec<(String, Opening)> =
        node.pins.iter().map(|pin| (pin.name.clone(), opening(pin.opened.as_ref().err()))).collect();
    let mut findings = vec![pins::expected(&names), pins::readable(&openings)];
    let ids = node.ids();
    let used = loaded.0.as_ref().map(|programs| used(node, programs, &ids)).map_err(Clone::clone);
    if !ids.is_empty() {
        findings.push(layout(node));
    }
    // Without any open pin there is nothing to compare; that programs are not known either is worth a line.
    if !ids.is_empty() || !names.is_empty() && used.is_err() {
        findings.push(pins::in_use(&ids, &used));
    }
    findings
}

fn opening(error: Option<&io::Error>) -> Opening {
    match error {
        None => Opening::Open,
        Some(error) if error.kind() == io::ErrorKind::PermissionDenied => Opening::NotPermitted,
        Some(error) => Opening::Failed(error.to_string()),
    }
}

fn layout(node: &Node) -> Finding {
    let (mut known, mut sizes, mut unknown) = (0, Vec::new(), Vec::new());
    for (name, map) in node.maps() {
        match catalogue::recognize(name, map.info()) {
            Recognized::Known(_) => known += 1,
            Recognized::Sizes(text) => sizes.push(format!("{name}: {text}")),
            Recognized::Unknown => unknown.push(name.to_owned()),
        }
    }
    pins::layout(known, &sizes, &unknown)
}

/// Maps of Cilium that the programs of this node use: of every program that uses one of the pinned maps.
fn used(node: &Node, programs: &BTreeMap<u32, ProgramInfo>, pins: &[(String, MapId)]) -> Vec<Used> {
    let pinned: HashSet<MapId> = pins.iter().map(|(_, id)| *id).collect();
    let endpoints = endpoints_by_program(node);
    let mut users: BTreeMap<MapId, BTreeSet<u32>> = BTreeMap::new();
    for (program, info) in programs {
        if info.maps.iter().any(|id| pinned.contains(id)) {
            for id in &info.maps {
                users.entry(*id).or_default().insert(*program);
            }
        }
    }
    let describe = |(id, programs): (MapId, BTreeSet<u32>)| describe(id, &programs, &endpoints);
    users.into_iter().filter_map(describe).collect()
}

/// The programs on devices of endpoints.
fn endpoints_by_program(node: &Node) -> HashMap<u32, EndpointId> {
    let mut found = HashMap::new();
    for device in node.network.devices.iter().flatten() {
        let Some(endpoint) = node.endpoint_at(device.ifindex) else { continue };
        found.extend(device.programs.iter().map(|program| (*program, endpoint)));
    }
    found
}

/// `None`: gone, not Cilium's, or a program array, which is replaced with every program.
fn describe(id: MapId, programs: &BTreeSet<u32>, endpoints: &HashMap<u32, EndpointId>) -> Option<Used> {
    let info = ReadOnlyMap::open_id(id).and_then(|map| map.info()).ok()?;
    let kind = MapType(info.map_type);
    if !info.name.starts_with("cilium_") || kind == MapType::PROG_ARRAY {
        return None;
    }
    let mut owners: Vec<EndpointId> =
        programs.iter().filter_map(|program| endpoints.get(program).copied()).collect();
    owners.dedup();
    Some(Used {
        id,
        name: info.name,
        programs: programs.len(),
        endpoint: if let [owner] = owners.as_slice() { Some(*owner) } else { None },
        always_pinned: kind.is_counted(),
    })
}
