//! The other maps of the load balancer, entry by entry, for `tracer lb list --backends` and so on.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;

use tracer_common::id::MapId;

use crate::cilium::ct::clock::Clock;
use crate::cilium::lb::{self, Client};
use crate::cilium::node::NodeView;
use crate::cilium::pins::Layout;
use crate::cli::lb::View;
use crate::output::lb::{self as rows, Cell, PlainRow};
use crate::output::listing::{Column, ListFormat, Listing, RawEntry};
use crate::pipeline::maps::Maps;
use crate::pipeline::maps::ct::facts;

const ARRAY: u32 = 2;

/// Where a view's cells go; called once for an entry that can be decoded.
type Show<'a> = dyn FnMut(&[Cell<'_>]) -> ControlFlow<()> + 'a;

pub fn list(maps: &mut Maps, view: &NodeView, wanted: View, listing: &mut Listing<impl Write>) -> u64 {
    let layouts = match wanted {
        View::Services | View::Slots => &lb::SERVICES,
        View::Backends => &lb::BACKENDS,
        View::ReverseNat => &lb::REVERSE_NAT,
        View::SourceRanges => &lb::SOURCE_RANGES,
        View::Affinity => &lb::AFFINITY,
        View::Sockets => &lb::REVERSE_SK,
        View::Health => &lb::HEALTH,
        View::Skip => &lb::SKIP,
        View::Maglev => return maglev(maps, listing),
    };
    let clock = facts::clock(maps, view);
    let is_vendors = listing.format() == ListFormat::Cilium;
    let mut shown = 0;
    for [layout] in layouts {
        shown += one(maps, layout, wanted.columns(), listing, &mut |key, value, show| match if is_vendors {
            vendor(wanted, key, value)
        } else {
            None
        } {
            Some(texts) => {
                let cells: Vec<Cell<'_>> = texts.iter().map(|text| Cell::Foreign(text)).collect();
                Some(show(&cells))
            }
            None => cells(wanted, layout.name, view, &clock, key, value, show),
        });
    }
    shown
}

/// Decodes an entry and shows it; `None`: it cannot be decoded.
type Decode<'a> = dyn FnMut(&[u8], &[u8], &mut Show<'_>) -> Option<ControlFlow<()>> + 'a;

