//! Queues in front of devices and CPUs.

use super::super::text::{Text, check};

const BUSY: &[&str] = &[
    "tc -s qdisc show dev DEVICE: dropped, overlimits, backlog. A faster device, a larger limit, or senders that slow down.",
];

pub(super) const TEXTS: &[(&str, Text)] = &[
    (
        "QDISC_DROP",
        Text {
            meaning: "The queueing discipline of the device refused the packet. Usually its queue is full.",
            causes: &[
                "More traffic than the device or the shaper lets out.",
                "A shaper (tbf, htb) of the administrator.",
                "A device that is down or has no carrier (noqueue, noop).",
            ],
            confirm: &[check("tracer drops --kernel-reason QDISC_DROP -o json", "flow.interface")],
            action: BUSY,
        },
    ),
    (
        "QDISC_OVERLIMIT",
        Text {
            meaning: "The queue of the queueing discipline is at its limit.",
            causes: &["More traffic than the device lets out.", "A small limit for bursts."],
            confirm: &[check("tracer drops --kernel-reason QDISC_OVERLIMIT -o json", "flow.interface")],
            action: BUSY,
        },
    ),
    (
        "QDISC_CONGESTED",
        Text {
            meaning: "The queueing discipline dropped the packet early, to tell the sender of congestion (CoDel, PIE, RED and others).",
            causes: &["A device or shaper that is busy for longer than a moment."],
            confirm: &[check("tracer drops --kernel-reason QDISC_CONGESTED -o json", "flow.interface")],
            action: &[
                "TCP slows down: nothing, if the device is the bottleneck on purpose. Else as for a full queue: tc -s qdisc show dev DEVICE.",
            ],
        },
    ),
    (
        "CAKE_FLOOD",
        Text {
            meaning: "The cake queueing discipline judged the flow to be one that does not react to congestion.",
            causes: &["UDP or another flow that goes on sending when its packets are dropped."],
            confirm: &[],
            action: BUSY,
        },
    ),
    (
        "FQ_BAND_LIMIT",
        Text {
            meaning: "The band of the fq queueing discipline that the packet belongs to is full.",
            causes: &["Too much traffic of one priority for the device."],
            confirm: &[check("tracer drops --kernel-reason FQ_BAND_LIMIT -o json", "flow.interface")],
            action: BUSY,
        },
    ),
    (
        "FQ_HORIZON_LIMIT",
        Text {
            meaning: "The packet's sending time lies too far in the future for the fq queueing discipline. Cilium's bandwidth manager sets such times.",
            causes: &[
                "A pod with an egress bandwidth limit that sends far more than allowed.",
                "A time from another clock in the packet.",
            ],
            confirm: &[
                check("tracer drops --kernel-reason FQ_HORIZON_LIMIT", "which pod"),
                check("tracer maps dump cilium_throttle", "limits of endpoints"),
            ],
            action: &["Raise kubernetes.io/egress-bandwidth of the pod, or let it send less."],
        },
    ),
    (
        "FQ_FLOW_LIMIT",
        Text {
            meaning: "One flow has too many packets waiting in the fq queueing discipline.",
            causes: &["One sender that is faster than its pace or than the device: UDP, or a raw sender."],
            confirm: &[check("tracer drops --kernel-reason FQ_FLOW_LIMIT", "which flow")],
            action: &["Let the sender slow down, or raise flow_limit of fq."],
        },
    ),
    (
        "DUALPI2_STEP_DROP",
        Text {
            meaning: "The dualpi2 queueing discipline dropped the packet because its low-latency queue is above its threshold.",
            causes: &["Congestion of a device with dualpi2, and a packet that cannot be marked instead."],
            confirm: &[],
            action: BUSY,
        },
    ),
    (
        "CPU_BACKLOG",
        Text {
            meaning: "The queue of packets that wait for this CPU is full, or its flow limit applies.",
            causes: &[
                "More packets than one CPU handles, all on the same one: a single receive queue, one big flow, veth traffic of one pod.",
                "net.core.netdev_max_backlog is small.",
                "A CPU that was held up (steal time, long interrupts).",
            ],
            confirm: &[check(
                "tracer drops --kernel-reason CPU_BACKLOG -o json",
                "tracer.cpu: always the same?",
            )],
            action: &[
                "/proc/net/softnet_stat, second column; raise net.core.netdev_max_backlog and net.core.netdev_budget, spread receive queues (RSS, RPS).",
            ],
        },
    ),
];
