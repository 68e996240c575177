//! Labels as agents write them into JSON, and as everybody prints them: `source:key=value`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::endpoint::Labels;

/// A label in a state file; the key of the map that holds it repeats `key`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct JsonLabel {
    pub key: Option<String>,
    pub value: Option<String>,
    pub source: Option<String>,
}

/// Labels by key.
pub type JsonLabels = BTreeMap<String, JsonLabel>;

const CIDR_PREFIX: &str = "cidr:";

impl JsonLabel {
    fn text(self, map_key: &str) -> String {
        let key = self.key.filter(|key| !key.is_empty()).unwrap_or_else(|| map_key.to_owned());
        let source = self.source.filter(|source| !source.is_empty()).unwrap_or_else(|| "unspec".to_owned());
        let key = if source == "cidr" { cidr_key(&key) } else { key };
        match self.value.filter(|value| !value.is_empty()) {
            Some(value) => format!("{source}:{key}={value}"),
            None => format!("{source}:{key}"),
        }
    }
}

/// The labels in string form. Of several CIDR labels only the longest stays: agents up to 1.15 wrote one
/// for each shorter prefix as well.
pub fn to_labels(json: JsonLabels) -> Labels {
    let mut texts: Vec<String> = json.into_iter().map(|(key, label)| label.text(&key)).collect();
    if let Some(longest) = longest_cidr(&texts) {
        texts.retain(|text| !text.starts_with(CIDR_PREFIX) || *text == longest);
    }
    Labels::new(texts)
}

fn longest_cidr(texts: &[String]) -> Option<String> {
    let length = |text: &&String| text.rsplit_once('/').and_then(|(_, bits)| bits.parse::<u8>().ok());
    texts.iter().filter(|text| text.starts_with(CIDR_PREFIX)).max_by_key(length).cloned()
}

/// Colons are not allowed in a label's key, so an IPv6 prefix is written with dashes; one at either end of
/// the address gets a zero beside it.
fn cidr_key(key: &str) -> String {
    if !key.contains(':') {
        return key.to_owned();
    }
    let (address, bits) = key.split_once('/').map_or((key, None), |(address, bits)| (address, Some(bits)));
    let mut text = address.replace(':', "-");
    if text.starts_with('-') {
        text.insert(0, '0');
    }
    if text.ends_with('-') {
        text.push('0');
    }
    match bits {
        Some(bits) => format!("{text}/{bits}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(json: &str) -> Vec<String> {
        let json: JsonLabels = serde_json::from_str(json).unwrap();
        to_labels(json).iter().map(str::to_owned).collect()
    }

    #[test]
    fn labels_are_written_as_source_key_and_value() {
        let json = r#"{"app":{"key":"app","value":"shop","source":"k8s"},
            "host":{"key":"host","source":"reserved"},
            "*.example.org":{"key":"*.example.org","source":"fqdn"},
            "lone":{"value":null}}"#;
        assert_eq!(labels(json), ["fqdn:*.example.org", "k8s:app=shop", "reserved:host", "unspec:lone"]);
    }

    #[test]
    fn only_the_longest_cidr_label_stays() {
        let json = r#"{"10.0.0.0/8":{"key":"10.0.0.0/8","source":"cidr"},
            "10.1.0.0/16":{"key":"10.1.0.0/16","source":"cidr"},
            "0.0.0.0/0":{"key":"0.0.0.0/0","source":"cidr"},
            "world":{"key":"world","source":"reserved"}}"#;
        assert_eq!(labels(json), ["cidr:10.1.0.0/16", "reserved:world"]);
    }

    /// The first as a node's agent lists it.
    #[test]
    fn ipv6_prefixes_have_dashes_and_no_dash_at_an_end() {
        for (key, expected) in [
            ("2001-db8-1--0/64", "2001-db8-1--0/64"),
            ("2001:db8:1::/64", "2001-db8-1--0/64"),
            ("::/0", "0--0/0"),
            ("fd00::1/128", "fd00--1/128"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            assert_eq!(cidr_key(key), expected);
        }
    }
}
