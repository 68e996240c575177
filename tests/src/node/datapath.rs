//! Loads the small datapath and attaches it as Cilium attaches its programs: one load per endpoint, so that
//! each has its own policy map and constants, and one for `eth0`.

use std::fs;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use aya::programs::links::{FdLink, LinkOrder};
use aya::programs::tc::{NlOptions, TcAttachOptions, TcError, TcHandle};
use aya::programs::{SchedClassifier, TcAttachType, Xdp, XdpMode, tc};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use pretend_datapath::{Config, option, policy_form};
use zerocopy::IntoBytes;

use super::cast::{PODS, Pod};
use super::catalogue::policy_pin;
use super::contents::Maps;
use super::encode::world;
use super::generation::{CtForm, Facts, PolicyForm};
use super::kernel::bpf;
use super::pretend::GLOBALS;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/pretend-datapath.o"));

/// Port of the node service without backends, which the XDP program drops.
pub const XDP_PORT: u16 = 30090;

/// How the tc programs hang on their devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    Clsact,
    Tcx,
    /// As the release would: tcx where release and kernel have it.
    Auto,
}

impl FromStr for Attach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "clsact" => Ok(Self::Clsact),
            "tcx" => Ok(Self::Tcx),
            "auto" => Ok(Self::Auto),
            _ => Err(format!("unknown attachment `{text}`: expected clsact, tcx or auto")),
        }
    }
}

impl Attach {
    fn by_tcx(self, facts: &Facts) -> bool {
        match self {
            Self::Clsact => false,
            Self::Tcx => true,
            Self::Auto => {
                facts.tcx
                    && KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(6, 6, 0))
            }
        }
    }
}

/// The loaded programs. Links are pinned in the node's bpffs or belong to its devices.
pub struct Datapath {
    /// In the order of [`PODS`].
    endpoints: Vec<Ebpf>,
    _netdev: Ebpf,
}

impl std::fmt::Debug for Datapath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datapath").finish_non_exhaustive()
    }
}

fn base_config(facts: &Facts) -> Config {
    Config {
        policy_form: match facts.policy {
            PolicyForm::WildcardBits => policy_form::WILDCARD_BITS,
            PolicyForm::PrefixLength => policy_form::PREFIX_LENGTH,
            PolicyForm::PrefixLengthShort => policy_form::PREFIX_LENGTH_SHORT,
            PolicyForm::Precedence => policy_form::PRECEDENCE,
        },
        drop_message: facts.drop_message,
        trace_message: if facts.drop_message == 48 { 56 } else { 48 },
        verdict_message: facts.verdict_message,
        metrics_place: facts.metrics_place.into(),
        ct_two_counters: (facts.ct == CtForm::TwoCounters).into(),
        world4: world(facts, false),
        world6: world(facts, true),
        xdp_port: XDP_PORT.into(),
        ..Config::default()
    }
}

fn padded(mac: [u8; 6]) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..6].copy_from_slice(&mac);
    bytes
}

/// The address as four words in network order.
fn words(ip: Ipv6Addr) -> [u32; 4] {
    let bytes = ip.octets();
    std::array::from_fn(|word| u32::from_ne_bytes(std::array::from_fn(|byte| bytes[4 * word + byte])))
}

fn endpoint_config(facts: &Facts, pod: &Pod) -> Config {
    Config {
        endpoint: pod.endpoint.into(),
        identity: pod.identity,
        options: pod.enforced,
        ifindex: pod.ifindex,
        ipv4: u32::from_ne_bytes(pod.ipv4.octets()),
        ipv6: words(pod.ipv6),
        mac: padded(pod.mac),
        node_mac: padded(pod.node_mac),
        ..base_config(facts)
    }
}

/// The object's maps and the pins that stand in for them.
fn pins(facts: &Facts, policy: &str) -> Vec<(&'static str, PathBuf)> {
    let mut pins = vec![
        ("cilium_policy", policy),
        ("cilium_ipcache", facts.ipcache_pin),
        ("cilium_lxc", "cilium_lxc"),
        ("cilium_ct4", "cilium_ct4_global"),
        ("cilium_ct_any4", "cilium_ct_any4_global"),
        ("cilium_ct6", "cilium_ct6_global"),
        ("cilium_ct_any6", "cilium_ct_any6_global"),
        ("cilium_fragments4", "cilium_ipv4_frag_datagrams"),
        ("cilium_auth", "cilium_auth_map"),
        ("cilium_runtime", "cilium_runtime_config"),
        ("cilium_metrics", "cilium_metrics"),
        ("cilium_events", "cilium_events"),
        ("cilium_call_policy", "cilium_call_policy"),
    ];
    if facts.policystats {
        pins.push(("cilium_policystats", "cilium_policystats"));
    }
    pins.into_iter().map(|(name, pin)| (name, Path::new(GLOBALS).join(pin))).collect()
}

fn load(facts: &Facts, config: &Config, policy: &str) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    // Nothing in the object needs the kernel's types; reading them would cost more than all the rest.
    loader.btf(None).override_global("CONFIG", config.as_bytes(), true);
    for (name, path) in pins(facts, policy) {
        loader.map_pin_path(name, path);
    }
    loader.load(OBJECT).context("cannot load the datapath")
}

