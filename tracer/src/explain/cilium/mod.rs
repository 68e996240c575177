//! Cilium's reasons by number: what makes its datapath return them. File names are themes.

mod conntrack;
mod consumed;
mod counted;
mod egress_gateway;
mod encapsulation;
mod fragments;
mod headers;
mod icmp;
mod limits;
mod multi_cluster;
mod nat;
mod policy;
mod programs;
mod proxy;
mod routing;
mod service;
mod srv6;
mod unused;

use super::text::Text;

/// Texts of one theme, by number.
type Theme = &'static [(u8, Text)];

const THEMES: &[(&str, Theme)] = &[
    ("policy", policy::TEXTS),
    ("conntrack", conntrack::TEXTS),
    ("nat", nat::TEXTS),
    ("service", service::TEXTS),
    ("fragments", fragments::TEXTS),
    ("headers", headers::TEXTS),
    ("icmp", icmp::TEXTS),
    ("encapsulation", encapsulation::TEXTS),
    ("routing", routing::TEXTS),
    ("proxy", proxy::TEXTS),
    ("programs", programs::TEXTS),
    ("limits", limits::TEXTS),
    ("egress-gateway", egress_gateway::TEXTS),
    ("multi-cluster", multi_cluster::TEXTS),
    ("srv6", srv6::TEXTS),
    ("consumed", consumed::TEXTS),
    ("unused", unused::TEXTS),
    ("counted", counted::TEXTS),
];

/// The theme and the text of a number.
pub(super) fn of(code: u8) -> Option<(&'static str, &'static Text)> {
    THEMES.iter().find_map(|(theme, texts)| {
        let (_, text) = texts.iter().find(|(number, _)| *number == code)?;
        Some((*theme, text))
    })
}
