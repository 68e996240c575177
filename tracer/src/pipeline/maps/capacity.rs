//! `tracer capacity`.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tracer_common::id::{EndpointId, MapId};

use super::ct::facts::{self, Facts};
use super::ct::owners::Owners;
use super::ct::tables::{self, CtTable};
use super::{MapNode, Maps, OpenMap};
use crate::cilium::ct::clock::Clock;
use crate::cilium::ct::decode_key;
use crate::cilium::heartbeat;
use crate::cilium::map_type::MapType;
use crate::cilium::node::NodeView;
use crate::cilium::pins::PolicyPin;
use crate::cilium::when::When;
use crate::cli::capacity::CapacityPlan;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::model::gauges::DEAD_AFTER;
use crate::output::capacity::{COLUMNS, Filling, span};
use crate::output::listing::{Listing, ListingOptions, Object, Sort, value};
use crate::output::usage::Usage;
use crate::pipeline::stop::Signals;
use crate::pipeline::{RunError, live_only};

/// Owners that are shown.
const OWNERS: usize = 5;

pub fn run(global: &Global, plan: &CapacityPlan) -> Result<Exit, RunError> {
    if plan.watch.is_some() {
        live_only(global, "capacity --watch")?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(look(global, plan))
}

async fn look(global: &Global, plan: &CapacityPlan) -> Result<Exit, RunError> {
    let mut node = MapNode::open(global, plan.listing.progress)?;
    let mut signals = plan.watch.map(|_| Signals::new()).transpose()?;
    let mut before = count_all(&mut node)?;
    if node.view.when().is_past() {
        return show(&mut node, plan, &before, &before);
    }
    let mut wait = plan.window;
    loop {
        if rest(wait, signals.as_mut()).await {
            return Ok(Exit::Done);
        }
        node.view.refresh(Instant::now());
        let now = count_all(&mut node)?;
        let exit = show(&mut node, plan, &before, &now)?;
        let Some(interval) = plan.watch else { return Ok(exit) };
        (before, wait) = (now, interval);
    }
}

/// Waits; true if a signal came first.
async fn rest(wait: Duration, signals: Option<&mut Signals>) -> bool {
    let Some(signals) = signals else {
        tokio::time::sleep(wait).await;
        return false;
    };
    tokio::select! {
        () = tokio::time::sleep(wait) => false,
        () = signals.any() => true,
    }
}

/// The fill of all maps at one time.
pub(super) struct Fill {
    pub taken: Instant,
    pub maps: Vec<Counted>,
    ct: CtFill,
}

pub(super) struct Counted {
    pub name: String,
    pub id: MapId,
    pub entries: u64,
    pub max_entries: u32,
    pub is_lru: bool,
    pub expired: Option<u64>,
}

/// What connection tracking tells besides its size.
#[derive(Default)]
struct CtFill {
    expired: u64,
    /// Seconds since the end of the entry that should have gone first.
    longest_expired: i64,
    /// By endpoint; `None`: no endpoint of this node.
    owners: Owners<Option<EndpointId>>,
}

pub(super) fn count_all(node: &mut MapNode) -> Result<Fill, RunError> {
    let MapNode { view, maps } = node;
    let taken = Instant::now();
    let mut ct = CtFill::default();
    let mut counted = count_ct(maps, view, &mut ct);
    let seen: Vec<String> = counted.iter().map(|map| map.name.clone()).collect();
    for name in maps.names()?.into_iter().filter(|name| !seen.contains(name)) {
        let Some(open) = maps.map(&name) else { continue };
        if MapType(open.map.info().map_type).is_counted() {
            let entries = maps.count(&open);
            counted.extend(entries.map(|entries| figures(&open, entries, None)));
        }
    }
    Ok(Fill { taken, maps: counted, ct })
}

fn figures(open: &OpenMap, entries: u64, expired: Option<u64>) -> Counted {
    let info = open.map.info();
    let is_lru = matches!(MapType(info.map_type), MapType::LRU_HASH | MapType::LRU_PERCPU_HASH);
    Counted { name: open.name.clone(), id: info.id, entries, max_entries: info.max_entries, is_lru, expired }
}

/// Nodes without connection tracking are nodes too.
fn count_ct(maps: &mut Maps, view: &NodeView, ct: &mut CtFill) -> Vec<Counted> {
    let Ok(tables) = tables::open(maps, None) else { return Vec::new() };
    let facts = facts::gather(maps, view, &tables);
    tables.iter().map(|table| count_table(maps, view, table, &facts, ct)).collect()
}

fn count_table(maps: &mut Maps, view: &NodeView, table: &CtTable, facts: &Facts, ct: &mut CtFill) -> Counted {
    let (mut entries, mut expired) = (0, 0);
    let readable = table.is_known && facts.generations.is_some();
    maps.walk(&table.open, &mut |key, value| {
        entries += 1;
        if readable {
            expired += u64::from(ct.add(table, view, &facts.clock, key, value));
        }
        ControlFlow::Continue(())
    });
    ct.expired += expired;
    figures(&table.open, entries, readable.then_some(expired))
}

impl CtFill {
    /// True if the entry is past its time.
    fn add(&mut self, table: &CtTable, view: &NodeView, clock: &Clock, key: &[u8], value: &[u8]) -> bool {
        let (Some(key), Some(lifetime)) = (decode_key(table.map, key), facts::lifetime(value)) else {
            return false;
        };
        let at = |ip| view.endpoints().by_ip(ip).map(|endpoint| endpoint.id);
        self.owners.add(&at(key.ends.originator.ip()).or_else(|| at(key.ends.other.ip())));
        let since = clock.age(lifetime);
        self.longest_expired = self.longest_expired.max(since);
        since > 0
    }
}

fn show(node: &mut MapNode, plan: &CapacityPlan, before: &Fill, now: &Fill) -> Result<Exit, RunError> {
    let heartbeat = heartbeat_age(&mut node.maps, node.view.when());
    let mut footer = String::new();
    let owners = top_owners(&node.view, &now.ct);
    agent_line(&mut footer, heartbeat);
    ct_lines(&mut footer, before, now, heartbeat, &owners);
    if plan.watch.is_some() && plan.listing.format.is_text() && io::stdout().is_terminal() {
        io::stdout().write_all(b"\x1b[H\x1b[2J").map_err(RunError::Output)?;
    }
    let options = with_order(&plan.listing);
    let mut listing = Listing::new(io::stdout().lock(), &options, COLUMNS).named("maps");
    let seconds = now.taken.duration_since(before.taken).as_secs_f64();
    let earlier: HashMap<MapId, u64> = before.maps.iter().map(|map| (map.id, map.entries)).collect();
    for map in &now.maps {
        let usage = Usage { map: &map.name, entries: map.entries, max_entries: map.max_entries };
        if map.entries == 0 && !plan.all && options.format.is_text() {
            continue;
        }
        let growth = earlier
            .get(&map.id)
            .filter(|_| seconds > 0.0)
            .map(|then| (map.entries as f64 - *then as f64) / seconds);
        let owner = owner_of(&map.name, &node.view);
        let row = Filling {
            usage,
            growth_per_second: growth,
            expired: map.expired,
            is_lru: map.is_lru,
            owner: &owner,
        };
        if listing.row(&row).is_break() {
            break;
        }
    }
    listing
        .finish_with(&footer, |members| json_rest(members, heartbeat, &now.ct, &owners))
        .map_err(RunError::Output)?;
    Ok(exit(&node.maps, &too_full(plan.max_usage, now)))
}

/// Maps that do not meet the condition.
fn too_full(max_usage: Option<u64>, now: &Fill) -> Vec<&str> {
    let Some(max) = max_usage else { return Vec::new() };
    let used = |map: &&Counted| value::hundredths_of_percent(map.entries, map.max_entries.into());
    now.maps.iter().filter(|map| used(map) >= max).map(|map| map.name.as_str()).collect()
}

fn exit(maps: &Maps, too_full: &[&str]) -> Exit {
    if too_full.is_empty() {
        return maps.exit();
    }
    tracing::warn!("fuller than --max-usage: {}", too_full.join(", "));
    Exit::ConditionNotMet
}

/// For people the fullest come first.
fn with_order(options: &ListingOptions) -> ListingOptions {
    let by_usage = Sort::by_name("-usage_percent", COLUMNS).filter(|_| options.format.is_text());
    ListingOptions { sort: options.sort.or(by_usage), ..options.clone() }
}

/// The pod whose policy map it is.
fn owner_of(map: &str, view: &NodeView) -> String {
    PolicyPin::parse(map).map_or_else(String::new, |pin| endpoint_name(Some(pin.endpoint), view))
}

fn endpoint_name(id: Option<EndpointId>, view: &NodeView) -> String {
    let Some(id) = id else { return "(no pod of this node)".to_owned() };
    match view.endpoints().by_id(id).filter(|endpoint| !endpoint.pod.is_empty()) {
        Some(endpoint) => format!("{}/{}", endpoint.namespace, endpoint.pod),
        None => format!("endpoint {}", id.0),
    }
}

fn top_owners(view: &NodeView, ct: &CtFill) -> Vec<(String, u64)> {
    let largest = ct.owners.largest(OWNERS).into_iter();
    largest.map(|(id, entries)| (endpoint_name(id, view), entries)).collect()
}

/// Seconds since the agent's last sign of life. `None`: no such map, or it never gave one.
pub(in crate::pipeline) fn heartbeat_age(maps: &mut Maps, when: When) -> Option<u64> {
    let open = maps.map(heartbeat::MAP)?;
    match heartbeat::last(&*open.map) {
        Ok(beat) => Some(when.monotonic_ns().saturating_sub(beat?) / 1_000_000_000),
        Err(error) => {
            maps.report.unreadable(&open.name, &error);
            None
        }
    }
}

fn spoken(seconds: u64) -> String {
    let mut out = Vec::new();
    span(&mut out, seconds);
    String::from_utf8_lossy(&out).into_owned()
}

fn agent_line(footer: &mut String, heartbeat: Option<u64>) {
    *footer += &match heartbeat {
        Some(age) if age < DEAD_AFTER => format!("\nagent: alive, last heartbeat {} ago\n", spoken(age)),
        Some(age) => format!(
            "\nagent: no heartbeat for {}: nobody removes expired entries or updates policy\n",
            spoken(age)
        ),
        None => "\nagent: no heartbeat to be seen\n".to_owned(),
    };
}

fn ct_lines(
    footer: &mut String,
    before: &Fill,
    now: &Fill,
    heartbeat: Option<u64>,
    owners: &[(String, u64)],
) {
    if now.ct.expired > 0 {
        let oldest = spoken(now.ct.longest_expired.max(0).unsigned_abs());
        let becomes = match now.ct.expired.cmp(&before.ct.expired) {
            std::cmp::Ordering::Less => "being removed",
            _ if heartbeat.is_some_and(|age| age < DEAD_AFTER) => "waiting for the agent's next round",
            _ => "not being removed",
        };
        *footer += &format!(
            "connection tracking: {} expired entries, the oldest since {oldest}, {becomes}\n",
            now.ct.expired
        );
    }
    let total = now.ct.owners.total();
    if total > 0 {
        let one = |(name, entries): &(String, u64)| {
            let share = value::hundredths_of_percent(*entries, total) / 100;
            let mut safe = Vec::new();
            value::foreign(&mut safe, name);
            format!("{} {entries} ({share} %)", String::from_utf8_lossy(&safe))
        };
        let list: Vec<String> = owners.iter().map(one).collect();
        *footer += &format!("connection tracking, most entries: {}\n", list.join(", "));
    }
}

fn json_rest(members: &mut Object<'_>, heartbeat: Option<u64>, ct: &CtFill, owners: &[(String, u64)]) {
    members.object("agent", |agent| match heartbeat {
        Some(age) => {
            agent.always_number("heartbeat_age_seconds", age);
            agent.always_flag("alive", age < DEAD_AFTER);
        }
        None => {
            agent.null("heartbeat_age_seconds");
            agent.null("alive");
        }
    });
    members.object("connection_tracking", |object| {
        object.always_number("expired", ct.expired);
        object.always_number("longest_expired_seconds", ct.longest_expired.max(0));
        object.objects("owners", owners, |owner, (name, entries)| {
            owner.always_string("name", name);
            owner.always_number("entries", *entries);
        });
    });
}
