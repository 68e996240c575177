//! `tracer ct list` and `tracer ct get`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;

use tracer_common::cilium::tuple::flag;

use super::facts::{self, Facts};
use super::selection::Selection;
use super::tables::{self, CtTable};
use crate::cilium::ct::generation::Generations;
use crate::cilium::ct::{self, Counters, CtEntry, TCP};
use crate::cilium::endpoints::Endpoints;
use crate::cli::ct::{GetPlan, ListPlan};
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::output::ct::{COLUMNS, CtRow};
use crate::output::listing::{Listing, RawEntry};
use crate::pipeline::RunError;
use crate::pipeline::maps::{MapNode, Maps};

/// Protocols that `get` looks for unless one is named: those with ports.
const WITH_PORTS: [u8; 3] = [TCP, 17, 132];

pub fn list(global: &Global, plan: &ListPlan) -> Result<Exit, RunError> {
    let MapNode { view, mut maps } = MapNode::open(global, plan.listing.progress)?;
    let tables = tables::open(&mut maps, plan.wanted.map.as_deref())?;
    let facts = facts::gather(&mut maps, &view, &tables);
    let selection = Selection::new(&plan.wanted, view.endpoints());
    if let Some(unmet) = selection.unmet() {
        tracing::warn!("{unmet}");
    }
    let mut shower = Shower {
        listing: Listing::new(io::stdout().lock(), &plan.listing, COLUMNS),
        endpoints: (!plan.listing.numeric).then(|| view.endpoints()),
        facts: &facts,
        time_diff: plan.time_diff,
        unclear: 0,
        undecoded: 0,
        shown: 0,
    };
    for table in &tables {
        if shower.walk(&mut maps, table, &selection).is_break() {
            break;
        }
    }
    shower.finish(&mut maps)?;
    Ok(maps.exit())
}

/// Shows entries and keeps count of those that cannot be shown well.
struct Shower<'a, W: Write> {
    listing: Listing<W>,
    /// `None`: without names.
    endpoints: Option<&'a Endpoints>,
    facts: &'a Facts,
    time_diff: bool,
    /// Entries whose counters may mean two things.
    unclear: u64,
    /// Of the map at hand.
    undecoded: u64,
    shown: u64,
}

impl<W: Write> Shower<'_, W> {
    fn walk(&mut self, maps: &mut Maps, table: &CtTable, selection: &Selection) -> ControlFlow<()> {
        let generations = self.facts.generations.filter(|_| table.is_known);
        let mut end = ControlFlow::Continue(());
        maps.walk(&table.open, &mut |key, value| {
            end = match generations {
                Some(generations) => self.entry(table, generations, key, value, selection),
                None => self.raw(table, key, value),
            };
            end
        });
        if generations.is_some() {
            maps.report.undecoded(&table.open.name, std::mem::take(&mut self.undecoded));
        }
        end
    }

    #[inline]
    fn entry(
        &mut self,
        table: &CtTable,
        generations: Generations,
        key: &[u8],
        value: &[u8],
        selection: &Selection,
    ) -> ControlFlow<()> {
        let Some(entry) = ct::decode(table.map, generations, key, value) else {
            self.undecoded += 1;
            return self.raw(table, key, value);
        };
        if !selection.takes(&entry, &self.facts.clock) {
            return ControlFlow::Continue(());
        }
        self.show(table, &entry)
    }

    fn show(&mut self, table: &CtTable, entry: &CtEntry) -> ControlFlow<()> {
        self.unclear += u64::from(entry.counters == Counters::Unclear);
        self.shown += 1;
        let row = CtRow {
            map: &table.open.name,
            entry,
            clock: &self.facts.clock,
            source_pod: self.endpoints.and_then(|e| pod(e, entry.source().ip())),
            destination_pod: self.endpoints.and_then(|e| pod(e, entry.destination().ip())),
            time_diff: self.time_diff,
        };
        self.listing.row(&row)
    }

    fn raw(&mut self, table: &CtTable, key: &[u8], value: &[u8]) -> ControlFlow<()> {
        self.shown += 1;
        self.listing.raw(&RawEntry { map: &table.open.name, key, value })
    }

    fn finish(self, maps: &mut Maps) -> Result<u64, RunError> {
        if self.unclear > 0 {
            maps.report.unknown(format_args!(
                "the counters of {} entries are not shown: nothing tells which release wrote them",
                self.unclear
            ));
        }
        self.listing.finish().map_err(RunError::Output)
    }
}

