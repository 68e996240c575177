//! Facts of the pins, and of the programs that use their maps.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::AsFd as _;

use tracer_common::id::MapId;

use super::node::Node;
use crate::cilium::catalogue::{self, Recognized};
use crate::cilium::map_type::MapType;
use crate::doctor::Finding;
use crate::doctor::pins::{self, Opening, Used};
use crate::kernel::bpf::{self, ProgramInfo, ReadOnlyMap};

/// Every loaded program; the error is why they cannot be listed.
pub(super) struct Loaded(pub Result<Vec<ProgramInfo>, String>);

impl Loaded {
    pub fn read() -> Self {
        Self(programs().map_err(|error| format!("loaded programs cannot be listed: {error}")))
    }
}

fn programs() -> io::Result<Vec<ProgramInfo>> {
    let mut programs = Vec::new();
    for id in bpf::program_ids() {
        // A program that is gone by now uses nothing.
        let Ok(program) = bpf::open_program(id?) else { continue };
        programs.extend(bpf::program_info(program.as_fd()));
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
    if ids.is_empty() {
        return findings;
    }
    findings.push(layout(node));
    let used = loaded.0.as_ref().map(|programs| used(programs, &ids)).map_err(Clone::clone);
    findings.push(pins::in_use(&ids, &used));
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
fn used(programs: &[ProgramInfo], pins: &[(String, MapId)]) -> Vec<Used> {
    let pinned: HashSet<MapId> = pins.iter().map(|(_, id)| *id).collect();
    let mut users: HashMap<MapId, usize> = HashMap::new();
    for program in programs.iter().filter(|program| program.maps.iter().any(|id| pinned.contains(id))) {
        for id in program.maps.iter().collect::<HashSet<_>>() {
            *users.entry(*id).or_default() += 1;
        }
    }
    let mut used: Vec<Used> = users.into_iter().filter_map(|(id, programs)| describe(id, programs)).collect();
    used.sort_by_key(|map| map.id);
    used
}

/// `None`: gone, not Cilium's, or a program array, which is replaced with every program.
fn describe(id: MapId, programs: usize) -> Option<Used> {
    let info = ReadOnlyMap::open_id(id).and_then(|map| map.info()).ok()?;
    let kind = MapType(info.map_type);
    let is_cilium = info.name.starts_with("cilium_") && kind != MapType::PROG_ARRAY;
    is_cilium.then(|| Used { id, name: info.name, programs, always_pinned: kind.is_counted() })
}
