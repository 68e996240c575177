//! Rows of `tracer lb`.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::listing::{Column, Object, Row, value};
use super::protocol;
use crate::cilium::lb::{Algorithm, Backend, Frontend, Slot, SlotKey, SourceRange, State};
use crate::lb::check::Finding;
use crate::model::endpoint::LocalEndpoint;

pub const LIST_COLUMNS: &[Column] = &[
    Column::text("map").wide(),
    Column::number("service_id"),
    Column::text("frontend"),
    Column::text("protocol"),
    Column::text("scope").wide(),
    Column::text("type"),
    Column::text("flags"),
    Column::text("settings"),
    Column::text("backends"),
];

pub const CHECK_COLUMNS: &[Column] = &[
    Column::text("severity"),
    Column::text("code").wide(),
    Column::number("service_id"),
    Column::text("frontend"),
    Column::text("finding"),
    Column::text("advice"),
];

/// A slot of a frontend and what it points at.
pub struct BackendRow<'a> {
    pub slot: u16,
    pub id: u32,
    /// Behind the slots of active backends.
    pub is_quarantined: bool,
    /// `None`: there is no such backend.
    pub backend: Option<Backend>,
    pub endpoint: Option<&'a LocalEndpoint>,
}

impl BackendRow<'_> {
    const fn state(&self) -> &'static str {
        match self.backend {
            None => "missing",
            Some(Backend { state: State::Active, .. }) if self.is_quarantined => "quarantined",
            Some(backend) => backend.state.name(),
        }
    }

    fn text(&self, out: &mut Vec<u8>) {
        match self.backend {
            Some(backend) => value::socket(out, backend.address),
            None => drop(write!(out, "#{}", self.id)),
        }
        if self.state() != State::Active.name() {
            let _ = write!(out, " ({})", self.state());
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        members.always_number("id", self.id);
        members.always_number("slot", self.slot);
        if let Some(backend) = self.backend {
            members.always_address("ip", backend.address.ip());
            members.always_number("port", backend.address.port());
            members.plain("protocol", |out| protocol::write(out, backend.protocol));
            members.number("zone", backend.zone.into());
            members.number("cluster_id", backend.cluster_id.into());
        }
        members.always_string("state", self.state());
        if let Some(endpoint) = self.endpoint {
            members.always_number("endpoint_id", endpoint.id.0);
            members.string("namespace", &endpoint.namespace);
            members.string("pod", &endpoint.pod);
        }
    }
}

/// A frontend with its backends.
pub struct FrontendRow<'a> {
    pub map: &'a str,
    pub frontend: Frontend,
    pub slot: Slot,
    pub backends: &'a [BackendRow<'a>],
}

const fn scope(frontend: Frontend) -> &'static str {
    if frontend.scope == 0 { "external" } else { "internal" }
}

fn algorithm(out: &mut Vec<u8>, algorithm: Algorithm) {
    match algorithm {
        Algorithm::Default => out.extend_from_slice(b"default"),
        Algorithm::Random => out.extend_from_slice(b"random"),
        Algorithm::Maglev => out.extend_from_slice(b"maglev"),
        Algorithm::Unknown(number) => value::number(out, number),
    }
}

/// Puts `between` before every item but the first.
fn separated<T>(
    out: &mut Vec<u8>,
    between: &[u8],
    items: impl IntoIterator<Item = T>,
    write: impl Fn(&mut Vec<u8>, T),
) {
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(between);
        }
        write(out, item);
    }
}

impl FrontendRow<'_> {
    fn settings(&self, out: &mut Vec<u8>) {
        let start = out.len();
        if self.frontend.scope != 0 {
            let _ = write!(out, "scope={} ", scope(self.frontend));
        }
        if let Some(seconds) = self.slot.affinity_seconds() {
            let _ = write!(out, "affinity={seconds}s ");
        }
        if let Some(port) = self.slot.proxy_port() {
            let _ = write!(out, "proxy={port} ");
        }
        if self.slot.algorithm() != Algorithm::Default {
            out.extend_from_slice(b"algorithm=");
            algorithm(out, self.slot.algorithm());
            out.push(b' ');
        }
        if out.len() > start {
            out.pop();
        }
    }
}

