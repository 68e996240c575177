//! `tracer identity list` and `tracer identity get`.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;

use tracer_common::id::Identity;

use super::newest::Newest;
use super::{MapNode, Maps};
use crate::cilium::ipcache;
use crate::cilium::node::NodeView;
use crate::cilium::pins;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::identity::{IdentityPlan, WantedIdentity};
use crate::model::endpoint::Labels;
use crate::model::names::Names as _;
use crate::output::listing::Listing;
use crate::output::rows::identity::{COLUMNS, IdentityRow};
use crate::pipeline::RunError;

/// Prefixes shown of each identity when all are listed.
const EXAMPLES: usize = 8;

/// What is known of one identity.
#[derive(Default)]
struct Known {
    prefixes: u64,
    examples: Vec<(IpAddr, u8)>,
    endpoints: Vec<u16>,
}

pub fn run(global: &Global, plan: &IdentityPlan) -> Result<Exit, RunError> {
    let MapNode { mut view, mut maps } = MapNode::open(global, plan.listing.progress)?;
    let examples = if plan.wanted.is_some() { usize::MAX } else { EXAMPLES };
    let known = collect(&mut maps, &mut view, plan.wanted.as_ref(), examples);
    if let (Some(wanted), true, Exit::Done) = (&plan.wanted, known.is_empty(), maps.exit()) {
        return Err(unknown(wanted));
    }
    let mut listing = Listing::new(io::stdout().lock(), &plan.listing, COLUMNS);
    for (identity, known) in &known {
        let labels = view.labels(*identity);
        let row = IdentityRow {
            identity: *identity,
            labels: labels.as_deref(),
            prefixes: known.prefixes,
            examples: &known.examples,
            endpoints: &known.endpoints,
        };
        if listing.row(&row).is_break() {
            break;
        }
    }
    listing.finish().map_err(RunError::Output)?;
    Ok(maps.exit())
}

fn unknown(wanted: &WantedIdentity) -> RunError {
    RunError::NoMap(match wanted {
        WantedIdentity::Id(id) => format!("identity {id} is not known on this node: no labels, no address"),
        WantedIdentity::Label(label) => format!("no identity that this node knows has the label `{label}`"),
    })
}

fn collect(
    maps: &mut Maps,
    view: &mut NodeView,
    wanted: Option<&WantedIdentity>,
    examples: usize,
) -> BTreeMap<Identity, Known> {
    let mut known: BTreeMap<Identity, Known> = BTreeMap::new();
    for identity in view.named_identities() {
        if is_wanted(identity, wanted, view) {
            known.entry(identity).or_default();
        }
    }
    for endpoint in view.endpoints().iter() {
        if let Some(known) = known.get_mut(&endpoint.identity) {
            known.endpoints.push(endpoint.id.0);
        }
    }
    known.values_mut().for_each(|known| known.endpoints.sort_unstable());
    if let Newest::Known(open) = maps.newest(&pins::IPCACHE) {
        let mut undecoded = 0;
        maps.walk(&open, &mut |key, value| {
            match ipcache::decode(key, value) {
                Some(entry) if is_wanted(entry.identity, wanted, view) => {
                    known.entry(entry.identity).or_default().add(
                        entry.address,
                        entry.prefix_length,
                        examples,
                    );
                }
                Some(_) => {}
                None => undecoded += 1,
            }
            ControlFlow::Continue(())
        });
        maps.report.undecoded(&open.name, undecoded);
    }
    known
}

impl Known {
    fn add(&mut self, ip: IpAddr, bits: u8, examples: usize) {
        self.prefixes += 1;
        if self.examples.len() < examples {
            self.examples.push((ip, bits));
        }
    }
}

fn is_wanted(identity: Identity, wanted: Option<&WantedIdentity>, view: &mut NodeView) -> bool {
    match wanted {
        None => true,
        Some(WantedIdentity::Id(id)) => *id == identity,
        Some(WantedIdentity::Label(label)) => view.labels(identity).is_some_and(|all| has(&all, label)),
    }
}

/// The whole label, or all behind its source.
fn has(labels: &Labels, wanted: &str) -> bool {
    labels.iter().any(|label| {
        label == wanted || label.split_once(':').is_some_and(|(_, behind_source)| behind_source == wanted)
    })
}
