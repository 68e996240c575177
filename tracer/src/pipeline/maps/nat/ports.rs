//! `tracer nat ports`.

use std::fmt::Write as _;
use std::io;
use std::ops::ControlFlow;

use super::{Wanted, tables};
use crate::cilium::nat::{self, Direction, RETRIES4, RETRIES6};
use crate::cilium::node::NodeView;
use crate::cilium::release::{Release, ReleaseRange};
use crate::cilium::state::port_range;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::nat::PortsPlan;
use crate::nat::PortRange;
use crate::nat::ports::{PortUse, PortsByDestination};
use crate::nat::search::{Clamp, Odds, Search};
use crate::output::listing::{Listing, Object};
use crate::output::nat::{NamedOwner, PORTS_COLUMNS, PortsRow};
use crate::pipeline::RunError;
use crate::pipeline::maps::{MapNode, Maps};

/// `net.ipv4.ip_local_port_range` of pods, unless somebody changed it.
pub const SOURCES: PortRange = PortRange { first: 32768, last: 60999 };
/// With the agent's default range of node ports.
const RANGE: PortRange = PortRange { first: 32768, last: 65535 };

pub fn run(global: &Global, plan: &PortsPlan) -> Result<Exit, RunError> {
    let MapNode { mut maps, view } = MapNode::open(global, plan.listing.progress)?;
    let wanted = Wanted::new(&plan.filter, &view)?;
    let ports = collect(&mut maps)?;
    let retries = [Retries::read(&mut maps, 4), Retries::read(&mut maps, 6)];
    let told = Told::find(&view, retries.iter().flatten().next());
    let highest = print(plan, &ports, &wanted, &view, &told, &retries)?;
    let condition = plan.max_failure.is_none_or(|most| highest * 100.0 <= most);
    Ok(if condition { maps.exit() } else { Exit::ConditionNotMet })
}

/// The ports in use, from all NAT maps.
pub fn collect(maps: &mut Maps) -> Result<PortsByDestination, RunError> {
    let mut ports = PortUse::default();
    for table in tables::open(maps)?.iter().filter(|table| table.is_known) {
        let mut undecoded = 0;
        maps.walk(&table.open, &mut |key, value| {
            match nat::decode(key, value) {
                Some(entry) => ports.add(&entry),
                None => undecoded += 1,
            }
            ControlFlow::Continue(())
        });
        maps.report.undecoded(&table.open.name, undecoded);
    }
    Ok(ports.finish())
}

/// How this node's datapath searches for a port, as far as it is known.
pub fn search(maps: &mut Maps, view: &NodeView) -> Search {
    let retries = Retries::read(maps, 4).or_else(|| Retries::read(maps, 6));
    Told::find(view, retries.as_ref()).search
}

/// Returns the highest chance of failure of a destination that was wanted.
fn print(
    plan: &PortsPlan,
    ports: &PortsByDestination,
    wanted: &Wanted<'_>,
    view: &NodeView,
    told: &Told,
    retries: &[Option<Retries>; 2],
) -> Result<f64, RunError> {
    let mut listing = Listing::new(io::stdout().lock(), &plan.listing, PORTS_COLUMNS).named("destinations");
    let mut odds = Odds::new(told.search);
    let shared = told.search.shared_ports();
    let (mut used, mut owners, mut highest) = (Vec::new(), Vec::new(), 0f64);
    for index in 0..ports.len() {
        let Some(destination) = ports.read(index, &mut used, &mut owners) else { break };
        if !wanted.destination(&destination, &owners) {
            continue;
        }
        let all = used.len();
        used.retain(|port| told.search.range.contains(*port));
        let failure = odds.failure(&used, SOURCES);
        highest = highest.max(failure);
        let endpoint = |ip| view.endpoints().by_ip(ip).map(AsRef::as_ref).filter(|_| !plan.listing.numeric);
        let owners: Vec<NamedOwner<'_>> = owners
            .iter()
            .map(|owner| NamedOwner { owner: *owner, endpoint: endpoint(owner.address) })
            .collect();
        let row = PortsRow {
            destination: &destination,
            used: used.len() as u32,
            size: told.search.range.size(),
            outside: (all - used.len()) as u32,
            failure,
            shared: (
                shared.iter().filter(|p| used.binary_search(p).is_ok()).count() as u32,
                shared.len() as u32,
            ),
            owners: &owners,
        };
        // Rows past the limit are not shown, but they count.
        if listing.row(&row).is_break() && plan.max_failure.is_none() {
            break;
        }
    }
    let footer = footer(told, retries);
    listing
        .finish_with(&footer, |members| search_members(members, told, retries))
        .map_err(RunError::Output)?;
    Ok(highest)
}

