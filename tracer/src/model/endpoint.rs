//! Who is at an end of a flow.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use tracer_common::id::{EndpointId, Identity};

/// Labels of an identity in Cilium's string form (`k8s:app=shop`, `reserved:host`), sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(pub Box<[Box<str>]>);

impl Labels {
    /// Sorts the labels and drops duplicates.
    pub fn new(labels: impl IntoIterator<Item = String>) -> Self {
        let mut labels: Vec<Box<str>> = labels.into_iter().map(String::into_boxed_str).collect();
        labels.sort_unstable();
        labels.dedup();
        Self(labels.into_boxed_slice())
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The value of `source:key=value` for a key, whatever the source.
    pub fn value_of(&self, key: &str) -> Option<&str> {
        self.iter().find_map(|label| {
            let (_, rest) = label.split_once(':')?;
            rest.strip_prefix(key)?.strip_prefix('=')
        })
    }
}

/// Names of one address, shared: every event of the address carries them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsNames(Option<Arc<[Arc<str>]>>);

impl Deref for DnsNames {
    type Target = [Arc<str>];

    fn deref(&self) -> &[Arc<str>] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<Vec<Arc<str>>> for DnsNames {
    fn from(names: Vec<Arc<str>>) -> Self {
        Self((!names.is_empty()).then(|| names.into()))
    }
}

impl<const N: usize> From<[Arc<str>; N]> for DnsNames {
    fn from(names: [Arc<str>; N]) -> Self {
        Vec::from(names).into()
    }
}

/// A controller of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub name: String,
    pub kind: String,
}

/// A Cilium endpoint of this node, as far as the maps and the state files tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalEndpoint {
    pub id: EndpointId,
    /// 0 while the agent has not resolved it.
    pub identity: Identity,
    pub labels: Arc<Labels>,
    /// "" for the host, health and other special endpoints, and when no state file tells.
    pub namespace: String,
    /// "" when no state file tells.
    pub pod: String,
    pub workloads: Vec<Workload>,
    pub interface: String,
    pub ifindex: u32,
    pub addresses: Vec<IpAddr>,
    /// True when `pod`, `namespace` and `labels` come from a state file whose identity or address disagrees
    /// with the endpoint map: the id may have been re-used.
    pub stale_names: bool,
}

/// One end of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Set when the end is an endpoint of this node.
    pub endpoint: Option<Arc<LocalEndpoint>>,
    /// The identity that the datapath saw; `None` when nothing tells.
    pub identity: Option<Identity>,
    /// Where `identity` comes from.
    pub identity_source: IdentitySource,
    /// Labels of `identity`, if known here.
    pub labels: Option<Arc<Labels>>,
    /// Names that the DNS proxy has seen for the address, asked by the other end.
    pub dns_names: DnsNames,
}

/// Who said which identity an end has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdentitySource {
    #[default]
    None,
    /// The drop message or the drop note: what the datapath used at that moment.
    Datapath,
    /// The endpoint map (`cilium_lxc`), read now.
    Endpoint,
    /// The ipcache, read now.
    Ipcache,
    /// No ipcache entry covers the address: the datapath takes it for world.
    World,
}

impl Peer {
    /// Pod name, "" if unknown.
    pub fn pod(&self) -> &str {
        self.endpoint.as_ref().map_or("", |e| &e.pod)
    }

    /// Namespace of the local pod, else what the identity's labels tell, "" if unknown.
    pub fn namespace(&self) -> &str {
        match &self.endpoint {
            Some(e) if !e.namespace.is_empty() => &e.namespace,
            _ => self.labels().and_then(|l| l.value_of("io.kubernetes.pod.namespace")).unwrap_or(""),
        }
    }

    /// Labels of the identity, else of the local endpoint.
    pub fn labels(&self) -> Option<&Labels> {
        self.labels.as_deref().or_else(|| self.endpoint.as_ref().map(|e| &*e.labels))
    }

    /// Cluster name from the labels, "" if unknown.
    pub fn cluster(&self) -> &str {
        self.labels().and_then(|l| l.value_of("io.cilium.k8s.policy.cluster")).unwrap_or("")
    }

    /// Endpoint id, 0 if the end is not an endpoint of this node.
    pub fn endpoint_id(&self) -> EndpointId {
        self.endpoint.as_ref().map_or(EndpointId(0), |e| e.id)
    }
}
