//! One endpoint's state: the JSON object in `ep_config.json` (1.16 and newer), which is also in a comment of
//! `ep_config.h`, base64-coded, behind the version of the agent that wrote it (all releases).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use tracer_common::id::{EndpointId, Identity};

use super::file::StateError;
use super::labels::{JsonLabels, to_labels};
use crate::cilium::release::AgentVersion;
use crate::cilium::trusted::TrustedMap;
use crate::model::endpoint::{DnsNames, Labels};

/// The line of the header that carries the data, after ` * `.
const DATA_PREFIX: &str = "CILIUM_BASE64_";

/// What the agent wrote about an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointState {
    pub id: EndpointId,
    /// 0 before it was resolved.
    pub identity: Identity,
    pub labels: Arc<Labels>,
    /// "" for endpoints that are no pods.
    pub pod: String,
    /// "" for endpoints that are no pods.
    pub namespace: String,
    pub interface: String,
    /// 0 if none.
    pub ifindex: u32,
    pub addresses: Vec<IpAddr>,
    /// Policy denials pass and are only reported; `None`: the file does not tell.
    pub audit_mode: Option<bool>,
    /// The agent makes no policy map for it.
    pub without_policy_map: bool,
    /// The datapath does not check the sender's address.
    pub any_source: bool,
    /// Names that the DNS proxy has answered to this endpoint, by address, without the final dot.
    pub dns_names: TrustedMap<IpAddr, DnsNames>,
}

impl EndpointState {
    /// Special endpoints (host, health, ingress, …) have reserved labels only.
    pub fn is_special(&self) -> bool {
        let mut labels = self.labels.iter().peekable();
        labels.peek().is_some() && labels.all(|label| label.starts_with("reserved:"))
    }

    fn new(json: Json) -> Self {
        let (identity, labels) = match json.identity {
            Some(identity) => (identity.id, to_labels(identity.labels.unwrap_or_default())),
            None => (0, Labels::default()),
        };
        Self {
            id: EndpointId(json.id),
            identity: Identity(identity),
            labels: Arc::new(labels),
            pod: json.pod.unwrap_or_default(),
            namespace: json.namespace.unwrap_or_default(),
            interface: json.interface.unwrap_or_default(),
            ifindex: json.ifindex.and_then(|index| u32::try_from(index).ok()).unwrap_or(0),
            addresses: [json.ipv4, json.ipv6]
                .into_iter()
                .flatten()
                .filter_map(|ip| ip.parse().ok())
                .collect(),
            audit_mode: json
                .options
                .and_then(|options| options.map?.get("PolicyAuditMode")?.as_i64())
                .map(|set| set != 0),
            without_policy_map: [SKIP_POLICY, WITHOUT_BPF].iter().any(|name| {
                let set = json.properties.as_ref().and_then(|properties| properties.get(*name)?.as_bool());
                set.unwrap_or(false)
            }),
            any_source: json.datapath.and_then(|datapath| datapath.any_source).unwrap_or(false),
            dns_names: dns_names(json.dns_history, json.dns_zombies),
        }
    }
}

/// Properties of endpoints that have no policy map.
const SKIP_POLICY: &str = "property-skip-bpf-policy";
const WITHOUT_BPF: &str = "property-without-bpf-endpoint";

/// The keys of the object that are used. All but the id may be missing or null.
#[derive(Deserialize)]
struct Json {
    #[serde(rename = "ID")]
    id: u16,
    #[serde(default, rename = "SecLabel")]
    identity: Option<JsonIdentity>,
    #[serde(default, rename = "K8sPodName")]
    pod: Option<String>,
    #[serde(default, rename = "K8sNamespace")]
    namespace: Option<String>,
    #[serde(default, rename = "IfName")]
    interface: Option<String>,
    #[serde(default, rename = "IfIndex")]
    ifindex: Option<i64>,
    #[serde(default, rename = "IPv4")]
    ipv4: Option<String>,
    #[serde(default, rename = "IPv6")]
    ipv6: Option<String>,
    #[serde(default, rename = "Options", deserialize_with = "lenient")]
    options: Option<Options>,
    #[serde(default, rename = "Properties", deserialize_with = "lenient")]
    properties: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default, rename = "DatapathConfiguration", deserialize_with = "lenient")]
    datapath: Option<Datapath>,
    #[serde(default, rename = "DNSHistory", deserialize_with = "lenient")]
    dns_history: Option<Vec<DnsLookup>>,
    #[serde(default, rename = "DNSZombies", deserialize_with = "lenient")]
    dns_zombies: Option<DnsZombies>,
}

#[derive(Deserialize)]
struct JsonIdentity {
    id: u32,
    labels: Option<JsonLabels>,
}

