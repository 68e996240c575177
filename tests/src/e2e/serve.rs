//! `tracer serve` as its clients see it: the Observer, Peer, health and reflection services, asked by clients that
//! were made of another copy of the schema; its sockets; its figures for Prometheus.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use hyper_util::rt::TokioIo;
use prost_types::{FieldMask, Timestamp};
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

use super::support::{Launch, Scene, Scratch, Tracer, growth, wait_until};
use crate::node::Node;
use crate::node::cast::{CLIENT, SERVER};
use crate::node::traffic::{Plan, Sent};
use crate::proto::health::{Question as HealthQuestion, health_client::HealthClient};
use crate::proto::observer::observer_client::ObserverClient;
use crate::proto::observer::{End, Filter, Flow, FlowsRequest, FlowsResponse, Nothing, TcpFlags, TypeFilter};
use crate::proto::peer::peer_client::PeerClient;
use crate::proto::reflection::server_reflection_client::ServerReflectionClient;
use crate::proto::reflection::{Question, answer, question};
use crate::readers::{Readers, connect};
use crate::runner::Outcome;

crate::tests![
    flows_are_hubbles,
    filters_select_and_what_cannot_be_decided_is_refused,
    number_first_since_and_until,
    followers_get_what_comes_and_a_clean_end,
    a_slow_reader_is_told_what_it_missed: 120,
    many_readers_miss_nothing_uncounted: 180,
    status_nodes_peers_health_and_reflection,
    the_socket_is_its_owners,
    tls_is_spoken_and_clients_are_checked,
    prometheus_reads_the_figures,
    what_is_served_is_recorded_too,
    forwarded_flows_are_served_where_they_are_asked_for: 120,
];

/// For an answer to come.
const LIMIT: Duration = Duration::from_secs(30);

/// A server on a node, and a client's way to it.
struct Server {
    tracer: Tracer,
    socket: PathBuf,
    runtime: Runtime,
    _scratch: Scratch,
}

impl Server {
    fn start(scene: &Scene, arguments: &[&str]) -> Result<Self> {
        let scratch = Scratch::new()?;
        let socket = scratch.path("hubble.sock");
        let mut words = vec!["--socket", socket.to_str().context("path")?];
        words.extend(arguments);
        let tracer = Launch::new(&words).verb("serve").start(scene.node.space())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { tracer, socket, runtime, _scratch: scratch })
    }

    fn channel(&self) -> Result<Channel> {
        self.runtime.block_on(connect(&self.socket))
    }

    fn observer(&self) -> Result<ObserverClient<Channel>> {
        Ok(ObserverClient::new(self.channel()?))
    }

    /// All answers to a request that does not follow.
    fn responses(&self, request: FlowsRequest) -> Result<Vec<FlowsResponse>> {
        let mut client = self.observer()?;
        self.runtime.block_on(async {
            let mut stream = client.get_flows(request).await?.into_inner();
            let mut responses = Vec::new();
            while let Some(response) = tokio::time::timeout(LIMIT, stream.message()).await?? {
                responses.push(response);
            }
            Ok(responses)
        })
    }

    fn flows(&self, request: FlowsRequest) -> Result<Vec<Flow>> {
        let responses = self.responses(request)?;
        responses.into_iter().map(|response| response.flow.context("no flow in a response")).collect()
    }

    fn allowed(&self, filter: Filter) -> Result<Vec<Flow>> {
        self.flows(FlowsRequest { allow: vec![filter], ..FlowsRequest::default() })
    }

    fn refusal(&self, filter: Filter) -> Result<String> {
        let mut client = self.observer()?;
        let request = FlowsRequest { deny: vec![filter], ..FlowsRequest::default() };
        match self.runtime.block_on(client.get_flows(request)) {
            Ok(_) => bail!("accepted"),
            Err(status) => {
                ensure!(status.code() == Code::InvalidArgument, "{status}");
                Ok(status.message().to_owned())
            }
        }
    }

    fn follow(&self) -> Result<Streaming<FlowsResponse>> {
        let mut client = self.observer()?;
        let request = FlowsRequest { follow: true, ..FlowsRequest::default() };
        Ok(self.runtime.block_on(client.get_flows(request))?.into_inner())
    }

    /// Flows since the start.
    fn seen(&self) -> Result<u64> {
        let mut client = self.observer()?;
        Ok(self.runtime.block_on(client.server_status(Nothing {}))?.into_inner().seen_flows)
    }

    /// Sends so many rounds of `plan` and waits until the flows are there. The first one may take its time: the
    /// kernel's symbols are read for it.
    fn send(&self, scene: &Scene, plan: Plan, rounds: u64) -> Result<Vec<Sent>> {
        let (before, seen) = (scene.dropped()?, self.seen()?);
        let sent = scene.send(plan, rounds)?;
        let expected = seen + growth(&before, &scene.dropped()?).values().sum::<u64>();
        let mut last = 0;
        wait_until("the flows", LIMIT, || {
            std::thread::sleep(Duration::from_millis(100));
            let (before, now) = (last, self.seen()?);
            last = now;
            Ok(now >= expected && now == before)
        })?;
        Ok(sent)
    }

    fn send_case(&self, scene: &Scene, case: &str, rounds: u64) -> Result<Vec<Sent>> {
        self.send(scene, plan(case)?, rounds)
    }

    /// Asks it to end as systemd and Kubernetes do.
    fn terminate(mut self) -> Result<()> {
        self.tracer.signal(Signal::TERM)?;
        let run = self.tracer.wait()?;
        run.expect_code(0)?;
        ensure!(!self.socket.exists(), "the socket is still there");
        Ok(())
    }
}

