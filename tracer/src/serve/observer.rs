//! Hubble's Observer service over the ring.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use super::cursor::{Cursor, Flows, Question};
use super::mask::Mask;
use super::proto::observer::observer_server::Observer;
use super::proto::observer::{
    GetAgentEventsRequest, GetAgentEventsResponse, GetDebugEventsRequest, GetDebugEventsResponse,
    GetFlowsRequest, GetNamespacesRequest, GetNamespacesResponse, GetNodesRequest, GetNodesResponse,
    Namespace, Node, ServerStatusRequest, ServerStatusResponse, Tls,
};
use super::proto::relay::NodeState;
use super::ring::FlowRing;
use super::selection::filter_set;
use crate::kernel::clock::wall_now;
use crate::model::time::WallTime;

const SECOND: i64 = 1_000_000_000;
/// The flows of this time make the rate.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// What a server says of itself.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `cluster/node`, or the bare node name.
    pub node: String,
    /// Cluster name, "" if unknown.
    pub cluster: String,
    /// Where others reach it: `ADDRESS:PORT`, or `unix://PATH`.
    pub address: String,
    /// Whether that address wants TLS.
    pub tls: bool,
    pub started: Instant,
}

/// `tracer 0.1.0`.
pub const VERSION: &str = concat!("tracer ", env!("CARGO_PKG_VERSION"));

/// The service.
#[derive(Clone, Debug)]
pub struct ObserverService {
    ring: Arc<FlowRing>,
    me: Arc<Identity>,
}

impl ObserverService {
    pub fn new(ring: Arc<FlowRing>, me: Arc<Identity>) -> Self {
        Self { ring, me }
    }

    fn uptime_ns(&self) -> u64 {
        self.me.started.elapsed().as_nanos() as u64
    }

    fn question(&self, request: &GetFlowsRequest) -> Result<Question, Status> {
        if request.first && request.follow {
            return Err(Status::invalid_argument("`first` and `follow` cannot be combined"));
        }
        let filter = filter_set(&request.whitelist, &request.blacklist, &self.me.node)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let experimental = || request.experimental.as_ref()?.field_mask.as_ref();
        let paths = request.field_mask.as_ref().or_else(experimental).map(|mask| mask.paths.as_slice());
        let mask = Mask::new(paths.unwrap_or_default())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Question {
            filter,
            mask,
            number: request.number,
            first: request.first,
            follow: request.follow,
            since: request.since.as_ref().map(wall_time),
            until: request.until.as_ref().map(wall_time),
        })
    }

    /// Flows a second: those that are kept and not older than the window.
    fn rate(&self) -> f64 {
        let window = RATE_WINDOW.min(self.me.started.elapsed());
        let since = wall_now().0 - window.as_nanos() as i64;
        let mut oldest = None;
        let recent = self.ring.newest_first().take_while(|entry| entry.time.0 >= since);
        let flows =
            recent.inspect(|entry| oldest = Some(entry.time)).filter(|entry| entry.flow.is_some()).count();
        // A ring that is too small for the window tells of the time that it covers.
        let seconds = match oldest {
            Some(oldest) if flows as u64 >= self.ring.kept() => {
                (wall_now().0 - oldest.0) as f64 / SECOND as f64
            }
            _ => window.as_secs_f64(),
        };
        if seconds > 0.0 { flows as f64 / seconds } else { 0.0 }
    }
}

/// Out of range is as far as it goes.
fn wall_time(time: &Timestamp) -> WallTime {
    WallTime(time.seconds.saturating_mul(SECOND).saturating_add(time.nanos.into()))
}

/// A stream that ends at once.
type Nothing<T> = tokio_stream::Empty<Result<T, Status>>;

#[tonic::async_trait]
impl Observer for ObserverService {
    type GetFlowsStream = Flows;
    type GetAgentEventsStream = Nothing<GetAgentEventsResponse>;
    type GetDebugEventsStream = Nothing<GetDebugEventsResponse>;

    async fn get_flows(&self, request: Request<GetFlowsRequest>) -> Result<Response<Flows>, Status> {
        let question = self.question(request.get_ref())?;
        let cursor = Cursor::new(Arc::clone(&self.ring), question, &self.me.node);
        Ok(Response::new(Flows::new(cursor)))
    }

    async fn get_agent_events(
        &self,
        _: Request<GetAgentEventsRequest>,
    ) -> Result<Response<Self::GetAgentEventsStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    async fn get_debug_events(
        &self,
        _: Request<GetDebugEventsRequest>,
    ) -> Result<Response<Self::GetDebugEventsStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    async fn get_nodes(&self, _: Request<GetNodesRequest>) -> Result<Response<GetNodesResponse>, Status> {
        let node = Node {
            name: self.me.node.clone(),
            version: VERSION.to_owned(),
            address: self.me.address.clone(),
            state: NodeState::NodeConnected.into(),
            tls: Some(Tls { enabled: self.me.tls, server_name: String::new() }),
            uptime_ns: self.uptime_ns(),
            num_flows: self.ring.kept(),
            max_flows: self.ring.capacity(),
            seen_flows: self.ring.seen(),
        };
        Ok(Response::new(GetNodesResponse { nodes: vec![node] }))
    }

    async fn get_namespaces(
        &self,
        _: Request<GetNamespacesRequest>,
    ) -> Result<Response<GetNamespacesResponse>, Status> {
        let mut found = BTreeSet::new();
        for entry in self.ring.newest_first() {
            for peer in entry.flow.iter().flat_map(|flow| [&flow.src, &flow.dst]) {
                let cluster = if peer.cluster().is_empty() { &self.me.cluster } else { peer.cluster() };
                if !peer.namespace().is_empty() {
                    found.insert((cluster.to_owned(), peer.namespace().to_owned()));
                }
            }
        }
        let namespaces = found.into_iter().map(|(cluster, namespace)| Namespace { cluster, namespace });
        Ok(Response::new(GetNamespacesResponse { namespaces: namespaces.collect() }))
    }

    async fn server_status(
        &self,
        _: Request<ServerStatusRequest>,
    ) -> Result<Response<ServerStatusResponse>, Status> {
        Ok(Response::new(ServerStatusResponse {
            num_flows: self.ring.kept(),
            max_flows: self.ring.capacity(),
            seen_flows: self.ring.seen(),
            uptime_ns: self.uptime_ns(),
            num_connected_nodes: Some(1),
            num_unavailable_nodes: Some(0),
            unavailable_nodes: Vec::new(),
            version: VERSION.to_owned(),
            flows_rate: self.rate(),
        }))
    }
}
