//! Keys and values of Cilium's maps, written by hand from the layout tables. Nothing here is shared with
//! the tracer's decoders: the two check each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bytes::Struct;
use super::generation::{CtForm, Facts, PolicyForm};

/// Address family as Cilium numbers it.
fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 1 } else { 2 }
}

/// The 16 bytes of a field that holds either family.
fn wide(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The bytes of a field that holds one family.
fn narrow(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct End(pub IpAddr, pub u16);

/// What a connection tracking entry is for: the key's flags byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtKind {
    Out = 0,
    In = 1,
    RelatedOut = 2,
    RelatedIn = 3,
    Service = 4,
}

fn tuple(daddr: IpAddr, saddr: IpAddr, dport: u16, sport: u16, protocol: u8, flags: u8) -> Vec<u8> {
    let mut key = [narrow(daddr), narrow(saddr)].concat();
    key.extend(dport.to_be_bytes());
    key.extend(sport.to_be_bytes());
    key.extend([protocol, flags]);
    key
}

/// Key of a connection from `client` to `server` (the frontend, for `Service`).
pub fn ct_key(client: End, server: End, protocol: u8, kind: CtKind) -> Vec<u8> {
    match kind {
        CtKind::Service => tuple(server.0, client.0, client.1, server.1, protocol, kind as u8),
        CtKind::Out | CtKind::In => tuple(client.0, server.0, server.1, client.1, protocol, kind as u8),
        CtKind::RelatedOut | CtKind::RelatedIn => {
            tuple(client.0, server.0, 0, 0, if client.0.is_ipv4() { 1 } else { 58 }, kind as u8)
        }
    }
}

/// Flag bits of a connection tracking value.
pub mod ct_flag {
    pub const RX_CLOSING: u16 = 0x0001;
    pub const TX_CLOSING: u16 = 0x0002;
    pub const SEEN_NON_SYN: u16 = 0x0010;
    pub const NODE_PORT: u16 = 0x0020;
    pub const PROXY_REDIRECT: u16 = 0x0040;
}

/// A connection tracking value in the user's terms.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ct {
    /// Packets and bytes; receive side in the older form.
    pub rx: (u64, u64),
    pub tx: (u64, u64),
    /// `Service` entries only.
    pub backend: u32,
    /// Seconds of the monotonic clock.
    pub lifetime: u32,
    pub flags: u16,
    pub rev_nat: u16,
    pub ifindex: u16,
    pub tx_flags: u8,
    pub rx_flags: u8,
    pub source: u32,
    pub last_tx: u32,
    pub last_rx: u32,
}

pub fn ct_value(form: CtForm, ct: &Ct) -> Vec<u8> {
    let value = match form {
        CtForm::TwoCounters => Struct::<56>::zeroed()
            .host64(0, ct.rx.0)
            .host64(8, if ct.backend == 0 { ct.rx.1 } else { u64::from(ct.backend) })
            .host64(16, ct.tx.0)
            .host64(24, ct.tx.1)
            .host16(40, ct.ifindex),
        CtForm::OneCounter => Struct::<56>::zeroed()
            .host64(8, u64::from(ct.backend))
            .host64(16, ct.rx.0 + ct.tx.0)
            .host64(24, ct.rx.1 + ct.tx.1),
    };
    value
        .host32(32, ct.lifetime)
        .host16(36, ct.flags)
        .net16(38, ct.rev_nat)
        .byte(42, ct.tx_flags)
        .byte(43, ct.rx_flags)
        .host32(44, ct.source)
        .host32(48, ct.last_tx)
        .host32(52, ct.last_rx)
        .to_vec()
}

/// NAT keys are not mirrored: source and destination of the packet that will match.
pub fn nat_key(source: End, destination: End, protocol: u8, incoming: bool) -> Vec<u8> {
    tuple(destination.0, source.0, destination.1, source.1, protocol, u8::from(incoming))
}

pub fn nat_value(to: End, created: u64) -> Vec<u8> {
    match to.0 {
        IpAddr::V4(ip) => {
            Struct::<40>::zeroed().host64(0, created).bytes(32, &ip.octets()).net16(36, to.1).to_vec()
        }
        IpAddr::V6(ip) => {
            Struct::<56>::zeroed().host64(0, created).bytes(32, &ip.octets()).net16(48, to.1).to_vec()
        }
    }
}

