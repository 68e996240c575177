//! Rates and bandwidth.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        162,
        Text {
            meaning: "The bandwidth manager would have to delay this packet for longer than its horizon allows. The pod sends far more than its limit.",
            causes: &[
                "The annotation kubernetes.io/egress-bandwidth of the pod is smaller than what it sends without slowing down: UDP, many parallel connections.",
            ],
            confirm: &[
                check("tracer maps dump cilium_throttle", "the limit of the endpoint"),
                check(
                    "tracer drops --drop-reason-desc REACHED_EDT_RATE_LIMITING_DROP_HORIZON",
                    "which pod it is",
                ),
            ],
            action: &["Raise the annotation, or let the application send less. TCP alone rarely gets here."],
        },
    ),
    (
        198,
        Text {
            meaning: "A rate limit of the datapath was reached.",
            causes: &[
                "ICMP errors and answers that the datapath would make are limited, so that nobody can use it as an amplifier.",
                "The pod's ingress bandwidth limit (kubernetes.io/ingress-bandwidth, 1.18 and newer).",
            ],
            confirm: &[
                check(
                    "tracer drops --drop-reason-desc DROP_RATE_LIMITED -o json",
                    "what it was: ICMPv6, or traffic to a pod",
                ),
                check("tracer maps dump cilium_ratelimit", "buckets and their tokens"),
            ],
            action: &[
                "ICMP: find the source of so many errors (closed ports, scans). Ingress limit: raise the pod's annotation.",
            ],
        },
    ),
];