fn pod(endpoints: &Endpoints, ip: IpAddr) -> Option<(&str, &str)> {
    let endpoint = endpoints.by_ip(ip)?;
    (!endpoint.pod.is_empty()).then_some((endpoint.namespace.as_str(), endpoint.pod.as_str()))
}

pub fn get(global: &Global, plan: &GetPlan) -> Result<Exit, RunError> {
    let MapNode { view, mut maps } = MapNode::open(global, plan.listing.progress)?;
    let tables = tables::open(&mut maps, None)?;
    let facts = facts::gather(&mut maps, &view, &tables);
    let mut shower = Shower {
        listing: Listing::new(io::stdout().lock(), &plan.listing, COLUMNS),
        endpoints: (!plan.listing.numeric).then(|| view.endpoints()),
        facts: &facts,
        time_diff: false,
        unclear: 0,
        undecoded: 0,
        shown: 0,
    };
    let (own, companions) = possible_keys(plan);
    look_up_all(&mut maps, &tables, &own, &mut shower);
    // Companions are those of all connections of the two addresses: alone they say nothing of this one.
    if shower.shown > 0 {
        look_up_all(&mut maps, &tables, &companions, &mut shower);
    }
    let undecoded = std::mem::take(&mut shower.undecoded);
    maps.report.undecoded("connection tracking", undecoded);
    match (maps.exit(), shower.shown) {
        (exit, 0) => {
            shower.listing.finish_empty().map_err(RunError::Output)?;
            tracing::warn!("no entry for this connection");
            Ok(if exit == Exit::Done { Exit::ConditionNotMet } else { exit })
        }
        _ => {
            shower.finish(&mut maps)?;
            Ok(maps.exit())
        }
    }
}

/// A key, and whether it is in a map of TCP.
type MapKey = (bool, Vec<u8>);

/// All keys under which the connection may be, whoever began it; then those of its companions for ICMP errors.
fn possible_keys(plan: &GetPlan) -> (Vec<MapKey>, Vec<MapKey>) {
    let protocols = if plan.protocols.is_empty() { &WITH_PORTS } else { plan.protocols.as_slice() };
    let orders: [(SocketAddr, SocketAddr); 2] =
        [(plan.source, plan.destination), (plan.destination, plan.source)];
    let all = orders.iter().flat_map(|(a, b)| protocols.iter().filter_map(|p| ct::keys(*a, *b, *p)));
    let unique: BTreeSet<MapKey> = all.flatten().collect();
    unique.into_iter().partition(|(_, key)| key.last().is_some_and(|flags| flags & flag::RELATED == 0))
}

fn look_up_all<W: Write>(maps: &mut Maps, tables: &[CtTable], keys: &[MapKey], shower: &mut Shower<'_, W>) {
    for (tcp, key) in keys {
        let fits = |table: &&CtTable| {
            table.is_known && table.map.tcp == *tcp && table.map.key_size as usize == key.len()
        };
        tables.iter().filter(fits).for_each(|table| look_up(maps, table, key, shower));
    }
}

fn look_up<W: Write>(maps: &mut Maps, table: &CtTable, key: &[u8], shower: &mut Shower<'_, W>) {
    let mut value = [0; ct::VALUE_SIZE];
    match maps.look_up(&table.open, key, &mut value) {
        Some(true) => {}
        Some(false) | None => return,
    }
    let entry =
        shower.facts.generations.and_then(|generations| ct::decode(table.map, generations, key, &value));
    let _ = match entry {
        Some(entry) => shower.show(table, &entry),
        None => {
            shower.undecoded += 1;
            shower.raw(table, key, &value)
        }
    };
}
