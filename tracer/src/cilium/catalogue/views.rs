//! What the entries of small maps say. Each function knows one layout, refuses other sizes and impossible
//! bits, and names what it found.

use std::net::IpAddr;

use tracer_common::cilium::auth::{AuthKey, AuthValue};
use tracer_common::cilium::egress::{
    EXCLUDED, EgressKey4, EgressKey6, EgressValue4, EgressValue4V2, EgressValue6, NO_GATEWAY,
};
use tracer_common::cilium::fragments::{FragmentKey4, FragmentKey6, FragmentPorts};
use tracer_common::cilium::ipcache::IpcacheKey;
use tracer_common::cilium::rate::{RatelimitKey, RatelimitValue, ThrottleKey, ThrottleValue};
use tracer_common::cilium::reach::{
    DeviceValue, PrefixKey4, PrefixKey6, ResponderKey4, ResponderKey6, SidKey4, SidKey6, VrfKey4, VrfKey6,
    VtepValue,
};
use zerocopy::FromBytes;

use super::{Field, Fields};
use crate::cilium::policy::AuthType;

/// Prefix bits in front of the destination where an exact IPv4 word stands there, or an exact IPv6 address.
const STATIC4: u32 = 32;
const STATIC6: u32 = 128;

fn read<T: FromBytes>(bytes: &[u8]) -> Option<T> {
    T::read_from_bytes(bytes).ok()
}

fn number(value: impl Into<u64>) -> Field {
    Field::Number(value.into())
}

fn address(bytes: impl Into<IpAddr>) -> Field {
    Field::Address(bytes.into())
}

fn prefix(ip: impl Into<IpAddr>, bits: u32) -> Option<Field> {
    let ip = ip.into();
    let most = if ip.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some(Field::Prefix(ip, bits as u8))
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn u64_of(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.try_into().ok()?))
}

pub fn prefix4(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let key: PrefixKey4 = read(key)?;
    out.key.push(("prefix", prefix(key.ip, key.prefixlen)?));
    (value.len() == 1).then_some(())
}

pub fn prefix6(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let key: PrefixKey6 = read(key)?;
    out.key.push(("prefix", prefix(key.ip, key.prefixlen)?));
    (value.len() == 1).then_some(())
}

/// Clients of NodePorts; six bytes of MAC address and two of padding.
pub fn neighbour(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let ip = match key.len() {
        4 => address(<[u8; 4]>::try_from(key).ok()?),
        _ => address(<[u8; 16]>::try_from(key).ok()?),
    };
    out.key.push(("ip", ip));
    out.value.push(("mac", Field::Mac(value.get(..6)?.try_into().ok()?)));
    Some(())
}

pub fn fragment4(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let key: FragmentKey4 = read(key)?;
    out.key.extend([
        ("source_ip", address(key.source)),
        ("destination_ip", address(key.destination)),
        ("id", number(key.id.get())),
        ("protocol", number(key.protocol)),
    ]);
    fragment_ports(value, out)
}

pub fn fragment6(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let key: FragmentKey6 = read(key)?;
    out.key.extend([
        ("source_ip", address(key.source)),
        ("destination_ip", address(key.destination)),
        ("id", number(key.id.get())),
        ("protocol", number(key.protocol)),
    ]);
    fragment_ports(value, out)
}

fn fragment_ports(value: &[u8], out: &mut Fields) -> Option<()> {
    let value: FragmentPorts = read(value)?;
    out.value.extend([
        ("source_port", number(value.source.get())),
        ("destination_port", number(value.destination.get())),
    ]);
    Some(())
}

/// Connections of a service by the zone of their backend; the id of the service is in network order.
pub fn active_connections(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let [high, low, zone, _]: [u8; 4] = key.try_into().ok()?;
    let (opened, closed) = value.split_at_checked(4)?;
    out.key.extend([("service_id", number(u16::from_be_bytes([high, low]))), ("zone", number(zone))]);
    out.value.extend([("opened", number(u32_of(opened)?)), ("closed", number(u32_of(closed)?))]);
    Some(())
}

/// A backend that session affinity of a service may lead to; the id of the service is in network order.
pub fn affinity_match(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let (backend, rest) = key.split_at_checked(4)?;
    let [high, low, 0, 0]: [u8; 4] = rest.try_into().ok()? else { return None };
    out.key.push(("backend_id", number(u32_of(backend)?)));
    out.key.push(("service_id", number(u16::from_be_bytes([high, low]))));
    (value.len() == 1).then_some(())
}