/// Service flags.
pub mod lb_flag {
    pub const EXTERNAL_IP: u8 = 0x01;
    pub const NODEPORT: u8 = 0x02;
    pub const AFFINITY: u8 = 0x10;
    pub const LOADBALANCER: u8 = 0x20;
    pub const ROUTABLE: u8 = 0x40;
    pub const SOURCE_RANGE: u8 = 0x80;
}

/// Slot 0 is the frontend, the others its backends. `protocol` 0 is any.
pub fn lb_key(frontend: End, slot: u16, protocol: u8) -> Vec<u8> {
    let mut key = narrow(frontend.0);
    key.extend(frontend.1.to_be_bytes());
    key.extend(slot.to_ne_bytes());
    key.extend([protocol, 0, 0, 0]);
    key
}

/// `word`: affinity timeout (slot 0) or backend id.
pub fn lb_value(word: u32, count: u16, rev_nat: u16, flags: u8) -> Vec<u8> {
    Struct::<12>::zeroed().host32(0, word).host16(4, count).net16(6, rev_nat).byte(8, flags).to_vec()
}

/// `state`: 0 active, 1 terminating, 2 quarantined, 3 maintenance.
pub fn lb_backend(address: End, protocol: u8, state: u8, zone: u8) -> Vec<u8> {
    match address.0 {
        IpAddr::V4(ip) => Struct::<12>::zeroed()
            .bytes(0, &ip.octets())
            .net16(4, address.1)
            .bytes(6, &[protocol, state])
            .byte(10, zone)
            .to_vec(),
        IpAddr::V6(ip) => Struct::<24>::zeroed()
            .bytes(0, &ip.octets())
            .net16(16, address.1)
            .bytes(18, &[protocol, state])
            .byte(22, zone)
            .to_vec(),
    }
}

/// Key of the maps that are indexed by a service id.
pub fn rev_nat_key(id: u16) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

pub fn rev_nat_value(frontend: End) -> Vec<u8> {
    let mut value = narrow(frontend.0);
    value.extend(frontend.1.to_be_bytes());
    value
}

pub fn affinity_match_key(backend: u32, rev_nat: u16) -> Vec<u8> {
    Struct::<8>::zeroed().host32(0, backend).net16(4, rev_nat).to_vec()
}

pub fn affinity4_key(client: Ipv4Addr, rev_nat: u16) -> Vec<u8> {
    Struct::<16>::zeroed().bytes(0, &client.octets()).net16(8, rev_nat).to_vec()
}

pub fn affinity_value(last_used: u64, backend: u32) -> Vec<u8> {
    Struct::<16>::zeroed().host64(0, last_used).host32(8, backend).to_vec()
}

pub fn source_range4_key(rev_nat: u16, net: Ipv4Addr, prefix: u8) -> Vec<u8> {
    Struct::<12>::zeroed()
        .host32(0, 32 + u32::from(prefix))
        .net16(4, rev_nat)
        .bytes(8, &net.octets())
        .to_vec()
}

pub fn reverse_sk4(
    cookie: u64,
    backend: (Ipv4Addr, u16),
    frontend: (Ipv4Addr, u16),
    rev_nat: u16,
) -> (Vec<u8>, Vec<u8>) {
    let key = Struct::<16>::zeroed().host64(0, cookie).bytes(8, &backend.0.octets()).net16(12, backend.1);
    let value = Struct::<8>::zeroed().bytes(0, &frontend.0.octets()).net16(4, frontend.1).net16(6, rev_nat);
    (key.to_vec(), value.to_vec())
}

/// `prefix` counts bits of the address.
pub fn ipcache_key(ip: IpAddr, prefix: u8) -> Vec<u8> {
    Struct::<24>::zeroed().host32(0, 32 + u32::from(prefix)).byte(7, family(ip)).bytes(8, &wide(ip)).to_vec()
}

/// `tunnel`: the node to encapsulate to.
pub fn ipcache_value(size: u32, identity: u32, tunnel: Option<Ipv4Addr>, skip_tunnel: bool) -> Vec<u8> {
    let octets = tunnel.map_or([0; 4], |ip| ip.octets());
    if size == 12 {
        Struct::<12>::zeroed().host32(0, identity).bytes(4, &octets).byte(11, u8::from(skip_tunnel)).to_vec()
    } else {
        let flags = u8::from(skip_tunnel) | u8::from(tunnel.is_some()) << 1;
        Struct::<24>::zeroed().host32(0, identity).bytes(4, &octets).byte(23, flags).to_vec()
    }
}

