//! What the extended error of a drop says: values by themselves, since most of them mean the same with every
//! reason. Errors of helpers are negative error numbers, as the kernel returns them.

use super::text::{Text, check};
use crate::model::reason::DropReason;

/// One value of an extended error.
#[derive(Clone, Copy, Debug)]
pub struct Qualifier {
    pub value: i8,
    pub name: &'static str,
    pub theme: &'static str,
    /// The reasons that are known to carry it; empty: any with a failed helper.
    pub of: &'static [u8],
    pub text: Text,
}

const CT_CREATE_FAILED: u8 = 155;
const NO_FIB: u8 = 169;
const POLICY_AUTH_REQUIRED: u8 = 189;

/// All values, by kind.
pub(super) const ALL: [&[Qualifier]; 3] = [FIB, AUTH, ERRNO];

/// Values that a reason is known to carry.
pub(super) fn of(reason: DropReason) -> impl Iterator<Item = &'static Qualifier> {
    ALL.iter().flat_map(|list| list.iter()).filter(move |qualifier| qualifier.of.contains(&reason.0))
}

const fn fib(value: i8, name: &'static str, text: Text) -> Qualifier {
    Qualifier { value, name, theme: "fib", of: &[NO_FIB], text }
}

const fn auth(value: i8, name: &'static str, text: Text) -> Qualifier {
    Qualifier { value, name, theme: "auth", of: &[POLICY_AUTH_REQUIRED], text }
}

const fn errno(value: i8, name: &'static str, of: &'static [u8], text: Text) -> Qualifier {
    Qualifier { value, name, theme: "errno", of, text }
}

const FIB: &[Qualifier] = &[
    fib(
        1,
        "blackhole",
        Text {
            meaning: "A route of type blackhole covers the destination.",
            causes: &[
                "A routing daemon or an administrator discards this network on purpose.",
                "A blackhole route for a pod network whose specific routes are gone.",
            ],
            confirm: &[check("tracer drops --drop-reason-desc FIB_LOOKUP_FAILED", "the destination")],
            action: &["ip route get DESTINATION on the node, and remove or override the route."],
        },
    ),
    fib(
        2,
        "unreachable",
        Text {
            meaning: "A route of type unreachable covers the destination.",
            causes: &["A routing daemon lost the real route.", "An administrator closed this network."],
            confirm: &[check("tracer drops --drop-reason-desc FIB_LOOKUP_FAILED", "the destination")],
            action: &["ip route get DESTINATION on the node, and look where the route came from (proto)."],
        },
    ),
    fib(
        3,
        "prohibit",
        Text {
            meaning: "A route or rule of type prohibit covers the destination.",
            causes: &["An ip rule of an administrator or of a VPN."],
            confirm: &[check("tracer drops --drop-reason-desc FIB_LOOKUP_FAILED", "the destination")],
            action: &["ip rule and ip route get DESTINATION on the node."],
        },
    ),
    fib(
        4,
        "not forwarded",
        Text {
            meaning: "The look-up gave no route to forward by: there is none, or the destination is this host itself.",
            causes: &[
                "No route to the destination and no default route.",
                "The address is local, multicast or broadcast.",
            ],
            confirm: &[check("tracer drops --drop-reason-desc FIB_LOOKUP_FAILED", "the destination")],
            action: &[
                "ip route get DESTINATION on the node; look for the missing default route or the missing route to the other node's pods.",
            ],
        },
    ),
    fib(
        5,
        "forwarding disabled",
        Text {
            meaning: "Forwarding is switched off on the device that the packet came in by.",
            causes: &[
                "Another agent or a hardening script reset net.ipv4.conf.*.forwarding or net.ipv6.conf.*.forwarding.",
            ],
            confirm: &[check("tracer drops --drop-reason-desc FIB_LOOKUP_FAILED -o json", "flow.interface")],
            action: &[
                "sysctl -w net.ipv4.conf.DEVICE.forwarding=1 (or net.ipv6.conf…), and find who switches it off.",
            ],
        },
    ),
    fib(
        6,
        "unsupported lwt",
        Text {
            meaning: "The route wants an encapsulation that the look-up from a program cannot give (MPLS, segment routing and the like).",
            causes: &["A route with encap on the way to the destination."],
            confirm: &[check("tracer drops --drop-reason-desc FIB_LOOKUP_FAILED", "the destination")],
            action: &[
                "ip route get DESTINATION: take the encap away for these destinations, or let the kernel's stack forward (legacy host routing).",
            ],
        },
    ),
    fib(
        7,
        "no neighbour",
        Text {
            meaning: "The route is there, but the next hop's hardware address is not known.",
            causes: &[
                "The next hop is new, and nobody has asked for its address yet.",
                "The next hop is down or does not answer ARP or neighbour discovery.",
                "The neighbour table is full.",
            ],
            confirm: &[
                check("tracer drops --drop-reason-desc FIB_LOOKUP_FAILED", "the destination"),
                check(
                    "tracer drops --all --kernel-reason NEIGH_FAILED",
                    "whether the kernel's own resolution fails as well",
                ),
            ],
            action: &[
                "ip neigh show on the node; ping the next hop. The agent keeps neighbours of other nodes alive: look at it as well.",
            ],
        },
    ),
    fib(
        8,
        "fragmentation needed",
        Text {
            meaning: "The packet is larger than the MTU of the route.",
            causes: &[
                "Different MTUs of pod devices and node devices.",
                "Encapsulation or encryption that was added after the sender chose its size.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc FIB_LOOKUP_FAILED -o json",
                "tracer.packet.length_bytes",
            )],
            action: &["Give pods a smaller MTU (agent's mtu), or the path a larger one."],
        },
    ),
    fib(
        9,
        "no source address",
        Text {
            meaning: "A source address was asked for, and the device of the route has none of this family.",
            causes: &[
                "An interface without an address, for example an IPv6 route over a device with only IPv4.",
            ],
            confirm: &[check(
                "tracer drops --drop-reason-desc FIB_LOOKUP_FAILED -o json",
                "flow.interface and the family",
            )],
            action: &["Give the device an address (ip addr), or correct the route."],
        },
    ),
];

