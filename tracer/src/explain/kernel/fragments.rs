//! Reassembly of fragments by the kernel.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(&str, Text)] = &[
    (
        "DUP_FRAG",
        Text {
            meaning: "This fragment, or the same bytes, had arrived before.",
            causes: &["A duplicating network path.", "Overlapping fragments of an attack."],
            confirm: &[],
            action: &["Single ones: nothing. Many: find where packets are doubled."],
        },
    ),
    (
        "FRAG_REASM_TIMEOUT",
        Text {
            meaning: "Not all fragments of a datagram arrived in time, and those that had are given up.",
            causes: &[
                "One of the fragments was lost or dropped.",
                "Fragments take different paths, or arrive on different nodes.",
            ],
            confirm: &[check(
                "tracer drops --from-ip IP",
                "other drops of the same sender: 157 and 175 are Cilium's for fragments",
            )],
            action: &[
                "Avoid fragments: smaller datagrams, larger MTU. nstat IpReasmTimeout IpReasmFails; net.ipv4.ipfrag_high_thresh if memory for fragments is full.",
            ],
        },
    ),
    (
        "FRAG_TOO_FAR",
        Text {
            meaning: "Too many other fragments of the same sender came in between (net.ipv4.ipfrag_max_dist), so that the waiting ones may be mixed with a new datagram of the same number.",
            causes: &["Very many fragmented datagrams of one sender, with loss among them."],
            confirm: &[],
            action: &["Avoid fragments; net.ipv4.ipfrag_max_dist=0 switches the check off."],
        },
    ),
];
