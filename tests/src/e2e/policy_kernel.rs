//! The policy evaluator against those who really decide: the kernel's prefix trie with the datapath's choice done
//! by hand, and the pretend node's datapath. Random policies and packets; `TRACER_TEST_SEED` repeats a run.

mod by_hand;
mod packets;
mod random;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tracer::cilium::pins::{PolicyPin, policy_pins};
use tracer::cilium::policy::{self, Tally};
use tracer::cilium::release::{Release, ReleaseRange};
use tracer::kernel::bpf::MapInfo;
use tracer::model::policy::{Direction, Key};
use tracer::policy::decision::{Auth, Decision, Query, Verdict};
use tracer::policy::evaluate::{decide, evaluate};
use tracer::policy::gate::{Connection, Facts, Fragment, Settings, judge};
use tracer::policy::table::{Cluster, Table};
use tracer_common::id::{Identity, MapId};

use self::by_hand::{Answer, Asked, Choice};
use self::packets::{Kind, Packet};
use self::random::Random;
use super::real_node;
use crate::node::cast::{CLIENT, DNS, Pod, SERVER};
use crate::node::encode::{PolicyEntry, auth_entry};
use crate::node::generation::PolicyForm;
use crate::node::kernel::bpf::{BPF_F_NO_PREALLOC, Map, MapSpec, MapType, TestRun};
use crate::node::{Generation, Node};
use crate::runner::Outcome;

crate::tests![
    evaluator_and_kernel_agree_on_100_000_look_ups_a_generation: 120,
    evaluator_and_kernel_agree_on_the_recorded_policies,
    evaluator_and_datapath_agree_on_1_000_policies_a_generation: 240,
];

/// A release whose policy maps differ from those of the one before, in bytes or in meaning.
struct Edition {
    release: u8,
    pin: &'static str,
    form: PolicyForm,
    choice: Choice,
    has_ranges: bool,
}

const EDITIONS: [Edition; 6] = [
    Edition {
        release: 14,
        pin: "cilium_policy_00007",
        form: PolicyForm::WildcardBits,
        choice: Choice::FirstMatch,
        has_ranges: false,
    },
    Edition {
        release: 16,
        pin: "cilium_policy_00007",
        form: PolicyForm::WildcardBits,
        choice: Choice::FirstMatch,
        has_ranges: true,
    },
    Edition {
        release: 17,
        pin: "cilium_policy_00007",
        form: PolicyForm::PrefixLength,
        choice: Choice::DenyFirst,
        has_ranges: true,
    },
    Edition {
        release: 18,
        pin: "cilium_policy_v2_00007",
        form: PolicyForm::PrefixLengthShort,
        choice: Choice::DenyFirst,
        has_ranges: true,
    },
    Edition {
        release: 19,
        pin: "cilium_policy_v2_00007",
        form: PolicyForm::Precedence,
        choice: Choice::Precedence,
        has_ranges: true,
    },
    Edition {
        release: 20,
        pin: "cilium_policy_v3_00007",
        form: PolicyForm::Precedence,
        choice: Choice::Aggregated,
        has_ranges: true,
    },
];

/// Policies a generation, and packets a policy.
const TABLES: u32 = 50;
const LOOK_UPS: u32 = 2000;

/// Of both ends: few, so that entries and packets meet. Aggregates, reserved, global, of two clusters, local to
/// the node, of remote nodes.
const IDENTITIES: [u32; 14] = [0, 0, 0, 1, 2, 11, 12, 13, 14, 5000, 5001, 0x1_1388, 0x0100_0001, 0x0200_0001];

/// The own cluster in the aggregates of 1.20.
const CLUSTER: u32 = 1;