/// A slot of a program array, as user space reads it.
pub fn program(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    out.key.push(("slot", number(u32_of(key)?)));
    out.value.push(("program_id", number(u32_of(value)?)));
    Some(())
}

pub fn auth(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let (key, value): (AuthKey, AuthValue) = (read(key)?, read(value)?);
    let kind = AuthType(key.auth_type).name().map_or_else(|| number(key.auth_type), Field::Word);
    out.key.extend([
        ("local_identity", number(key.local_identity)),
        ("remote_identity", number(key.remote_identity)),
        ("remote_node_id", number(key.remote_node_id)),
        ("auth_type", kind),
    ]);
    out.value.push(("expires_unix_seconds", number(value.expires_at_seconds())));
    Some(())
}

pub fn subnet(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let (ip, bits) = read::<IpcacheKey>(key)?.cidr()?;
    out.key.push(("prefix", Field::Prefix(ip, bits)));
    out.value.push(("subnet_id", number(u32_of(value)?)));
    Some(())
}

pub fn device(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let value: DeviceValue = read(value)?;
    out.key.push(("ifindex", number(u32_of(key)?)));
    let layer = if value.flags & 1 == 0 { "ethernet" } else { "none" };
    out.value.extend([("mac", Field::Mac(value.mac.mac)), ("link_layer", Field::Word(layer))]);
    Some(())
}

pub fn encrypt_state(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    out.key.push(("index", number(u32_of(key)?)));
    out.value.push(("encrypt_key", number(*value.first()?)));
    Some(())
}

pub fn vtep(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let value: VtepValue = read(value)?;
    out.key.push(("network", address(<[u8; 4]>::try_from(key).ok()?)));
    out.value
        .extend([("mac", Field::Mac(value.mac.mac)), ("tunnel_endpoint", address(value.tunnel_endpoint))]);
    Some(())
}

pub fn egress4(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let value: EgressValue4 = read(value)?;
    egress4_key(key, out)?;
    out.value.extend([("egress_ip", address(value.egress_ip)), ("gateway", gateway(value.gateway_ip))]);
    Some(())
}

pub fn egress4_v2(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let value: EgressValue4V2 = read(value)?;
    egress4_key(key, out)?;
    out.value.extend([
        ("egress_ip", address(value.egress_ip)),
        ("gateway", gateway(value.gateway_ip)),
        ("egress_ifindex", number(value.egress_ifindex)),
    ]);
    Some(())
}

fn egress4_key(key: &[u8], out: &mut Fields) -> Option<()> {
    let key: EgressKey4 = read(key)?;
    let destination = prefix(key.destination, key.prefixlen.checked_sub(STATIC4)?)?;
    out.key.extend([("source_ip", address(key.source)), ("destination", destination)]);
    Some(())
}

pub fn egress6(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let (key, value): (EgressKey6, EgressValue6) = (read(key)?, read(value)?);
    let destination = prefix(key.destination, key.prefixlen.checked_sub(STATIC6)?)?;
    out.key.extend([("source_ip", address(key.source)), ("destination", destination)]);
    out.value.extend([
        ("egress_ip", address(value.egress_ip)),
        ("gateway", gateway(value.gateway_ip)),
        ("egress_ifindex", number(value.egress_ifindex)),
    ]);
    Some(())
}

fn gateway(ip: [u8; 4]) -> Field {
    match ip {
        NO_GATEWAY => Field::Word("not_found"),
        EXCLUDED => Field::Word("excluded"),
        _ => address(ip),
    }
}

pub fn vrf4(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let key: VrfKey4 = read(key)?;
    let destination = prefix(key.destination, key.prefixlen.checked_sub(STATIC4)?)?;
    out.key.extend([("source_ip", address(key.source)), ("destination", destination)]);
    out.value.push(("vrf_id", number(u32_of(value)?)));
    Some(())
}

pub fn vrf6(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let key: VrfKey6 = read(key)?;
    let destination = prefix(key.destination, key.prefixlen.checked_sub(STATIC6)?)?;
    out.key.extend([("source_ip", address(key.source)), ("destination", destination)]);
    out.value.push(("vrf_id", number(u32_of(value)?)));
    Some(())
}

