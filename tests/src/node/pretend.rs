//! The node as a whole: build it, run commands in it, go into its pods, change its policies.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use super::agent::Agent;
use super::cast::Pod;
use super::catalogue;
use super::clock;
use super::contents::{Filler, Maps};
use super::datapath::{Attach, Datapath};
use super::encode::PolicyEntry;
use super::generation::{Facts, Generation};
use super::kernel::bpf::{self, Map, TestRun};
use super::kernel::process;
use super::kernel::space::{NetSpace, NodeSpace};
use super::state;
use super::stats::{self, Metric};
use super::topology::{self, Surroundings};
use super::traffic::{Places, Schedule, Services, Traffic};

/// Where the maps are pinned, inside.
pub const GLOBALS: &str = "/sys/fs/bpf/tc/globals";
/// The connection tracking map of IPv4 and TCP.
const CT4: &str = "cilium_ct4_global";

const AGENT_SOCKET: &str = "/run/cilium/cilium.sock";

/// What kind of node to build.
#[derive(Clone, Debug)]
pub struct Builder {
    generation: Generation,
    attach: Attach,
    xdp: bool,
    trace_all: bool,
    datapath: bool,
    max_entries: BTreeMap<String, u32>,
    connections: u32,
}

impl Builder {
    pub fn generation(mut self, generation: Generation) -> Self {
        self.generation = generation;
        self
    }

    pub fn attach(mut self, attach: Attach) -> Self {
        self.attach = attach;
        self
    }

    /// Attaches the XDP program to `eth0` too.
    pub fn xdp(mut self, xdp: bool) -> Self {
        self.xdp = xdp;
        self
    }

    /// A trace message for every packet that passes, not only for new connections.
    pub fn trace_all(mut self, trace_all: bool) -> Self {
        self.trace_all = trace_all;
        self
    }

    /// Loads no programs: maps, files and devices only, which is much faster to build.
    pub fn without_datapath(mut self) -> Self {
        self.datapath = false;
        self
    }

    /// Makes the map `pin` with room for `entries` instead of the usual number.
    pub fn max_entries(mut self, pin: &str, entries: u32) -> Self {
        self.max_entries.insert(pin.to_owned(), entries);
        self
    }

    /// Fills [`CT4`] with so many connections, and makes room for them: an LRU map drops entries a little before
    /// it is full.
    pub fn connections(mut self, count: u32) -> Self {
        self.connections = count;
        if count > 0 { self.max_entries(CT4, count + count / 64 + 4096) } else { self }
    }

    pub fn build(self) -> Result<Node> {
        process::raise_memlock();
        let facts = self.generation.facts();
        let space = NodeSpace::create()?;
        let around = Surroundings::create()?;
        let (maps, datapath) = space.run(|| {
            topology::build(&around)?;
            let maps = self.make_maps(&facts)?;
            let filler = Filler { maps: &maps, facts, now: clock::monotonic_seconds() };
            filler.fill().context("cannot fill the maps")?;
            filler.connections(CT4, self.connections).with_context(|| format!("cannot fill `{CT4}`"))?;
            state::write_all(Path::new("/run/cilium"), &facts).context("cannot write the state files")?;
            let datapath = if self.datapath {
                Some(Datapath::start(&facts, &maps, self.attach, (self.xdp, self.trace_all))?)
            } else {
                None
            };
            Ok((maps, datapath))
        })?;
        Ok(Node { generation: self.generation, facts, space, around, maps, datapath })
    }

    /// Creates and pins every map; the caller's thread is inside.
    fn make_maps(&self, facts: &Facts) -> Result<Maps> {
        fs::create_dir_all(GLOBALS).with_context(|| format!("cannot make `{GLOBALS}`"))?;
        let mut maps = Maps::new();
        let inner = Map::create(catalogue::maglev_inner(), None).context("cannot make a maglev table")?;
        let outer = [4, 6].map(|family| catalogue::maglev_outer(facts, family));
        for (mut spec, inner) in catalogue::maps(facts)
            .into_iter()
            .map(|spec| (spec, None))
            .chain(outer.map(|spec| (spec, Some(&inner))))
        {
            if let Some(entries) = self.max_entries.get(&spec.pin) {
                spec.max_entries = *entries;
            }
            let pin = spec.pin.clone();
            let map = Map::create(spec, inner).with_context(|| format!("cannot create map `{pin}`"))?;
            map.pin(Path::new(GLOBALS)).with_context(|| format!("cannot pin map `{pin}`"))?;
            maps.insert(pin, map);
        }
        Ok(maps)
    }
}

