//! Numbers of Cilium's datapath for why a packet was dropped, or what it was counted as, with their names:
//! the constant in `bpf/lib/common.h`, hubble's `DropReason`, and the words of `cilium-dbg monitor`.
//! A number that no known release uses has no name here, and is shown as a number.

use crate::model::reason::DropReason;

/// The first code that is a drop; smaller ones count other things in `cilium_metrics`.
pub const FIRST_DROP: u8 = 130;

/// Names of one drop reason; "" inside stands for "has none".
type DropRow = (u8, &'static str, &'static str, &'static str);

/// Codes without a gap, from [`FIRST_DROP`]: code, constant without `DROP_`, hubble's name, monitor's words.
/// Some of hubble's names are older than what the code means today (136, 161).
#[rustfmt::skip]
const DROPS: [DropRow; 78] = [
    (130, "", "INVALID_SOURCE_MAC", "Invalid source mac"),
    (131, "", "INVALID_DESTINATION_MAC", "Invalid destination mac"),
    (132, "INVALID_SIP", "INVALID_SOURCE_IP", "Invalid source ip"),
    (133, "POLICY", "POLICY_DENIED", "Policy denied"),
    (134, "INVALID", "INVALID_PACKET_DROPPED", "Invalid packet"),
    (135, "CT_INVALID_HDR", "CT_TRUNCATED_OR_INVALID_HEADER", "CT: Truncated or invalid header"),
    (136, "FRAG_NEEDED", "CT_MISSING_TCP_ACK_FLAG", "Fragmentation needed"),
    (137, "CT_UNKNOWN_PROTO", "CT_UNKNOWN_L4_PROTOCOL", "CT: Unknown L4 protocol"),
    (138, "", "CT_CANNOT_CREATE_ENTRY_FROM_PACKET", "CT: Can't create entry from packet"),
    (139, "UNKNOWN_L3", "UNSUPPORTED_L3_PROTOCOL", "Unsupported L3 protocol"),
    (140, "MISSED_TAIL_CALL", "MISSED_TAIL_CALL", "Missed tail call"),
    (141, "WRITE_ERROR", "ERROR_WRITING_TO_PACKET", "Error writing to packet"),
    (142, "UNKNOWN_L4", "UNKNOWN_L4_PROTOCOL", "Unknown L4 protocol"),
    (143, "UNKNOWN_ICMP_CODE", "UNKNOWN_ICMPV4_CODE", "Unknown ICMPv4 code"),
    (144, "UNKNOWN_ICMP_TYPE", "UNKNOWN_ICMPV4_TYPE", "Unknown ICMPv4 type"),
    (145, "UNKNOWN_ICMP6_CODE", "UNKNOWN_ICMPV6_CODE", "Unknown ICMPv6 code"),
    (146, "UNKNOWN_ICMP6_TYPE", "UNKNOWN_ICMPV6_TYPE", "Unknown ICMPv6 type"),
    (147, "NO_TUNNEL_KEY", "ERROR_RETRIEVING_TUNNEL_KEY", "Error retrieving tunnel key"),
    (148, "", "ERROR_RETRIEVING_TUNNEL_OPTIONS", "Error retrieving tunnel options"),
    (149, "", "INVALID_GENEVE_OPTION", "Invalid Geneve option"),
    (150, "UNKNOWN_TARGET", "UNKNOWN_L3_TARGET_ADDRESS", "Unknown L3 target address"),
    (151, "UNROUTABLE", "STALE_OR_UNROUTABLE_IP", "Stale or unroutable IP"),
    (152, "", "NO_MATCHING_LOCAL_CONTAINER_FOUND", "No matching local container found"),
    (153, "CSUM_L3", "ERROR_WHILE_CORRECTING_L3_CHECKSUM", "Error while correcting L3 checksum"),
    (154, "CSUM_L4", "ERROR_WHILE_CORRECTING_L4_CHECKSUM", "Error while correcting L4 checksum"),
    (155, "CT_CREATE_FAILED", "CT_MAP_INSERTION_FAILED", "CT: Map insertion failed"),
    (156, "INVALID_EXTHDR", "INVALID_IPV6_EXTENSION_HEADER", "Invalid IPv6 extension header"),
    (157, "FRAG_NOSUPPORT", "IP_FRAGMENTATION_NOT_SUPPORTED", "IP fragmentation not supported"),
    (158, "NO_SERVICE", "SERVICE_BACKEND_NOT_FOUND", "Service backend not found"),
    (159, "UNSUPP_SERVICE_PROTO", "", ""),
    (160, "NO_TUNNEL_ENDPOINT", "NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT", "No tunnel/encapsulation endpoint (datapath BUG!)"),
    (161, "NAT_46X64_DISABLED", "FAILED_TO_INSERT_INTO_PROXYMAP", "NAT 46/64 not enabled"),
    (162, "EDT_HORIZON", "REACHED_EDT_RATE_LIMITING_DROP_HORIZON", "Reached EDT rate-limiting drop horizon"),
    (163, "UNKNOWN_CT", "UNKNOWN_CONNECTION_TRACKING_STATE", "Unknown connection tracking state"),
    (164, "HOST_UNREACHABLE", "LOCAL_HOST_IS_UNREACHABLE", "Local host is unreachable"),
    (165, "NO_CONFIG", "NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION", "No configuration available to perform policy decision"),
    (166, "UNSUPPORTED_L2", "UNSUPPORTED_L2_PROTOCOL", "Unsupported L2 protocol"),
    (167, "NAT_NO_MAPPING", "NO_MAPPING_FOR_NAT_MASQUERADE", "No mapping for NAT masquerade"),
    (168, "NAT_UNSUPP_PROTO", "UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE", "Unsupported protocol for NAT masquerade"),
    (169, "NO_FIB", "FIB_LOOKUP_FAILED", "FIB lookup failed"),
    (170, "ENCAP_PROHIBITED", "ENCAPSULATION_TRAFFIC_IS_PROHIBITED", "Encapsulation traffic is prohibited"),
    (171, "INVALID_IDENTITY", "INVALID_IDENTITY", "Invalid identity"),
    (172, "UNKNOWN_SENDER", "UNKNOWN_SENDER", "Unknown sender"),
    (173, "NAT_NOT_NEEDED", "NAT_NOT_NEEDED", "NAT not needed"),
    (174, "IS_CLUSTER_IP", "IS_A_CLUSTERIP", "Is a ClusterIP"),
    (175, "FRAG_NOT_FOUND", "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND", "First logical datagram fragment not found"),
    (176, "FORBIDDEN_ICMP6", "FORBIDDEN_ICMPV6_MESSAGE", "Forbidden ICMPv6 message"),
    (177, "NOT_IN_SRC_RANGE", "DENIED_BY_LB_SRC_RANGE_CHECK", "Denied by LB src range check"),
    (178, "PROXY_LOOKUP_FAILED", "SOCKET_LOOKUP_FAILED", "Socket lookup failed"),
    (179, "PROXY_SET_FAILED", "SOCKET_ASSIGN_FAILED", "Socket assign failed"),
    (180, "PROXY_UNKNOWN_PROTO", "PROXY_REDIRECTION_NOT_SUPPORTED_FOR_PROTOCOL", "Proxy redirection not supported for protocol"),
    (181, "POLICY_DENY", "POLICY_DENY", "Policy denied by denylist"),
    (182, "VLAN_FILTERED", "VLAN_FILTERED", "VLAN traffic disallowed by VLAN filter"),
    (183, "INVALID_VNI", "INVALID_VNI", "Incorrect VNI from VTEP"),
    (184, "INVALID_TC_BUFFER", "INVALID_TC_BUFFER", "Failed to update or lookup TC buffer"),
    (185, "NO_SID", "NO_SID", "No SID was found for the IP address"),
    (186, "MISSING_SRV6_STATE", "MISSING_SRV6_STATE", "SRv6 state was removed during tail call"),
    (187, "NAT46", "NAT46", "L3 translation from IPv4 to IPv6 failed (NAT46)"),
    (188, "NAT64", "NAT64", "L3 translation from IPv6 to IPv4 failed (NAT64)"),
    (189, "POLICY_AUTH_REQUIRED", "AUTH_REQUIRED", "Authentication required"),
    (190, "CT_NO_MAP_FOUND", "CT_NO_MAP_FOUND", "No conntrack map found"),
    (191, "SNAT_NO_MAP_FOUND", "SNAT_NO_MAP_FOUND", "No nat map found"),
    (192, "INVALID_CLUSTER_ID", "INVALID_CLUSTER_ID", "Invalid ClusterID"),
    (193, "DSR_ENCAP_UNSUPP_PROTO", "UNSUPPORTED_PROTOCOL_FOR_DSR_ENCAP", "Unsupported packet protocol for DSR encapsulation"),
    (194, "NO_EGRESS_GATEWAY", "NO_EGRESS_GATEWAY", "No egress gateway found"),
    (195, "UNENCRYPTED_TRAFFIC", "UNENCRYPTED_TRAFFIC", "Traffic is unencrypted"),
    (196, "TTL_EXCEEDED", "TTL_EXCEEDED", "TTL exceeded"),
    (197, "NO_NODE_ID", "NO_NODE_ID", "No node ID found"),
    (198, "RATE_LIMITED", "DROP_RATE_LIMITED", "Rate limited"),
    (199, "IGMP_HANDLED", "IGMP_HANDLED", "IGMP handled"),
    (200, "IGMP_SUBSCRIBED", "IGMP_SUBSCRIBED", "IGMP subscribed"),
    (201, "MULTICAST_HANDLED", "MULTICAST_HANDLED", "Multicast handled"),
    (202, "HOST_NOT_READY", "DROP_HOST_NOT_READY", "Host datapath not ready"),
    (203, "EP_NOT_READY", "DROP_EP_NOT_READY", "Endpoint policy program not available"),
    (204, "NO_EGRESS_IP", "DROP_NO_EGRESS_IP", "No Egress IP configured"),
    (205, "PUNT_PROXY", "DROP_PUNT_PROXY", "Punt to proxy"),
    (206, "NO_DEVICE", "", ""),
    (207, "FRAG_NOT_FOUND_WORLD", "DROP_FRAG_NOT_FOUND_WORLD", ""),
];

/// Metrics reasons below [`FIRST_DROP`] and monitor's words for them.
const COUNTED: [(u8, &str); 15] = [
    (0, "Success"),
    (2, "Invalid packet"),
    (3, "Interface"),
    (4, "Interface Decrypted"),
    (5, "LB, sock cgroup: No backend slot entry found"),
    (6, "LB, sock cgroup: No backend entry found"),
    (7, "LB, sock cgroup: Reverse entry update failed"),
    (8, "LB, sock cgroup: Reverse entry stale"),
    (9, "Fragmented packet"),
    (10, "Fragmented packet entry update failed"),
    (11, "Missed tail call to custom program"),
    (12, "Interface Decrypting"),
    (13, "Interface Encrypting"),
    (14, "LB: sock cgroup: Reverse entry delete succeeded"),
    (15, "MTU error message"),
];

fn row(reason: DropReason) -> Option<&'static DropRow> {
    DROPS.get(usize::from(reason.0.checked_sub(FIRST_DROP)?))
}

