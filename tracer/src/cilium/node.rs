//! The living view of a node: pinned maps and state files, kept current by [`NodeView::refresh`], which is
//! cheap to call often. Answers what naming asks ([`Names`]) without waiting for anybody. What went wrong or
//! changed is collected as notices, each told once.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use tracer_common::id::{EndpointId, Identity, MapId};

use super::endpoints::Endpoints;
use super::ipcache::{self, Answers};
use super::lxc::{self, LxcEntry};
use super::maps::{MapSource, PinnedMaps};
use super::metrics::{MetricsError, MetricsSnapshot};
use super::pins::{self, Change, Pin};
use super::release::{Evidence, Judgement, judge};
use super::source::NodeSource;
use super::state::config::AgentConfig;
use super::state::directory::StateDir;
use super::state::endpoint::EndpointState;
use super::state::file::{LiveFiles, Problem, StateFiles};
use super::table::Walk;
use super::trusted::TrustedMap;
use super::when::When;
use super::world::{World, WorldClues};
use super::{identity, release};
use crate::model::endpoint::{DnsNames, IdentitySource, Labels, LocalEndpoint};
use crate::model::names::Names;

/// Something to tell the user once.
#[derive(Debug)]
pub enum Notice {
    /// A pinned map appeared, changed, vanished or cannot be read.
    Map(Change),
    /// A map is open, but reading it failed.
    Read {
        map: &'static str,
        error: io::Error,
    },
    /// Entries of a map that could not be decoded.
    Undecoded {
        map: &'static str,
        entries: u64,
    },
    State(Problem),
    /// Evidence of the release that contradicts itself.
    Release(Judgement),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map(change) => change.fmt(f),
            Self::Read { map, error } => write!(f, "map `{map}`: cannot be read: {error}"),
            Self::Undecoded { map, entries } => {
                write!(f, "map `{map}`: {entries} entries have impossible bits")
            }
            Self::State(problem) => f.write_str(&problem.line()),
            Self::Release(Judgement::Conflict(one, other)) => {
                write!(f, "the release of Cilium is not clear: {one}, but {other}")
            }
            Self::Release(Judgement::Agreed(range)) => write!(f, "Cilium {range}"),
        }
    }
}

/// What a node is read from.
#[derive(Clone, Debug)]
pub struct Origin {
    pub maps: Option<Arc<dyn MapSource>>,
    pub files: Option<Arc<dyn StateFiles>>,
    pub when: When,
}

impl Origin {
    /// The running node.
    pub fn live(source: &NodeSource) -> Self {
        let maps = source.globals.as_deref().map(PinnedMaps::new);
        let files = source.state_dir.clone().map(LiveFiles);
        Self {
            maps: maps.map(|maps| Arc::new(maps) as _),
            files: files.map(|files| Arc::new(files) as _),
            when: When::Now,
        }
    }
}

/// The maps that naming and counting need.
#[derive(Debug)]
struct Pins {
    ipcache: Pin,
    lxc: Pin,
    metrics: Pin,
    events: Pin,
}

/// See the module's description.
#[derive(Debug)]
pub struct NodeView {
    source: NodeSource,
    origin: Origin,
    pins: Option<Pins>,
    state: Option<StateDir>,
    /// The time that answers are given for.
    now: Instant,
    lxc: Vec<LxcEntry>,
    /// For reading the endpoint map into, so that a refresh without change allocates nothing.
    lxc_next: Vec<LxcEntry>,
    lxc_read: Option<Instant>,
    lxc_known: bool,
    lxc_undecoded: u64,
    lxc_failed: bool,
    endpoints: Endpoints,
    labels: TrustedMap<Identity, Arc<Labels>>,
    answers: Answers,
    world: World,
    releases: Judgement,
    notices: Vec<Notice>,
}

impl NodeView {
    /// Opens what `source` found and reads it a first time.
    pub fn new(source: NodeSource, now: Instant) -> Self {
        let origin = Origin::live(&source);
        Self::over(source, origin, now)
    }

