//! Figures for Prometheus and answers for those who ask whether we live.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::listen::{Connection, Stop};
use super::metrics::{Family, Format};

/// A client has to send its request within this time.
const REQUEST: Duration = Duration::from_secs(10);

/// Where the figures come from.
pub trait Figures: Send + Sync + 'static {
    fn gather(&self) -> Pin<Box<dyn Future<Output = Vec<Family>> + Send + '_>>;

    /// `None`: events are read. Else why not.
    fn not_ready(&self) -> Option<String>;
}

/// Serves one connection until it ends.
pub async fn serve(connection: impl Connection, mut stop: Stop, figures: Arc<dyn Figures>) {
    let service = service_fn(move |request| {
        let figures = Arc::clone(&figures);
        async move { Ok::<_, Infallible>(answer(&request, &*figures).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
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

async fn answer(request: &Request<Incoming>, figures: &dyn Figures) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        "/metrics" => {
            let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
            let format = Format::wanted(accept.unwrap_or_default());
            let text = format.write(&figures.gather().await);
            response(StatusCode::OK, format.content_type(), text)
        }
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        "/readyz" => match figures.not_ready() {
            None => plain(StatusCode::OK, "ok\n"),
            Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n")),
        },
        _ => plain(StatusCode::NOT_FOUND, "/metrics, /healthz and /readyz are here\n"),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text.to_owned())
}

fn response(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
