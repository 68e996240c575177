//! What a flow needs to know of the node in order to name its two ends. The node view over Cilium's maps and
//! state files answers it; so does any fake in a test. Every answer is "as of now, as far as the node tells".

use std::net::IpAddr;
use std::sync::Arc;

use tracer_common::cilium::notify::DropGeneration;
use tracer_common::id::{EndpointId, Identity};

use super::endpoint::{DnsNames, IdentitySource, Labels, LocalEndpoint};

/// The node, asked by address, id and identity.
pub trait Names {
    /// The endpoint of this node that owns `ip`.
    fn endpoint_by_ip(&mut self, ip: IpAddr) -> Option<Arc<LocalEndpoint>>;

    fn endpoint_by_id(&mut self, id: EndpointId) -> Option<Arc<LocalEndpoint>>;

    /// Longest-prefix match in the ipcache: the identity that the datapath would use now
    /// ([`IdentitySource::World`] when no entry covers `ip`). `None`: no ipcache can be read.
    fn identity_of(&mut self, ip: IpAddr) -> Option<(Identity, IdentitySource)>;

    fn labels(&mut self, identity: Identity) -> Option<Arc<Labels>>;

    /// Names that the DNS proxy of endpoint `asker` has seen for `ip`.
    fn dns_names(&mut self, asker: EndpointId, ip: IpAddr) -> DnsNames;

    /// Whether `ip` is an address of this node.
    fn is_node_ip(&mut self, ip: IpAddr) -> bool;

    /// Whether an interface of the node's own network namespace belongs to Cilium or to an endpoint. `name`
    /// is "" when unknown.
    fn concerns_interface(&mut self, ifindex: u32, name: &str) -> bool;
}

/// The running kernel, asked by number and address.
pub trait KernelNames {
    /// Name of a drop reason without the common prefix (`NO_SOCKET`).
    fn drop_reason(&mut self, number: u32) -> Option<Arc<str>>;

    /// `symbol+0xoffset` of a code address.
    fn symbol(&mut self, address: u64) -> Option<Arc<str>>;
}

/// A source file of Cilium's datapath.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub name: &'static str,
    /// False: the exact release is not known, the name is that of the likeliest ones.
    pub certain: bool,
}

/// The table of file ids.
pub trait SourceFiles {
    /// Name of a file id. `sent_as`: layout of the drop message that carried the id; `None` for a note, which
    /// does not tell the release.
    fn source_file(&mut self, id: u8, sent_as: Option<DropGeneration>) -> Option<SourceFile>;
}