impl Row for FrontendRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        match column {
            0 => value::foreign(out, self.map),
            1 => value::number(out, self.slot.service_id),
            2 => value::socket(out, self.frontend.address),
            3 => protocol::write(out, self.frontend.protocol),
            4 => out.extend_from_slice(scope(self.frontend).as_bytes()),
            5 => out.extend_from_slice(self.slot.kind().as_bytes()),
            6 => separated(out, b",", self.slot.properties(), |out, name| {
                out.extend_from_slice(name.as_bytes())
            }),
            7 => self.settings(out),
            8 => separated(out, b", ", self.backends, |out, backend| backend.text(out)),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        members.always_string("map", self.map);
        members.always_address("frontend_ip", self.frontend.address.ip());
        members.always_number("frontend_port", self.frontend.address.port());
        members.plain("protocol", |out| protocol::write(out, self.frontend.protocol));
        members.always_string("scope", scope(self.frontend));
        members.always_number("service_id", self.slot.service_id);
        members.always_string("type", self.slot.kind());
        members.always_strings("flags", self.slot.properties());
        members.always_number("active_backends", self.slot.count);
        members.always_number("quarantined_backends", self.slot.quarantined);
        if let Some(seconds) = self.slot.affinity_seconds() {
            members.always_number("affinity_timeout_seconds", seconds);
        }
        if let Some(port) = self.slot.proxy_port() {
            members.always_number("proxy_port", port);
        }
        members.plain("algorithm", |out| algorithm(out, self.slot.algorithm()));
        members.objects("backends", self.backends, |object, backend| backend.json(object));
    }
}

/// The columns of `cilium-dbg bpf lb list`.
pub const VENDOR_COLUMNS: &[Column] =
    &[Column::text("service_address"), Column::text("backend").headed(VENDOR_BACKEND)];

const VENDOR_BACKEND: &str = "BACKEND ADDRESS (REVNAT_ID) (SLOT)";

/// A frontend, or one of its slots, in the words of `cilium-dbg bpf lb list`.
pub struct VendorRow<'a> {
    pub frontend: &'a FrontendRow<'a>,
    /// `None`: slot 0.
    pub backend: Option<&'a BackendRow<'a>>,
}

impl VendorRow<'_> {
    fn frontend(&self, out: &mut Vec<u8>) {
        let FrontendRow { frontend, slot, .. } = self.frontend;
        let unspecified = if frontend.address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let kinds = std::iter::once(slot.kind()).chain(slot.properties()).collect::<Vec<_>>().join(", ");
        let _ = write!(out, "{unspecified} ({}) (0) [{kinds}]", slot.service_id);
    }
}

impl Row for VendorRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        let (address, id) = (self.frontend.frontend.address, self.frontend.slot.service_id);
        match (column, self.backend) {
            (0, backend) => {
                let _ = write!(out, "{address} ({})", backend.map_or(0, |backend| backend.slot));
            }
            (_, None) => self.frontend(out),
            (_, Some(BackendRow { slot, id: backend_id, backend, .. })) => {
                let _ = match backend {
                    Some(found) => write!(out, "{} ({id}) ({slot})", found.address),
                    None => write!(out, "backend {backend_id} not found"),
                };
            }
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        self.frontend.json(members);
    }
}

/// One thing that is wrong.
impl Row for Finding {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        match column {
            0 => out.extend_from_slice(self.problem.severity().name().as_bytes()),
            1 => out.extend_from_slice(self.problem.code().as_bytes()),
            2 => self.service_id.into_iter().for_each(|id| value::number(out, id)),
            3 => {
                if let Some(frontend) = self.frontend {
                    value::socket(out, frontend.address);
                    out.push(b'/');
                    protocol::write(out, frontend.protocol);
                }
            }
            4 => drop(write!(out, "{}", self.problem)),
            5 => out.extend_from_slice(self.problem.advice().as_bytes()),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        members.always_string("severity", self.problem.severity().name());
        members.always_string("code", self.problem.code());
        if let Some(id) = self.service_id {
            members.always_number("service_id", id);
        }
        if let Some(frontend) = self.frontend {
            members.always_address("frontend_ip", frontend.address.ip());
            members.always_number("frontend_port", frontend.address.port());
            members.plain("protocol", |out| protocol::write(out, frontend.protocol));
            members.always_string("scope", scope(frontend));
        }
        members.plain("finding", |out| drop(write!(out, "{}", self.problem)));
        members.always_string("advice", self.problem.advice());
    }
}

/// A value of a plain row.
#[derive(Clone, Copy, Debug)]
pub enum Cell<'a> {
    Nothing,
    Number(u64),
    /// Flags, as `0x` and two digits.
    Flags(u8),
    Address(IpAddr),
    Prefix(IpAddr, u8),
    Protocol(u8),
    Name(&'static str),
    Foreign(&'a str),
}

/// An entry of one of the smaller maps: a value for each of its columns.
pub struct PlainRow<'a> {
    pub columns: &'static [Column],
    pub cells: &'a [Cell<'a>],
}