    /// The view of a node that is kept elsewhere; `source` then only says where.
    pub fn over(source: NodeSource, origin: Origin, now: Instant) -> Self {
        let pins = origin.maps.as_ref().map(|maps| Pins {
            ipcache: Pin::new(maps.clone(), &pins::IPCACHE),
            lxc: Pin::new(maps.clone(), &pins::LXC),
            metrics: Pin::new(maps.clone(), &pins::METRICS),
            events: Pin::new(maps.clone(), &pins::EVENTS),
        });
        let releases = judge(&[]);
        let mut view = Self {
            pins,
            state: origin.files.clone().map(StateDir::new),
            source,
            origin,
            now,
            lxc: Vec::new(),
            lxc_next: Vec::new(),
            lxc_read: None,
            lxc_known: false,
            lxc_undecoded: 0,
            lxc_failed: false,
            endpoints: Endpoints::default(),
            labels: TrustedMap::default(),
            answers: Answers::default(),
            world: World::decide(&WorldClues::default(), releases.releases()),
            releases,
            notices: Vec::new(),
        };
        view.refresh(now);
        view
    }

    /// Looks for changes, as far as it is time to look, and makes `now` the time of all answers that follow.
    pub fn refresh(&mut self, now: Instant) {
        self.now = now;
        let pins_changed = self.check_pins();
        let lxc_changed = self.read_lxc(pins_changed);
        let state_changed = self.read_state();
        if pins_changed || lxc_changed || state_changed {
            self.rebuild();
        }
    }

    fn check_pins(&mut self) -> bool {
        let Some(pins) = &mut self.pins else { return false };
        let ipcache = pins.ipcache.check(self.now);
        if ipcache.is_some() {
            self.answers.forget();
        }
        let all =
            [ipcache, pins.lxc.check(self.now), pins.metrics.check(self.now), pins.events.check(self.now)];
        let mut changed = false;
        for change in all.into_iter().flatten() {
            changed = true;
            if !matches!(change, Change::Opened) {
                self.notices.push(Notice::Map(change));
            }
        }
        changed
    }

    /// Reads the endpoint map, at most as often as pins are checked; true if it differs from before.
    fn read_lxc(&mut self, at_once: bool) -> bool {
        let Some(pins) = &self.pins else { return false };
        let due = |at| self.now.saturating_duration_since(at) >= pins::CHECK_INTERVAL;
        if !at_once && !self.lxc_read.is_none_or(due) {
            return false;
        }
        self.lxc_read = Some(self.now);
        let Some(map) = pins.lxc.opened() else { return std::mem::take(&mut self.lxc_known) };
        match lxc::read_all(map, &mut self.lxc_next) {
            Ok((Walk::Complete, undecoded)) => self.take_lxc(undecoded),
            // An incomplete listing is no reason to forget endpoints: the next one will do.
            Ok(_) => false,
            Err(error) => {
                if !std::mem::replace(&mut self.lxc_failed, true) {
                    self.notices.push(Notice::Read { map: map.layout.name, error });
                }
                false
            }
        }
    }

    fn take_lxc(&mut self, undecoded: u64) -> bool {
        self.lxc_failed = false;
        if undecoded > std::mem::replace(&mut self.lxc_undecoded, undecoded) {
            self.notices.push(Notice::Undecoded { map: pins::LXC[0].name, entries: undecoded });
        }
        let changed = !self.lxc_known || self.lxc != self.lxc_next;
        self.lxc_known = true;
        std::mem::swap(&mut self.lxc, &mut self.lxc_next);
        changed
    }

    fn read_state(&mut self) -> bool {
        let Some(state) = &mut self.state else { return false };
        let changed = state.refresh(self.now);
        self.notices.extend(state.take_problems().into_iter().map(Notice::State));
        changed
    }

    /// Works out everything that follows from maps and files.
    fn rebuild(&mut self) {
        let lxc = self.lxc_known.then_some(self.lxc.as_slice());
        self.endpoints = Endpoints::join(lxc, self.state.iter().flat_map(StateDir::endpoints));
        let releases = judge(&self.evidence());
        if matches!(releases, Judgement::Conflict(..)) && releases != self.releases {
            self.notices.push(Notice::Release(releases.clone()));
        }
        self.releases = releases;
        self.labels = self.known_labels();
        self.world = World::decide(&self.world_clues(), self.releases.releases());
    }