const AUTH: &[Qualifier] = &[
    auth(
        1,
        "spire",
        Text {
            meaning: "The policy wants mutual authentication with certificates of SPIRE.",
            causes: &["See 189."],
            confirm: &[check("tracer maps dump cilium_auth_map", "entries of the two identities")],
            action: &["Look at the agents' logs and at SPIRE."],
        },
    ),
    auth(
        2,
        "test-always-fail",
        Text {
            meaning: "The policy wants the kind of authentication that always fails; it exists for tests.",
            causes: &["authentication.mode: test-always-fail in a rule."],
            confirm: &[check("tracer policy get ENDPOINT", "auth_type")],
            action: &["Correct the rule."],
        },
    ),
];

const ERRNO: &[Qualifier] = &[
    errno(
        -1,
        "EPERM",
        &[],
        Text {
            meaning: "The kernel did not permit the operation.",
            causes: &["A map that is frozen or read-only for programs."],
            confirm: &[check("tracer maps", "flags of the map")],
            action: &["Restart the agent; report file and line to Cilium if it stays."],
        },
    ),
    errno(
        -2,
        "ENOENT",
        &[],
        Text {
            meaning: "What the helper looked for is not there.",
            causes: &["A map entry or a socket that vanished between two steps."],
            confirm: &[check("tracer drops -o json", "flow.file: which step")],
            action: &["A few: nothing. Many: look at what is being removed at that time."],
        },
    ),
    errno(
        -7,
        "E2BIG",
        &[CT_CREATE_FAILED],
        Text {
            meaning: "The map is full.",
            causes: &["More entries than max_entries, in a map that does not replace old ones."],
            confirm: &[check("tracer capacity", "which map is at 100 %")],
            action: &["Make the map larger in the agent's configuration, or remove what fills it."],
        },
    ),
    errno(
        -12,
        "ENOMEM",
        &[CT_CREATE_FAILED],
        Text {
            meaning: "There was no memory, or no element to replace, for a new map entry. A map that replaces its oldest entries says this when this CPU finds none at once.",
            causes: &[
                "A full map under very many new connections.",
                "Memory pressure of the node or of the agent's control group.",
            ],
            confirm: &[
                check("tracer ct count", "entries against max_entries"),
                check("tracer capacity", "growth and owners"),
            ],
            action: &["See 155; look at /proc/pressure/memory."],
        },
    ),
    errno(
        -14,
        "EFAULT",
        &[],
        Text {
            meaning: "The helper was given a place outside of the packet or of memory.",
            causes: &["The packet is shorter than the program thought."],
            confirm: &[check("tracer drops -o json", "tracer.packet.length_bytes, flow.file")],
            action: &["Single ones: broken packets. Many from one sender: capture there."],
        },
    ),
    errno(
        -16,
        "EBUSY",
        &[CT_CREATE_FAILED],
        Text {
            meaning: "The part of the map that the entry belongs to was locked by somebody else on this CPU.",
            causes: &[
                "A program interrupted another one in the middle of an update of the same bucket.",
                "Very high rates of new connections.",
            ],
            confirm: &[check("tracer metrics --watch", "how many a second")],
            action: &[
                "Single ones: nothing, senders try again. Many: spread new connections, look for a flood.",
            ],
        },
    ),
    errno(
        -17,
        "EEXIST",
        &[CT_CREATE_FAILED],
        Text {
            meaning: "The entry is already there, and was to be made new only.",
            causes: &["Two CPUs handle packets of the same new connection."],
            confirm: &[check("tracer metrics --watch", "how many a second")],
            action: &["Nothing."],
        },
    ),
    errno(
        -19,
        "ENODEV",
        &[NO_FIB],
        Text {
            meaning: "The device that the packet should leave by does not exist any more.",
            causes: &[
                "The interface of a pod was removed while packets were on their way to it.",
                "A node device was replaced, and programs still have its old number.",
            ],
            confirm: &[check("tracer endpoints list", "ifindex of the endpoints, to compare with ip link")],
            action: &[
                "Around the end of a pod: normal. Lasting: restart the agent, so that it learns the devices again.",
            ],
        },
    ),
    errno(
        -22,
        "EINVAL",
        &[CT_CREATE_FAILED, NO_FIB],
        Text {
            meaning: "The kernel found an argument of the helper impossible.",
            causes: &[
                "A kernel that does not know a flag which this Cilium uses.",
                "A device that is down or of the wrong kind.",
            ],
            confirm: &[check("tracer drops -o json", "flow.file: which step; flow.interface")],
            action: &["Compare the kernel with what this release of Cilium needs; is the device up?"],
        },
    ),
    errno(
        -34,
        "ERANGE",
        &[],
        Text {
            meaning: "A length or an offset is out of range.",
            causes: &["A packet that is too short or too long for the change."],
            confirm: &[check("tracer drops -o json", "tracer.packet.length_bytes")],
            action: &["Look at MTUs and offloads of the sender."],
        },
    ),
    errno(
        -94,
        "ESOCKTNOSUPPORT",
        &[],
        Text {
            meaning: "The socket is of a kind that cannot take the packet.",
            causes: &["A proxy port on which another kind of socket listens."],
            confirm: &[check("tracer policy get ENDPOINT", "proxy_port")],
            action: &["ss -lnp on the node: who listens there? Restart the proxy."],
        },
    ),
    errno(
        -95,
        "EOPNOTSUPP",
        &[],
        Text {
            meaning: "The kernel does not support this operation here.",
            causes: &["A helper on a hook where this kernel does not allow it."],
            confirm: &[check("tracer drops -o json", "flow.file: which step")],
            action: &["Compare the kernel with what this release of Cilium needs."],
        },
    ),
    errno(
        -101,
        "ENETUNREACH",
        &[NO_FIB],
        Text {
            meaning: "There is no way to that network, or the socket is in another network namespace.",
            causes: &["No route.", "A proxy that runs in a network namespace of its own."],
            confirm: &[check("tracer drops -o json", "destination and flow.interface")],
            action: &["ip route get DESTINATION on the node."],
        },
    ),
    errno(
        -113,
        "EHOSTUNREACH",
        &[NO_FIB],
        Text {
            meaning: "The next hop cannot be reached.",
            causes: &["Its hardware address cannot be found out."],
            confirm: &[check(
                "tracer drops --all --kernel-reason NEIGH_FAILED",
                "whether the kernel's own resolution fails as well",
            )],
            action: &["ip neigh show on the node; is the next hop up?"],
        },
    ),
];
