//! Numbers that have a name and no code behind it.

use super::super::text::{Check, Text, check};

const UPDATE: &[&str] = &[
    "If it is counted, the datapath is not one of 1.14 to 1.19: compare the agent's version, and report it.",
];
const METRICS: &[Check] =
    &[check("tracer metrics", "whether it is counted at all, and from which file and line")];

const fn unused(meaning: &'static str) -> Text {
    Text {
        meaning,
        causes: &["A datapath that is much older, or a build of somebody's own."],
        confirm: METRICS,
        action: UPDATE,
    }
}

pub(super) const TEXTS: &[(u8, Text)] = &[
    (130, unused("The source hardware address was wrong. No release from 1.14 on returns it.")),
    (131, unused("The destination hardware address was wrong. No release from 1.14 on returns it.")),
    (
        138,
        unused(
            "Connection tracking could not make an entry from the packet. No release from 1.14 on returns it; 155 is what a failed entry says today.",
        ),
    ),
    (148, unused("Options of the tunnel could not be read. No release from 1.14 on returns it.")),
    (149, unused("An option of Geneve was not valid. No release from 1.14 on returns it.")),
    (
        152,
        unused(
            "No local container has the address. No release from 1.14 on returns it; 151 is what a packet for a missing pod says today.",
        ),
    ),
];
