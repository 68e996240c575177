//! The kernel's reasons by name, as releases 5.17 to 6.18 have them: which check gave up. File names are themes.

mod bridge;
mod device;
mod fragments;
mod ip;
mod ipv6;
mod memory;
mod neighbour;
mod openvswitch;
mod queue;
mod socket;
mod tc;
mod tcp;
mod tcp_auth;
mod tunnel;
mod unspecific;

use super::text::Text;
use super::words;

/// Texts of one theme, by the name without `SKB_DROP_REASON_`.
type Theme = &'static [(&'static str, Text)];

const THEMES: &[(&str, Theme)] = &[
    ("unspecific", unspecific::TEXTS),
    ("socket", socket::TEXTS),
    ("tcp", tcp::TEXTS),
    ("tcp-auth", tcp_auth::TEXTS),
    ("ip", ip::TEXTS),
    ("ipv6", ipv6::TEXTS),
    ("fragments", fragments::TEXTS),
    ("neighbour", neighbour::TEXTS),
    ("tc", tc::TEXTS),
    ("queue", queue::TEXTS),
    ("device", device::TEXTS),
    ("memory", memory::TEXTS),
    ("tunnel", tunnel::TEXTS),
    ("bridge", bridge::TEXTS),
    ("openvswitch", openvswitch::TEXTS),
];

/// The theme and the text of a name.
pub(super) fn of(name: &str) -> Option<(&'static str, &'static Text)> {
    let bare = words::bare(name);
    names().find(|(known, ..)| words::bare(known) == bare).map(|(_, theme, text)| (theme, text))
}

/// All names that have a text.
pub(super) fn names() -> impl Iterator<Item = (&'static str, &'static str, &'static Text)> {
    THEMES.iter().flat_map(|(theme, texts)| texts.iter().map(move |(name, text)| (*name, *theme, text)))
}
