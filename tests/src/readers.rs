//! Many readers of one Hubble server: what each of them got, and what it was told to have missed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::proto::observer::observer_client::ObserverClient;
use crate::proto::observer::{FlowsRequest, FlowsResponse, Nothing};

/// Readers that share a connection, as a relay's do.
const PER_CONNECTION: usize = 10;
/// How often a reader without news looks whether it has everything.
const LOOK: Duration = Duration::from_millis(200);
/// A server that says nothing for so long has forgotten its reader.
const PATIENCE: u32 = 150;

/// A connection to the server on a unix socket.
pub async fn connect(socket: &Path) -> Result<Channel> {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://tracer").connect_with_connector(connector).await;
    channel.with_context(|| format!("cannot connect to {}", socket.display()))
}

/// Flows that the server has seen so far.
pub async fn seen(client: &mut ObserverClient<Channel>) -> Result<u64> {
    Ok(client.server_status(Nothing {}).await?.into_inner().seen_flows)
}

/// What one reader got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Got {
    pub flows: u64,
    pub lost: u64,
}

/// Readers that follow from now on.
pub struct Readers {
    tasks: JoinSet<Result<Got>>,
    expected: Arc<AtomicU64>,
}

impl Readers {
    pub async fn start(socket: &Path, count: usize) -> Result<Self> {
        let (mut tasks, expected) = (JoinSet::new(), Arc::new(AtomicU64::new(u64::MAX)));
        for first in (0..count).step_by(PER_CONNECTION) {
            let mut client = ObserverClient::new(connect(socket).await?);
            for _ in first..count.min(first + PER_CONNECTION) {
                let request = FlowsRequest { follow: true, ..FlowsRequest::default() };
                let stream = client.get_flows(request).await?.into_inner();
                tasks.spawn(read(stream, Arc::clone(&expected)));
            }
        }
        Ok(Self { tasks, expected })
    }

    /// Waits until each has heard of `expected` flows, as a flow or as one that it missed.
    pub async fn finish(mut self, expected: u64) -> Result<Vec<Got>> {
        self.expected.store(expected, Ordering::Release);
        let mut all = Vec::new();
        while let Some(got) = self.tasks.join_next().await {
            all.push(got??);
        }
        Ok(all)
    }
}

async fn read(mut stream: Streaming<FlowsResponse>, expected: Arc<AtomicU64>) -> Result<Got> {
    let (mut got, mut looks) = (Got::default(), 0);
    loop {
        let wanted = expected.load(Ordering::Acquire);
        let heard = got.flows + got.lost;
        if heard >= wanted {
            ensure!(heard == wanted, "{got:?}, but there were {wanted} flows");
            return Ok(got);
        }
        let Ok(response) = timeout(LOOK, stream.message()).await else {
            looks += u32::from(wanted != u64::MAX);
            ensure!(looks < PATIENCE, "{got:?} of {wanted} flows, and nothing more comes");
            continue;
        };
        let response = response?.context("the stream ended")?;
        got.flows += u64::from(response.flow.is_some());
        got.lost += response.lost_events.map_or(0, |event| event.num_events_lost);
    }
}