fn given(text: &'static str) -> Option<&'static str> {
    (!text.is_empty()).then_some(text)
}

/// Cilium's constant without its prefix `DROP_`; `None` for unknown and unused codes.
pub fn constant(reason: DropReason) -> Option<&'static str> {
    row(reason).and_then(|row| given(row.1))
}

/// Name in hubble's `DropReason` enumeration.
pub fn hubble(reason: DropReason) -> Option<&'static str> {
    row(reason).and_then(|row| given(row.2))
}

/// The words of `cilium-dbg monitor`.
pub fn text(reason: DropReason) -> Option<&'static str> {
    row(reason).and_then(|row| given(row.3))
}

/// The reason that hubble calls `name` (case ignored), or whose constant is `name`.
pub fn by_name(name: &str) -> Option<DropReason> {
    let is_it = |row: &&DropRow| row.2.eq_ignore_ascii_case(name) || row.1.eq_ignore_ascii_case(name);
    DROPS.iter().filter(|_| !name.is_empty()).find(is_it).map(|row| DropReason(row.0))
}

/// Every drop reason that has a name for hubble.
pub fn all() -> impl Iterator<Item = (DropReason, &'static str)> {
    DROPS.iter().filter(|row| !row.2.is_empty()).map(|row| (DropReason(row.0), row.2))
}