/// Key of `cilium_lxc`.
pub fn endpoint_key(ip: IpAddr) -> Vec<u8> {
    Struct::<20>::zeroed().bytes(0, &wide(ip)).byte(16, family(ip)).to_vec()
}

/// Value of a local endpoint.
pub fn endpoint_value(
    ifindex: u32,
    endpoint: u16,
    mac: [u8; 6],
    node_mac: [u8; 6],
    identity: u32,
) -> Vec<u8> {
    Struct::<48>::zeroed()
        .host32(0, ifindex)
        .host16(6, endpoint)
        .bytes(16, &mac)
        .bytes(24, &node_mac)
        .host32(32, identity)
        .to_vec()
}

/// Value of an address of this node.
pub fn endpoint_host_value() -> Vec<u8> {
    Struct::<48>::zeroed().host32(8, 1).to_vec()
}

pub fn node_key(ip: IpAddr) -> Vec<u8> {
    Struct::<20>::zeroed().byte(3, family(ip)).bytes(4, &wide(ip)).to_vec()
}

/// Tunnel map: pod CIDR's address to node; `cluster_id` stays 0.
pub fn tunnel_key(net: IpAddr) -> Vec<u8> {
    endpoint_key(net)
}

pub fn tunnel_value(node: Ipv4Addr) -> Vec<u8> {
    Struct::<20>::zeroed().bytes(0, &node.octets()).byte(16, 1).to_vec()
}

pub fn metrics_key(reason: u8, direction: u8, line: u16, file: u8) -> Vec<u8> {
    Struct::<8>::zeroed().bytes(0, &[reason, direction]).host16(2, line).byte(4, file).to_vec()
}

pub fn fragment4_key(source: Ipv4Addr, destination: Ipv4Addr, id: u16, protocol: u8) -> Vec<u8> {
    Struct::<12>::zeroed()
        .bytes(0, &destination.octets())
        .bytes(4, &source.octets())
        .net16(8, id)
        .byte(10, protocol)
        .to_vec()
}

pub fn fragment_value(sport: u16, dport: u16) -> Vec<u8> {
    [sport.to_be_bytes(), dport.to_be_bytes()].concat()
}

/// `expires`: Unix seconds.
pub fn auth_entry(local: u32, remote: u32, node: u16, kind: u8, expires: u64) -> (Vec<u8>, Vec<u8>) {
    let key = Struct::<12>::zeroed().host32(0, local).host32(4, remote).host16(8, node).byte(10, kind);
    (key.to_vec(), (expires * 1_000_000_000 / 512).to_ne_bytes().to_vec())
}

/// One entry of an endpoint's policy, as the agent would compute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyEntry {
    pub egress: bool,
    /// The other end; 0 any.
    pub identity: u32,
    /// 0 any (then the port is any too).
    pub protocol: u8,
    /// First port of the block; 0 with `port_bits` 0 is any.
    pub port: u16,
    /// How many leading bits of the port count: 0 to 16.
    pub port_bits: u8,
    pub deny: bool,
    /// 0: no redirect.
    pub proxy_port: u16,
    pub proxy_priority: u8,
    /// 0 none, 1 SPIRE, 2 always fail.
    pub auth: u8,
    pub auth_explicit: bool,
    /// 1.19 and newer; the larger wins, `u32::MAX` ends the search.
    pub precedence: u32,
    /// 1.19 and newer.
    pub cookie: u32,
}

impl PolicyEntry {
    /// Allows everything in one direction.
    pub fn allow_all(egress: bool) -> Self {
        Self { egress, ..Self::allow(0, 0, 0) }
    }

    /// Allows `identity` in by `protocol` and `port` (0: any).
    pub fn allow(identity: u32, protocol: u8, port: u16) -> Self {
        Self {
            egress: false,
            identity,
            protocol,
            port,
            port_bits: if port == 0 { 0 } else { 16 },
            deny: false,
            proxy_port: 0,
            proxy_priority: 0,
            auth: 0,
            auth_explicit: false,
            precedence: 1000,
            cookie: 0,
        }
    }

    pub fn to_egress(self) -> Self {
        Self { egress: true, ..self }
    }

    pub fn denied(self) -> Self {
        Self { deny: true, precedence: u32::MAX, ..self }
    }

    /// Bits of protocol and port that count.
    fn prefix(&self) -> u8 {
        if self.protocol == 0 { 0 } else { 8 + self.port_bits }
    }

