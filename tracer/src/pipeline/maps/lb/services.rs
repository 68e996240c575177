//! Frontends with their backends, for `tracer lb list` and `tracer lb get`. Slots and backends are looked up
//! for each frontend, so that nothing has to be kept.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::ops::ControlFlow;

use crate::cilium::lb::{self, BACKENDS, Backend, Frontend, SERVICES, Slot, SlotKey};
use crate::cilium::node::NodeView;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::lb::{GetPlan, View};
use crate::output::lb::{BackendRow, FrontendRow, VendorRow};
use crate::output::listing::{ListFormat, Listing, RawEntry};
use crate::pipeline::RunError;
use crate::pipeline::maps::{MapNode, Maps, OpenMap};

/// Which frontends are shown.
pub struct Only {
    pub address: SocketAddr,
    pub protocol: Option<u8>,
}

impl Only {
    fn matches(&self, frontend: &Frontend) -> bool {
        self.address == frontend.address && self.protocol.is_none_or(|protocol| protocol == frontend.protocol)
    }
}

pub fn get(global: &Global, plan: &GetPlan) -> Result<Exit, RunError> {
    let MapNode { mut maps, view } = MapNode::open(global, plan.listing.progress)?;
    super::require(&maps)?;
    let mut listing =
        Listing::new(io::stdout().lock(), &plan.listing, super::columns(View::Services, &plan.listing));
    let only = Only { address: plan.address, protocol: plan.protocol };
    let rows = list(&mut maps, &view, plan.listing.numeric, Some(&only), &mut listing);
    if rows == 0 && maps.exit() == Exit::Done {
        listing.finish_empty().map_err(RunError::Output)?;
        return Err(RunError::NoMap(format!("no frontend `{}` in the services maps", plan.address)));
    }
    listing.finish().map_err(RunError::Output)?;
    Ok(maps.exit())
}

/// Returns how many frontends were shown.
pub fn list(
    maps: &mut Maps,
    view: &NodeView,
    numeric: bool,
    only: Option<&Only>,
    listing: &mut Listing<impl Write>,
) -> u64 {
    let backends =
        BACKENDS.each_ref().map(|layout| maps.map(layout[0].name).filter(|o| maps.is_known(o, &layout[0])));
    let mut shown = 0;
    for (family, layout) in SERVICES.iter().enumerate() {
        let layout = &layout[0];
        let Some(open) = maps.map(layout.name) else { continue };
        let is_known = maps.is_known(&open, layout);
        let around = Around { services: &open, backends: [&backends[family], &backends[1 - family]] };
        let (mut undecoded, mut failed) = (0, None);
        maps.walk(&open, &mut |key, value| {
            let decoded = if is_known { lb::slot(key, value) } else { None };
            let Some((key, slot)) = decoded else {
                undecoded += u64::from(is_known);
                return listing.raw(&RawEntry { map: layout.name, key, value });
            };
            if key.slot != 0 || !only.is_none_or(|only| only.matches(&key.frontend)) {
                return ControlFlow::Continue(());
            }
            let rows = around.backends_of(&key, &slot, view, numeric).unwrap_or_else(|error| {
                failed = Some(error);
                Vec::new()
            });
            shown += 1;
            let (map, frontend) = (layout.name, key.frontend);
            show(listing, &FrontendRow { map, frontend, slot, backends: &rows })
        });
        maps.report.undecoded(layout.name, undecoded);
        failed.iter().for_each(|error| maps.report.unreadable(layout.name, error));
    }
    shown
}

/// cilium-dbg has a line for the frontend and one for each slot.
fn show(listing: &mut Listing<impl Write>, frontend: &FrontendRow<'_>) -> ControlFlow<()> {
    if listing.format() != ListFormat::Cilium {
        return listing.row(frontend);
    }
    listing.row(&VendorRow { frontend, backend: None })?;
    frontend.backends.iter().try_for_each(|slot| listing.row(&VendorRow { frontend, backend: Some(slot) }))
}

struct Around<'a> {
    services: &'a OpenMap,
    /// Of the same family, then of the other one, which NAT 46x64 leads to.
    backends: [&'a Option<OpenMap>; 2],
}

impl Around<'_> {
    fn backends_of<'v>(
        &self,
        key: &SlotKey,
        frontend: &Slot,
        view: &'v NodeView,
        numeric: bool,
    ) -> io::Result<Vec<BackendRow<'v>>> {
        let mut rows = Vec::new();
        for slot in 1..=frontend.count.saturating_add(frontend.quarantined) {
            // A slot that is not there has no backend either.
            let Some(found) = self.slot(&SlotKey { slot, ..*key })? else { continue };
            let backend = self.backend(found.backend_id())?;
            let endpoint = backend.filter(|_| !numeric).and_then(|b| view.endpoints().by_ip(b.address.ip()));
            rows.push(BackendRow {
                slot,
                id: found.backend_id(),
                is_quarantined: slot > frontend.count,
                backend,
                endpoint: endpoint.map(AsRef::as_ref),
            });
        }
        Ok(rows)
    }

    fn slot(&self, key: &SlotKey) -> io::Result<Option<Slot>> {
        let (key, length) = key.bytes();
        let mut value = [0; 12];
        let found = self.services.map.lookup(&key[..length], &mut value)?;
        Ok(if found { lb::slot_value(&value) } else { None })
    }

    fn backend(&self, id: u32) -> io::Result<Option<Backend>> {
        for open in self.backends.into_iter().flatten() {
            let mut buffer = [0; 24];
            let value = buffer.get_mut(..open.map.value_bytes()).ok_or(io::ErrorKind::InvalidData)?;
            if open.map.lookup(&id.to_ne_bytes(), value)? {
                return Ok(lb::backend_value(value));
            }
        }
        Ok(None)
    }
}
