//! Hubble's Peer service: this node is the only one that it knows.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use super::observer::Identity;
use super::proto::peer::peer_server::Peer;
use super::proto::peer::{ChangeNotification, ChangeNotificationType, NotifyRequest, Tls};
use super::ring::FlowRing;

/// The service.
#[derive(Clone, Debug)]
pub struct PeerService {
    ring: Arc<FlowRing>,
    me: Arc<Identity>,
}

impl PeerService {
    pub fn new(ring: Arc<FlowRing>, me: Arc<Identity>) -> Self {
        Self { ring, me }
    }
}

/// One notification; then open until the server ends, because a client takes the end for a broken connection.
pub struct Notifications {
    first: Option<ChangeNotification>,
    ring: Arc<FlowRing>,
    news: WatchStream<()>,
}

impl Stream for Notifications {
    type Item = Result<ChangeNotification, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        loop {
            if self.ring.is_closed() {
                return Poll::Ready(None);
            }
            if Pin::new(&mut self.news).poll_next(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    type NotifyStream = Notifications;

    async fn notify(&self, _: Request<NotifyRequest>) -> Result<Response<Notifications>, Status> {
        let first = ChangeNotification {
            name: self.me.node.clone(),
            address: self.me.address.clone(),
            r#type: ChangeNotificationType::PeerAdded.into(),
            tls: self.me.tls.then(Tls::default),
        };
        let news = WatchStream::from_changes(self.ring.news());
        Ok(Response::new(Notifications { first: Some(first), ring: Arc::clone(&self.ring), news }))
    }
}
