//! `tracer nat orphans`.

use std::io;
use std::ops::ControlFlow;

use super::{Wanted, tables};
use crate::cilium::lb::{Frontend, SERVICES, SlotKey};
use crate::cilium::maps::MapRead;
use crate::cilium::nat::{self, Direction, Key, NatEntry};
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::nat::ListPlan;
use crate::nat::orphans::{LookUp, Orphan, Partner, judge};
use crate::output::listing::{Listing, RawEntry};
use crate::output::nat::{NatRow, ORPHAN_COLUMNS};
use crate::pipeline::RunError;
use crate::pipeline::maps::ct::facts;
use crate::pipeline::maps::{MapNode, Maps, OpenMap};

/// Bytes of a connection tracking value, and of it the flags.
const CT_VALUE: usize = 56;
const CT_FLAGS: std::ops::Range<usize> = 36..38;
const TCP: u8 = 6;

pub fn run(global: &Global, plan: &ListPlan) -> Result<Exit, RunError> {
    let MapNode { mut maps, view } = MapNode::open(global, plan.listing.progress)?;
    let wanted = Wanted::new(&plan.filter, &view)?;
    let clock = facts::clock(&maps, &view);
    let mut listing = Listing::new(io::stdout().lock(), &plan.listing, ORPHAN_COLUMNS);
    for table in tables::open(&mut maps)? {
        let around = Around::open(&mut maps, table.open.map.info().key_size, table.is_global);
        let look_up = NodeMaps { nat: &*table.open.map, around: &around };
        let map = table.open.name.as_str();
        let (mut undecoded, mut failed) = (0, None);
        maps.walk(&table.open, &mut |key, value| {
            let entry = if table.is_known { nat::decode(key, value) } else { None };
            let Some(entry) = entry else {
                undecoded += u64::from(table.is_known);
                return listing.raw(&RawEntry { map, key, value });
            };
            if !wanted.matches(&entry) {
                return ControlFlow::Continue(());
            }
            match judge(&look_up, &entry) {
                Ok(None) => ControlFlow::Continue(()),
                Ok(Some(orphan)) => listing.row(&NatRow {
                    map,
                    entry: &entry,
                    created_seconds_ago: super::age(&clock, entry.created),
                    endpoint: super::endpoint(&view, &plan.listing, &entry),
                    problems: Some(problems(orphan)),
                }),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        maps.report.undecoded(map, undecoded);
        failed.iter().for_each(|error| maps.report.unreadable(map, error));
    }
    listing.finish().map_err(RunError::Output)?;
    Ok(maps.exit())
}

const fn problems(orphan: Orphan) -> &'static [&'static str] {
    match (orphan.partner, orphan.no_connection) {
        (Partner::Fits, _) => &["no_connection"],
        (Partner::Missing, false) => &["no_partner"],
        (Partner::Missing, true) => &["no_partner", "no_connection"],
        (Partner::Differs, false) => &["partner_differs"],
        (Partner::Differs, true) => &["partner_differs", "no_connection"],
    }
}

/// The maps beside a NAT map that tell whether its entries are used.
struct Around {
    /// TCP, then the rest.
    connections: [Option<OpenMap>; 2],
    services: Option<OpenMap>,
}

impl Around {
    fn open(maps: &mut Maps, key_size: u32, is_global: bool) -> Self {
        let is_v4 = key_size == crate::cilium::nat::SNAT4[0].key_size;
        let names = if is_v4 {
            ["cilium_ct4_global", "cilium_ct_any4_global"]
        } else {
            ["cilium_ct6_global", "cilium_ct_any6_global"]
        };
        let fits = |open: &OpenMap| {
            let info = open.map.info();
            info.key_size == key_size && info.value_size as usize == CT_VALUE
        };
        let connections = names.map(|name| if is_global { maps.map(name).filter(fits) } else { None });
        let layout = &SERVICES[usize::from(!is_v4)][0];
        let services = maps.map(layout.name);
        let services = services.filter(|open| open.map.info().key_size == layout.key_size);
        Self { connections, services }
    }
}

struct NodeMaps<'a> {
    nat: &'a dyn MapRead,
    around: &'a Around,
}

impl NodeMaps<'_> {
    /// `None`: there is no such map.
    fn ct_value(&self, protocol: u8, key: &Key) -> io::Result<Option<Option<[u8; CT_VALUE]>>> {
        let Some(open) = &self.around.connections[usize::from(protocol != TCP)] else { return Ok(None) };
        let mut value = [0; CT_VALUE];
        Ok(Some(open.map.lookup(key.bytes(), &mut value)?.then_some(value)))
    }
}

impl LookUp for NodeMaps<'_> {
    type Error = io::Error;

    fn nat(&self, key: &Key) -> io::Result<Option<NatEntry>> {
        let mut buffer = [0; 56];
        let value = buffer.get_mut(..self.nat.value_bytes()).ok_or(io::ErrorKind::InvalidData)?;
        let found = self.nat.lookup(key.bytes(), value)?;
        Ok(if found { nat::decode(key.bytes(), value) } else { None })
    }

    fn connection(&self, protocol: u8, key: &Key) -> io::Result<Option<bool>> {
        Ok(self.ct_value(protocol, key)?.map(|value| value.is_some()))
    }

    fn dsr_connection(&self, protocol: u8, key: &Key) -> io::Result<bool> {
        let Some(Some(value)) = self.ct_value(protocol, key)? else { return Ok(false) };
        let flags = value[CT_FLAGS].try_into().map_or(0, u16::from_ne_bytes);
        Ok(flags & tracer_common::cilium::ct::flag::DSR != 0)
    }

    fn is_frontend(&self, entry: &NatEntry) -> io::Result<bool> {
        let Some(services) = &self.around.services else { return Ok(false) };
        if entry.direction == Direction::In {
            return Ok(false);
        }
        for protocol in [entry.protocol, 0] {
            let frontend = Frontend { address: entry.to, protocol, scope: 0 };
            let (key, length) = SlotKey { frontend, slot: 0 }.bytes();
            if services.map.lookup(&key[..length], &mut [0; 12])? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