impl Cell<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Nothing => {}
            Self::Number(number) => value::number(out, number),
            Self::Flags(bits) => value::hex(out, bits.into(), 2),
            Self::Address(ip) => value::address(out, ip),
            Self::Prefix(ip, bits) => {
                value::address(out, ip);
                out.push(b'/');
                value::number(out, bits);
            }
            Self::Protocol(number) => protocol::write(out, number),
            Self::Name(name) => out.extend_from_slice(name.as_bytes()),
            Self::Foreign(text) => value::foreign(out, text),
        }
    }
}

impl Row for PlainRow<'_> {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        self.cells.get(column).into_iter().for_each(|cell| cell.write(out));
    }

    fn json(&self, members: &mut Object<'_>) {
        for (column, cell) in self.columns.iter().zip(self.cells) {
            match cell {
                Cell::Nothing => {}
                Cell::Number(number) => members.always_number(column.name, *number),
                Cell::Foreign(text) => members.always_string(column.name, text),
                _ => members.plain(column.name, |out| cell.write(out)),
            }
        }
    }
}

pub const SLOT_COLUMNS: &[Column] = &[
    Column::text("map").wide(),
    Column::text("frontend_ip"),
    Column::number("frontend_port"),
    Column::text("protocol"),
    Column::number("scope").wide(),
    Column::number("slot"),
    Column::number("backend_id"),
    Column::number("active_backends"),
    Column::number("quarantined_backends"),
    Column::number("service_id"),
    Column::text("flags"),
    Column::text("flags2"),
];

/// In slot 0 the backend's id is what the map has in its place.
pub fn slot_cells<'a>(map: &'a str, key: &SlotKey, slot: &Slot) -> [Cell<'a>; 12] {
    [
        Cell::Foreign(map),
        Cell::Address(key.frontend.address.ip()),
        Cell::Number(key.frontend.address.port().into()),
        Cell::Protocol(key.frontend.protocol),
        Cell::Number(key.frontend.scope.into()),
        Cell::Number(key.slot.into()),
        Cell::Number(slot.backend_id().into()),
        Cell::Number(slot.count.into()),
        Cell::Number(slot.quarantined.into()),
        Cell::Number(slot.service_id.into()),
        Cell::Flags(slot.flags),
        Cell::Flags(slot.flags2),
    ]
}

pub const VENDOR_SLOT_COLUMNS: &[Column] = &[Column::text("service_address"), Column::text("backend_id")];

/// `172.30.0.1:30081 (0)`, `0 1[0] (18) [0x42 0x0]`.
pub fn vendor_slot(key: &SlotKey, slot: &Slot) -> [String; 2] {
    let Slot { count, quarantined, service_id, flags, flags2, .. } = *slot;
    let what =
        format!("{} {count}[{quarantined}] ({service_id}) [{flags:#x} {flags2:#x}]", slot.backend_id());
    [format!("{} ({})", key.frontend.address, key.slot), what]
}

pub const BACKEND_COLUMNS: &[Column] = &[
    Column::text("map").wide(),
    Column::number("backend_id"),
    Column::text("ip"),
    Column::number("port"),
    Column::text("protocol"),
    Column::text("state"),
    Column::number("zone"),
    Column::number("cluster_id"),
    Column::text("namespace"),
    Column::text("pod"),
];

pub fn backend_cells<'a>(
    map: &'a str,
    id: u32,
    backend: &Backend,
    endpoint: Option<&'a LocalEndpoint>,
) -> [Cell<'a>; 10] {
    [
        Cell::Foreign(map),
        Cell::Number(id.into()),
        Cell::Address(backend.address.ip()),
        Cell::Number(backend.address.port().into()),
        Cell::Protocol(backend.protocol),
        Cell::Name(backend.state.name()),
        Cell::Number(backend.zone.into()),
        Cell::Number(backend.cluster_id.into()),
        endpoint.map_or(Cell::Nothing, |endpoint| Cell::Foreign(&endpoint.namespace)),
        endpoint.map_or(Cell::Nothing, |endpoint| Cell::Foreign(&endpoint.pod)),
    ]
}

pub const VENDOR_ID_COLUMNS: &[Column] =
    &[Column::text("id"), Column::text("address").headed(VENDOR_BACKEND)];