/// One case of the traffic, or a flood.
fn plan(name: &str) -> Result<Plan> {
    let text = if name.starts_with("flood:") { name.to_owned() } else { format!("case:{name}") };
    text.parse().map_err(anyhow::Error::msg)
}

/// Flows by Cilium's drop reason; 0: the kernel's own.
fn by_reason(flows: &[Flow]) -> BTreeMap<u8, u64> {
    let mut counts = BTreeMap::new();
    flows.iter().for_each(|flow| *counts.entry(flow.drop_reason as u8).or_default() += 1);
    counts
}

/// What the datapath counts as dropped, by reason.
fn counted(scene: &Scene, before: &super::support::Places) -> Result<BTreeMap<u8, u64>> {
    let mut counts = BTreeMap::new();
    for ((reason, _, _), packets) in growth(before, &scene.dropped()?) {
        *counts.entry(reason).or_default() += packets;
    }
    Ok(counts)
}

fn sent_packets(sent: &[Sent], case: &str) -> u64 {
    sent.iter().filter(|sent| sent.case == case).map(|sent| sent.packets).sum()
}

fn flows_are_hubbles() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let server = Server::start(&scene, &[])?;
    let before = scene.dropped()?;
    server.send(&scene, Plan::Default, 2)?;
    let flows = server.flows(FlowsRequest::default())?;
    let mut seen = by_reason(&flows);
    seen.remove(&0);
    ensure!(
        seen == counted(&scene, &before)?,
        "{seen:?} served, the datapath has {:?}",
        counted(&scene, &before)?
    );
    let is_denied = |flow: &&Flow| {
        let tcp = flow.l4.as_ref().and_then(|l4| l4.tcp.as_ref());
        flow.drop_reason == 133
            && tcp.is_some_and(|tcp| tcp.destination_port == 9090)
            && flow.ip.as_ref().is_some_and(|ip| ip.version == 1)
    };
    let denied = flows.iter().find(is_denied).context("no flow of the case denied-tcp")?;
    check_denied(denied)?;
    server.terminate()?;
    Ok(Outcome::Passed)
}

