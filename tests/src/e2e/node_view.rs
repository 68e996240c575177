//! The reader of Cilium's maps on real BPF maps made for the purpose: sizes that nobody knows, maps that are
//! replaced and vanish, many entries of every map type, and the longest prefix as the kernel finds it.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tracer::cilium::node::NodeView;
use tracer::cilium::pins::policy_pins;
use tracer::cilium::source::{Wanted, find};
use tracer::cilium::table::{Table, Walk};
use tracer::model::endpoint::IdentitySource;
use tracer::model::names::Names;
use tracer_common::id::{EndpointId, Identity};

use crate::node::cast::{CLIENT, PODS, SERVER};
use crate::node::kernel::bpf::{BPF_F_NO_PREALLOC, Map, MapSpec, MapType};
use crate::node::kernel::space::NodeSpace;
use crate::node::{Generation, Node};
use crate::runner::Outcome;

crate::tests![
    every_generation_is_recognized_and_named: 120,
    a_map_of_unknown_size_is_one_line_and_harms_no_other,
    a_replaced_map_is_opened_again_and_told_once,
    the_newest_name_of_a_map_wins,
    an_address_that_no_prefix_covers_is_world,
    every_entry_of_every_map_type_is_shown_once,
    a_place_that_is_no_bpffs_is_refused_by_name,
];

const GLOBALS: &str = "/sys/fs/bpf/tc/globals";

/// Runs `work` where an empty directory for pinned maps waits.
fn in_space(work: impl FnOnce() -> Result<()> + Send) -> Result<Outcome> {
    NodeSpace::create()?.run(|| {
        fs::create_dir_all(GLOBALS).context("cannot make a directory in a bpffs")?;
        work()
    })?;
    Ok(Outcome::Passed)
}

fn make(pin: &str, map_type: MapType, key: u32, value: u32) -> Result<Map> {
    let flags = if matches!(map_type, MapType::LpmTrie) { BPF_F_NO_PREALLOC } else { 0 };
    let spec = MapSpec { pin: pin.to_owned(), map_type, key, value, max_entries: 100_000, flags };
    let map = Map::create(spec, None).with_context(|| format!("cannot make map `{pin}`"))?;
    let path = Path::new(GLOBALS).join(pin);
    if path.exists() {
        fs::remove_file(&path)?;
    }
    map.pin(Path::new(GLOBALS)).with_context(|| format!("cannot pin map `{pin}`"))?;
    Ok(map)
}

fn view() -> Result<NodeView> {
    let wanted = Wanted { bpffs: Some("/sys/fs/bpf".into()), ..Wanted::default() };
    Ok(NodeView::new(find(&wanted)?, Instant::now()))
}

/// Notices about the named map.
fn notices(view: &mut NodeView, map: &str) -> Vec<String> {
    let all = view.take_notices();
    all.iter().map(ToString::to_string).filter(|line| line.contains(map)).collect()
}

fn lxc_entry(map: &Map, ip: [u8; 4], id: u16, identity: u32) -> Result<()> {
    let (mut key, mut value) = ([0; 20], [0; 48]);
    key[..4].copy_from_slice(&ip);
    key[16] = 1;
    value[6..8].copy_from_slice(&id.to_le_bytes());
    value[32..36].copy_from_slice(&identity.to_le_bytes());
    Ok(map.update(&key, &value)?)
}

fn ipcache_entry(map: &Map, ip: [u8; 4], bits: u32, identity: u32) -> Result<()> {
    let mut key = [0; 24];
    key[..4].copy_from_slice(&(32 + bits).to_le_bytes());
    key[7] = 1;
    key[8..12].copy_from_slice(&ip);
    let mut value = vec![0; map.spec.value as usize];
    value[..4].copy_from_slice(&identity.to_le_bytes());
    Ok(map.update(&key, &value)?)
}

/// The pretend node's writers share no code with the readers.
fn every_generation_is_recognized_and_named() -> Result<Outcome> {
    for generation in Generation::ALL {
        let node = Node::builder().generation(generation).build()?;
        node.space().run(|| check_cast(generation)).with_context(|| format!("generation {generation}"))?;
    }
    Ok(Outcome::Passed)
}

