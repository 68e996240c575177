//! Labels of identities: which of them a policy would name, and what tells two identities apart.

use crate::model::endpoint::Labels;

/// The label of a pod's namespace.
const NAMESPACE: &str = "io.kubernetes.pod.namespace";
const SERVICE_ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";
/// Cilium adds these; policies of people do not name them.
const GENERATED: [&str; 2] = ["io.cilium.k8s.policy.", "io.cilium.k8s.namespace.labels."];

/// `source:key=value`, taken apart. Without a source it is "any".
pub fn split(label: &str) -> (&str, &str, &str) {
    let (source, rest) = label.split_once(':').unwrap_or(("any", label));
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    (source, key, value)
}

/// Key and value of the labels that say what a pod is, without its namespace and what Cilium generates. A pod
/// without any is what its service account is.
pub fn telling(labels: &Labels) -> Vec<(String, String)> {
    let own = |label: &str| -> Option<(String, String)> {
        let (source, key, value) = split(label);
        let is_own = source == "k8s" && key != NAMESPACE && !GENERATED.iter().any(|g| key.starts_with(g));
        is_own.then(|| (key.to_owned(), value.to_owned()))
    };
    let found: Vec<_> = labels.iter().filter_map(own).collect();
    if !found.is_empty() {
        return found;
    }
    let account = labels.value_of(SERVICE_ACCOUNT);
    account.map(|account| (SERVICE_ACCOUNT.to_owned(), account.to_owned())).into_iter().collect()
}

pub fn namespace(labels: &Labels) -> Option<&str> {
    labels.value_of(NAMESPACE)
}

/// The names behind `reserved:`.
pub fn reserved(labels: &Labels) -> impl Iterator<Item = &str> {
    labels.iter().filter_map(|label| label.strip_prefix("reserved:"))
}

/// The value of the first label of this source: `cidr`, `fqdn`.
pub fn of_source<'a>(labels: &'a Labels, source: &str) -> Option<&'a str> {
    labels.iter().find_map(|label| label.strip_prefix(source)?.strip_prefix(':'))
}

/// A CIDR label's text with the colons that labels cannot have.
pub fn cidr_text(label: &str) -> String {
    let (address, bits) = label.split_once('/').unwrap_or((label, ""));
    let mut address = address.to_owned();
    if address.contains('-') {
        let trimmed = address.strip_prefix("0--").map(|rest| format!("--{rest}")).unwrap_or(address);
        let trimmed = trimmed.strip_suffix("--0").map(|rest| format!("{rest}--")).unwrap_or(trimmed);
        address = trimmed.replace('-', ":");
    }
    if bits.is_empty() { address } else { format!("{address}/{bits}") }
}

/// Labels of `wanted` that `own` lacks, and labels of `own` that `wanted` does not have; without generated ones.
pub fn difference(own: &Labels, wanted: &Labels) -> (Vec<String>, Vec<String>) {
    let plain = |label: &&str| !GENERATED.iter().any(|generated| split(label).1.starts_with(generated));
    let only = |a: &Labels, b: &Labels| -> Vec<String> {
        let absent = |label: &&str| !b.iter().any(|other| other == *label);
        a.iter().filter(plain).filter(absent).map(str::to_owned).collect()
    };
    (only(wanted, own), only(own, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(list: &[&str]) -> Labels {
        Labels::new(list.iter().map(|label| (*label).to_owned()))
    }

    const CLIENT: &[&str] = &[
        "k8s:app=client",
        "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=default",
        "k8s:io.cilium.k8s.policy.cluster=default",
        "k8s:io.cilium.k8s.policy.serviceaccount=client",
        "k8s:io.kubernetes.pod.namespace=default",
        "k8s:tier=frontend",
    ];

    #[test]
    fn generated_labels_and_the_namespace_do_not_tell_what_a_pod_is() {
        let found = telling(&labels(CLIENT));
        assert_eq!(found, [("app".into(), "client".into()), ("tier".into(), "frontend".into())]);
        assert_eq!(namespace(&labels(CLIENT)), Some("default"));
    }

    #[test]
    fn a_pod_without_labels_is_its_service_account() {
        let bare = labels(&CLIENT[1..5]);
        assert_eq!(telling(&bare), [(SERVICE_ACCOUNT.into(), "client".into())]);
        assert_eq!(telling(&labels(&["reserved:host"])), []);
    }

    #[test]
    fn what_tells_two_identities_apart_is_told_both_ways() {
        let other = ["k8s:app=client", "k8s:io.kubernetes.pod.namespace=default", "k8s:tier=backend"];
        let (lacking, beyond) = difference(&labels(CLIENT), &labels(&other));
        assert_eq!((lacking, beyond), (vec!["k8s:tier=backend".into()], vec!["k8s:tier=frontend".into()]));
    }

    #[test]
    fn cidr_labels_get_their_colons_back() {
        for (label, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001-db8-1--0/64", "2001:db8:1::/64"),
            ("0--0/0", "::/0"),
            ("fd00--1/128", "fd00::1/128"),
        ] {
            assert_eq!(cidr_text(label), expected);
        }
        assert_eq!(of_source(&labels(&["cidr:10.0.0.0/8", "reserved:world"]), "cidr"), Some("10.0.0.0/8"));
    }
}
