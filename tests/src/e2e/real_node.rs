//! A recorded real node (its maps re-created as real BPF maps, its state files as they were) is read as the
//! vendor's tool listed it. The recording is no part of the project: without it these tests say so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tracer::cilium::node::NodeView;
use tracer::cilium::pins::policy_pins;
use tracer::cilium::source::{Wanted, find};
use tracer::cilium::{file, ipcache, reason};
use tracer::model::endpoint::IdentitySource;
use tracer::model::names::Names;
use tracer_common::id::{EndpointId, Identity};

use crate::node::kernel::space::NodeSpace;
use crate::runner::Outcome;

crate::tests![
    ipcache_as_listed,
    endpoint_map_as_listed,
    metrics_as_listed,
    endpoints_named_as_the_agent_names_them,
    labels_of_identities_as_listed,
    release_and_settings_are_recognized,
];

/// Where the recording is.
pub(super) const VARIABLE: &str = "TRACER_REAL_NODE";
const BPFFS: &str = "/sys/fs/bpf";

pub(super) fn recording() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/real-node");
    let path = std::env::var_os(VARIABLE).map_or_else(beside, PathBuf::from);
    path.join("maps/maps.json").exists().then_some(path)
}

/// The recording, and what is needed to make a node of it; else the reason for skipping.
pub(super) fn recording_or_why_not() -> Result<PathBuf, String> {
    let recording = recording().ok_or_else(|| format!("no recorded node: set {VARIABLE} to its folder"))?;
    match Command::new("python3").arg("--version").output() {
        Ok(_) => Ok(recording),
        Err(_) => Err("python3 is needed to re-create the maps of the recorded node".to_owned()),
    }
}

/// Runs `check` on the node, in namespaces of its own. The path is that of the vendor tool's listings.
fn on_node(check: impl FnOnce(&mut NodeView, &Path) -> Result<()> + Send) -> Result<Outcome> {
    let recording = match recording_or_why_not() {
        Ok(recording) => recording,
        Err(why) => return Ok(Outcome::NotPossible(why)),
    };
    NodeSpace::create()?.run(|| {
        pin_maps(&recording)?;
        let wanted = Wanted {
            bpffs: Some(BPFFS.into()),
            state_dir: Some(recording.join("state")),
            ..Wanted::default()
        };
        let mut view = NodeView::new(find(&wanted)?, Instant::now());
        let notices: Vec<String> = view.take_notices().iter().map(ToString::to_string).collect();
        ensure!(notices.is_empty(), "a healthy node gives no notices: {notices:?}");
        check(&mut view, &recording.join("tool"))
    })?;
    Ok(Outcome::Passed)
}

pub(super) fn pin_maps(recording: &Path) -> Result<()> {
    let output = Command::new("python3")
        .arg(recording.join("pinmaps.py"))
        .arg(recording.join("maps"))
        .arg(BPFFS)
        .output()
        .context("cannot run pinmaps.py")?;
    ensure!(output.status.success(), "pinmaps.py: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

pub(super) fn listing(tool: &Path, name: &str) -> Result<Value> {
    let path = tool.join(name);
    let text = std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("`{}` is not JSON", path.display()))
}

/// `{"key": ["text"]}`, the form of the tool's map listings.
pub(super) fn rows(listing: &Value) -> Result<BTreeMap<String, String>> {
    let object = listing.as_object().context("not an object")?;
    let row = |(key, value): (&String, &Value)| Some((key.clone(), value.get(0)?.as_str()?.to_owned()));
    object.iter().map(row).collect::<Option<_>>().context("a row is not a list of texts")
}

/// The word after `name=` in `text`.
pub(super) fn word<'a>(text: &'a str, name: &str) -> Result<&'a str> {
    let rest = text.split(name).nth(1).with_context(|| format!("no `{name}` in `{text}`"))?;
    Ok(rest.split([' ', ',']).next().unwrap_or(rest))
}

fn ipcache_as_listed() -> Result<Outcome> {
    on_node(|view, tool| {
        let listed = rows(&listing(tool, "bpf-ipcache-list.json")?)?;
        let mut found = BTreeMap::new();
        let map = view.ipcache().context("no ipcache")?;
        ipcache::for_each(map, &mut |entry| {
            let entry = entry.expect("every entry decodes");
            let endpoint = entry.tunnel_endpoint.unwrap_or(IpAddr::from([0; 4]));
            found.insert(
                format!("{}/{}", entry.address, entry.prefix_length),
                format!(
                    "identity={} encryptkey={} tunnelendpoint={endpoint}, flags=<none>",
                    entry.identity, entry.encrypt_key
                ),
            );
            ControlFlow::Continue(())
        })?;
        assert_eq!(found, listed);
        look_ups_follow_the_longest_prefix(view, &listed)
    })
}