/// A running pretend node. Everything is gone when it is dropped and the commands in it have ended.
#[derive(Debug)]
pub struct Node {
    generation: Generation,
    facts: Facts,
    space: NodeSpace,
    around: Surroundings,
    maps: Maps,
    datapath: Option<Datapath>,
}

impl Node {
    pub fn builder() -> Builder {
        Builder {
            generation: Generation::V1_17,
            attach: Attach::Auto,
            xdp: false,
            trace_all: false,
            datapath: true,
            max_entries: BTreeMap::new(),
            connections: 0,
        }
    }

    pub fn generation(&self) -> Generation {
        self.generation
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The node's own namespaces.
    pub fn space(&self) -> &NodeSpace {
        &self.space
    }

    /// The network namespace of a pod of the cast.
    pub fn pod_space(&self, name: &str) -> Result<&NetSpace> {
        let index = super::cast::PODS.iter().position(|pod| pod.name == name);
        index.map(|index| &self.around.pods[index]).ok_or_else(|| anyhow!("no pod `{name}` in the cast"))
    }

    /// The network namespace behind `eth0`.
    pub fn world(&self) -> &NetSpace {
        &self.around.world
    }

    /// Makes `command` start on the node. It dies with the calling thread.
    pub fn prepare<'a>(&self, command: &'a mut Command) -> Result<&'a mut Command> {
        process::into_space(command, &self.space).context("cannot use the node's namespaces")
    }

    /// Runs `command` on the node to its end; output is captured.
    pub fn run(&self, command: &mut Command) -> Result<std::process::Output> {
        let program = command.get_program().to_owned();
        self.prepare(command)?.output().with_context(|| format!("cannot run `{}`", program.display()))
    }

    /// Runs `work` in a pod's network namespace.
    pub fn in_pod<T: Send>(&self, name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.pod_space(name)?.run(work)
    }

    /// Starts the agent: it reads `cilium_events`, beats, and has an API socket. One at a time.
    pub fn start_agent(&self) -> Result<Agent> {
        let socket = self.space.run(|| {
            // That of an agent before stays behind, as in life.
            let _ = fs::remove_file(AGENT_SOCKET);
            UnixListener::bind(AGENT_SOCKET).with_context(|| format!("cannot listen on `{AGENT_SOCKET}`"))
        })?;
        Agent::start(socket, self.map("cilium_events")?, self.map("cilium_runtime_config")?)
    }

    /// Starts those who answer the traffic.
    pub fn start_services(&self) -> Result<Services> {
        let [_, server, dns, _] = &self.around.pods;
        Services::start(server, dns, &self.around.world)
    }

    /// Starts traffic; [`Node::start_services`] comes first.
    pub fn start_traffic(&self, schedule: Schedule) -> Result<Traffic> {
        let [client, ..] = &self.around.pods;
        let places = Places { client: client.try_clone()?, world: self.around.world.try_clone()? };
        Traffic::start(places, schedule)
    }

    /// What the datapath counted so far.
    pub fn metrics(&self) -> Result<Vec<Metric>> {
        stats::metrics(self.map("cilium_metrics")?).context("cannot read `cilium_metrics`")
    }

    /// Sends `packet` (a whole frame) through the program on `pod`'s way out, and, if it is for a local
    /// endpoint, through the receiving endpoint's program, without any network: connection tracking, policy,
    /// counters and messages are as for a real packet.
    pub fn test_packet(&self, pod: &Pod, packet: &[u8]) -> Result<TestRun> {
        let index =
            super::cast::PODS.iter().position(|member| member == pod).context("not a pod of the cast")?;
        let datapath = self.datapath.as_ref().context("the node was built without a datapath")?;
        let program = datapath.from_container(index)?;
        bpf::test_run(program, packet).context("cannot test-run `cil_from_container`")
    }

    /// A pinned map by its file name.
    pub fn map(&self, pin: &str) -> Result<&Map> {
        self.maps.get(pin).ok_or_else(|| anyhow!("no map `{pin}` in generation {}", self.generation))
    }

    /// The policy map of an endpoint.
    pub fn policy_map(&self, endpoint: u16) -> Result<&Map> {
        self.map(&catalogue::policy_pin(&self.facts, endpoint))
    }

    /// Adds or replaces an entry of a pod's policy.
    pub fn set_policy_entry(&self, pod: &Pod, entry: &PolicyEntry) -> Result<()> {
        let map = self.policy_map(pod.endpoint)?;
        map.update(&entry.key(), &entry.value(self.facts.policy)).context("cannot write a policy entry")
    }

    /// Removes an entry of a pod's policy.
    pub fn remove_policy_entry(&self, pod: &Pod, entry: &PolicyEntry) -> Result<()> {
        self.policy_map(pod.endpoint)?.delete(&entry.key()).context("cannot remove a policy entry")
    }
}