    /// What tells the release: the agent's version, and of each map the newest name.
    fn evidence(&self) -> Vec<Evidence> {
        let agent = self.state.as_ref().and_then(StateDir::agent_version).cloned().map(Evidence::Agent);
        let mut evidence: Vec<Evidence> = agent.into_iter().collect();
        let Some(maps) = &self.origin.maps else { return evidence };
        let names = maps.names().unwrap_or_default();
        let policy = pins::policy_pins(names.iter().map(String::as_str));
        let newest_policy = policy.into_iter().max_by_key(|pin| pin.version);
        evidence.extend(newest_policy.map(|pin| Evidence::Pin(pin.name())));
        let newest_ipcache = pins::IPCACHE.iter().find(|layout| names.iter().any(|name| name == layout.name));
        evidence.extend(newest_ipcache.map(|layout| Evidence::Pin(layout.name.to_owned())));
        let telling =
            |name: &&String| !name.starts_with("cilium_policy_") && !name.starts_with("cilium_ipcache");
        evidence.extend(
            names.iter().filter(telling).cloned().map(Evidence::Pin).filter(|e| e.releases().is_some()),
        );
        if self.metrics_snapshot().is_some_and(|m| m.is_ok_and(|m| m.has_places() == Some(true))) {
            evidence.push(Evidence::MetricsPlaces);
        }
        evidence
    }

    /// Labels by identity from files; endpoints know the labels of their own identity best.
    fn known_labels(&self) -> TrustedMap<Identity, Arc<Labels>> {
        let Some(state) = &self.state else { return TrustedMap::default() };
        let local = state.local_identities().iter();
        let mut labels: TrustedMap<_, _> =
            local.map(|(identity, labels)| (*identity, labels.clone())).collect();
        let resolved = state.endpoints().filter(|endpoint| endpoint.identity.0 != 0);
        labels.extend(resolved.map(|endpoint| (endpoint.identity, endpoint.labels.clone())));
        labels
    }

    fn world_clues(&self) -> WorldClues {
        let map = self.pins.as_ref().and_then(|pins| pins.ipcache.opened());
        let route = |ip| map.and_then(|map| ipcache::default_route(map, ip).ok().flatten());
        let per_family = |labels: &Arc<Labels>| labels.iter().any(|l| l.starts_with("reserved:world-ipv"));
        let config = self.config();
        WorldClues {
            default_route: [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()].map(route),
            has_world_label_per_family: self
                .state
                .as_ref()
                .is_some_and(|s| s.local_identities().values().any(per_family)),
            enabled: config.and_then(|c| c.ipv4.zip(c.ipv6)),
        }
    }