fn classifier<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program = object.program_mut(name).ok_or_else(|| anyhow!("no program `{name}` in the datapath"))?;
    let program: &mut SchedClassifier = program.try_into()?;
    if program.fd().is_err() {
        program.load().with_context(|| format!("cannot load `{name}`"))?;
    }
    Ok(program)
}

/// Attaches to a device. `links` is where Cilium pins a tcx link.
fn attach(
    program: &mut SchedClassifier,
    name: &str,
    (device, direction): (&str, TcAttachType),
    tcx: bool,
    links: &Path,
) -> Result<()> {
    if !tcx {
        match tc::qdisc_add_clsact(device) {
            // It is there for the other direction.
            Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
            added => added.with_context(|| format!("cannot add clsact to `{device}`"))?,
        }
        let options = NlOptions { priority: 1, handle: TcHandle::new(0, 1), ..NlOptions::default() };
        let id = program.attach_with_options(device, direction, TcAttachOptions::Netlink(options))?;
        // The filter goes with its device. Detaching on drop would happen in another network namespace.
        std::mem::forget(program.take_link(id)?);
        return Ok(());
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = program.attach_with_options(device, direction, options)?;
    let link: FdLink = program.take_link(id)?.try_into()?;
    fs::create_dir_all(links)?;
    link.pin(links.join(name))?;
    Ok(())
}

/// The programs of Cilium's own devices. They let everything pass: what matters is that they are there.
const HOST_PROGRAMS: [(&str, &str, TcAttachType); 3] = [
    ("cil_to_host", "cilium_host", TcAttachType::Ingress),
    ("cil_from_host", "cilium_host", TcAttachType::Egress),
    ("cil_to_host", "cilium_net", TcAttachType::Ingress),
];

fn start_host(tcx: bool) -> Result<()> {
    for (name, device, direction) in HOST_PROGRAMS {
        let path = Path::new("/sys/fs/bpf").join(name);
        bpf::pin_passing_classifier(name, &path).with_context(|| format!("cannot load `{name}`"))?;
        let program = SchedClassifier::from_pin(&path);
        fs::remove_file(&path)?;
        let links = format!("/sys/fs/bpf/cilium/devices/{device}/links");
        attach(&mut program?, name, (device, direction), tcx, Path::new(&links))
            .with_context(|| format!("cannot attach `{name}` to `{device}`"))?;
    }
    Ok(())
}

impl Datapath {
    /// Runs in the node's namespaces.
    pub fn start(facts: &Facts, maps: &Maps, how: Attach, (xdp, trace_all): (bool, bool)) -> Result<Self> {
        let tcx = how.by_tcx(facts);
        let mut endpoints = Vec::new();
        for pod in &PODS {
            let object = start_endpoint(facts, maps, pod, (tcx, trace_all));
            endpoints.push(object.with_context(|| format!("no datapath for `{}`", pod.name))?);
        }
        let mut netdev = load(facts, &base_config(facts), &policy_pin(facts, super::cast::HOST_ENDPOINT))?;
        let links = Path::new("/sys/fs/bpf/cilium/devices/eth0/links");
        let name = "cil_from_netdev";
        attach(classifier(&mut netdev, name)?, name, ("eth0", TcAttachType::Ingress), tcx, links)
            .context("cannot attach to `eth0`")?;
        start_host(tcx)?;
        if xdp {
            start_xdp(&mut netdev, links).context("cannot attach XDP to `eth0`")?;
        }
        Ok(Self { endpoints, _netdev: netdev })
    }

    /// The program on a pod's way out, for test runs.
    pub fn from_container(&self, index: usize) -> Result<BorrowedFd<'_>> {
        let program =
            self.endpoints[index].program("cil_from_container").context("no program `cil_from_container`")?;
        let program: &SchedClassifier = program.try_into()?;
        Ok(program.fd()?.as_fd())
    }
}

fn start_endpoint(facts: &Facts, maps: &Maps, pod: &Pod, (tcx, trace_all): (bool, bool)) -> Result<Ebpf> {
    let mut config = endpoint_config(facts, pod);
    if trace_all {
        config.options |= option::TRACE_ALL;
    }
    let mut object = load(facts, &config, &policy_pin(facts, pod.endpoint))?;
    let policy = classifier(&mut object, "cil_lxc_policy")?.fd()?.as_fd().as_raw_fd();
    let calls = maps.get("cilium_call_policy").context("no map `cilium_call_policy`")?;
    calls.update(&u32::from(pod.endpoint).to_ne_bytes(), &policy.to_ne_bytes())?;
    let links = format!("/sys/fs/bpf/cilium/endpoints/{}/links", pod.endpoint);
    let name = "cil_from_container";
    let place = (pod.device, TcAttachType::Ingress);
    attach(classifier(&mut object, name)?, name, place, tcx, Path::new(&links))
        .with_context(|| format!("cannot attach to `{}`", pod.device))?;
    Ok(object)
}

fn start_xdp(object: &mut Ebpf, links: &Path) -> Result<()> {
    let name = "cil_xdp_entry";
    let program: &mut Xdp = object.program_mut(name).context("no program `cil_xdp_entry`")?.try_into()?;
    program.load()?;
    let id = program.attach("eth0", XdpMode::Skb)?;
    let link: FdLink = program.take_link(id)?.try_into()?;
    fs::create_dir_all(links)?;
    link.pin(links.join(name))?;
    Ok(())
}
