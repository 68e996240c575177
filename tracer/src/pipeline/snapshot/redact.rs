//! `--redact`: names become pseudonyms, the same everywhere in one snapshot, so that what belongs together is
//! still seen to. Of state files only the keys that tracer reads stay. Addresses, numbers of identities and
//! endpoints, ports, hardware addresses and interface names stay as they are: they are the keys of the maps.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::snapshot::manifest::Manifest;

/// Names by what stands for them.
#[derive(Debug, Default)]
pub struct Pseudonyms(HashMap<String, usize>);

/// Keys of an endpoint's object that stay as they are.
const ENDPOINT_KEYS: [&str; 9] =
    ["ID", "IfName", "IfIndex", "ContainerIfName", "LXCMAC", "NodeMAC", "IPv4", "IPv6", "Options"];
/// Settings of the agent that stay as they are.
const CONFIG_KEYS: [&str; 13] = [
    "ClusterID",
    "EnableIPv4",
    "EnableIPv6",
    "ClockSource",
    "KernelHz",
    "RoutingMode",
    "PolicyAuditMode",
    "PolicyAccounting",
    "BPFRoot",
    "NodePortMin",
    "NodePortMax",
    "EnablePolicy",
    "AllowLocalhost",
];
/// Lines of the node's header that stay.
const HEADER_LINES: &str = "#define NODEPORT_PORT_";
const CODED: &str = "CILIUM_BASE64_";

impl Pseudonyms {
    /// `x` and a number; nothing for nothing.
    fn name(&mut self, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        let next = self.0.len() + 1;
        format!("x{}", self.0.entry(text.to_owned()).or_insert(next))
    }

    pub fn manifest(&mut self, manifest: &mut Manifest) {
        manifest.redacted = true;
        manifest.node_name = self.name(&manifest.node_name);
        manifest.kernel.boot_id.clear();
    }

    /// The file as it may leave the node. `None`: it is not of the known form.
    pub fn file(&mut self, path: &str, contents: &[u8]) -> Option<Vec<u8>> {
        match path.rsplit_once('/').map_or(path, |(_, name)| name) {
            "ep_config.json" => json(contents, |value| self.endpoint(value)),
            "ep_config.h" => self.header(contents),
            "local_allocator_state.json" => json(contents, |value| self.identities(value)),
            "nodes.json" => json(contents, |value| self.nodes(value)),
            "agent-runtime-config.json" => json(contents, |value| self.config(value)),
            "node_config.h" => Some(lines(contents)),
            _ => None,
        }
    }

    fn endpoint(&mut self, value: &Value) -> Option<Value> {
        let object = value.as_object()?;
        let mut kept = keep(object, &ENDPOINT_KEYS);
        for key in ["K8sPodName", "K8sNamespace"] {
            kept.insert(key.into(), self.text(object.get(key)));
        }
        if let Some(identity) = object.get("SecLabel").and_then(Value::as_object) {
            kept.insert("SecLabel".into(), self.identity(identity));
        }
        let history = object.get("DNSHistory").and_then(Value::as_array).into_iter().flatten();
        let lookups = history.filter_map(|lookup| {
            let lookup = lookup.as_object()?;
            let mut kept = keep(lookup, &["ips"]);
            kept.insert("fqdn".into(), self.text(lookup.get("fqdn")));
            Some(Value::Object(kept))
        });
        let lookups = lookups.collect();
        kept.insert("DNSHistory".into(), Value::Array(lookups));
        Some(Value::Object(kept))
    }

    /// An object with `id` and `labels`.
    fn identity(&mut self, object: &Map<String, Value>) -> Value {
        let mut kept = keep(object, &["id"]);
        let labels = object.get("labels").and_then(Value::as_object).into_iter().flatten();
        let labels = labels.map(|(key, label)| self.label(key, label)).collect();
        kept.insert("labels".into(), Value::Object(labels));
        Value::Object(kept)
    }

    /// Keys stay: they are Kubernetes' and Cilium's own for the most part, and policy selects by them.
    fn label(&mut self, map_key: &str, label: &Value) -> (String, Value) {
        let text = |key| label.get(key).and_then(Value::as_str).unwrap_or_default();
        let (key, source) = (text("key"), text("source"));
        let (map_key, key) = match source {
            "fqdn" => (self.name(map_key), self.name(key)),
            _ => (map_key.to_owned(), key.to_owned()),
        };
        let value = if source == "reserved" { text("value").to_owned() } else { self.name(text("value")) };
        let source = Value::from(source);
        let label = [("key", key.into()), ("value", value.into()), ("source", source)];
        (map_key, Value::Object(label.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()))
    }

    fn identities(&mut self, value: &Value) -> Option<Value> {
        let Some(entries) = value.as_array() else { return value.is_null().then_some(Value::Null) };
        Some(entries.iter().filter_map(|entry| Some(self.identity(entry.as_object()?))).collect())
    }