    pub fn key(&self) -> Vec<u8> {
        Struct::<12>::zeroed()
            .host32(0, 40 + u32::from(self.prefix()))
            .host32(4, self.identity)
            .bytes(8, &[u8::from(self.egress), self.protocol])
            .net16(10, self.port)
            .to_vec()
    }

    pub fn value(&self, form: PolicyForm) -> Vec<u8> {
        let newer = [u8::from(self.deny) | self.prefix() << 3, self.auth | u8::from(self.auth_explicit) << 7];
        match form {
            PolicyForm::WildcardBits => {
                let wild = u8::from(self.protocol == 0) << 1 | u8::from(self.port == 0) << 2;
                let bits = u8::from(self.deny) | wild;
                Struct::<24>::zeroed().net16(0, self.proxy_port).bytes(2, &[bits, self.auth]).to_vec()
            }
            PolicyForm::PrefixLength => Struct::<24>::zeroed()
                .net16(0, self.proxy_port)
                .bytes(2, &newer)
                .byte(4, self.proxy_priority)
                .to_vec(),
            PolicyForm::PrefixLengthShort => Struct::<8>::zeroed()
                .net16(0, self.proxy_port)
                .bytes(2, &newer)
                .byte(4, self.proxy_priority)
                .to_vec(),
            PolicyForm::Precedence => Struct::<12>::zeroed()
                .net16(0, self.proxy_port)
                .bytes(2, &newer)
                .host32(4, self.precedence)
                .host32(8, self.cookie)
                .to_vec(),
        }
    }
}

/// The identity of addresses outside that the ipcache does not name better.
pub fn world(facts: &Facts, ipv6: bool) -> u32 {
    use super::cast::reserved;
    match (facts.split_world, ipv6) {
        (false, _) => reserved::WORLD,
        (true, false) => reserved::WORLD_IPV4,
        (true, true) => reserved::WORLD_IPV6,
    }
}

/// Ends with less writing.
pub fn end4(ip: Ipv4Addr, port: u16) -> End {
    End(ip.into(), port)
}

pub fn end6(ip: Ipv6Addr, port: u16) -> End {
    End(ip.into(), port)
}

#[cfg(test)]
mod tests {
    //! Expected bytes: the independent test vectors of the layout reference.
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn v4(text: &str, port: u16) -> End {
        End(text.parse().unwrap(), port)
    }

    #[test]
    fn ct4_out_key_has_swapped_addresses() {
        let key = ct_key(v4("10.0.1.5", 43210), v4("10.0.2.9", 8080), 6, CtKind::Out);
        assert_eq!(key, hex("0a000105 0a000209 1f90a8ca 0600"));
    }

    #[test]
    fn ct4_service_key_has_swapped_ports() {
        let key = ct_key(v4("10.0.1.5", 43210), v4("10.96.0.10", 80), 6, CtKind::Service);
        assert_eq!(key, hex("0a60000a 0a000105 a8ca0050 0604"));
    }

    #[test]
    fn ct4_related_key_is_icmp_without_ports() {
        let key = ct_key(v4("10.0.1.5", 43210), v4("10.0.2.9", 8080), 6, CtKind::RelatedIn);
        assert_eq!(key, hex("0a000105 0a000209 0000 0000 01 03"));
    }

    #[test]
    fn ct6_in_key() {
        let key = ct_key(v4("fd00:10::5", 43210), v4("fd00:20::9", 8080), 6, CtKind::In);
        assert_eq!(
            key,
            hex("fd000010 00000000 00000000 00000005 fd000020 00000000 00000000 00000009 1f90a8ca 0601")
        );
    }

    #[test]
    fn ct_value_with_one_counter() {
        let ct = Ct {
            rx: (2, 456),
            tx: (10, 3000),
            lifetime: 98765,
            flags: ct_flag::RX_CLOSING | ct_flag::TX_CLOSING | ct_flag::SEEN_NON_SYN,
            rev_nat: 7,
            tx_flags: 0x1a,
            rx_flags: 0x12,
            source: 50001,
            last_tx: 90765,
            last_rx: 90766,
            ..Default::default()
        };
        assert_eq!(
            ct_value(CtForm::OneCounter, &ct),
            hex("00000000 00000000 00000000 00000000 0c000000 00000000 800d0000 00000000 cd810100 13000007 \
                 00001a12 51c30000 8d620100 8e620100")
        );
    }

