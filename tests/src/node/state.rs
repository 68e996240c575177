//! The agent's files under /run/cilium/state, in the form of the generation.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::cast::*;
use super::catalogue::policy_pin;
use super::generation::Facts;

/// Labels as the agent's JSON has them: by key.
fn labels(list: &[(&str, &str, &str)]) -> Value {
    let object = list.iter().map(|(source, key, value)| {
        let label = match *value {
            "" => json!({"key": key, "source": source}),
            value => json!({"key": key, "value": value, "source": source}),
        };
        ((*key).to_owned(), label)
    });
    Value::Object(object.collect::<Map<_, _>>())
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// What the two kinds of endpoint (pod, host) differ in.
struct Endpoint<'a> {
    id: u16,
    device: &'a str,
    ifindex: u32,
    inside: &'a str,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    mac: [u8; 6],
    node_mac: [u8; 6],
    identity: u32,
    labels: &'a [(&'a str, &'a str, &'a str)],
    info_labels: &'a [(&'a str, &'a str, &'a str)],
    pod: Option<(&'a str, &'a str)>,
    enforced: u32,
}

impl<'a> From<&'a Pod> for Endpoint<'a> {
    fn from(pod: &'a Pod) -> Self {
        Self {
            id: pod.endpoint,
            device: pod.device,
            ifindex: pod.ifindex,
            inside: "eth0",
            ipv4: Some(pod.ipv4),
            ipv6: Some(pod.ipv6),
            mac: pod.mac,
            node_mac: pod.node_mac,
            identity: pod.identity,
            labels: pod.labels,
            info_labels: pod.info_labels,
            pod: pod.kubernetes(),
            enforced: pod.enforced,
        }
    }
}

const HOST: Endpoint<'_> = Endpoint {
    id: HOST_ENDPOINT,
    device: "cilium_host",
    ifindex: 0,
    inside: "",
    ipv4: None,
    ipv6: None,
    mac: CILIUM_HOST_MAC,
    node_mac: CILIUM_HOST_MAC,
    identity: reserved::HOST,
    labels: &[("reserved", "host", "")],
    info_labels: &[("reserved", "host", "")],
    pod: None,
    enforced: 0,
};

fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn options(facts: &Facts) -> Value {
    let accounting = u8::from(!facts.metrics_place);
    json!({"map": {
        "Conntrack": 1, "ConntrackAccounting": accounting, "ConntrackLocal": 0, "Debug": 0, "DebugLB": 0,
        "DebugPolicy": 0, "DropNotification": 1, "MonitorAggregationLevel": 3, "PolicyAccounting": 1,
        "PolicyAuditMode": 0, "PolicyVerdictNotification": 1, "SourceIPVerification": 1, "TraceNotification": 1
    }})
}

/// The object of `ep_config.json`, and of the base64 text in the header.
fn endpoint_json(facts: &Facts, endpoint: &Endpoint<'_>) -> Value {
    let container =
        endpoint.pod.map(|_| format!("{:064x}", 0x5f1c_0a7b_e2d4_4f4c_u64 + u64::from(endpoint.id)));
    let (namespace, name) = endpoint.pod.unwrap_or_default();
    let mut object = json!({
        "ID": endpoint.id, "ContainerName": "", "DockerNetworkID": "", "DockerEndpointID": "",
        "IfName": endpoint.device, "IfIndex": endpoint.ifindex,
        "OpLabels": {"Custom": {}, "OrchestrationIdentity": labels(endpoint.labels), "Disabled": {},
            "OrchestrationInfo": labels(endpoint.info_labels)},
        "LXCMAC": mac_text(endpoint.mac), "IPv6": text(endpoint.ipv6), "IPv6IPAMPool": "",
        "IPv4": text(endpoint.ipv4), "IPv4IPAMPool": if endpoint.ipv4.is_some() { "default" } else { "" },
        "NodeMAC": mac_text(endpoint.node_mac),
        "SecLabel": {"id": endpoint.identity, "labels": labels(endpoint.labels)},
        "Options": options(facts), "DNSRules": {}, "DNSHistory": [], "DNSZombies": {},
        "K8sPodName": name, "K8sNamespace": namespace,
        "DatapathConfiguration": {}, "CiliumEndpointUID": ""
    });
    if let (Some(container), Value::Object(object)) = (container, &mut object) {
        object.insert("dockerID".to_owned(), container.into());
    }
    if let Value::Object(object) = &mut object {
        if facts.split_world {
            object.insert("ContainerIfName".to_owned(), endpoint.inside.into());
            object.insert("DisableLegacyIdentifiers".to_owned(), false.into());
        }
        if facts.ep_config_json {
            object.insert("K8sUID".to_owned(), "".into());
            object.insert("DNSRulesV2".to_owned(), json!({}));
            object.insert("Properties".to_owned(), json!({}));
            object.insert("NetnsCookie".to_owned(), (4096 + u32::from(endpoint.id)).into());
        }
    }
    object
}