    /// Notices since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// The identities that have labels here, without asking about each number.
    pub fn named_identities(&self) -> Vec<Identity> {
        let releases = self.releases.releases();
        let fixed = identity::fixed().filter(|id| identity::labels(*id, releases, None).is_some());
        let mut all: Vec<Identity> = fixed.collect();
        if let Some(state) = &self.state {
            all.extend(state.local_identities().keys());
        }
        all.extend(self.endpoints.iter().map(|endpoint| endpoint.identity));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The node's maps by name; `None`: it has no Cilium.
    pub fn maps(&self) -> Option<&Arc<dyn MapSource>> {
        self.origin.maps.as_ref()
    }

    /// The agent's state files.
    pub fn state_files(&self) -> Option<&Arc<dyn StateFiles>> {
        self.origin.files.as_ref()
    }

    /// The time that maps and files are of.
    pub fn when(&self) -> When {
        self.origin.when
    }

    /// Where the node was found.
    pub fn source(&self) -> &NodeSource {
        &self.source
    }

    /// Whether any of Cilium's maps is here.
    pub fn has_cilium(&self) -> bool {
        self.pins.is_some()
    }

    /// The id of the map that Cilium's messages go through, for the message tap.
    pub fn events_map(&self) -> Option<MapId> {
        self.pins.as_ref()?.events.map_id()
    }

    /// The counters as they are now. `None`: no such map, or one that cannot be read.
    pub fn metrics_snapshot(&self) -> Option<Result<MetricsSnapshot, MetricsError>> {
        self.pins.as_ref()?.metrics.opened().map(MetricsSnapshot::read)
    }

    pub fn releases(&self) -> &Judgement {
        &self.releases
    }

    /// The releases to take names of files and slots from, given the length of a drop message if one was seen.
    pub fn releases_for(&self, drop_message: Option<usize>) -> release::ReleaseRange {
        let known = self.releases.releases();
        let said = drop_message.and_then(release::ReleaseRange::of_drop_message).unwrap_or(known);
        known.intersect(said).unwrap_or(said)
    }

    pub fn world(&self) -> World {
        self.world
    }

    pub fn config(&self) -> Option<&AgentConfig> {
        self.state.as_ref().map(StateDir::config)
    }

    pub fn agent_version(&self) -> Option<&str> {
        self.state.as_ref()?.agent_version().map(|agent| agent.version.as_str())
    }

    /// The node that owns an address, from the agent's list of nodes.
    pub fn node_name(&self, ip: IpAddr) -> Option<&Arc<str>> {
        self.state.as_ref()?.node_name(ip)
    }

    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Addresses of this node's endpoints.
    pub fn endpoint_ips(&self) -> impl Iterator<Item = IpAddr> {
        self.endpoints.ips()
    }

    /// What the agent wrote about an endpoint.
    pub fn endpoint_state(&self, id: EndpointId) -> Option<&Arc<EndpointState>> {
        self.state.as_ref()?.endpoint(id)
    }

    /// Node-local identities (CIDR, FQDN) with their labels.
    pub fn local_identities(&self) -> impl Iterator<Item = (Identity, &Arc<Labels>)> {
        let known = self.state.as_ref().map(StateDir::local_identities);
        known.into_iter().flatten().map(|(identity, labels)| (*identity, labels))
    }

    /// The pinned ipcache, for listings.
    pub fn ipcache(&self) -> Option<&pins::Opened> {
        self.pins.as_ref()?.ipcache.opened()
    }

    /// The endpoint map as of the last refresh, by address.
    pub fn lxc_entries(&self) -> &[LxcEntry] {
        &self.lxc
    }
}

impl Names for NodeView {
    fn endpoint_by_ip(&mut self, ip: IpAddr) -> Option<Arc<LocalEndpoint>> {
        self.endpoints.by_ip(ip).cloned()
    }

    fn endpoint_by_id(&mut self, id: EndpointId) -> Option<Arc<LocalEndpoint>> {
        self.endpoints.by_id(id).cloned()
    }

    fn identity_of(&mut self, ip: IpAddr) -> Option<(Identity, IdentitySource)> {
        let answer = self.answers.identity(&self.pins.as_ref()?.ipcache, ip, self.now)?;
        Some(match answer.filter(|identity| identity.0 != 0) {
            Some(identity) => (identity, IdentitySource::Ipcache),
            None => (self.world.of(ip), IdentitySource::World),
        })
    }

    fn labels(&mut self, identity: Identity) -> Option<Arc<Labels>> {
        if let Some(labels) = self.labels.get(&identity) {
            return Some(labels.clone());
        }
        let cluster = self.state.as_ref().and_then(|state| state.config().cluster_name.as_deref());
        let labels = Arc::new(identity::labels(identity, self.releases.releases(), cluster)?);
        self.labels.insert(identity, labels.clone());
        Some(labels)
    }

    fn dns_names(&mut self, asker: EndpointId, ip: IpAddr) -> DnsNames {
        let state = self.state.as_ref().and_then(|state| state.endpoint(asker));
        state.and_then(|endpoint| endpoint.dns_names.get(&ip)).cloned().unwrap_or_default()
    }

    fn is_node_ip(&mut self, ip: IpAddr) -> bool {
        self.endpoints.is_node_ip(ip)
    }