/// Asks for the address of every row, and for one inside each wide prefix that no longer row covers.
fn look_ups_follow_the_longest_prefix(view: &mut NodeView, listed: &BTreeMap<String, String>) -> Result<()> {
    for (prefix, text) in listed {
        let (address, bits) = prefix.split_once('/').context("no prefix")?;
        if bits == "32" || bits == "128" {
            let identity = Identity(word(text, "identity=")?.parse()?);
            assert_eq!(
                view.identity_of(address.parse()?),
                Some((identity, IdentitySource::Ipcache)),
                "{prefix}"
            );
        }
    }
    for (address, identity) in [
        ("172.30.0.33", 16_777_220),
        ("172.30.0.200", 16_777_219),
        ("203.0.113.77", 16_777_222),
        ("2001:db8:1::77", 16_777_217),
        ("198.51.100.1", 9),
        ("2001:db8:2::1", 10),
    ] {
        assert_eq!(view.identity_of(address.parse()?), Some((Identity(identity), IdentitySource::Ipcache)));
    }
    Ok(())
}

fn endpoint_map_as_listed() -> Result<Outcome> {
    on_node(|view, tool| {
        let listed = rows(&listing(tool, "bpf-endpoint-list.json")?)?;
        let mac = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02X}")).join(":");
        let text = |entry: &tracer::cilium::lxc::LxcEntry| match entry.is_host() {
            true => "(localhost)".to_owned(),
            false => format!(
                "id={:<5} sec_id={:<5} flags=0x{:04X} ifindex={:<3} mac={} nodemac={}",
                entry.id.0,
                entry.identity.0,
                entry.flags,
                entry.ifindex,
                mac(entry.mac),
                mac(entry.node_mac)
            ),
        };
        let found: BTreeMap<String, String> =
            view.lxc_entries().iter().map(|entry| (format!("{}:0", entry.ip), text(entry))).collect();
        assert_eq!(found, listed);
        assert!(view.is_node_ip("172.30.0.1".parse()?) && !view.is_node_ip("10.15.0.11".parse()?));
        Ok(())
    })
}

/// Place and what was counted there: reason, direction, file, line.
type Counter = (String, String, String, u64);

/// The maps were recorded a moment before the tool listed them, with a few forwarded packets in between: the
/// drops are the same, other counters may have gone on.
fn metrics_as_listed() -> Result<Outcome> {
    const PACKETS_IN_BETWEEN: u64 = 5;
    on_node(|view, tool| {
        let listed = listing(tool, "bpf-metrics-list.json")?;
        let listed = listed.as_array().context("not a list")?.iter().map(metrics_row);
        let listed: BTreeMap<Counter, (u64, u64)> =
            listed.collect::<Option<_>>().context("a row is not of the known form")?;
        let found = counters(view)?;
        assert_eq!(found.keys().collect::<Vec<_>>(), listed.keys().collect::<Vec<_>>());
        for (counter, (packets, bytes)) in &listed {
            let (found_packets, found_bytes) = found[counter];
            if matches!(counter.0.as_str(), "Success" | "Interface") {
                let between = packets.checked_sub(found_packets);
                ensure!(between.is_some_and(|n| n <= PACKETS_IN_BETWEEN), "{counter:?}: {found_packets}");
            } else {
                assert_eq!((found_packets, found_bytes), (*packets, *bytes), "{counter:?}");
            }
        }
        Ok(())
    })
}

fn counters(view: &NodeView) -> Result<BTreeMap<Counter, (u64, u64)>> {
    let releases = view.releases().releases();
    let snapshot = view.metrics_snapshot().context("no metrics")??;
    let counters = snapshot.rows().map(|(row, count)| {
        let (file, line) = row.place.context("a counter without place")?;
        let file = file::name(file, releases).context("an unknown file")?.name;
        let direction = ["unknown", "ingress", "egress", "service"][usize::from(row.direction)];
        let reason = reason::metrics_text(row.reason).context("an unknown reason")?;
        let counter = (reason.to_owned(), direction.to_owned(), file.to_owned(), u64::from(line));
        Ok((counter, (count.packets, count.bytes)))
    });
    counters.collect()
}

