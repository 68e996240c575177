//! From a path to the service that it names. A connection is HTTP/2 from its first byte, as gRPC wants it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tonic_reflection::server::v1alpha::{
    ServerReflection as ServerReflectionAlpha, ServerReflectionServer as ServerReflectionServerAlpha,
};

use super::listen::Stop;
use super::observer::{Identity, ObserverService};
use super::peer::PeerService;
use super::proto::SCHEMA;
use super::proto::observer::observer_server::ObserverServer;
use super::proto::peer::peer_server::PeerServer;
use super::ring::FlowRing;

/// A request with filters is short.
const MAX_REQUEST: usize = 1 << 20;
/// A client that does not answer for so long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Calls that one connection may have at work.
const MAX_CALLS: u32 = 128;
/// Bytes that wait for one slow client; past that its stream rests. As much as a client lets be under way unless it asks
/// for more; a hundred slow ones hold back a hundred times this.
const MAX_WAITING: usize = 64 * 1024;

/// All services.
pub struct Router<R, A> {
    observer: ObserverServer<ObserverService>,
    peer: PeerServer<PeerService>,
    health: HealthServer<HealthService>,
    reflection: ServerReflectionServer<R>,
    reflection_alpha: ServerReflectionServerAlpha<A>,
}

/// The services over a ring.
pub async fn router(
    ring: &Arc<FlowRing>,
    me: &Arc<Identity>,
) -> Result<Arc<Router<impl ServerReflection, impl ServerReflectionAlpha>>, tonic_reflection::server::Error> {
    let observer = ObserverServer::new(ObserverService::new(Arc::clone(ring), Arc::clone(me)));
    let peer = PeerServer::new(PeerService::new(Arc::clone(ring), Arc::clone(me)));
    let reporter = HealthReporter::new();
    reporter.set_serving::<ObserverServer<ObserverService>>().await;
    reporter.set_serving::<PeerServer<PeerService>>().await;
    let schema = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(SCHEMA)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Arc::new(Router {
        observer: observer.max_decoding_message_size(MAX_REQUEST),
        peer: peer.max_decoding_message_size(MAX_REQUEST),
        health: HealthServer::new(HealthService::from_health_reporter(reporter)),
        reflection: schema().build_v1()?,
        reflection_alpha: schema().build_v1alpha()?,
    }))
}

impl<R: ServerReflection, A: ServerReflectionAlpha> Router<R, A> {
    async fn route(&self, request: Request<Incoming>) -> Response<Body> {
        let service = request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default();
        let answer: Result<Response<Body>, Infallible> = match service {
            "observer.Observer" => self.observer.clone().call(request).await,
            "peer.Peer" => self.peer.clone().call(request).await,
            "grpc.health.v1.Health" => self.health.clone().call(request).await,
            "grpc.reflection.v1.ServerReflection" => self.reflection.clone().call(request).await,
            "grpc.reflection.v1alpha.ServerReflection" => self.reflection_alpha.clone().call(request).await,
            other => Ok(Status::unimplemented(format!("no service `{other}` here")).into_http()),
        };
        let Ok(answer) = answer;
        answer
    }

    /// Serves one connection until it ends, or, once `stop` says so, until its calls have ended.
    pub async fn serve<I>(self: Arc<Self>, connection: I, mut stop: Stop)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request| {
            let router = Arc::clone(&self);
            async move { Ok::<_, Infallible>(router.route(request).await) }
        });
        let serving = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .max_concurrent_streams(MAX_CALLS)
            .max_send_buf_size(MAX_WAITING)
            .serve_connection(TokioIo::new(connection), service);
        let mut serving = std::pin::pin!(serving);
        let result = tokio::select! {
            result = serving.as_mut() => result,
            () = stop.wanted() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "connection");
        }
    }
}