    fn concerns_interface(&mut self, ifindex: u32, name: &str) -> bool {
        name.starts_with("cilium_") || is_endpoint_device(name) || self.endpoints.has_interface(ifindex, name)
    }
}

/// Whether Cilium gives such a name to the host side of an endpoint's device pair: `lxc` and a hash, or
/// `lxc_health`; not the bridge of the container tool with that name.
pub fn is_endpoint_device(name: &str) -> bool {
    name.strip_prefix("lxc").is_some_and(|rest| !rest.is_empty() && !rest.starts_with("br"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn view(state_dir: &std::path::Path) -> NodeView {
        let source = NodeSource { state_dir: Some(state_dir.to_owned()), ..NodeSource::default() };
        NodeView::new(source, Instant::now())
    }

    fn node() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "7/ep_config.json",
            r#"{"ID":7,"K8sPodName":"shop","K8sNamespace":"prod","IPv4":"10.0.1.5","IfName":"lxcabc","IfIndex":9,
                "SecLabel":{"id":50001,"labels":{"app":{"key":"app","value":"shop","source":"k8s"}}},
                "DNSHistory":[{"fqdn":"api.example.org.","ips":["198.51.100.7"]}]}"#,
        );
        write("agent-runtime-config.json", r#"{"ClusterName":"east","EnableIPv4":true,"EnableIPv6":false}"#);
        write(
            "local_allocator_state.json",
            r#"[{"id":16777217,"labels":{"x":{"key":"10.0.0.0/8","source":"cidr"}}}]"#,
        );
        write("nodes.json", r#"[{"Name":"two","IPAddresses":[{"IP":"172.30.0.3"}]}]"#);
        write("8/ep_config.json", "oops");
        dir
    }

    #[test]
    fn a_node_without_maps_is_named_from_its_files() {
        let dir = node();
        let mut view = view(dir.path());
        let ip: IpAddr = "10.0.1.5".parse().unwrap();
        let found = view.endpoint_by_ip(ip).unwrap();
        assert_eq!((found.namespace.as_str(), found.pod.as_str()), ("prod", "shop"));
        assert!(!found.stale_names);
        assert_eq!(view.endpoint_by_id(EndpointId(7)).unwrap(), found);
        assert_eq!(view.endpoint_ips().collect::<Vec<_>>(), [ip]);
        assert_eq!(&**view.node_name("172.30.0.3".parse().unwrap()).unwrap(), "two");
        let names = view.dns_names(EndpointId(7), "198.51.100.7".parse().unwrap());
        assert_eq!(names.iter().map(|n| &**n).collect::<Vec<_>>(), ["api.example.org"]);
        assert_eq!(view.identity_of(ip), None);
        assert_eq!((view.has_cilium(), view.events_map()), (false, None));
    }

    #[test]
    fn labels_come_from_files_and_from_the_table_of_reserved_identities() {
        let dir = node();
        let mut view = view(dir.path());
        let mut labels = |id| view.labels(Identity(id)).map(|l| l.iter().collect::<Vec<_>>().join(","));
        assert_eq!(labels(50001).as_deref(), Some("k8s:app=shop"));
        assert_eq!(labels(16_777_217).as_deref(), Some("cidr:10.0.0.0/8"));
        assert_eq!(labels(1).as_deref(), Some("reserved:host"));
        assert!(labels(104).unwrap().contains("k8s:io.cilium.k8s.policy.cluster=east"));
        assert_eq!(labels(50002), None);
    }

    #[test]
    fn problems_of_files_are_notices_told_once() {
        let dir = node();
        let mut view = view(dir.path());
        let notices: Vec<String> = view.take_notices().iter().map(ToString::to_string).collect();
        assert_eq!(notices.len(), 1);
        assert!(
            notices[0].contains("8/ep_config.json` is not the JSON that an agent writes: "),
            "{notices:?}"
        );
        view.refresh(Instant::now() + Duration::from_secs(10));
        assert!(view.take_notices().is_empty());
    }

    #[test]
    fn interfaces_of_cilium_and_of_endpoints_concern_us() {
        let dir = node();
        let mut view = view(dir.path());
        for (ifindex, name, expected) in [
            (2, "cilium_vxlan", true),
            (3, "lxc5d41402abc4b", true),
            (4, "lxc_health", true),
            (9, "", true),
            (9, "renamed", true),
            (5, "eth0", false),
            (6, "lxcbr0", false),
            (0, "", false),
        ] {
            assert_eq!(view.concerns_interface(ifindex, name), expected, "{ifindex} {name}");
        }
    }
}
