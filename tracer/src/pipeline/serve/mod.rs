//! `tracer serve`: the reader of `drops` with the ring of flows as its sink, and the listeners around that ring.

mod figures;
mod maps;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::RunError;
use super::drops::{attach, finish, reader, start};
use super::sinks::Sink;
use super::stop::Signals;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::serve::{ServePlan, TcpPlan};
use crate::model::flow::Flow;
use crate::output::Node;
use crate::output::lost::Lost;
use crate::output::why::brief::Rendered;
use crate::serve::drops::DropCounts;
use crate::serve::error::ServeError;
use crate::serve::http;
use crate::serve::listen::{Connections, Stop, Tcp, Unix, group_id};
use crate::serve::observer::Identity;
use crate::serve::ring::FlowRing;
use crate::serve::router::router;
use crate::serve::sink::RingSink;
use crate::serve::tls::Tls;
use figures::NodeFigures;

/// Runs the command; the exit code is the caller's to return.
pub fn run(global: &Global, plan: ServePlan) -> Result<Exit, RunError> {
    super::live_only(global, "serve")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(global, plan))
}

/// The sockets. Made first, so that a wrong address ends the command before anything is attached.
struct Listeners {
    unix: Unix,
    tcp: Option<(Tcp, Option<Tls>)>,
    metrics: Option<Tcp>,
}

impl Listeners {
    async fn bind(plan: &ServePlan) -> Result<Self, ServeError> {
        let tcp = match &plan.tcp {
            None => None,
            Some(TcpPlan { address, tls }) => {
                let tls = tls.clone().map(Tls::load).transpose()?;
                Some((Tcp::bind(*address).await?, tls))
            }
        };
        let metrics = match plan.metrics {
            None => None,
            Some(address) => Some(Tcp::bind(address).await?),
        };
        let group = plan.group.as_deref().map(group_id).transpose()?;
        Ok(Self { unix: Unix::bind(&plan.socket, group)?, tcp, metrics })
    }

    fn tls(&self) -> Option<&Tls> {
        self.tcp.as_ref().and_then(|(_, tls)| tls.as_ref())
    }

    /// What listens where, for stderr.
    fn lines(&self, plan: &ServePlan) -> Vec<String> {
        let mut lines = vec![format!("flows: unix://{}", plan.socket.display())];
        if let Some((tcp, tls)) = &self.tcp {
            let how = match tls {
                Some(_) if plan.tcp.iter().any(|tcp| tcp.tls.iter().any(|tls| tls.client_ca.is_some())) => {
                    "TLS, clients need a certificate"
                }
                Some(_) => "TLS",
                None => "in the clear",
            };
            lines.push(format!("flows: {} ({how})", tcp.address));
        }
        lines.extend(self.metrics.iter().map(|tcp| format!("metrics: http://{}/metrics", tcp.address)));
        lines
    }
}