#[derive(Deserialize)]
struct Options {
    map: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct Datapath {
    #[serde(default, rename = "disable-sip-verification")]
    any_source: Option<bool>,
}

#[derive(Deserialize)]
struct DnsLookup {
    fqdn: String,
    #[serde(default)]
    ips: Option<Vec<String>>,
}

/// Names whose time is over while connections to the address still live.
#[derive(Deserialize)]
struct DnsZombies {
    #[serde(default)]
    deletes: Option<HashMap<String, DnsZombie>>,
}

#[derive(Deserialize)]
struct DnsZombie {
    #[serde(default)]
    names: Option<Vec<String>>,
}

/// Worth having, but a form of it that we do not know must not cost the pod's name.
fn lenient<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(value).ok())
}

fn dns_names(history: Option<Vec<DnsLookup>>, zombies: Option<DnsZombies>) -> TrustedMap<IpAddr, DnsNames> {
    let mut names = HashMap::new();
    for lookup in history.unwrap_or_default() {
        for ip in lookup.ips.unwrap_or_default() {
            add_name(&mut names, &ip, &lookup.fqdn);
        }
    }
    for (ip, zombie) in zombies.and_then(|z| z.deletes).unwrap_or_default() {
        for name in zombie.names.unwrap_or_default() {
            add_name(&mut names, &ip, &name);
        }
    }
    names.into_iter().map(|(ip, names)| (ip, names.into())).collect()
}

fn add_name(names: &mut HashMap<IpAddr, Vec<Arc<str>>>, ip: &str, name: &str) {
    let (Ok(ip), name) = (ip.parse(), name.strip_suffix('.').unwrap_or(name)) else { return };
    let known = names.entry(ip).or_default();
    if !known.iter().any(|k| **k == *name) {
        known.push(Arc::from(name));
    }
}

/// Reads the object of `ep_config.json`, which must be that of endpoint `expected`.
pub fn from_json(bytes: &[u8], expected: EndpointId) -> Result<EndpointState, StateError> {
    let json: Json = serde_json::from_slice(bytes).map_err(StateError::Json)?;
    if json.id != expected.0 {
        return Err(StateError::WrongId { found: json.id, expected: expected.0 });
    }
    Ok(EndpointState::new(json))
}

/// The two coded parts of a header: version, data.
fn coded_parts(header: &[u8]) -> Result<(&str, &str), StateError> {
    let is_data = |line: &&[u8]| line.trim_ascii_start().starts_with(b"* CILIUM_BASE64_");
    let line = header.split(|byte| *byte == b'\n').find(is_data).ok_or(StateError::NoData)?;
    let text = str::from_utf8(line).map_err(|_| StateError::NoData)?.trim();
    let (_, coded) = text.split_once(DATA_PREFIX).ok_or(StateError::NoData)?;
    coded.split_once(':').ok_or(StateError::NoData)
}

fn decode(coded: &str) -> Result<Vec<u8>, StateError> {
    STANDARD.decode(coded).map_err(StateError::Base64)
}

/// Reads the object in an `ep_config.h`.
pub fn from_header(header: &[u8], expected: EndpointId) -> Result<EndpointState, StateError> {
    let (_, data) = coded_parts(header)?;
    from_json(&decode(data)?, expected)
}