fn entry(random: &mut Random, identities: &[u32], edition: &Edition) -> PolicyEntry {
    let protocol = random.pick(&[0, 1, 6, 6, 17, 17, 132]);
    let port_bits = match (protocol, random.below(3)) {
        (0, _) | (_, 0) => 0,
        (_, 1) if edition.has_ranges => 1 + random.below(16) as u8,
        _ => 16,
    };
    let port = random.port() & u16::MAX.checked_shl(16 - u32::from(port_bits)).unwrap_or(0);
    // Without a port there is no entry for a port.
    let port_bits = if port == 0 && port_bits == 16 { 0 } else { port_bits };
    let is_proxied = protocol != 0 && random.chance(3);
    PolicyEntry {
        egress: random.chance(2),
        identity: random.pick(identities),
        protocol,
        port,
        port_bits,
        deny: random.chance(3),
        proxy_port: if is_proxied { 10_000 + random.below(5000) as u16 } else { 0 },
        proxy_priority: if is_proxied { random.below(3) as u8 } else { 0 },
        auth: random.pick(&[0, 0, 0, 1, 2]),
        auth_explicit: random.chance(3),
        precedence: random.pick(&[0, 1, 2, 1000, 0x7fff_ffff, 0x8000_0000, u32::MAX]),
        cookie: random.below(u64::from(u32::MAX)) as u32,
    }
}

/// The values of a map as the kernel has them, by what the evaluator calls them.
type Values = HashMap<Key, Vec<u8>>;

/// Reads a map as tracer does.
fn table(map: &Map, release: u8) -> Result<(Table, Values)> {
    let name = map.spec.pin.as_str();
    let pin: PolicyPin = policy_pins([name]).into_iter().next().context("no policy map's name")?;
    let info = MapInfo {
        id: MapId(1),
        map_type: map.spec.map_type as u32,
        key_size: map.spec.key,
        value_size: map.spec.value,
        max_entries: map.spec.max_entries,
        flags: map.spec.flags,
        name: String::new(),
    };
    let mut bytes = Vec::new();
    let mut tally = Tally::default();
    for key in map.keys()? {
        let value = map.lookup(&key)?.context("an entry is gone")?;
        tally.add(&key, &value);
        bytes.push((key, value));
    }
    let releases = ReleaseRange::exactly(Release(release));
    let generation = tally.generation(policy::form(pin, name, &info)?, name, releases)?;
    let mut values = Values::new();
    let mut entries = Vec::new();
    for (key, value) in bytes {
        let entry = policy::decode(generation, &key, &value).and_then(|entry| entry.to_model());
        let entry = entry.with_context(|| format!("not decoded: {key:02x?} {value:02x?}"))?;
        values.insert(entry.key, value);
        entries.push(entry);
    }
    Ok((Table::new(policy::order(pin, generation), entries), values))
}

fn evaluator_and_kernel_agree_on_100_000_look_ups_a_generation() -> Result<Outcome> {
    let mut random = Random::seeded();
    for edition in &EDITIONS {
        let mut seen = Seen::default();
        for _ in 0..TABLES {
            let map = filled(&mut random, edition)?;
            let (table, values) = table(&map, edition.release)?;
            let table = table.with_cluster(Cluster { id: CLUSTER, identity_bits: 16 });
            for _ in 0..LOOK_UPS {
                let asked = random_question(&mut random);
                let answer = compare(&asked, edition.choice, &map, (&table, &values))
                    .with_context(|| format!("seed {}, release 1.{}", random.seed, edition.release))?;
                seen.add(&answer);
            }
        }
        seen.check(edition)?;
    }
    Ok(Outcome::Passed)
}

fn empty(edition: &Edition) -> Result<Map> {
    let spec = MapSpec {
        pin: edition.pin.to_owned(),
        map_type: MapType::LpmTrie,
        key: 12,
        value: edition.form.value_size(),
        max_entries: 16384,
        flags: BPF_F_NO_PREALLOC,
    };
    Map::create(spec, None).context("cannot make a policy map")
}

fn filled(random: &mut Random, edition: &Edition) -> Result<Map> {
    let map = empty(edition)?;
    for _ in 0..random.below(120) {
        let entry = entry(random, &IDENTITIES, edition);
        map.update(&entry.key(), &entry.value(edition.form)).context("cannot write a policy entry")?;
    }
    Ok(map)
}

