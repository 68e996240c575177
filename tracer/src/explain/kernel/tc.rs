//! Programs and classifiers: tc, XDP.

use super::super::text::{Text, check};

const WHOSE: &[&str] = &[
    "bpftool net show dev DEVICE and tc filter show dev DEVICE ingress (egress): is there another program than cil_*?",
];

pub(super) const TEXTS: &[(&str, Text)] = &[
    (
        "TC_INGRESS",
        Text {
            meaning: "A program or filter at the incoming side of a device dropped the packet. For Cilium's programs tracer shows Cilium's own reason instead; what is left under this name left no word.",
            causes: &[
                "Cilium drops it, and drop notifications are off (bpf-events-drop-enabled), or the device is a netkit.",
                "Another tool's tc program or filter on the same device.",
            ],
            confirm: &[
                check("tracer metrics", "whether Cilium counts drops at the same time"),
                check(
                    "tracer drops --kernel-reason TC_INGRESS -o json",
                    "flow.interface, tracer.cilium if Cilium left a word",
                ),
            ],
            action: WHOSE,
        },
    ),
    (
        "TC_EGRESS",
        Text {
            meaning: "A program or filter at the outgoing side of a device dropped the packet. For Cilium's programs tracer shows Cilium's own reason instead; what is left under this name left no word.",
            causes: &[
                "Cilium drops it, and drop notifications are off (bpf-events-drop-enabled), or the device is a netkit.",
                "Another tool's tc program or filter on the same device.",
            ],
            confirm: &[
                check("tracer metrics", "whether Cilium counts drops at the same time"),
                check(
                    "tracer drops --kernel-reason TC_EGRESS -o json",
                    "flow.interface, tracer.cilium if Cilium left a word",
                ),
            ],
            action: WHOSE,
        },
    ),
    (
        "XDP",
        Text {
            meaning: "An XDP program dropped the packet after it had become a socket buffer (generic XDP). Native XDP drops are not seen here at all.",
            causes: &[
                "Cilium's XDP load balancer: no backend, source range, prefilter.",
                "Another tool's XDP program, such as protection against floods.",
            ],
            confirm: &[
                check("tracer drops --kernel-reason XDP -o json", "flow.interface"),
                check("tracer metrics", "whether Cilium counts drops at the same time"),
            ],
            action: &["bpftool net show: which program is on the device?"],
        },
    ),
    (
        "TC_COOKIE_ERROR",
        Text {
            meaning: "The chain in which hardware stopped classifying the packet could not be taken up in software.",
            causes: &["Hardware offload of tc rules, and rules that changed meanwhile.", "No memory."],
            confirm: &[],
            action: &["tc filter show on the device; look at its offload (ethtool -k, hw-tc-offload)."],
        },
    ),
    (
        "TC_ERROR",
        Text {
            meaning: "Classification by tc failed. It is an earlier name of TC_COOKIE_ERROR.",
            causes: &["Hardware offload of tc rules, and rules that changed meanwhile.", "No memory."],
            confirm: &[],
            action: &["tc filter show on the device."],
        },
    ),
    (
        "TC_CHAIN_NOTFOUND",
        Text {
            meaning: "A tc rule jumped to a chain that does not exist.",
            causes: &["Rules that are being replaced, or an incomplete set of rules of another tool."],
            confirm: &[],
            action: WHOSE,
        },
    ),
    (
        "TC_RECLASSIFY_LOOP",
        Text {
            meaning: "tc rules sent the packet round too many times.",
            causes: &["A reclassify action that always comes back to itself."],
            confirm: &[],
            action: WHOSE,
        },
    ),
];
