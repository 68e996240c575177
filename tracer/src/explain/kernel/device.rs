//! Devices and their rings.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(&str, Text)] = &[
    (
        "DEV_HDR",
        Text {
            meaning: "The header that the device's driver puts in front of a packet is not acceptable.",
            causes: &["A tun or tap user (virtual machine, VPN) that writes malformed headers."],
            confirm: &[check("tracer drops --all --kernel-reason DEV_HDR -o json", "flow.interface")],
            action: &["Find the process behind the device (ip -d tuntap list), and update it."],
        },
    ),
    (
        "DEV_READY",
        Text {
            meaning: "The device is not ready to send or receive: down, or nobody has opened its other side.",
            causes: &[
                "An interface that is down or just being made or removed.",
                "A tun device without process.",
            ],
            confirm: &[check("tracer drops --all --kernel-reason DEV_READY -o json", "flow.interface")],
            action: &["ip link show DEVICE; bring it up, or find the route that leads there."],
        },
    ),
    (
        "FULL_RING",
        Text {
            meaning: "The ring between the kernel and the reader of a device is full.",
            causes: &[
                "A virtual machine or VPN behind a tap or tun device that reads too slowly.",
                "A burst that is larger than the ring.",
            ],
            confirm: &[check("tracer drops --all --kernel-reason FULL_RING -o json", "flow.interface")],
            action: &["Give the reader more CPU, or its ring more room (txqueuelen of the device)."],
        },
    ),
    (
        "TAP_FILTER",
        Text {
            meaning: "The filter that a tun or tap user put on its device did not want the packet.",
            causes: &["A virtual machine monitor that filters on purpose."],
            confirm: &[],
            action: &["Look at the configuration of the process behind the device."],
        },
    ),
    (
        "TAP_TXFILTER",
        Text {
            meaning: "The address filter of a tap device did not want the packet.",
            causes: &["Frames for addresses that the virtual machine did not ask for."],
            confirm: &[],
            action: &["Usually nothing."],
        },
    ),
    (
        "MAC_INVALID_SOURCE",
        Text {
            meaning: "The frame's source hardware address cannot be one: zero or multicast.",
            causes: &["Crafted frames.", "A faulty device or virtual machine."],
            confirm: &[check(
                "tracer drops --all --kernel-reason MAC_INVALID_SOURCE -o json",
                "flow.ethernet, flow.interface",
            )],
            action: &["Find the sender by the interface, or inside a tunnel by the outer addresses."],
        },
    ),
    (
        "LOCAL_MAC",
        Text {
            meaning: "A frame came in whose source hardware address is this device's own.",
            causes: &["A loop on the link.", "Two devices with the same hardware address."],
            confirm: &[check(
                "tracer drops --all --kernel-reason LOCAL_MAC -o json",
                "flow.ethernet, flow.interface",
            )],
            action: &["Look for a loop, or for a copied virtual machine with the same address."],
        },
    ),
    (
        "NO_TX_TARGET",
        Text {
            meaning: "There is no device or port left to send the packet by.",
            causes: &[
                "A bond without a living member.",
                "A bridge or tunnel that has no one to flood the packet to.",
            ],
            confirm: &[check("tracer drops --all --kernel-reason NO_TX_TARGET -o json", "flow.interface")],
            action: &["cat /proc/net/bonding/DEVICE, bridge link, bridge fdb show dev DEVICE."],
        },
    ),
    (
        "CAN_RX_INVALID_FRAME",
        Text {
            meaning: "A frame on a CAN bus is malformed.",
            causes: &["A faulty CAN device. It has nothing to do with IP."],
            confirm: &[],
            action: &["Look at the CAN device (ip -d -s link show)."],
        },
    ),
    (
        "CANFD_RX_INVALID_FRAME",
        Text {
            meaning: "A CAN FD frame is malformed.",
            causes: &["A faulty CAN device. It has nothing to do with IP."],
            confirm: &[],
            action: &["Look at the CAN device (ip -d -s link show)."],
        },
    ),
    (
        "CANXL_RX_INVALID_FRAME",
        Text {
            meaning: "A CAN XL frame is malformed.",
            causes: &["A faulty CAN device. It has nothing to do with IP."],
            confirm: &[],
            action: &["Look at the CAN device (ip -d -s link show)."],
        },
    ),
];