/// How often each match type and each outcome came up: a test that never sees one proves nothing about it.
#[derive(Default)]
struct Seen {
    look_ups: u32,
    match_types: BTreeMap<u8, u32>,
    drops: BTreeMap<u8, u32>,
    redirects: u32,
}

impl Seen {
    fn add(&mut self, answer: &Answer) {
        self.look_ups += 1;
        *self.match_types.entry(answer.match_type).or_default() += 1;
        *self.drops.entry(answer.drop).or_default() += 1;
        self.redirects += u32::from(answer.drop == 0 && answer.proxy_port != 0);
    }

    fn check(&self, edition: &Edition) -> Result<()> {
        let Self { look_ups, match_types, drops, redirects } = self;
        let release = edition.release;
        println!(
            "1.{release}: {look_ups} look-ups, match types {match_types:?}, drops {drops:?}, {redirects} redirects"
        );
        ensure!(*look_ups >= 100_000, "only {look_ups} look-ups");
        for match_type in 0..=6 {
            ensure!(match_types.get(&match_type) > Some(&100), "1.{release}: few of match type {match_type}");
        }
        for reason in [0, 133, 157, 181, 189, 197] {
            ensure!(drops.get(&reason) > Some(&100), "1.{release}: few outcomes {reason}");
        }
        ensure!(*redirects > 100, "1.{release}: few redirects");
        Ok(())
    }
}

fn random_question(random: &mut Random) -> Asked {
    Asked {
        egress: random.chance(2),
        remote: random.pick(&IDENTITIES),
        protocol: random.pick(&[1, 6, 6, 17, 17, 132, 47]),
        port: random.port(),
        fragment: random.chance(20),
        authenticated: random.pick(&[Ok(()), Err(189), Err(197)]),
        cluster: CLUSTER,
    }
}

/// Asks both, who must agree.
fn compare(asked: &Asked, choice: Choice, map: &Map, (table, values): (&Table, &Values)) -> Result<Answer> {
    let direction = if asked.egress { Direction::Egress } else { Direction::Ingress };
    let query = Query {
        fragment: asked.fragment,
        auth: match asked.authenticated {
            Ok(()) => Auth::Valid,
            Err(189) => Auth::Missing,
            Err(_) => Auth::NoNodeId,
        },
        ..Query::new(direction, Identity(asked.remote), asked.protocol, asked.port)
    };
    let kernel = asked.answer(map, choice)?;
    let own = answer(&decide(table, &query), values)?;
    if own != kernel {
        bail!("{asked:?}: kernel {kernel:?}, evaluator {own:?}\n{:#?}", evaluate(table, &query));
    }
    Ok(kernel)
}

/// What the evaluator says, in the terms of the datapath.
fn answer(decision: &Decision, values: &Values) -> Result<Answer> {
    let drop = match (decision.verdict, decision.reason) {
        (Verdict::Denied, Some(reason)) => reason.0,
        (Verdict::Allowed, None) if decision.proxy_port == 0 => 0,
        (Verdict::Redirected, None) if decision.proxy_port != 0 => 0,
        _ => bail!("no clear answer: {decision:?}"),
    };
    let value = match decision.winner {
        Some(winner) => values.get(&winner.key).context("a winner that is not in the map")?.clone(),
        None => Vec::new(),
    };
    Ok(Answer {
        drop,
        proxy_port: decision.proxy_port,
        match_type: decision.match_type as u8,
        auth: decision.auth_type,
        cookie: decision.cookie,
        value,
    })
}

