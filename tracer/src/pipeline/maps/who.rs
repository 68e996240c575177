//! From an endpoint as typed to the endpoint of this node.

use std::sync::Arc;

use tracer_common::id::EndpointId;

use crate::cilium::node::NodeView;
use crate::cli::endpoint::EndpointName;
use crate::model::endpoint::LocalEndpoint;
use crate::pipeline::RunError;

/// The id of the endpoint. An id need not be known otherwise; everything else must.
pub fn id(name: &EndpointName, view: &NodeView) -> Result<EndpointId, RunError> {
    match name {
        EndpointName::Id(id) => Ok(*id),
        EndpointName::Ip(ip) => found(name, view.endpoints().by_ip(*ip)),
        EndpointName::Pod { namespace, name: pod } => {
            let is_it = |e: &&Arc<LocalEndpoint>| e.namespace == *namespace && e.pod == *pod;
            // Names of an endpoint that is gone may stand in a file still.
            let best = view.endpoints().iter().filter(is_it).min_by_key(|e| e.stale_names);
            found(name, best)
        }
    }
}

fn found(name: &EndpointName, endpoint: Option<&Arc<LocalEndpoint>>) -> Result<EndpointId, RunError> {
    let id = endpoint.map(|endpoint| endpoint.id);
    id.ok_or_else(|| {
        RunError::NoMap(format!("no endpoint `{name}` on this node; `tracer endpoints list` has all"))
    })
}