/// The version of the agent that wrote an `ep_config.h`; `None` if it is not of a known form.
pub fn agent_version(header: &[u8]) -> Result<Option<AgentVersion>, StateError> {
    let (version, _) = coded_parts(header)?;
    let text: String = serde_json::from_slice(&decode(version)?).map_err(StateError::Json)?;
    Ok(AgentVersion::parse(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shortened from an agent's file.
    const JSON: &str = r#"{"ID":1234,"ContainerName":"","IfName":"lxc5d41402abc4b","IfIndex":27,
        "IPv6":"fd00:10::1f","IPv4":"10.0.1.5",
        "SecLabel":{"id":50001,"labels":{"app":{"key":"app","value":"shop","source":"k8s"}}},
        "DNSHistory":[
            {"fqdn":"api.example.org.","ttl":300,"ips":["198.51.100.7"]},
            {"fqdn":"www.example.org.","ttl":300,"ips":["198.51.100.7","not an address"]},
            {"fqdn":"api.example.org.","ttl":300,"ips":["198.51.100.7"]}],
        "DNSZombies":{"deletes":{"198.51.100.9":{"names":["old.example.org"],"ip":"198.51.100.9"}}},
        "K8sPodName":"shop-5d9c7b-x2x4q","K8sNamespace":"prod","Unknown":{"key":[1,2]}}"#;

    const ID: EndpointId = EndpointId(1234);

    fn header(version: &str, data: &str) -> Vec<u8> {
        format!(
            "/*\n * This file\n * CILIUM_BASE64_{}:{}\n * \n * Identity: 5\n */\n#define X 1\n",
            STANDARD.encode(version),
            STANDARD.encode(data)
        )
        .into_bytes()
    }

    #[test]
    fn the_json_object_gives_names_identity_and_addresses() {
        let state = from_json(JSON.as_bytes(), ID).unwrap();
        assert_eq!((state.id, state.identity), (ID, Identity(50001)));
        assert_eq!((state.namespace.as_str(), state.pod.as_str()), ("prod", "shop-5d9c7b-x2x4q"));
        assert_eq!((state.interface.as_str(), state.ifindex), ("lxc5d41402abc4b", 27));
        assert_eq!(state.labels.iter().collect::<Vec<_>>(), ["k8s:app=shop"]);
        let addresses: [IpAddr; 2] = ["10.0.1.5".parse().unwrap(), "fd00:10::1f".parse().unwrap()];
        assert_eq!(state.addresses, addresses);
        assert!(!state.is_special());
    }

    #[test]
    fn dns_names_lose_their_dot_and_come_once() {
        let state = from_json(JSON.as_bytes(), ID).unwrap();
        let names = |ip: &str| -> Vec<String> {
            state.dns_names[&ip.parse::<IpAddr>().unwrap()].iter().map(|n| n.to_string()).collect()
        };
        assert_eq!(names("198.51.100.7"), ["api.example.org", "www.example.org"]);
        assert_eq!(names("198.51.100.9"), ["old.example.org"]);
        assert_eq!(state.dns_names.len(), 2);
    }

    #[test]
    fn the_header_holds_the_same_object_and_the_agents_version() {
        let header = header(r#""1.15.3 abc go version go1.21""#, JSON);
        assert_eq!(from_header(&header, ID).unwrap(), from_json(JSON.as_bytes(), ID).unwrap());
        assert_eq!(agent_version(&header).unwrap().unwrap().version, "1.15.3");
    }

    #[test]
    fn an_endpoint_without_identity_or_with_nulls_is_read() {
        let json = r#"{"ID":1234,"SecLabel":null,"IPv4":null,"IPv6":"","DNSHistory":null,"IfIndex":-1}"#;
        let state = from_json(json.as_bytes(), ID).unwrap();
        assert_eq!((state.identity, state.ifindex, state.addresses.len()), (Identity(0), 0, 0));
        assert!(!state.is_special());
    }

    #[test]
    fn dns_data_of_an_unknown_form_costs_only_itself() {
        let json = r#"{"ID":1234,"K8sPodName":"shop","DNSHistory":{"v2":[]},"DNSZombies":[7]}"#;
        let state = from_json(json.as_bytes(), ID).unwrap();
        assert_eq!((state.pod.as_str(), state.dns_names.len()), ("shop", 0));
    }

    #[test]
    fn options_that_bear_on_policy_are_read() {
        let json = r#"{"ID":1234,"Options":{"map":{"PolicyAuditMode":1}},
            "Properties":{"property-skip-bpf-policy":true},
            "DatapathConfiguration":{"disable-sip-verification":true}}"#;
        let state = from_json(json.as_bytes(), ID).unwrap();
        assert_eq!((state.audit_mode, state.without_policy_map, state.any_source), (Some(true), true, true));
        let state = from_json(br#"{"ID":1234,"Options":[],"Properties":null}"#, ID).unwrap();
        assert_eq!((state.audit_mode, state.without_policy_map, state.any_source), (None, false, false));
    }

    #[test]
    fn the_host_endpoint_is_special() {
        let json = r#"{"ID":1,"SecLabel":{"id":1,"labels":{"host":{"key":"host","source":"reserved"}}}}"#;
        assert!(from_json(json.as_bytes(), EndpointId(1)).unwrap().is_special());
    }

    #[test]
    fn control_characters_in_names_are_data() {
        let json = "{\"ID\":1234,\"K8sPodName\":\"a\\u001b[31m\\nb\"}";
        assert_eq!(from_json(json.as_bytes(), ID).unwrap().pod, "a\u{1b}[31m\nb");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(0u8.., 0..200)) {
            let _ = from_json(&bytes, ID);
            let line = [b" * CILIUM_BASE64_".as_slice(), &bytes].concat();
            let _ = (from_header(&line, ID), agent_version(&line));
        }
    }

    #[test]
    fn broken_files_are_errors_of_their_kind() {
        let text = |result: Result<EndpointState, StateError>| result.unwrap_err().to_string();
        let deep = "[".repeat(100_000);
        for bad in ["", "{", "null", "[]", r#"{"ID":70000}"#, "\u{0}", deep.as_str()] {
            assert_eq!(text(from_json(bad.as_bytes(), ID)), "is not the JSON that an agent writes");
        }
        assert_eq!(text(from_json(JSON.as_bytes(), EndpointId(5))), "speaks of endpoint 1234, expected 5");
        for (bad, expected) in [
            ("", "has no line `CILIUM_BASE64_…`"),
            (" * CILIUM_BASE64_abc", "has no line `CILIUM_BASE64_…`"),
            (" * CILIUM_BASE64_YQ==:%%%", "has broken base64 in its line `CILIUM_BASE64_…`"),
            (" * CILIUM_BASE64_YQ==:YQ==", "is not the JSON that an agent writes"),
        ] {
            assert_eq!(text(from_header(bad.as_bytes(), ID)), expected, "{bad}");
        }
        let invalid = [b" * CILIUM_BASE64_".as_slice(), &[0xff, 0xfe]].concat();
        assert!(from_header(&invalid, ID).is_err());
    }
}