/// What a real agent wrote: ports, ranges, ICMP types, CIDRs, denies, a redirect, an authentication. The kernel is
/// asked about every identity of the node by every port that some entry is for, and those beside it.
fn evaluator_and_kernel_agree_on_the_recorded_policies() -> Result<Outcome> {
    /// The recorded release writes entries as 1.16 does.
    const EDITION: &Edition = &EDITIONS[1];
    let Some(recording) = real_node::recording() else {
        return Ok(Outcome::NotPossible(format!(
            "no recorded node: set {} to its folder",
            real_node::VARIABLE
        )));
    };
    let recorded = |name: &str| recorded_entries(&recording.join("maps").join(name));
    let mut identities = BTreeSet::from([0, 1, 2, 9, 10, 0x0100_0fff]);
    for (_, value) in recorded("cilium_ipcache.jsonl")? {
        identities.insert(word_at(&value, 0)?);
    }
    let mut seen = Seen::default();
    for endpoint in ["00260", "00601", "01741", "02148", "04023"] {
        let entries = recorded(&format!("cilium_policy_{endpoint}.jsonl"))?;
        ensure!(!entries.is_empty(), "no entries of endpoint {endpoint}");
        let map = empty(EDITION)?;
        let mut ports = BTreeSet::from([0, 1, u16::MAX]);
        for (key, value) in &entries {
            map.update(key, value)?;
            let length = word_at(key, 0)?;
            let first = u16::from_be_bytes([key[10], key[11]]);
            let last = first | u16::MAX.checked_shr(length.saturating_sub(48)).unwrap_or(0);
            ports.extend([first.wrapping_sub(1), first, last, last.wrapping_add(1)]);
        }
        let (table, values) = table(&map, EDITION.release)?;
        ensure!(table.entries().len() == entries.len(), "endpoint {endpoint}: entries are missing");
        for (&remote, &port) in identities.iter().flat_map(|id| ports.iter().map(move |port| (id, port))) {
            for (egress, protocol) in [1, 6, 17, 58, 132].into_iter().flat_map(|p| [(false, p), (true, p)]) {
                let asked = Asked {
                    egress,
                    remote,
                    protocol,
                    port,
                    fragment: false,
                    authenticated: Err(189),
                    cluster: CLUSTER,
                };
                let answer = compare(&asked, EDITION.choice, &map, (&table, &values))
                    .with_context(|| format!("endpoint {endpoint}"))?;
                seen.add(&answer);
            }
        }
    }
    println!("{} look-ups, {:?}, {:?}", seen.look_ups, seen.match_types, seen.drops);
    for reason in [0, 133, 181, 189] {
        ensure!(seen.drops.contains_key(&reason), "no outcome {reason} in the recording");
    }
    ensure!(seen.redirects > 0, "no redirect in the recording");
    Ok(Outcome::Passed)
}

fn word_at(bytes: &[u8], at: usize) -> Result<u32> {
    Ok(u32::from_ne_bytes(bytes.get(at..at + 4).context("too short")?.try_into()?))
}

/// Keys and values: a line each, `{"key": "hex", "value": "hex"}`.
fn recorded_entries(path: &Path) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let bytes = |row: &Value, name: &str| -> Result<Vec<u8>> {
        let digits = row[name].as_str().with_context(|| format!("no {name}"))?;
        let pairs = (0..digits.len()).step_by(2).map(|at| digits.get(at..at + 2).context("odd"));
        pairs.map(|pair| Ok(u8::from_str_radix(pair?, 16)?)).collect()
    };
    let entry = |line: &str| {
        let row: Value = serde_json::from_str(line)?;
        Ok((bytes(&row, "key")?, bytes(&row, "value")?))
    };
    text.lines().map(entry).collect()
}

/// Policies a generation; each decides over a new connection and, if it comes about, two packets more.
const POLICIES: u32 = 1000;

/// Generations of the pretend node, one for each way to choose or to write entries.
const NODES: [(Generation, usize); 5] = [
    (Generation::V1_14, 0),
    (Generation::V1_16, 1),
    (Generation::V1_17, 2),
    (Generation::V1_18, 3),
    (Generation::V1_19, 4),
];

