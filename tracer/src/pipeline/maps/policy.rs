//! `tracer policy list` and `tracer policy get`.

use std::io;

use tracer_common::cilium::policy::Generation;
use tracer_common::id::EndpointId;

use super::{MapNode, Maps, OpenMap, who};
use crate::cilium::node::NodeView;
use crate::cilium::pins::{self, PolicyPin};
use crate::cilium::policy::{self, PolicyEntry, Tally};
use crate::cilium::policystats;
use crate::cli::endpoint::EndpointName;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::policy::PolicyPlan;
use crate::model::names::Names as _;
use crate::output::listing::{ListFormat, Listing, ListingOptions};
use crate::output::rows::policy::{
    COLUMNS, MAP_COLUMNS, PolicyMapRow, PolicyRow, VENDOR_COLUMNS, VENDOR_NUMERIC_COLUMNS, VendorPolicyRow,
};
use crate::pipeline::RunError;

pub fn run(global: &Global, plan: &PolicyPlan) -> Result<Exit, RunError> {
    match plan {
        PolicyPlan::List(listing) => list(global, listing),
        PolicyPlan::Get { endpoint, listing } => get(global, endpoint, listing),
    }
}

fn policy_pins(maps: &Maps) -> Result<Vec<PolicyPin>, RunError> {
    let names = maps.names()?;
    Ok(pins::policy_pins(names.iter().map(String::as_str)))
}

fn list(global: &Global, options: &ListingOptions) -> Result<Exit, RunError> {
    let MapNode { view, mut maps } = MapNode::open(global, options.progress)?;
    let mut listing = Listing::new(io::stdout().lock(), options, MAP_COLUMNS);
    for pin in policy_pins(&maps)? {
        let Some(open) = maps.map(&pin.name()) else { continue };
        let Some((tally, generation)) = judge(&mut maps, &open, pin, &view) else { continue };
        let row = PolicyMapRow {
            endpoint_id: pin.endpoint.0,
            endpoint: view.endpoints().by_id(pin.endpoint).map(|endpoint| &**endpoint),
            map: &open.name,
            map_id: open.map.info().id.0,
            entries: tally.entries,
            max_entries: open.map.info().max_entries,
            ingress: tally.ingress,
            egress: tally.egress,
            layout: generation.map(policy::generation_name),
        };
        if listing.row(&row).is_break() {
            break;
        }
    }
    listing.finish().map_err(RunError::Output)?;
    Ok(maps.exit())
}

/// Counts the entries and decides on their layout; `None` where they contradict themselves or are unknown,
/// which is told. `None` altogether: the map cannot be read, which is told.
fn judge(
    maps: &mut Maps,
    open: &OpenMap,
    pin: PolicyPin,
    view: &NodeView,
) -> Option<(Tally, Option<Generation>)> {
    let mut tally = Tally::default();
    let was_read = maps.walk(open, &mut |key, value| {
        tally.add(key, value);
        std::ops::ControlFlow::Continue(())
    });
    if !was_read {
        return None;
    }
    let node = view.releases().releases();
    let generation = policy::form(pin, &open.name, open.map.info())
        .and_then(|form| tally.generation(form, &open.name, node))
        .inspect_err(|error| maps.report.unknown(error));
    Some((tally, generation.ok()))
}

fn get(global: &Global, name: &EndpointName, options: &ListingOptions) -> Result<Exit, RunError> {
    let MapNode { view, mut maps } = MapNode::open(global, options.progress)?;
    let id = who::id(name, &view)?;
    let pin = policy_pins(&maps)?.into_iter().find(|pin| pin.endpoint == id).ok_or_else(|| no_map(id))?;
    let open = match maps.map(&pin.name()) {
        Some(open) => open,
        None if maps.report.is_clean() => return Err(no_map(id)),
        None => return Ok(maps.exit()),
    };
    let Some((_, generation)) = judge(&mut maps, &open, pin, &view) else { return Ok(maps.exit()) };
    let is_vendor = options.format == ListFormat::Cilium;
    let columns = match (is_vendor, options.numeric) {
        (false, _) => COLUMNS,
        (true, false) => VENDOR_COLUMNS,
        (true, true) => VENDOR_NUMERIC_COLUMNS,
    };
    let mut listing = Listing::new(io::stdout().lock(), options, columns);
    match generation {
        None => maps.raw(&open, &mut listing),
        Some(generation) => {
            let mut shown = Shown { view, stats: Stats::open(&mut maps, generation), endpoint: id };
            maps.rows(
                &open,
                &mut listing,
                |key, value| policy::decode(generation, key, value),
                |listing, entry| shown.row(listing, entry, options, is_vendor),
            );
            shown.stats.tell(&mut maps);
        }
    }
    listing.finish().map_err(RunError::Output)?;
    Ok(maps.exit())
}

fn no_map(id: EndpointId) -> RunError {
    RunError::NoMap(format!(
        "endpoint {id} has no policy map on this node (no `cilium_policy*_{:05}`); `tracer policy list` has all",
        id.0
    ))
}

/// What the rows of one endpoint take from elsewhere.
struct Shown {
    view: NodeView,
    stats: Stats,
    endpoint: EndpointId,
}

impl Shown {
    fn row<W: io::Write>(
        &mut self,
        listing: &mut Listing<W>,
        entry: &PolicyEntry,
        options: &ListingOptions,
        is_vendor: bool,
    ) -> std::ops::ControlFlow<()> {
        let counters = entry.counters.or_else(|| self.stats.look_up(self.endpoint, entry));
        let labels = (entry.identity.0 != 0).then(|| self.view.labels(entry.identity)).flatten();
        let row = PolicyRow { entry, labels: labels.as_deref(), counters, numeric: options.numeric };
        if is_vendor { listing.row(&VendorPolicyRow(row)) } else { listing.row(&row) }
    }
}

/// The map of counters, where entries have none of their own.
#[derive(Default)]
struct Stats {
    open: Option<OpenMap>,
    values: Vec<u8>,
    error: Option<io::Error>,
}

impl Stats {
    fn open(maps: &mut Maps, generation: Generation) -> Self {
        if matches!(generation, Generation::Wildcard | Generation::Prefix) {
            return Self::default();
        }
        match maps.newest(&policystats::LAYOUT) {
            super::newest::Newest::Known(open) => {
                Self { values: vec![0; open.map.value_bytes()], open: Some(open), error: None }
            }
            _ => Self::default(),
        }
    }

    /// `None`: nobody counts. What was never counted is zero.
    fn look_up(&mut self, endpoint: EndpointId, entry: &PolicyEntry) -> Option<(u64, u64)> {
        let open = self.open.as_ref()?;
        match policystats::look_up(&*open.map, endpoint, &entry.key, &mut self.values) {
            Ok(found) => Some(found.unwrap_or_default()),
            Err(error) => {
                self.error = Some(error);
                self.open = None;
                None
            }
        }
    }

    fn tell(self, maps: &mut Maps) {
        if let Some(error) = self.error {
            maps.report.unreadable(policystats::NAME, &error);
        }
    }
}