/// `6`, `ANY://10.15.0.13`: the tool leaves the port out.
pub fn vendor_backend(id: u32, backend: &Backend) -> [String; 2] {
    let protocol =
        protocol::name(backend.protocol).map_or_else(|| backend.protocol.to_string(), str::to_owned);
    [id.to_string(), format!("{protocol}://{}", backend.address.ip())]
}

pub fn vendor_reverse_nat(service_id: u16, frontend: SocketAddr) -> [String; 2] {
    [service_id.to_string(), frontend.to_string()]
}

pub const REVERSE_NAT_COLUMNS: &[Column] = &[
    Column::text("map").wide(),
    Column::number("service_id"),
    Column::text("frontend_ip"),
    Column::number("frontend_port"),
];

pub const SOURCE_RANGE_COLUMNS: &[Column] =
    &[Column::text("map").wide(), Column::number("service_id"), Column::text("prefix")];

pub const VENDOR_SOURCE_RANGE_COLUMNS: &[Column] =
    &[Column::text("source_range").headed("SOURCE RANGE (REVNAT_ID)")];

pub fn vendor_source_range(range: &SourceRange) -> [String; 1] {
    [format!("{}/{} ({})", range.address, range.prefix_length, range.service_id)]
}

pub const AFFINITY_COLUMNS: &[Column] = &[
    Column::text("map").wide(),
    Column::number("service_id"),
    Column::text("client_ip"),
    Column::number("client_netns_cookie"),
    Column::number("backend_id"),
    Column::number("last_used_seconds_ago"),
];

pub const SOCKET_COLUMNS: &[Column] = &[
    Column::text("map").wide(),
    Column::number("socket_cookie"),
    Column::text("backend_ip"),
    Column::number("backend_port"),
    Column::text("frontend_ip"),
    Column::number("frontend_port"),
    Column::number("service_id"),
];

pub const HEALTH_COLUMNS: &[Column] = &[
    Column::text("map").wide(),
    Column::number("socket_cookie"),
    Column::text("ip"),
    Column::number("port"),
    Column::text("protocol"),
    Column::text("state"),
];

pub const SKIP_COLUMNS: &[Column] = &[
    Column::text("map").wide(),
    Column::number("netns_cookie"),
    Column::text("frontend_ip"),
    Column::number("frontend_port"),
];

pub const MAGLEV_COLUMNS: &[Column] = &[
    Column::text("map").wide(),
    Column::number("service_id"),
    Column::number("backend_id"),
    Column::number("entries"),
    Column::number("table_size"),
];

/// Address and port as two cells.
pub const fn socket_cells<'a>(socket: SocketAddr) -> [Cell<'a>; 2] {
    [Cell::Address(socket.ip()), Cell::Number(socket.port() as u64)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cilium::lb::slot_value;

    /// Lines of a running node's tool.
    #[test]
    fn a_frontend_reads_as_cilium_dbg_prints_it() {
        let value = [0, 0, 0, 0, 1, 0, 0, 18, 0x42, 0, 0, 0];
        let address = "172.30.0.1:30081".parse().unwrap();
        let backend = Backend {
            address: "10.16.0.22:8080".parse().unwrap(),
            protocol: 0,
            state: State::Active,
            cluster_id: 0,
            zone: 0,
        };
        let backends =
            [BackendRow { slot: 1, id: 7, is_quarantined: false, backend: Some(backend), endpoint: None }];
        let row = FrontendRow {
            map: "cilium_lb4_services_v2",
            frontend: Frontend { address, protocol: 0, scope: 0 },
            slot: slot_value(&value).unwrap(),
            backends: &backends,
        };
        let lines = [None, Some(&backends[0])].map(|backend| {
            [0, 1].map(|column| {
                let mut out = Vec::new();
                VendorRow { frontend: &row, backend }.text(column, &mut out);
                String::from_utf8(out).unwrap()
            })
        });
        assert_eq!(
            lines,
            [
                ["172.30.0.1:30081 (0)", "0.0.0.0:0 (18) (0) [NodePort]"],
                ["172.30.0.1:30081 (1)", "10.16.0.22:8080 (18) (1)"]
            ]
        );
        let mut out = Vec::new();
        Object::write(&mut out, |members| row.json(members));
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&json["service_id"], &json["type"]), (&18.into(), &"NodePort".into()));
        assert_eq!(
            (&json["backends"][0]["id"], &json["backends"][0]["state"]),
            (&7.into(), &"active".into())
        );
    }
}