fn check_cast(generation: Generation) -> Result<()> {
    let mut view = NodeView::new(find(&Wanted::default())?, Instant::now());
    let told: Vec<String> = view.take_notices().iter().map(ToString::to_string).collect();
    ensure!(told.is_empty(), "a healthy node gives no notices: {told:?}");
    assert_eq!(view.releases().releases().to_string(), generation.as_str());
    for pod in PODS {
        let found = view.endpoint_by_ip(pod.ipv4.into()).with_context(|| format!("no {}", pod.name))?;
        assert_eq!((found.id.0, found.identity.0, found.ifindex), (pod.endpoint, pod.identity, pod.ifindex));
        assert_eq!((found.interface.as_str(), found.stale_names), (pod.device, false), "{}", pod.name);
        assert_eq!(view.endpoint_by_ip(pod.ipv6.into()).as_ref(), Some(&found));
        let identity = Some((Identity(pod.identity), IdentitySource::Ipcache));
        assert_eq!(view.identity_of(pod.ipv4.into()), identity, "{}", pod.name);
        assert_eq!(view.identity_of(pod.ipv6.into()), identity, "{}", pod.name);
        assert!(view.labels(Identity(pod.identity)).is_some(), "{}", pod.name);
    }
    for (pod, name) in [(CLIENT, "client"), (SERVER, "server")] {
        let found = view.endpoint_by_id(EndpointId(pod.endpoint)).context("no endpoint of this id")?;
        assert_eq!((found.namespace.as_str(), found.pod.as_str()), ("default", name));
        let app = found.labels.value_of("app");
        assert_eq!(app, Some(name));
    }
    let split = generation.facts().split_world;
    let (ipv4, ipv6) =
        if split { (Identity::WORLD_IPV4, Identity::WORLD_IPV6) } else { (Identity::WORLD, Identity::WORLD) };
    assert_eq!((view.world().ipv4, view.world().ipv6), (ipv4, ipv6));
    let names = view.maps().context("no maps")?.names()?;
    let pins = policy_pins(names.iter().map(String::as_str));
    assert!(
        pins.iter().any(|pin| pin.endpoint == EndpointId(SERVER.endpoint)) && view.events_map().is_some()
    );
    Ok(())
}

fn a_map_of_unknown_size_is_one_line_and_harms_no_other() -> Result<Outcome> {
    in_space(|| {
        make("cilium_ipcache", MapType::LpmTrie, 24, 20)?;
        lxc_entry(&make("cilium_lxc", MapType::Hash, 20, 48)?, [10, 0, 1, 5], 7, 50001)?;
        let mut view = view()?;
        let line = "map `cilium_ipcache`: value size 20, expected 12 (Cilium up to 1.17) or 24 (1.18+)";
        assert_eq!(notices(&mut view, "cilium_ipcache"), [line]);
        let ip = IpAddr::from([10, 0, 1, 5]);
        assert_eq!(view.identity_of(ip), None);
        assert_eq!(
            view.endpoint_by_ip(ip).map(|e| (e.id, e.identity)),
            Some((EndpointId(7), Identity(50001)))
        );
        view.refresh(Instant::now() + Duration::from_secs(5));
        assert!(notices(&mut view, "cilium_ipcache").is_empty());
        Ok(())
    })
}

fn a_replaced_map_is_opened_again_and_told_once() -> Result<Outcome> {
    in_space(|| {
        let old = make("cilium_ipcache", MapType::LpmTrie, 24, 12)?;
        ipcache_entry(&old, [10, 0, 0, 0], 8, 1111)?;
        let mut view = view()?;
        let ip = IpAddr::from([10, 0, 1, 5]);
        assert_eq!(view.identity_of(ip), Some((Identity(1111), IdentitySource::Ipcache)));
        notices(&mut view, "");

        let new = make("cilium_ipcache", MapType::LpmTrie, 24, 12)?;
        ipcache_entry(&new, [10, 0, 0, 0], 8, 2222)?;
        let start = Instant::now();
        view.refresh(start + Duration::from_secs(2));
        let line = format!("map `cilium_ipcache` was replaced: id {} is now {}", old.id()?, new.id()?);
        assert_eq!(notices(&mut view, "cilium_ipcache"), [line]);
        assert_eq!(view.identity_of(ip), Some((Identity(2222), IdentitySource::Ipcache)));

        fs::remove_file(Path::new(GLOBALS).join("cilium_ipcache"))?;
        view.refresh(start + Duration::from_secs(4));
        assert_eq!(notices(&mut view, "cilium_ipcache").len(), 1);
        assert_eq!(view.identity_of(ip), Some((Identity(2222), IdentitySource::Ipcache)));
        view.refresh(start + Duration::from_secs(6));
        assert!(notices(&mut view, "cilium_ipcache").is_empty());
        Ok(())
    })
}

