//! What a line of `-o json` says about a drop: both ends by name, the reason in Cilium's words, the place in its
//! source; each drop once, nothing of others.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::drops_expected::{check_sent, compare, counts, expected, is_ciliums, places};
use super::support::{Scene, growth, kernel_version, patience};
use crate::node::cast::{CLIENT, Pod, SERVER};
use crate::node::{Generation, Node};
use crate::runner::Outcome;

crate::tests![
    one_identity_named_and_counted: 90,
    a_closed_port_shows_the_kernels_reason_and_symbol: 90,
    filters_agree_with_the_traffic: 120,
];

const ROUNDS: u64 = 3;

/// `-o json` of one identity: everything that the main job promises of it.
fn one_identity_named_and_counted() -> Result<Outcome> {
    let scene = Scene::new(Node::builder().generation(Generation::V1_17))?;
    let tracer = scene.start(&["--identity", "12345", "-o", "json"])?;
    let before = scene.dropped()?;
    let sent = scene.send("default".parse().map_err(anyhow::Error::msg)?, ROUNDS)?;
    let run = tracer.stop()?;
    run.expect_code(0)?;
    check_sent(&sent)?;
    let events = run.events()?;
    compare("drops of the client", &counts(&events)?, &expected(ROUNDS, |row| row.is_clients()))?;
    let dropped = growth(&before, &scene.dropped()?);
    // The client is no part of what comes from outside.
    let mut of_client = dropped.clone();
    of_client.retain(|(reason, file, _), _| !(*reason == 182 && *file == 1));
    let policy = of_client.iter_mut().find(|((reason, ..), _)| *reason == 133).context("no policy drop")?;
    *policy.1 -= ROUNDS;
    ensure!(places(&events)? == of_client, "places: {:?}, the datapath: {of_client:?}", places(&events)?);
    run.summary()?.expect_complete(dropped.values().sum())?;
    events.iter().try_for_each(check_event)?;
    each_once(&events)?;
    for (ips, from) in [(("10.244.1.10", "10.244.1.20"), "IPv4"), (("fd00::1:10", "fd00::1:20"), "IPv6")] {
        let denied = events.iter().filter(|event| {
            let flow = &event["flow"];
            flow["l4"]["TCP"]["destination_port"] == 9090 && flow["IP"]["ipVersion"] == from
        });
        let denied: Vec<&Value> = denied.collect();
        ensure!(denied.len() as u64 == ROUNDS, "{} denied connections by {from}", denied.len());
        denied.iter().try_for_each(|event| check_denied(event, ips))?;
    }
    Ok(Outcome::Passed)
}

/// One end is the client; a drop of Cilium says how it is known.
fn check_event(event: &Value) -> Result<()> {
    let flow = &event["flow"];
    let identities = [&flow["source"]["identity"], &flow["destination"]["identity"]];
    ensure!(identities.iter().any(|identity| **identity == 12345), "not of identity 12345: {event}");
    // Nothing between the client and the name server is lost. Kernels that give no reasons show the fragments of a
    // datagram that arrived as dropped, too.
    let is_other = identities.iter().all(|identity| **identity != 34567);
    ensure!(is_other || kernel_version()? < (5, 17), "of identity 34567: {event}");
    ensure!(flow["verdict"] == "DROPPED", "verdict: {event}");
    let source = event["tracer"]["source"].as_str().unwrap_or_default();
    let known = if is_ciliums(event) { &["message", "note"][..] } else { &["kernel"] };
    ensure!(known.contains(&source), "source `{source}`: {event}");
    Ok(())
}

/// No skb is dropped twice at the same time, and no two events share an id.
fn each_once(events: &[Value]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for event in events {
        let tracer = &event["tracer"];
        ensure!(
            seen.insert((tracer["skb"].to_string(), tracer["boot_time_ns"].to_string())),
            "twice: {event}"
        );
        ensure!(ids.insert(event["flow"]["uuid"].to_string()), "an id that is not its own: {event}");
    }
    Ok(())
}

fn check_denied(event: &Value, ips: (&str, &str)) -> Result<()> {
    let flow = &event["flow"];
    ensure!(flow["drop_reason_desc"] == "POLICY_DENIED" && flow["drop_reason"] == 133, "reason: {event}");
    ensure!(flow["event_type"] == json!({"type": 1, "sub_type": 133}), "event type: {event}");
    ensure!(flow["Type"] == "L3_L4" && flow["traffic_direction"] == "INGRESS", "direction: {event}");
    ensure!(flow["l4"]["TCP"]["flags"] == json!({"SYN": true}), "flags: {event}");
    ensure!(flow["Summary"] == "TCP Flags: SYN", "summary: {event}");
    ensure!((&flow["IP"]["source"], &flow["IP"]["destination"]) == (&json!(ips.0), &json!(ips.1)), "{event}");
    check_end(&flow["source"], &CLIENT)?;
    check_end(&flow["destination"], &SERVER)
}

