//! The ipcache: which identity the datapath gives an address. Single addresses are looked up in the pinned
//! map itself, so that the kernel does the longest-prefix match on the state of the moment; answers are kept
//! for a second. Listings decode entry by entry.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tracer_common::cilium::ipcache::{IpcacheKey, IpcacheValue, IpcacheValueV2};
use tracer_common::id::Identity;
use zerocopy::{FromBytes, IntoBytes};

use super::pins::{Opened, Pin};
use super::table::Walk;

/// How long a look-up's answer is used again.
const LIFETIME: Duration = Duration::from_secs(1);
/// How many answers are kept.
const CAPACITY: usize = 8192;
/// The longest value of any generation.
const MAX_VALUE: usize = size_of::<IpcacheValueV2>();

/// One entry, whichever generation wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpcacheEntry {
    pub address: IpAddr,
    pub prefix_length: u8,
    /// 0 for this cluster.
    pub cluster_id: u16,
    pub identity: Identity,
    /// The node to encapsulate to.
    pub tunnel_endpoint: Option<IpAddr>,
    /// IPsec key index, 255 for WireGuard, 0 for none.
    pub encrypt_key: u8,
    /// Bits as in [`tracer_common::cilium::ipcache::flag`].
    pub flags: u8,
}

impl IpcacheEntry {
    /// The address lies in the prefix.
    pub fn covers(&self, ip: IpAddr) -> bool {
        let bits = u32::from(self.prefix_length);
        match (self.address, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                (net.to_bits() ^ ip.to_bits()).checked_shr(32 - bits.min(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                (net.to_bits() ^ ip.to_bits()).checked_shr(128 - bits.min(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Decodes an entry of either generation, told apart by the value's size, which the pin's name has already
/// vouched for. `None`: impossible bits.
pub fn decode(key: &[u8], value: &[u8]) -> Option<IpcacheEntry> {
    let key = IpcacheKey::read_from_bytes(key).ok()?;
    let (address, prefix_length) = key.cidr()?;
    let (identity, tunnel_endpoint, encrypt_key, flags) = decode_value(value)?;
    let cluster_id = if key.cluster_id == 0 { u16::from(key.pad) } else { key.cluster_id };
    Some(IpcacheEntry { address, prefix_length, cluster_id, identity, tunnel_endpoint, encrypt_key, flags })
}

fn decode_value(value: &[u8]) -> Option<(Identity, Option<IpAddr>, u8, u8)> {
    if let Ok(v) = IpcacheValue::read_from_bytes(value) {
        return Some((Identity(v.sec_identity), v.tunnel_endpoint(), v.key, v.flags));
    }
    let v = IpcacheValueV2::read_from_bytes(value).ok()?;
    Some((Identity(v.sec_identity), v.tunnel_endpoint(), v.key, v.flags))
}

/// An entry with impossible bits, as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecoded<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// Sees one entry after the other.
pub type Visitor<'a> = dyn FnMut(Result<IpcacheEntry, Undecoded>) -> ControlFlow<()> + 'a;

/// Shows every entry to `visit`.
pub fn for_each(map: &Opened, visit: &mut Visitor) -> io::Result<Walk> {
    map.table.for_each(&mut |key, value| visit(decode(key, value).ok_or(Undecoded { key, value })))
}

/// The identity of the longest prefix that covers `key`; `None` without one.
fn look_up(map: &Opened, key: &IpcacheKey) -> io::Result<Option<Identity>> {
    let mut buffer = [0; MAX_VALUE];
    let value = buffer.get_mut(..map.table.value_bytes()).ok_or(io::ErrorKind::InvalidData)?;
    if !map.table.lookup(key.as_bytes(), value)? {
        return Ok(None);
    }
    Ok(decode_value(value).map(|(identity, ..)| identity))
}

/// The identity that the prefix `0.0.0.0/0` or `::/0` itself has.
pub fn default_route(map: &Opened, unspecified: IpAddr) -> io::Result<Option<Identity>> {
    look_up(map, &IpcacheKey::prefix(unspecified, 0))
}

/// Answers of the last second, by address.
#[derive(Debug)]
pub struct Answers {
    kept: HashMap<IpAddr, (Instant, Option<Identity>)>,
}

impl Default for Answers {
    fn default() -> Self {
        Self { kept: HashMap::with_capacity(CAPACITY) }
    }
}

impl Answers {
    /// The identity of the longest prefix that covers `ip`, as of the last second. `None`: there is no
    /// ipcache that can be read. `Some(None)`: no entry covers the address.
    pub fn identity(&mut self, pin: &Pin, ip: IpAddr, now: Instant) -> Option<Option<Identity>> {
        let map = pin.opened()?;
        self.get_or(ip, now, || look_up(map, &IpcacheKey::host(ip)))
            .inspect_err(|error| tracing::debug!(%ip, %error, "ipcache look-up"))
            .ok()
    }

    pub fn forget(&mut self) {
        self.kept.clear();
    }

    fn get_or(
        &mut self,
        ip: IpAddr,
        now: Instant,
        ask: impl FnOnce() -> io::Result<Option<Identity>>,
    ) -> io::Result<Option<Identity>> {
        if let Some((at, answer)) = self.kept.get(&ip)
            && now.saturating_duration_since(*at) < LIFETIME
        {
            return Ok(*answer);
        }
        let answer = ask()?;
        if self.kept.len() >= CAPACITY && !self.kept.contains_key(&ip) {
            self.kept.clear();
        }
        self.kept.insert(ip, (now, answer));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 2, 9));

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn both_generations_decode_to_the_same_entry() {
        let key = bytes("40000000 00000001 0a000209 00000000 00000000 00000000");
        let old = decode(&key, &bytes("52c30000 c0000214 00000000")).unwrap();
        let new = decode(&key, &bytes("52c30000 c0000214 00000000 00000000 00000000 00000002")).unwrap();
        assert_eq!((old.address, old.prefix_length, old.identity), (IP, 32, Identity(50002)));
        assert_eq!(old.tunnel_endpoint, Some("192.0.2.20".parse().unwrap()));
        assert_eq!(IpcacheEntry { flags: 0, ..new }, old);
    }

    #[test]
    fn a_prefix_covers_the_addresses_of_its_network() {
        let entry = |address: &str, prefix_length| IpcacheEntry {
            address: address.parse().unwrap(),
            prefix_length,
            cluster_id: 0,
            identity: Identity(1),
            tunnel_endpoint: None,
            encrypt_key: 0,
            flags: 0,
        };
        for (address, bits, ip, expected) in [
            ("10.0.0.0", 8, "10.255.0.1", true),
            ("10.0.0.0", 8, "11.0.0.1", false),
            ("0.0.0.0", 0, "255.255.255.255", true),
            ("10.0.0.1", 32, "10.0.0.1", true),
            ("10.0.0.1", 32, "10.0.0.2", false),
            ("::", 0, "fd00::1", true),
            ("::", 0, "10.0.0.1", false),
            ("fd00::", 16, "fd00:ffff::", true),
            ("fd00::1", 128, "fd00::2", false),
        ] {
            assert_eq!(entry(address, bits).covers(ip.parse().unwrap()), expected, "{address}/{bits} {ip}");
        }
    }

    #[test]
    fn the_cluster_id_is_found_where_either_layout_has_it() {
        let value = bytes("52c30000 00000000 00000000");
        for key in [
            "40000000 00000501 0a000209 00000000 00000000 00000000",
            "40000000 05000001 0a000209 00000000 00000000 00000000",
        ] {
            assert_eq!(decode(&bytes(key), &value).unwrap().cluster_id, 5, "{key}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_decode_or_do_not(key: [u8; 24], value in proptest::collection::vec(0u8.., 0..30)) {
            let _ = decode(&key, &value);
        }
    }

    #[test]
    fn garbage_is_not_decoded() {
        let key = bytes("40000000 00000001 0a000209 00000000 00000000 00000000");
        assert_eq!(decode(&key, &[0; 20]), None);
        assert_eq!(decode(&key[1..], &[0; 12]), None);
        assert_eq!(decode(&[0xff; 24], &[0; 12]), None);
    }

    #[test]
    fn an_answer_is_used_for_a_second_and_then_asked_again() {
        let mut answers = Answers::default();
        let start = Instant::now();
        let mut asked = 0;
        let mut ask = |after| {
            let at = start + Duration::from_millis(after);
            answers.get_or(IP, at, || {
                asked += 1;
                Ok(Some(Identity(asked)))
            })
        };
        assert_eq!(ask(0).unwrap(), Some(Identity(1)));
        assert_eq!(ask(999).unwrap(), Some(Identity(1)));
        assert_eq!(ask(1000).unwrap(), Some(Identity(2)));
    }

    #[test]
    fn the_number_of_kept_answers_is_bounded() {
        let mut answers = Answers::default();
        let now = Instant::now();
        for n in 0..3 * CAPACITY as u32 {
            answers.get_or(IpAddr::V4(n.into()), now, || Ok(None)).unwrap();
            assert!(answers.kept.len() <= CAPACITY);
        }
    }

    #[test]
    fn a_failed_look_up_is_not_kept() {
        let mut answers = Answers::default();
        let now = Instant::now();
        assert!(answers.get_or(IP, now, || Err(io::ErrorKind::PermissionDenied.into())).is_err());
        assert_eq!(answers.get_or(IP, now, || Ok(Some(Identity(7)))).unwrap(), Some(Identity(7)));
    }
}