/// client → server 9090, one SYN, denied on ingress.
fn check_denied(flow: &Flow) -> Result<()> {
    let (src, dst) =
        (flow.source.as_ref().context("source")?, flow.destination.as_ref().context("destination")?);
    for (end, pod, name) in [(src, CLIENT, "client"), (dst, SERVER, "server")] {
        ensure!(end.id == u32::from(pod.endpoint) && end.identity == pod.identity, "{end:?}");
        ensure!((end.namespace.as_str(), end.pod_name.as_str()) == ("default", name), "{end:?}");
        ensure!(end.labels.contains(&format!("k8s:app={name}")) && end.labels.is_sorted(), "{end:?}");
        ensure!(end.cluster_name == "default", "{end:?}");
    }
    let ip = flow.ip.as_ref().context("IP")?;
    ensure!(
        (ip.source.clone(), ip.destination.clone()) == (CLIENT.ipv4.to_string(), SERVER.ipv4.to_string())
    );
    let tcp = flow.l4.as_ref().and_then(|l4| l4.tcp.as_ref()).context("TCP")?;
    ensure!(tcp.flags == Some(TcpFlags { syn: true, ..TcpFlags::default() }), "{tcp:?}");
    ensure!(tcp.source_port >= 1024, "{tcp:?}");
    ensure!(flow.ethernet.as_ref().is_some_and(|pair| pair.source.len() == 17), "{:?}", flow.ethernet);
    // DROPPED, L3_L4, INGRESS, POLICY_DENIED.
    ensure!(
        (flow.verdict, flow.r#type, flow.traffic_direction, flow.drop_reason_desc) == (2, 1, 1, 133),
        "{flow:?}"
    );
    let kind = flow.event_type.as_ref().context("event type")?;
    ensure!((kind.r#type, kind.sub_type) == (1, 133), "{kind:?}");
    ensure!(flow.summary == "TCP Flags: SYN", "{}", flow.summary);
    ensure!(flow.uuid.len() == 36 && flow.emitter.as_ref().is_some_and(|emitter| emitter.name == "tracer"));
    let file = flow.file.as_ref().context("file")?;
    ensure!(file.line > 0 && file.name == "bpf_lxc.c", "{file:?}");
    let age = seconds_ago(flow.time.as_ref().context("time")?)?;
    ensure!((0.0..60.0).contains(&age), "{age} s old");
    Ok(())
}

fn seconds_ago(time: &Timestamp) -> Result<f64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    Ok(now - (time.seconds as f64 + f64::from(time.nanos) / 1e9))
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn filters_select_and_what_cannot_be_decided_is_refused() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let server = Server::start(&scene, &[])?;
    let sent = server.send(&scene, Plan::Default, 1)?;
    let all = server.flows(FlowsRequest::default())?;
    let none = Filter::default();
    let of = |reason: u32| all.iter().filter(|flow| flow.drop_reason == reason).count();
    let dport =
        |flow: &&Flow| flow.l4.as_ref().and_then(|l4| l4.tcp.as_ref()).map(|tcp| tcp.destination_port);
    let knocks = sent_packets(&sent, "denied-tcp") + sent_packets(&sent, "denied-tcp6");
    let selections: [(Filter, u64); 9] = [
        (
            Filter {
                source_pod: texts(&["default/client"]),
                destination_port: texts(&["9090"]),
                protocol: texts(&["tcp"]),
                ..none.clone()
            },
            knocks,
        ),
        (
            Filter {
                source_label: texts(&["app=client"]),
                destination_label: texts(&["app=server"]),
                tcp_flags: vec![TcpFlags { syn: true, ..TcpFlags::default() }],
                ip_version: vec![1],
                destination_port: texts(&["9090"]),
                ..none.clone()
            },
            sent_packets(&sent, "denied-tcp"),
        ),
        (Filter { drop_reason_desc: vec![181], ..none.clone() }, of(181) as u64),
        (
            Filter {
                event_type: vec![TypeFilter { r#type: 1, match_sub_type: true, sub_type: 132 }],
                ..none.clone()
            },
            sent_packets(&sent, "spoofed-source"),
        ),
        (Filter { event_type: vec![TypeFilter { r#type: 4, ..TypeFilter::default() }], ..none.clone() }, 0),
        (Filter { verdict: vec![1], ..none.clone() }, 0),
        (Filter { verdict: vec![1, 2], ..none.clone() }, all.len() as u64),
        (
            Filter {
                source_identity: vec![CLIENT.identity],
                destination_identity: vec![SERVER.identity],
                destination_port: texts(&["9090"]),
                protocol: texts(&["tcp"]),
                ..none.clone()
            },
            knocks,
        ),
        (Filter { traffic_direction: vec![2], drop_reason_desc: vec![181], ..none.clone() }, of(181) as u64),
    ];
    for (filter, expected) in selections {
        let found = server.allowed(filter.clone())?;
        ensure!(found.len() as u64 == expected, "{} flows, not {expected}: {filter:?}", found.len());
    }
    ensure!(of(181) > 0 && knocks > 0, "the traffic proves nothing");
    // Two filters: either. The deny list wins.
    let either = FlowsRequest {
        allow: vec![
            Filter { drop_reason_desc: vec![181], ..none.clone() },
            Filter { drop_reason_desc: vec![182], ..none.clone() },
        ],
        ..FlowsRequest::default()
    };
    ensure!(server.flows(either.clone())?.len() == of(181) + of(182));
    let denied =
        FlowsRequest { deny: vec![Filter { drop_reason_desc: vec![182], ..none.clone() }], ..either };
    ensure!(server.flows(denied)?.len() == of(181));
    let without = FlowsRequest {
        deny: vec![Filter { destination_port: texts(&["9090"]), ..none.clone() }],
        ..FlowsRequest::default()
    };
    ensure!(server.flows(without)?.iter().all(|flow| dport(&flow) != Some(9090)));
    for (filter, word) in [
        (Filter { http_status_code: texts(&["5+"]), ..none.clone() }, "http_status_code"),
        (Filter { from_the_future: texts(&["x"]), ..none.clone() }, "777"),
        (Filter { source_ip: texts(&["not an address"]), ..none.clone() }, "source_ip"),
        (Filter { verdict: vec![99], ..none }, "verdict"),
    ] {
        let refusal = server.refusal(filter)?;
        ensure!(refusal.contains(word), "{refusal}");
    }
    server.terminate()?;
    Ok(Outcome::Passed)
}

fn number_first_since_and_until() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let server = Server::start(&scene, &[])?;
    server.send_case(&scene, "denied-udp", 3)?;
    let mut between = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    between -= Duration::from_millis(1);
    server.send_case(&scene, "explicit-deny", 4)?;
    let server_only = vec![Filter { drop_reason_desc: vec![133, 181], ..Filter::default() }];
    let base = FlowsRequest { allow: server_only, ..FlowsRequest::default() };
    let reasons = |request: FlowsRequest| -> Result<Vec<u32>> {
        Ok(server.flows(request)?.iter().map(|flow| flow.drop_reason).collect())
    };
    let since = Some(Timestamp { seconds: between.as_secs() as i64, nanos: between.subsec_nanos() as i32 });
    let all = reasons(base.clone())?;
    ensure!(all == [133, 133, 133, 181, 181, 181, 181], "{all:?}");
    ensure!(reasons(FlowsRequest { number: 5, ..base.clone() })? == all[2..]);
    ensure!(reasons(FlowsRequest { number: 4, first: true, ..base.clone() })? == all[..4]);
    ensure!(reasons(FlowsRequest { since, ..base.clone() })? == all[3..]);
    ensure!(reasons(FlowsRequest { until: since, ..base.clone() })? == all[..3]);
    ensure!(reasons(FlowsRequest { since, number: 2, ..base.clone() })? == all[5..]);
    ensure!(reasons(FlowsRequest { since, number: 2, first: true, ..base.clone() })? == all[3..5]);
    let paths = vec!["drop_reason_desc".to_owned(), "source.pod_name".to_owned()];
    let masked = server.flows(FlowsRequest { field_mask: Some(FieldMask { paths }), ..base.clone() })?;
    ensure!(masked.len() == all.len(), "{} flows", masked.len());
    for flow in masked {
        let source = End { pod_name: "client".to_owned(), ..End::default() };
        let reason = flow.drop_reason_desc;
        let expected = Flow { drop_reason_desc: reason, source: Some(source), ..Flow::default() };
        ensure!(matches!(reason, 133 | 181) && flow == expected, "{flow:?}");
    }
    let mut client = server.observer()?;
    let refused =
        server.runtime.block_on(client.get_flows(FlowsRequest { first: true, follow: true, ..base }));
    ensure!(refused.is_err_and(|status| status.code() == Code::InvalidArgument), "first and follow");
    server.terminate()?;
    Ok(Outcome::Passed)
}

/// The next response, if one comes in time.
async fn next(stream: &mut Streaming<FlowsResponse>) -> Result<Option<FlowsResponse>> {
    Ok(tokio::time::timeout(LIMIT, stream.message()).await.context("nothing came")??)
}

fn followers_get_what_comes_and_a_clean_end() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let mut server = Server::start(&scene, &[])?;
    server.send_case(&scene, "denied-udp", 2)?;
    let mut stream = server.follow()?;
    server.send_case(&scene, "explicit-deny", 3)?;
    let reasons = server.runtime.block_on(async {
        let mut reasons = Vec::new();
        while reasons.len() < 3 {
            let flow = next(&mut stream).await?.and_then(|response| response.flow).context("no flow")?;
            if flow.drop_reason != 0 {
                reasons.push(flow.drop_reason);
            }
        }
        anyhow::Ok(reasons)
    })?;
    ensure!(reasons == [181, 181, 181], "what was before is not followed: {reasons:?}");
    server.tracer.signal(Signal::TERM)?;
    let end = server.runtime.block_on(async {
        while let Some(response) = next(&mut stream).await? {
            ensure!(response.flow.is_some_and(|flow| flow.drop_reason == 0), "a flow that nobody made");
        }
        Ok(())
    });
    end.context("no clean end of the stream")?;
    server.tracer.wait()?.expect_code(0)?;
    Ok(Outcome::Passed)
}

/// Flows that came and events that were reported as lost, until the sum is `expected`.
async fn sum(stream: &mut Streaming<FlowsResponse>, expected: u64) -> Result<(u64, u64)> {
    let (mut flows, mut lost) = (0, 0);
    while flows + lost < expected {
        let response =
            next(stream).await.with_context(|| format!("{flows} flows, {lost} lost of {expected}"))?;
        let response = response.context("the stream ended")?;
        flows += u64::from(response.flow.is_some());
        if let Some(event) = response.lost_events {
            // HUBBLE_RING_BUFFER.
            ensure!(event.source == 3, "{event:?}");
            lost += event.num_events_lost;
        }
    }
    ensure!(flows + lost == expected, "{flows} flows and {lost} lost are more than {expected}");
    Ok((flows, lost))
}

/// Resident memory that is the process's own, in KiB.
fn anonymous_kib(tracer: &mut Tracer) -> Result<u64> {
    let text = fs::read_to_string(tracer.proc("status")?)?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn a_slow_reader_is_told_what_it_missed() -> Result<Outcome> {
    const FLOOD: u64 = 30_000;
    let scene = Scene::new(Node::builder())?;
    let mut server = Server::start(&scene, &["--max-flows", "256"])?;
    let mut slow = server.follow()?;
    let before = server.seen()?;
    // Nobody drives the slow client's connection meanwhile.
    server.send_case(&scene, "flood:30000", 1)?;
    let seen = server.seen()? - before;
    ensure!(seen >= FLOOD, "{seen} flows seen");
    let memory = anonymous_kib(&mut server.tracer)?;
    ensure!(memory < 24 * 1024, "{memory} KiB for 256 flows and one slow reader");
    let (flows, lost) = server.runtime.block_on(sum(&mut slow, seen))?;
    ensure!(lost > FLOOD / 2 && flows > 0, "{flows} flows, {lost} lost");
    // It goes on as if nothing had been.
    server.send_case(&scene, "explicit-deny", 1)?;
    server.runtime.block_on(sum(&mut slow, 1))?;
    let kept = server.flows(FlowsRequest::default())?;
    ensure!(kept.len() <= 256, "{} flows kept", kept.len());
    server.terminate()?;
    Ok(Outcome::Passed)
}

fn many_readers_miss_nothing_uncounted() -> Result<Outcome> {
    const READERS: usize = 100;
    let scene = Scene::new(Node::builder())?;
    let mut server = Server::start(&scene, &[])?;
    let readers = server.runtime.block_on(Readers::start(&server.socket, READERS))?;
    let before = server.seen()?;
    server.send_case(&scene, "flood:6000", 1)?;
    let seen = server.seen()? - before;
    ensure!(seen >= 6000, "{seen} flows seen");
    let memory = anonymous_kib(&mut server.tracer)?;
    ensure!(memory < 96 * 1024, "{memory} KiB for {READERS} readers");
    let got = server.runtime.block_on(readers.finish(seen))?;
    ensure!(got.len() == READERS, "{got:?}");
    server.terminate()?;
    Ok(Outcome::Passed)
}

fn status_nodes_peers_health_and_reflection() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let server = Server::start(&scene, &["--max-flows", "100"])?;
    server.send_case(&scene, "denied-udp", 5)?;
    let mut client = server.observer()?;
    let status = server.runtime.block_on(client.server_status(Nothing {}))?.into_inner();
    ensure!(status.max_flows == 100 && status.num_flows >= 5 && status.seen_flows >= 5, "{status:?}");
    ensure!(status.version.starts_with("tracer ") && status.uptime_ns > 0, "{status:?}");
    ensure!(status.flows_rate > 0.0 && status.num_connected_nodes == Some(1), "{status:?}");
    let nodes = server.runtime.block_on(client.get_nodes(Nothing {}))?.into_inner().nodes;
    // NODE_CONNECTED.
    ensure!(nodes.len() == 1 && nodes[0].state == 1 && !nodes[0].name.is_empty(), "{nodes:?}");
    let found = server.runtime.block_on(client.get_namespaces(Nothing {}))?.into_inner().namespaces;
    let found: Vec<_> =
        found.iter().map(|space| (space.cluster.as_str(), space.namespace.as_str())).collect();
    ensure!(found == [("default", "default")], "{found:?}");
    let agent = server.runtime.block_on(async {
        anyhow::Ok(client.get_agent_events(Nothing {}).await?.into_inner().message().await?)
    })?;
    ensure!(agent.is_none(), "an agent event");

    let mut peers = PeerClient::new(server.channel()?);
    let peer = server.runtime.block_on(async {
        anyhow::Ok(peers.notify(crate::proto::peer::Nothing {}).await?.into_inner().message().await?)
    })?;
    let peer = peer.context("no peer")?;
    ensure!(
        peer.name == nodes[0].name && peer.r#type == 1 && peer.address.starts_with("unix://"),
        "{peer:?}"
    );

    let mut health = HealthClient::new(server.channel()?);
    for service in ["", "observer.Observer", "peer.Peer"] {
        let question = HealthQuestion { service: service.to_owned() };
        let answer = server.runtime.block_on(health.check(question))?.into_inner();
        ensure!(answer.status == 1, "`{service}` is not serving: {answer:?}");
    }
    check_reflection(&server)?;
    server.terminate()?;
    Ok(Outcome::Passed)
}

fn check_reflection(server: &Server) -> Result<()> {
    let mut client = ServerReflectionClient::new(server.channel()?);
    let mut ask = |what| -> Result<answer::What> {
        let question = Question { host: String::new(), what: Some(what) };
        let answers = client.server_reflection_info(tokio_stream::iter([question]));
        let answer =
            server.runtime.block_on(async { anyhow::Ok(answers.await?.into_inner().message().await?) })?;
        answer.and_then(|answer| answer.what).context("no answer")
    };
    let services = match ask(question::What::ListServices(String::new()))? {
        answer::What::Services(services) => services.service,
        other => bail!("{other:?}"),
    };
    let mut names: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
    names.sort_unstable();
    for service in ["grpc.health.v1.Health", "observer.Observer", "peer.Peer"] {
        ensure!(names.contains(&service), "{service} is not among {names:?}");
    }
    let files = match ask(question::What::FileContainingSymbol("observer.Observer".to_owned()))? {
        answer::What::Files(files) => files.encoded,
        other => bail!("{other:?}"),
    };
    let contains =
        |text: &str| files.iter().any(|file| file.windows(text.len()).any(|part| part == text.as_bytes()));
    ensure!(contains("GetFlows") && contains("ServerStatus"), "the file does not describe the service");
    match ask(question::What::FileContainingSymbol("no.Such".to_owned())) {
        Ok(answer::What::Refusal(_)) | Err(_) => Ok(()),
        Ok(other) => bail!("{other:?}"),
    }
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

/// Runs a server that cannot start; its exit code and stderr.
fn fails(scene: &Scene, arguments: &[&str]) -> Result<(i32, String)> {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let output = scene.node.space().run(move || {
        let program = crate::programs::path("tracer")?;
        let mut command = Command::new(program);
        command.arg("serve").args(arguments).stdin(Stdio::null());
        Ok(command.output()?)
    })?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code().context("killed")?, stderr))
}

fn the_socket_is_its_owners() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let mut server = Server::start(&scene, &[])?;
    ensure!(mode(&server.socket)? == 0o600, "{:o}", mode(&server.socket)?);
    let path = server.socket.to_str().context("path")?.to_owned();
    let (code, stderr) = fails(&scene, &["--socket", &path])?;
    ensure!(code == 1 && stderr.contains("another server"), "{code}: {stderr}");
    ensure!(server.seen().is_ok(), "the first server is harmed");
    // Killed, it leaves the socket; the next one takes its place.
    server.tracer.signal(Signal::KILL)?;
    wait_until("the end of the server", LIMIT, || Ok(server.seen().is_err()))?;
    ensure!(server.socket.exists(), "nothing is left");
    let words = ["--socket", path.as_str(), "--group", "0"];
    let mut second = Launch::new(&words).verb("serve").start(scene.node.space())?;
    ensure!(mode(&server.socket)? == 0o660, "{:o}", mode(&server.socket)?);
    ensure!(fs::metadata(&server.socket)?.gid() == 0, "group");
    second.signal(Signal::TERM)?;
    second.wait()?.expect_code(0)?;
    let scratch = Scratch::new()?;
    let file = scratch.path("file");
    fs::write(&file, "precious")?;
    let (code, stderr) = fails(&scene, &["--socket", file.to_str().context("path")?])?;
    ensure!(code == 1 && stderr.contains("is no socket"), "{code}: {stderr}");
    ensure!(fs::read(&file)? == b"precious", "a file was replaced");
    let (code, stderr) = fails(&scene, &["--group", "no-such-group"])?;
    ensure!(code == 1 && stderr.contains("no-such-group"), "{code}: {stderr}");
    let (code, stderr) = fails(&scene, &["--listen", "127.0.0.1:0"])?;
    ensure!(code == 2 && stderr.contains("--plaintext"), "{code}: {stderr}");
    // A socket of another program is in use, whatever it speaks.
    let foreign = scratch.path("foreign");
    let _listener = UnixListener::bind(&foreign)?;
    let (code, _) = fails(&scene, &["--socket", foreign.to_str().context("path")?])?;
    ensure!(code == 1);
    Ok(Outcome::Passed)
}

/// A CA, a certificate of a server at 127.0.0.1 and one of a client, made by openssl.
struct Certificates(Scratch);

impl Certificates {
    fn new() -> Result<Self> {
        let made = Self(Scratch::new()?);
        made.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -keyout ca.key -out ca.crt -subj /CN=ca")?;
        fs::write(made.0.path("names"), "subjectAltName=IP:127.0.0.1\n")?;
        made.sign("server")?;
        made.sign("client")?;
        Ok(made)
    }

    fn sign(&self, name: &str) -> Result<()> {
        self.openssl(&format!("req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"))?;
        self.openssl(&format!("x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -extfile names -out {name}.crt"))
    }

    fn openssl(&self, arguments: &str) -> Result<()> {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(self.0.path("")).stdin(Stdio::null());
        let output = command.output().context("cannot run openssl")?;
        ensure!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn path(&self, name: &str) -> Result<String> {
        Ok(self.0.path(name).to_str().context("path")?.to_owned())
    }

    fn chain(&self, name: &str) -> Result<Vec<CertificateDer<'static>>> {
        Ok(CertificateDer::pem_file_iter(self.0.path(name))?.collect::<Result<_, _>>()?)
    }

    /// A client that trusts the CA; `name`: the certificate that it shows.
    fn client(&self, name: Option<&str>) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in self.chain("ca.crt")? {
            roots.add(certificate)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(self.0.path(&format!("{name}.key")))?;
                builder.with_client_auth_cert(self.chain(&format!("{name}.crt"))?, key)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// The address after `prefix` in what a server says when it starts.
pub(super) fn address(tracer: &Tracer, prefix: &str) -> Result<SocketAddr> {
    let stderr = tracer.stderr();
    let address = |line: &str| {
        let end = line.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':')).unwrap_or(line.len());
        line[..end].parse().ok()
    };
    let found = stderr.lines().filter_map(|line| line.strip_prefix(prefix)).find_map(address);
    found.with_context(|| format!("no line with `{prefix}` and an address: {stderr}"))
}

/// Asks for the status over TLS, inside the node's network; the certificate that the server showed.
fn status_over_tls(scene: &Scene, at: SocketAddr, config: ClientConfig) -> Result<CertificateDer<'static>> {
    scene.node.space().net.run(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shown = Arc::new(std::sync::Mutex::new(None));
        let seen = Arc::clone(&shown);
        let connector = tower::service_fn(move |_| {
            let (config, seen) = (Arc::new(config.clone()), Arc::clone(&seen));
            async move {
                let plain = tokio::net::TcpStream::connect(at).await?;
                let name = ServerName::IpAddress(at.ip().into());
                let stream = TlsConnector::from(config).connect(name, plain).await?;
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                *seen.lock().unwrap() = chain.first().map(|first| first.clone().into_owned());
                std::io::Result::Ok(TokioIo::new(stream))
            }
        });
        runtime.block_on(async {
            let endpoint = Endpoint::from_static("http://tracer").timeout(LIMIT);
            let channel = endpoint.connect_with_connector(connector).await?;
            ObserverClient::new(channel).server_status(Nothing {}).await?;
            anyhow::Ok(())
        })?;
        let shown = shown.lock().unwrap().take();
        shown.context("no certificate")
    })
}

fn tls_is_spoken_and_clients_are_checked() -> Result<Outcome> {
    let certificates = Certificates::new()?;
    let scene = Scene::new(Node::builder())?;
    let (certificate, key, ca) =
        (certificates.path("server.crt")?, certificates.path("server.key")?, certificates.path("ca.crt")?);
    let words =
        ["--listen", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key, "--tls-client-ca", &ca];
    let mut server = Server::start(&scene, &words)?;
    let at = address(&server.tracer, "flows: ")?;
    let shown = status_over_tls(&scene, at, certificates.client(Some("client"))?)?;
    ensure!(shown == certificates.chain("server.crt")?[0], "another certificate");
    ensure!(status_over_tls(&scene, at, certificates.client(None)?).is_err(), "no certificate was asked for");
    let plain = scene.node.space().net.run(move || {
        let mut stream = TcpStream::connect(at)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Ok(answer)
    })?;
    // A TLS alert record or nothing, never an HTTP/2 frame (whose fourth byte is its type, 4: settings).
    ensure!(plain.first().is_none_or(|first| *first == 21), "{plain:x?}");

    certificates.sign("server")?;
    server.tracer.signal(Signal::HUP)?;
    let fresh = certificates.chain("server.crt")?;
    wait_until("the new certificate", LIMIT, || {
        Ok(status_over_tls(&scene, at, certificates.client(Some("client"))?)? == fresh[0])
    })?;
    fs::write(&certificate, "nothing")?;
    server.tracer.signal(Signal::HUP)?;
    wait_until("the warning", LIMIT, || Ok(server.tracer.stderr().contains("old certificates stay in use")))?;
    ensure!(status_over_tls(&scene, at, certificates.client(Some("client"))?)? == fresh[0]);
    server.terminate()?;
    Ok(Outcome::Passed)
}

/// An HTTP answer: status, headers in lower case, body.
pub(super) struct Answer {
    pub status: u16,
    headers: String,
    pub body: String,
}

pub(super) fn get(scene: &Scene, at: SocketAddr, path: &str, accept: &str) -> Result<Answer> {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: tracer\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    let answer = scene.node.space().net.run(move || {
        let mut stream = TcpStream::connect(at)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })?;
    let (headers, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = headers.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok(Answer { status, headers: headers.to_ascii_lowercase(), body: body.to_owned() })
}

/// The figures of a family, by the value of a label.
pub(super) fn figures(text: &str, name: &str, label: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((labels, value)) = line.strip_prefix(name).and_then(|rest| rest.rsplit_once(' ')) else {
            continue;
        };
        if !labels.is_empty() && !labels.starts_with('{') {
            continue;
        }
        let key = labels.split_once(&format!("{label}=\"")).and_then(|(_, rest)| rest.split('"').next());
        *sums.entry(key.unwrap_or_default().to_owned()).or_default() +=
            value.parse::<f64>().unwrap_or(f64::NAN);
    }
    sums
}

fn prometheus_reads_the_figures() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let server = Server::start(&scene, &["--metrics", "127.0.0.1:0"])?;
    let at = address(&server.tracer, "metrics: http://")?;
    let before = scene.dropped()?;
    server.send(&scene, Plan::Default, 2)?;
    let counted = counted(&scene, &before)?;
    wait_until("readiness", LIMIT, || Ok(get(&scene, at, "/readyz", "*/*")?.status == 200))?;
    let answer = get(&scene, at, "/metrics", "*/*")?;
    ensure!(
        answer.status == 200 && answer.headers.contains("text/plain; version=0.0.4"),
        "{}",
        answer.headers
    );
    let drops = figures(&answer.body, "hubble_drop_total", "reason");
    // Hubble's names, from its schema.
    for (reason, name) in
        [(133, "POLICY_DENIED"), (181, "POLICY_DENY"), (132, "INVALID_SOURCE_IP"), (182, "VLAN_FILTERED")]
    {
        let expected = counted.get(&reason).copied().unwrap_or_default() as f64;
        ensure!(expected > 0.0 && drops.get(name) == Some(&expected), "{name}: {drops:?}, not {expected}");
    }
    let protocols = figures(&answer.body, "hubble_drop_total", "protocol");
    ensure!(
        ["TCP", "UDP", "ICMPv4", "ICMPv6"].iter().all(|name| protocols.contains_key(*name)),
        "{protocols:?}"
    );
    ensure!(protocols.values().sum::<f64>() == counted.values().sum::<u64>() as f64, "{protocols:?}");
    check_maps(&answer.body)?;
    let open = get(&scene, at, "/metrics", "application/openmetrics-text; version=1.0.0")?;
    ensure!(open.headers.contains("application/openmetrics-text") && open.body.ends_with("# EOF\n"));
    ensure!(get(&scene, at, "/healthz", "*/*")?.status == 200);
    ensure!(get(&scene, at, "/nothing", "*/*")?.status == 404);
    let verdict = promtool(&answer.body);
    server.terminate()?;
    verdict
}

/// Map figures against what the pretend node is known to have.
fn check_maps(text: &str) -> Result<()> {
    let entries = figures(text, "tracer_map_entries", "map");
    let max = figures(text, "tracer_map_max_entries", "map");
    let fill = figures(text, "tracer_map_fill_ratio", "map");
    // All endpoints of the cast with two addresses each, and the host's.
    ensure!(entries.get("cilium_lxc").is_some_and(|entries| *entries >= 10.0), "{entries:?}");
    for (map, entries) in &entries {
        let (max, fill) = (max.get(map).context("max")?, fill.get(map).context("fill")?);
        ensure!((entries / max - fill).abs() < 1e-9, "{map}: {entries} of {max} is no {fill}");
    }
    let policies = figures(text, "tracer_policy_map_fill_ratio", "endpoint");
    ensure!(policies.contains_key("1001") && policies.contains_key("1002"), "{policies:?}");
    Ok(())
}

/// Asks Prometheus' own checker.
fn promtool(text: &str) -> Result<Outcome> {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Outcome::NotPossible("promtool is missing: cargo xtask setup".to_owned()));
        }
        child => child?,
    };
    child.stdin.take().context("stdin")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && said.trim().is_empty(), "promtool: {said}");
    Ok(Outcome::Passed)
}