async fn serve(global: &Global, mut plan: ServePlan) -> Result<Exit, RunError> {
    let mut signals = Signals::new()?;
    let mut hangup = signal(SignalKind::hangup())?;
    let listeners = Listeners::bind(&plan).await?;
    let attached = attach(global, &mut plan.watch)?;
    if !global.quiet {
        listeners.lines(&plan).iter().for_each(|line| eprintln!("{line}"));
    }
    let node = attached.node();
    let ring = Arc::new(FlowRing::new(plan.max_flows.get() as usize));
    let drops = Arc::new(DropCounts::default());
    let figures = Arc::new(NodeFigures::new(global, Arc::clone(&ring), Arc::clone(&drops)));
    let me = Arc::new(identity(&listeners, &plan, &node));
    let services = router(&ring, &me).await.map_err(ServeError::from)?;

    let ready_file = plan.watch.ready_file.take();
    let sink = RingSink::new(Arc::clone(&ring), drops, &node);
    let mut reader = reader(attached, plan.watch, global)?;
    reader.chain.stage.sinks.add(plan.socket, Box::new(sink));
    reader.stdout = None;
    let (heard, news) = (Arc::clone(&figures), Arc::clone(&ring));
    reader.report_to = Some(Box::new(move |summary| {
        heard.hear(summary);
        // Whoever waits for a time to come looks at the clock now.
        news.announce();
    }));
    let (handle, mut done) = start(reader, ready_file)?;

    let (stop, stopped) = watch::channel(false);
    let connections = Connections::new(Stop(stopped));
    let grpc = |connection, stop| Arc::clone(&services).serve(connection, stop);
    let over_tls = {
        let services = Arc::clone(&services);
        move |connection, stop| Arc::clone(&services).serve(connection, stop)
    };
    let plain = |connection, stop| Arc::clone(&services).serve(connection, stop);
    let on_unix = listeners.unix.serve(connections.clone(), grpc);
    let on_tcp = async {
        match &listeners.tcp {
            None => {}
            Some((tcp, None)) => tcp.serve(connections.clone(), plain).await,
            Some((tcp, Some(tls))) => tcp.serve_tls(connections.clone(), tls, over_tls).await,
        }
    };
    let for_prometheus = async {
        let Some(tcp) = &listeners.metrics else { return };
        let answer = |connection, stop| {
            let figures: Arc<dyn http::Figures> = figures.clone();
            http::serve(connection, stop, figures)
        };
        tcp.serve(connections.clone(), answer).await;
    };
    let all = async { tokio::join!(on_unix, on_tcp, for_prometheus) };
    let mut all = std::pin::pin!(all);
    loop {
        tokio::select! {
            _ = &mut all => break,
            () = signals.any() => break,
            _ = &mut done => break,
            _ = hangup.recv() => reload(listeners.tls()),
        }
    }
    let reader = handle.stop()?;
    // What was read last goes out before the streams end.
    ring.close();
    stop.send_replace(true);
    connections.all_ended().await;
    finish(reader, global, false)
}

/// A ring takes everything at once.
impl Sink for RingSink {
    fn flow(&mut self, flow: &Flow, _concerns: bool, _why: Option<&Arc<Rendered>>) -> io::Result<()> {
        self.flow(flow);
        Ok(())
    }

    fn lost(&mut self, lost: &Lost) -> io::Result<()> {
        self.lost(lost);
        Ok(())
    }

    fn node(&mut self, node: &Node) -> io::Result<()> {
        self.set_node(node);
        Ok(())
    }

    fn flush(&mut self, _now: Instant) -> io::Result<()> {
        self.flush();
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush();
        Ok(())
    }
}

fn reload(tls: Option<&Tls>) {
    match tls.map(Tls::reload) {
        None => tracing::debug!("nothing to read again"),
        Some(Ok(())) => tracing::debug!("certificates read again"),
        Some(Err(error)) => tracing::warn!("the old certificates stay in use: {error}"),
    }
}

fn identity(listeners: &Listeners, plan: &ServePlan, node: &Node) -> Identity {
    let (cluster, name) = node.name.split_once('/').unwrap_or(("", &node.name));
    let address = match &listeners.tcp {
        Some((tcp, _)) => reachable(tcp.address, name),
        None => format!("unix://{}", plan.socket.display()),
    };
    Identity {
        node: node.name.clone(),
        cluster: cluster.to_owned(),
        address,
        tls: listeners.tls().is_some(),
        started: Instant::now(),
    }
}

/// Who listens on every address is reached by the node's name.
fn reachable(address: SocketAddr, node: &str) -> String {
    if address.ip().is_unspecified() { format!("{node}:{}", address.port()) } else { address.to_string() }
}

impl From<ServeError> for RunError {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Socket { source, path } if source.kind() == io::ErrorKind::PermissionDenied => {
                Self::NotPermitted(path.display().to_string())
            }
            error => Self::Serve(error),
        }
    }
}