/// The packet was used up on purpose (handed to a proxy, multicast handled, nothing to translate): a
/// message with this code reports no loss.
pub const fn is_consumed(reason: DropReason) -> bool {
    matches!(reason.0, 173 | 199..=201 | 205)
}

/// Words for a `cilium_metrics` reason, drops included.
pub fn metrics_text(code: u8) -> Option<&'static str> {
    match COUNTED.iter().find(|row| row.0 == code) {
        Some((_, text)) => Some(text),
        None => text(DropReason(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_each_other_from_130_to_207() {
        let codes: Vec<u8> = DROPS.iter().map(|row| row.0).collect();
        assert_eq!(codes, (130..=207).collect::<Vec<u8>>());
    }

    /// Section 5.1 of the ABI notes: 78 rows; 6 constants unused, 159 and 206 unknown to hubble, and 207
    /// without words as well.
    #[test]
    fn names_are_as_many_as_the_published_table_has() {
        let count = |name: fn(DropReason) -> Option<&'static str>| {
            (0..=255).filter(|code| name(DropReason(*code)).is_some()).count()
        };
        assert_eq!(count(constant), 78 - 6);
        assert_eq!(count(hubble), 78 - 2);
        assert_eq!(count(text), 78 - 3);
    }

    #[test]
    fn names_of_well_known_reasons() {
        for (code, c, hubble_name, words) in [
            (133, "POLICY", "POLICY_DENIED", "Policy denied"),
            (136, "FRAG_NEEDED", "CT_MISSING_TCP_ACK_FLAG", "Fragmentation needed"),
            (169, "NO_FIB", "FIB_LOOKUP_FAILED", "FIB lookup failed"),
            (181, "POLICY_DENY", "POLICY_DENY", "Policy denied by denylist"),
            (203, "EP_NOT_READY", "DROP_EP_NOT_READY", "Endpoint policy program not available"),
        ] {
            let reason = DropReason(code);
            let found = (constant(reason), hubble(reason), text(reason));
            assert_eq!(found, (Some(c), Some(hubble_name), Some(words)));
            assert_eq!(by_name(hubble_name), Some(reason));
        }
    }

    #[test]
    fn unknown_codes_have_no_name() {
        for code in [0, 1, 2, 129, 208, 255] {
            assert_eq!(hubble(DropReason(code)), None);
        }
        assert_eq!(by_name(""), None);
        assert_eq!(metrics_text(1), None);
        assert_eq!(metrics_text(16), None);
    }

    #[test]
    fn historic_names_differ_from_constants() {
        assert_eq!(by_name("failed_to_insert_into_proxymap"), Some(DropReason(161)));
        assert_eq!(by_name("NAT_46X64_DISABLED"), Some(DropReason(161)));
    }

    /// Section 5.2 of the ABI notes: 0 and 2 to 15.
    #[test]
    fn metrics_reasons_below_130_are_fifteen() {
        assert_eq!((0..FIRST_DROP).filter(|code| metrics_text(*code).is_some()).count(), 15);
        assert_eq!(metrics_text(0), Some("Success"));
        assert_eq!(metrics_text(133), Some("Policy denied"));
    }
}