fn what_is_served_is_recorded_too() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let scratch = Scratch::new()?;
    let recording = scratch.path("recording");
    let server = Server::start(&scene, &["--record", recording.to_str().context("path")?])?;
    server.send_case(&scene, "denied-udp", 3)?;
    server.terminate()?;
    let mut replay = Command::new(crate::programs::path("tracer")?);
    let output = replay.arg("replay").arg(&recording).args(["-q", "-o", "jsonpb"]).output()?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout)?;
    let denied = lines.lines().filter(|line| line.contains("\"drop_reason\":133")).count();
    ensure!(denied == 3, "{denied} of 3 drops recorded: {lines}");
    Ok(Outcome::Passed)
}

/// By Hubble's numbers: type 4 is a trace, 5 a verdict; verdict 1 is FORWARDED, 2 DROPPED.
fn forwarded_flows_are_served_where_they_are_asked_for() -> Result<Outcome> {
    let scene = Scene::new(Node::builder().trace_all(true))?;
    let server = Server::start(&scene, &["--flows"])?;
    if server.tracer.stderr().lines().any(|line| line.starts_with("tap message: off")) {
        ensure!(server.tracer.stderr().contains("note: no message tap: "), "{}", server.tracer.stderr());
        return Ok(Outcome::NotPossible("no message tap".to_owned()));
    }
    scene.send_case("allowed-tcp", 1)?;
    scene.send_case("denied-tcp", 1)?;
    let of_type = |kind| {
        let wanted = TypeFilter { r#type: kind, ..TypeFilter::default() };
        Filter { event_type: vec![wanted], ..Filter::default() }
    };
    let refused = || Filter { verdict: vec![2], ..of_type(5) };
    // The kernel's symbols are read for the first free, which may take its time.
    wait_until("the last verdict", LIMIT, || Ok(!server.allowed(refused())?.is_empty()))?;
    let traces = server.allowed(of_type(4))?;
    let port =
        |flow: &Flow| flow.l4.as_ref().and_then(|l4| l4.tcp.as_ref()).map_or(0, |tcp| tcp.destination_port);
    ensure!(traces.iter().filter(|flow| port(flow) == 8080).count() >= 3, "{} traces", traces.len());
    ensure!(traces.iter().all(|flow| flow.verdict == 1 && flow.drop_reason == 0), "{traces:?}");
    let denied = server.allowed(refused())?;
    ensure!(denied.len() == 1 && port(&denied[0]) == 9090, "{denied:?}");
    ensure!((denied[0].drop_reason_desc, denied[0].traffic_direction) == (133, 1), "{denied:?}");
    ensure!(denied[0].source.as_ref().is_some_and(|end| end.pod_name == "client"), "{denied:?}");
    server.terminate()?;
    Ok(Outcome::Passed)
}
