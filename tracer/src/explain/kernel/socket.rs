//! Sockets that are not there, not ready, or full.

use super::super::text::{Text, check};

pub(super) const TEXTS: &[(&str, Text)] = &[
    (
        "NO_SOCKET",
        Text {
            meaning: "The packet arrived at its destination, and no socket wants it. UDP senders get \"port unreachable\", TCP senders a reset.",
            causes: &[
                "The application is not running, not listening yet, or listens at another port.",
                "It listens at another address: 127.0.0.1 instead of all, or only IPv4.",
                "TCP: the connection was closed or forgotten, and the peer goes on sending.",
                "UDP: the client's socket is closed by the time the answer comes.",
            ],
            confirm: &[
                check(
                    "tracer drops --kernel-reason NO_SOCKET --to-port PORT",
                    "who sends to the closed port",
                ),
                check("tracer lb list --backends", "whether a service sends clients to this port"),
            ],
            action: &[
                "In the destination's network namespace: ss -lntup. Start the application, or correct port and targetPort.",
            ],
        },
    ),
    (
        "SOCKET_CLOSE",
        Text {
            meaning: "A socket was closed with data still in its queue. The data was received and nobody read it.",
            causes: &[
                "The application closes connections before it has read everything.",
                "A process that ended or was killed.",
            ],
            confirm: &[],
            action: &[
                "Usually nothing; tracer folds it as socket-teardown. TCP peers get a reset: if clients complain about those, let the application read to the end.",
            ],
        },
    ),
    (
        "SOCKET_FILTER",
        Text {
            meaning: "The filter that the application put on its socket did not want the packet.",
            causes: &[
                "tcpdump and other capture tools, DHCP clients, agents that listen to everything: each copy that they don't want ends so.",
                "A filter for TCP or UDP sockets that is too strict.",
            ],
            confirm: &[],
            action: &[
                "Usually nothing: it is a copy for that socket. Real loss only if the application misses data: look at its SO_ATTACH_FILTER or SO_ATTACH_BPF.",
            ],
        },
    ),
    (
        "SOCKET_RCVBUFF",
        Text {
            meaning: "The socket's receive buffer is full. The application reads more slowly than packets arrive.",
            causes: &[
                "The application is busy, stopped, or out of CPU time (throttled container).",
                "Bursts of UDP.",
                "A small buffer (net.core.rmem_default, SO_RCVBUF).",
            ],
            confirm: &[check("tracer drops --kernel-reason SOCKET_RCVBUFF", "which pod and port")],
            action: &[
                "ss -nump in the pod's namespace: Recv-Q against rb, and d, the drops.",
                "Give the application more CPU or more readers; raise its buffer and net.core.rmem_max.",
            ],
        },
    ),
    (
        "SOCKET_BACKLOG",
        Text {
            meaning: "The queue of packets that wait while the application works on the socket is full.",
            causes: &[
                "One busy TCP connection that receives faster than its reader runs.",
                "Small receive buffers, large bursts (GRO).",
            ],
            confirm: &[check("tracer drops --kernel-reason SOCKET_BACKLOG", "which pod and port")],
            action: &["nstat -az TcpExtTCPBacklogDrop; raise net.ipv4.tcp_rmem, give the reader more CPU."],
        },
    ),
    (
        "PROTO_MEM",
        Text {
            meaning: "The protocol as a whole, or the control group, has used up its memory for sockets.",
            causes: &[
                "Many sockets with unread data.",
                "net.ipv4.tcp_mem or udp_mem is small for this machine.",
                "The memory limit of the pod counts socket buffers.",
            ],
            confirm: &[],
            action: &[
                "cat /proc/net/sockstat (mem, in pages) against sysctl net.ipv4.tcp_mem and udp_mem; look at memory.stat (sock) of the pod's control group.",
            ],
        },
    ),
    (
        "UNIX_DISCONNECT",
        Text {
            meaning: "A unix socket was disconnected or connected elsewhere while messages of the old peer waited in it.",
            causes: &["A process on this node changed the peer of a datagram socket."],
            confirm: &[],
            action: &["Nothing: it has nothing to do with the network."],
        },
    ),
    (
        "UNIX_SKIP_OOB",
        Text {
            meaning: "A reader of a unix socket stepped over urgent data that it did not ask for.",
            causes: &["Local processes that use out-of-band data."],
            confirm: &[],
            action: &["Nothing: it has nothing to do with the network."],
        },
    ),
    (
        "PACKET_SOCK_ERROR",
        Text {
            meaning: "A capturing socket wanted the packet and could not take it: its buffer is full or there is no memory. Only the copy is lost.",
            causes: &["tcpdump or another capture tool that cannot keep up."],
            confirm: &[],
            action: &["Give the capture tool a larger buffer (tcpdump -B) or a narrower filter."],
        },
    ),
    (
        "QUEUE_PURGE",
        Text {
            meaning: "A whole queue was emptied at once: of a socket, a device or a neighbour that goes away.",
            causes: &["A socket that is closed.", "A device that is removed or reset."],
            confirm: &[],
            action: &["Usually nothing; tracer folds it as socket-teardown."],
        },
    ),
    (
        "BPF_CGROUP_EGRESS",
        Text {
            meaning: "An eBPF program on a control group did not let the packet out.",
            causes: &["IPAddressDeny of a systemd unit.", "A security or accounting agent on the node."],
            confirm: &[],
            action: &["bpftool cgroup tree: programs of the type cgroup_inet_egress; find who loaded them."],
        },
    ),
];
