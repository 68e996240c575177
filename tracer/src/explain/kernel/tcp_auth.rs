//! TCP-MD5 and TCP-AO, which routing protocols use, and PSP.

use super::super::text::Text;

const KEYS: &[&str] = &[
    "Compare keys, key ids and addresses of both ends (usually BGP sessions: bgpControlPlane's authSecretRef, or the router's configuration).",
];

pub(super) const TEXTS: &[(&str, Text)] = &[
    (
        "TCP_AUTH_HDR",
        Text {
            meaning: "The segment has two signatures, or one of a wrong form.",
            causes: &["A faulty or hostile peer."],
            confirm: &[],
            action: KEYS,
        },
    ),
    (
        "TCP_MD5NOTFOUND",
        Text {
            meaning: "The connection demands an MD5 signature, and the segment has none.",
            causes: &[
                "The peer has no password configured, or for another address.",
                "Somebody else sends to that port.",
            ],
            confirm: &[],
            action: KEYS,
        },
    ),
    (
        "TCP_MD5UNEXPECTED",
        Text {
            meaning: "The segment has an MD5 signature, and none is configured for this peer.",
            causes: &["The password is configured on one side only."],
            confirm: &[],
            action: KEYS,
        },
    ),
    (
        "TCP_MD5FAILURE",
        Text {
            meaning: "The MD5 signature is wrong.",
            causes: &["Different passwords.", "NAT between the peers: the signature covers the addresses."],
            confirm: &[],
            action: KEYS,
        },
    ),
    (
        "TCP_AONOTFOUND",
        Text {
            meaning: "The connection demands a TCP-AO signature, and the segment has none.",
            causes: &["The peer has no key configured, or for another address."],
            confirm: &[],
            action: KEYS,
        },
    ),
    (
        "TCP_AOUNEXPECTED",
        Text {
            meaning: "The segment has a TCP-AO signature, and none is expected.",
            causes: &["Keys are configured on one side only."],
            confirm: &[],
            action: KEYS,
        },
    ),
    (
        "TCP_AOKEYNOTFOUND",
        Text {
            meaning: "The segment is signed with a TCP-AO key that is not known here.",
            causes: &["Different key ids.", "A key that was removed before the peer stopped using it."],
            confirm: &[],
            action: KEYS,
        },
    ),
    (
        "TCP_AOFAILURE",
        Text {
            meaning: "The TCP-AO signature is wrong.",
            causes: &["Different keys under one id.", "NAT between the peers."],
            confirm: &[],
            action: KEYS,
        },
    ),
    (
        "PSP_INPUT",
        Text {
            meaning: "A received segment does not have the PSP encryption that its connection demands, or has the wrong one.",
            causes: &[
                "One side enabled PSP and the other did not.",
                "Keys were rotated, and old segments arrive.",
            ],
            confirm: &[],
            action: &["Compare the PSP state of both ends' sockets and cards."],
        },
    ),
    (
        "PSP_OUTPUT",
        Text {
            meaning: "A segment that must be encrypted by PSP would have left by a device that cannot do it.",
            causes: &["The route changed to another device."],
            confirm: &[],
            action: &["ip route get DESTINATION: does it leave by the card that has PSP?"],
        },
    ),
];
