//! Entries of the maps that have commands of their own, in a few words; of the others what the catalogue knows,
//! or bytes. Only what all releases agree on is said of connection tracking.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use tracer_common::cilium::ct::CtEntry;
use tracer_common::cilium::policy::Generation;
use zerocopy::FromBytes as _;

use crate::cilium::catalogue::{self, Field, Fields, Recognized, Shown, View};
use crate::cilium::ct::{CtMap, GLOBAL, PER_ENDPOINT, decode_key};
use crate::cilium::maps::MapRead;
use crate::cilium::metrics::{self, MetricsSnapshot};
use crate::cilium::pins::PolicyPin;
use crate::cilium::policy::{self, Tally};
use crate::cilium::release::ReleaseRange;
use crate::cilium::{ipcache, lb, lxc, nat, reason};

/// Speaks for one map.
pub struct Speaker<'a> {
    pub map: &'a str,
    kind: Kind,
}

enum Kind {
    Ct(&'static CtMap),
    Policy(Generation),
    Ipcache,
    Endpoints,
    Metrics,
    Nat,
    Services,
    Backends,
    ReverseNat,
    View(View),
    Bytes,
}

impl<'a> Speaker<'a> {
    /// `sides`: the map before and after, of which either tells the layout.
    pub fn new(map: &'a str, sides: [Option<&dyn MapRead>; 2], releases: ReleaseRange) -> Self {
        let is_in = |layouts: &[[crate::cilium::pins::Layout; 1]]| layouts.iter().any(|l| l[0].name == map);
        let ct = || GLOBAL.iter().chain(&PER_ENDPOINT).find(|ct| map.starts_with(ct.name));
        let policy = || generation(map, sides.into_iter().flatten(), releases);
        let kind = match map {
            "cilium_ipcache" | "cilium_ipcache_v2" => Kind::Ipcache,
            "cilium_lxc" => Kind::Endpoints,
            "cilium_metrics" => Kind::Metrics,
            _ if map.starts_with("cilium_snat_v") => Kind::Nat,
            _ if is_in(&lb::SERVICES) => Kind::Services,
            _ if is_in(&lb::BACKENDS) => Kind::Backends,
            _ if is_in(&lb::REVERSE_NAT) => Kind::ReverseNat,
            _ => ct().map(Kind::Ct).or_else(|| policy().map(Kind::Policy)).unwrap_or_else(|| {
                let info = sides.into_iter().flatten().map(MapRead::info).next();
                info.map_or(Kind::Bytes, |info| match catalogue::recognize(map, info) {
                    Recognized::Known(known) => match known.shown {
                        Shown::View(view) => Kind::View(view),
                        Shown::Command(_) | Shown::Raw(_) => Kind::Bytes,
                    },
                    Recognized::Unknown | Recognized::Sizes(_) => Kind::Bytes,
                })
            }),
        };
        Self { map, kind }
    }

    /// Key and value of an entry.
    pub fn say(&self, key: &[u8], value: &[u8]) -> (String, String) {
        self.words(key, value).unwrap_or_else(|| (hex(key), hex(value)))
    }

