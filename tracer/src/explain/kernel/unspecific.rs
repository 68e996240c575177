//! Reasons that say little by themselves.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(&str, Text)] = &[
    (
        "NOT_SPECIFIED",
        Text {
            meaning: "The kernel freed the packet, and nobody said why. Each release has fewer such places; the function that freed it is the best hint.",
            causes: &[
                "Code that has no reason of its own yet: many drivers, protocols and error paths.",
                "An error that is told otherwise, for example to the sending application.",
            ],
            confirm: &[check(
                "tracer drops --all --kernel-reason NOT_SPECIFIED -o json",
                "tracer.kernel.symbol: search this function in the source of this kernel",
            )],
            action: &[
                "Look at the function. skb_release_*, *_destruct and *_purge are usually a socket or a queue that was closed, not a loss.",
            ],
        },
    ),
    (
        "NOT_DROPPED_YET",
        Text {
            meaning: "No reason: the packet has not been dropped. The number is used inside the kernel and should not show up.",
            causes: &["A fault in a driver or module."],
            confirm: &[],
            action: &["Report the function behind `at` to the kernel, or to who made the module."],
        },
    ),
    (
        "CONSUMED",
        Text {
            meaning: "The packet was used up, not dropped. Somebody received it, copied it or answered it.",
            causes: &["Ordinary traffic, where the kernel frees packets by the same way as drops."],
            confirm: &[],
            action: &["Nothing."],
        },
    ),
    (
        "SECURITY_HOOK",
        Text {
            meaning: "A security module refused the packet (SELinux, Smack, AppArmor or an eBPF LSM program).",
            causes: &["A rule about network labels, sockets or unix sockets."],
            confirm: &[],
            action: &["Look for denials in the audit log (ausearch -m avc, dmesg)."],
        },
    ),
    (
        "RECURSION_LIMIT",
        Text {
            meaning: "The packet went through too many devices inside one another on its way out. The kernel stops at a fixed depth, so that a loop cannot exhaust its stack.",
            causes: &[
                "Tunnels inside tunnels whose routes lead back into themselves.",
                "Redirects of programs that send a packet round in a circle.",
            ],
            confirm: &[check(
                "tracer drops --all --kernel-reason RECURSION_LIMIT -o json",
                "flow.interface, and the outer and inner addresses",
            )],
            action: &["ip route get for the outer destination: it must not lead into the same tunnel."],
        },
    ),
];
