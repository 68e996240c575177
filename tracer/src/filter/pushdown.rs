//! From the exact filter to the filter that the eBPF programs apply: always a superset, so that the kernel
//! never rejects a flow that the exact filter would show. Whatever the kernel cannot decide for sure (negation,
//! names, labels, lists longer than its slots) is left to the exact filter.

use std::fmt;

use tracer_common::config::{FILTER_SLOTS, Filter, Prefix};
use tracer_common::id::Identity;

use super::end::EndFilter;
use super::pattern::{Glob, Net};
use super::{Conjunction, FilterSet, IpVersion, KernelReason};
use crate::model::reason::DropReason;

/// What only the running system knows.
pub struct Lookups<'a> {
    /// Every interface index that a device of this name can have in any network namespace while the filter
    /// lives; `None` if that is not certain.
    pub ifindexes: &'a dyn Fn(&str) -> Option<Vec<u32>>,
    /// The number of a kernel drop reason (name without `SKB_DROP_REASON_`, upper case).
    pub kernel_reason: &'a dyn Fn(&str) -> Option<u32>,
}

impl Lookups<'_> {
    /// Knows nothing: names are not pushed down.
    pub const NONE: Lookups<'static> = Lookups { ifindexes: &|_| None, kernel_reason: &|_| None };
}

/// The kernel-side filter, and in which respects it filters.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushed {
    pub filter: Filter,
    /// In the users' words, such as `identity`.
    pub dimensions: Vec<&'static str>,
}

/// As the banner prints it: `identity, port`, or `none`.
impl fmt::Display for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dimensions.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&self.dimensions.join(", "))
    }
}

pub fn pushdown(set: &FilterSet, lookups: &Lookups<'_>) -> Pushed {
    let mut pushed = Pushed { filter: Filter::ALL, dimensions: Vec::new() };
    if !set.allow.is_empty() {
        pushed.push_ends(&set.allow);
        pushed.push_packet(&set.allow);
        pushed.push_reasons(&set.allow, lookups);
        pushed.push_interfaces(&set.allow, lookups);
    }
    pushed
}

impl Pushed {
    fn push_ends(&mut self, allow: &[Conjunction]) {
        if let Some((identities, count)) = slots(union(allow, |c| either(c, identities_of)), 0) {
            self.filter.identities = identities;
            self.filter.identity_count = count;
            self.dimensions.push("identity");
        }
        let no_prefix = Prefix::default();
        if let Some((prefixes, count)) = slots(union(allow, |c| either(c, prefixes_of)), no_prefix) {
            self.filter.prefixes = prefixes;
            self.filter.prefix_count = count;
            self.dimensions.push("ip");
        }
        if let Some((ports, count)) = slots(union(allow, |c| either(c, ports_of)), 0) {
            self.filter.ports = ports;
            self.filter.port_count = count;
            self.dimensions.push("port");
        }
    }

    fn push_packet(&mut self, allow: &[Conjunction]) {
        if let Some(protocols) = union(allow, |c| Some(c.protocols.clone())) {
            self.filter.protocols = bits(&protocols);
            self.filter.by_protocol = 1;
            self.dimensions.push("protocol");
        }
        self.filter.ip_version = match union(allow, |c| Some(c.ip_versions.clone())).as_deref() {
            Some([IpVersion::V4]) => 4,
            Some([IpVersion::V6]) => 6,
            _ => return,
        };
        self.dimensions.push("ip version");
    }

    fn push_reasons(&mut self, allow: &[Conjunction], lookups: &Lookups<'_>) {
        if let Some(reasons) = union(allow, cilium_reasons_of) {
            self.filter.reasons = bits(&reasons);
            self.filter.by_reason = 1;
            self.dimensions.push("drop reason");
        }
        if let Some((reasons, count)) = slots(union(allow, |c| kernel_reasons_of(c, lookups)), 0) {
            self.filter.kernel_reasons = reasons;
            self.filter.kernel_reason_count = count;
            self.dimensions.push("kernel reason");
        }
    }