fn the_newest_name_of_a_map_wins() -> Result<Outcome> {
    in_space(|| {
        ipcache_entry(&make("cilium_ipcache", MapType::LpmTrie, 24, 12)?, [10, 0, 0, 0], 8, 1111)?;
        ipcache_entry(&make("cilium_ipcache_v2", MapType::LpmTrie, 24, 24)?, [10, 0, 0, 0], 8, 2222)?;
        let mut view = view()?;
        let found = view.identity_of(IpAddr::from([10, 9, 9, 9]));
        assert_eq!(found, Some((Identity(2222), IdentitySource::Ipcache)));
        assert_eq!(view.releases().releases().to_string(), "1.18 or newer");
        Ok(())
    })
}

fn an_address_that_no_prefix_covers_is_world() -> Result<Outcome> {
    in_space(|| {
        let map = make("cilium_ipcache", MapType::LpmTrie, 24, 12)?;
        ipcache_entry(&map, [10, 0, 0, 0], 8, 1111)?;
        ipcache_entry(&map, [10, 1, 0, 0], 16, 0)?;
        let mut view = view()?;
        let world = Some((Identity::WORLD, IdentitySource::World));
        assert_eq!(view.identity_of(IpAddr::from([192, 0, 2, 1])), world);
        assert_eq!(view.identity_of(IpAddr::from([10, 1, 2, 3])), world);
        assert_eq!(view.identity_of("2001:db8::1".parse()?), world);
        // One world a family, told by the route of the other one.
        let mut key = [0; 24];
        key[..4].copy_from_slice(&32u32.to_le_bytes());
        key[7] = 2;
        let mut value = [0; 12];
        value[0] = 10;
        map.update(&key, &value)?;
        let mut view = self::view()?;
        let found = view.identity_of(IpAddr::from([192, 0, 2, 1]));
        assert_eq!(found, Some((Identity::WORLD_IPV4, IdentitySource::World)));
        Ok(())
    })
}

fn every_entry_of_every_map_type_is_shown_once() -> Result<Outcome> {
    in_space(|| {
        for (pin, map_type) in [
            ("cilium_hash", MapType::Hash),
            ("cilium_lru", MapType::LruHash),
            ("cilium_percpu", MapType::PercpuHash),
            ("cilium_trie", MapType::LpmTrie),
        ] {
            let map = make(pin, map_type, 8, 16)?;
            let keys = fill(&map, 20_000)?;
            let table = Table::open(&Path::new(GLOBALS).join(pin))?;
            assert_eq!(table.value_bytes(), map.value_len());
            let mut shown = BTreeSet::new();
            let walk = table.for_each(&mut |key, value| {
                assert_eq!(value[..4], key[4..], "{pin}: a value that belongs to its key");
                assert!(shown.insert(key.to_vec()), "{pin}: shown twice");
                ControlFlow::Continue(())
            })?;
            assert_eq!((walk, &shown), (Walk::Complete, &keys), "{pin}");
            let stopped = table.for_each(&mut |_, _| ControlFlow::Break(()))?;
            assert_eq!(stopped, Walk::Stopped);
        }
        Ok(())
    })
}

/// Host prefixes, which are keys of a trie as well as of a hash.
fn fill(map: &Map, count: u32) -> Result<BTreeSet<Vec<u8>>> {
    let mut keys = BTreeSet::new();
    for n in 0..count {
        let mut key = 32u32.to_le_bytes().to_vec();
        key.extend(Ipv4Addr::from(n.wrapping_mul(2_654_435_761)).octets());
        let mut value = vec![0; map.value_len()];
        value[..4].copy_from_slice(&key[4..]);
        map.update(&key, &value)?;
        keys.insert(key);
    }
    Ok(keys)
}

fn a_place_that_is_no_bpffs_is_refused_by_name() -> Result<Outcome> {
    in_space(|| {
        let refused = |path: &str| {
            let wanted = Wanted { bpffs: Some(path.into()), ..Wanted::default() };
            find(&wanted).map_err(|refusal| refusal.to_string())
        };
        assert_eq!(refused("/sys"), Err("`/sys` is not a bpffs (sysfs found)".to_owned()));
        assert_eq!(refused("/run/cilium"), Err("`/run/cilium` is not a bpffs (tmpfs found)".to_owned()));
        let empty = refused("/sys/fs/bpf").expect("an empty bpffs is no error");
        assert_eq!(empty.globals, None);
        let line = "`/sys/fs/bpf` is a bpffs without Cilium's maps (no `tc/globals/cilium_*`)";
        assert_eq!(empty.refused[0].to_string(), line);
        Ok(())
    })
}