fn one(
    maps: &mut Maps,
    layout: &'static Layout,
    columns: &'static [Column],
    listing: &mut Listing<impl Write>,
    decode: &mut Decode<'_>,
) -> u64 {
    let Some(open) = maps.map(layout.name) else { return 0 };
    let is_known = maps.is_known(&open, layout);
    let (mut shown, mut undecoded) = (0, 0);
    maps.walk(&open, &mut |key, value| {
        let mut show = |cells: &[Cell<'_>]| listing.row(&PlainRow { columns, cells });
        match if is_known { decode(key, value, &mut show) } else { None } {
            Some(flow) => {
                shown += 1;
                flow
            }
            None => {
                undecoded += u64::from(is_known);
                listing.raw(&RawEntry { map: layout.name, key, value })
            }
        }
    });
    maps.report.undecoded(layout.name, undecoded);
    shown
}

/// The columns of cilium-dbg; `None`: it has none, or the entry cannot be decoded.
fn vendor(wanted: View, key: &[u8], value: &[u8]) -> Option<Vec<String>> {
    Some(match wanted {
        View::Slots => lb::slot(key, value).map(|(key, slot)| rows::vendor_slot(&key, &slot))?.to_vec(),
        View::Backends => {
            lb::backend(key, value).map(|(id, found)| rows::vendor_backend(id, &found))?.to_vec()
        }
        View::ReverseNat => {
            lb::reverse_nat(key, value).map(|(id, found)| rows::vendor_reverse_nat(id, found))?.to_vec()
        }
        View::SourceRanges => lb::source_range(key).map(|range| rows::vendor_source_range(&range))?.to_vec(),
        _ => return None,
    })
}

fn cells(
    wanted: View,
    map: &str,
    view: &NodeView,
    clock: &Clock,
    key: &[u8],
    value: &[u8],
    show: &mut Show<'_>,
) -> Option<ControlFlow<()>> {
    let name = Cell::Foreign(map);
    Some(match wanted {
        View::Services | View::Slots | View::Maglev => {
            let (key, slot) = lb::slot(key, value)?;
            show(&rows::slot_cells(map, &key, &slot))
        }
        View::Backends => {
            let (id, backend) = lb::backend(key, value)?;
            let endpoint = view.endpoints().by_ip(backend.address.ip()).map(AsRef::as_ref);
            show(&rows::backend_cells(map, id, &backend, endpoint))
        }
        View::ReverseNat => {
            let (id, frontend) = lb::reverse_nat(key, value)?;
            let [ip, port] = rows::socket_cells(frontend);
            show(&[name, Cell::Number(id.into()), ip, port])
        }
        View::SourceRanges => {
            let range = lb::source_range(key)?;
            let prefix = Cell::Prefix(range.address, range.prefix_length);
            show(&[name, Cell::Number(range.service_id.into()), prefix])
        }
        View::Affinity => {
            let found = lb::affinity(key, value)?;
            let (ip, cookie) = match found.client {
                Client::Address(ip) => (Cell::Address(ip), Cell::Nothing),
                Client::Namespace(cookie) => (Cell::Nothing, Cell::Number(cookie)),
            };
            let age = u32::try_from(found.last_used).ok().and_then(|at| u64::try_from(clock.age(at)).ok());
            let age = age.map_or(Cell::Nothing, Cell::Number);
            let (service, backend) = (found.service_id.into(), found.backend_id.into());
            show(&[name, Cell::Number(service), ip, cookie, Cell::Number(backend), age])
        }
        View::Sockets => {
            let socket = lb::reverse_sk(key, value)?;
            let [ip, port] = rows::socket_cells(socket.backend);
            let [frontend, frontend_port] = rows::socket_cells(socket.frontend);
            let id = Cell::Number(socket.service_id.into());
            show(&[name, Cell::Number(socket.cookie), ip, port, frontend, frontend_port, id])
        }
        View::Health => {
            let (cookie, backend) = lb::health(key, value)?;
            let [ip, port] = rows::socket_cells(backend.address);
            let state = Cell::Name(backend.state.name());
            show(&[name, Cell::Number(cookie), ip, port, Cell::Protocol(backend.protocol), state])
        }
        View::Skip => {
            let (cookie, frontend) = lb::skip(key)?;
            let [ip, port] = rows::socket_cells(frontend);
            show(&[name, Cell::Number(cookie), ip, port])
        }
    })
}

/// The tables are maps in maps: opening them by their ids needs more rights than the rest.
fn maglev(maps: &mut Maps, listing: &mut Listing<impl Write>) -> u64 {
    let mut shown = 0;
    for [layout] in &lb::MAGLEV {
        let Some(outer) = maps.map(layout.name) else { continue };
        if !maps.is_known(&outer, layout) {
            continue;
        }
        let mut tables = Vec::new();
        maps.walk(&outer, &mut |key, value| {
            if let (Ok(service), Ok(id)) = (key.try_into(), value.try_into()) {
                tables.push((u16::from_be_bytes(service), MapId(u32::from_ne_bytes(id))));
            }
            ControlFlow::Continue(())
        });
        for (service, id) in tables {
            shown += table(maps, layout.name, service, id, listing);
        }
    }
    shown
}

fn table(maps: &mut Maps, outer: &str, service: u16, id: MapId, listing: &mut Listing<impl Write>) -> u64 {
    let Some(open) = maps.inner(outer, service.into(), id) else { return 0 };
    let info = open.map.info();
    if info.map_type != ARRAY || info.max_entries != 1 || !info.value_size.is_multiple_of(4) {
        maps.report
            .unknown(format_args!("map `{}`: no Maglev table: one array of backend ids expected", open.name));
        return 0;
    }
    let mut shares: BTreeMap<u32, u64> = BTreeMap::new();
    maps.walk(&open, &mut |_, table| {
        for backend in table.chunks_exact(4).filter_map(<[u8]>::first_chunk::<4>) {
            *shares.entry(u32::from_ne_bytes(*backend)).or_default() += 1;
        }
        ControlFlow::Continue(())
    });
    let size = shares.values().sum();
    for (backend, entries) in &shares {
        let cells = [
            Cell::Foreign(outer),
            Cell::Number(service.into()),
            Cell::Number((*backend).into()),
            Cell::Number(*entries),
            Cell::Number(size),
        ];
        if listing.row(&PlainRow { columns: rows::MAGLEV_COLUMNS, cells: &cells }).is_break() {
            break;
        }
    }
    shares.len() as u64
}