/// The bytes of an address as the header writes them.
fn c_bytes(ip: Ipv6Addr) -> String {
    ip.octets().map(|byte| format!("{byte:#x}")).join(", ")
}

fn endpoint_header(facts: &Facts, endpoint: &Endpoint<'_>, json: &str) -> String {
    let version = base64(format!("\"{}\"", facts.version).as_bytes());
    let object = base64(json.as_bytes());
    let mut lines = vec!["/*".to_owned()];
    if facts.ep_config_json {
        lines.push(
            " * This file is not used to compile endpoint programs; the line below stays for older agents."
                .to_owned(),
        );
    }
    lines.push(format!(" * CILIUM_BASE64_{version}:{object}"));
    lines.push(" * ".to_owned());
    if endpoint.pod.is_some() {
        lines.push(" * Container Interface: eth0".to_owned());
    }
    lines.push(format!(" * IPv6 address: {}", text(endpoint.ipv6)));
    lines.push(format!(" * IPv4 address: {}", text(endpoint.ipv4)));
    lines.push(format!(" * Identity: {}", endpoint.identity));
    lines.push(format!(" * PolicyMap: {}", policy_pin(facts, endpoint.id)));
    lines.push(format!(" * NodeMAC: {}", mac_text(endpoint.node_mac)));
    lines.extend([" */", "", "/*", " * Labels:"].map(str::to_owned));
    lines.extend(endpoint.labels.iter().map(|label| format!(" * - {}", label_text(label))));
    lines.extend([" */", "", "#include \"lib/utils.h\"", ""].map(str::to_owned));
    lines.extend(endpoint_defines(facts, endpoint));
    lines.join("\n") + "\n"
}

fn label_text((source, key, value): &(&str, &str, &str)) -> String {
    if value.is_empty() { format!("{source}:{key}") } else { format!("{source}:{key}={value}") }
}

fn endpoint_defines(facts: &Facts, endpoint: &Endpoint<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(ip) = endpoint.ipv6 {
        lines.push(format!("DEFINE_IPV6(LXC_IP, {});", c_bytes(ip)));
    }
    if let Some(ip) = endpoint.ipv4 {
        let raw = u32::from_le_bytes(ip.octets());
        lines.push(format!("DEFINE_U32(LXC_IPV4, {raw:#010x});\t/* {raw} */"));
    }
    lines.push(format!("DEFINE_U16(LXC_ID, {:#06x});\t/* {} */", endpoint.id, endpoint.id));
    lines.push(format!("DEFINE_U32(SECLABEL, {:#010x});\t/* {} */", endpoint.identity, endpoint.identity));
    lines.push(format!(
        "DEFINE_U32(POLICY_VERDICT_LOG_FILTER, {:#010x});\t/* {} */",
        endpoint.enforced, endpoint.enforced
    ));
    lines.push(format!("#define POLICY_MAP {}", policy_pin(facts, endpoint.id)));
    lines.push(format!("#define HOST_EP_ID {HOST_ENDPOINT}"));
    if endpoint.identity == reserved::HOST {
        lines.push("#define HOST_ENDPOINT 1".to_owned());
    }
    lines.push("#define DROP_NOTIFY 1".to_owned());
    lines.push("#define TRACE_NOTIFY 1".to_owned());
    lines.push("#define POLICY_VERDICT_NOTIFY 1".to_owned());
    lines
}

/// Node-local identities.
fn local_identities() -> Value {
    let world4 = ("reserved", "world-ipv4", "");
    let world6 = ("reserved", "world-ipv6", "");
    json!([
        {"id": DENIED_IDENTITY4, "labels": labels(&[("cidr", "203.0.113.0/24", ""), world4])},
        {"id": DENIED_IDENTITY6, "labels": labels(&[("cidr", "2001-db8-113--0/48", ""), world6])},
        {"id": FQDN_IDENTITY, "labels": labels(&[("fqdn", FQDN_NAME, ""), world4])}
    ])
}