    fn nodes(&mut self, value: &Value) -> Option<Value> {
        let Some(nodes) = value.as_array() else { return value.is_null().then_some(Value::Null) };
        let node = |node: &Value| {
            let object = node.as_object()?;
            let mut kept = keep(object, &["IPAddresses"]);
            kept.insert("Name".into(), self.text(object.get("Name")));
            Some(Value::Object(kept))
        };
        Some(nodes.iter().filter_map(node).collect())
    }

    fn config(&mut self, value: &Value) -> Option<Value> {
        let object = value.as_object()?;
        let mut kept = keep(object, &CONFIG_KEYS);
        let cluster = object.get("ClusterName").and_then(Value::as_str);
        if let Some(cluster) = cluster {
            // Everybody's name for no name.
            let name = if cluster == "default" { cluster.to_owned() } else { self.name(cluster) };
            kept.insert("ClusterName".into(), name.into());
        }
        Some(Value::Object(kept))
    }

    /// The line with version and data, and nothing else.
    fn header(&mut self, contents: &[u8]) -> Option<Vec<u8>> {
        let text = String::from_utf8_lossy(contents);
        let line = text.lines().find(|line| line.trim_start().starts_with("* CILIUM_BASE64_"))?;
        let (version, data) = line.split_once(CODED)?.1.trim().split_once(':')?;
        let object = json(&STANDARD.decode(data).ok()?, |value| self.endpoint(value))?;
        Some(format!("/*\n * {CODED}{version}:{}\n */\n", STANDARD.encode(object)).into_bytes())
    }

    fn text(&mut self, value: Option<&Value>) -> Value {
        self.name(value.and_then(Value::as_str).unwrap_or_default()).into()
    }
}

fn json(contents: &[u8], change: impl FnOnce(&Value) -> Option<Value>) -> Option<Vec<u8>> {
    let value = serde_json::from_slice(contents).ok()?;
    serde_json::to_vec(&change(&value)?).ok()
}

fn keep(object: &Map<String, Value>, keys: &[&str]) -> Map<String, Value> {
    let known = |(key, _): &(&String, &Value)| keys.contains(&key.as_str());
    object.iter().filter(known).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn lines(contents: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(contents);
    let kept = text.lines().filter(|line| line.starts_with(HEADER_LINES));
    kept.flat_map(|line| [line, "\n"]).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str = r#"{"ID":7,"IPv4":"10.0.1.5","K8sPodName":"shop-1","K8sNamespace":"prod","Secret":"s",
        "SecLabel":{"id":5,"sha":"shop","labels":{"app":{"key":"app","value":"shop","source":"k8s"},
        "ns":{"key":"io.kubernetes.pod.namespace","value":"prod","source":"k8s"}}},
        "DNSHistory":[{"fqdn":"api.example.org.","ips":["198.51.100.7"],"more":1}]}"#;

    #[test]
    fn names_go_and_what_belongs_together_still_does() {
        let mut pseudonyms = Pseudonyms::default();
        let endpoint = pseudonyms.file("7/ep_config.json", ENDPOINT.as_bytes()).unwrap();
        let text = String::from_utf8(endpoint.clone()).unwrap();
        for secret in ["shop", "prod", "example", "Secret", "sha", "more"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        let value: Value = serde_json::from_slice(&endpoint).unwrap();
        assert_eq!(value["K8sNamespace"], value["SecLabel"]["labels"]["ns"]["value"]);
        assert_ne!(value["K8sNamespace"], value["K8sPodName"]);
        assert_eq!((&value["ID"], &value["IPv4"]), (&7.into(), &"10.0.1.5".into()));
        assert_eq!(value["DNSHistory"][0]["ips"][0], "198.51.100.7");
        let identities = r#"[{"id":1,"labels":{"*.example.org":{"key":"*.example.org","source":"fqdn"},
            "10.0.0.0/8":{"key":"10.0.0.0/8","source":"cidr"},"w":{"key":"world","source":"reserved"}}}]"#;
        let text = pseudonyms.file("local_allocator_state.json", identities.as_bytes()).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains("example") && text.contains("10.0.0.0/8") && text.contains("world"), "{text}");
    }

    #[test]
    fn a_header_keeps_its_version_and_its_coded_object_in_other_words() {
        let version = STANDARD.encode(r#""1.15.1 abc""#);
        let header =
            format!("// prod\n/*\n * Name: shop\n * {CODED}{version}:{}\n */", STANDARD.encode(ENDPOINT));
        let out = Pseudonyms::default().file("7/ep_config.h", header.as_bytes()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let (found, data) =
            text.split_once(CODED).unwrap().1.lines().next().unwrap().split_once(':').unwrap();
        assert_eq!(found, version);
        let object = String::from_utf8(STANDARD.decode(data).unwrap()).unwrap();
        assert!(
            object.contains("10.0.1.5") && !object.contains("prod") && !text.contains("shop"),
            "{object}"
        );
    }

    #[test]
    fn what_is_not_understood_does_not_leave() {
        let mut pseudonyms = Pseudonyms::default();
        for (path, contents) in [("7/ep_config.json", "prod"), ("7/ep_config.h", "prod"), ("other", "{}")] {
            assert_eq!(pseudonyms.file(path, contents.as_bytes()), None, "{path}");
        }
    }
}