pub fn srv6_policy4(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let key: SidKey4 = read(key)?;
    let destination = prefix(key.destination, key.prefixlen.checked_sub(STATIC4)?)?;
    out.key.extend([("vrf_id", number(key.vrf)), ("destination", destination)]);
    out.value.push(("sid", address(<[u8; 16]>::try_from(value).ok()?)));
    Some(())
}

pub fn srv6_policy6(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let key: SidKey6 = read(key)?;
    let destination = prefix(key.destination, key.prefixlen.checked_sub(STATIC4)?)?;
    out.key.extend([("vrf_id", number(key.vrf)), ("destination", destination)]);
    out.value.push(("sid", address(<[u8; 16]>::try_from(value).ok()?)));
    Some(())
}

pub fn sid(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    out.key.push(("sid", address(<[u8; 16]>::try_from(key).ok()?)));
    out.value.push(("vrf_id", number(u32_of(value)?)));
    Some(())
}

pub fn responder4(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let key: ResponderKey4 = read(key)?;
    out.key.extend([("ip", address(key.ip)), ("ifindex", number(key.ifindex))]);
    out.value.push(("responses_sent", number(u64_of(value)?)));
    Some(())
}

pub fn responder6(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let key: ResponderKey6 = read(key)?;
    out.key.extend([("ip", address(key.ip)), ("ifindex", number(key.ifindex))]);
    out.value.push(("responses_sent", number(u64_of(value)?)));
    Some(())
}

pub fn multicast_group(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    out.key.push(("group", address(<[u8; 4]>::try_from(key).ok()?)));
    out.value.push(("map_id", number(u32_of(value)?)));
    Some(())
}

/// Slots beyond the two that mean something are zero.
pub fn runtime_config(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let (index, value) = (u32_of(key)?, u64_of(value)?);
    out.key.push(("index", number(index)));
    let name = match index {
        0 => "utime_offset_512ns",
        1 => "agent_alive_at_ns_since_boot",
        _ => "value",
    };
    out.value.push((name, number(value)));
    Some(())
}

pub fn throttle(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let (key, value): (ThrottleKey, ThrottleValue) = (read(key)?, read(value)?);
    let direction = match key.direction {
        0 => "egress",
        1 => "ingress",
        _ => return None,
    };
    out.key.extend([("endpoint_id", number(key.id)), ("direction", Field::Word(direction))]);
    let last = if key.direction == 0 { "horizon_ns" } else { "tokens" };
    out.value.extend([
        ("bytes_per_second", number(value.bytes_per_second)),
        ("last_ns_since_boot", number(value.t_last)),
        (last, number(value.horizon_or_tokens)),
        ("priority", number(value.priority)),
    ]);
    Some(())
}

pub fn ratelimit(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    let value: RatelimitValue = read(value)?;
    match key.len() {
        4 => out.key.push(("ifindex", number(u32_of(key)?))),
        _ => {
            let key: RatelimitKey = read(key)?;
            out.key.extend([("usage", usage(key.usage)), ("ifindex", number(key.ifindex))]);
        }
    }
    out.value
        .extend([("last_topup_ns_since_boot", number(value.last_topup)), ("tokens", number(value.tokens))]);
    Some(())
}

pub fn ratelimit_metrics(key: &[u8], value: &[u8], out: &mut Fields) -> Option<()> {
    out.key.push(("usage", usage(u32_of(key)?)));
    out.value.push(("dropped", number(u64_of(value)?)));
    Some(())
}

fn usage(code: u32) -> Field {
    match code {
        1 => Field::Word("icmpv6"),
        2 => Field::Word("events"),
        _ => number(code),
    }
}

#[cfg(test)]
mod tests {
    use super::super::View;
    use super::*;
    use crate::cilium::hex::bytes;

    fn text(view: View, key: &str, value: &str) -> Option<String> {
        let mut fields = Fields::default();
        view(&bytes(key), &bytes(value), &mut fields)?;
        let words = fields.key.iter().chain(&fields.value).map(|(name, field)| match field {
            Field::Number(number) => format!("{name}={number}"),
            Field::Word(word) => format!("{name}={word}"),
            Field::Address(ip) => format!("{name}={ip}"),
            Field::Prefix(ip, bits) => format!("{name}={ip}/{bits}"),
            Field::Mac(mac) => format!("{name}={mac:02x?}"),
        });
        Some(words.collect::<Vec<_>>().join(" "))
    }