    fn words(&self, key: &[u8], value: &[u8]) -> Option<(String, String)> {
        match &self.kind {
            Kind::Ct(map) => {
                let said = decode_key(map, key)?;
                let common = CtEntry::read_from_bytes(value).ok()?.common;
                let way = if said.is_in { "in" } else { "out" };
                let ends = format!("{} -> {}", said.ends.originator, said.ends.other);
                let key = format!("{} {ends} protocol={} {way}", said.kind.name(), said.protocol);
                let (end, from) = (common.lifetime, common.src_sec_id);
                Some((key, format!("ends_at={end} flags={:#x} source_identity={from}", common.flags)))
            }
            Kind::Policy(generation) => {
                let entry = policy::decode(*generation, key, value)?;
                let way = if entry.egress { "egress" } else { "ingress" };
                let mut key = format!("{way} identity={}", entry.identity);
                let _ = match entry.protocol {
                    Some(protocol) => write!(key, " protocol={protocol}"),
                    None => write!(key, " any"),
                };
                if let Some((first, last)) = entry.ports {
                    let _ = write!(key, " ports={first}-{last}");
                }
                let verdict = if entry.deny { "deny" } else { "allow" };
                let mut said = format!("{verdict} proxy_port={} auth={}", entry.proxy_port, entry.auth_type);
                if let Some((packets, bytes)) = entry.counters {
                    let _ = write!(said, " packets={packets} bytes={bytes}");
                }
                Some((key, said))
            }
            Kind::Ipcache => {
                let entry = ipcache::decode(key, value)?;
                let key = format!("{}/{}", entry.address, entry.prefix_length);
                let mut said = format!("identity={} encrypt_key={}", entry.identity, entry.encrypt_key);
                if let Some(node) = entry.tunnel_endpoint {
                    let _ = write!(said, " tunnel_endpoint={node}");
                }
                Some((key, said))
            }
            Kind::Endpoints => {
                let entry = lxc::decode(key, value)?;
                let said = format!(
                    "endpoint={} identity={} ifindex={} flags={:#x}",
                    entry.id, entry.identity, entry.ifindex, entry.flags
                );
                Some((entry.ip.to_string(), said))
            }
            Kind::Metrics => counter(key, value),
            Kind::Nat => {
                let entry = nat::decode(key, value)?;
                let key = format!(
                    "{:?} {} -> {} protocol={}",
                    entry.direction, entry.source, entry.destination, entry.protocol
                );
                Some((key, format!("to={} created={}", entry.to, entry.created)))
            }
            Kind::Services => {
                let (at, slot) = lb::slot(key, value)?;
                let frontend = at.frontend;
                let key = format!(
                    "{} protocol={} scope={} slot={}",
                    frontend.address, frontend.protocol, frontend.scope, at.slot
                );
                let said = match at.slot {
                    0 => {
                        format!("service={} backends={} flags={:#x}", slot.service_id, slot.count, slot.flags)
                    }
                    _ => format!("service={} backend={}", slot.service_id, slot.backend_id()),
                };
                Some((key, said))
            }
            Kind::Backends => {
                let (id, backend) = lb::backend(key, value)?;
                let said = format!("{} protocol={} {:?}", backend.address, backend.protocol, backend.state);
                Some((format!("backend={id}"), said.to_lowercase()))
            }
            Kind::ReverseNat => {
                let (id, address) = lb::reverse_nat(key, value)?;
                Some((format!("service={id}"), address.to_string()))
            }
            Kind::View(view) => {
                let mut fields = Fields::default();
                view(key, value, &mut fields)?;
                Some((fields_text(&fields.key), fields_text(&fields.value)))
            }
            Kind::Bytes => None,
        }
    }
}

fn generation<'a>(
    map: &str,
    sides: impl Iterator<Item = &'a dyn MapRead>,
    releases: ReleaseRange,
) -> Option<Generation> {
    let pin = PolicyPin::parse(map)?;
    let (mut tally, mut form) = (Tally::default(), None);
    for side in sides {
        form = policy::form(pin, map, side.info()).ok();
        side.for_each(&mut |key, value| {
            tally.add(key, value);
            ControlFlow::Continue(())
        })
        .ok()?;
    }
    tally.generation(form?, map, releases).ok()
}

fn counter(key: &[u8], value: &[u8]) -> Option<(String, String)> {
    if !metrics::is_sound(key) {
        return None;
    }
    let mut one = MetricsSnapshot::default();
    one.add(key, value);
    let (row, count) = one.rows().next()?;
    let name = reason::metrics_text(row.reason).map_or_else(|| row.reason.to_string(), str::to_owned);
    let mut key = format!("{name} direction={}", row.direction);
    if let Some((file, line)) = row.place {
        let _ = write!(key, " file={file} line={line}");
    }
    Some((key, format!("packets={} bytes={}", count.packets, count.bytes)))
}

fn fields_text(fields: &[(&'static str, Field)]) -> String {
    let one = |(name, field): &(&'static str, Field)| match field {
        Field::Number(number) => format!("{name}={number}"),
        Field::Word(word) => format!("{name}={word}"),
        Field::Address(ip) => format!("{name}={ip}"),
        Field::Prefix(ip, bits) => format!("{name}={ip}/{bits}"),
        Field::Mac(mac) => format!("{name}={}", mac.map(|byte| format!("{byte:02x}")).join(":")),
    };
    fields.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
