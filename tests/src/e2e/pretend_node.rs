//! The pretend node by itself: what the other tests build on. Packets sent, the datapath's counters and the
//! agent's reading agree; the policy is decided in the order of the generation.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::node::cast::{CLIENT, DNS, Pod, SERVER};
use crate::node::encode::PolicyEntry;
use crate::node::kernel::bpf::TestRun;
use crate::node::stats::Stats;
use crate::node::traffic::{Frame, Plan, Schedule, udp4};
use crate::node::{Attach, Generation, Node};
use crate::runner::Outcome;

crate::tests![
    sent_counted_and_read_agree_in_every_policy_form: 240,
    the_same_by_clsact,
    policy_precedence_is_that_of_the_generation: 240,
];

const UDP: u8 = 17;
const POLICY: u8 = 133;
const POLICY_DENY: u8 = 181;

/// One round of all cases.
fn one_round(generation: Generation, attach: Attach) -> Result<Stats> {
    let node = Node::builder().generation(generation).attach(attach).xdp(true).build()?;
    let agent = node.start_agent()?;
    let services = node.start_services()?;
    let mut traffic = node.start_traffic(Schedule {
        plan: Plan::Default,
        ready: None,
        pause: Duration::ZERO,
        rounds: Some(1),
        xdp: true,
    })?;
    let until = Instant::now() + Duration::from_secs(40);
    while !traffic.is_done() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let sent = traffic.stop()?;
    std::thread::sleep(Duration::from_millis(300));
    drop(services);
    Ok(Stats::new(generation.as_str(), sent, node.metrics()?, Some(agent.stop())))
}

fn check(stats: &Stats) -> Result<()> {
    let generation = stats.generation;
    let failed: Vec<_> = stats.sent.iter().filter(|sent| sent.failed > 0).map(|sent| sent.case).collect();
    ensure!(failed.is_empty(), "{generation}: these cases could not be sent: {failed:?}");
    let mut expected = BTreeMap::new();
    for sent in &stats.sent {
        if let Some(reason) = sent.reason {
            *expected.entry(reason).or_default() += sent.packets;
        }
    }
    ensure!(stats.drops == expected, "{generation}: metrics say {:?}, expected {expected:?}", stats.drops);
    let agent = stats.agent.as_ref().context("there was an agent")?;
    let read = &agent.drops_by_reason;
    ensure!(
        *read == expected && agent.lost == 0,
        "{generation}: the agent read {agent:?}, expected {expected:?}"
    );
    Ok(())
}

fn sent_counted_and_read_agree_in_every_policy_form() -> Result<Outcome> {
    for generation in [Generation::V1_14, Generation::V1_17, Generation::V1_18, Generation::V1_19] {
        check(&one_round(generation, Attach::Auto)?)?;
    }
    Ok(Outcome::Passed)
}

fn the_same_by_clsact() -> Result<Outcome> {
    check(&one_round(Generation::V1_16, Attach::Clsact)?)?;
    Ok(Outcome::Passed)
}

/// A datagram from the client, as its way out sees it.
fn datagram(to: &Pod, port: u16) -> Vec<u8> {
    let payload = udp4((CLIENT.ipv4, 46000), (to.ipv4, port), b"test");
    Frame::ipv4((CLIENT.node_mac, CLIENT.mac), (CLIENT.ipv4, to.ipv4), UDP, &payload).bytes()
}

/// What becomes of a datagram to the server when the server has just these ingress entries.
fn outcome(node: &Node, entries: &[PolicyEntry], port: u16) -> Result<Option<u8>> {
    node.policy_map(SERVER.endpoint)?.clear()?;
    for entry in entries {
        node.set_policy_entry(&SERVER, entry)?;
    }
    Ok(node.test_packet(&CLIENT, &datagram(&SERVER, port))?.reason())
}

fn policy_precedence_is_that_of_the_generation() -> Result<Outcome> {
    use Generation::{V1_16, V1_17, V1_18, V1_19};
    let own = |port| PolicyEntry::allow(CLIENT.identity, UDP, port);
    let any = |port| PolicyEntry::allow(0, UDP, port);
    // An exact allow for the identity against a wider deny for everybody: the first match decides up to 1.16,
    // deny decides after that, and 1.19 asks the precedence.
    let exact_against_deny = vec![own(1000), any(0).denied()];
    for (generation, expected) in
        [(V1_16, None), (V1_17, Some(POLICY_DENY)), (V1_18, Some(POLICY_DENY)), (V1_19, Some(POLICY_DENY))]
    {
        let node = Node::builder().generation(generation).build()?;
        let found = outcome(&node, &exact_against_deny, 1000)?;
        ensure!(found == expected, "{generation}: exact allow, wide deny: {found:?}, expected {expected:?}");
        let found = outcome(&node, &[own(1000)], 1001)?;
        ensure!(found == Some(POLICY), "{generation}: other port: {found:?}");
        let range = PolicyEntry { port_bits: 13, ..own(1000) };
        ensure!(outcome(&node, &[range], 1007)?.is_none(), "{generation}: last port of a range is denied");
        ensure!(
            outcome(&node, &[range], 1008)? == Some(POLICY),
            "{generation}: port after a range is allowed"
        );
        let weak_deny = PolicyEntry { precedence: 1, ..any(0).denied() };
        if generation == V1_19 {
            let found = outcome(&node, &[own(1000), weak_deny], 1000)?;
            ensure!(found.is_none(), "1.19: a deny of lower precedence wins: {found:?}");
        }
        let delivered = node.test_packet(&CLIENT, &datagram(&DNS, 53))?;
        ensure!(delivered.action == TestRun::REDIRECTED, "{generation}: an allowed packet is {delivered:?}");
    }
    Ok(Outcome::Passed)
}