    /// Entries of a running node (Cilium 1.17); the addresses, networks and ports are those of its set-up.
    #[test]
    fn entries_of_a_real_node_say_what_was_set_up_there() {
        for (view, key, value, expected) in [
            (
                vtep as View,
                "0a090900",
                "02000000 09090000 ac1e0009 00000000",
                "network=10.9.9.0 mac=[02, 00, 00, 00, 09, 09] tunnel_endpoint=172.30.0.9",
            ),
            (prefix4, "10000000 a9fe0000", "00", "prefix=169.254.0.0/16"),
            (prefix6, "0a000000 fe800000 00000000 00000000 00000000", "00", "prefix=fe80::/10"),
            (
                fragment4,
                "0a0f000b 0a0f000c 28da 11 00",
                "14e9abeb",
                "source_ip=10.15.0.12 destination_ip=10.15.0.11 id=10458 protocol=17 source_port=5353 destination_port=44011",
            ),
            (neighbour, "cb007107", "02000000 01020000", "ip=203.0.113.7 mac=[02, 00, 00, 00, 01, 02]"),
            (
                ratelimit,
                "01000000 09000000",
                "6b4faeb6 72000000 63000000 00000000",
                "usage=icmpv6 ifindex=9 last_topup_ns_since_boot=492691148651 tokens=99",
            ),
            (ratelimit_metrics, "01000000", "00000000 00000000", "usage=icmpv6 dropped=0"),
            (
                runtime_config,
                "01000000",
                "f7f727f8 7d000000",
                "index=1 agent_alive_at_ns_since_boot=541034280951",
            ),
            (program, "04010000", "09030000", "slot=260 program_id=777"),
        ] {
            assert_eq!(text(view, key, value).as_deref(), Some(expected));
        }
    }

    /// Laid out by hand after section 2 of the ABI notes.
    #[test]
    fn entries_of_features_that_are_rare() {
        for (view, key, value, expected) in [
            (
                egress4 as View,
                "38000000 0a000105 c6336400",
                "c000020a ac1e0003",
                "source_ip=10.0.1.5 destination=198.51.100.0/24 egress_ip=192.0.2.10 gateway=172.30.0.3",
            ),
            (
                egress4,
                "40000000 0a000105 c6336401",
                "00000000 00000001",
                "source_ip=10.0.1.5 destination=198.51.100.1/32 egress_ip=0.0.0.0 gateway=excluded",
            ),
            (
                auth,
                "51c30000 52c30000 7411 01 00",
                // 1,700,000,000 s in units of 512 ns.
                "00151b7f cecb0b00",
                "local_identity=50001 remote_identity=50002 remote_node_id=4468 auth_type=spire expires_unix_seconds=1700000000",
            ),
            (
                throttle,
                "d2040000 00000000",
                "40420f00 00000000 05000000 00000000 07000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000",
                "endpoint_id=1234 direction=egress bytes_per_second=1000000 last_ns_since_boot=5 horizon_ns=7 priority=0",
            ),
            (active_connections, "0007 02 00", "0a000000 03000000", "service_id=7 zone=2 opened=10 closed=3"),
            (
                vrf4,
                "38000000 0a000105 c6336400",
                "07000000",
                "source_ip=10.0.1.5 destination=198.51.100.0/24 vrf_id=7",
            ),
            (
                responder4,
                "c000020a 02000000",
                "09000000 00000000",
                "ip=192.0.2.10 ifindex=2 responses_sent=9",
            ),
        ] {
            assert_eq!(text(view, key, value).as_deref(), Some(expected));
        }
    }

    #[test]
    fn impossible_bits_and_other_sizes_are_refused() {
        assert_eq!(text(prefix4, "21000000 a9fe0000", "00"), None);
        assert_eq!(text(egress4, "1f000000 0a000105 c6336400", "c000020a ac1e0003"), None);
        assert_eq!(text(egress4, "41000000 0a000105 c6336400", "c000020a ac1e0003"), None);
        assert_eq!(text(vtep, "0a0909", "00"), None);
        assert_eq!(text(runtime_config, "01000000", "00"), None);
    }
}
