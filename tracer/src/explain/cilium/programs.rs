//! Programs that are not there, or not there yet.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(u8, Text)] = &[
    (
        140,
        Text {
            meaning: "One part of the datapath wanted to hand the packet to the next part, and that part is not loaded. ext_error is the slot in the map of calls, or the low byte of the endpoint's id if a policy program is missing.",
            causes: &[
                "Programs are being replaced at this moment: agent start, upgrade, change of configuration. A handful is normal then.",
                "Loading stopped half-way: the agent crashed, or the kernel refused a program.",
                "The program of a removed endpoint is still called.",
            ],
            confirm: &[
                check(
                    "tracer drops --drop-reason-desc MISSED_TAIL_CALL -o json",
                    "tracer.cilium.ext_error: always the same slot means that one program is missing",
                ),
                check(
                    "tracer doctor --group programs",
                    "programs that are missing on a device, and what to do",
                ),
                check("tracer maps", "the maps cilium_calls_*: how many entries, and whether in_use"),
            ],
            action: &[
                "Lasting: read the agent's log for \"verifier\" and \"Failed to load\"; restart the agent, which loads everything again.",
                "One endpoint only: restart its pod.",
            ],
        },
    ),
    (
        184,
        Text {
            meaning: "A buffer that hands results from one part of the program to the next could not be written, or was empty when it was read.",
            causes: &[
                "Programs of two releases at once during an upgrade: the first part is new, the second old, or the other way round.",
                "A fault in Cilium.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc INVALID_TC_BUFFER -o json",
                "flow.file: which part",
            )],
            action: &[
                "During an upgrade: wait until it is done. Lasting: restart the agent, so that all parts come from one release.",
            ],
        },
    ),
    (
        202,
        Text {
            meaning: "The host's program is not loaded yet, and the packet is one that it has to judge.",
            causes: &["The agent is starting.", "Loading the host's program failed."],
            confirm: &[
                check("tracer maps dump cilium_call_policy", "the slot of the host endpoint"),
                check(
                    "tracer doctor --group programs",
                    "programs that are missing on a device, and what to do",
                ),
                check("tracer endpoints list", "the id of the host endpoint"),
            ],
            action: &[
                "A few seconds at start are normal. Lasting: the agent's log says why the host's program was not loaded.",
            ],
        },
    ),
    (
        203,
        Text {
            meaning: "The receiver's policy program is not loaded, so nobody can judge the packet.",
            causes: &[
                "The pod is just being created or removed.",
                "Its program could not be built or loaded: the endpoint is not ready.",
                "The agent died between making the endpoint and loading its program.",
            ],
            confirm: &[
                check(
                    "tracer doctor --group programs",
                    "programs that are missing on a device, and what to do",
                ),
                check("tracer endpoints get IP", "which endpoint it is"),
                check(
                    "tracer maps dump cilium_call_policy",
                    "whether the slot with the endpoint's id is there",
                ),
            ],
            action: &[
                "Around the start and the end of a pod: normal.",
                "Lasting: look at the endpoint in the agent (cilium-dbg endpoint list shows not-ready) and at its log; restart the pod.",
            ],
        },
    ),
];
