//! Memory, and the inner form of packets.

use super::super::text::{Text, check};

const PRESSURE: &[&str] = &[
    "free -m, /proc/pressure/memory, dmesg (page allocation failure); net.core and vm.min_free_kbytes if it comes in bursts.",
];

pub(super) const TEXTS: &[(&str, Text)] = &[
    (
        "NOMEM",
        Text {
            meaning: "There was no memory for something that the packet needs.",
            causes: &[
                "The node is short of memory, or of memory that can be had at once (interrupt context).",
                "The memory limit of a control group.",
            ],
            confirm: &[],
            action: PRESSURE,
        },
    ),
    (
        "PFMEMALLOC",
        Text {
            meaning: "The packet was received into the emergency reserve of memory, and its socket is not one that helps to free memory.",
            causes: &["The node is so short of memory that network buffers come from the reserve."],
            confirm: &[],
            action: PRESSURE,
        },
    ),
    (
        "HDR_TRUNC",
        Text {
            meaning: "A header could not be brought together in one piece of memory, because the packet is too short or memory is missing.",
            causes: &["Truncated or crafted packets.", "No memory."],
            confirm: &[check(
                "tracer drops --all --kernel-reason HDR_TRUNC -o json",
                "tracer.packet.length_bytes",
            )],
            action: &["Single ones: nothing. Many: capture at the sender; look for memory pressure."],
        },
    ),
    (
        "SKB_CSUM",
        Text {
            meaning: "A checksum of the packet could not be computed in software.",
            causes: &[
                "Checksum positions that point outside of the packet, from a virtual machine or a tunnel.",
                "No memory.",
            ],
            confirm: &[],
            action: &[
                "Find the device that hands such packets over (flow.interface); switch its offloads off for a test.",
            ],
        },
    ),
    (
        "SKB_GSO_SEG",
        Text {
            meaning: "A large packet could not be cut into segments in software.",
            causes: &[
                "A virtual machine or tun user with impossible segment sizes.",
                "A program that changed headers of a large packet.",
                "No memory.",
            ],
            confirm: &[check(
                "tracer drops --all --kernel-reason SKB_GSO_SEG -o json",
                "flow.interface, tracer.packet.length_bytes",
            )],
            action: &[
                "Switch tso and gso off on the sending device for a test (ethtool -K DEVICE tso off gso off).",
            ],
        },
    ),
    (
        "SKB_UCOPY_FAULT",
        Text {
            meaning: "Data could not be copied from the sending process.",
            causes: &[
                "A process (virtual machine monitor, VPN) that gave a bad address or ended meanwhile.",
                "No memory.",
            ],
            confirm: &[],
            action: &["Look at the process behind the device."],
        },
    ),
];