fn evaluator_and_datapath_agree_on_1_000_policies_a_generation() -> Result<Outcome> {
    let mut random = Random::seeded();
    for (generation, edition) in NODES {
        let node = Node::builder().generation(generation).build()?;
        let mut trial = Trial { node, edition: &EDITIONS[edition], random, seen: BTreeMap::new() };
        for number in 0..POLICIES {
            trial
                .run(number)
                .with_context(|| format!("seed {}, {generation}, policy {number}", trial.random.seed))?;
        }
        println!("{generation}: {:?}", trial.seen);
        for outcome in [133, 181, 189, PASSED, DELIVERED] {
            ensure!(trial.seen.get(&outcome) > Some(&10), "{generation}: few outcomes {outcome}");
        }
        random = trial.random;
    }
    Ok(Outcome::Passed)
}

/// Outcomes beside drop reasons: handed to the stack (for the proxy), handed to the pod.
const PASSED: u8 = 0;
const DELIVERED: u8 = 7;

struct Trial {
    node: Node,
    edition: &'static Edition,
    random: Random,
    /// How often each outcome came up.
    seen: BTreeMap<u8, u32>,
}

/// Seconds since 1970 at which authentications expire: not soon.
const FAR: u64 = 4_000_000_000;

/// What surrounds one packet.
#[derive(Clone, Copy, Debug)]
struct Circumstances {
    connection: Connection,
    /// Authentication types that the map has an entry for, out and in.
    authenticated: [[bool; 3]; 2],
}

impl Trial {
    fn run(&mut self, number: u32) -> Result<()> {
        let to = self.random.pick(&[SERVER, DNS]);
        let packet = self.packet(number, to);
        let authenticated = self.set_authentication(&to)?;
        self.set_policies(&to)?;
        let new = Circumstances { connection: Connection::New, authenticated };
        let outcome = self.send(&packet, new)?;
        if outcome != DELIVERED || !packet.has_reply() {
            return Ok(());
        }
        // Policy is asked for every packet of a connection, but not about replies.
        self.set_policies(&to)?;
        self.send(&packet, Circumstances { connection: Connection::Established, ..new })?;
        let run = self.node.test_packet(&to, &packet.reply())?;
        ensure!(run.action == TestRun::REDIRECTED, "a reply to {packet:?} meets {run:?}");
        Ok(())
    }

    fn packet(&mut self, number: u32, to: Pod) -> Packet {
        let random = &mut self.random;
        let kind = match random.below(6) {
            0 | 1 => Kind::Tcp,
            2 | 3 => Kind::Udp,
            4 => Kind::Sctp,
            _ => Kind::Icmp(random.pick(&[(8, 0), (8, 0), (13, 0), (3, 4)])),
        };
        let kind = match kind {
            Kind::Udp if random.chance(8) => Kind::LateFragment,
            kind => kind,
        };
        Packet {
            to,
            kind,
            ipv6: matches!(kind, Kind::Tcp | Kind::Udp) && random.chance(3),
            // Every connection is new.
            source_port: 1024 + number as u16,
            port: random.port(),
            // Not both: this datapath reads the ports before it looks at the source.
            is_spoofed: !matches!(kind, Kind::LateFragment) && random.chance(40),
        }
    }

    fn set_policies(&mut self, to: &Pod) -> Result<()> {
        for (pod, peer) in [(CLIENT, to.identity), (*to, CLIENT.identity)] {
            self.node.policy_map(pod.endpoint)?.clear()?;
            // Half of the ends are open in one direction, or hardly anything would get as far as the other end.
            if self.random.chance(2) {
                self.node.set_policy_entry(&pod, &PolicyEntry::allow_all(pod == CLIENT))?;
            }
            for _ in 0..self.random.below(12) {
                let entry = entry(&mut self.random, &[0, peer, peer, 45678], self.edition);
                self.node.set_policy_entry(&pod, &entry)?;
            }
        }
        Ok(())
    }