/// An IP network in Go's JSON form.
fn go_net(ip: IpAddr, prefix: u8) -> Value {
    let length = if ip.is_ipv4() { 4 } else { 16 };
    let mask: Vec<u8> =
        (0..length).map(|i| !(0xffu16 >> u16::from(prefix).saturating_sub(i * 8).min(8)) as u8).collect();
    json!({"IP": ip, "Mask": base64(&mask)})
}

fn nodes() -> Value {
    let node =
        |name: &str, addresses: [IpAddr; 4], cidr4: (Ipv4Addr, u8), cidr6: (Ipv6Addr, u8), local: bool| {
            let kinds = ["InternalIP", "InternalIP", "CiliumInternalIP", "CiliumInternalIP"];
            let addresses: Vec<Value> =
                kinds.iter().zip(addresses).map(|(kind, ip)| json!({"Type": kind, "IP": ip})).collect();
            json!({
                "Name": name, "Cluster": "default", "IPAddresses": addresses,
                "IPv4AllocCIDR": go_net(cidr4.0.into(), cidr4.1), "IPv4SecondaryAllocCIDRs": null,
                "IPv6AllocCIDR": go_net(cidr6.0.into(), cidr6.1), "IPv6SecondaryAllocCIDRs": null,
                "IPv4HealthIP": if local { text(Some(HEALTH.ipv4)) } else { String::new() },
                "IPv6HealthIP": if local { text(Some(HEALTH.ipv6)) } else { String::new() },
                "IPv4IngressIP": "", "IPv6IngressIP": "", "ClusterID": 0,
                "Source": if local { "local" } else { "custom-resource" }, "EncryptionKey": 0,
                "Labels": {"kubernetes.io/hostname": name}, "Annotations": {},
                "NodeIdentity": if local { reserved::HOST } else { reserved::REMOTE_NODE },
                "WireguardPubKey": "", "BootID": ""
            })
        };
    json!([
        node(
            NODE_NAME,
            [NODE_IPV4.into(), NODE_IPV6.into(), ROUTER_IPV4.into(), ROUTER_IPV6.into()],
            POD_CIDR4,
            POD_CIDR6,
            true
        ),
        node(
            PEER_NAME,
            [PEER_IPV4.into(), PEER_IPV6.into(), PEER_ROUTER_IPV4.into(), PEER_ROUTER_IPV6.into()],
            PEER_POD_CIDR4,
            PEER_POD_CIDR6,
            false
        ),
    ])
}

/// The agent's whole configuration, as far as it says something about the datapath.
const AGENT_CONFIG: &str = r#"{
    "RunDir": "/var/run/cilium", "StateDir": "/var/run/cilium/state", "BPFRoot": "/sys/fs/bpf",
    "ClusterName": "default", "ClusterID": 0, "EnableIPv4": true, "EnableIPv6": true, "DatapathMode": "veth",
    "RoutingMode": "native", "KubeProxyReplacement": "true", "EnableNodePort": true, "NodePortMode": "snat",
    "NodePortAlg": "maglev", "NodePortMin": 30000, "NodePortMax": 32767, "EnableBPFMasquerade": true,
    "EnableIPv4Masquerade": true, "EnableIPv6Masquerade": true, "EnableHostFirewall": false,
    "EnableWireguard": false, "EnableIPSec": false, "EnablePolicy": "default", "PolicyAuditMode": false,
    "PolicyAccounting": true, "ClockSource": 0, "KernelHz": 0, "MonitorAggregation": "medium",
    "MonitorAggregationInterval": 5000000000, "MonitorAggregationFlags": 7, "TracePayloadlen": 128,
    "BPFEventsDropEnabled": true, "BPFEventsPolicyVerdictEnabled": true, "BPFEventsTraceEnabled": true,
    "CTMapEntriesGlobalTCP": 65536, "CTMapEntriesGlobalAny": 32768, "NATMapEntriesGlobal": 65536,
    "PolicyMapEntries": 16384, "FragmentsMapEntries": 8192,
    "CTMapEntriesTimeoutTCP": 8000000000000, "CTMapEntriesTimeoutAny": 60000000000,
    "CTMapEntriesTimeoutSVCTCP": 8000000000000, "CTMapEntriesTimeoutSVCAny": 60000000000,
    "CTMapEntriesTimeoutSVCTCPGrace": 60000000000, "CTMapEntriesTimeoutSYN": 60000000000,
    "CTMapEntriesTimeoutFIN": 10000000000
}
"#;

