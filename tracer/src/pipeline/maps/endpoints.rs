//! `tracer endpoints list` and `tracer endpoints get`.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use tracer_common::id::EndpointId;

use super::newest::Newest;
use super::{MapNode, Maps, who};
use crate::cilium::lxc::{self, LxcEntry};
use crate::cilium::node::NodeView;
use crate::cilium::pins;
use crate::cilium::policy;
use crate::cli::endpoints::EndpointsPlan;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::model::endpoint::LocalEndpoint;
use crate::output::listing::{ListFormat, Listing};
use crate::output::rows::endpoint::{COLUMNS, EndpointRow, VENDOR_COLUMNS, VendorEndpointRow};
use crate::pipeline::RunError;

pub fn run(global: &Global, plan: &EndpointsPlan) -> Result<Exit, RunError> {
    let options = &plan.listing;
    let MapNode { view, mut maps } = MapNode::open(global, options.progress)?;
    let wanted = plan.endpoint.as_ref().map(|name| who::id(name, &view)).transpose()?;
    if let Some(id) = wanted.filter(|id| view.endpoints().by_id(*id).is_none()) {
        return Err(RunError::NoMap(format!(
            "no endpoint {id} on this node; `tracer endpoints list` has all"
        )));
    }
    let is_vendor = options.format == ListFormat::Cilium;
    let enforced = if is_vendor { Enforced::new() } else { enforcement(&mut maps, wanted)? };
    let columns = if is_vendor { VENDOR_COLUMNS } else { COLUMNS };
    let mut listing = Listing::new(io::stdout().lock(), options, columns);
    match maps.required(&pins::LXC)? {
        Newest::None => {}
        Newest::Foreign(open) => maps.raw(&open, &mut listing),
        Newest::Known(open) => maps.rows(&open, &mut listing, lxc::decode, |listing, entry| {
            if is_wanted(entry, wanted) {
                show(listing, entry, &view, &enforced)
            } else {
                ControlFlow::Continue(())
            }
        }),
    }
    if !is_vendor {
        without_address(&mut listing, &view, wanted, &enforced);
    }
    listing.finish().map_err(RunError::Output)?;
    Ok(maps.exit())
}

fn is_wanted(entry: &LxcEntry, wanted: Option<EndpointId>) -> bool {
    wanted.is_none_or(|id| entry.id == id && !entry.is_host())
}

/// Whether policy is enforced, in and out, by endpoint.
type Enforced = BTreeMap<EndpointId, [bool; 2]>;

/// Asks the policy maps of all endpoints, or of one. What is not understood is told.
fn enforcement(maps: &mut Maps, wanted: Option<EndpointId>) -> Result<Enforced, RunError> {
    let names = maps.names()?;
    let mut all = Enforced::new();
    for pin in pins::policy_pins(names.iter().map(String::as_str)) {
        if wanted.is_some_and(|id| id != pin.endpoint) {
            continue;
        }
        let Some(open) = maps.map(&pin.name()) else { continue };
        if let Err(error) = policy::form(pin, &open.name, open.map.info()) {
            maps.report.unknown(&error);
            continue;
        }
        let asked = [false, true].map(|egress| policy::is_enforced(&*open.map, egress));
        match asked {
            [Ok(ingress), Ok(egress)] => {
                all.insert(pin.endpoint, [ingress, egress]);
            }
            [Err(error), _] | [_, Err(error)] => maps.report.unreadable(&open.name, &error),
        }
    }
    Ok(all)
}

fn show<W: io::Write>(
    listing: &mut Listing<W>,
    entry: &LxcEntry,
    view: &NodeView,
    enforced: &Enforced,
) -> ControlFlow<()> {
    if listing.format() == ListFormat::Cilium {
        return listing.row(&VendorEndpointRow(entry));
    }
    let endpoint = if entry.is_host() { None } else { view.endpoints().by_id(entry.id) };
    listing.row(&EndpointRow {
        entry: Some(entry),
        endpoint: endpoint.map(|endpoint| &**endpoint),
        enforced: endpoint.and_then(|endpoint| enforced.get(&endpoint.id).copied()),
    })
}

/// Endpoints that only the agent's files know: that of the host, and those that are gone or not yet there.
fn without_address<W: io::Write>(
    listing: &mut Listing<W>,
    view: &NodeView,
    wanted: Option<EndpointId>,
    enforced: &Enforced,
) {
    let in_map = |id| view.lxc_entries().iter().any(|entry| entry.id == id && !entry.is_host());
    let is_missing = |e: &&Arc<LocalEndpoint>| !in_map(e.id) && wanted.is_none_or(|id| id == e.id);
    let mut missing: Vec<_> = view.endpoints().iter().filter(is_missing).collect();
    missing.sort_by_key(|endpoint| endpoint.id);
    for endpoint in missing {
        let enforced = enforced.get(&endpoint.id).copied();
        if listing.row(&EndpointRow { entry: None, endpoint: Some(endpoint), enforced }).is_break() {
            return;
        }
    }
}