impl Wanted<'_> {
    fn destination(
        &self,
        found: &crate::nat::ports::Destination,
        owners: &[crate::nat::ports::Owner],
    ) -> bool {
        let filter = self.filter;
        let (egress, remote) = (found.egress, found.remote);
        filter.direction.is_none_or(|direction| direction == Direction::In)
            && (filter.nets.is_empty()
                || filter.nets.iter().any(|net| net.contains(egress) || net.contains(remote.ip())))
            && (filter.ports.is_empty() || filter.ports.iter().any(|range| range.contains(remote.port())))
            && (filter.protocols.is_empty() || filter.protocols.contains(&found.protocol))
            && self.pods.as_ref().is_none_or(|pods| owners.iter().any(|owner| pods.contains(&owner.address)))
    }
}

/// The search of this node's datapath, and what of it nobody said.
struct Told {
    search: Search,
    /// Where the range is from.
    range_from: &'static str,
    inferred: Vec<String>,
}

impl Told {
    fn find(view: &NodeView, retries: Option<&Retries>) -> Self {
        let mut inferred = vec![format!(
            "source ports are taken as spread evenly over {}-{} (the kernel's default ip_local_port_range)",
            SOURCES.first, SOURCES.last
        )];
        let (range, range_from) = range(view, &mut inferred);
        let releases = view.releases().releases();
        let clamp = clamp(releases, retries.is_some(), &mut inferred);
        let tries = tries(releases, retries, &mut inferred);
        Self { search: Search { range, clamp, tries }, range_from, inferred }
    }
}

fn range(view: &NodeView, inferred: &mut Vec<String>) -> (PortRange, &'static str) {
    let told = view.state_files().map(|files| port_range::read(&**files)).transpose();
    let told = told.inspect_err(|error| tracing::warn!("cannot read the range of NAT ports: {error}"));
    let ports = told.ok().flatten().flatten();
    match ports.and_then(|ports| Some((PortRange::new(ports.first, ports.last)?, ports.file))) {
        Some(told) => told,
        None => {
            inferred.push(format!("NAT ports are taken as {}-{} (the default)", RANGE.first, RANGE.last));
            (RANGE, "default")
        }
    }
}

/// The rule changed in the middle of 2024.
fn clamp(releases: ReleaseRange, counts_retries: bool, inferred: &mut Vec<String>) -> Clamp {
    match () {
        () if counts_retries || releases.lowest >= Release(17) => Clamp::Scale,
        () if releases.highest <= Release(15) => Clamp::Modulo,
        () => {
            inferred.push(format!("the search is taken as that of 1.17 and newer (release: {releases})"));
            Clamp::Scale
        }
    }
}

fn tries(releases: ReleaseRange, retries: Option<&Retries>, inferred: &mut Vec<String>) -> u32 {
    if let Some(retries) = retries {
        return retries.searches.len().saturating_sub(1) as u32;
    }
    let tries = if releases.lowest >= Release(18) { 32 } else { 128 };
    inferred.push(format!("a search is taken to have {tries} tries (release: {releases})"));
    tries
}

/// How many searches needed how many retries; the last one counts those that failed.
struct Retries {
    map: &'static str,
    searches: Vec<u64>,
}

impl Retries {
    fn read(maps: &mut Maps, family: u8) -> Option<Self> {
        let layout = if family == 4 { &RETRIES4[0] } else { &RETRIES6[0] };
        let open = maps.map(layout.name)?;
        if !maps.is_known(&open, layout) {
            return None;
        }
        let mut searches = vec![0; open.map.info().max_entries as usize];
        maps.walk(&open, &mut |key, values| {
            let index = key.try_into().map_or(usize::MAX, |key| u32::from_ne_bytes(key) as usize);
            if let Some(slot) = searches.get_mut(index) {
                *slot = sum_of_cpus(values);
            }
            ControlFlow::Continue(())
        });
        Some(Self { map: layout.name, searches })
    }