fn node_header(facts: &Facts) -> String {
    let raw4 = ROUTER_IPV4.octets().map(|byte| format!("{byte:#x}")).join(", ");
    format!(
        "#include \"lib/utils.h\"\n\n/*\n cilium.v6.external.str {NODE_IPV6}\n cilium.v6.internal.str {ROUTER_IPV6}\n \
         cilium.v6.nodeport.str [{NODE_IPV6}]\n\n cilium.v4.external.str {NODE_IPV4}\n \
         cilium.v4.internal.str {ROUTER_IPV4}\n cilium.v4.nodeport.str [{NODE_IPV4}]\n\n \
         cilium.v4.internal.raw {raw4}\n */\n\n\
         #define ENABLE_IPV4 1\n#define ENABLE_IPV6 1\n#define ENABLE_NODEPORT 1\n#define ENABLE_ICMP_RULE 1\n\
         #define ALLOW_ICMP_FRAG_NEEDED 1\n#define TRACE_PAYLOAD_LEN 128ULL\n#define MTU 1500\n\
         #define CT_CONNECTION_LIFETIME_TCP 8000\n#define CT_CONNECTION_LIFETIME_NONTCP 60\n\
         #define CT_SERVICE_LIFETIME_TCP 8000\n#define CT_SERVICE_LIFETIME_NONTCP 60\n#define CT_SYN_TIMEOUT 60\n\
         #define CT_CLOSE_TIMEOUT 10\n#define CT_REPORT_INTERVAL 5\n#define CT_REPORT_FLAGS 0x0007\n\
         #define LB_SELECTION 2\n#define LB_MAGLEV_LUT_SIZE 251\n#define NODEPORT_PORT_MIN 30000\n\
         #define NODEPORT_PORT_MAX 32767\n#define NODEPORT_PORT_MIN_NAT 32768\n#define NODEPORT_PORT_MAX_NAT 65535\n\
         #define CIDR_IDENTITY_RANGE_START 16777217\n#define CIDR_IDENTITY_RANGE_END 33554431\n\
         #define CILIUM_IFINDEX {CILIUM_HOST_IFINDEX}\n#define HOST_ID 1\n#define WORLD_ID 2\n#define EVENTS_MAP cilium_events\n\
         #define IPCACHE_MAP {}\n#define METRICS_MAP cilium_metrics\n",
        facts.ipcache_pin
    )
}

fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn write_endpoint(state: &Path, facts: &Facts, endpoint: &Endpoint<'_>) -> io::Result<()> {
    let dir = state.join(endpoint.id.to_string());
    fs::create_dir(&dir)?;
    let json = endpoint_json(facts, endpoint).to_string();
    write(&dir.join("ep_config.h"), 0o600, &endpoint_header(facts, endpoint, &json))?;
    if facts.ep_config_json { write(&dir.join("ep_config.json"), 0o600, &json) } else { Ok(()) }
}

/// Writes everything below `run` (`/run/cilium`).
pub fn write_all(run: &Path, facts: &Facts) -> io::Result<()> {
    let state = run.join("state");
    fs::create_dir_all(state.join("globals"))?;
    write(&run.join("cilium.pid"), 0o644, "1\n")?;
    for pod in &PODS {
        write_endpoint(&state, facts, &pod.into())?;
    }
    write_endpoint(&state, facts, &HOST)?;
    write(&state.join("agent-runtime-config.json"), 0o644, AGENT_CONFIG)?;
    write(&state.join("globals/node_config.h"), 0o644, &node_header(facts))?;
    if facts.local_allocator_state {
        write(&state.join("local_allocator_state.json"), 0o600, &format!("{}\n", local_identities()))?;
    }
    if facts.nodes_json {
        write(&state.join("nodes.json"), 0o600, &format!("{}\n", nodes()))?;
    }
    Ok(())
}

/// Standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode =
        |chunk: &[u8]| {
            let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            (0..4)
                .map(move |i| {
                    if i <= chunk.len() {
                        ALPHABET[(group >> (18 - 6 * i) & 63) as usize] as char
                    } else {
                        '='
                    }
                })
                .collect::<String>()
        };
    bytes.chunks(3).map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_standard_vectors() {
        // RFC 4648, section 10.
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn networks_have_gos_mask() {
        // As a real agent wrote them.
        assert_eq!(go_net("10.15.0.0".parse().unwrap(), 24)["Mask"], "////AA==");
        assert_eq!(go_net("fd00:15::".parse().unwrap(), 96)["Mask"], "////////////////AAAAAA==");
    }
}