    #[test]
    fn nat4_masquerade() {
        let key = nat_key(v4("10.0.1.5", 43210), v4("198.51.100.1", 443), 6, false);
        assert_eq!(key, hex("c6336401 0a000105 01bba8ca 0600"));
        assert_eq!(
            nat_value(v4("192.0.2.10", 61234), 90000),
            hex("905f0100 00000000 00000000 00000000 00000000 00000000 00000000 00000000 c000020a ef320000")
        );
    }

    #[test]
    fn lb4_service_and_backend() {
        assert_eq!(lb_key(v4("10.96.0.10", 80), 0, 6), hex("0a60000a 00500000 06000000"));
        let flags = lb_flag::ROUTABLE | lb_flag::AFFINITY;
        assert_eq!(lb_value(0, 3, 7, flags), hex("00000000 03000007 50000000"));
        assert_eq!(lb_value(42, 0, 7, lb_flag::ROUTABLE), hex("2a000000 00000007 40000000"));
        assert_eq!(lb_backend(v4("10.0.2.9", 8080), 6, 0, 1), hex("0a000209 1f900600 00000100"));
    }

    #[test]
    fn ipcache_of_both_forms() {
        assert_eq!(
            ipcache_key("10.0.2.9".parse().unwrap(), 32),
            hex("40000000 00000001 0a000209 00000000 00000000 00000000")
        );
        assert_eq!(
            ipcache_key("fd00:20::9".parse().unwrap(), 128),
            hex("a0000000 00000002 fd000020 00000000 00000000 00000009")
        );
        let node = Some(Ipv4Addr::new(192, 0, 2, 20));
        assert_eq!(ipcache_value(12, 50002, node, false), hex("52c30000 c0000214 00000000"));
        assert_eq!(
            ipcache_value(24, 50002, node, false),
            hex("52c30000 c0000214 00000000 00000000 00000000 00000002")
        );
    }

    #[test]
    fn lxc_entry() {
        assert_eq!(
            endpoint_key("10.0.1.5".parse().unwrap()),
            hex("0a000105 00000000 00000000 00000000 01000000")
        );
        let mac = [0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f];
        let node_mac = [0x6a, 0x7b, 0x8c, 0x9d, 0xae, 0xbf];
        assert_eq!(
            endpoint_value(27, 1234, mac, node_mac, 50001),
            hex("1b000000 0000d204 00000000 00000000 0a1b2c3d 4e5f0000 6a7b8c9d aebf0000 51c30000 00000000 \
                 00000000 00000000")
        );
    }

    #[test]
    fn metrics_key_with_place() {
        assert_eq!(metrics_key(133, 1, 2101, 2), hex("85013508 02000000"));
    }

    #[test]
    fn policy_keys() {
        assert_eq!(PolicyEntry::allow(50001, 6, 8080).key(), hex("40000000 51c30000 00061f90"));
        let range = PolicyEntry { port_bits: 13, ..PolicyEntry::allow(50001, 6, 8080) };
        assert_eq!(range.key(), hex("3d000000 51c30000 00061f90"));
        assert_eq!(PolicyEntry::allow(0, 17, 0).to_egress().key(), hex("30000000 00000000 01110000"));
        assert_eq!(PolicyEntry::allow_all(false).key(), hex("28000000 00000000 00000000"));
    }

    #[test]
    fn policy_values_of_each_form() {
        let redirect =
            PolicyEntry { proxy_port: 14001, proxy_priority: 1, ..PolicyEntry::allow(50001, 6, 8080) };
        assert_eq!(
            redirect.value(PolicyForm::WildcardBits),
            hex("36b10000 00000000 00000000 00000000 00000000 00000000")
        );
        assert_eq!(redirect.value(PolicyForm::PrefixLengthShort), hex("36b1c000 01000000"));
        let allow_all = PolicyEntry::allow_all(false).value(PolicyForm::WildcardBits);
        assert_eq!(allow_all[..4], hex("00000600"));
        let deny = PolicyEntry::allow(50001, 6, 8080).denied();
        assert_eq!(
            deny.value(PolicyForm::PrefixLength),
            hex("0000c100 00000000 00000000 00000000 00000000 00000000")
        );
        let spire =
            PolicyEntry { auth: 1, auth_explicit: true, cookie: 77, ..PolicyEntry::allow(50001, 6, 0) };
        assert_eq!(spire.value(PolicyForm::Precedence), hex("00004081 e8030000 4d000000"));
    }
}