fn metrics_row(row: &Value) -> Option<(Counter, (u64, u64))> {
    let text = |key| Some(row.get(key)?.as_str()?.to_owned());
    let number = |key| row.get(key)?.as_u64();
    let counter = (text("reason")?, text("direction")?, text("file")?, number("line")?);
    Some((counter, (number("packets")?, number("bytes")?)))
}

fn endpoints_named_as_the_agent_names_them() -> Result<Outcome> {
    on_node(|view, tool| {
        let listed = listing(tool, "endpoint-list.json")?;
        let listed = listed.as_array().context("not a list")?;
        for endpoint in listed {
            let id = endpoint["id"].as_u64().and_then(|id| u16::try_from(id).ok()).context("no id")?;
            check_endpoint(view, EndpointId(id), &endpoint["status"])
                .with_context(|| format!("endpoint {id}"))?;
        }
        assert_eq!(view.endpoints().iter().count(), listed.len());
        let names = view.dns_names(EndpointId(601), "172.30.0.50".parse()?);
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["api.example.test"]);
        assert_eq!(view.node_name("172.30.0.3".parse()?).map(|name| &**name), Some("lab-node2"));
        Ok(())
    })
}

fn check_endpoint(view: &mut NodeView, id: EndpointId, status: &Value) -> Result<()> {
    let found = view.endpoint_by_id(id).context("not found")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (identity, network) = (&status["identity"], &status["networking"]);
    assert_eq!(Some(u64::from(found.identity.0)), identity["id"].as_u64());
    assert_eq!(found.labels.iter().map(str::to_owned).collect::<Vec<_>>(), texts(&identity["labels"]));
    assert_eq!(found.pod, text(&status["external-identifiers"]["k8s-pod-name"]));
    assert_eq!(found.interface, text(&network["interface-name"]));
    assert_eq!(u64::from(found.ifindex), network["interface-index"].as_u64().unwrap_or(0));
    let addresses: BTreeSet<String> = found.addresses.iter().map(ToString::to_string).collect();
    let listed = network["addressing"][0].as_object().context("no addresses")?;
    assert_eq!(addresses, listed.values().map(text).collect());
    assert!(!found.stale_names);
    for address in &found.addresses {
        assert_eq!(view.endpoint_by_ip(*address).as_ref(), Some(&found));
    }
    Ok(())
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// Of pods elsewhere (20001) the node's disk tells no labels; the well-known ones of etcd helpers are not
/// kept, and that of the operator has a namespace which depends on the installation.
fn labels_of_identities_as_listed() -> Result<Outcome> {
    on_node(|view, tool| {
        let listed = listing(tool, "identity-list.json")?;
        let mut compared = 0;
        for identity in listed.as_array().context("not a list")? {
            let id = identity["id"].as_u64().and_then(|id| u32::try_from(id).ok()).context("no id")?;
            if matches!(id, 20001 | 100 | 101 | 107..=109 | 115) {
                assert_eq!(view.labels(Identity(id)), None, "identity {id}");
                continue;
            }
            let mut expected = texts(&identity["labels"]);
            if matches!(id, 105 | 113) {
                expected.retain(|label| !label.contains("namespace"));
            }
            let found = view.labels(Identity(id)).with_context(|| format!("identity {id} has no labels"))?;
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "identity {id}");
            compared += 1;
        }
        ensure!(compared == 10 + 10 + 3 + 8, "{compared} identities were compared");
        Ok(())
    })
}

fn release_and_settings_are_recognized() -> Result<Outcome> {
    on_node(|view, _| {
        assert_eq!(view.agent_version(), Some("1.17.0-dev"));
        assert_eq!(view.releases().releases().to_string(), "1.16 to 1.17");
        let world = view.world();
        assert_eq!((world.ipv4, world.ipv6), (Identity::WORLD_IPV4, Identity::WORLD_IPV6));
        let config = view.config().context("no settings")?;
        assert_eq!(
            (config.cluster_name.as_deref(), config.ipv4, config.ipv6),
            (Some("default"), Some(true), Some(true))
        );
        let names = view.maps().context("no maps")?.names()?;
        let pins = policy_pins(names.iter().map(String::as_str));
        let policy = pins.iter().find(|pin| pin.endpoint == EndpointId(260)).context("no policy map")?;
        assert_eq!(policy.name(), "cilium_policy_00260");
        assert!(pins.iter().all(|pin| pin.endpoint != EndpointId(9999)));
        assert!(view.events_map().is_some());
        Ok(())
    })
}
