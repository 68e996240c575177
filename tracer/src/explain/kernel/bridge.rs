//! Bridges.

use super::super::text::Text;

pub(super) const TEXTS: &[(&str, Text)] = &[
    (
        "MAC_IEEE_MAC_CONTROL",
        Text {
            meaning: "A frame to the address of MAC control (pause frames) reached a bridge, which must not pass it on.",
            causes: &["Flow control of a switch or network card that is not handled by the hardware."],
            confirm: &[],
            action: &["Usually nothing."],
        },
    ),
    (
        "BRIDGE_INGRESS_STP_STATE",
        Text {
            meaning: "The bridge's port does not take part in traffic at the moment: spanning tree has it blocking, listening or learning.",
            causes: &[
                "A port that just came up.",
                "A loop that spanning tree keeps open.",
                "A port that an administrator disabled.",
            ],
            confirm: &[],
            action: &["bridge -d link show: state of the port."],
        },
    ),
];
