//! TCP: segments that do not fit to the connection.

use super::super::text::{Check, Text, check};

/// For what is usually no loss.
const NOTHING: &[&str] = &["Nothing, as long as connections make progress: TCP sends again what is missing."];
const CAPTURE: &[Check] = &[check(
    "tracer drops --all --protocol tcp --ip IP -o json",
    "sequence of drops of this connection, with flags",
)];

pub(super) const TEXTS: &[(&str, Text)] = &[
    (
        "TCP_CSUM",
        Text {
            meaning: "The TCP checksum is wrong. The segment is thrown away; the sender will repeat it.",
            causes: &[
                "Broken hardware or cable, or a faulty offload of the network card.",
                "A program or device on the way that rewrote the packet and not the checksum.",
                "Encapsulation with checksum offload that the card does not do.",
            ],
            confirm: &[check(
                "tracer drops --kernel-reason TCP_CSUM",
                "always one sender, one node or one device?",
            )],
            action: &[
                "Try ethtool -K DEVICE tx-checksum-ip-generic off (sender) and tx-udp_tnl-segmentation off; look for nstat TcpInCsumErrors.",
            ],
        },
    ),
    (
        "TCP_FLAGS",
        Text {
            meaning: "The flags of the segment make no sense in this state of the connection, for example neither ACK, SYN nor RST.",
            causes: &["Scanners and crafted packets.", "A middlebox that breaks TCP."],
            confirm: CAPTURE,
            action: &["Find the sender; usually a scan."],
        },
    ),
    (
        "TCP_ABORT_ON_DATA",
        Text {
            meaning: "Data arrived for a connection that this side has closed already. The kernel answers with a reset.",
            causes: &[
                "The application closed the socket while the peer was still sending.",
                "SO_LINGER with time 0.",
            ],
            confirm: CAPTURE,
            action: &[
                "If clients see resets: let the server read everything before it closes, and drain connections before a pod ends.",
            ],
        },
    ),
    (
        "TCP_ZEROWINDOW",
        Text {
            meaning: "A segment with data arrived while this side had announced that it has no room.",
            causes: &[
                "The application does not read, so that the receive window is 0.",
                "The peer probes whether the window is open again: this is normal.",
            ],
            confirm: &[check("tracer drops --kernel-reason TCP_ZEROWINDOW", "which pod does not read")],
            action: &["Look at the receiving application: blocked, throttled, or waiting for somebody else?"],
        },
    ),
    (
        "TCP_OLD_DATA",
        Text {
            meaning: "The data had arrived before. The peer sent it again, because the acknowledgement was late or lost.",
            causes: &["Lost or delayed acknowledgements.", "Retransmission by an impatient peer."],
            confirm: &[],
            action: NOTHING,
        },
    ),
    (
        "TCP_OVERWINDOW",
        Text {
            meaning: "The data lies behind the window that this side has offered.",
            causes: &[
                "A peer that ignores the window, or that missed a shrinking window.",
                "A segment of another, older connection with the same addresses and ports.",
            ],
            confirm: CAPTURE,
            action: NOTHING,
        },
    ),
    (
        "TCP_OFOMERGE",
        Text {
            meaning: "The data had arrived before, out of order, and waits in the queue already.",
            causes: &["Retransmissions while something before is missing: loss or reordering on the way."],
            confirm: &[],
            action: &[
                "Nothing by itself. Very many of them tell of loss on the path: look for real drops of the same connection.",
            ],
        },
    ),
    (
        "TCP_RFC7323_PAWS",
        Text {
            meaning: "The segment's timestamp is older than one seen before on this connection, so it counts as a late duplicate.",
            causes: &[
                "Old duplicates after reordering.",
                "NAT or a load balancer lets several machines with different clocks share one connection's addresses and ports.",
                "A port was used again too soon.",
            ],
            confirm: CAPTURE,
            action: &[
                "Many of them with connections that hang: look for shared source addresses (SNAT) to that service; tracer nat list shows those of this node.",
            ],
        },
    ),
    (
        "TCP_RFC7323_PAWS_ACK",
        Text {
            meaning: "A pure acknowledgement with an old timestamp. It is a late duplicate without data.",
            causes: &["Reordering on the way, or several CPUs on the sender."],
            confirm: &[],
            action: NOTHING,
        },
    ),
    (
        "TCP_RFC7323_TW_PAWS",
        Text {
            meaning: "A segment with an old timestamp came for a connection in TIME_WAIT.",
            causes: &[
                "Late duplicates of a closed connection.",
                "Clients behind one NAT address use the same port again, with different clocks.",
            ],
            confirm: CAPTURE,
            action: &[
                "New connections that fail at first: look for SNAT in front of the server, and give it more source addresses.",
            ],
        },
    ),
    (
        "TCP_RFC7323_TSECR",
        Text {
            meaning: "The timestamp that the peer echoes is one that this side has never sent.",
            causes: &["A crafted or corrupted segment.", "A middlebox that rewrites timestamps."],
            confirm: CAPTURE,
            action: &["Find the middlebox, if it concerns real connections."],
        },
    ),
    (
        "TCP_LISTEN_OVERFLOW",
        Text {
            meaning: "The queue of finished connections that wait for accept() is full.",
            causes: &[
                "The application accepts too slowly: blocked, throttled, too few threads.",
                "A small backlog in listen(), or net.core.somaxconn.",
            ],
            confirm: &[check("tracer drops --kernel-reason TCP_LISTEN_OVERFLOW", "which pod and port")],
            action: &[
                "ss -lnt in the pod's namespace: Recv-Q against Send-Q. Give the application CPU; raise its backlog and somaxconn.",
            ],
        },
    ),
    (
        "TCP_OLD_SEQUENCE",
        Text {
            meaning: "The segment lies wholly before the window. It is a late duplicate.",
            causes: &["Retransmissions and reordering.", "Keep-alive probes."],
            confirm: &[],
            action: NOTHING,
        },
    ),
    (
        "TCP_INVALID_SEQUENCE",
        Text {
            meaning: "The sequence numbers do not lie in the window. Newer kernels say more exactly which end is wrong.",
            causes: &[
                "A segment of an earlier connection with the same addresses and ports.",
                "A peer or NAT that forgot the connection and began another one.",
                "Crafted segments.",
            ],
            confirm: CAPTURE,
            action: &["Single ones: nothing. Connections that hang: compare both ends' state (ss -nti)."],
        },
    ),
    (
        "TCP_INVALID_END_SEQUENCE",
        Text {
            meaning: "The segment ends behind the window that this side has offered.",
            causes: &["A peer that sends more than the window.", "A segment of an earlier connection."],
            confirm: CAPTURE,
            action: NOTHING,
        },
    ),
    (
        "TCP_INVALID_ACK_SEQUENCE",
        Text {
            meaning: "In the middle of the handshake the peer acknowledged something that was never sent.",
            causes: &[
                "A reply to an earlier attempt with the same ports.",
                "A load balancer that sent one client's packets to two backends.",
            ],
            confirm: &[
                check("tracer ct list --ip IP --kind service", "which backend the connection is tied to"),
                check("tracer drops --kernel-reason TCP_INVALID_ACK_SEQUENCE", "which connections"),
            ],
            action: &[
                "If it concerns a service: look for a backend that changed in the middle of connections.",
            ],
        },
    ),
    (
        "TCP_RESET",
        Text {
            meaning: "A reset arrived and ended the connection, or a reset was not believed. The packet itself is done with.",
            causes: &[
                "The peer closed its socket with unread data, crashed, or does not know the connection.",
                "A firewall or load balancer that ends idle connections.",
            ],
            confirm: &[check("tracer drops --kernel-reason TCP_RESET", "who sends the resets")],
            action: &["Look at the application on the side that sent the reset."],
        },
    ),
    (
        "TCP_INVALID_SYN",
        Text {
            meaning: "A SYN arrived in the middle of a connection. The kernel answers with an acknowledgement, so that an honest peer can start again.",
            causes: &[
                "The peer restarted and uses the same port again.",
                "SNAT gave the port of a living connection to a new one.",
                "Crafted segments.",
            ],
            confirm: &[check("tracer nat list --ip IP", "mappings that share the port")],
            action: &[
                "New connections that take long: look for source ports that are used again too soon, in SNAT or in the client.",
            ],
        },
    ),
    (
        "TCP_CLOSE",
        Text {
            meaning: "The segment came for a socket that is closed.",
            causes: &["The application closed, and the last segments of the peer are still on their way."],
            confirm: &[],
            action: &["Usually nothing."],
        },
    ),
    (
        "TCP_FASTOPEN",
        Text {
            meaning: "A segment for a connection by TCP Fast Open that is not accepted yet was not acceptable.",
            causes: &["Retransmitted or wrong segments during the handshake with Fast Open."],
            confirm: &[],
            action: &["Usually nothing; net.ipv4.tcp_fastopen switches it off."],
        },
    ),
    (
        "TCP_OLD_ACK",
        Text {
            meaning: "The acknowledgement is older than what was acknowledged already, and within reason. It is a late duplicate.",
            causes: &["Reordering on the way."],
            confirm: &[],
            action: NOTHING,
        },
    ),
    (
        "TCP_TOO_OLD_ACK",
        Text {
            meaning: "The acknowledgement is so old that it may come from an attack or from another connection.",
            causes: &[
                "Segments of an earlier connection with the same addresses and ports.",
                "Crafted segments.",
            ],
            confirm: CAPTURE,
            action: NOTHING,
        },
    ),
    (
        "TCP_ACK_UNSENT_DATA",
        Text {
            meaning: "The peer acknowledged data that this side has not sent.",
            causes: &[
                "A peer that mixed up connections, after a restart or behind NAT.",
                "Crafted segments.",
            ],
            confirm: CAPTURE,
            action: &[
                "Single ones: nothing. Many: compare both ends, and look at what translates addresses between them.",
            ],
        },
    ),
    (
        "TCP_OFO_QUEUE_PRUNE",
        Text {
            meaning: "Data that had arrived out of order was thrown away again, to make room.",
            causes: &[
                "A full receive buffer together with loss on the way.",
                "Memory pressure of TCP as a whole.",
            ],
            confirm: &[check("tracer drops --kernel-reason TCP_OFO_QUEUE_PRUNE", "which pod and port")],
            action: &[
                "nstat -az TcpExtOfoPruned TcpExtRcvPruned; larger net.ipv4.tcp_rmem, faster reader, less loss.",
            ],
        },
    ),
    (
        "TCP_OFO_DROP",
        Text {
            meaning: "A segment out of order could not be queued, for lack of room.",
            causes: &["A full receive buffer.", "Memory pressure."],
            confirm: &[check("tracer drops --kernel-reason TCP_OFO_DROP", "which pod and port")],
            action: &["nstat -az TcpExtTCPOFODrop; larger net.ipv4.tcp_rmem, faster reader."],
        },
    ),
    (
        "TCP_MINTTL",
        Text {
            meaning: "The packet's time to live is below the least that the application demands.",
            causes: &[
                "BGP with TTL security, and a peer that is further away than allowed.",
                "Packets from somewhere else, which this protection is for.",
            ],
            confirm: &[check("tracer drops --kernel-reason TCP_MINTTL -o json", "tracer.packet.ttl")],
            action: &["Correct the hop count of the BGP peer's TTL security."],
        },
    ),
];
