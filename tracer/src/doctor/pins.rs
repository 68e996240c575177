//! The pinned maps: are they there, can they be read, are they known, and are they what the datapath uses.

use std::collections::BTreeSet;

use tracer_common::id::{EndpointId, MapId};

use super::{Check, Finding, Group, joined};

const EXPECTED: Check =
    Check::new("pins.expected", Group::Pins, "The maps that every release pins are there");
const READABLE: Check = Check::new("pins.readable", Group::Pins, "Every pin can be read");
const LAYOUT: Check = Check::new("pins.layout", Group::Pins, "Every map has a known layout");
const IN_USE: Check = Check::new("pins.in-use", Group::Pins, "Pins are the maps that the programs use");

/// Names of which one must be pinned, and what goes wrong without.
const WANTED: [(&[&str], &str); 5] = [
    (&["cilium_lxc"], "endpoints are not known"),
    (&["cilium_ipcache", "cilium_ipcache_v2"], "addresses have no identity"),
    (&["cilium_metrics"], "drops are not counted"),
    (&["cilium_events"], "messages go nowhere"),
    (&["cilium_ct4_global", "cilium_ct6_global"], "connections are not tracked"),
];

const REMAKE: &str = "restart the agent on this node: it makes what is missing";

pub fn expected(names: &[String]) -> Finding {
    let is_pinned = |name: &str| names.iter().any(|found| found == name);
    let missing = WANTED.iter().filter(|(any, _)| !any.iter().any(|name| is_pinned(name)));
    let missing: Vec<String> = missing.map(|(any, harm)| format!("{} ({harm})", any.join(" or "))).collect();
    if missing.is_empty() {
        return EXPECTED.ok(format!("{} pins", names.len()));
    }
    EXPECTED.fail(format!("not pinned: {}", joined(&missing)), REMAKE)
}

/// How opening a pin went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    Open,
    NotPermitted,
    Failed(String),
}

pub fn readable(pins: &[(String, Opening)]) -> Finding {
    let of = |wanted: &dyn Fn(&Opening) -> Option<String>| -> Vec<String> {
        pins.iter().filter_map(|(name, opening)| wanted(opening).map(|why| format!("{name}{why}"))).collect()
    };
    let failed = of(&|opening| match opening {
        Opening::Failed(why) => Some(format!(" ({why})")),
        _ => None,
    });
    let forbidden = of(&|opening| (*opening == Opening::NotPermitted).then(String::new));
    if !failed.is_empty() {
        return READABLE
            .fail(joined(&failed), format!("whatever is pinned there is no map that can be read; {REMAKE}"));
    }
    if !forbidden.is_empty() {
        let fix = "run as root, or with CAP_BPF and the right to the files";
        return READABLE.unknown(format!("permission denied for {} of {}", forbidden.len(), pins.len()), fix);
    }
    READABLE.ok(format!("{} of {}", pins.len(), pins.len()))
}

/// `sizes`: what is wrong with maps of known names; `unknown`: names that no release has; `known`: the rest.
pub fn layout(known: usize, sizes: &[String], unknown: &[String]) -> Finding {
    if !sizes.is_empty() {
        return LAYOUT.fail(
            joined(sizes),
            "tracer shows these maps as bytes only; a newer tracer may know this release, or another program \
             pinned something under Cilium's name",
        );
    }
    if !unknown.is_empty() {
        let fix = "nothing is wrong with the node: a release or a build that tracer does not know; the other maps are read";
        return LAYOUT.warn(format!("{known} known, not known: {}", joined(unknown)), fix);
    }
    LAYOUT.ok(format!("{known} of {known}"))
}

/// A map that Cilium's programs use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    pub id: MapId,
    /// As the kernel keeps it: at most 15 characters.
    pub name: String,
    /// Programs that use it.
    pub programs: usize,
    /// The one endpoint whose programs these are.
    pub endpoint: Option<EndpointId>,
    /// Cilium pins every map of this kind.
    pub always_pinned: bool,
}

/// Characters that the kernel keeps of a map's name.
const KERNEL_NAME: usize = 15;

/// `used`: program arrays are left out, they are replaced all the time. The error is why it is not known.
pub fn in_use(pins: &[(String, MapId)], used: &Result<Vec<Used>, String>) -> Finding {
    let used = match used {
        Ok(used) if used.is_empty() => {
            return IN_USE.unknown("no loaded program uses any of them", "see the checks of programs");
        }
        Ok(used) => used,
        Err(why) => return IN_USE.unknown(why.as_str(), "run as root, or with CAP_SYS_ADMIN"),
    };
    let unpinned = used.iter().filter(|map| !pins.iter().any(|(_, id)| *id == map.id));
    let (mut others, mut nameless) = (Vec::new(), BTreeSet::new());
    for map in unpinned {
        match instead_of(map, pins, used) {
            Some(text) => others.push(text),
            None if map.always_pinned => drop(nameless.insert(format!("`{}…` (map {})", map.name, map.id))),
            None => {}
        }
    }
    if !others.is_empty() {
        let fix = "what tracer and cilium-dbg show of these maps is not what the datapath sees, and what the agent \
                   writes does not arrive: restart the agent on this node, so that it loads the programs again";
        return IN_USE.fail(joined(&others), fix);
    }
    if !nameless.is_empty() {
        let nameless: Vec<String> = nameless.into_iter().collect();
        let fix = "nobody can look into them: if such a pin was there once, restart the agent on this node";
        return IN_USE.warn(format!("in use, and pinned nowhere: {}", joined(&nameless)), fix);
    }
    let in_use: BTreeSet<MapId> = used.iter().map(|map| map.id).collect();
    let count = pins.iter().filter(|(_, id)| in_use.contains(id)).count();
    IN_USE.ok(format!("programs use {count} of {} pinned maps, and no other of Cilium", pins.len()))
}

