//! What is no map: the node, its kernel and agent, interfaces, endpoints, identities.

use super::{Side, Texts};
use crate::model::names::Names as _;
use crate::snapshot::manifest::Manifest;

/// Each kind of fact by its name, of both sides.
pub fn all(before: &Side, after: &Side) -> Vec<(&'static str, [Texts; 2])> {
    vec![
        ("node", [node(before), node(after)]),
        ("interfaces", [interfaces(before), interfaces(after)]),
        ("endpoints", [endpoints(before), endpoints(after)]),
        ("identities", [identities(before), identities(after)]),
    ]
}

fn node(side: &Side) -> Texts {
    let Manifest { node_name, kernel, cilium, tracer_version, .. } = &side.snapshot.manifest;
    let facts = [
        ("name", node_name.clone()),
        ("kernel_release", kernel.release.clone()),
        ("boot_id", kernel.boot_id.clone()),
        ("possible_cpus", kernel.possible_cpus.to_string()),
        ("agent_version", cilium.agent_version.clone().unwrap_or_default()),
        ("cilium_releases", cilium.releases.clone()),
        ("tracer_version", tracer_version.clone()),
    ];
    facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn interfaces(side: &Side) -> Texts {
    let interfaces = side.snapshot.manifest.interfaces.iter();
    let text = |mac: Option<[u8; 6]>| {
        mac.map_or(String::new(), |mac| format!(" mac={}", mac.map(|byte| format!("{byte:02x}")).join(":")))
    };
    interfaces
        .map(|link| (link.name.clone(), format!("ifindex={}{}", link.ifindex, text(link.mac))))
        .collect()
}

fn endpoints(side: &Side) -> Texts {
    let one = |endpoint: &std::sync::Arc<crate::model::endpoint::LocalEndpoint>| {
        let addresses: Vec<String> = endpoint.addresses.iter().map(ToString::to_string).collect();
        let labels: Vec<&str> = endpoint.labels.iter().collect();
        let text = format!(
            "{}/{} identity={} ips={} labels={}",
            endpoint.namespace,
            endpoint.pod,
            endpoint.identity,
            addresses.join(","),
            labels.join(",")
        );
        (endpoint.id.to_string(), text)
    };
    side.view.endpoints().iter().map(one).collect()
}

fn identities(side: &Side) -> Texts {
    let mut names = side.view();
    let all = names.named_identities();
    let one = |identity| {
        let labels = names.labels(identity)?;
        Some((identity.to_string(), labels.iter().collect::<Vec<_>>().join(",")))
    };
    all.into_iter().filter_map(one).collect()
}