    fn push_interfaces(&mut self, allow: &[Conjunction], lookups: &Lookups<'_>) {
        if let Some((ifindexes, count)) = slots(union(allow, |c| ifindexes_of(c, lookups)), 0) {
            self.filter.ifindexes = ifindexes;
            self.filter.ifindex_count = count;
            self.dimensions.push("interface");
        }
    }
}

/// All values that any conjunction accepts, or `None` when one accepts everything or cannot be told.
fn union<T: PartialEq>(
    allow: &[Conjunction],
    values: impl Fn(&Conjunction) -> Option<Vec<T>>,
) -> Option<Vec<T>> {
    let mut all = Vec::new();
    for conjunction in allow {
        for value in values(conjunction).filter(|v| !v.is_empty())? {
            if !all.contains(&value) {
                all.push(value);
            }
        }
    }
    Some(all)
}

/// The values for one end, which hold for "either end" too. With conditions on both ends, the shorter list.
fn either<T>(conjunction: &Conjunction, values: fn(&EndFilter) -> Option<Vec<T>>) -> Option<Vec<T>> {
    let filled = |end: &EndFilter| values(end).filter(|v| !v.is_empty());
    match (filled(&conjunction.source), filled(&conjunction.destination)) {
        (Some(source), Some(destination)) if destination.len() < source.len() => Some(destination),
        (Some(source), _) => Some(source),
        (None, destination) => destination,
    }
}

fn identities_of(end: &EndFilter) -> Option<Vec<u32>> {
    Some(end.identities.iter().map(|Identity(id)| *id).collect())
}

fn prefixes_of(end: &EndFilter) -> Option<Vec<Prefix>> {
    Some(end.nets.iter().map(prefix_of).collect())
}

fn prefix_of(net: &Net) -> Prefix {
    Prefix { addr: words(net.mapped()), mask: words(net.mapped_mask()) }
}

/// The bytes of an address in network order, as four words in memory order.
fn words(bits: u128) -> [u32; 4] {
    let bytes = bits.to_be_bytes();
    std::array::from_fn(|i| {
        u32::from_ne_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]])
    })
}

/// Ranges port by port, as long as they can fit.
fn ports_of(end: &EndFilter) -> Option<Vec<u32>> {
    let fits = |range: &super::pattern::PortRange| usize::from(range.last - range.first) < FILTER_SLOTS;
    if !end.ports.iter().all(fits) {
        return None;
    }
    Some(end.ports.iter().flat_map(|range| range.first..=range.last).map(u32::from).collect())
}

/// Reason 0 (a drop without Cilium's reason) cannot be told by a single record.
fn cilium_reasons_of(conjunction: &Conjunction) -> Option<Vec<u8>> {
    let told = |DropReason(reason): &DropReason| (*reason != 0).then_some(*reason);
    conjunction.drop_reasons.iter().map(told).collect()
}

fn kernel_reasons_of(conjunction: &Conjunction, lookups: &Lookups<'_>) -> Option<Vec<u32>> {
    let number = |reason: &KernelReason| match reason {
        KernelReason::Number(number) => Some(*number),
        KernelReason::Name(name) => (lookups.kernel_reason)(name),
    };
    conjunction.kernel_reasons.iter().map(number).collect()
}

fn ifindexes_of(conjunction: &Conjunction, lookups: &Lookups<'_>) -> Option<Vec<u32>> {
    let indexes = |name: &Glob| name.literal().and_then(lookups.ifindexes);
    let all: Option<Vec<Vec<u32>>> = conjunction.interfaces.iter().map(indexes).collect();
    all.map(|lists| lists.concat())
}

/// `values` in the kernel's slots, the rest filled up; `None` if there are too many.
fn slots<T: Copy>(values: Option<Vec<T>>, filler: T) -> Option<([T; FILTER_SLOTS], u32)> {
    let values = values?;
    if values.len() > FILTER_SLOTS {
        return None;
    }
    let mut filled = [filler; FILTER_SLOTS];
    filled[..values.len()].copy_from_slice(&values);
    Some((filled, values.len() as u32))
}

fn bits(numbers: &[u8]) -> [u64; 4] {
    let mut bits = [0; 4];
    for number in numbers {
        bits[usize::from(number / 64)] |= 1 << (number % 64);
    }
    bits
}

#[cfg(test)]
#[path = "pushdown_tests.rs"]
mod tests;