fn check_end(end: &Value, pod: &Pod) -> Result<()> {
    let (namespace, name) = pod.kubernetes().context("no pod")?;
    let mut labels: Vec<String> =
        pod.labels.iter().map(|(source, key, value)| format!("{source}:{key}={value}")).collect();
    labels.sort();
    let wanted = json!({
        "ID": pod.endpoint,
        "identity": pod.identity,
        "cluster_name": "default",
        "namespace": namespace,
        "labels": labels,
        "pod_name": name,
    });
    let mut end = end.clone();
    // Whose pod it is is told by releases that write it down.
    end.as_object_mut().context("no endpoint")?.remove("workloads");
    ensure!(end == wanted, "endpoint {end}\nexpected {wanted}");
    Ok(())
}

/// UDP to a port where nobody listens, inside a pod: no drop of Cilium's.
fn a_closed_port_shows_the_kernels_reason_and_symbol() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    let (run, sent) = {
        let tracer = scene.start(&["-o", "json"])?;
        let mut sent = scene.send_case("closed-udp", ROUNDS)?;
        sent.extend(scene.send_case("closed-udp6", ROUNDS)?);
        (tracer.stop()?, sent)
    };
    run.expect_code(0)?;
    let events = run.events()?;
    for (case, source, destination) in
        [("closed-udp", "10.244.1.10", "10.244.1.4"), ("closed-udp6", "fd00::1:10", "fd00::1:4")]
    {
        let packets = sent.iter().find(|sent| sent.case == case).map_or(0, |sent| sent.packets);
        let of_case: Vec<&Value> = events
            .iter()
            .filter(|event| {
                let flow = &event["flow"];
                let ends = (&flow["IP"]["source"], &flow["IP"]["destination"]);
                ends == (&json!(source), &json!(destination)) && flow["l4"]["UDP"]["destination_port"] == 9
            })
            .collect();
        ensure!(of_case.len() as u64 == packets, "{case}: {} shown, {packets} sent", of_case.len());
        of_case.iter().try_for_each(|event| check_no_socket(event))?;
    }
    Ok(Outcome::Passed)
}

/// Kernels tell reasons from 5.17 on.
pub fn check_no_socket(event: &Value) -> Result<()> {
    let kernel = &event["tracer"]["kernel"];
    let expected = if kernel_version()? >= (5, 17) { json!("NO_SOCKET") } else { Value::Null };
    ensure!(kernel["reason"] == expected, "kernel reason: {event}");
    let symbol = kernel["symbol"].as_str().unwrap_or_default();
    ensure!(symbol.contains("udp"), "symbol `{symbol}`: {event}");
    ensure!(!is_ciliums(event) && event["tracer"]["source"] == "kernel", "not the kernel's: {event}");
    Ok(())
}

/// Each filter against the rows of the table that it should leave.
fn filters_agree_with_the_traffic() -> Result<Outcome> {
    let scene = Scene::new(Node::builder())?;
    type Row = super::drops_expected::Expected;
    type Keeps = fn(&Row) -> bool;
    let filters: [(&[&str], Keeps); 8] = [
        (&["--drop-reason-desc", "POLICY_DENY"], |row| row.reason.0 == 181),
        (&["--to-port", "9090", "--protocol", "tcp"], |row| row.transport == Some(("TCP", 9090))),
        (&["--from-pod", "default/client", "--to-pod", "default/server", "-6"], |row| {
            row.source == "fd00::1:10" && row.destination == "fd00::1:20"
        }),
        (&["--to-ip", "203.0.113.0/24"], |row| row.destination == "203.0.113.7"),
        (
            &[
                "--to-label",
                "app=server",
                "--traffic-direction",
                "ingress",
                "--not",
                "--drop-reason-desc",
                "INVALID_SOURCE_IP",
            ],
            |row| {
                let is_server = ["10.244.1.20", "fd00::1:20"].contains(&row.destination);
                row.reason.0 != 132 && is_server && row.direction == Some("INGRESS")
            },
        ),
        (&["--not", "--identity", "12345", "--drop-reason-desc", "VLAN_FILTERED"], |row| {
            row.case == "world-vlan"
        }),
        (
            &["--verdict", "DROPPED", "--from-endpoint", "1001", "--drop-reason-desc", "VLAN_FILTERED"],
            |row| row.case == "vlan",
        ),
        (&["--verdict", "FORWARDED"], |_| false),
    ];
    // Some tracers at once slow an emulated machine to a crawl.
    let filters = &filters[..if patience() > 1 { 3 } else { filters.len() }];
    let tracers = filters.iter().map(|(arguments, _)| {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", "json"]).collect();
        scene.start(&arguments)
    });
    let tracers = tracers.collect::<Result<Vec<_>>>()?;
    scene.send("default".parse().map_err(anyhow::Error::msg)?, 1)?;
    let dropped: u64 = scene.dropped()?.values().sum();
    for (tracer, (arguments, keeps)) in tracers.into_iter().zip(filters) {
        let run = tracer.stop()?;
        run.expect_code(0).with_context(|| format!("{arguments:?}"))?;
        let found = counts(&run.events()?)?;
        compare(&format!("{arguments:?}"), &found, &expected(1, *keeps))?;
        run.summary()?.expect_complete(dropped).with_context(|| format!("{arguments:?}"))?;
    }
    Ok(Outcome::Passed)
}