    fn failed(&self) -> u64 {
        self.searches.last().copied().unwrap_or(0)
    }
}

/// Each CPU's number has 4 bytes and stands in 8.
fn sum_of_cpus(values: &[u8]) -> u64 {
    let numbers = values.chunks_exact(8).filter_map(|slot| slot.first_chunk::<4>());
    numbers.map(|number| u64::from(u32::from_ne_bytes(*number))).sum()
}

const fn clamp_name(clamp: Clamp) -> &'static str {
    match clamp {
        Clamp::Scale => "scale",
        Clamp::Modulo => "modulo",
    }
}

fn footer(told: &Told, retries: &[Option<Retries>; 2]) -> String {
    let Search { range, clamp, tries } = told.search;
    let mut text = format!(
        "\nsearch: {tries} tries in {}-{} ({}), rule: {}\n",
        range.first,
        range.last,
        told.range_from,
        clamp_name(clamp)
    );
    for retries in retries.iter().flatten() {
        let counts = retries.searches.iter().enumerate().filter(|(_, count)| **count > 0);
        let last = retries.searches.len().saturating_sub(1);
        let counts: Vec<String> =
            counts.filter(|(at, _)| *at != last).map(|(at, count)| format!("{at}: {count}")).collect();
        let counts = if counts.is_empty() { "none yet".to_owned() } else { counts.join(", ") };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}: searches by retries {counts}; failed: {}", retries.map, retries.failed());
    }
    for line in &told.inferred {
        let _ = writeln!(text, "inferred: {line}");
    }
    text
}

fn search_members(members: &mut Object<'_>, told: &Told, retries: &[Option<Retries>; 2]) {
    let Search { range, clamp, tries } = told.search;
    members.object("search", |object| {
        object.always_number("first_port", range.first);
        object.always_number("last_port", range.last);
        object.always_string("range_from", told.range_from);
        object.always_string("rule", clamp_name(clamp));
        object.always_number("tries", tries);
    });
    members.objects("retries", retries.iter().flatten(), |object, retries| {
        object.always_string("map", retries.map);
        object.always_number("failed", retries.failed());
        let last = retries.searches.len().saturating_sub(1);
        let counts = retries.searches.iter().enumerate().take(last).filter(|(_, count)| **count > 0);
        object.objects("searches", counts, |object, (retries, count)| {
            object.always_number("retries", retries);
            object.always_number("count", *count);
        });
    });
    members.always_strings("inferred", told.inferred.iter().map(String::as_str));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn releases(lowest: u8, highest: u8) -> ReleaseRange {
        ReleaseRange { lowest: Release(lowest), highest: Release(highest) }
    }

    #[test]
    fn the_rule_is_inferred_only_when_the_release_does_not_tell() {
        for (range, counts, expected, is_inferred) in [
            (releases(14, 15), false, Clamp::Modulo, false),
            (releases(16, 17), false, Clamp::Scale, true),
            (releases(16, 17), true, Clamp::Scale, false),
            (releases(18, 19), false, Clamp::Scale, false),
            (ReleaseRange::ANY, false, Clamp::Scale, true),
        ] {
            let mut inferred = Vec::new();
            assert_eq!(clamp(range, counts, &mut inferred), expected, "{range}");
            assert_eq!(!inferred.is_empty(), is_inferred, "{range}");
        }
    }

    #[test]
    fn the_map_of_retries_tells_the_tries() {
        let retries = Retries { map: "m", searches: vec![0; 33] };
        assert_eq!(tries(releases(17, 17), Some(&retries), &mut Vec::new()), 32);
        let mut inferred = Vec::new();
        assert_eq!(tries(releases(16, 16), None, &mut inferred), 128);
        assert_eq!(tries(releases(18, 19), None, &mut inferred), 32);
        assert_eq!(inferred.len(), 2);
    }

    #[test]
    fn numbers_of_all_cpus_are_added() {
        assert_eq!(sum_of_cpus(&[1, 0, 0, 0, 9, 9, 9, 9, 2, 1, 0, 0, 0, 0, 0, 0]), 1 + 258);
    }
}
