//! `tracer lb check`. The agent may be at work: what is found must still be there when the maps are read again.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;

use tracer_common::cilium::tuple::{Tuple4, Tuple6, flag};
use zerocopy::FromBytes;

use crate::cilium::ct;
use crate::cilium::lb;
use crate::cilium::pins::Layout;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::lb::Balancer;
use crate::lb::check::{Finding, Severity, check};
use crate::output::lb::CHECK_COLUMNS;
use crate::output::listing::{Listing, ListingOptions};
use crate::pipeline::RunError;
use crate::pipeline::maps::{MapNode, Maps};

pub fn run(global: &Global, options: &ListingOptions) -> Result<Exit, RunError> {
    let MapNode { mut maps, .. } = MapNode::open(global, options.progress)?;
    super::require(&maps)?;
    let balancer = read(&mut maps);
    let mut findings = check(&balancer);
    if !findings.is_empty() && maps.exit() == Exit::Done {
        let again: BTreeSet<Finding> = check(&read(&mut maps)).into_iter().collect();
        findings.retain(|finding| again.contains(finding));
    }
    print(options, &balancer, &findings)?;
    let has_errors = findings.iter().any(|finding| finding.problem.severity() == Severity::Error);
    // What was not read says nothing about errors, but errors that were found stay errors.
    Ok(if has_errors { Exit::ConditionNotMet } else { maps.exit() })
}

fn print(options: &ListingOptions, balancer: &Balancer, findings: &[Finding]) -> Result<(), RunError> {
    let mut listing = Listing::new(io::stdout().lock(), options, CHECK_COLUMNS).named("findings");
    for finding in findings {
        if listing.row(finding).is_break() {
            break;
        }
    }
    let families = [&balancer.v4, &balancer.v6];
    let frontends: usize =
        families.map(|f| f.slots.keys().filter(|key| key.slot == 0).count()).into_iter().sum();
    let backends: usize = families.map(|family| family.backends.len()).into_iter().sum();
    let count = |severity| findings.iter().filter(|f| f.problem.severity() == severity).count();
    let [errors, warnings, notes] = [Severity::Error, Severity::Warning, Severity::Info].map(count);
    let found = match findings.is_empty() {
        true => "nothing wrong".to_owned(),
        false => format!("{errors} errors, {warnings} warnings, {notes} notes"),
    };
    let footer = format!("{frontends} frontends, {backends} backends: {found}\n");
    let finished = listing.finish_with(&footer, |members| {
        members.always_number("frontends", frontends);
        members.always_number("backends", backends);
        members.always_number("errors", errors);
        members.always_number("warnings", warnings);
        members.always_number("notes", notes);
    });
    finished.map(drop).map_err(RunError::Output)
}

fn read(maps: &mut Maps) -> Balancer {
    let mut balancer = Balancer::default();
    for family in 0..2 {
        read_family(maps, family, &mut balancer);
    }
    let mut allowed = BTreeSet::new();
    let is_read = each(maps, &lb::AFFINITY_MATCH[0], &mut |key, _| {
        lb::affinity_match(key).map(|pair| allowed.extend([pair]))
    });
    balancer.affinity_match = is_read.then_some(allowed);
    connections(maps, &mut balancer);
    balancer
}

fn read_family(maps: &mut Maps, index: usize, balancer: &mut Balancer) {
    let family = if index == 0 { &mut balancer.v4 } else { &mut balancer.v6 };
    each(maps, &lb::SERVICES[index][0], &mut |key, value| {
        lb::slot(key, value).map(|entry| family.slots.extend([entry]))
    });
    each(maps, &lb::BACKENDS[index][0], &mut |key, value| {
        lb::backend(key, value).map(|entry| family.backends.extend([entry]))
    });
    each(maps, &lb::REVERSE_NAT[index][0], &mut |key, value| {
        lb::reverse_nat(key, value).map(|entry| family.reverse_nat.extend([entry]))
    });
    each(maps, &lb::AFFINITY[index][0], &mut |key, value| {
        let found = lb::affinity(key, value)?;
        family.affinity.push((found.client, found.service_id, found.backend_id));
        Some(())
    });
}

/// Takes an entry (key, value); `None`: it cannot be decoded.
type Take<'a> = dyn FnMut(&[u8], &[u8]) -> Option<()> + 'a;

/// Shows every entry to `take`. False: there is no such map, or none that can be read.
fn each(maps: &mut Maps, layout: &Layout, take: &mut Take<'_>) -> bool {
    let Some(open) = maps.map(layout.name) else { return false };
    if !maps.is_known(&open, layout) {
        return false;
    }
    let mut undecoded = 0;
    maps.walk(&open, &mut |key, value| {
        undecoded += u64::from(take(key, value).is_none());
        ControlFlow::Continue(())
    });
    maps.report.undecoded(layout.name, undecoded);
    true
}

/// Connections that are bound to a backend. Its id is at the same place in all generations.
fn connections(maps: &mut Maps, balancer: &mut Balancer) {
    for table in &ct::GLOBAL {
        let Some(open) = maps.map(table.name) else { continue };
        let info = open.map.info();
        if info.key_size != table.key_size || info.value_size as usize != ct::VALUE_SIZE {
            continue;
        }
        maps.walk(&open, &mut |key, value| {
            if let Some((ip, service, backend)) = binding(key, value) {
                *balancer.family_mut(ip).connections.entry((service, backend)).or_default() += 1;
            }
            ControlFlow::Continue(())
        });
    }
}

/// Address of the frontend, id of the service, id of the backend; `None` for entries that bind nothing.
fn binding(key: &[u8], value: &[u8]) -> Option<(IpAddr, u16, u32)> {
    let (flags, ip) = match Tuple4::read_from_bytes(key) {
        Ok(tuple) => (tuple.flags, tuple.daddr()),
        Err(_) => Tuple6::read_from_bytes(key).ok().map(|tuple| (tuple.flags, tuple.daddr()))?,
    };
    let backend = u64::from_ne_bytes(value.get(8..16)?.try_into().ok()?);
    let service = u16::from_be_bytes(value.get(38..40)?.try_into().ok()?);
    (flags & flag::SERVICE != 0).then_some((ip, service, u32::try_from(backend).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client of 10.96.0.10:80 bound to backend 42 of service 7.
    #[test]
    fn only_entries_of_services_bind_a_connection_to_a_backend() {
        let mut key = [0x0a, 0x60, 0, 0x0a, 0x0a, 0, 1, 5, 0xa8, 0xca, 0, 0x50, 6, 4];
        let mut value = [0; 56];
        value[8] = 42;
        value[39] = 7;
        assert_eq!(binding(&key, &value), Some(("10.96.0.10".parse().unwrap(), 7, 42)));
        key[13] = 0;
        assert_eq!(binding(&key, &value), None);
    }
}
