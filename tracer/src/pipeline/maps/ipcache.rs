//! `tracer ipcache list` and `tracer ipcache get`.

use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;

use tracer_common::id::Identity;

use super::newest::Newest;
use super::{MapNode, Maps, OpenMap};
use crate::cilium::ipcache::{self, IpcacheEntry};
use crate::cilium::node::NodeView;
use crate::cilium::pins;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::ipcache::IpcachePlan;
use crate::model::names::Names as _;
use crate::output::listing::{ListFormat, Listing, ListingOptions};
use crate::output::rows::ipcache::{COLUMNS, IpcacheRow, VENDOR_COLUMNS, VendorIpcacheRow};
use crate::pipeline::RunError;

pub fn run(global: &Global, plan: &IpcachePlan) -> Result<Exit, RunError> {
    match plan {
        IpcachePlan::List { identities, listing } => list(global, identities, listing),
        IpcachePlan::Get { ip, listing } => get(global, *ip, listing),
    }
}

fn listing(options: &ListingOptions) -> Listing<io::StdoutLock<'static>> {
    let columns = if options.format == ListFormat::Cilium { VENDOR_COLUMNS } else { COLUMNS };
    Listing::new(io::stdout().lock(), options, columns)
}

fn show<W: io::Write>(
    listing: &mut Listing<W>,
    view: &mut NodeView,
    entry: &IpcacheEntry,
) -> ControlFlow<()> {
    let labels = view.labels(entry.identity);
    let row = IpcacheRow { entry, labels: labels.as_deref() };
    if listing.format() == ListFormat::Cilium {
        listing.row(&VendorIpcacheRow(row))
    } else {
        listing.row(&row)
    }
}

fn list(global: &Global, identities: &[Identity], options: &ListingOptions) -> Result<Exit, RunError> {
    let MapNode { mut view, mut maps } = MapNode::open(global, options.progress)?;
    let mut listing = listing(options);
    match maps.required(&pins::IPCACHE)? {
        Newest::None => {}
        Newest::Foreign(open) => maps.raw(&open, &mut listing),
        Newest::Known(open) => maps.rows(&open, &mut listing, ipcache::decode, |listing, entry| {
            if identities.is_empty() || identities.contains(&entry.identity) {
                show(listing, &mut view, entry)
            } else {
                ControlFlow::Continue(())
            }
        }),
    }
    listing.finish().map_err(RunError::Output)?;
    Ok(maps.exit())
}

fn get(global: &Global, ip: IpAddr, options: &ListingOptions) -> Result<Exit, RunError> {
    let MapNode { mut view, mut maps } = MapNode::open(global, options.progress)?;
    let open = match maps.required(&pins::IPCACHE)? {
        Newest::Known(open) => open,
        _ => return Ok(maps.exit()),
    };
    let chain = covering(&mut maps, &open, ip);
    let mut listing = listing(options);
    for entry in &chain {
        if show(&mut listing, &mut view, entry).is_break() {
            break;
        }
    }
    listing.finish().map_err(RunError::Output)?;
    let exit = maps.exit();
    if exit == Exit::Done && chain.is_empty() {
        let world = view.world().of(ip);
        tracing::warn!("no prefix covers {ip}: the datapath takes it for world (identity {world})");
        return Ok(Exit::ConditionNotMet);
    }
    Ok(exit)
}

/// The same for other commands; empty where there is no ipcache that can be read.
pub(in crate::pipeline) fn chain(maps: &mut Maps, ip: IpAddr) -> Vec<IpcacheEntry> {
    match maps.newest(&pins::IPCACHE) {
        Newest::Known(open) => covering(maps, &open, ip),
        _ => Vec::new(),
    }
}

/// The entries that cover the address, longest prefix first, those of this cluster before others.
fn covering(maps: &mut Maps, open: &OpenMap, ip: IpAddr) -> Vec<IpcacheEntry> {
    let (mut chain, mut undecoded) = (Vec::new(), 0);
    maps.walk(open, &mut |key, value| {
        match ipcache::decode(key, value) {
            Some(entry) if entry.covers(ip) => chain.push(entry),
            Some(_) => {}
            None => undecoded += 1,
        }
        ControlFlow::Continue(())
    });
    maps.report.undecoded(&open.name, undecoded);
    chain.sort_by_key(|entry| (entry.cluster_id, std::cmp::Reverse(entry.prefix_length)));
    chain
}