/// For a map in use without a pin: whose pin should it have? `None`: there is none of its name to spare.
fn instead_of(map: &Used, pins: &[(String, MapId)], used: &[Used]) -> Option<String> {
    let is_idle = |id: MapId| !used.iter().any(|other| other.id == id);
    let is_named = |pin: &str| pin.get(..pin.len().min(KERNEL_NAME)) == Some(map.name.as_str());
    let mut candidates: Vec<&(String, MapId)> =
        pins.iter().filter(|(pin, id)| is_named(pin) && is_idle(*id)).collect();
    if let Some(endpoint) = map.endpoint {
        candidates.retain(|(pin, _)| number_at_end(pin).is_none_or(|number| number == endpoint));
    }
    let (id, programs) = (map.id, map.programs);
    match candidates.as_slice() {
        [] => None,
        [(pin, pinned)] => {
            Some(format!("`{pin}` is map {pinned}, but {programs} programs use map {id} instead"))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|(pin, _)| pin.as_str()).collect();
            Some(format!("one of {} is not map {id}, which {programs} programs use", joined(&names)))
        }
    }
}

/// Names of maps that belong to one endpoint end with five digits.
fn number_at_end(pin: &str) -> Option<EndpointId> {
    pin.rsplit_once('_').filter(|(_, digits)| digits.len() == 5)?.1.parse().ok().map(EndpointId)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    fn used(id: u32, name: &str, always_pinned: bool) -> Used {
        Used { id: MapId(id), name: name.to_owned(), programs: 2, endpoint: None, always_pinned }
    }

    fn pin(name: &str, id: u32) -> (String, MapId) {
        (name.to_owned(), MapId(id))
    }

    #[test]
    fn a_pin_of_another_map_is_named_with_both() {
        let pins = [pin("cilium_ipcache", 90), pin("cilium_lxc", 5)];
        let finding = in_use(&pins, &Ok(vec![used(77, "cilium_ipcache", true), used(5, "cilium_lxc", true)]));
        assert_eq!(finding.status, Status::Fail);
        assert_eq!(finding.evidence, "`cilium_ipcache` is map 90, but 2 programs use map 77 instead");
    }

    /// All policy maps have the same first 15 characters: the one that nobody uses is meant.
    #[test]
    fn names_that_the_kernel_cut_are_told_apart_by_use() {
        let pins = [pin("cilium_policy_01001", 90), pin("cilium_policy_01002", 6)];
        let maps = vec![used(77, "cilium_policy_0", true), used(6, "cilium_policy_0", true)];
        let finding = in_use(&pins, &Ok(maps));
        assert_eq!(finding.evidence, "`cilium_policy_01001` is map 90, but 2 programs use map 77 instead");
    }

    /// The host's policy map is idle where there is no host firewall.
    #[test]
    fn the_endpoint_of_the_programs_tells_which_of_several_idle_pins_is_meant() {
        let pins = [pin("cilium_policy_01000", 80), pin("cilium_policy_01001", 90)];
        let mut map = used(77, "cilium_policy_0", true);
        let evidence = |map: &Used| in_use(&pins, &Ok(vec![map.clone()])).evidence;
        let either = "one of cilium_policy_01000, cilium_policy_01001 is not map 77, which 2 programs use";
        assert_eq!(evidence(&map), either);
        map.endpoint = Some(EndpointId(1001));
        assert_eq!(evidence(&map), "`cilium_policy_01001` is map 90, but 2 programs use map 77 instead");
    }

    #[test]
    fn scratch_maps_and_idle_pins_are_in_order() {
        let pins = [pin("cilium_lxc", 5), pin("cilium_node_map", 9)];
        let maps = vec![used(5, "cilium_lxc", true), used(8, "cilium_xdp_scra", false)];
        assert_eq!(in_use(&pins, &Ok(maps)).status, Status::Ok);
        assert_eq!(in_use(&pins, &Ok(vec![])).status, Status::Unknown);
        let unpinned = vec![used(5, "cilium_lxc", true), used(7, "cilium_ct4_glob", true)];
        let finding = in_use(&pins, &Ok(unpinned));
        assert_eq!(finding.status, Status::Warn);
        assert_eq!(finding.evidence, "in use, and pinned nowhere: `cilium_ct4_glob…` (map 7)");
    }

    #[test]
    fn a_pin_that_is_no_map_fails_and_a_forbidden_one_is_not_known() {
        let name = || "cilium_lxc".to_owned();
        assert_eq!(readable(&[(name(), Opening::Failed("bad".to_owned()))]).evidence, "cilium_lxc (bad)");
        assert_eq!(readable(&[(name(), Opening::NotPermitted)]).status, Status::Unknown);
        assert_eq!(readable(&[(name(), Opening::Open)]).status, Status::Ok);
    }

    #[test]
    fn either_name_of_a_map_will_do() {
        let all = ["cilium_lxc", "cilium_ipcache_v2", "cilium_metrics", "cilium_events", "cilium_ct6_global"];
        let names = all.map(str::to_owned);
        assert_eq!(expected(&names).status, Status::Ok);
        let finding = expected(&names[1..]);
        assert_eq!(finding.evidence, "not pinned: cilium_lxc (endpoints are not known)");
    }
}
