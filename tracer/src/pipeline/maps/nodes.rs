//! `tracer nodes`: the node map, the tunnel map and the tunnel endpoints of the ipcache joined by address.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;

use super::newest::Newest;
use super::{MapNode, Maps};
use crate::cilium::ipcache;
use crate::cilium::node::NodeView;
use crate::cilium::node_map::{self, NODE_MAP, NodeAddress, TUNNEL_MAP, Tunnel};
use crate::cilium::pins::{IPCACHE, Layout};
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::output::listing::{Listing, ListingOptions, RawEntry};
use crate::output::rows::node::{COLUMNS, NodeRow};
use crate::pipeline::RunError;

pub fn run(global: &Global, options: &ListingOptions) -> Result<Exit, RunError> {
    let MapNode { view, mut maps } = MapNode::open(global, options.progress)?;
    let mut listing = Listing::new(io::stdout().lock(), options, COLUMNS);
    let addresses = read(&mut maps, &mut listing, &NODE_MAP, node_map::decode);
    let tunnels = read(&mut maps, &mut listing, &TUNNEL_MAP, node_map::decode_tunnel);
    let remote = remote_prefixes(&mut maps);
    for row in join(&addresses, &tunnels, &remote, &view) {
        if listing.row(&row).is_break() {
            break;
        }
    }
    listing.finish().map_err(RunError::Output)?;
    Ok(maps.exit())
}

/// All entries of a small map; those that cannot be decoded are shown as bytes.
fn read<W: io::Write, T>(
    maps: &mut Maps,
    listing: &mut Listing<W>,
    layouts: &'static [Layout],
    decode: impl Fn(&[u8], &[u8]) -> Option<T>,
) -> Vec<T> {
    let (mut found, mut undecoded) = (Vec::new(), 0);
    match maps.newest(layouts) {
        Newest::None => {}
        Newest::Foreign(open) => maps.raw(&open, listing),
        Newest::Known(open) => {
            maps.walk(&open, &mut |key, value| match decode(key, value) {
                Some(entry) => {
                    found.push(entry);
                    ControlFlow::Continue(())
                }
                None => {
                    undecoded += 1;
                    listing.raw(&RawEntry { map: &open.name, key, value })
                }
            });
            maps.report.undecoded(&open.name, undecoded);
        }
    }
    found
}

/// How many prefixes are reached through each node.
fn remote_prefixes(maps: &mut Maps) -> HashMap<IpAddr, u64> {
    let mut remote = HashMap::new();
    if let Newest::Known(open) = maps.newest(&IPCACHE) {
        maps.walk(&open, &mut |key, value| {
            let endpoint = ipcache::decode(key, value).and_then(|entry| entry.tunnel_endpoint);
            if let Some(ip) = endpoint {
                *remote.entry(ip).or_default() += 1;
            }
            ControlFlow::Continue(())
        });
    }
    remote
}

/// One row for each node: those with a number, and those that only tunnels lead to.
fn join(
    addresses: &[NodeAddress],
    tunnels: &[Tunnel],
    remote: &HashMap<IpAddr, u64>,
    view: &NodeView,
) -> Vec<NodeRow> {
    let mut by_id: BTreeMap<u16, NodeRow> = BTreeMap::new();
    for address in addresses {
        let row = by_id.entry(address.node_id).or_default();
        row.node_id = Some(address.node_id);
        row.spi = row.spi.or(address.spi);
        row.addresses.push(address.ip);
    }
    let mut rows: Vec<NodeRow> = by_id.into_values().collect();
    for tunnel in tunnels {
        row_of(&mut rows, tunnel.node).pod_networks.push(tunnel.prefix);
    }
    for (ip, prefixes) in remote {
        row_of(&mut rows, *ip).remote_prefixes += prefixes;
    }
    rows.iter_mut().for_each(|row| finish(row, view));
    rows.sort_by_key(|row| (row.node_id.is_none(), row.node_id, row.addresses.first().copied()));
    rows
}

fn row_of(rows: &mut Vec<NodeRow>, ip: IpAddr) -> &mut NodeRow {
    let index = rows.iter().position(|row| row.addresses.contains(&ip)).unwrap_or_else(|| {
        rows.push(NodeRow { addresses: vec![ip], ..NodeRow::default() });
        rows.len() - 1
    });
    &mut rows[index]
}

fn finish(row: &mut NodeRow, view: &NodeView) {
    row.addresses.sort_unstable();
    row.addresses.dedup();
    row.pod_networks.sort_unstable();
    row.name =
        row.addresses.iter().find_map(|ip| view.node_name(*ip)).map(|n| n.to_string()).unwrap_or_default();
    row.local = row.addresses.iter().any(|ip| view.endpoints().is_node_ip(*ip));
}
