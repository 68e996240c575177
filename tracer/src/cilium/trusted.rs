//! Hash tables whose keys come from the node's own maps and files. Packets only ask them and add nothing, so nobody can
//! fill them with keys that collide, and a quick hash will do: each event asks half a dozen times.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

pub type TrustedMap<K, V> = HashMap<K, V, BuildHasherDefault<QuickHasher>>;
pub type TrustedSet<K> = HashSet<K, BuildHasherDefault<QuickHasher>>;

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Multiply and rotate, eight bytes at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuickHasher(u64);

impl QuickHasher {
    #[inline]
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(ODD);
    }
}

impl Hasher for QuickHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_ne_bytes(*word)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.mix(u64::from_ne_bytes(last));
        }
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.mix(number.into());
    }

    #[inline]
    fn write_u16(&mut self, number: u16) {
        self.mix(number.into());
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.mix(number.into());
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    /// The table takes the place from the lower bits, and the upper bits of a product are the good ones.
    #[inline]
    fn finish(&self) -> u64 {
        (self.0 ^ self.0 >> 29).wrapping_mul(ODD).rotate_left(32)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn neighbouring_addresses_are_found_and_spread() {
        let v4 = (0..=u16::MAX).map(|n| IpAddr::V4(Ipv4Addr::from(0x0af4_0000 + u32::from(n))));
        let v6 = (0..=u16::MAX).map(|n| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, n)));
        let addresses: Vec<IpAddr> = v4.chain(v6).collect();
        let map: TrustedMap<IpAddr, usize> = addresses.iter().copied().zip(0..).collect();
        assert!(addresses.iter().enumerate().all(|(at, ip)| map[ip] == at));
        let places: HashSet<u64> = addresses.iter().map(low_bits).collect();
        // 131,072 addresses on 65,536 places: by chance 86 % of the places are taken.
        assert!(places.len() > 50_000, "{} places", places.len());
    }

    fn low_bits(ip: &IpAddr) -> u64 {
        use std::hash::BuildHasher as _;
        BuildHasherDefault::<QuickHasher>::default().hash_one(ip) & 0xffff
    }
}