    fn set_authentication(&mut self, to: &Pod) -> Result<[[bool; 3]; 2]> {
        let map = self.node.map("cilium_auth_map")?;
        let mut all = [[false; 3]; 2];
        for (way, (local, remote)) in [(CLIENT, *to), (*to, CLIENT)].into_iter().enumerate() {
            for kind in 1..=2 {
                let (key, value) = auth_entry(local.identity, remote.identity, 0, kind, FAR);
                let is_there = self.random.chance(2);
                all[way][usize::from(kind)] = is_there;
                if is_there {
                    map.update(&key, &value)?;
                } else if map.lookup(&key)?.is_some() {
                    map.delete(&key)?;
                }
            }
        }
        Ok(all)
    }

    /// Sends the packet and checks what the datapath does, and which entries it counted it with.
    fn send(&mut self, packet: &Packet, circumstances: Circumstances) -> Result<u8> {
        let run = self.node.test_packet(&CLIENT, &packet.bytes())?;
        let found = match run.action {
            TestRun::DROPPED => run.reason().context("no reason")?,
            TestRun::PASSED => PASSED,
            TestRun::REDIRECTED => DELIVERED,
            other => bail!("action {other}"),
        };
        let (out, values) = self.table(&CLIENT)?;
        let (into, server_values) = self.table(&packet.to)?;
        let egress = decided(&out, packet, circumstances, Direction::Egress);
        let gets_there = egress.verdict == Verdict::Allowed;
        let ingress = gets_there.then(|| decided(&into, packet, circumstances, Direction::Ingress));
        let last = ingress.as_ref().unwrap_or(&egress);
        let expected = match (last.verdict, last.reason) {
            (Verdict::Denied, Some(reason)) => reason.0,
            (Verdict::Redirected, None) => PASSED,
            (Verdict::Allowed, None) => DELIVERED,
            _ => bail!("no clear answer: {last:?}"),
        };
        if found != expected {
            bail!(
                "{packet:?}, {circumstances:?}: datapath {found}, evaluator {expected}: {egress:#?} {ingress:#?}"
            );
        }
        for (decision, values) in [(Some(egress), values), (ingress, server_values)] {
            let winner = decision.and_then(|decision| decision.winner).map(|winner| winner.key);
            self.check_counters(winner, &values).with_context(|| format!("{packet:?}, {circumstances:?}"))?;
        }
        *self.seen.entry(found).or_default() += 1;
        Ok(found)
    }

    fn table(&self, pod: &Pod) -> Result<(Table, Values)> {
        table(self.node.policy_map(pod.endpoint)?, self.edition.release)
    }

    /// The winner alone has counted the packet, where counters are in the entries: at byte 8.
    fn check_counters(&self, winner: Option<Key>, values: &Values) -> Result<()> {
        if self.edition.form.value_size() != 24 {
            return Ok(());
        }
        for (key, value) in values {
            let counted = value[8] != 0;
            ensure!(counted == (Some(*key) == winner), "winner {winner:?}, but {key:?} has {value:02x?}");
        }
        Ok(())
    }
}

/// What the evaluator makes of one direction, authentication looked up if it asks for it.
fn decided(table: &Table, packet: &Packet, with: Circumstances, direction: Direction) -> Decision {
    let (peer, way) = match direction {
        Direction::Egress => (packet.to.identity, 0),
        Direction::Ingress => (CLIENT.identity, 1),
    };
    let facts = Facts {
        icmp: packet.icmp(),
        connection: with.connection,
        is_foreign_source: packet.is_spoofed,
        fragment: if packet.is_late_fragment() {
            Fragment::Later { first_was_seen: false }
        } else {
            Fragment::None
        },
        ..Facts::new(direction, Identity(peer), packet.protocol(), packet.port)
    };
    let decision = judge(table, &facts, &Settings::default());
    if decision.verdict != Verdict::Unknown {
        return decision;
    }
    let is_there = with.authenticated[way].get(usize::from(decision.auth_type)).copied().unwrap_or_default();
    let auth = if is_there { Auth::Valid } else { Auth::Missing };
    judge(table, &Facts { auth, ..facts }, &Settings::default())
}
